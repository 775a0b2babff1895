//! The spine of a group: of all spans the ids, which of them is whose parent, and the times.
//!
//! An id of a span is eight bytes that nothing makes smaller. That of its parent is mostly one of
//! the same trace and told by its place; what other traces are named by is written out.

use std::collections::HashMap;
use std::ops::Range;

use towpath_query::traceql::{Span, SpanId, Trace, TraceId};

use crate::bytes::{Cursor, put_bytes, put_uvarint};
use crate::numbers::{self, Numbers, Sections};

/// The name of its block in the directory of a group.
pub(super) const NAME: &str = "spine";
/// The most spans that are read.
const SPANS_MAX: usize = 1 << 22;

/// How a parent is told: none, by its id, or by how far behind the span it stands.
const ROOT: i64 = 0;
const FOREIGN: i64 = 1;

/// What the spine has of a span.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Row {
    pub(super) id: SpanId,
    pub(super) parent_id: SpanId,
    pub(super) start_ns: u64,
    pub(super) duration_ns: u64,
}

impl Row {
    pub(super) fn end_ns(&self) -> u64 {
        self.start_ns.saturating_add(self.duration_ns)
    }
}

/// The spine of traces in the order of their ids.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Spine {
    /// Traces, and where the rows of each end.
    pub(super) traces: Vec<(TraceId, usize)>,
    pub(super) rows: Vec<Row>,
}

impl Spine {
    /// The rows of a trace.
    pub(super) fn rows_of(&self, trace: usize) -> Range<usize> {
        let start = trace.checked_sub(1).map_or(0, |at| self.traces[at].1);
        start..self.traces[trace].1
    }

    /// Traces with nothing but what is here; all, or the one that is asked for.
    pub(super) fn bare(&self, only: Option<&TraceId>) -> (usize, Vec<Trace>) {
        let range = match only {
            None => 0..self.traces.len(),
            Some(only) => {
                let same = |(id, _): &(TraceId, usize)| id == only;
                let first = self.traces.iter().position(same);
                let first = first.unwrap_or(self.traces.len());
                let count = self.traces[first..].iter().take_while(|t| same(t)).count();
                first..first + count
            }
        };
        let traces = range.clone().map(|at| Trace {
            id: self.traces[at].0,
            spans: self.rows[self.rows_of(at)].iter().map(bare).collect(),
        });
        let first = range.start.checked_sub(1).map_or(0, |at| self.traces[at].1);
        (first, traces.collect())
    }
}

fn bare(row: &Row) -> Span {
    Span {
        id: row.id,
        parent_id: row.parent_id,
        start_ns: row.start_ns,
        duration_ns: row.duration_ns,
        ..Span::default()
    }
}

/// Up to so many spans of a trace a parent is looked for one by one.
const FEW: usize = 32;

/// Writes the spine of traces.
pub(super) fn write(spine: &Spine) -> Vec<u8> {
    let mut out = Sections::new();
    let (mut ids, mut foreign) = (Vec::new(), Vec::new());
    let (mut counts, mut parents) = (Vec::new(), Vec::new());
    let mut places: HashMap<SpanId, usize> = HashMap::new();
    for (at, (id, _)) in spine.traces.iter().enumerate() {
        let rows = &spine.rows[spine.rows_of(at)];
        ids.extend_from_slice(id);
        counts.push(rows.len() as i64);
        let many = rows.len() > FEW;
        if many {
            places.clear();
            places.extend(rows.iter().map(|row| row.id).zip(0..));
        }
        for (place, row) in rows.iter().enumerate() {
            let known = match many {
                _ if row.parent_id == SpanId::default() => None,
                true => places.get(&row.parent_id).copied(),
                false => rows.iter().rposition(|other| other.id == row.parent_id),
            };
            parents.push(match known {
                _ if row.parent_id == SpanId::default() => ROOT,
                // A step is never 0 or 1 of what stands for others.
                Some(parent) => step(place as i64 - parent as i64),
                None => {
                    foreign.extend_from_slice(&row.parent_id);
                    FOREIGN
                }
            });
        }
    }
    spine
        .rows
        .iter()
        .for_each(|row| ids.extend_from_slice(&row.id));
    put_uvarint(&mut out.head, spine.traces.len() as u64);
    put_uvarint(&mut out.head, parents.len() as u64);
    let starts: Vec<i64> = spine.rows.iter().map(|row| row.start_ns as i64).collect();
    let durations = spine.rows.iter().map(|row| row.duration_ns as i64);
    let durations: Vec<i64> = durations.collect();
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
pub(super) fn read(bytes: &[u8]) -> Option<Spine> {
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
    let own = from.rest().get(count * 16..)?;
    let id = |row: usize| own.get(row * 8..row * 8 + 8)?.try_into().ok();
    let mut spine = Spine {
        traces: Vec::with_capacity(count),
        rows: Vec::with_capacity(spans),
    };
    for length in counts {
        let trace = from.take(16)?.try_into().ok()?;
        let first = spine.rows.len();
        let next = first.checked_add(usize::try_from(length).ok()?)?;
        for row in first..next {
            let parent_id = match *parents.get(row)? {
                ROOT => SpanId::default(),
                FOREIGN => foreign.take(8)?.try_into().ok()?,
                parent => {
                    let at = (row as i64).checked_sub(stepped(parent)?)?;
                    let at = usize::try_from(at).ok()?;
                    (first..next).contains(&at).then(|| id(at))??
                }
            };
            spine.rows.push(Row {
                id: id(row)?,
                parent_id,
                start_ns: starts[row] as u64,
                duration_ns: durations[row] as u64,
            });
        }
        spine.traces.push((trace, next));
    }
    (spine.rows.len() == spans).then_some(spine)
}

/// Reads what groups of the first version have: ids as they are, and times as differences.
pub(super) fn read_first(ids: &[u8], times: &[u8]) -> Option<Spine> {
    let (mut ids, mut times) = (Cursor::new(ids), Cursor::new(times));
    let count = ids.count()?;
    let mut spine = Spine::default();
    let mut end = 0usize;
    for _ in 0..count {
        let id = ids.take(16)?.try_into().ok()?;
        end = end.checked_add(usize::try_from(ids.uvarint()?).ok()?)?;
        spine.traces.push((id, end));
    }
    let mut start = 0i64;
    for _ in 0..end {
        start = start.wrapping_add(times.varint()?);
        spine.rows.push(Row {
            id: ids.take(8)?.try_into().ok()?,
            parent_id: ids.take(8)?.try_into().ok()?,
            start_ns: start as u64,
            duration_ns: times.uvarint()?,
        });
    }
    Some(spine)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn spines() -> impl Strategy<Value = Spine> {
        let span = (0u8..12, 0u8..14, any::<u64>(), any::<u32>());
        let few = prop::collection::vec(span.clone(), 0..10);
        let spans = prop_oneof![9 => few, 1 => prop::collection::vec(span, FEW..FEW + 9)];
        let trace = (any::<[u8; 16]>(), spans).prop_map(|(id, spans)| {
            let of = |n: u8| [n, n / 3, 0, n, 1, 2, 3, n];
            let rows = spans
                .into_iter()
                .map(move |(id, parent, start, length)| Row {
                    id: of(id + 1),
                    parent_id: if parent == 0 {
                        SpanId::default()
                    } else {
                        of(parent)
                    },
                    start_ns: start,
                    duration_ns: length.into(),
                });
            (id, rows.collect::<Vec<_>>())
        });
        prop::collection::vec(trace, 0..20).prop_map(|traces| {
            let mut spine = Spine::default();
            for (id, rows) in traces {
                spine.rows.extend(rows);
                spine.traces.push((id, spine.rows.len()));
            }
            spine
        })
    }

    /// As the first version wrote groups that still lie on disks.
    fn write_first(spine: &Spine) -> (Vec<u8>, Vec<u8>) {
        let (mut ids, mut times) = (Vec::new(), Vec::new());
        put_uvarint(&mut ids, spine.traces.len() as u64);
        for (at, (id, _)) in spine.traces.iter().enumerate() {
            ids.extend_from_slice(id);
            put_uvarint(&mut ids, spine.rows_of(at).len() as u64);
        }
        let mut last = 0i64;
        for row in &spine.rows {
            ids.extend_from_slice(&row.id);
            ids.extend_from_slice(&row.parent_id);
            let start = row.start_ns as i64;
            crate::bytes::put_varint(&mut times, start.wrapping_sub(last));
            put_uvarint(&mut times, row.duration_ns);
            last = start;
        }
        (ids, times)
    }

    proptest! {
        #[test]
        fn the_first_version_is_read(spine in spines()) {
            let (ids, times) = write_first(&spine);
            prop_assert_eq!(read_first(&ids, &times).expect("a spine"), spine);
        }

        #[test]
        fn spines_round_trip(spine in spines()) {
            prop_assert_eq!(read(&write(&spine)).expect("a spine"), spine);
        }

        #[test]
        fn one_of_them_is_found(spine in spines(), at: prop::sample::Index) {
            let (first, all) = spine.bare(None);
            prop_assert_eq!((first, all.len()), (0, spine.traces.len()));
            if let Some(only) = (!all.is_empty()).then(|| &all[at.index(all.len())]) {
                let (first, found) = spine.bare(Some(&only.id));
                let before = all.iter().take_while(|trace| trace.id != only.id);
                prop_assert_eq!(first, before.map(|trace| trace.spans.len()).sum::<usize>());
                prop_assert_eq!(&found[0].id, &only.id);
            }
        }

        #[test]
        fn anything_can_be_read(bytes: Vec<u8>, times: Vec<u8>) {
            let _ = read(&bytes);
            let _ = read_first(&bytes, &times);
        }

        #[test]
        fn damage_is_no_panic(spine in spines(), at: prop::sample::Index, byte: u8) {
            let mut bytes = write(&spine);
            let at = at.index(bytes.len());
            bytes[at] = byte;
            let _ = read(&bytes);
        }
    }
}
