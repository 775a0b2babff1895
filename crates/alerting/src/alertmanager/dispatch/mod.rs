//! The state, and what follows from it.
//!
//! The order is upstream's: route, group, inhibit, time intervals, silence, then per integration
//! what the notification log says; then the throttle. A message that fails is tried again, later
//! and later, and then says what is true at that time: an alert that fired and ended while its
//! receiver was away is told too. What was told is noted once it is known to have arrived, so that
//! a server that ends in between tells it twice rather than never.

mod counts;
mod event;
mod flush;
mod mute;
mod outcome;
mod throttle;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::alert::{Alert, fingerprint};
use super::config::Config;
use super::log::Entry;
use super::message::Message;
use super::route::Route;
use super::silence::{Silence, Silences};
pub use counts::Counts;
use event::Events;
pub use event::{Cause, Event, What};
pub use mute::{GroupView, Muted};
pub use outcome::Outcome;
use throttle::Digest;
pub use throttle::{Bucket, Throttle};

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
    /// Alerts that fired and are still to be told: by group and by integration.
    #[serde(default)]
    pub owed: Vec<(String, String, BTreeSet<u64>)>,
    /// What is left of throttles, by integration.
    #[serde(default)]
    pub buckets: Vec<(String, Bucket)>,
}

/// What a message says, by fingerprints.
#[derive(Clone, Debug, Default, PartialEq)]
struct Sending {
    firing: BTreeSet<u64>,
    resolved: BTreeSet<u64>,
}

impl Sending {
    fn count(&self) -> usize {
        self.firing.len() + self.resolved.len()
    }
}

#[derive(Debug, Default)]
struct Attempts {
    /// The message on its way, with what it says.
    sending: Option<(u64, Sending)>,
    failed: u32,
    retry_at: Option<i64>,
    /// Whether it waits for a digest.
    held: bool,
}

#[derive(Debug)]
struct Group {
    route: String,
    labels: Labels,
    alerts: BTreeMap<u64, Alert>,
    due: i64,
    flushed: bool,
    integrations: BTreeMap<usize, Attempts>,
    /// Alerts that are not told, and why, as it was last noted.
    suppressed: BTreeMap<u64, Vec<Cause>>,
}

/// A group, and an integration by its receiver's name and its own.
type Place = (String, String);

/// Decides who is told what, and when.
#[derive(Debug)]
pub struct Dispatcher {
    config: Arc<Config>,
    external_url: String,
    alerts: BTreeMap<u64, Alert>,
    /// Alerts of which it is known that they fire.
    burning: BTreeSet<u64>,
    groups: BTreeMap<String, Group>,
    silences: Silences,
    log: BTreeMap<Place, Entry>,
    owed: BTreeMap<Place, BTreeSet<u64>>,
    buckets: BTreeMap<String, Bucket>,
    /// By receiver and integration.
    digests: BTreeMap<(String, usize), Digest>,
    /// Integrations that asked for time, and until when.
    pauses: BTreeMap<String, i64>,
    /// When groups were due before a restart.
    due: BTreeMap<String, i64>,
    events: Events,
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
            burning: BTreeSet::new(),
            groups: BTreeMap::new(),
            silences: Silences::default(),
            log: BTreeMap::new(),
            owed: BTreeMap::new(),
            buckets: kept.buckets.into_iter().collect(),
            digests: BTreeMap::new(),
            pauses: BTreeMap::new(),
            due: kept.due.into_iter().collect(),
            events: Events::default(),
            sent: 0,
            refused: 0,
        };
        for silence in kept.silences {
            made.silences.restore(silence);
        }
        for (group, integration, entry) in kept.log {
            made.log.insert((group, integration), entry);
        }
        for (group, integration, owed) in kept.owed {
            made.owed.insert((group, integration), owed);
        }
        for alert in kept.alerts {
            let id = fingerprint(&alert.labels);
            made.burning.insert(id);
            made.alerts.insert(id, alert);
        }
        made.regroup(now);
        // What was not told before is tried at once.
        for (key, _) in made.owed.keys() {
            if let Some(group) = made.groups.get_mut(key) {
                group.due = group.due.min(now);
            }
        }
        made
    }

    /// What must survive.
    pub fn snapshot(&self) -> Snapshot {
        let log = self.log.iter();
        let owed = self.owed.iter();
        Snapshot {
            silences: self.silences.all().cloned().collect(),
            alerts: self.alerts.values().cloned().collect(),
            log: log
                .map(|((group, to), entry)| (group.clone(), to.clone(), entry.clone()))
                .collect(),
            due: self.dues(),
            owed: owed
                .map(|((group, to), owed)| (group.clone(), to.clone(), owed.clone()))
                .collect(),
            buckets: self.buckets.clone().into_iter().collect(),
        }
    }

    fn dues<T: FromIterator<(String, i64)>>(&self) -> T {
        let groups = self.groups.iter();
        groups
            .map(|(key, group)| (key.clone(), group.due))
            .collect()
    }

    /// Goes on with another configuration.
    pub fn reload(&mut self, config: Arc<Config>, now: i64) {
        self.due = self.dues();
        self.config = config;
        // What was held back is decided anew.
        self.digests.clear();
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
                suppressed: BTreeMap::new(),
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
            self.turn(id, &alert, now);
            self.alerts.insert(id, alert.clone());
            self.route(&alert, now);
        }
        self.refused += refused as u64;
        refused
    }

    /// Notes that an alert begins or is over.
    fn turn(&mut self, id: u64, alert: &Alert, now: i64) {
        let firing = !alert.resolved_at(now);
        let what = match (firing, self.burning.contains(&id)) {
            (true, false) => {
                self.burning.insert(id);
                What::Fires {
                    annotations: alert.annotations.clone(),
                    starts_at: alert.starts_at,
                    generator_url: alert.generator_url.clone(),
                }
            }
            (false, true) => {
                self.burning.remove(&id);
                What::Resolves {
                    starts_at: alert.starts_at,
                    ends_at: alert.ends_at,
                }
            }
            _ => return,
        };
        self.events.push(Event {
            at: now,
            fingerprint: id,
            labels: alert.labels.clone(),
            what,
        });
    }

    /// What happened since this was last asked, and how much of it there was no room for.
    pub fn events(&mut self) -> (Vec<Event>, u64) {
        self.events.take()
    }

    /// When there is something to do next.
    pub fn next(&self) -> Option<i64> {
        let groups = self.groups.values();
        let flushes = groups.flat_map(|group| {
            let retries = group.integrations.values().filter_map(|a| a.retry_at);
            retries.chain([group.due])
        });
        let digests = self
            .digests
            .iter()
            .filter(|(_, digest)| digest.sending.is_none() && !digest.held.is_empty());
        let digests = digests.map(|(to, digest)| self.digest_due(to, digest));
        flushes.chain(digests).chain(self.silences.next()).min()
    }

    /// Lets go of what nobody asks for any more.
    fn forget(&mut self, now: i64) {
        let ended: Vec<(u64, Alert)> = self
            .burning
            .iter()
            .filter_map(|id| Some((*id, self.alerts.get(id)?)))
            .filter(|(_, alert)| alert.resolved_at(now))
            .map(|(id, alert)| (id, alert.clone()))
            .collect();
        for (id, alert) in ended {
            self.turn(id, &alert, now);
        }
        self.silences.forget(now - RETENTION_MS);
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
        self.burning.retain(|id| self.alerts.contains_key(id));
        self.owed
            .retain(|(group, _), _| self.groups.contains_key(group));
        self.pauses.retain(|_, until| *until > now);
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
