//! Rules evaluated on the clock, over the store of samples.
//!
//! [`Engine`] holds the groups of all rule files it is given. Each group is evaluated at its own
//! place within its interval, off the reactor, a few at a time; what it writes goes to the store,
//! its alerts to [`Told`]. State from before a restart is taken up from the series of alerts.

mod objects;
mod output;
#[cfg(test)]
mod tests;
mod view;
mod watched;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::{Notify, Semaphore};
use tokio_util::sync::CancellationToken;
use towpath_alerting::Finding;
use towpath_alerting::rules::{self, Group, Notice, Restore, Shared, World};
use towpath_query::promql::{Labels, Settings as QuerySettings};
use towpath_signals::{Append, Read};
use towpath_stdx::Clock;

pub use crate::operator::PrometheusRule;
use crate::prometheus::{RuleGroup, Rules};
pub use objects::file;

use output::Store;
use watched::Watched;

/// After a start all targets are taken to be scraped again within this time.
const SCRAPED_MS: i64 = 30_000;

/// Takes alerts of rules.
pub trait Told: Send + Sync {
    /// Takes alerts that fire, and those that are over.
    fn told(&self, notices: Vec<Notice>);

    /// URLs under which it is reached, for answers.
    fn urls(&self) -> Vec<String>;

    /// Whether it wants to know which alerts of before the start are over.
    fn waits(&self) -> bool {
        false
    }

    /// Takes which alerts rules have, once they were evaluated over samples that are younger than
    /// the start. False where it is to be told again.
    fn settled(&self, _rules: Vec<Settled>) -> bool {
        true
    }
}

/// An alerting rule and the alerts it has now.
#[derive(Clone, Debug)]
pub struct Settled {
    /// The alert's name.
    pub name: String,
    /// Its expression.
    pub expr: String,
    /// Labels it adds, as they are written.
    pub labels: BTreeMap<String, String>,
    /// When it was evaluated, in milliseconds since the epoch.
    pub at: i64,
    /// Labels of the alerts that hold, however long.
    pub active: Vec<Labels>,
}

/// How rules are evaluated.
#[derive(Clone, Debug)]
pub struct Settings {
    /// What all groups share.
    pub shared: Shared,
    /// How state is taken up again.
    pub restore: Restore,
    /// Groups evaluated at a time.
    pub concurrency: usize,
    /// The most samples a query of a rule may have in memory.
    pub max_samples: usize,
    /// The longest a query of a rule may take.
    pub query_timeout: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            shared: Shared::default(),
            restore: Restore::default(),
            concurrency: 2,
            max_samples: 10_000_000,
            query_timeout: Duration::from_secs(30),
        }
    }
}

/// What was evaluated so far.
#[derive(Debug, Default)]
pub struct Counts {
    /// Evaluations of groups.
    pub evaluations: AtomicU64,
    /// Rules that failed.
    pub failures: AtomicU64,
    /// Evaluations that did not take place in time.
    pub missed: AtomicU64,
}

/// A group, and what is shown of it without waiting for its evaluation.
struct Slot {
    group: Mutex<Group>,
    view: Mutex<RuleGroup>,
    state: Mutex<Turn>,
    /// Whether it was told which alerts of before the start are over.
    settled: AtomicBool,
}

/// Where a group stands on the clock.
struct Turn {
    next: i64,
    interval_ms: i64,
    busy: bool,
    /// Evaluations so far; after the second one state is taken up.
    evaluated: u32,
    /// Evaluations that did not take place.
    missed: u64,
    /// Evaluations of rules, and those that failed.
    rules: (u64, u64),
}

/// How a group does. Times are in seconds.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Tally {
    /// Its file and its name, as upstream joins them.
    pub group: String,
    /// Its rules.
    pub rules: usize,
    /// Between two evaluations.
    pub interval: f64,
    /// How long the last evaluation took.
    pub last_seconds: f64,
    /// When it was, since the epoch; 0 before the first.
    pub last_at: f64,
    /// Evaluations.
    pub evaluations: u64,
    /// Evaluations that did not take place.
    pub missed: u64,
    /// Evaluations of its rules.
    pub rule_evaluations: u64,
    /// Those that failed.
    pub failures: u64,
}

type Key = (String, String);

/// Evaluates rules. Cheap to share.
pub struct Engine {
    read: Arc<dyn Read>,
    append: Arc<dyn Append>,
    clock: Arc<dyn Clock>,
    told: Arc<dyn Told>,
    settings: Settings,
    started_at: i64,
    slots: Mutex<BTreeMap<Key, Arc<Slot>>>,
    changed: Notify,
    places: Arc<Semaphore>,
    counts: Counts,
}

impl Engine {
    /// An engine without rules.
    pub fn new(
        read: Arc<dyn Read>,
        append: Arc<dyn Append>,
        clock: Arc<dyn Clock>,
        told: Arc<dyn Told>,
        settings: Settings,
    ) -> Arc<Self> {
        let places = Arc::new(Semaphore::new(settings.concurrency.max(1)));
        let started_at = i64::try_from(clock.since_epoch().as_millis()).unwrap_or(i64::MAX);
        Arc::new(Self {
            started_at,
            read,
            append,
            clock,
            told,
            settings,
            slots: Mutex::default(),
            changed: Notify::new(),
            places,
            counts: Counts::default(),
        })
    }

    /// What was evaluated so far.
    pub fn counts(&self) -> &Counts {
        &self.counts
    }

    /// How the groups do, in order of file and name.
    pub fn tallies(&self) -> Vec<Tally> {
        let slots: Vec<(Key, Arc<Slot>)> = {
            let slots = self.slots.lock();
            slots.iter().map(|(k, s)| (k.clone(), s.clone())).collect()
        };
        let tally = |((file, name), slot): (Key, Arc<Slot>)| {
            let mut tally = Tally {
                group: format!("{file};{name}"),
                ..Tally::default()
            };
            {
                let view = slot.view.lock();
                tally.rules = view.rules.len();
                tally.interval = view.interval;
                tally.last_seconds = view.evaluation_time;
                tally.last_at = view.last_evaluation_ns.unwrap_or(0) as f64 / 1e9;
            }
            let turn = slot.state.lock();
            tally.evaluations = u64::from(turn.evaluated);
            tally.missed = turn.missed;
            (tally.rule_evaluations, tally.failures) = turn.rules;
            tally
        };
        slots.into_iter().map(tally).collect()
    }

    fn now(&self) -> i64 {
        i64::try_from(self.clock.since_epoch().as_millis()).unwrap_or(i64::MAX)
    }

    /// Replaces all rules by those of these files, each a name and a text. Groups that stay keep
    /// their state. A file with faults keeps what it had before; the faults are returned.
    pub fn set(&self, files: &[(String, String)]) -> Vec<(String, Vec<Finding>)> {
        let now = self.now();
        let mut faults = Vec::new();
        let mut slots = self.slots.lock();
        let mut old = std::mem::take(&mut *slots);
        for (file, text) in files {
            let specs = match rules::read(text) {
                Ok(specs) => specs,
                Err(findings) => {
                    let kept: Vec<Key> = old.keys().filter(|k| k.0 == *file).cloned().collect();
                    for key in kept {
                        if let Some(slot) = old.remove(&key) {
                            slots.insert(key, slot);
                        }
                    }
                    faults.push((file.clone(), findings));
                    continue;
                }
            };
            for spec in specs {
                let key = (file.clone(), spec.name.clone());
                let mut group = Group::new(file, spec, &self.settings.shared, false);
                let (mut evaluated, mut missed, mut counted) = (0, 0, (0, 0));
                let mut settled = false;
                if let Some(known) = old.remove(&key) {
                    let turn = known.state.lock();
                    (evaluated, missed, counted) = (turn.evaluated, turn.missed, turn.rules);
                    drop(turn);
                    settled = known.settled.load(Ordering::Relaxed);
                    group.adopt(known.group.lock().clone());
                }
                let next = group.next(now);
                let slot = Slot {
                    view: Mutex::new(view::group(&group)),
                    settled: AtomicBool::new(settled),
                    state: Mutex::new(Turn {
                        next,
                        interval_ms: group.interval_ms,
                        busy: false,
                        evaluated,
                        missed,
                        rules: counted,
                    }),
                    group: Mutex::new(group),
                };
                slots.insert(key, Arc::new(slot));
            }
        }
        drop(slots);
        let store = Store::new(&*self.append);
        for slot in old.into_values() {
            let group = slot.group.lock().clone();
            if let Err(error) = group.end(now, &store) {
                tracing::warn!(%error, "series of rules that are no more are not ended");
            }
        }
        self.changed.notify_one();
        faults
    }

    /// Evaluates groups as their times come, until it is cancelled.
    pub async fn run(self: Arc<Self>, cancel: CancellationToken) {
        while !cancel.is_cancelled() {
            let now = self.now();
            let mut next = now + 60_000;
            let slots: Vec<Arc<Slot>> = self.slots.lock().values().cloned().collect();
            for slot in slots {
                if let Some(at) = self.due(&slot, now) {
                    let engine = Arc::clone(&self);
                    let turn = Arc::clone(&slot);
                    let places = Arc::clone(&self.places);
                    towpath_daemon::spawn("rule group", async move {
                        let Ok(_place) = places.acquire_owned().await else {
                            return;
                        };
                        let done = tokio::task::spawn_blocking(move || engine.evaluate(&turn, at));
                        if done.await.is_err() {
                            tracing::error!("evaluation of a rule group ended in a fault");
                        }
                    });
                }
                next = next.min(slot.state.lock().next);
            }
            let wait = u64::try_from(next - self.now()).unwrap_or(0).max(5);
            tokio::select! {
                () = cancel.cancelled() => {}
                () = self.changed.notified() => {}
                () = tokio::time::sleep(Duration::from_millis(wait)) => {}
            }
        }
    }

    /// The time a group is to be evaluated at now, if it is.
    fn due(&self, slot: &Slot, now: i64) -> Option<i64> {
        let mut turn = slot.state.lock();
        if turn.next > now {
            return None;
        }
        // Of times that have passed the last one counts.
        let interval = turn.interval_ms.max(1);
        let late = (now - turn.next) / interval;
        let at = turn.next + late * interval;
        turn.next = at + interval;
        let missed = late.unsigned_abs() + u64::from(turn.busy);
        self.counts.missed.fetch_add(missed, Ordering::Relaxed);
        turn.missed += missed;
        if turn.busy {
            return None;
        }
        turn.busy = true;
        Some(at)
    }

    fn evaluate(&self, slot: &Slot, at: i64) {
        let begun = self.clock.monotonic();
        let limit = self.settings.query_timeout;
        let stop = || {
            let late = self.clock.monotonic().duration_since(begun) > limit;
            late.then_some(towpath_query::promql::Stop::TimedOut)
        };
        let seconds = || self.clock.monotonic().duration_since(begun).as_secs_f64();
        let store = Store::new(&*self.append);
        let source: &dyn Read = &*self.read;
        let samples = output::Samples(source);
        let watched = Watched::new(&samples, self.started_at);
        let waits = !slot.settled.load(Ordering::Relaxed) && self.told.waits();
        let world = World {
            source: if waits { &watched } else { &samples },
            output: &store,
            settings: QuerySettings {
                max_samples: self.settings.max_samples,
                stop: Some(&stop),
                ..QuerySettings::default()
            },
            shared: &self.settings.shared,
            seconds: &seconds,
        };
        let mut group = slot.group.lock();
        let notices = group.evaluate(at, &world);
        let evaluated = {
            let mut turn = slot.state.lock();
            turn.evaluated = turn.evaluated.saturating_add(1);
            turn.evaluated
        };
        // After the first one recording rules may still lack what alerts depend on.
        if evaluated == 2 {
            for fault in self.settings.restore.run(&mut group, at, world.source) {
                tracing::warn!(%fault, group = group.name, "state of alerts is not taken up");
            }
        }
        self.counts.evaluations.fetch_add(1, Ordering::Relaxed);
        let mut failures = 0;
        for rule in &group.rules {
            if let rules::Health::Bad(why) = &rule.health {
                failures += 1;
                self.counts.failures.fetch_add(1, Ordering::Relaxed);
                tracing::debug!(group = group.name, rule = rule.name(), %why, "rule failed");
            }
        }
        {
            let mut turn = slot.state.lock();
            turn.rules.0 += group.rules.len() as u64;
            turn.rules.1 += failures;
        }
        *slot.view.lock() = view::group(&group);
        // Twice, so that what recording rules gave the first time has been seen as well.
        let settles =
            waits && evaluated >= 2 && at - self.started_at >= SCRAPED_MS && watched.current();
        let settled = settles.then(|| settled(&group, at));
        drop(group);
        slot.state.lock().busy = false;
        if !notices.is_empty() {
            self.told.told(notices);
        }
        if let Some((rules, all)) = settled
            && self.told.settled(rules)
        {
            slot.settled.store(all, Ordering::Relaxed);
        }
    }
}

/// Alerts of the rules of a group that were evaluated well, and whether those are all.
fn settled(group: &Group, at: i64) -> (Vec<Settled>, bool) {
    let mut all = true;
    let mut rules = Vec::new();
    for rule in &group.rules {
        if rule.health != rules::Health::Good {
            all = false;
            continue;
        }
        let Some(alerting) = rule.alerting() else {
            continue;
        };
        rules.push(Settled {
            name: alerting.name.clone(),
            expr: alerting.expr.to_string(),
            labels: alerting.labels.clone(),
            at,
            active: alerting.current().map(|a| a.labels.clone()).collect(),
        });
    }
    (rules, all)
}

impl Rules for Engine {
    fn groups(&self) -> Vec<RuleGroup> {
        let slots = self.slots.lock();
        slots
            .values()
            .map(|slot| slot.view.lock().clone())
            .collect()
    }

    fn alertmanagers(&self) -> Vec<String> {
        self.told.urls()
    }
}
