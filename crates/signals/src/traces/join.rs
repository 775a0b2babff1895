//! Blocks that become one: rows of their groups are copied as bytes, column by column. No value is
//! read but those that decide what is kept.

use std::collections::{BTreeMap, HashSet};
use std::ops::Range;
use std::sync::Arc;

use towpath_query::traceql::{Resource, TraceId};

use super::block::{Block, Making, Unwritten};
use super::column::{self, Builder};
use super::draft::{Draft, is_plain, kind};
use super::group::Group;
use super::spine::{Row, Spine};
use super::{codec, raw};
use crate::bytes::Cursor;
use crate::segment::SegmentError;

/// Not yet among the values of the draft.
const UNKNOWN: u32 = u32::MAX;

/// So many groups of each block are in memory at most.
const OPEN: usize = 3;

/// A column that is copied.
struct Column {
    name: String,
    cells: Cells,
}

/// The rows of a column and their values.
struct Cells {
    /// What the values lie in.
    bytes: Arc<[u8]>,
    values: Vec<Range<usize>>,
    rows: Vec<u32>,
    /// The value of each row.
    numbers: Vec<u32>,
    /// The numbers that values have in the draft.
    there: Vec<u32>,
    /// The first row that is not copied.
    at: usize,
}

impl Cells {
    fn new(bytes: Arc<[u8]>, values: Vec<Range<usize>>, rows: Vec<u32>, numbers: Vec<u32>) -> Self {
        Self {
            bytes,
            values,
            rows,
            numbers,
            there: Vec::new(),
            at: 0,
        }
    }

    fn value_of(&self, row: usize) -> Option<&[u8]> {
        let at = self.rows.binary_search(&(row as u32)).ok()?;
        Some(&self.bytes[self.values[self.numbers[at] as usize].clone()])
    }

    /// The next row, if it is before `end`.
    fn next(&self, end: usize) -> Option<u32> {
        let next = self.rows.get(self.at).copied();
        next.filter(|row| (*row as usize) < end)
    }

    /// Copies rows that are behind those that were copied before.
    fn copy(&mut self, pick: &Pick, to: &mut Builder) {
        while self.next(pick.rows.start).is_some() {
            self.at += 1;
        }
        self.there.resize(self.values.len(), UNKNOWN);
        while let Some(row) = self.next(pick.rows.end) {
            let number = self.numbers[self.at] as usize;
            if self.there[number] == UNKNOWN {
                self.there[number] = to.number(&self.bytes[self.values[number].clone()]);
            }
            let first = (row as usize - pick.rows.start) + pick.first;
            to.push(first as u32, self.there[number]);
            self.at += 1;
        }
    }
}

/// Where a part of some bytes lies in them.
fn within(part: &[u8], bytes: &[u8]) -> Range<usize> {
    let start = part.as_ptr() as usize - bytes.as_ptr() as usize;
    start..start + part.len()
}

/// A group that is read to be copied.
#[derive(Default)]
struct Rows {
    spine: Spine,
    /// By name.
    columns: Vec<Column>,
    /// The next trace.
    trace: usize,
}

impl Rows {
    fn read(group: &Group<'_>) -> Result<Self, SegmentError> {
        let spine = group.spine()?;
        let total = spine.rows.len();
        let block = |name: &str| group.block(name)?.ok_or_else(|| group.wrong(name));
        let mut columns = Vec::new();
        for name in group.names() {
            let cells = match name {
                "resource" => shared(&block(name)?, block("resources")?, raw::resource, total),
                "scope" => shared(&block(name)?, block("scopes")?, raw::scope, total),
                _ if is_plain(name) => plain(block(name)?, total),
                _ => continue,
            };
            columns.push(Column {
                name: name.into(),
                cells: cells.ok_or_else(|| group.wrong(name))?,
            });
        }
        Ok(Self {
            spine,
            columns,
            trace: 0,
        })
    }

    fn column(&self, name: &str) -> Option<usize> {
        let found = self
            .columns
            .binary_search_by(|own| own.name.as_str().cmp(name));
        found.ok()
    }

    fn value(&self, name: &str, row: usize) -> Option<&[u8]> {
        self.columns[self.column(name)?].cells.value_of(row)
    }

    /// The next trace.
    fn next(&self) -> Option<TraceId> {
        self.spine.traces.get(self.trace).map(|trace| trace.0)
    }
}

/// A column that has its values itself.
fn plain(block: Arc<[u8]>, total: usize) -> Option<Cells> {
    let mut values = Vec::new();
    let (rows, numbers) = read(&block, total, |value| {
        values.push(within(value, &block));
        Some(values.len() as u32 - 1)
    })?;
    Some(Cells::new(block, values, rows, numbers))
}

/// A column of numbers of the things in a table.
fn shared(
    block: &[u8],
    table: Arc<[u8]>,
    thing: fn(&mut Cursor<'_>) -> Option<()>,
    total: usize,
) -> Option<Cells> {
    let all = raw::list(&mut Cursor::new(&table), thing)?;
    let values: Vec<Range<usize>> = all.iter().map(|value| within(value, &table)).collect();
    let (rows, numbers) = read(block, total, |value| {
        let number = Cursor::new(value).uvarint()?;
        let known = number < values.len() as u64;
        known.then_some(number as u32)
    })?;
    Some(Cells::new(table, values, rows, numbers))
}

/// The rows of a column in ascending order, and the number that `make` gives the value of each.
fn read<'b>(
    block: &'b [u8],
    total: usize,
    make: impl FnMut(&'b [u8]) -> Option<u32>,
) -> Option<(Vec<u32>, Vec<u32>)> {
    let (mut rows, mut numbers) = (Vec::<u32>::new(), Vec::new());
    let mut sound = true;
    column::read(block, make, |row, number| {
        let behind = rows.last().is_none_or(|last| (*last as usize) < row);
        sound &= behind && row < total;
        rows.push(row as u32);
        numbers.push(number);
    })?;
    sound.then_some((rows, numbers))
}

/// Rows of a group that are copied.
struct Pick {
    group: usize,
    rows: Range<usize>,
    /// The row of the draft that the first of them becomes.
    first: usize,
}

/// A block on its way.
struct Source {
    block: Arc<Block>,
    /// The next of its groups to open.
    next: u32,
    /// The group that is open, as long as it has traces left.
    group: Option<usize>,
}

/// A trace that may be kept.
pub(super) struct Candidate<'a> {
    groups: &'a [Rows],
    picks: &'a [Pick],
    /// When its last span ended.
    pub(super) end_ns: u64,
}

impl Candidate<'_> {
    fn rows(&self) -> impl Iterator<Item = (&Rows, usize)> {
        let each = |pick: &Pick| {
            let group = &self.groups[pick.group];
            pick.rows.clone().map(move |row| (group, row))
        };
        self.picks.iter().flat_map(each)
    }

    /// What sent its root, or its first span where the root is not known.
    pub(super) fn resource(&self) -> Option<Resource> {
        let of = |(group, row): &(&Rows, usize)| group.spine.rows[*row];
        let root = self.rows().find(|row| of(row).parent_id == [0; 8]);
        let first = || self.rows().min_by_key(|row| of(row).start_ns);
        let (group, row) = root.or_else(first)?;
        codec::resource(&mut Cursor::new(group.value("resource", row)?))
    }
}

/// Blocks that become one.
pub(super) struct Join {
    sources: Vec<Source>,
    /// Groups of which something is copied next.
    groups: Vec<Rows>,
    /// Places among them that have none.
    free: Vec<usize>,
    /// What goes into the next group, in order.
    picks: Vec<Pick>,
}

fn unread(error: SegmentError) -> Unwritten {
    Unwritten::Read(error.to_string())
}

impl Join {
    pub(super) fn of(blocks: &[Arc<Block>]) -> Self {
        let sources = blocks.iter().map(|block| Source {
            block: Arc::clone(block),
            next: 0,
            group: None,
        });
        Self {
            sources: sources.collect(),
            groups: Vec::new(),
            free: Vec::new(),
            picks: Vec::new(),
        }
    }

    /// Copies all traces that are kept, in the order of their ids.
    pub(super) fn copy(
        mut self,
        making: &mut Making,
        keeps: impl Fn(&Candidate<'_>) -> bool,
    ) -> Result<(), Unwritten> {
        let mut picks = Vec::new();
        while let Some(id) = self.next().map_err(unread)? {
            // Where little is kept, what is picked must not keep all groups in memory.
            if self.groups.len() - self.free.len() > self.sources.len() * OPEN {
                self.fill(&mut making.draft);
            }
            self.take(&id, &mut picks);
            let rows = |pick: &Pick| &self.groups[pick.group].spine.rows[pick.rows.clone()];
            let end_ns = picks.iter().flat_map(rows).map(Row::end_ns).max();
            let candidate = Candidate {
                groups: &self.groups,
                picks: &picks,
                end_ns: end_ns.unwrap_or(0),
            };
            if end_ns.is_none() || !keeps(&candidate) {
                continue;
            }
            let spans = picks.iter().map(|pick| pick.rows.len()).sum();
            if making.is_full(spans) {
                self.fill(&mut making.draft);
                making.put()?;
            }
            for pick in &mut picks {
                pick.first = making.draft.spans();
                let rows = &self.groups[pick.group].spine.rows[pick.rows.clone()];
                rows.iter().for_each(|row| making.draft.add_row(*row));
            }
            making.draft.end_trace(id);
            self.picks.append(&mut picks);
        }
        self.fill(&mut making.draft);
        Ok(())
    }

    /// The least id that is not yet taken; groups that are needed to tell are opened.
    fn next(&mut self) -> Result<Option<TraceId>, SegmentError> {
        let mut least = None;
        for source in &mut self.sources {
            let id = loop {
                if let Some(id) = source.group.and_then(|at| self.groups[at].next()) {
                    break Some(id);
                }
                source.group = None;
                if source.next == source.block.reader.len() {
                    break None;
                }
                let group = Group::open(&source.block.reader, source.next, true)?;
                source.next += 1;
                let rows = Rows::read(&group)?;
                let at = self.free.pop().unwrap_or(self.groups.len());
                match self.groups.get_mut(at) {
                    Some(free) => *free = rows,
                    None => self.groups.push(rows),
                }
                source.group = Some(at);
            };
            if id.is_some_and(|id| least.is_none_or(|least| id < least)) {
                least = id;
            }
        }
        Ok(least)
    }

    /// Takes the rows of a trace from every block that has it. Of spans with one id and kind the
    /// first stays.
    fn take(&mut self, id: &TraceId, picks: &mut Vec<Pick>) {
        picks.clear();
        for source in &self.sources {
            let Some(group) = source.group else { continue };
            let rows = &mut self.groups[group];
            if rows.next().as_ref() == Some(id) {
                let own = rows.spine.rows_of(rows.trace);
                rows.trace += 1;
                picks.push(Pick {
                    group,
                    rows: own,
                    first: 0,
                });
            }
        }
        if picks.len() < 2 {
            return;
        }
        let mut seen = HashSet::new();
        for Pick { group, rows, .. } in std::mem::take(picks) {
            for row in rows {
                let own = &self.groups[group];
                let codes = own.value("codes", row).and_then(<[u8]>::first);
                if !seen.insert((own.spine.rows[row].id, kind(codes.copied().unwrap_or(0)))) {
                    continue;
                }
                match picks.last_mut() {
                    Some(last) if last.group == group && last.rows.end == row => last.rows.end += 1,
                    _ => picks.push(Pick {
                        group,
                        rows: row..row + 1,
                        first: 0,
                    }),
                }
            }
        }
    }

    /// Copies the columns of what was picked, and lets groups go that are read to their end.
    fn fill(&mut self, draft: &mut Draft) {
        let mut own: Vec<Vec<&Pick>> = self.groups.iter().map(|_| Vec::new()).collect();
        for pick in &self.picks {
            own[pick.group].push(pick);
        }
        // There may be thousands of attributes, most of them in few spans: only columns that have
        // something before the last of the rows are gone through.
        let mut columns: BTreeMap<&str, Vec<(usize, &mut Cells)>> = BTreeMap::new();
        for (at, group) in self.groups.iter_mut().enumerate() {
            let end = own[at].last().map_or(0, |last| last.rows.end);
            for Column { name, cells } in &mut group.columns {
                if cells.next(end).is_some() {
                    cells.there.clear();
                    columns.entry(name).or_default().push((at, cells));
                }
            }
        }
        let mut of_group = vec![None; own.len()];
        for (name, mut all) in columns {
            let Some(to) = draft.column(name) else {
                continue;
            };
            if let [(group, cells)] = &mut all[..] {
                own[*group].iter().for_each(|pick| cells.copy(pick, to));
                continue;
            }
            of_group.fill(None);
            for (at, (group, _)) in all.iter().enumerate() {
                of_group[*group] = Some(at);
            }
            for pick in &self.picks {
                if let Some(at) = of_group[pick.group] {
                    all[at].1.copy(pick, to);
                }
            }
        }
        self.picks.clear();
        for (at, group) in self.groups.iter_mut().enumerate() {
            let open = |source: &Source| source.group == Some(at);
            if !self.sources.iter().any(open) && !self.free.contains(&at) {
                *group = Rows::default();
                self.free.push(at);
            }
        }
    }
}

/// Whether all of a block can be copied.
pub(super) fn check(block: &Block) -> Result<(), SegmentError> {
    for number in 0..block.reader.len() {
        Rows::read(&Group::open(&block.reader, number, true)?)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn anything_can_be_read(bytes: Vec<u8>, table: Vec<u8>, total in 0usize..100) {
            let (bytes, table): (Arc<[u8]>, Arc<[u8]>) = (bytes.into(), table.into());
            let read = [
                plain(Arc::clone(&bytes), total),
                shared(&bytes, Arc::clone(&table), raw::resource, total),
                shared(&bytes, table, raw::scope, total),
            ];
            for column in read.into_iter().flatten() {
                let rows = 0..total;
                let values: Vec<_> = rows.filter_map(|row| column.value_of(row)).collect();
                prop_assert_eq!(values.len(), column.rows.len());
            }
        }

        /// Whatever parts of a column are picked, in order: their values are there, and no other.
        #[test]
        fn picked_rows_are_copied(
            values in prop::collection::vec(prop::option::of("[a-d]{0,2}"), 0..60),
            steps in prop::collection::vec((0usize..9, 1usize..9), 0..9),
        ) {
            let mut column = Builder::default();
            for (row, value) in values.iter().enumerate() {
                if let Some(value) = value {
                    column.add(row as u32, value.as_bytes());
                }
            }
            let mut column = plain(column.finish().into(), values.len()).expect("a column");
            let (mut copied, mut expected) = (Builder::default(), Vec::new());
            let mut start = 0;
            for (step, length) in steps {
                let end = (start + step + length).min(values.len());
                let pick = Pick {
                    group: 0,
                    rows: (start + step).min(end)..end,
                    first: expected.len(),
                };
                column.copy(&pick, &mut copied);
                expected.extend_from_slice(&values[pick.rows]);
                start = end;
            }
            let mut found = vec![None; expected.len()];
            let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).ok();
            let copied = copied.finish();
            column::read(&copied, text, |row, value| found[row] = Some(value)).expect("a column");
            prop_assert_eq!(found, expected);
        }
    }
}
