//! What is wrong in a file.

use std::fmt::{Display, Formatter, Result};

/// One thing that is wrong, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Line and column, from 1, where there is a place.
    pub place: Option<(u64, u64)>,
    /// What is wrong.
    pub message: String,
}

impl Finding {
    /// A finding without a place.
    pub fn new(message: impl Into<String>) -> Self {
        Self {
            place: None,
            message: message.into(),
        }
    }

    /// A finding at a place.
    pub fn at(place: (u64, u64), message: impl Into<String>) -> Self {
        Self {
            place: Some(place),
            message: message.into(),
        }
    }
}

impl Display for Finding {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        match self.place {
            Some((line, column)) => write!(f, "{line}:{column}: {}", self.message),
            None => f.write_str(&self.message),
        }
    }
}
