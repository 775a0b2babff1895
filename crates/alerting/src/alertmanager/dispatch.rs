//! The state, and what follows from it.
//!
//! The order is upstream's: route, group, inhibit, time intervals, silence, then per integration
//! what the notification log says. A message that fails is tried again, later and later, and then
//! says what is true at that time. What was told is noted once it is known to have arrived, so
//! that a server that ends in between tells it twice rather than never.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::alert::{Alert, fingerprint};
use super::config::Config;
use super::log::{Entry, needs_update};
use super::message::Message;
use super::payload::hash;
use super::route::Route;
use super::silence::{Silence, SilenceError, SilenceState, Silences};

/// The first wait after a failure, and the longest, in milliseconds.
const RETRY_MS: (i64, i64) = (10_000, 300_000);
/// How long silences that are over are kept, and entries of the log, in milliseconds.
const RETENTION_MS: i64 = 120 * 3_600_000;
/// How many alerts are held at most.
const MAX_ALERTS: usize = 100_000;

type Labels = BTreeMap<String, String>;

/// Something to send.
#[derive(Clone, Debug)]
pub struct Send {
    /// Its number, by which its outcome is told.
    pub id: u64,
    /// The receiver.
    pub receiver: String,
    /// Which of the receiver's integrations.
    pub integration: usize,
    /// What it is about.
    pub message: Message,
    /// The same for every attempt at the same message, also after a restart.
    pub idempotency_key: String,
    /// How often it was tried before.
    pub attempt: u32,
}

/// How sending went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It arrived.
    Delivered,
    /// It may arrive another time; not before so many milliseconds have passed, if they are given.
    Later(Option<i64>),
    /// It will never arrive as it is.
    Refused,
}

/// Why an alert is not told.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Muted {
    /// Ids of silences.
    pub silenced_by: Vec<String>,
    /// Fingerprints of alerts that make it superfluous.
    pub inhibited_by: Vec<String>,
    /// Names of time intervals.
    pub muted_by: Vec<String>,
}

/// A group as it is shown.
#[derive(Clone, Debug)]
pub struct GroupView {
    /// Labels its alerts share by its route.
    pub labels: Labels,
    /// Who is told.
    pub receiver: String,
    /// Its alerts.
    pub alerts: Vec<Alert>,
    /// Intervals that keep it quiet.
    pub muted_by: Vec<String>,
}

/// All that must survive.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Snapshot {
    /// Silences.
    pub silences: Vec<Silence>,
    /// Alerts.
    pub alerts: Vec<Alert>,
    /// The notification log: by group and by integration.
    pub log: Vec<(String, String, Entry)>,
    /// When groups are due next.
    #[serde(default)]
    pub due: Vec<(String, i64)>,
}

#[derive(Debug, Default)]
struct Attempts {
    /// The message on its way, with what it says.
    sending: Option<(u64, BTreeSet<u64>, BTreeSet<u64>)>,
    failed: u32,
    retry_at: Option<i64>,
}

#[derive(Debug)]
struct Group {
    route: String,
    labels: Labels,
    alerts: BTreeMap<u64, Alert>,
    due: i64,
    flushed: bool,
    integrations: BTreeMap<usize, Attempts>,
}

/// Decides who is told what, and when.
#[derive(Debug)]
pub struct Dispatcher {
    config: Arc<Config>,
    external_url: String,
    alerts: BTreeMap<u64, Alert>,
    groups: BTreeMap<String, Group>,
    silences: Silences,
    log: BTreeMap<(String, String), Entry>,
    /// When groups were due before a restart.
    due: BTreeMap<String, i64>,
    sent: u64,
    refused: u64,
}

impl Dispatcher {
    /// Takes up what was kept.
    pub fn new(config: Arc<Config>, external_url: &str, kept: Snapshot, now: i64) -> Self {
        let mut made = Self {
            config,
            external_url: external_url.to_owned(),
            alerts: BTreeMap::new(),
            groups: BTreeMap::new(),
            silences: Silences::default(),
            log: BTreeMap::new(),
            due: kept.due.into_iter().collect(),
            sent: 0,
            refused: 0,
        };
        for silence in kept.silences {
            if let Ok(compiled) = silence.compiled() {
                let entry = (silence.clone(), compiled);
                made.silences.0.insert(silence.id, entry);
            }
        }
        for (group, integration, entry) in kept.log {
            made.log.insert((group, integration), entry);
        }
        for alert in kept.alerts {
            made.alerts.insert(fingerprint(&alert.labels), alert);
        }
        made.regroup(now);
        made
    }

    /// What must survive.
    pub fn snapshot(&self) -> Snapshot {
        let silences = self.silences.0.values();
        let log = self.log.iter();
        Snapshot {
            silences: silences.map(|(silence, _)| silence.clone()).collect(),
            alerts: self.alerts.values().cloned().collect(),
            log: log
                .map(|((group, to), entry)| (group.clone(), to.clone(), entry.clone()))
                .collect(),
            due: self
                .groups
                .iter()
                .map(|(key, g)| (key.clone(), g.due))
                .collect(),
        }
    }

    /// Goes on with another configuration.
    pub fn reload(&mut self, config: Arc<Config>, now: i64) {
        self.due = self
            .groups
            .iter()
            .map(|(key, g)| (key.clone(), g.due))
            .collect();
        self.config = config;
        self.regroup(now);
    }

    /// The configuration that counts.
    pub fn config(&self) -> &Arc<Config> {
        &self.config
    }

    fn regroup(&mut self, now: i64) {
        self.groups.clear();
        for alert in self.alerts.clone().into_values() {
            self.route(&alert, now);
        }
        self.due.clear();
    }

    fn route(&mut self, alert: &Alert, now: i64) {
        let config = self.config.clone();
        for route in config.route.matching(&alert.labels) {
            let labels = route.group_labels(&alert.labels);
            let key = group_key(route, &labels);
            let due = self.due.get(&key).copied();
            let group = self.groups.entry(key).or_insert_with(|| Group {
                route: route.id.clone(),
                labels,
                alerts: BTreeMap::new(),
                due: due.unwrap_or(now + route.group_wait_ms),
                flushed: due.is_some(),
                integrations: BTreeMap::new(),
            });
            // What has lasted longer than the wait need not wait.
            if !group.flushed && alert.starts_at + route.group_wait_ms < now {
                group.due = now;
            }
            group
                .alerts
                .insert(fingerprint(&alert.labels), alert.clone());
        }
    }

    /// Takes in alerts; how many were not taken since there are too many.
    pub fn alerts(&mut self, alerts: Vec<Alert>, now: i64) -> usize {
        let mut refused = 0;
        for alert in alerts {
            let id = fingerprint(&alert.labels);
            let alert = match self.alerts.remove(&id) {
                Some(known) => known.merged(alert),
                None if self.alerts.len() >= MAX_ALERTS => {
                    refused += 1;
                    continue;
                }
                None => alert,
            };
            // What is over and was never told need not be.
            self.alerts.insert(id, alert.clone());
            self.route(&alert, now);
        }
        self.refused += refused as u64;
        refused
    }

    /// Makes a silence, or changes the one with its id; the id it has then.
    ///
    /// # Errors
    /// It contradicts itself, or there is none with its id.
    pub fn silence(
        &mut self,
        mut silence: Silence,
        fresh_id: String,
        now: i64,
    ) -> Result<String, SilenceError> {
        silence.updated_at = now;
        let compiled = silence.check()?;
        let known = match silence.id.as_str() {
            "" => None,
            id => Some(
                self.silences
                    .0
                    .get(id)
                    .ok_or(SilenceError::NotFound)?
                    .0
                    .clone(),
            ),
        };
        match known {
            Some(old) if can_change(&old, &silence, now) => {
                if old.state(now) == SilenceState::Active {
                    silence.starts_at = old.starts_at;
                }
            }
            known => {
                if silence.ends_at <= now {
                    let why = "end time must not be in the past";
                    return Err(SilenceError::Invalid(why.to_owned()));
                }
                if let Some(old) = known {
                    // It becomes another one, and the old one is over.
                    let _ = self.expire(&old.id, now);
                }
                silence.id = fresh_id;
                silence.starts_at = silence.starts_at.max(now);
            }
        }
        let id = silence.id.clone();
        self.silences.0.insert(id.clone(), (silence, compiled));
        Ok(id)
    }

    /// Ends a silence.
    ///
    /// # Errors
    /// There is none with this id, or it is over.
    pub fn expire(&mut self, id: &str, now: i64) -> Result<(), SilenceError> {
        let found = self.silences.0.get_mut(id);
        let (silence, _) = found.ok_or(SilenceError::NotFound)?;
        match silence.state(now) {
            SilenceState::Expired => {
                let why = format!("silence {id} already expired");
                return Err(SilenceError::Invalid(why));
            }
            SilenceState::Active => silence.ends_at = now,
            SilenceState::Pending => {
                silence.starts_at = now;
                silence.ends_at = now;
            }
        }
        silence.updated_at = now;
        Ok(())
    }

    /// All silences.
    pub fn silences(&self) -> impl Iterator<Item = &Silence> {
        self.silences.0.values().map(|(silence, _)| silence)
    }

    /// All alerts that are held.
    pub fn all(&self) -> impl Iterator<Item = &Alert> {
        self.alerts.values()
    }

    /// Receivers an alert goes to.
    pub fn receivers(&self, labels: &Labels) -> Vec<String> {
        let routes = self.config.route.matching(labels).into_iter();
        let mut names: Vec<String> = routes.map(|route| route.receiver.clone()).collect();
        names.dedup();
        names
    }

    /// Why an alert is not told at a time.
    pub fn muted(&self, labels: &Labels, now: i64) -> Muted {
        let firing = || {
            let firing = self.alerts.values().filter(|alert| !alert.resolved_at(now));
            firing.map(|alert| &alert.labels)
        };
        let rules = self.config.inhibit_rules.iter();
        let source = rules
            .filter_map(|rule| rule.source_of(labels, firing()))
            .next();
        Muted {
            silenced_by: self.silences.of(labels, now),
            inhibited_by: source
                .map(|labels| format!("{:016x}", fingerprint(labels)))
                .into_iter()
                .collect(),
            muted_by: Vec::new(),
        }
    }

    /// Intervals that keep a route quiet at a time.
    fn quiet(&self, route: &Route, now: i64) -> Vec<String> {
        let within = |name: &&String| {
            let intervals = self.config.time_intervals.get(*name);
            intervals.is_some_and(|all| all.iter().any(|one| one.contains(now)))
        };
        let active = &route.active_time_intervals;
        if !active.is_empty() && !active.iter().any(|name| within(&name)) {
            return active.clone();
        }
        let muting = route.mute_time_intervals.iter().filter(within);
        muting.cloned().collect()
    }

    /// All groups, as they are shown.
    pub fn groups(&self, now: i64) -> Vec<GroupView> {
        let groups = self.groups.values().filter(|g| !g.alerts.is_empty());
        groups
            .filter_map(|group| {
                let route = self.config.route.find(&group.route)?;
                Some(GroupView {
                    labels: group.labels.clone(),
                    receiver: route.receiver.clone(),
                    alerts: group.alerts.values().cloned().collect(),
                    muted_by: self.quiet(route, now),
                })
            })
            .collect()
    }

    /// When there is something to do next.
    pub fn next(&self) -> Option<i64> {
        let groups = self.groups.values();
        groups
            .flat_map(|group| {
                let retries = group.integrations.values().filter_map(|a| a.retry_at);
                retries.chain([group.due])
            })
            .min()
    }

    /// What is to be sent at a time.
    pub fn tick(&mut self, now: i64) -> Vec<Send> {
        self.forget(now);
        let mut out = Vec::new();
        let keys: Vec<String> = self.groups.keys().cloned().collect();
        for key in keys {
            self.flush(&key, now, &mut out);
        }
        self.groups.retain(|_, group| !group.alerts.is_empty());
        out
    }

    fn flush(&mut self, key: &str, now: i64, out: &mut Vec<Send>) {
        let config = self.config.clone();
        let Some(mut group) = self.groups.remove(key) else {
            return;
        };
        let Some(route) = config.route.find(&group.route) else {
            return;
        };
        let due = group.due <= now;
        if due {
            group.flushed = true;
            group.due = now + route.group_interval_ms;
        }
        let retried = |a: &Attempts| a.retry_at.is_some_and(|at| at <= now);
        if due || group.integrations.values().any(retried) {
            let told = self.told(route, &group, now);
            let count = config
                .receiver(&route.receiver)
                .map_or(0, |r| r.integrations.len());
            for integration in 0..count {
                let attempts = group.integrations.entry(integration).or_default();
                // A retry waits for its time, even if the group is due.
                let wanted = match attempts.retry_at {
                    Some(at) => at <= now,
                    None => due,
                };
                if wanted && attempts.sending.is_none() {
                    let send = self.attempt(key, &group, route, integration, &told, now);
                    let attempts = group.integrations.entry(integration).or_default();
                    match send {
                        Some((send, sending)) => {
                            attempts.sending = Some(sending);
                            attempts.retry_at = None;
                            out.push(send);
                        }
                        None => *attempts = Attempts::default(),
                    }
                }
            }
            self.settle(&mut group, now);
        }
        self.groups.insert(key.to_owned(), group);
    }

    /// Alerts of a group that are to be told, and whether each fires.
    fn told(&self, route: &Route, group: &Group, now: i64) -> Vec<(Alert, bool)> {
        if !self.quiet(route, now).is_empty() {
            return Vec::new();
        }
        let mut told: Vec<(Alert, bool)> = group
            .alerts
            .values()
            .filter(|alert| {
                let muted = self.muted(&alert.labels, now);
                muted.silenced_by.is_empty() && muted.inhibited_by.is_empty()
            })
            .map(|alert| (alert.clone(), !alert.resolved_at(now)))
            .collect();
        told.sort_by(|(a, x), (b, y)| y.cmp(x).then_with(|| a.labels.cmp(&b.labels)));
        told
    }

    #[allow(clippy::type_complexity)] // a send, and what is kept of it
    fn attempt(
        &mut self,
        key: &str,
        group: &Group,
        route: &Route,
        integration: usize,
        told: &[(Alert, bool)],
        now: i64,
    ) -> Option<(Send, (u64, BTreeSet<u64>, BTreeSet<u64>))> {
        if told.is_empty() {
            return None;
        }
        let config = self.config.clone();
        let of = config
            .receiver(&route.receiver)?
            .integrations
            .get(integration)?;
        let ids = |wanted: bool| {
            let some = told.iter().filter(move |(_, firing)| *firing == wanted);
            some.map(|(alert, _)| fingerprint(&alert.labels))
                .collect::<BTreeSet<u64>>()
        };
        let (firing, resolved) = (ids(true), ids(false));
        let place = (key.to_owned(), format!("{}/{}", route.receiver, of.name()));
        let entry = self.log.get(&place);
        let repeat = route.repeat_interval_ms;
        if !needs_update(entry, &firing, &resolved, of.send_resolved, repeat, now) {
            return None;
        }
        let before = entry.map_or(0, |entry| entry.at);
        let mut alerts = told.to_vec();
        if !of.send_resolved {
            alerts.retain(|(_, firing)| *firing);
            if alerts.is_empty() {
                // That all is over is noted, and nothing is sent.
                self.log.insert(
                    place,
                    Entry {
                        at: now,
                        firing,
                        resolved,
                    },
                );
                return None;
            }
        }
        self.sent += 1;
        let attempt = group.integrations.get(&integration).map_or(0, |a| a.failed);
        let facts = format!("{key}\n{}\n{firing:?}{resolved:?}{before}", place.1);
        let send = Send {
            id: self.sent,
            receiver: route.receiver.clone(),
            integration,
            message: Message {
                receiver: route.receiver.clone(),
                group_key: key.to_owned(),
                group_labels: group.labels.clone(),
                alerts,
                external_url: self.external_url.clone(),
                now,
            },
            idempotency_key: hash(&facts),
            attempt,
        };
        Some((send, (self.sent, firing, resolved)))
    }

    /// Lets go of alerts that are over and of which everyone knows.
    fn settle(&mut self, group: &mut Group, now: i64) {
        let open = |a: &Attempts| a.sending.is_some() || a.retry_at.is_some();
        if group.integrations.values().any(open) {
            return;
        }
        group.alerts.retain(|_, alert| !alert.resolved_at(now));
    }

    /// Takes in how sending went.
    pub fn done(&mut self, id: u64, outcome: &Outcome, now: i64) {
        let keys = self.groups.iter().find_map(|(key, group)| {
            let mut all = group.integrations.iter();
            all.find_map(|(integration, attempts)| {
                let sending = attempts.sending.as_ref()?;
                (sending.0 == id).then(|| (key.clone(), *integration))
            })
        });
        let Some((key, integration)) = keys else {
            return;
        };
        let config = self.config.clone();
        let Some(mut group) = self.groups.remove(&key) else {
            return;
        };
        if let Some(attempts) = group.integrations.get_mut(&integration)
            && let Some((_, firing, resolved)) = attempts.sending.take()
        {
            match outcome {
                Outcome::Delivered => {
                    *attempts = Attempts::default();
                    if let Some(route) = config.route.find(&group.route)
                        && let Some(receiver) = config.receiver(&route.receiver)
                        && let Some(of) = receiver.integrations.get(integration)
                    {
                        let place = (key.clone(), format!("{}/{}", route.receiver, of.name()));
                        self.log.insert(
                            place,
                            Entry {
                                at: now,
                                firing,
                                resolved,
                            },
                        );
                    }
                }
                Outcome::Later(after) => {
                    attempts.failed += 1;
                    let doubled = RETRY_MS.0 << attempts.failed.saturating_sub(1).min(10);
                    let wait = doubled.min(RETRY_MS.1).max(after.unwrap_or(0));
                    attempts.retry_at = Some(now + wait);
                }
                // It is tried again when the group is due, as upstream does.
                Outcome::Refused => *attempts = Attempts::default(),
            }
        }
        if *outcome == Outcome::Delivered {
            self.settle(&mut group, now);
        }
        self.groups.insert(key, group);
    }

    /// Lets go of what nobody asks for any more.
    fn forget(&mut self, now: i64) {
        self.silences
            .0
            .retain(|_, (silence, _)| silence.ends_at + RETENTION_MS > now);
        let longest = self.longest_repeat();
        self.log
            .retain(|_, entry| entry.at + longest.max(RETENTION_MS) > now);
        let held: BTreeSet<u64> = self
            .groups
            .values()
            .flat_map(|group| group.alerts.keys().copied())
            .collect();
        self.alerts
            .retain(|id, alert| !alert.resolved_at(now) || held.contains(id));
    }

    fn longest_repeat(&self) -> i64 {
        let mut longest = 0;
        self.config.route.walk(&mut |route| {
            longest = longest.max(2 * route.repeat_interval_ms);
        });
        longest
    }
}

/// What names a group.
fn group_key(route: &Route, labels: &Labels) -> String {
    let each: Vec<String> = labels
        .iter()
        .map(|(name, value)| format!("{name}={}", towpath_query::promql::quote(value)))
        .collect();
    format!("{}:{{{}}}", route.key, each.join(", "))
}

/// Whether a silence can become another without becoming a new one.
fn can_change(old: &Silence, new: &Silence, now: i64) -> bool {
    if old.matchers != new.matchers {
        return false;
    }
    match old.state(now) {
        SilenceState::Active => new.starts_at / 1000 == old.starts_at / 1000 && new.ends_at >= now,
        SilenceState::Pending => new.starts_at >= now,
        SilenceState::Expired => false,
    }
}
