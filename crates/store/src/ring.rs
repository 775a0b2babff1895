//! The event ring: what happened lately, bounded by count and bytes, read by cursors.
//!
//! Events are kept once, in one queue per resource, and the oldest of all resources goes first
//! when a bound is reached. A watch is a cursor and nothing else: a slow one costs no memory,
//! and when the ring has moved past it, it is told [`Gone`]. Per-resource queues mean that a
//! busy kind neither wakes nor expires the watches of an idle one before the bounds force it.

use crate::index::Table;
use crate::rec::Rec;
use parking_lot::RwLock;
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::sync::watch;

/// One write: created (`new` only), changed (both), deleted (`old`, and in `new` nothing).
#[derive(Debug)]
pub struct Event {
    /// Its own revision.
    pub revision: u64,
    /// State before; of a delete the last state, at the revision of the delete.
    pub old: Option<Arc<Rec>>,
    /// State after.
    pub new: Option<Arc<Rec>>,
    /// What was kept before, as it was.
    pub(crate) before: Option<Arc<Rec>>,
}

impl Event {
    fn bytes(&self) -> usize {
        let body = |rec: &Option<Arc<Rec>>| rec.as_ref().map_or(0, |r| r.body_bytes() + 256);
        let shared = match (&self.old, &self.before) {
            (Some(old), Some(before)) => old.body.as_ptr() == before.body.as_ptr(),
            _ => true,
        };
        let before = if shared { 0 } else { body(&self.before) };
        body(&self.old) + body(&self.new) + before + 64
    }
}

/// The cursor is older than what the ring still holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("revision {asked} is older than the oldest kept ({oldest})")]
pub struct Gone {
    /// Asked for.
    pub asked: u64,
    /// Oldest revision from which a watch can start.
    pub oldest: u64,
}

struct Lane {
    events: RwLock<VecDeque<Arc<Event>>>,
    /// Last revision that was dropped: cursors below it have missed something.
    dropped: AtomicU64,
    last: watch::Sender<u64>,
}

pub(crate) struct Ring {
    lanes: RwLock<HashMap<Arc<str>, Arc<Lane>>>,
    order: parking_lot::Mutex<Order>,
    published: AtomicU64,
    start: u64,
    limit_events: usize,
    limit_bytes: usize,
}

#[derive(Default)]
struct Order {
    queue: VecDeque<Arc<Lane>>,
    bytes: usize,
}

impl Ring {
    /// An empty ring; watches may start from `revision` on.
    pub(crate) fn new(revision: u64, limit_events: usize, limit_bytes: usize) -> Self {
        Self {
            lanes: RwLock::default(),
            order: parking_lot::Mutex::default(),
            published: AtomicU64::new(revision),
            start: revision,
            limit_events,
            limit_bytes,
        }
    }

    fn lane(&self, resource: &str) -> Arc<Lane> {
        if let Some(lane) = self.lanes.read().get(resource) {
            return lane.clone();
        }
        let lane = Arc::new(Lane {
            events: RwLock::default(),
            dropped: AtomicU64::new(self.start),
            last: watch::Sender::new(0),
        });
        self.lanes
            .write()
            .entry(Arc::from(resource))
            .or_insert(lane)
            .clone()
    }

    /// Adds events in revision order; nobody sees them before [`publish`](Self::publish).
    pub(crate) fn append(&self, events: Vec<(Arc<str>, Event)>) {
        let mut order = self.order.lock();
        for (resource, event) in events {
            let lane = self.lane(&resource);
            order.bytes += event.bytes();
            lane.events.write().push_back(Arc::new(event));
            order.queue.push_back(lane);
        }
        while order.queue.len() > self.limit_events || order.bytes > self.limit_bytes {
            let Some(lane) = order.queue.pop_front() else {
                break;
            };
            let mut events = lane.events.write();
            if let Some(event) = events.pop_front() {
                lane.dropped.store(event.revision, Ordering::Release);
                order.bytes = order.bytes.saturating_sub(event.bytes());
            }
        }
    }

    /// Lets watches see all up to `revision` and wakes those of the touched resources.
    pub(crate) fn publish(&self, revision: u64, touched: impl Iterator<Item = Arc<str>>) {
        self.published.store(revision, Ordering::Release);
        for resource in touched {
            self.lane(&resource).last.send_replace(revision);
        }
    }

    pub(crate) fn watch(self: &Arc<Self>, resource: &str, from: u64) -> Watch {
        let lane = self.lane(resource);
        let wake = lane.last.subscribe();
        Watch {
            ring: self.clone(),
            lane,
            cursor: from,
            wake,
        }
    }
}

impl Event {
    /// Takes the event back: the table becomes what it was before.
    pub(crate) fn undo(&self, table: &mut Table) {
        match (&self.before, &self.new) {
            (Some(before), _) => {
                table.insert(before.key.clone(), before.clone());
            }
            (None, Some(new)) => {
                table.remove(&new.key);
            }
            (None, None) => {}
        }
    }
}

/// A cursor over one resource's events.
pub struct Watch {
    ring: Arc<Ring>,
    lane: Arc<Lane>,
    cursor: u64,
    wake: watch::Receiver<u64>,
}

impl Watch {
    /// Revision after which the next event is looked for.
    pub fn cursor(&self) -> u64 {
        self.cursor
    }

    /// Events after the cursor that are there now, at most `limit`; the cursor moves past them
    /// or, where there are no more, to the store's revision.
    pub fn ready(&mut self, limit: usize) -> Result<Vec<Arc<Event>>, Gone> {
        self.wake.mark_unchanged();
        let published = self.ring.published.load(Ordering::Acquire);
        let events = self.lane.events.read();
        let oldest = self.lane.dropped.load(Ordering::Acquire);
        if self.cursor < oldest {
            return Err(Gone {
                asked: self.cursor,
                oldest,
            });
        }
        let from = events.partition_point(|event| event.revision <= self.cursor);
        let out: Vec<_> = events
            .range(from..)
            .take_while(|event| event.revision <= published)
            .take(limit)
            .cloned()
            .collect();
        drop(events);
        match out.last() {
            Some(last) if out.len() == limit => {
                self.cursor = last.revision;
                self.wake.mark_changed();
            }
            _ => self.cursor = self.cursor.max(published),
        }
        Ok(out)
    }

    /// Waits until [`ready`](Self::ready) may have something.
    pub async fn changed(&mut self) {
        if self.wake.changed().await.is_err() {
            // The sender lives in the lane this cursor holds; it cannot be gone before it.
            std::future::pending::<()>().await;
        }
    }

    /// Next events; waits for at least one.
    pub async fn next(&mut self, limit: usize) -> Result<Vec<Arc<Event>>, Gone> {
        loop {
            let events = self.ready(limit)?;
            if !events.is_empty() {
                return Ok(events);
            }
            self.changed().await;
        }
    }
}
