//! Open cases and the alerts that belong to them. Decisions only: who reads the clock, explains and
//! keeps is [`super::desk`].
//!
//! Alerts of one subject are one case; so are those whose likeliest cause is the same, those of
//! whom a subject calls or is called by, and those of a namespace and of what is in it. A name comes from the subject and the time of its first
//! alert, so that the same alert told again after a crash finds the case that was kept.

use super::case::{Case, CaseAlert, State, Subject};
use super::cause::SymptomKind;
use super::score;
use crate::ledger::{Change, Object};
use std::collections::{BTreeMap, BTreeSet};
use towpath_alerting::alertmanager::fingerprint;

/// Cases that are open at a time.
pub(super) const OPEN: usize = 200;
/// Alerts that a case lists; more are counted.
const ALERTS: usize = 100;
/// More are not even told apart.
const COUNTED: usize = 10_000;
/// Alerts of neighbours belong together when they begin within this time.
const TOGETHER_MS: i64 = 15 * 60_000;
/// For how long an alert of before a restart counts where neither it is told again nor its rule says
/// that it is over.
const GRACE_MS: i64 = 5 * 60_000;
/// When an open case is explained again, after it was opened or got another alert.
const AGAIN_MS: [i64; 5] = [5_000, 20_000, 60_000, 180_000, 600_000];

/// An alert as it is told.
#[derive(Clone, Debug, Default)]
pub(super) struct Heard {
    pub(super) alert: CaseAlert,
    /// Until when it counts without being told again.
    pub(super) until: i64,
    /// Whether nobody tells it now: it was held from before.
    pub(super) held: bool,
}

impl Heard {
    pub(super) fn print(&self) -> u64 {
        fingerprint(&self.alert.labels)
    }
}

/// A rule, and which alerts it has now.
#[derive(Clone, Debug, Default)]
pub(super) struct Known {
    pub(super) name: String,
    pub(super) query: String,
    /// Labels it adds, as they are written.
    pub(super) labels: BTreeMap<String, String>,
    /// When it was evaluated.
    pub(super) at: i64,
    /// Fingerprints of its alerts.
    pub(super) active: BTreeSet<u64>,
}

impl Known {
    /// Whether an alert is one of this rule.
    fn gives(&self, alert: &CaseAlert) -> bool {
        // A label that is a template may be anything.
        let mut fixed = self.labels.iter().filter(|(_, text)| !text.contains("{{"));
        alert.name == self.name
            && alert.query == self.query
            && fixed.all(|(name, value)| alert.labels.get(name) == Some(value))
    }
}

/// An open case, and what need not be kept of it.
pub(super) struct Open {
    pub(super) case: Case,
    /// Until when each alert counts.
    until: BTreeMap<u64, i64>,
    /// Alerts of before a restart that nobody has told again.
    before: BTreeSet<u64>,
    /// Alerts beyond those listed.
    more: BTreeMap<u64, i64>,
    /// Whether it is to be kept.
    pub(super) changed: bool,
    explained: usize,
    explained_from: i64,
}

/// Open cases by their names.
#[derive(Default)]
pub(super) struct Book {
    pub(super) open: BTreeMap<String, Open>,
    alerts: BTreeMap<u64, String>,
}

/// The name of the case that an alert of a subject opens.
pub(super) fn name(subject: &Object, starts_at: i64) -> String {
    let parts = [
        ("kind", subject.kind.clone()),
        ("namespace", subject.namespace.clone()),
        ("name", subject.name.clone()),
        ("at", starts_at.div_euclid(1_000).to_string()),
    ];
    let parts = parts.map(|(name, value)| (name.to_string(), value));
    format!("c-{:016x}", fingerprint(&parts.into_iter().collect()))
}

/// What a case is blamed on, so that others with the same are one with it.
pub(super) fn blamed(case: &Case) -> Option<String> {
    let cause = case.causes.first()?;
    match (&cause.change, &cause.finding) {
        (Some(change), _) => Some(of_change(change)),
        (None, Some(finding)) => Some(format!("{:?} {}", finding.kind, finding.about)),
        (None, None) => None,
    }
}

// What one promotion or commit changes is one.
fn of_change(change: &Change) -> String {
    let parts = [&change.promotion, &change.commit, &change.id];
    let first = parts.into_iter().find(|part| !part.is_empty());
    first.cloned().unwrap_or_default()
}

/// Whether a namespace is that of an object.
fn within(namespace: &Object, object: &Object) -> bool {
    namespace.kind == "Namespace" && namespace.name == object.namespace
}

fn graver(one: &str, other: &str) -> bool {
    let rank = |severity: &str| match severity {
        "critical" | "page" | "error" => 3,
        "warning" => 2,
        "info" | "none" => 0,
        "" => -1,
        _ => 1,
    };
    rank(one) > rank(other)
}

/// Whether an alert opens a case: what informs is nobody's trouble, and of what is silenced
/// somebody knows.
pub(super) fn opens(alert: &CaseAlert) -> bool {
    !alert.silenced && !matches!(alert.severity.as_str(), "info" | "none")
}

/// What the text of a rule is about, for what the objects do not show.
pub(super) fn felt(alert: &CaseAlert) -> SymptomKind {
    let text = format!("{} {}", alert.name, alert.query).to_ascii_lowercase();
    let has = |words: &[&str]| words.iter().any(|word| text.contains(word));
    if has(&["latency", "duration", "slow", "quantile"]) {
        SymptomKind::Latency
    } else if has(&["5..", "error", "fail"]) {
        SymptomKind::Errors
    } else {
        SymptomKind::Measured
    }
}

impl Open {
    fn new(case: Case, now: i64) -> Self {
        let prints = case.alerts.iter().map(|alert| fingerprint(&alert.labels));
        Self {
            until: prints.map(|print| (print, now + GRACE_MS)).collect(),
            before: BTreeSet::new(),
            more: BTreeMap::new(),
            changed: true,
            explained: 0,
            explained_from: now,
            case,
        }
    }

    fn take(&mut self, heard: Heard, now: i64) {
        let print = heard.print();
        if !heard.held {
            self.before.remove(&print);
        }
        let place = self
            .case
            .alerts
            .iter()
            .position(|alert| fingerprint(&alert.labels) == print);
        if let Some(place) = place {
            let until = self.until.entry(print).or_default();
            // What is only held says nothing about now, but how long it counts.
            *until = match heard.held {
                true => heard.until.max(*until),
                false => heard.until,
            };
            let known = &mut self.case.alerts[place];
            let again = known.ends_at.is_some();
            if known.silenced != heard.alert.silenced {
                known.silenced = heard.alert.silenced;
                let (kind, words) = match known.silenced {
                    true => ("alertSilenced", "is silenced"),
                    false => ("alertHeard", "is silenced no more"),
                };
                let words = format!("{} {words}", known.name);
                self.case.note(now, kind, words, None);
                self.changed = true;
            }
            let known = &mut self.case.alerts[place];
            if again {
                known.ends_at = None;
                known.starts_at = heard.alert.starts_at;
                known.value = heard.alert.value;
                let words = format!("{} fires again", heard.alert.name);
                self.case
                    .note(heard.alert.starts_at, "alertFired", words, None);
                self.again(now);
            }
            return;
        }
        if self.case.alerts.len() >= ALERTS {
            if self.more.len() < COUNTED && self.more.insert(print, heard.until).is_none() {
                self.case.more_alerts += 1;
                self.changed = true;
            }
            return;
        }
        self.until.insert(print, heard.until);
        let alert = heard.alert;
        if graver(&alert.severity, &self.case.severity) {
            self.case.severity.clone_from(&alert.severity);
        }
        let mut words = match alert.annotations.get("summary") {
            Some(summary) => format!("{}: {summary}", alert.name),
            None => format!("{} fires", alert.name),
        };
        if alert.silenced {
            words.push_str(" (silenced)");
        }
        self.case.note(alert.starts_at, "alertFired", words, None);
        self.case.alerts.push(alert);
        self.again(now);
    }

    /// Is explained again soon.
    fn again(&mut self, now: i64) {
        self.changed = true;
        self.explained = 0;
        self.explained_from = now;
    }

    fn end(&mut self, print: u64, at: i64) {
        self.more.remove(&print);
        self.before.remove(&print);
        let alerts = self.case.alerts.iter_mut();
        let found = alerts
            .filter(|alert| alert.ends_at.is_none())
            .find(|alert| fingerprint(&alert.labels) == print);
        let Some(alert) = found else { return };
        alert.ends_at = Some(at);
        let words = format!("{} is over", alert.name);
        self.case.note(at, "alertResolved", words, None);
        self.changed = true;
    }

    /// Whether anything fires.
    pub(super) fn fires(&self) -> bool {
        !self.more.is_empty() || self.case.firing() > 0
    }

    /// When it is to be explained next; never while nothing fires, as there is nothing to see.
    pub(super) fn due(&self) -> Option<i64> {
        let wait = AGAIN_MS.get(self.explained)?;
        self.fires().then(|| self.explained_from + wait)
    }

    /// Notes that it was explained.
    pub(super) fn told(&mut self, now: i64) {
        while self.due().is_some_and(|due| due <= now) {
            self.explained += 1;
        }
    }
}

impl Book {
    /// With the open cases that were kept.
    pub(super) fn new(cases: Vec<Case>, now: i64) -> Self {
        let mut book = Self::default();
        for case in cases {
            let firing = case.alerts.iter().filter(|alert| alert.ends_at.is_none());
            let before = firing.map(|alert| fingerprint(&alert.labels)).collect();
            let id = case.id.clone();
            book.put(case, now, false);
            if let Some(open) = book.open.get_mut(&id) {
                open.before = before;
            }
        }
        book
    }

    /// Whether there are alerts of before a restart that nobody has told again.
    pub(super) fn waits(&self) -> bool {
        self.open.values().any(|open| !open.before.is_empty())
    }

    /// Ends alerts of before a restart that their rules do not give any more.
    pub(super) fn settle(&mut self, rules: &[Known]) {
        for open in self.open.values_mut() {
            let alerts = open.case.alerts.iter();
            let over: Vec<(u64, i64)> = alerts
                .map(|alert| (fingerprint(&alert.labels), alert))
                .filter(|(print, _)| open.before.contains(print))
                .filter_map(|(print, alert)| {
                    let rule = rules.iter().find(|rule| rule.gives(alert))?;
                    (!rule.active.contains(&print)).then_some((print, rule.at))
                })
                .collect();
            for (print, at) in over {
                open.end(print, at);
            }
        }
    }

    fn put(&mut self, case: Case, now: i64, changed: bool) {
        for alert in &case.alerts {
            self.alerts
                .insert(fingerprint(&alert.labels), case.id.clone());
        }
        let mut open = Open::new(case, now);
        open.changed = changed;
        self.open.insert(open.case.id.clone(), open);
    }

    /// The case that an alert already belongs to.
    pub(super) fn holding(&self, print: u64) -> Option<&str> {
        self.alerts.get(&print).map(String::as_str)
    }

    /// The open case of a subject.
    pub(super) fn of(&self, subject: &Object) -> Option<&str> {
        let mut cases = self.open.values().map(|open| &open.case);
        let found =
            cases.find(|case| case.subject.object() == *subject || case.also.contains(subject))?;
        Some(&found.id)
    }

    /// The open case that a fresh one belongs to: blamed on the same, or a neighbour's.
    pub(super) fn like(&self, fresh: &Case, calls: &[(Object, Object)]) -> Option<&str> {
        let subject = fresh.subject.object();
        let cause = blamed(fresh);
        let same = |case: &Case| cause.is_some() && blamed(case) == cause;
        let near = |case: &Case| {
            let other = case.subject.object();
            let reached = score::distance(&subject, &other, calls).is_some()
                || score::distance(&other, &subject, calls).is_some()
                || within(&subject, &other)
                || within(&other, &subject);
            reached && (fresh.opened_at - case.opened_at).abs() <= TOGETHER_MS
        };
        let cases = || self.open.values().map(|open| &open.case);
        let found = cases()
            .find(|case| same(case))
            .or_else(|| cases().find(|case| near(case)))?;
        Some(&found.id)
    }

    /// Opens a case, or takes one up again. False where too many are open.
    pub(super) fn open(&mut self, case: Case, now: i64) -> bool {
        if self.open.len() >= OPEN {
            return false;
        }
        self.put(case, now, true);
        true
    }

    /// Adds an alert to an open case.
    pub(super) fn join(&mut self, id: &str, subject: Option<&Object>, heard: Heard, now: i64) {
        let Some(open) = self.open.get_mut(id) else {
            return;
        };
        self.alerts.insert(heard.print(), id.to_string());
        if let Some(subject) = subject
            && open.case.subject.object() != *subject
            && !open.case.also.contains(subject)
            && open.case.also.len() < ALERTS
        {
            open.case.also.push(subject.clone());
        }
        open.take(heard, now);
    }

    /// An alert is over.
    pub(super) fn end(&mut self, print: u64, at: i64) {
        let id = self.alerts.get(&print);
        if let Some(open) = id.and_then(|id| self.open.get_mut(id)) {
            open.end(print, at);
        }
    }

    /// Ends alerts that nobody tells any more, and closes what has been quiet for long enough;
    /// what was closed.
    pub(super) fn tick(&mut self, now: i64, quiet_ms: i64) -> Vec<Case> {
        let mut closed = Vec::new();
        for open in self.open.values_mut() {
            let silent: Vec<(u64, i64)> = open
                .until
                .iter()
                .chain(&open.more)
                .filter(|(_, until)| **until <= now)
                .map(|(print, until)| (*print, *until))
                .collect();
            for (print, until) in silent {
                open.end(print, until);
            }
        }
        let over: BTreeSet<String> = self
            .open
            .values()
            .filter(|open| !open.fires())
            .filter(|open| open.case.ended().is_none_or(|end| now - end >= quiet_ms))
            .map(|open| open.case.id.clone())
            .collect();
        for id in over {
            if let Some(mut open) = self.open.remove(&id) {
                self.alerts.retain(|_, case| *case != id);
                open.case.state = State::Closed;
                open.case.closed_at = Some(now);
                let words = "nothing fires any more".to_string();
                open.case.note(now, "closed", words, None);
                closed.push(open.case);
            }
        }
        closed
    }

    /// When something is due next.
    pub(super) fn next(&self, quiet_ms: i64) -> Option<i64> {
        let each = self.open.values().flat_map(|open| {
            let until = open.until.values().chain(open.more.values()).copied();
            let until = until.filter(|_| open.fires()).min();
            let close = match open.fires() {
                true => None,
                false => open.case.ended().map(|end| end + quiet_ms),
            };
            [open.due(), until, close].into_iter().flatten()
        });
        each.min()
    }
}

/// A case of an alert that has none, without its explanation.
pub(super) fn fresh(subject: Subject, alert: &CaseAlert) -> Case {
    let object = subject.object();
    Case {
        id: name(&object, alert.starts_at),
        title: format!("{}: {object}", alert.name),
        opened_at: alert.starts_at,
        subject,
        ..Case::default()
    }
}

#[cfg(test)]
mod tests;
