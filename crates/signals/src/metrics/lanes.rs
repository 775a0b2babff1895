//! Samples and chunks that are read back, by a few threads at once: each takes those of its own
//! ranges of series, so they never meet at one, and every series sees its own in order.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::{Builder, Scope, ScopedJoinHandle};

use super::head::{Back, Head};
use super::records::{self, Entry};

/// How many threads there are. A third one reads.
const LANES: usize = 2;
/// Ranges of so many series take turns; whole pages of the head, and as many as most records have.
const RANGE: u32 = 1 << 13;
/// Records that wait for a lane.
const WAITING: usize = 4;

/// A record, and the numbers in it that are another series than that of the same number here.
struct Piece {
    record: Box<[u8]>,
    other: Arc<HashMap<u32, u32>>,
}

/// The threads; there are none before there is something to do.
pub(super) struct Lanes<'s, 'e> {
    scope: &'s Scope<'s, 'e>,
    head: &'e Head,
    /// Chunks that end before are in segments.
    flushed: i64,
    running: Vec<(SyncSender<Arc<Piece>>, ScopedJoinHandle<'s, Lane<'e>>)>,
    /// The only one, where threads cannot be had.
    own: Lane<'e>,
}

impl<'s, 'e> Lanes<'s, 'e> {
    pub(super) fn new(scope: &'s Scope<'s, 'e>, head: &'e Head, flushed: i64) -> Self {
        Self {
            scope,
            head,
            flushed,
            running: Vec::new(),
            own: Lane::new(head, flushed, (0, 1)),
        }
    }

    /// Takes a record some time later, but in order. `series` are the first and the last in it.
    pub(super) fn take(
        &mut self,
        record: &[u8],
        series: (u32, u32),
        other: &Arc<HashMap<u32, u32>>,
    ) {
        if self.running.is_empty() && !self.own.began {
            self.start();
        }
        let piece = Arc::new(Piece {
            record: Box::from(record),
            other: Arc::clone(other),
        });
        if self.running.is_empty() {
            return self.own.take(&piece);
        }
        let (first, last) = (series.0 / RANGE, series.1 / RANGE);
        let alone = (first == last && other.is_empty()).then(|| lane_of(series.0, LANES));
        for (number, (lane, _)) in self.running.iter().enumerate() {
            if alone.is_none_or(|alone| alone == number) {
                // It ends only with this side.
                let _ = lane.send(Arc::clone(&piece));
            }
        }
    }

    fn start(&mut self) {
        let mut lanes = Vec::new();
        for number in 0..LANES {
            let (sender, pieces) = sync_channel(WAITING);
            let lane = Lane::new(self.head, self.flushed, (number, LANES));
            let thread = Builder::new().name("signals-replay".to_owned());
            match thread.spawn_scoped(self.scope, move || lane.run(&pieces)) {
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

/// One thread's share.
struct Lane<'e> {
    head: &'e Head,
    flushed: i64,
    /// Which of how many.
    number: (usize, usize),
    back: Back,
    orphans: u64,
    began: bool,
}

impl<'e> Lane<'e> {
    fn new(head: &'e Head, flushed: i64, number: (usize, usize)) -> Self {
        Self {
            head,
            flushed,
            number,
            back: Back::default(),
            orphans: 0,
            began: false,
        }
    }

    fn run(mut self, pieces: &Receiver<Arc<Piece>>) -> Self {
        for piece in pieces {
            self.take(&piece);
        }
        self
    }

    fn take(&mut self, piece: &Piece) {
        self.began = true;
        let id = |id: u32| match piece.other.is_empty() {
            true => id,
            false => piece.other.get(&id).copied().unwrap_or(id),
        };
        let (own, lanes) = self.number;
        let mine = |series: u32| lane_of(id(series), lanes) == own;
        records::read_of(&piece.record, mine, |entry| match entry {
            Entry::Sample(series, time, value) => {
                let known = self.head.replay(&mut self.back, id(series), time, &value);
                self.orphans += u64::from(!known);
            }
            Entry::Chunk(series, chunk) if chunk.max() >= self.flushed => {
                self.head.replay_chunk(&mut self.back, id(series), chunk);
            }
            Entry::Open(series, kind, data) => {
                self.head
                    .replay_open(&mut self.back, id(series), kind, data);
            }
            _ => {}
        });
    }
}
