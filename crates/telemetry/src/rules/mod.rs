//! Rules evaluated on the clock, over the store of samples.
//!
//! [`Engine`] holds the groups of all rule files it is given. Each group is evaluated at its own
//! place within its interval, off the reactor, a few at a time; what it writes goes to the store,
//! its alerts to [`Told`]. State from before a restart is taken up from the series of alerts.

mod objects;
mod output;
mod view;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::{Notify, Semaphore};
use tokio_util::sync::CancellationToken;
use towpath_alerting::Finding;
use towpath_alerting::rules::{self, Group, Notice, Restore, Shared, World};
use towpath_query::promql::Settings as QuerySettings;
use towpath_signals::{Append, Read};
use towpath_stdx::Clock;

use crate::prometheus::{RuleGroup, Rules};
pub use objects::{PrometheusRule, definition, file};

use output::Store;

/// Takes alerts of rules.
pub trait Told: Send + Sync {
    /// Takes alerts that fire, and those that are over.
    fn told(&self, notices: Vec<Notice>);

    /// URLs under which it is reached, for answers.
    fn urls(&self) -> Vec<String>;
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
}

/// Where a group stands on the clock.
struct Turn {
    next: i64,
    interval_ms: i64,
    busy: bool,
    /// Evaluations so far; after the second one state is taken up.
    evaluated: u32,
}

type Key = (String, String);

/// Evaluates rules. Cheap to share.
pub struct Engine {
    read: Arc<dyn Read>,
    append: Arc<dyn Append>,
    clock: Arc<dyn Clock>,
    told: Arc<dyn Told>,
    settings: Settings,
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
        Arc::new(Self {
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
                let mut evaluated = 0;
                if let Some(known) = old.remove(&key) {
                    evaluated = known.state.lock().evaluated;
                    group.adopt(known.group.lock().clone());
                }
                let next = group.next(now);
                let slot = Slot {
                    view: Mutex::new(view::group(&group)),
                    state: Mutex::new(Turn {
                        next,
                        interval_ms: group.interval_ms,
                        busy: false,
                        evaluated,
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
        let world = World {
            source: &output::Samples(source),
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
        for rule in &group.rules {
            if let rules::Health::Bad(why) = &rule.health {
                self.counts.failures.fetch_add(1, Ordering::Relaxed);
                tracing::debug!(group = group.name, rule = rule.name(), %why, "rule failed");
            }
        }
        *slot.view.lock() = view::group(&group);
        drop(group);
        slot.state.lock().busy = false;
        if !notices.is_empty() {
            self.told.told(notices);
        }
    }
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
