//! How many alerts and silences there are, by how they stand.

use std::collections::BTreeSet;

use super::{Cause, Dispatcher};
use crate::alertmanager::silence::SilenceState;

/// Alerts that are not over, and silences.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Alerts that are told.
    pub active: usize,
    /// Alerts that a silence or another alert keeps from being told.
    pub suppressed: usize,
    /// Alerts of which nothing is decided yet.
    pub unprocessed: usize,
    /// Silences: active, pending, expired.
    pub silences: [usize; 3],
}

impl Dispatcher {
    /// How many there are of each, as it was decided when groups were last looked at.
    pub fn counts(&self, now: i64) -> Counts {
        let mut decided: BTreeSet<u64> = BTreeSet::new();
        let mut suppressed: BTreeSet<u64> = BTreeSet::new();
        for group in self.groups.values().filter(|group| group.flushed) {
            decided.extend(group.alerts.keys());
            // Time intervals keep a group quiet, not an alert.
            let muted = group.suppressed.iter().filter(|(_, causes)| {
                let mut causes = causes.iter();
                causes.any(|cause| !matches!(cause, Cause::Interval(_)))
            });
            suppressed.extend(muted.map(|(id, _)| *id));
        }
        let mut counts = Counts::default();
        let firing = self.alerts.iter().filter(|(_, a)| !a.resolved_at(now));
        for (id, _) in firing {
            let count = match (suppressed.contains(id), decided.contains(id)) {
                (true, _) => &mut counts.suppressed,
                (false, true) => &mut counts.active,
                (false, false) => &mut counts.unprocessed,
            };
            *count += 1;
        }
        for silence in self.silences() {
            let place = match silence.state(now) {
                SilenceState::Active => 0,
                SilenceState::Pending => 1,
                SilenceState::Expired => 2,
            };
            counts.silences[place] += 1;
        }
        counts
    }
}
