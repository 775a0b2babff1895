//! What a label must be.

use std::sync::Arc;

use regex::Regex;

use super::text::quote;

/// How a matcher compares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MatchOp {
    /// `=`
    Equal,
    /// `!=`
    NotEqual,
    /// `=~`
    Regex,
    /// `!~`
    NotRegex,
}

impl MatchOp {
    /// The sign of the language.
    pub fn text(self) -> &'static str {
        match self {
            Self::Equal => "=",
            Self::NotEqual => "!=",
            Self::Regex => "=~",
            Self::NotRegex => "!~",
        }
    }
}

/// One condition on one label. A label that a series lacks is the empty text.
#[derive(Clone, Debug)]
pub struct Matcher {
    /// The label.
    pub name: String,
    /// How it is compared.
    pub op: MatchOp,
    /// With what.
    pub value: String,
    regex: Option<Arc<Regex>>,
}

/// The longest program a regular expression may compile to, in bytes.
const REGEX_BYTES: usize = 4 << 20;

/// Compiles an expression that must match the whole text, `.` matching line ends too.
pub(crate) fn whole(pattern: &str) -> Result<Regex, String> {
    crate::go_regex::whole(pattern, REGEX_BYTES)
}

impl Matcher {
    /// A matcher; the error is the regular expression's.
    pub fn new(
        name: impl Into<String>,
        op: MatchOp,
        value: impl Into<String>,
    ) -> Result<Self, String> {
        let value = value.into();
        let regex = match op {
            MatchOp::Regex | MatchOp::NotRegex => Some(Arc::new(whole(&value)?)),
            _ => None,
        };
        Ok(Self {
            name: name.into(),
            op,
            value,
            regex,
        })
    }

    /// The matcher `name="value"`.
    pub fn equal(name: impl Into<String>, value: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            op: MatchOp::Equal,
            value: value.into(),
            regex: None,
        }
    }

    /// Whether a label of that value passes.
    pub fn matches(&self, value: &str) -> bool {
        let found = |regex: &Option<Arc<Regex>>| regex.as_ref().is_some_and(|r| r.is_match(value));
        match self.op {
            MatchOp::Equal => value == self.value,
            MatchOp::NotEqual => value != self.value,
            MatchOp::Regex => found(&self.regex),
            MatchOp::NotRegex => !found(&self.regex),
        }
    }
}

impl std::fmt::Display for Matcher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if is_plain_label(&self.name) {
            f.write_str(&self.name)?;
        } else {
            f.write_str(&quote(&self.name))?;
        }
        write!(f, "{}{}", self.op.text(), quote(&self.value))
    }
}

/// Whether a label name can be written without quotes.
pub(crate) fn is_plain_label(name: &str) -> bool {
    !name.is_empty()
        && name.bytes().enumerate().all(|(at, byte)| {
            byte == b'_' || byte.is_ascii_alphabetic() || (at > 0 && byte.is_ascii_digit())
        })
}
