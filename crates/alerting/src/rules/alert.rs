//! An alerting rule and the alerts it has.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use towpath_query::promql::{Expr, InstantSample, Labels, NAME};

use super::changed;
use super::group::Notice;
use super::template::{Expander, link};

/// How long an alert that is over is still told, in milliseconds, so that a message lost on the
/// way is no loss.
const RESOLVED_RETENTION_MS: i64 = 15 * 60_000;

/// Where an alert stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum State {
    /// It does not hold any more.
    Inactive,
    /// It holds, but not for long enough.
    Pending,
    /// It holds.
    Firing,
}

impl State {
    /// As series and answers write it.
    pub fn text(self) -> &'static str {
        match self {
            Self::Inactive => "inactive",
            Self::Pending => "pending",
            Self::Firing => "firing",
        }
    }
}

/// An alert. Times are in milliseconds since the epoch.
#[derive(Clone, Debug, PartialEq)]
pub struct Active {
    /// Where it stands.
    pub state: State,
    /// What it is.
    pub labels: Labels,
    /// What is said about it.
    pub annotations: BTreeMap<String, String>,
    /// The value that proved it last.
    pub value: f64,
    /// Since when it holds.
    pub active_at: i64,
    /// Since when it fires.
    pub fired_at: Option<i64>,
    /// Since when it does not hold any more.
    pub resolved_at: Option<i64>,
    /// When it was last told.
    pub sent_at: Option<i64>,
    /// Since when it only fires because it is to go on for a while.
    pub keep_firing_since: Option<i64>,
}

/// An alerting rule.
#[derive(Clone, Debug)]
pub struct Alerting {
    /// The alert's name.
    pub name: String,
    /// What it evaluates.
    pub expr: Expr,
    /// How long it must hold before it fires, in milliseconds.
    pub hold_ms: i64,
    /// How long it goes on, in milliseconds.
    pub keep_firing_for_ms: i64,
    /// Labels it adds, as they are written.
    pub labels: BTreeMap<String, String>,
    /// Annotations, as they are written.
    pub annotations: BTreeMap<String, String>,
    /// Its alerts.
    pub active: BTreeMap<Labels, Active>,
    /// Whether its state from before a restart is settled; before that it writes no series, so
    /// that what it wrote then can still be read.
    pub restored: bool,
}

/// What a sample is written as.
pub(super) type Written = (Labels, f64);

impl Alerting {
    /// The most serious state of its alerts.
    pub fn state(&self) -> State {
        let states = self.active.values().map(|alert| alert.state);
        states.max().unwrap_or(State::Inactive)
    }

    /// Alerts that are not over.
    pub fn current(&self) -> impl Iterator<Item = &Active> {
        self.active.values().filter(|a| a.resolved_at.is_none())
    }

    /// Takes in what the expression gives at `now`; the series to write.
    pub(super) fn take(
        &mut self,
        vector: &[InstantSample],
        now: i64,
        expander: &Expander<'_>,
        limit: usize,
    ) -> Result<Vec<Written>, String> {
        let mut found: BTreeMap<Labels, Active> = BTreeMap::new();
        for sample in vector {
            let alert = self.alert_of(sample, now, expander);
            match found.entry(alert.labels.clone()) {
                Entry::Occupied(_) => {
                    return Err(
                        "vector contains metrics with the same labelset after applying \
                                alert labels"
                            .to_owned(),
                    );
                }
                Entry::Vacant(entry) => drop(entry.insert(alert)),
            }
        }
        for (labels, alert) in &found {
            match self.active.get_mut(labels) {
                Some(known) if known.state != State::Inactive => {
                    known.value = alert.value;
                    known.annotations = alert.annotations.clone();
                }
                _ => drop(self.active.insert(labels.clone(), alert.clone())),
            }
        }
        let mut series = Vec::new();
        let mut holding = 0;
        let (hold, keep) = (self.hold_ms, self.keep_firing_for_ms);
        self.active.retain(|labels, alert| {
            if !found.contains_key(labels) {
                let (kept, holds) = alert.vanish(now, keep);
                if !holds {
                    return kept;
                }
            } else {
                alert.keep_firing_since = None;
            }
            holding += 1;
            if alert.state == State::Pending && now - alert.active_at >= hold {
                alert.state = State::Firing;
                alert.fired_at = Some(now);
            }
            true
        });
        if self.restored {
            for alert in self.active.values().filter(|a| a.state != State::Inactive) {
                series.push((self.series_of(alert, "ALERTS", true), 1.0));
                let since = alert.active_at.div_euclid(1000) as f64;
                series.push((self.series_of(alert, "ALERTS_FOR_STATE", false), since));
            }
        }
        if limit > 0 && holding > limit {
            self.active.clear();
            return Err(format!("exceeded limit of {limit} with {holding} alerts"));
        }
        Ok(series)
    }

    fn alert_of(&self, sample: &InstantSample, now: i64, expander: &Expander<'_>) -> Active {
        let data = expander.data(sample);
        let own: Vec<(&str, String)> = self
            .labels
            .iter()
            .map(|(name, text)| (name.as_str(), expander.expand(text, &data)))
            .collect();
        let labels = changed(
            &sample.labels,
            [(NAME, "")]
                .into_iter()
                .chain(own.iter().map(|(name, value)| (*name, value.as_str())))
                .chain([("alertname", self.name.as_str())]),
        );
        let annotations = self
            .annotations
            .iter()
            .map(|(name, text)| (name.clone(), expander.expand(text, &data)))
            .collect();
        Active {
            state: State::Pending,
            labels,
            annotations,
            value: sample.value,
            active_at: now,
            fired_at: None,
            resolved_at: None,
            sent_at: None,
            keep_firing_since: None,
        }
    }

    fn series_of(&self, alert: &Active, metric: &str, state: bool) -> Labels {
        let own = self.labels.iter().map(|(n, v)| (n.as_str(), v.as_str()));
        let mut pairs: Vec<(&str, &str)> = own.chain(alert.labels.iter()).collect();
        pairs.push((NAME, metric));
        pairs.push(("alertname", &self.name));
        if state {
            pairs.push(("alertstate", alert.state.text()));
        }
        pairs.into_iter().collect()
    }

    /// The alerts to tell at `now`; those told are marked so.
    pub(super) fn notices(
        &mut self,
        now: i64,
        resend_ms: i64,
        interval_ms: i64,
        external_url: &str,
    ) -> Vec<Notice> {
        let expr = self.expr.to_string();
        let mut out = Vec::new();
        for alert in self.active.values_mut() {
            if !alert.needs_sending(now, resend_ms) {
                continue;
            }
            alert.sent_at = Some(now);
            // Two evaluations or messages may fail.
            let valid_until = now + 4 * interval_ms.max(resend_ms);
            out.push(Notice {
                labels: alert.labels.clone(),
                annotations: alert.annotations.clone(),
                starts_at: alert.fired_at.unwrap_or(alert.active_at),
                ends_at: alert.resolved_at.unwrap_or(valid_until),
                generator_url: format!("{external_url}{}", link(&expr, 1)),
                expr: expr.clone(),
                value: alert.value,
            });
        }
        out
    }
}

impl Active {
    /// The expression does not give it any more: whether it is kept, and whether it still fires.
    fn vanish(&mut self, now: i64, keep_firing_for: i64) -> (bool, bool) {
        let mut holds = false;
        if self.state == State::Firing && keep_firing_for > 0 {
            let since = *self.keep_firing_since.get_or_insert(now);
            holds = now - since < keep_firing_for;
        }
        let old = self
            .resolved_at
            .is_some_and(|at| now - at > RESOLVED_RETENTION_MS);
        let kept = !(self.state == State::Pending || old);
        if self.state != State::Inactive && !holds {
            self.state = State::Inactive;
            self.resolved_at = Some(now);
        }
        (kept, holds)
    }

    fn needs_sending(&self, now: i64, resend_ms: i64) -> bool {
        if self.state == State::Pending {
            return false;
        }
        match self.sent_at {
            None => true,
            Some(sent) => self.resolved_at.is_some_and(|at| at > sent) || sent + resend_ms < now,
        }
    }
}
