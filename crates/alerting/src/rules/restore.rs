//! Alerts that were pending before a restart go on where they were.

use towpath_query::promql::{Hints, Labels, MatchOp, Matcher, NAME, Source, is_stale};

use super::alert::Alerting;
use super::group::{Group, Kind};

/// How state is taken up again. Times are in milliseconds.
#[derive(Clone, Copy, Debug)]
pub struct Restore {
    /// How long the server may have been away.
    pub outage_tolerance_ms: i64,
    /// How long an alert at least waits after a restart before it fires.
    pub grace_ms: i64,
}

impl Default for Restore {
    fn default() -> Self {
        Self {
            outage_tolerance_ms: 3_600_000,
            grace_ms: 600_000,
        }
    }
}

impl Restore {
    /// Takes up the state of a group's alerts, after it was evaluated once. What cannot be read
    /// is said; the rules go on without.
    pub fn run(self, group: &mut Group, now: i64, source: &dyn Source) -> Vec<String> {
        let mut faults = Vec::new();
        for rule in &mut group.rules {
            let Kind::Alerting(rule) = &mut rule.kind else {
                continue;
            };
            if rule.hold_ms >= self.grace_ms
                && let Err(fault) = self.rule(rule, now, source)
            {
                faults.push(fault);
            }
            rule.restored = true;
        }
        faults
    }

    fn rule(self, rule: &mut Alerting, now: i64, source: &dyn Source) -> Result<(), String> {
        let own = rule.labels.iter().map(|(n, v)| (n.as_str(), v.as_str()));
        let matchers = [(NAME, "ALERTS_FOR_STATE"), ("alertname", &rule.name)]
            .into_iter()
            .chain(own)
            .map(|(name, value)| Matcher::new(name, MatchOp::Equal, value))
            .collect::<Result<Vec<_>, _>>()?;
        let hints = Hints {
            start: now - self.outage_tolerance_ms,
            end: now,
            step: 0,
            range: 0,
            function: "",
        };
        for series in source.select(&matchers, &hints)? {
            let series = series?;
            let labels: Labels = series.labels.iter().filter(|(n, _)| *n != NAME).collect();
            let Some((down_at, since)) = series.floats.iter().last() else {
                continue;
            };
            // A marker of staleness says that it did not hold then.
            let Some(alert) = rule.active.get_mut(&labels).filter(|_| !is_stale(since)) else {
                continue;
            };
            let since = (since as i64).saturating_mul(1000);
            let remaining = rule.hold_ms - (down_at - since);
            alert.active_at = if remaining <= 0 {
                // It fired then, and does again as soon as it is seen.
                since
            } else if remaining < self.grace_ms {
                now + self.grace_ms - rule.hold_ms
            } else {
                since + (now - down_at)
            };
        }
        Ok(())
    }
}
