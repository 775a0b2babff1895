//! How often a receiver is told: a bucket of tokens, and one digest of what did not fit.
//!
//! What a digest tells is noted as told; what it cannot tell is told later.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::Sending;
use crate::alertmanager::alert::Alert;

/// How often a receiver is told.
#[derive(Clone, Debug, PartialEq)]
pub struct Throttle {
    /// Messages that may go at once.
    pub burst: u32,
    /// After how long there is room for one more, in milliseconds.
    pub every_ms: i64,
    /// The label that says how bad it is.
    pub label: String,
    /// Values of it whose messages always go.
    pub bypass: BTreeSet<String>,
}

impl Throttle {
    /// Whether a message about these goes whatever there was before.
    pub(super) fn lets_pass(&self, alerts: &[(Alert, bool)]) -> bool {
        alerts.iter().any(|(alert, firing)| {
            let value = alert.labels.get(&self.label);
            *firing && value.is_some_and(|value| self.bypass.contains(value))
        })
    }
}

/// Tokens that are left, and when that was so.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Bucket {
    pub(super) tokens: f64,
    pub(super) at: i64,
}

impl Bucket {
    pub(super) fn full(of: &Throttle, now: i64) -> Self {
        Self {
            tokens: f64::from(of.burst),
            at: now,
        }
    }

    fn at(self, of: &Throttle, now: i64) -> f64 {
        let grown = (now - self.at).max(0) as f64 / of.every_ms.max(1) as f64;
        (self.tokens + grown).min(f64::from(of.burst))
    }

    /// Takes a token, if there is one.
    pub(super) fn take(&mut self, of: &Throttle, now: i64) -> bool {
        let tokens = self.at(of, now);
        // What is left of a division is no reason to wait.
        let enough = tokens >= 1.0 - 1e-6;
        if enough {
            *self = Self {
                tokens: (tokens - 1.0).max(0.0),
                at: now,
            };
        }
        enough
    }

    /// When there is a token.
    pub(super) fn ready(self, of: &Throttle) -> i64 {
        let missing = (1.0 - self.tokens).max(0.0);
        self.at + (missing * of.every_ms as f64).ceil() as i64
    }
}

/// What a group would have said.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Held {
    pub(super) said: Sending,
    /// Names of its alerts, each with how often.
    pub(super) names: BTreeMap<String, usize>,
    pub(super) since: i64,
}

/// A digest in the making, of one integration of a receiver.
#[derive(Debug, Default)]
pub(super) struct Digest {
    /// By the keys of groups.
    pub(super) held: BTreeMap<String, Held>,
    /// The one on its way: its number, and what it tells.
    pub(super) sending: Option<(u64, BTreeMap<String, Sending>)>,
    pub(super) failed: u32,
    pub(super) retry_at: Option<i64>,
}

/// The most names that a digest says.
const MAX_NAMES: usize = 20;

impl Digest {
    /// How many alerts and groups, whether one fires, since when, and their names.
    pub(super) fn alert(&self, receiver: &str, url: &str, now: i64) -> (Alert, bool) {
        let alerts: usize = self.held.values().map(|held| held.said.count()).sum();
        let firing = self.held.values().any(|held| !held.said.firing.is_empty());
        let since = self.held.values().map(|held| held.since).min();
        let mut names: BTreeMap<&str, usize> = BTreeMap::new();
        for (name, count) in self.held.values().flat_map(|held| &held.names) {
            *names.entry(name).or_default() += count;
        }
        let mut said: Vec<String> = names
            .iter()
            .take(MAX_NAMES)
            .map(|(name, count)| format!("{name} ({count})"))
            .collect();
        if names.len() > MAX_NAMES {
            said.push(format!("and {} more", names.len() - MAX_NAMES));
        }
        let link = format!("{url}/#/alerts?receiver={receiver}");
        let summary = format!(
            "{alerts} alerts of {} groups were held back, as {receiver} is told no oftener",
            self.held.len()
        );
        let texts = |pairs: &[(&str, String)]| -> BTreeMap<String, String> {
            let pairs = pairs.iter();
            pairs
                .map(|(name, value)| ((*name).to_owned(), value.clone()))
                .collect()
        };
        let alert = Alert {
            labels: texts(&[
                ("alertname", "AlertsHeldBack".into()),
                ("receiver", receiver.into()),
            ]),
            annotations: texts(&[
                ("summary", summary),
                ("description", said.join(", ")),
                ("count", alerts.to_string()),
                ("link", link.clone()),
            ]),
            starts_at: since.unwrap_or(now),
            ends_at: now,
            updated_at: now,
            generator_url: link,
            timeout: false,
        };
        (alert, firing)
    }
}
