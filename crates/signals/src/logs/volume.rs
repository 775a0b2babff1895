//! How much streams have.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use towpath_query::promql::{Labels, Matcher};

use super::block::Encoded;
use super::head::{Lines, Open};
use super::store::LogStore;

/// How much a stream has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Volume {
    /// The stream.
    pub labels: Labels,
    /// Bytes of lines.
    pub bytes: u64,
    /// Lines.
    pub lines: u64,
    /// Blocks.
    pub blocks: u64,
}

impl LogStore {
    /// Streams that may have lines between two times, nanoseconds since the epoch, the second not
    /// included, and that pass one of the lists of matchers; no list means all.
    pub fn streams(&self, sets: &[Vec<Matcher>], start: i64, end: i64) -> Vec<Labels> {
        let volumes = self.volumes(sets, start, end);
        volumes.into_iter().map(|volume| volume.labels).collect()
    }

    /// How much streams have in blocks between two times, in the order of their labels. A block
    /// counts in the share of its time that lies between them.
    pub fn volumes(&self, sets: &[Vec<Matcher>], start: i64, end: i64) -> Vec<Volume> {
        let _gate = self.gate.read();
        let registry = self.registry.read();
        let wanted: BTreeSet<u32> = if sets.is_empty() {
            registry.select(&[])
        } else {
            sets.iter().flat_map(|set| registry.select(set)).collect()
        };
        let mut found: BTreeMap<u32, (u64, u64, u64)> = BTreeMap::new();
        let mut count = |stream: u32, (first, last): (i64, i64), bytes: u64, rows: u64| {
            if last < start || first >= end || !wanted.contains(&stream) {
                return;
            }
            let length = (last as f64 - first as f64).max(1.0);
            let inside = (last.min(end) as f64 - first.max(start) as f64).max(0.0);
            let share = if first >= start && last < end {
                1.0
            } else {
                (inside / length).clamp(0.0, 1.0)
            };
            let sums = found.entry(stream).or_default();
            sums.0 += (bytes as f64 * share).round() as u64;
            sums.1 += (rows as f64 * share).round() as u64;
            sums.2 += 1;
        };
        let parts = self.parts.read();
        for segment in &parts.segments {
            if segment.times.1 < start || segment.times.0 >= end {
                continue;
            }
            for block in &segment.blocks {
                count(
                    block.stream,
                    (block.first, block.last),
                    block.raw,
                    u64::from(block.rows),
                );
            }
        }
        for one in &parts.flushing {
            head_volume(one.stream, &one.lines, &one.sealed, &mut count);
        }
        for id in &wanted {
            if let Some(entry) = registry.entry(*id) {
                let Open { lines, sealed } = &*entry.open.lock();
                head_volume(*id, lines, sealed, &mut count);
            }
        }
        let mut out: Vec<Volume> = found
            .into_iter()
            .filter_map(|(id, (bytes, lines, blocks))| {
                Some(Volume {
                    labels: registry.entry(id)?.labels.clone(),
                    bytes,
                    lines,
                    blocks,
                })
            })
            .collect();
        out.sort_by(|a, b| a.labels.cmp(&b.labels));
        out
    }
}

fn head_volume(
    stream: u32,
    lines: &Lines,
    sealed: &[Arc<Encoded>],
    count: &mut impl FnMut(u32, (i64, i64), u64, u64),
) {
    if let Some(times) = lines.times() {
        count(stream, times, lines.text_bytes() as u64, lines.len() as u64);
    }
    for block in sealed {
        count(
            stream,
            (block.first, block.last),
            block.raw,
            u64::from(block.rows),
        );
    }
}
