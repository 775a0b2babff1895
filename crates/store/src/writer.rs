//! The one writer: takes transactions in order, checks them against the pending state, makes a
//! group of them durable with one sync, publishes, acknowledges.

use crate::backend::{Backend, Batch, Row};
use crate::error::{Error, Refused};
use crate::index::Snapshot;
use crate::rec::{NewRec, Rec};
use crate::ring::{Event, Ring};
use crate::space::Space;
use crate::txn::{Class, Done, Op, Txn};
use arc_swap::ArcSwap;
use parking_lot::{Condvar, Mutex};
use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::{Semaphore, oneshot};
use towpath_stdx::{Clock, SystemClock};

const QUEUE: usize = 1024;
const GROUP: usize = 512;
const GROUP_BYTES: usize = 8 << 20;
const RELAXED_SYNC: Duration = Duration::from_millis(500);

type Answer = Result<Done, Refused>;

pub(crate) struct Job {
    pub(crate) txn: Txn,
    pub(crate) ack: oneshot::Sender<Answer>,
}

/// What the handle and the writer share.
pub(crate) struct Shared {
    pub(crate) root: ArcSwap<Snapshot>,
    pub(crate) ring: Arc<Ring>,
    pub(crate) slots: Semaphore,
    jobs: Mutex<Jobs>,
    wake: Condvar,
    fault: Mutex<Option<Arc<str>>>,
}

#[derive(Default)]
struct Jobs {
    waiting: VecDeque<Job>,
    stop: bool,
}

impl Shared {
    pub(crate) fn new(root: Snapshot, ring: Ring) -> Self {
        Self {
            root: ArcSwap::from_pointee(root),
            ring: Arc::new(ring),
            slots: Semaphore::new(QUEUE),
            jobs: Mutex::default(),
            wake: Condvar::new(),
            fault: Mutex::new(None),
        }
    }

    /// Queues a job; its slot must have been taken.
    pub(crate) fn push(&self, job: Job) -> Result<(), Refused> {
        let mut jobs = self.jobs.lock();
        if jobs.stop {
            return Err(Refused::Closed);
        }
        jobs.waiting.push_back(job);
        drop(jobs);
        self.wake.notify_one();
        Ok(())
    }

    pub(crate) fn stop(&self) {
        self.jobs.lock().stop = true;
        self.wake.notify_one();
    }

    /// Why nothing can be written any more.
    pub(crate) fn fault(&self) -> Option<Arc<str>> {
        self.fault.lock().clone()
    }

    // The next group; empty when a relaxed write has waited long enough to be synced; `None` to
    // stop.
    fn next(&self, unsynced: Option<Instant>) -> Option<Vec<Job>> {
        let mut jobs = self.jobs.lock();
        while jobs.waiting.is_empty() {
            if jobs.stop {
                return None;
            }
            match unsynced {
                None => self.wake.wait(&mut jobs),
                Some(since) => {
                    if self
                        .wake
                        .wait_until(&mut jobs, since + RELAXED_SYNC)
                        .timed_out()
                    {
                        break;
                    }
                }
            }
        }
        let mut bytes = 0;
        let mut group = Vec::new();
        while group.len() < GROUP && bytes < GROUP_BYTES {
            let Some(job) = jobs.waiting.pop_front() else {
                break;
            };
            bytes += size(&job.txn);
            group.push(job);
        }
        drop(jobs);
        self.slots.add_permits(group.len());
        Some(group)
    }
}

fn size(txn: &Txn) -> usize {
    let one = |op: &Op| match op {
        Op::Put { new, .. } => new.body.len() + 512,
        _ => 64,
    };
    txn.ops.iter().map(one).sum()
}

pub(crate) struct Writer {
    pub(crate) shared: Arc<Shared>,
    pub(crate) backend: Box<dyn Backend>,
    pub(crate) space: Space,
    pub(crate) next_row: i64,
}

// Resource, key and what was there.
type Undo = (Arc<str>, Arc<str>, Option<Arc<Rec>>);

// One group while it is put together.
struct Group {
    state: Snapshot,
    events: Vec<(Arc<str>, Event)>,
    last: HashMap<i64, Option<Row>>,
    acks: Vec<(oneshot::Sender<Answer>, Answer)>,
    durable: bool,
    written: bool,
}

impl Writer {
    /// Works until stopped, then closes the back end.
    pub(crate) fn run(mut self) {
        let mut unsynced: Option<Instant> = None;
        while let Some(jobs) = self.shared.next(unsynced) {
            if let Some(why) = self.shared.fault() {
                let refused = Refused::ReadOnly(why);
                jobs.into_iter()
                    .for_each(|job| drop(job.ack.send(Err(refused.clone()))));
                unsynced = None;
                continue;
            }
            match self.turn(jobs, unsynced) {
                Ok(since) => unsynced = since,
                Err(Error::Full) => drop(self.space.release()),
                Err(error) => self.fail(&error),
            }
        }
        if self.shared.fault().is_none() {
            let revision = self.shared.root.load().revision;
            if let Err(error) = self.backend.close(revision) {
                tracing::error!(error = chain(&error), "object store was not closed cleanly");
            }
        }
    }

    // One group and what follows it; tells since when something acknowledged is not durable.
    fn turn(
        &mut self,
        jobs: Vec<Job>,
        unsynced: Option<Instant>,
    ) -> Result<Option<Instant>, Error> {
        let wrote = if jobs.is_empty() {
            None
        } else {
            self.group(jobs)?
        };
        let mut since = match wrote {
            // A durable commit has synced what was written before it too.
            Some(true) => None,
            Some(false) => unsynced.or_else(|| Some(Instant::now())),
            None => unsynced,
        };
        if since.is_some_and(|since| since.elapsed() >= RELAXED_SYNC) {
            self.backend.sync()?;
            since = None;
        }
        self.backend.tidy(self.space.is_short())?;
        Ok(since)
    }

    fn fail(&self, error: &Error) {
        let why: Arc<str> = Arc::from(chain(error));
        tracing::error!(error = %why, "object store is read-only from here on");
        *self.shared.fault.lock() = Some(why);
    }

    // Does one group; tells whether what it wrote, if anything, is durable.
    fn group(&mut self, jobs: Vec<Job>) -> Result<Option<bool>, Error> {
        let mut group = Group {
            state: Snapshot::clone(&self.shared.root.load()),
            events: Vec::new(),
            last: HashMap::new(),
            acks: Vec::with_capacity(jobs.len()),
            durable: false,
            written: false,
        };
        let bytes: usize = jobs.iter().map(|job| size(&job.txn)).sum();
        let room = self.space.admits(bytes as u64 * 4);
        for job in jobs {
            let grows = job.txn.ops.iter().any(|op| matches!(op, Op::Put { .. }));
            match &room {
                Err(why) if grows && !shrinks(&job.txn) => {
                    group.acks.push((job.ack, Err(Refused::Full(why.clone()))));
                }
                _ => self.apply(job, &mut group),
            }
        }
        let (state, events) = (group.state, group.events);
        let mut wrote = None;
        if group.written {
            let batch = batch(group.last, &events, group.durable);
            let begin = SystemClock.monotonic();
            let mut committed = self.backend.commit(&batch);
            if matches!(committed, Err(Error::Full)) && self.space.release() {
                committed = self.backend.commit(&batch);
            }
            match committed {
                Ok(()) => {
                    wrote = Some(group.durable);
                    let took = SystemClock.monotonic().duration_since(begin);
                    crate::meters::committed(state.revision, events.len(), took);
                }
                Err(error) => {
                    let refused = match &error {
                        Error::Full => {
                            Refused::Full("no space left on the object store's disk".into())
                        }
                        other => Refused::ReadOnly(chain(other).into()),
                    };
                    // The fault is set before anyone hears of it.
                    if !matches!(error, Error::Full) {
                        self.fail(&error);
                    }
                    group
                        .acks
                        .into_iter()
                        .for_each(|(ack, _)| drop(ack.send(Err(refused.clone()))));
                    return Err(error);
                }
            }
            let touched: HashSet<Arc<str>> = events
                .iter()
                .map(|(resource, _)| resource.clone())
                .collect();
            let revision = state.revision;
            self.shared.ring.append(events);
            self.shared.root.store(Arc::new(state));
            self.shared.ring.publish(revision, touched.into_iter());
        }
        for (ack, answer) in group.acks {
            // A caller that went away loses only the answer.
            let _ = ack.send(answer);
        }
        Ok(wrote)
    }

    fn apply(&mut self, job: Job, group: &mut Group) {
        let Job { txn, ack } = job;
        let mut undo: Vec<Undo> = Vec::new();
        let mut recs = Vec::with_capacity(txn.ops.len());
        let revision = group.state.revision;
        let events = group.events.len();
        for (index, op) in txn.ops.iter().enumerate() {
            let (resource, key, expect) = op.place();
            let current = group.state.get(resource, key).cloned();
            if !expect.holds(current.as_ref()) {
                // Earlier operations of this transaction are taken back, newest first.
                for (resource, key, old) in undo.into_iter().rev() {
                    restore(&mut group.state, &resource, &key, old);
                }
                group.state.revision = revision;
                group.events.truncate(events);
                group
                    .acks
                    .push((ack, Err(Refused::Conflict { index, current })));
                return;
            }
            recs.push(self.step(op, current.as_ref(), group));
            undo.push((resource.clone(), key.clone(), current));
        }
        for (resource, event) in &group.events[events..] {
            let (row, kept) = match (&event.new, &event.old) {
                (Some(new), _) => (
                    new.row,
                    Some(Row {
                        resource: resource.clone(),
                        rec: new.clone(),
                    }),
                ),
                (None, Some(old)) => (old.row, None),
                (None, None) => continue,
            };
            group.last.insert(row, kept);
        }
        if group.events.len() > events {
            group.written = true;
            group.durable |= txn.class == Class::Normal;
        }
        let done = Done {
            revision: group.state.revision,
            recs,
        };
        group.acks.push((ack, Ok(done)));
    }

    fn step(&mut self, op: &Op, current: Option<&Arc<Rec>>, group: &mut Group) -> Option<Arc<Rec>> {
        match op {
            Op::Check { .. } => None,
            Op::Put {
                resource, key, new, ..
            } => {
                if let Some(same) = current
                    .filter(|c| c.body == new.body && c.hole == new.hole && c.meta == new.meta)
                {
                    return Some(same.clone());
                }
                group.state.revision += 1;
                let revision = group.state.revision;
                let row = current.map_or_else(|| self.row(), |c| c.row);
                let created = current.map_or(revision, |c| c.created);
                let rec = Arc::new(rec(key, new, revision, created, row));
                group.state.put(resource, rec.clone());
                let event = Event {
                    revision,
                    old: current.cloned(),
                    new: Some(rec.clone()),
                    before: current.cloned(),
                };
                group.events.push((resource.clone(), event));
                Some(rec)
            }
            Op::Delete {
                resource,
                key,
                last,
                ..
            } => {
                let current = current?;
                group.state.revision += 1;
                let revision = group.state.revision;
                group.state.remove(resource, key);
                let gone = match last {
                    Some(new) => rec(key, new, revision, current.created, current.row),
                    None => Rec {
                        key: current.key.clone(),
                        revision,
                        created: current.created,
                        meta: current.meta.clone(),
                        row: current.row,
                        body: current.body.clone(),
                        hole: current.hole,
                    },
                };
                let gone = Arc::new(gone);
                group.events.push((
                    resource.clone(),
                    Event {
                        revision,
                        old: Some(gone.clone()),
                        new: None,
                        before: Some(current.clone()),
                    },
                ));
                Some(gone)
            }
        }
    }

    fn row(&mut self) -> i64 {
        self.next_row += 1;
        self.next_row
    }
}

// A transaction that removes something may also write (e.g. take a finalizer off elsewhere).
fn shrinks(txn: &Txn) -> bool {
    txn.ops.iter().any(|op| matches!(op, Op::Delete { .. }))
}

fn rec(key: &Arc<str>, new: &NewRec, revision: u64, created: u64, row: i64) -> Rec {
    let (body, hole, meta) = (new.body.clone(), new.hole, new.meta.clone());
    Rec {
        key: key.clone(),
        revision,
        created,
        meta,
        row,
        body,
        hole,
    }
}

fn restore(state: &mut Snapshot, resource: &Arc<str>, key: &str, old: Option<Arc<Rec>>) {
    match old {
        Some(old) => state.put(resource, old),
        None => state.remove(resource, key),
    }
}

fn batch(last: HashMap<i64, Option<Row>>, events: &[(Arc<str>, Event)], durable: bool) -> Batch {
    let mut batch = Batch {
        durable,
        ..Batch::default()
    };
    for (row, kept) in last {
        match kept {
            Some(kept) => batch.puts.push(kept),
            None => batch.deletes.push(row),
        }
    }
    // A written row carries its own revision; only when the newest is a deletion must it be
    // kept beside them.
    if let Some((_, newest)) = events.last().filter(|(_, event)| event.new.is_none()) {
        batch.revision = Some(newest.revision);
    }
    batch
}

pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}
