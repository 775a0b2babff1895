//! What is not yet in blocks: parts of traces as bytes, by id.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Instant;

use towpath_query::traceql::{Trace, TraceId};

use super::codec;

/// A part of a trace in bytes.
#[derive(Clone)]
pub(super) struct Part {
    pub(super) id: TraceId,
    pub(super) bytes: Arc<[u8]>,
    pub(super) spans: usize,
    pub(super) start_ns: u64,
    pub(super) end_ns: u64,
}

impl Part {
    pub(super) fn of(trace: &Trace) -> Self {
        let mut bytes = Vec::with_capacity(trace.spans.len() * 256);
        codec::put_trace(&mut bytes, trace);
        Self::new(trace, bytes.into())
    }

    /// From the log; `None` where the bytes make no sense.
    pub(super) fn read(bytes: &[u8]) -> Option<Self> {
        let trace = codec::trace(bytes)?;
        Some(Self::new(&trace, bytes.into()))
    }

    fn new(trace: &Trace, bytes: Arc<[u8]>) -> Self {
        Self {
            id: trace.id,
            bytes,
            spans: trace.spans.len(),
            start_ns: trace.spans.iter().map(|s| s.start_ns).min().unwrap_or(0),
            end_ns: trace.spans.iter().map(|s| s.end_ns()).max().unwrap_or(0),
        }
    }
}

/// A trace that is not yet in a block.
#[derive(Clone)]
pub(super) struct Live {
    pub(super) parts: Vec<Part>,
    pub(super) bytes: usize,
    first: Instant,
    last: Instant,
}

impl Live {
    /// Whether something of it lies in an interval.
    pub(super) fn overlaps(&self, start_ns: u64, end_ns: u64) -> bool {
        let mut parts = self.parts.iter();
        parts.any(|part| part.start_ns < end_ns && part.end_ns >= start_ns)
    }

    /// How many spans it has, those that came twice counted twice.
    pub(super) fn spans(&self) -> usize {
        self.parts.iter().map(|part| part.spans).sum()
    }

    /// All of it. Parts that make no sense were written by a broken memory; they are left out.
    pub(super) fn trace(&self, id: TraceId) -> Trace {
        let mut trace = Trace {
            id,
            spans: Vec::new(),
        };
        let parts = self
            .parts
            .iter()
            .filter_map(|part| codec::trace(&part.bytes));
        trace.merge(parts.flat_map(|part| part.spans).collect());
        trace
    }
}

/// Traces by id.
#[derive(Default)]
pub(super) struct Head {
    pub(super) live: HashMap<TraceId, Live>,
    pub(super) bytes: usize,
    pub(super) spans: usize,
}

impl Head {
    pub(super) fn add(&mut self, part: Part, now: Instant) {
        self.bytes += part.bytes.len();
        self.spans += part.spans;
        let live = self.live.entry(part.id).or_insert_with(|| Live {
            parts: Vec::new(),
            bytes: 0,
            first: now,
            last: now,
        });
        live.bytes += part.bytes.len();
        live.last = now;
        live.parts.push(part);
    }

    /// When the oldest trace came in.
    pub(super) fn oldest(&self) -> Option<Instant> {
        self.live.values().map(|live| live.first).min()
    }

    /// Takes out the traces to which nothing was added since a moment, in the order of their ids.
    pub(super) fn take_idle(&mut self, since: Instant) -> BTreeMap<TraceId, Live> {
        let idle = |_: &TraceId, live: &mut Live| live.last <= since;
        let taken: BTreeMap<TraceId, Live> = self.live.extract_if(idle).collect();
        for part in taken.values().flat_map(|live| &live.parts) {
            self.bytes -= part.bytes.len();
            self.spans -= part.spans;
        }
        taken
    }

    /// Puts back what was taken out.
    pub(super) fn put_back(&mut self, taken: &BTreeMap<TraceId, Live>, now: Instant) {
        for part in taken.values().flat_map(|live| &live.parts) {
            self.add(part.clone(), now);
        }
    }
}
