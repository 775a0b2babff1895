//! A queue of keys: each key is in it at most once, is never worked on twice at a time, and
//! comes back after a delay when its work failed.

use parking_lot::Mutex;
use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::hash::Hash;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::Instant;
use towpath_daemon::metrics::{self, Counter, Gauge, Histogram, LATENCY};

/// What a queue counts of itself, once it has a name.
struct Meters {
    adds: Counter,
    retries: Counter,
    depth: Gauge,
    waited: Histogram,
    worked: Histogram,
}

struct State<T> {
    /// With the time they were added.
    ready: VecDeque<(T, Instant)>,
    queued: HashSet<T>,
    /// With the time they were taken.
    active: HashMap<T, Instant>,
    again: HashSet<T>,
    later: BTreeMap<(Instant, u64), T>,
    due: HashMap<T, (Instant, u64)>,
    failures: HashMap<T, u32>,
    sequence: u64,
    meters: Option<Meters>,
}

impl<T: Clone + Eq + Hash> State<T> {
    fn put(&mut self, key: T) {
        self.ready.push_back((key, Instant::now()));
        if let Some(meters) = &self.meters {
            meters.adds.inc();
            meters.depth.add(1);
        }
    }
}

/// Keyed work queue. Cheap to clone.
pub struct Queue<T> {
    state: Arc<Mutex<State<T>>>,
    wake: Arc<Notify>,
}

impl<T> Clone for Queue<T> {
    fn clone(&self) -> Self {
        Self {
            state: self.state.clone(),
            wake: self.wake.clone(),
        }
    }
}

impl<T: Clone + Eq + Hash> Default for Queue<T> {
    fn default() -> Self {
        let state = State {
            ready: VecDeque::new(),
            queued: HashSet::new(),
            active: HashMap::new(),
            again: HashSet::new(),
            later: BTreeMap::new(),
            due: HashMap::new(),
            failures: HashMap::new(),
            sequence: 0,
            meters: None,
        };
        Self {
            state: Arc::new(Mutex::new(state)),
            wake: Arc::new(Notify::new()),
        }
    }
}

/// Delay before try `failures + 1`: 50 ms doubling up to 60 s.
pub fn backoff(failures: u32) -> Duration {
    Duration::from_millis(50u64 << failures.clamp(1, 12).saturating_sub(1))
        .min(Duration::from_secs(60))
}

impl<T: Clone + Eq + Hash> Queue<T> {
    /// Counts what the queue does from here on as `workqueue_*` of this name.
    pub fn measure(&self, name: &str) {
        let labels = [("name", name)];
        let histogram = |of, help| metrics::histogram(of, help, LATENCY, &labels);
        let mut state = self.state.lock();
        let meters = Meters {
            adds: metrics::counter(
                "workqueue_adds_total",
                "Total number of adds handled by workqueue",
                &labels,
            ),
            retries: metrics::counter(
                "workqueue_retries_total",
                "Total number of retries handled by workqueue",
                &labels,
            ),
            depth: metrics::gauge("workqueue_depth", "Current depth of workqueue", &labels),
            waited: histogram(
                "workqueue_queue_duration_seconds",
                "How long in seconds an item stays in workqueue before being requested.",
            ),
            worked: histogram(
                "workqueue_work_duration_seconds",
                "How long in seconds processing an item from workqueue takes.",
            ),
        };
        let waiting = state.ready.len();
        meters.adds.add(waiting as u64);
        meters.depth.add(i64::try_from(waiting).unwrap_or(0));
        state.meters = Some(meters);
    }

    /// Adds a key to be worked on now.
    pub fn add(&self, key: T) {
        let mut state = self.state.lock();
        if state.active.contains_key(&key) {
            state.again.insert(key);
        } else if state.queued.insert(key.clone()) {
            state.put(key);
            drop(state);
            self.wake.notify_one();
        }
    }

    /// Adds a key to be worked on after a delay; an earlier due time wins.
    pub fn add_after(&self, key: T, delay: Duration) {
        let mut state = self.state.lock();
        let at = Instant::now() + delay;
        if let Some(&slot) = state.due.get(&key) {
            if slot.0 <= at {
                return;
            }
            state.later.remove(&slot);
        }
        state.sequence += 1;
        let slot = (at, state.sequence);
        state.later.insert(slot, key.clone());
        state.due.insert(key, slot);
        drop(state);
        self.wake.notify_one();
    }

    /// Waits for a key to work on; give it back with [`done`](Self::done) or
    /// [`failed`](Self::failed).
    pub async fn next(&self) -> T {
        loop {
            let notified = self.wake.notified();
            let until = {
                let mut state = self.state.lock();
                let now = Instant::now();
                while let Some((&slot, _)) = state.later.first_key_value() {
                    if slot.0 > now {
                        break;
                    }
                    if let Some(key) = state.later.remove(&slot) {
                        state.due.remove(&key);
                        if state.active.contains_key(&key) {
                            state.again.insert(key);
                        } else if state.queued.insert(key.clone()) {
                            state.put(key);
                        }
                    }
                }
                if let Some((key, added)) = state.ready.pop_front() {
                    if let Some(meters) = &state.meters {
                        meters.depth.add(-1);
                        meters.waited.observe(now.saturating_duration_since(added));
                    }
                    state.queued.remove(&key);
                    state.active.insert(key.clone(), now);
                    if !state.ready.is_empty() {
                        self.wake.notify_one();
                    }
                    return key;
                }
                state.later.first_key_value().map(|(&(at, _), _)| at)
            };
            match until {
                Some(at) => {
                    let _ = tokio::time::timeout_at(at, notified).await;
                }
                None => notified.await,
            }
        }
    }

    /// The key's work is done; it comes back at once if it was added meanwhile.
    pub fn done(&self, key: &T) {
        self.finish(key, None);
    }

    /// The key's work failed; it comes back after a growing delay, which is returned.
    pub fn failed(&self, key: &T) -> Duration {
        let failures = {
            let mut state = self.state.lock();
            let failures = state.failures.entry(key.clone()).or_insert(0);
            *failures += 1;
            *failures
        };
        let delay = backoff(failures);
        self.finish(key, Some(delay));
        delay
    }

    fn finish(&self, key: &T, delay: Option<Duration>) {
        let again = {
            let mut state = self.state.lock();
            let taken = state.active.remove(key);
            if let (Some(meters), Some(taken)) = (&state.meters, taken) {
                meters.worked.observe(taken.elapsed());
                meters.retries.add(u64::from(delay.is_some()));
            }
            if delay.is_none() {
                state.failures.remove(key);
            }
            state.again.remove(key)
        };
        match (again, delay) {
            (_, Some(delay)) => self.add_after(key.clone(), delay),
            (true, None) => self.add(key.clone()),
            (false, None) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_key_is_queued_once_and_comes_back_when_added_while_active() {
        let queue = Queue::default();
        queue.add("a");
        queue.add("a");
        let key = queue.next().await;
        queue.add("a");
        queue.add("b");
        assert_eq!(queue.next().await, "b");
        queue.done(&key);
        assert_eq!(queue.next().await, "a");
    }

    #[tokio::test(start_paused = true)]
    async fn failures_delay_and_success_resets() {
        let queue = Queue::default();
        queue.add(1);
        let start = Instant::now();
        for expected in [50, 100, 200] {
            let key = queue.next().await;
            assert_eq!(queue.failed(&key), Duration::from_millis(expected));
        }
        let key = queue.next().await;
        assert!(start.elapsed() >= Duration::from_millis(350));
        queue.done(&key);
        queue.add(1);
        let key = queue.next().await;
        assert_eq!(queue.failed(&key), Duration::from_millis(50));
    }
}
