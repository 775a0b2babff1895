//! Queries: which blocks, in which order, which of their lines.

use std::ops::ControlFlow;
use std::sync::Arc;

use towpath_query::logql::{Direction, LogSource, Needle, Row, Scanned, Selection, Sink};
use towpath_query::promql::Labels;

use super::block::{self, Decoded, Encoded};
use super::deletion::Active;
use super::head::Lines;
use super::segment::{Meta, Segment};
use super::store::{Flushing, LogStore};
use super::{bloom, tokens};

/// Something with lines of one stream.
enum Part {
    Lines(Lines),
    Flushing(Arc<Flushing>),
    Sealed(Arc<Encoded>),
    Stored(Arc<Segment>, Meta),
}

struct Candidate {
    stream: u32,
    labels: Labels,
    first: i64,
    last: i64,
    part: Part,
}

impl LogStore {
    fn candidates(&self, selection: &Selection<'_>) -> (Vec<Candidate>, u64) {
        let mut out = Vec::new();
        // While lines move from the head to a segment they are in one place or the other.
        let _gate = self.gate.read();
        let registry = self.registry.read();
        let wanted = registry.select(selection.matchers);
        let mut add = |stream: u32, first: i64, last: i64, part: Part| {
            if last < selection.start || first >= selection.end {
                return;
            }
            let Some(entry) = registry.entry(stream) else {
                return;
            };
            out.push(Candidate {
                stream,
                labels: entry.labels.clone(),
                first,
                last,
                part,
            });
        };
        let parts = self.parts.read();
        for segment in &parts.segments {
            if segment.times.1 < selection.start || segment.times.0 >= selection.end {
                continue;
            }
            for meta in segment.blocks.iter().filter(|m| wanted.contains(&m.stream)) {
                let part = Part::Stored(Arc::clone(segment), meta.clone());
                add(meta.stream, meta.first, meta.last, part);
            }
        }
        for one in parts
            .flushing
            .iter()
            .filter(|one| wanted.contains(&one.stream))
        {
            if let Some((first, last)) = one.lines.times() {
                add(one.stream, first, last, Part::Flushing(Arc::clone(one)));
            }
            for block in &one.sealed {
                let part = Part::Sealed(Arc::clone(block));
                add(one.stream, block.first, block.last, part);
            }
        }
        for id in &wanted {
            let Some(entry) = registry.entry(*id) else {
                continue;
            };
            let open = entry.open.lock();
            for block in &open.sealed {
                add(
                    *id,
                    block.first,
                    block.last,
                    Part::Sealed(Arc::clone(block)),
                );
            }
            if let Some((first, last)) = open.lines.times()
                && last >= selection.start
                && first < selection.end
            {
                add(*id, first, last, Part::Lines(open.lines.clone()));
            }
        }
        (out, wanted.len() as u64)
    }
}

/// Lines are sent to a sink through this: it knows the times, the order and the deletions.
struct Feed<'a> {
    selection: &'a Selection<'a>,
    deletions: Vec<&'a Active>,
    stream: u32,
    labels: &'a Labels,
    sink: &'a mut dyn Sink,
}

impl Feed<'_> {
    fn row(&mut self, row: Row<'_>) -> ControlFlow<()> {
        if row.at < self.selection.start || row.at >= self.selection.end {
            return ControlFlow::Continue(());
        }
        if self
            .deletions
            .iter()
            .any(|one| one.forgets(self.labels, &row))
        {
            return ControlFlow::Continue(());
        }
        self.sink.row(u64::from(self.stream), self.labels, row)
    }

    fn places(&self, count: usize) -> Box<dyn Iterator<Item = usize>> {
        match self.selection.direction {
            Direction::Forward => Box::new(0..count),
            Direction::Backward => Box::new((0..count).rev()),
        }
    }

    fn lines(&mut self, lines: &Lines) -> ControlFlow<()> {
        let order = lines.order();
        let mut metadata = Vec::new();
        for place in self.places(order.len()) {
            let (at, line, own) = lines.row(order[place] as usize);
            metadata.clear();
            metadata.extend(own.iter().map(|(name, value)| (&**name, &**value)));
            self.row(Row {
                at,
                line,
                metadata: &metadata,
            })?;
        }
        ControlFlow::Continue(())
    }

    fn decoded(&mut self, block: &Decoded) -> ControlFlow<()> {
        let low = block.times.partition_point(|at| *at < self.selection.start);
        let high = block.times.partition_point(|at| *at < self.selection.end);
        let mut metadata = Vec::new();
        for place in self.places(high - low) {
            let place = low + place;
            block.metadata(place, &mut metadata);
            self.row(Row {
                at: block.times[place],
                line: block.line(place),
                metadata: &metadata,
            })?;
        }
        ControlFlow::Continue(())
    }
}

/// What a block must have kept of all needles. Needles that are values of labels do not count
/// where the stream has that label, or where an escape could hide the value in a line.
fn keys(needles: &[Needle], labels: &Labels, escapes: bool) -> Vec<u64> {
    let counts = |needle: &&Needle| match &needle.label {
        None => true,
        Some(label) => !escapes && labels.get(label).is_empty(),
    };
    let counted = needles.iter().filter(counts);
    counted
        .flat_map(|needle| tokens::needle(needle.text.as_bytes()))
        .collect()
}

impl LogSource for LogStore {
    fn scan(&self, selection: &Selection<'_>, sink: &mut dyn Sink) -> Result<Scanned, String> {
        let (mut candidates, streams) = self.candidates(selection);
        match selection.direction {
            Direction::Forward => candidates.sort_by_key(|one| (one.first, one.stream)),
            Direction::Backward => {
                candidates.sort_by_key(|one| (std::cmp::Reverse(one.last), one.stream));
            }
        }
        let deletions = self.deletions.read().clone();
        let mut done = Scanned {
            streams,
            ..Scanned::default()
        };
        for one in &candidates {
            if !sink.wants(one.first, one.last) {
                done.blocks_skipped += 1;
                continue;
            }
            let touching = deletions.iter().map(AsRef::as_ref);
            let mut feed = Feed {
                selection,
                deletions: touching
                    .filter(|active| active.touches(&one.labels, one.first, one.last))
                    .collect(),
                stream: one.stream,
                labels: &one.labels,
                sink: &mut *sink,
            };
            let flow = match &one.part {
                Part::Lines(lines) => head(&mut feed, lines, &mut done),
                Part::Flushing(flushing) => head(&mut feed, &flushing.lines, &mut done),
                Part::Sealed(block) => {
                    let keys = keys(selection.needles, &one.labels, block.escapes);
                    if !keys.iter().all(|key| in_filter(&block.bloom, *key)) {
                        done.blocks_skipped += 1;
                        continue;
                    }
                    done.head_bytes += block.raw;
                    done.head_lines += u64::from(block.rows);
                    let decoded =
                        block::decode(&block.bytes).ok_or("a block in memory cannot be read")?;
                    feed.decoded(&decoded)
                }
                Part::Stored(segment, meta) => {
                    let keys = keys(selection.needles, &one.labels, meta.escapes);
                    let fault =
                        |error: std::io::Error| format!("read {}: {error}", segment.path.display());
                    if !segment.may_contain(meta, &keys).map_err(fault)? {
                        done.blocks_skipped += 1;
                        continue;
                    }
                    done.blocks += 1;
                    done.compressed_bytes += meta.bytes();
                    let decoded = segment.read(meta).map_err(fault)?;
                    feed.decoded(&decoded)
                }
            };
            if flow.is_break() {
                break;
            }
        }
        Ok(done)
    }
}

fn head(feed: &mut Feed<'_>, lines: &Lines, done: &mut Scanned) -> ControlFlow<()> {
    done.head_bytes += lines.text_bytes() as u64;
    done.head_lines += lines.len() as u64;
    feed.lines(lines)
}

fn in_filter(filter: &[u8], key: u64) -> bool {
    let at = bloom::cell(key, filter.len() / bloom::CELL) * bloom::CELL;
    filter
        .get(at..at + bloom::CELL)
        .is_none_or(|cell| bloom::may_contain(cell, key))
}
