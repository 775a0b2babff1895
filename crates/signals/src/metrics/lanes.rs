//! What is read back is put into the head by a few threads at once. Samples and chunks: each takes
//! those of its own ranges of series, so they never meet at one, and every series sees its own in
//! order. Series: the first one adds them, while the next ones are read.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::{Builder, Scope, ScopedJoinHandle};

use super::batch::Batch;
use super::head::{Back, Head};
use super::records::{self, Entry};
use crate::Value;

/// How many threads there are. A third one reads.
const LANES: usize = 2;
/// Ranges of so many series take turns; whole pages of the head, and as many as most records have.
const RANGE: u32 = 1 << 12;
/// How much may wait for the lanes: all of some ranges, so that none of them waits for another.
const WAITING: usize = 16 << 20;
/// How many batches of series may wait.
const BATCHES: usize = 8;
/// Shorter batches of series are not worth another thread's while.
const SHORT: usize = 100;
/// Samples of a log that a lane puts in order before it places them, for each series of its own:
/// each series is looked up that many times less.
const ROUNDS: usize = 4;
/// But never more than this,
const MOST: usize = 2 << 20;
/// and never less.
const LEAST: usize = 1 << 12;

/// Numbers that are another series than that of the same number here.
pub(super) type Other = HashMap<u32, u32>;

/// A record, and the numbers in it that are of other series.
struct Piece {
    record: Vec<u8>,
    other: Arc<Other>,
    tell: Sender<Told>,
}

impl Drop for Piece {
    fn drop(&mut self) {
        // Nobody listens any more after a failure.
        let _ = self
            .tell
            .send(Told::Spent(std::mem::take(&mut self.record)));
    }
}

/// Series to be added.
struct Series {
    batch: Batch,
    /// Those that got other numbers.
    other: Vec<(u32, u32)>,
    tell: Sender<Told>,
}

impl Drop for Series {
    fn drop(&mut self) {
        // Nobody listens any more after a failure.
        let _ = self.tell.send(Told::Added(std::mem::take(&mut self.other)));
    }
}

enum Work {
    Piece(Arc<Piece>),
    Series(Series),
}

/// What lanes tell, also of what a lane that panicked has left: nobody waits for it for ever.
enum Told {
    /// The series of a batch are added; these have other numbers.
    Added(Vec<(u32, u32)>),
    /// A record is done with.
    Spent(Vec<u8>),
}

/// A thread, and the way to it.
type Running<'s, 'e> = (Sender<Work>, ScopedJoinHandle<'s, Lane<'e>>);

/// The threads; there are none before there is something to do.
pub(super) struct Lanes<'s, 'e> {
    scope: &'s Scope<'s, 'e>,
    head: &'e Head,
    /// Chunks that end before are in segments.
    flushed: i64,
    running: Vec<Running<'s, 'e>>,
    /// The only one, where threads cannot be had.
    own: Lane<'e>,
    /// The lanes have been begun, or cannot be.
    began: bool,
    tell: Sender<Told>,
    told: Receiver<Told>,
    /// Batches of series that are not added yet.
    adding: usize,
    /// Bytes of records that wait.
    waiting: usize,
    /// Room that is not in use.
    spare: Vec<Vec<u8>>,
    other: Arc<Other>,
}

impl<'s, 'e> Lanes<'s, 'e> {
    pub(super) fn new(scope: &'s Scope<'s, 'e>, head: &'e Head, flushed: i64) -> Self {
        let (tell, told) = channel();
        Self {
            scope,
            head,
            flushed,
            running: Vec::new(),
            own: Lane::new(head, flushed, (0, 1)),
            began: false,
            tell,
            told,
            adding: 0,
            waiting: 0,
            spare: Vec::new(),
            other: Arc::default(),
        }
    }

    /// Room for a record, to be given back with it.
    pub(super) fn room(&mut self) -> Vec<u8> {
        while let Ok(told) = self.told.try_recv() {
            self.hear(told);
        }
        let mut room = self.spare.pop().unwrap_or_default();
        room.clear();
        room
    }

    fn hear(&mut self, told: Told) {
        match told {
            Told::Spent(record) => {
                self.waiting -= record.len();
                self.spare.push(record);
            }
            Told::Added(other) => {
                self.adding -= 1;
                self.renumber(other);
            }
        }
    }

    fn renumber(&mut self, other: Vec<(u32, u32)>) {
        if !other.is_empty() {
            Arc::make_mut(&mut self.other).extend(other);
        }
    }

    /// Waits until all series are added; then which numbers are of other ones.
    pub(super) fn other(&mut self) -> &Arc<Other> {
        self.until(|own| own.adding == 0);
        &self.other
    }

    /// Listens until something is so.
    fn until(&mut self, is: impl Fn(&Self) -> bool) {
        while !is(self) {
            match self.told.recv() {
                Ok(told) => self.hear(told),
                // Not while this side could tell itself.
                Err(_) => return,
            }
        }
    }

    /// Adds series; those of a long batch some time later.
    pub(super) fn add(&mut self, batch: Batch) {
        if batch.len() >= SHORT {
            self.start();
            if !self.running.is_empty() {
                self.until(|own| own.adding < BATCHES);
                self.adding += 1;
                let series = Series {
                    batch,
                    other: Vec::new(),
                    tell: self.tell.clone(),
                };
                return self.send(0, Work::Series(series));
            }
        }
        self.other();
        let other = self.head.restore(&batch);
        self.renumber(other);
    }

    /// Takes a record of samples some time later, but in order. `series` are the first and the
    /// last in it.
    pub(super) fn take(&mut self, record: Cow<'_, [u8]>, series: (u32, u32)) {
        self.start();
        let record = match record {
            Cow::Owned(record) => record,
            Cow::Borrowed(record) => {
                let mut room = self.room();
                room.extend_from_slice(record);
                room
            }
        };
        let other = Arc::clone(self.other());
        self.until(|own| own.waiting < WAITING);
        self.waiting += record.len();
        let tell = self.tell.clone();
        let piece = Arc::new(Piece {
            record,
            other,
            tell,
        });
        if self.running.is_empty() {
            return self.own.take(&piece);
        }
        let (first, last) = (series.0 / RANGE, series.1 / RANGE);
        let alone = first == last && piece.other.is_empty();
        let alone = alone.then(|| lane_of(series.0, LANES));
        for number in 0..self.running.len() {
            if alone.is_none_or(|alone| alone == number) {
                self.send(number, Work::Piece(Arc::clone(&piece)));
            }
        }
    }

    fn send(&self, lane: usize, work: Work) {
        if let Some((lane, _)) = self.running.get(lane) {
            // It ends only with this side, or in a panic that is told at the end.
            let _ = lane.send(work);
        }
    }

    fn start(&mut self) {
        if std::mem::replace(&mut self.began, true) {
            return;
        }
        let mut lanes = Vec::new();
        for number in 0..LANES {
            let (sender, work) = channel();
            let lane = Lane::new(self.head, self.flushed, (number, LANES));
            let thread = Builder::new().name("signals-replay".to_owned());
            match thread.spawn_scoped(self.scope, move || lane.run(&work)) {
                Ok(thread) => lanes.push((sender, thread)),
                // None of them has got anything yet.
                Err(_) => return,
            }
        }
        self.running = lanes;
    }

    /// Waits until all that was taken is in the head. How many samples are of no series that is
    /// known.
    pub(super) fn finish(&mut self) -> u64 {
        self.own.place();
        let mut orphans = self.own.orphans;
        self.head.is_back(&self.own.back);
        for (sender, thread) in self.running.drain(..) {
            drop(sender);
            match thread.join() {
                Ok(lane) => {
                    self.head.is_back(&lane.back);
                    orphans += lane.orphans;
                }
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
        orphans
    }
}

/// Whose series it is.
fn lane_of(series: u32, lanes: usize) -> usize {
    (series / RANGE) as usize % lanes
}

/// A sample of a log on its way to its series.
struct Waiting {
    series: u32,
    /// Since the first of those that wait, in milliseconds.
    after: i32,
    value: f64,
}

/// One thread's share.
struct Lane<'e> {
    head: &'e Head,
    flushed: i64,
    /// Which of how many.
    number: (usize, usize),
    back: Back,
    orphans: u64,
    waiting: Vec<Waiting>,
    /// The time of the first that waits.
    since: i64,
    /// How many may wait.
    most: usize,
}

impl<'e> Lane<'e> {
    fn new(head: &'e Head, flushed: i64, number: (usize, usize)) -> Self {
        Self {
            head,
            flushed,
            number,
            back: Back::default(),
            orphans: 0,
            waiting: Vec::new(),
            since: 0,
            most: LEAST,
        }
    }

    fn run(mut self, work: &Receiver<Work>) -> Self {
        for work in work {
            match work {
                Work::Piece(piece) => self.take(&piece),
                Work::Series(mut series) => series.other = self.head.restore(&series.batch),
            }
        }
        self.place();
        self
    }

    fn take(&mut self, piece: &Piece) {
        let id = |id: u32| match piece.other.is_empty() {
            true => id,
            false => piece.other.get(&id).copied().unwrap_or(id),
        };
        let (own, lanes) = self.number;
        let mine = |series: u32| lane_of(id(series), lanes) == own;
        records::read_of(&piece.record, mine, |entry| match entry {
            Entry::Sample(series, time, Value::Float(value)) => self.wait(id(series), time, value),
            Entry::Sample(series, time, value) => {
                self.place();
                let sample = std::iter::once((time, value));
                let lost = self.head.replay(&mut self.back, id(series), sample);
                self.orphans += lost as u64;
            }
            Entry::Chunk(series, chunk) if chunk.max() >= self.flushed => {
                self.place();
                self.head.replay_chunk(&mut self.back, id(series), chunk);
            }
            Entry::Open(series, form, data) => {
                self.place();
                self.head
                    .replay_open(&mut self.back, id(series), form, data);
            }
            _ => {}
        });
    }

    fn wait(&mut self, series: u32, time: i64, value: f64) {
        let after = |since: i64| i32::try_from(time.checked_sub(since)?).ok();
        if self.waiting.len() >= self.most || after(self.since).is_none() {
            self.place();
        }
        if self.waiting.is_empty() {
            self.since = time;
            // At once: to grow is to copy, and what is not used is no memory yet.
            self.waiting.reserve_exact(self.most);
        }
        // It fits: those that waited are placed otherwise.
        let after = after(self.since).unwrap_or(0);
        self.waiting.push(Waiting {
            series,
            after,
            value,
        });
    }

    /// Places the samples that wait, series by series.
    fn place(&mut self) {
        if self.waiting.is_empty() {
            return;
        }
        let mut waiting = std::mem::take(&mut self.waiting);
        // Those of one series stay in their order.
        waiting.sort_by_key(|sample| sample.series);
        let since = self.since;
        for of_one in waiting.chunk_by(|a, b| a.series == b.series) {
            let samples = of_one.iter();
            let samples = samples.map(|s| (since + i64::from(s.after), Value::Float(s.value)));
            let lost = self.head.replay(&mut self.back, of_one[0].series, samples);
            self.orphans += lost as u64;
        }
        waiting.clear();
        self.waiting = waiting;
        self.most = (self.head.count() / self.number.1 * ROUNDS).clamp(LEAST, MOST);
    }
}
