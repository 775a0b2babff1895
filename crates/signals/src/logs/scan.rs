//! Queries: which blocks, in which order, which of their lines.

use std::ops::ControlFlow;
use std::sync::Arc;

use towpath_query::logql::{Direction, LogSource, Needle, Row, Scanned, Selection, Sink};
use towpath_query::promql::Labels;

use super::block::{self, Decoded, Encoded};
use super::deletion::Active;
use super::head::Lines;
use super::segment::{Meta, Segment, damaged};
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

/// What a block must have, by its filter and in its columns.
#[derive(Default)]
struct Wanted<'a> {
    keys: Vec<u64>,
    words: Vec<&'a [u8]>,
}

/// What a block must have of all needles. Needles that are values of labels do not count where the
/// stream has that label, or where an escape could hide the value in a line.
fn wanted<'a>(needles: &'a [Needle], labels: &Labels, escapes: bool) -> Wanted<'a> {
    let counts = |needle: &&Needle| match &needle.label {
        None => true,
        Some(label) => !escapes && labels.get(label).is_empty(),
    };
    let mut out = Wanted::default();
    for needle in needles.iter().filter(counts) {
        let bytes = needle.text.as_bytes();
        out.keys.extend(tokens::needle(bytes));
        out.words.extend(tokens::longest(bytes));
    }
    out
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
                    let wanted = wanted(selection.needles, &one.labels, block.escapes);
                    let mut keys = wanted.keys.iter();
                    let unreadable = "a block in memory cannot be read";
                    if !keys.all(|key| in_filter(&block.bloom, *key, block.make))
                        || !wanted.may_be_in(&block.bytes).ok_or(unreadable)?
                    {
                        done.blocks_skipped += 1;
                        continue;
                    }
                    done.head_bytes += block.raw;
                    done.head_lines += u64::from(block.rows);
                    let decoded = block::decode(&block.bytes).ok_or(unreadable)?;
                    feed.decoded(&decoded)
                }
                Part::Stored(segment, meta) => {
                    let wanted = wanted(selection.needles, &one.labels, meta.escapes);
                    let fault =
                        |error: std::io::Error| format!("read {}: {error}", segment.data().name());
                    if !segment.may_contain(meta, &wanted.keys).map_err(fault)? {
                        done.blocks_skipped += 1;
                        continue;
                    }
                    let bytes = segment.bytes_of(meta).map_err(fault)?;
                    done.compressed_bytes += meta.bytes();
                    let unreadable = || fault(damaged("a block cannot be read"));
                    if !wanted.may_be_in(&bytes).ok_or_else(unreadable)? {
                        done.blocks_skipped += 1;
                        continue;
                    }
                    done.blocks += 1;
                    let decoded = block::decode(&bytes).ok_or_else(unreadable)?;
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

impl Wanted<'_> {
    /// Whether a block may have the words; `None` where it is damaged.
    fn may_be_in(&self, block: &[u8]) -> Option<bool> {
        if self.words.is_empty() {
            return Some(true);
        }
        block::may_contain(block, &self.words)
    }
}

fn in_filter(filter: &[u8], key: u64, make: bloom::Make) -> bool {
    let at = bloom::cell(key, filter.len() / bloom::CELL) * bloom::CELL;
    filter
        .get(at..at + bloom::CELL)
        .is_none_or(|cell| bloom::may_contain(cell, key, make))
}
