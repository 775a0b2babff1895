//! Alerts as they arrive.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// An alert. Times are in milliseconds since the epoch.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Alert {
    /// What it is.
    pub labels: BTreeMap<String, String>,
    /// What is said about it.
    pub annotations: BTreeMap<String, String>,
    /// Since when.
    pub starts_at: i64,
    /// When it ended, or is taken to end where nobody says otherwise.
    pub ends_at: i64,
    /// When it was last told.
    pub updated_at: i64,
    /// Where it comes from.
    pub generator_url: String,
    /// Whether its end is only a guess, so that it is not the end once it is told again.
    pub timeout: bool,
}

impl Alert {
    /// Whether it is over at a time.
    pub fn resolved_at(&self, now: i64) -> bool {
        self.ends_at <= now
    }

    /// What is known after this one was told again.
    pub(crate) fn merged(self, newer: Self) -> Self {
        let (old, mut new) = match newer.updated_at < self.updated_at {
            true => (newer, self),
            false => (self, newer),
        };
        // Two that do not touch in time are two.
        if old.ends_at < new.starts_at || new.ends_at < old.starts_at {
            return new;
        }
        new.starts_at = new.starts_at.min(old.starts_at);
        new
    }
}

/// Upstream's fingerprint of labels: FNV-1a over names and values.
pub fn fingerprint(labels: &BTreeMap<String, String>) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325u64;
    let mut add = |bytes: &[u8]| {
        for byte in bytes.iter().chain([&255]) {
            hash = (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    };
    for (name, value) in labels {
        add(name.as_bytes());
        add(value.as_bytes());
    }
    hash
}
