//! A group while it is made: columns of values in bytes, filled span by span or by whole columns.

use std::collections::{HashMap, HashSet};
use std::io;

use towpath_query::traceql::{SpanId, TraceId};

use super::column::Builder;
use super::group::{Outline, SPAN};
use super::index::Index;
use super::raw::{self, RawSpan};
use super::spine::{self, Row, Spine};
use crate::bytes::{put_bytes, put_uvarint};
use crate::segment::Writer;

/// Columns that are not of an attribute, by their place in a draft.
const FIXED: [&str; 6] = [
    "codes",
    "name",
    "statusMessage",
    "traceState",
    "events",
    "links",
];
const CODES: usize = 0;
const NAME: usize = 1;
const STATUS_MESSAGE: usize = 2;
const TRACE_STATE: usize = 3;
const EVENTS: usize = 4;
const LINKS: usize = 5;

/// Columns are kept for the next group, unless there are more.
const COLUMNS_KEPT: usize = 1024;
/// Ids are kept apart in as much memory, at most.
const SEEN_KEPT: usize = 4096;

/// The column of an attribute.
struct Attribute {
    name: Box<[u8]>,
    column: Builder,
    /// The one that followed it in the last span that had it.
    next: usize,
}

/// Columns of attributes by name, most of them asked for in the same order again and again.
#[derive(Default)]
struct Attributes {
    all: Vec<Attribute>,
    known: HashMap<Box<[u8]>, usize>,
    /// The one that was asked for last.
    last: usize,
}

impl Attributes {
    fn place(&mut self, name: &[u8]) -> usize {
        let guess = self.all.get(self.last).map_or(0, |last| last.next);
        let at = match self.all.get(guess) {
            Some(own) if *own.name == *name => guess,
            _ => self.known(name),
        };
        if let Some(last) = self.all.get_mut(self.last) {
            last.next = at;
        }
        self.last = at;
        at
    }

    fn known(&mut self, name: &[u8]) -> usize {
        if let Some(at) = self.known.get(name) {
            return *at;
        }
        self.known.insert(name.into(), self.all.len());
        self.all.push(Attribute {
            name: name.into(),
            column: Builder::default(),
            next: 0,
        });
        self.all.len() - 1
    }
}

/// A group while it is made.
#[derive(Default)]
pub(super) struct Draft {
    spine: Spine,
    fixed: [Builder; FIXED.len()],
    attributes: Attributes,
    resources: Builder,
    scopes: Builder,
    seen: HashSet<(SpanId, u8)>,
}

/// Whether a group has a column of this name that tells its values itself.
pub(super) fn is_plain(column: &str) -> bool {
    column.starts_with(SPAN) || FIXED.contains(&column)
}

/// The kind in the byte that has kind and status.
pub(super) fn kind(codes: u8) -> u8 {
    codes >> 4
}

impl Draft {
    /// How many spans it has.
    pub(super) fn spans(&self) -> usize {
        self.spine.rows.len()
    }

    /// Adds a trace in parts, whose id is behind all others. Of spans with one id and kind the
    /// first stays.
    pub(super) fn add_parts<'b>(&mut self, id: TraceId, parts: impl Iterator<Item = &'b [u8]>) {
        let mut seen = std::mem::take(&mut self.seen);
        for part in parts {
            // What makes no sense was written by a broken memory; it is left out.
            let _ = raw::spans(part, |span| {
                if seen.insert((span.row.id, kind(span.codes))) {
                    self.add(span);
                }
            });
        }
        if seen.len() <= SEEN_KEPT {
            seen.clear();
            self.seen = seen;
        }
        self.end_trace(id);
    }

    fn add(&mut self, span: &RawSpan<'_>) {
        let row = self.spine.rows.len() as u32;
        self.spine.rows.push(span.row);
        self.fixed[CODES].add(row, &[span.codes]);
        self.fixed[NAME].add(row, span.name);
        let rare = [
            (STATUS_MESSAGE, span.status_message),
            (TRACE_STATE, span.trace_state),
            (EVENTS, span.events),
            (LINKS, span.links),
        ];
        for (column, value) in rare {
            if !value.is_empty() {
                self.fixed[column].add(row, value);
            }
        }
        self.resources.add(row, span.resource);
        self.scopes.add(row, span.scope);
        for (name, value) in &span.attributes {
            let place = self.attributes.place(name);
            self.attributes.all[place].column.add(row, value);
        }
    }

    /// Adds a row whose values follow by columns.
    pub(super) fn add_row(&mut self, row: Row) {
        self.spine.rows.push(row);
    }

    /// The rows since the last trace are of this one. Without any there is no trace.
    pub(super) fn end_trace(&mut self, id: TraceId) {
        let end = self.spine.rows.len();
        if self.spine.traces.last().map_or(0, |last| last.1) < end {
            self.spine.traces.push((id, end));
        }
    }

    /// Its traces.
    pub(super) fn traces(&self) -> impl ExactSizeIterator<Item = &TraceId> {
        self.spine.traces.iter().map(|(id, _)| id)
    }

    /// A column by its name; `None` for one that nobody knows.
    pub(super) fn column(&mut self, name: &str) -> Option<&mut Builder> {
        if let Some(name) = name.strip_prefix(SPAN) {
            let at = self.attributes.place(name.as_bytes());
            return Some(&mut self.attributes.all[at].column);
        }
        match name {
            "resource" => Some(&mut self.resources),
            "scope" => Some(&mut self.scopes),
            _ => {
                let at = FIXED.iter().position(|own| *own == name)?;
                Some(&mut self.fixed[at])
            }
        }
    }

    /// Writes it as the next group, and begins anew.
    pub(super) fn write(&mut self, writer: &mut Writer, number: u32) -> io::Result<Outline> {
        let rows = &self.spine.rows;
        let outline = Outline {
            first: self.spine.traces.first().map_or([0; 16], |t| t.0),
            last: self.spine.traces.last().map_or([0; 16], |t| t.0),
            start_ns: rows.iter().map(|r| r.start_ns).min().unwrap_or(u64::MAX),
            end_ns: rows.iter().map(|r| r.end_ns()).max().unwrap_or(0),
            spans: rows.len() as u32,
        };
        let fixed = FIXED.iter().map(|name| (*name).to_string());
        let mut columns: Vec<(String, &Builder)> = fixed.zip(&self.fixed).collect();
        for attribute in &self.attributes.all {
            let name = String::from_utf8_lossy(&attribute.name);
            columns.push((format!("{SPAN}{name}"), &attribute.column));
        }
        columns.retain(|(_, column)| !column.is_empty());
        columns.sort_by(|(a, _), (b, _)| a.cmp(b));
        let mut index = Index::default();
        for (name, column) in &columns {
            index.column(name, column.values());
        }
        index.resources(self.resources.values());
        index.scopes(self.scopes.values());
        let mut directory = Vec::new();
        put_uvarint(&mut directory, columns.len() as u64 + 5);
        let mut add = |name: &str, raw: &[u8]| {
            let extent = writer.block(raw)?;
            put_bytes(&mut directory, name.as_bytes());
            put_uvarint(&mut directory, extent.offset);
            put_uvarint(&mut directory, extent.bytes.into());
            io::Result::Ok(())
        };
        add(spine::NAME, &spine::write(&self.spine))?;
        for (table, name, column) in [
            ("resources", "resource", &self.resources),
            ("scopes", "scope", &self.scopes),
        ] {
            let mut all = Vec::new();
            put_uvarint(&mut all, column.values().len() as u64);
            let values = column.values().iter();
            values.for_each(|value| all.extend_from_slice(value));
            add(table, &all)?;
            add(name, &column.finish_numbers())?;
        }
        for (name, column) in &columns {
            add(name, &column.finish())?;
        }
        writer.stream(&number.to_be_bytes(), &directory, index.labels())?;
        self.clear();
        Ok(outline)
    }

    fn clear(&mut self) {
        self.spine.traces.clear();
        self.spine.rows.clear();
        if self.attributes.all.len() > COLUMNS_KEPT {
            self.attributes = Attributes::default();
        }
        let attributes = self.attributes.all.iter_mut().map(|own| &mut own.column);
        let fixed = self.fixed.iter_mut();
        let shared = [&mut self.resources, &mut self.scopes];
        fixed
            .chain(attributes)
            .chain(shared)
            .for_each(Builder::clear);
    }
}
