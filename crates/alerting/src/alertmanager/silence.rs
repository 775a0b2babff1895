//! Silences: alerts about which nobody wants to hear for a while.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use towpath_query::promql::{MatchOp, Matcher};

use super::route::pass;

/// A silence. Times are in milliseconds since the epoch.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Silence {
    /// Its id.
    pub id: String,
    /// What an alert must be: name, `=` and its kin, value.
    pub matchers: Vec<(String, String, String)>,
    /// From when.
    pub starts_at: i64,
    /// Until when.
    pub ends_at: i64,
    /// When it was last changed.
    pub updated_at: i64,
    /// Who made it.
    pub created_by: String,
    /// Why.
    pub comment: String,
}

/// Where a silence stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SilenceState {
    /// It has not begun.
    Pending,
    /// It counts.
    Active,
    /// It is over.
    Expired,
}

/// Why a silence is not taken. The texts are upstream's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SilenceError {
    /// There is none with this id.
    #[error("silence not found")]
    NotFound,
    /// It contradicts itself.
    #[error("invalid silence: {0}")]
    Invalid(String),
}

fn operator(text: &str) -> Option<MatchOp> {
    [
        MatchOp::Equal,
        MatchOp::NotEqual,
        MatchOp::Regex,
        MatchOp::NotRegex,
    ]
    .into_iter()
    .find(|op| op.text() == text)
}

impl Silence {
    /// Where it stands at a time.
    pub fn state(&self, now: i64) -> SilenceState {
        match now {
            now if now < self.starts_at => SilenceState::Pending,
            now if now >= self.ends_at => SilenceState::Expired,
            _ => SilenceState::Active,
        }
    }

    /// Its conditions, ready to use.
    ///
    /// # Errors
    /// What is wrong with one.
    pub fn compiled(&self) -> Result<Vec<Matcher>, String> {
        let each = self.matchers.iter().map(|(name, op, value)| {
            let op = operator(op).ok_or_else(|| format!("unknown operator {op}"))?;
            Matcher::new(name.clone(), op, value.clone())
        });
        each.collect()
    }

    pub(super) fn check(&self) -> Result<Vec<Matcher>, SilenceError> {
        let invalid = |why: &str| Err(SilenceError::Invalid(why.to_owned()));
        if self.matchers.is_empty() {
            return invalid("at least one matcher required");
        }
        if let Some((name, ..)) = self.matchers.iter().find(|m| m.0.is_empty()) {
            return invalid(&format!(
                "invalid label matcher 0: invalid label name {name:?}"
            ));
        }
        let compiled = self.compiled().map_err(SilenceError::Invalid)?;
        if compiled.iter().all(|matcher| matcher.matches("")) {
            return invalid("at least one matcher must not match the empty string");
        }
        if self.starts_at >= self.ends_at {
            return invalid("end time must not be before start time");
        }
        Ok(compiled)
    }
}

/// Silences with their conditions compiled.
#[derive(Clone, Debug, Default)]
pub(super) struct Silences(pub(super) BTreeMap<String, (Silence, Vec<Matcher>)>);

impl Silences {
    /// Ids of those that count for an alert.
    pub(super) fn of(&self, labels: &BTreeMap<String, String>, now: i64) -> Vec<String> {
        self.0
            .values()
            .filter(|(silence, _)| silence.state(now) == SilenceState::Active)
            .filter(|(_, matchers)| pass(matchers, labels))
            .map(|(silence, _)| silence.id.clone())
            .collect()
    }
}
