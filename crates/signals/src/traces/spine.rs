//! The spine of a group: of all spans the ids, which of them is whose parent, and the times.
//!
//! An id of a span is eight bytes that nothing makes smaller. That of its parent is mostly one of
//! the same trace and told by its place; what other traces are named by is written out.

use std::collections::HashMap;

use towpath_query::traceql::{Span, SpanId, Trace};

use crate::bytes::{Cursor, put_bytes, put_uvarint};
use crate::numbers::{self, Numbers, Sections};

/// The name of its block in the directory of a group.
pub(super) const NAME: &str = "spine";
/// The most spans that are read.
const SPANS_MAX: usize = 1 << 22;

/// How a parent is told: none, by its id, or by how far behind the span it stands.
const ROOT: i64 = 0;
const FOREIGN: i64 = 1;

/// Writes the spine of traces.
pub(super) fn write(traces: &[Trace]) -> Vec<u8> {
    let mut out = Sections::new();
    let (mut ids, mut foreign) = (Vec::new(), Vec::new());
    let (mut counts, mut parents) = (Vec::new(), Vec::new());
    let (mut starts, mut durations) = (Vec::new(), Vec::new());
    let mut places: HashMap<SpanId, i64> = HashMap::new();
    for trace in traces {
        ids.extend_from_slice(&trace.id);
        counts.push(trace.spans.len() as i64);
        places.clear();
        places.extend(trace.spans.iter().map(|span| span.id).zip(0..));
        for (place, span) in (0i64..).zip(&trace.spans) {
            let known = places.get(&span.parent_id).copied();
            parents.push(match known {
                _ if span.parent_id == SpanId::default() => ROOT,
                // A step is never 0 or 1 of what stands for others.
                Some(parent) => step(place - parent),
                None => {
                    foreign.extend_from_slice(&span.parent_id);
                    FOREIGN
                }
            });
            starts.push(span.start_ns as i64);
            durations.push(span.duration_ns as i64);
        }
    }
    for span in traces.iter().flat_map(|trace| &trace.spans) {
        ids.extend_from_slice(&span.id);
    }
    put_uvarint(&mut out.head, traces.len() as u64);
    put_uvarint(&mut out.head, parents.len() as u64);
    for column in [&counts, &parents, &starts, &durations] {
        numbers::encode(&mut out, column);
    }
    let mut bytes = Vec::with_capacity(out.head.len() + out.raw.len() + ids.len() + 16);
    put_bytes(&mut bytes, &out.head);
    put_bytes(&mut bytes, &out.raw);
    put_bytes(&mut bytes, &foreign);
    bytes.extend_from_slice(&ids);
    bytes
}

/// Steps of either sign as numbers from 2 on.
fn step(step: i64) -> i64 {
    crate::bytes::zigzag(step) as i64 + 2
}

fn stepped(number: i64) -> Option<i64> {
    let number = number.checked_sub(2).filter(|number| *number >= 0)?;
    Some(number >> 1 ^ -(number & 1))
}

/// Reads traces with the ids and times of their spans; `None` where they make no sense.
pub(super) fn read(bytes: &[u8]) -> Option<Vec<Trace>> {
    let mut from = Cursor::new(bytes);
    let (head, raw) = (from.bytes()?, from.bytes()?);
    let mut foreign = Cursor::new(from.bytes()?);
    let (mut head, mut raw) = (Cursor::new(head), Cursor::new(raw));
    let count = usize::try_from(head.uvarint()?).ok()?;
    let spans = usize::try_from(head.uvarint()?).ok()?;
    // Each has ids that follow.
    let wanted = count.checked_mul(16)?.checked_add(spans.checked_mul(8)?)?;
    if from.rest().len() != wanted || spans > SPANS_MAX {
        return None;
    }
    let mut column = |count| Numbers::read(&mut head, &mut raw, count)?.values();
    let (counts, parents) = (column(count)?, column(spans)?);
    let (starts, durations) = (column(spans)?, column(spans)?);
    let mut own = Cursor::new(from.rest().get(count * 16..)?);
    let mut traces = Vec::with_capacity(count);
    let mut next = 0usize;
    for length in counts {
        let id = from.take(16)?.try_into().ok()?;
        let first = next;
        next = next.checked_add(usize::try_from(length).ok()?)?;
        if next > spans {
            return None;
        }
        let mut trace = Trace {
            id,
            spans: Vec::with_capacity(next - first),
        };
        for row in first..next {
            trace.spans.push(Span {
                id: own.take(8)?.try_into().ok()?,
                start_ns: starts[row] as u64,
                duration_ns: durations[row] as u64,
                ..Span::default()
            });
        }
        for (place, parent) in parents[first..next].iter().enumerate() {
            trace.spans[place].parent_id = match *parent {
                ROOT => SpanId::default(),
                FOREIGN => foreign.take(8)?.try_into().ok()?,
                parent => {
                    let at = (place as i64).checked_sub(stepped(parent)?)?;
                    trace.spans.get(usize::try_from(at).ok()?)?.id
                }
            };
        }
        traces.push(trace);
    }
    (next == spans).then_some(traces)
}

/// Reads what groups of the first version have: ids as they are, and times as differences.
pub(super) fn read_first(ids: &[u8], times: &[u8]) -> Option<Vec<Trace>> {
    let (mut ids, mut times) = (Cursor::new(ids), Cursor::new(times));
    let count = ids.count()?;
    let mut traces = Vec::with_capacity(count);
    for _ in 0..count {
        let id = ids.take(16)?.try_into().ok()?;
        let spans = usize::try_from(ids.uvarint()?).ok()?;
        traces.push((id, spans));
    }
    let mut start = 0i64;
    let traces = traces.into_iter().map(|(id, count)| {
        let mut spans = Vec::new();
        for _ in 0..count {
            start = start.wrapping_add(times.varint()?);
            spans.push(Span {
                id: ids.take(8)?.try_into().ok()?,
                parent_id: ids.take(8)?.try_into().ok()?,
                start_ns: start as u64,
                duration_ns: times.uvarint()?,
                ..Span::default()
            });
        }
        Some(Trace { id, spans })
    });
    traces.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn traces() -> impl Strategy<Value = Vec<Trace>> {
        let span = (0u8..12, 0u8..14, any::<u64>(), any::<u32>());
        let spans = prop::collection::vec(span, 0..10);
        let trace = (any::<[u8; 16]>(), spans).prop_map(|(id, spans)| {
            let of = |n: u8| [n, n / 3, 0, n, 1, 2, 3, n];
            let spans = spans.into_iter().map(|(id, parent, start, length)| Span {
                id: of(id + 1),
                parent_id: if parent == 0 {
                    SpanId::default()
                } else {
                    of(parent)
                },
                start_ns: start,
                duration_ns: length.into(),
                ..Span::default()
            });
            Trace {
                id,
                spans: spans.collect(),
            }
        });
        prop::collection::vec(trace, 0..20)
    }

    /// As the first version wrote groups that still lie on disks.
    fn write_first(traces: &[Trace]) -> (Vec<u8>, Vec<u8>) {
        let (mut ids, mut times) = (Vec::new(), Vec::new());
        put_uvarint(&mut ids, traces.len() as u64);
        for trace in traces {
            ids.extend_from_slice(&trace.id);
            put_uvarint(&mut ids, trace.spans.len() as u64);
        }
        let mut last = 0i64;
        for span in traces.iter().flat_map(|trace| &trace.spans) {
            ids.extend_from_slice(&span.id);
            ids.extend_from_slice(&span.parent_id);
            let start = span.start_ns as i64;
            crate::bytes::put_varint(&mut times, start.wrapping_sub(last));
            put_uvarint(&mut times, span.duration_ns);
            last = start;
        }
        (ids, times)
    }

    proptest! {
        #[test]
        fn the_first_version_is_read(traces in traces()) {
            let (ids, times) = write_first(&traces);
            let read = read_first(&ids, &times).expect("a spine");
            prop_assert_eq!(format!("{read:?}"), format!("{traces:?}"));
        }

        #[test]
        fn spines_round_trip(traces in traces()) {
            let read = read(&write(&traces)).expect("a spine");
            let told = |traces: &[Trace]| format!("{traces:?}");
            prop_assert_eq!(told(&read), told(&traces));
        }

        #[test]
        fn anything_can_be_read(bytes: Vec<u8>, times: Vec<u8>) {
            let _ = read(&bytes);
            let _ = read_first(&bytes, &times);
        }

        #[test]
        fn damage_is_no_panic(traces in traces(), at: prop::sample::Index, byte: u8) {
            let mut bytes = write(&traces);
            let at = at.index(bytes.len());
            bytes[at] = byte;
            let _ = read(&bytes);
        }
    }
}
