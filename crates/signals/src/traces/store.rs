//! The store: takes spans in, and answers.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use towpath_query::traceql::{Span, SpanSource, Trace, TraceId, Wanted};
use towpath_stdx::Clock;

use super::block::Block;
use super::head::{Head, Live, Part};
use super::merge::Merge;
use super::{Error, NotTaken, Options, Statistics, Taken};
use crate::bytes::{Cursor, put_bytes};
use crate::freed::Freed;
use crate::objects::Depot;
use crate::room::Room;
use crate::segment::Cache;
use crate::wal::{self, Disk, Log, Replayed};

/// A record of the log is closed when it is this long, in bytes.
const RECORD: usize = 1 << 20;

/// Traces, durable.
#[derive(Clone)]
pub struct Store(pub(super) Arc<Inner>);

pub(super) struct Inner {
    pub(super) options: Options,
    pub(super) blocks_dir: PathBuf,
    pub(super) log_dir: PathBuf,
    pub(super) log: Log,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) cache: Arc<Cache>,
    pub(super) state: Mutex<State>,
    /// Held by whoever makes or removes blocks.
    pub(super) upkeep: Mutex<()>,
    /// Blocks of which a part cannot be read: they are left as they are.
    pub(super) unreadable: Mutex<BTreeSet<u64>>,
    /// On which day blocks were looked through for what is kept no longer.
    pub(super) trimmed: Mutex<BTreeMap<u64, u64>>,
    pub(super) freed: Freed,
    pub(super) room: Room,
    pub(super) depot: Option<Arc<Depot>>,
}

#[derive(Default)]
pub(super) struct State {
    pub(super) head: Head,
    /// On the way into a block.
    pub(super) leaving: Arc<BTreeMap<TraceId, Live>>,
    pub(super) leaving_bytes: usize,
    /// In the order of their numbers.
    pub(super) blocks: Vec<Arc<Block>>,
    pub(super) next_block: u64,
    /// Blocks that could not be read when the store was opened.
    pub(super) broken: Vec<u64>,
    pub(super) taken_spans: u64,
    pub(super) refused_spans: u64,
}

impl Store {
    /// Opens what is in a directory, or begins there.
    ///
    /// # Errors
    /// The directory or the log cannot be read. Blocks that are damaged are left out and told.
    pub fn open(options: Options, clock: Arc<dyn Clock>) -> Result<(Self, Replayed), Error> {
        let blocks_dir = options.dir.join("blocks");
        let log_dir = options.dir.join("wal");
        for dir in [&blocks_dir, &log_dir] {
            std::fs::create_dir_all(dir).map_err(|e| Error::io("make", dir, e))?;
        }
        let cache = Arc::new(Cache::new(options.cache_bytes));
        let mut state = State {
            next_block: 1,
            ..State::default()
        };
        let depot = super::objects::open(&blocks_dir, &log_dir, &options, &clock)?;
        super::upkeep::open_blocks(&blocks_dir, &cache, depot.as_deref(), &mut state)?;
        let covered = state
            .blocks
            .iter()
            .map(|b| b.meta.covers)
            .max()
            .unwrap_or(0);
        let now = clock.monotonic();
        let read = wal::replay(&log_dir, covered, |record| {
            let mut from = Cursor::new(record);
            while let Some(bytes) = from.bytes() {
                match Part::read(bytes) {
                    Some(part) => state.head.add(part, now),
                    None => tracing::warn!("a part of a trace in the log makes no sense"),
                }
            }
        });
        let replayed = read.map_err(|e| Error::io("read", &log_dir, e))?;
        let log = Log::open(&log_dir, covered, Arc::new(Disk));
        let log = log.map_err(|e| Error::io("begin a log in", &log_dir, e))?;
        let room = Room::new(&options.dir);
        let inner = Inner {
            options,
            blocks_dir,
            log_dir,
            log,
            clock,
            cache,
            state: Mutex::new(state),
            upkeep: Mutex::new(()),
            unreadable: Mutex::default(),
            trimmed: Mutex::default(),
            freed: Freed::default(),
            room,
            depot,
        };
        let store = Self(Arc::new(inner));
        store.begin_uploads()?;
        Ok((store, replayed))
    }

    /// Takes traces, or parts of them. They can be queried at once; [`Store::sync`] waits until
    /// they are durable. May wait a moment for the disk.
    ///
    /// # Errors
    /// Nothing was taken.
    pub fn append(&self, traces: &[Trace]) -> Result<Taken, NotTaken> {
        let parts: Vec<Part> = traces.iter().map(Part::of).collect();
        let options = &self.0.options;
        let now = self.0.clock.monotonic();
        if let Some(why) = self.0.room.short() {
            let spans = parts.iter().map(|part| part.spans as u64);
            self.0.state.lock().refused_spans += spans.sum::<u64>();
            return Err(NotTaken::Busy(why));
        }
        let mut state = self.0.state.lock();
        let bytes: usize = parts.iter().map(|part| part.bytes.len()).sum();
        if state.head.bytes + state.leaving_bytes + bytes > options.head_max_bytes {
            state.refused_spans += parts.iter().map(|p| p.spans as u64).sum::<u64>();
            return Err(NotTaken::Busy(format!(
                "traces take more than {} bytes of memory",
                options.head_max_bytes
            )));
        }
        let mut taken = Taken::default();
        let mut accepted = Vec::with_capacity(parts.len());
        let mut records = Records::default();
        for part in parts {
            let live = state.head.live.get(&part.id).map_or(0, |live| live.bytes);
            if live + part.bytes.len() > options.trace_max_bytes {
                taken.too_large += part.spans;
                continue;
            }
            taken.spans += part.spans;
            records.add(&part.bytes);
            accepted.push(part);
        }
        // The log first: what is in the head is in the log, or will be before anything later.
        for record in records.finish() {
            self.0.log.push(&record).map_err(NotTaken::from)?;
        }
        accepted
            .into_iter()
            .for_each(|part| state.head.add(part, now));
        state.taken_spans += taken.spans as u64;
        state.refused_spans += taken.too_large as u64;
        Ok(taken)
    }

    /// Waits until all that was appended before is durable.
    ///
    /// # Errors
    /// It is not, now or never.
    pub async fn sync(&self) -> Result<(), NotTaken> {
        self.0.log.sync().await.map_err(NotTaken::from)
    }

    /// How much there is.
    pub fn statistics(&self) -> Statistics {
        let state = self.0.state.lock();
        let damaged = state.blocks.iter().filter(|b| b.reader.data().is_damaged());
        Statistics {
            live_traces: state.head.live.len() + state.leaving.len(),
            live_bytes: state.head.bytes + state.leaving_bytes,
            blocks: state.blocks.len(),
            block_bytes: state.blocks.iter().map(|b| b.reader.bytes()).sum(),
            block_spans: state.blocks.iter().map(|b| b.meta.spans).sum(),
            damaged: (state.broken.len() + damaged.count()) as u64,
            taken_spans: state.taken_spans,
            refused_spans: state.refused_spans,
            freed: self.0.freed.told(),
            objects: self.0.depot.as_ref().map(|depot| depot.stats()),
        }
    }

    /// The traces of the head that lie in an interval, in the order of their ids.
    pub(super) fn live(&self, start_ns: u64, end_ns: u64) -> BTreeMap<TraceId, Vec<Live>> {
        let state = self.0.state.lock();
        let mut live: BTreeMap<TraceId, Vec<Live>> = BTreeMap::new();
        for (id, one) in state.head.live.iter().chain(state.leaving.iter()) {
            if one.overlaps(start_ns, end_ns) {
                live.entry(*id).or_default().push(one.clone());
            }
        }
        live
    }

    pub(super) fn blocks(&self, start_ns: u64, end_ns: u64) -> Vec<Arc<Block>> {
        let state = self.0.state.lock();
        let inside = |b: &&Arc<Block>| b.meta.start_ns < end_ns && b.meta.end_ns >= start_ns;
        state.blocks.iter().filter(inside).cloned().collect()
    }
}

/// Parts in records of the log.
#[derive(Default)]
pub(super) struct Records {
    done: Vec<Vec<u8>>,
    open: Vec<u8>,
}

impl Records {
    pub(super) fn add(&mut self, part: &[u8]) {
        put_bytes(&mut self.open, part);
        if self.open.len() >= RECORD {
            self.done.push(std::mem::take(&mut self.open));
        }
    }

    pub(super) fn finish(mut self) -> Vec<Vec<u8>> {
        if !self.open.is_empty() {
            self.done.push(self.open);
        }
        self.done
    }
}

impl SpanSource for Store {
    fn traces<'a>(
        &'a self,
        wanted: &Wanted,
    ) -> Result<Box<dyn Iterator<Item = Result<Trace, String>> + 'a>, String> {
        let (start, end) = (wanted.start_ns, wanted.end_ns);
        let wanted = Arc::new(wanted.clone());
        // The head first: what leaves it meanwhile is in a block that is looked at later.
        let live = self.live(start, end).into_iter().map(|(id, all)| {
            let mut parts = all.iter().map(|live| live.trace(id));
            let mut trace = parts.next().unwrap_or_default();
            parts.for_each(|more| trace.merge(more.spans));
            Ok(trace)
        });
        let mut sources: Vec<Box<dyn Iterator<Item = Result<Trace, String>> + 'a>> =
            vec![Box::new(live)];
        for block in self.blocks(start, end) {
            let traces = block.traces(Arc::clone(&wanted));
            let traces = traces.map_err(|e| e.to_string())?;
            sources.push(Box::new(traces.map(|t| t.map_err(|e| e.to_string()))));
        }
        let inside = move |span: &Span| span.start_ns < end && span.end_ns() >= start;
        Ok(Box::new(Merge::new(sources).filter(move |trace| {
            trace.as_ref().map_or(true, |t| t.spans.iter().any(inside))
        })))
    }

    fn trace(&self, id: &TraceId) -> Result<Option<Trace>, String> {
        let (live, blocks) = {
            let state = self.0.state.lock();
            let places = [state.head.live.get(id), state.leaving.get(id)];
            let live: Vec<Live> = places.into_iter().flatten().cloned().collect();
            (live, state.blocks.clone())
        };
        let mut trace = Trace {
            id: *id,
            spans: Vec::new(),
        };
        live.iter()
            .for_each(|live| trace.merge(live.trace(*id).spans));
        for block in blocks {
            let more = block.trace(id).map_err(|e| e.to_string())?;
            if !more.is_empty() {
                trace.merge(more);
            }
        }
        Ok((!trace.spans.is_empty()).then_some(trace))
    }
}

/// How long a trace must be left alone before it goes into a block.
pub(super) const IDLE: Duration = Duration::from_secs(10);
