//! What was told to whom, so that it is not told again.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

/// The last message of a group to an integration. Alerts are their fingerprints.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// When, in milliseconds since the epoch.
    pub at: i64,
    /// Alerts that fired.
    pub firing: BTreeSet<u64>,
    /// Alerts that were over.
    pub resolved: BTreeSet<u64>,
}

/// Whether there is something to tell that was not told, or was told long ago.
pub(super) fn needs_update(
    entry: Option<&Entry>,
    firing: &BTreeSet<u64>,
    resolved: &BTreeSet<u64>,
    send_resolved: bool,
    repeat_ms: i64,
    now: i64,
) -> bool {
    let Some(entry) = entry else {
        return !firing.is_empty();
    };
    if !firing.is_subset(&entry.firing) {
        return true;
    }
    // That all is over is noted even where it is not sent.
    if firing.is_empty() {
        return !entry.firing.is_empty();
    }
    if send_resolved && !resolved.is_subset(&entry.resolved) {
        return true;
    }
    entry.at < now - repeat_ms
}
