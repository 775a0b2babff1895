//! Groups: some thousand spans of whole traces, by column, with an index of what occurs in them.
//!
//! A group is a stream of a segment. Its key is its number, its value where its columns are, its
//! labels what occurs in it: `span.<name>`, `resource.<name>`, `event.<name>`, … with values that
//! tell their type. A label with too many values has the value [`MANY`](super::index::MANY) instead of the rest.

use std::collections::BTreeMap;
use std::sync::Arc;

use towpath_query::traceql::{
    AttributeScope, Intrinsic, Resource, Scope, Span, Trace, TraceId, Wanted,
};

use super::spine::{self, Spine};
use super::{codec, column};
use crate::bytes::Cursor;
use crate::segment::{Extent, Reader, SegmentError};

/// Spans of a group, unless one trace has more.
pub(super) const SPANS: usize = 2048;
/// Begins the names of columns of attributes of spans.
pub(super) const SPAN: &str = "span.";

/// What is known of a group without reading it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Outline {
    pub(super) first: TraceId,
    pub(super) last: TraceId,
    pub(super) start_ns: u64,
    pub(super) end_ns: u64,
    pub(super) spans: u32,
}

/// A group that is read: its columns are where the directory says.
pub(super) struct Group<'r> {
    reader: &'r Reader,
    columns: BTreeMap<String, Extent>,
    once: bool,
}

impl<'r> Group<'r> {
    /// `once`: what is read goes past the cache.
    pub(super) fn open(reader: &'r Reader, number: u32, once: bool) -> Result<Self, SegmentError> {
        let columns = reader.stream(number, |_, value| {
            let mut from = Cursor::new(value);
            let count = from.count()?;
            let all = (0..count).map(|_| {
                let name = from.text()?.to_string();
                let offset = from.uvarint()?;
                let bytes = u32::try_from(from.uvarint()?).ok()?;
                Some((name, Extent { offset, bytes }))
            });
            all.collect::<Option<BTreeMap<_, _>>>()
        })?;
        Ok(Self {
            reader,
            columns,
            once,
        })
    }

    /// The names of its columns, and of what else it has, in order.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.columns.keys().map(String::as_str)
    }

    pub(super) fn spine(&self) -> Result<Spine, SegmentError> {
        match self.block(spine::NAME)? {
            Some(block) => spine::read(&block).ok_or_else(|| self.wrong(spine::NAME)),
            // Groups of the first version.
            None => {
                let ids = self.block("ids")?.unwrap_or_default();
                let times = self.block("times")?.unwrap_or_default();
                spine::read_first(&ids, &times).ok_or_else(|| self.wrong("ids"))
            }
        }
    }

    pub(super) fn block(&self, name: &str) -> Result<Option<Arc<[u8]>>, SegmentError> {
        let Some(extent) = self.columns.get(name) else {
            return Ok(None);
        };
        let block = if self.once {
            self.reader.block_once(*extent)
        } else {
            self.reader.block(*extent)
        };
        block.map(Some)
    }

    pub(super) fn wrong(&self, name: &str) -> SegmentError {
        let offset = self.columns.get(name).map_or(0, |extent| extent.offset);
        self.reader.damaged(offset, "column makes no sense")
    }

    /// Its traces with what is wanted; only the one asked for, where one is.
    pub(super) fn traces(
        &self,
        wanted: &Wanted,
        only: Option<&TraceId>,
    ) -> Result<Vec<Trace>, SegmentError> {
        let spine = self.spine()?;
        let (first, mut traces) = spine.bare(only);
        if traces.is_empty() {
            return Ok(traces);
        }
        let total = spine.rows.len();
        let mut rows: Vec<&mut Span> = traces.iter_mut().flat_map(|t| &mut t.spans).collect();
        let mut target = Rows {
            rows: &mut rows,
            first,
            total,
        };
        self.fill(wanted, &mut target)?;
        Ok(traces)
    }

    fn fill(&self, wanted: &Wanted, rows: &mut Rows<'_, '_>) -> Result<(), SegmentError> {
        let text = |bytes: &[u8]| std::str::from_utf8(bytes).ok().map(Arc::<str>::from);
        let has = |intrinsics: &[Intrinsic]| {
            wanted.all || intrinsics.iter().any(|i| wanted.intrinsics.contains(i))
        };
        if has(&[Intrinsic::Name, Intrinsic::RootName]) {
            self.column("name", rows, text, |span, name| span.name = name)?;
        }
        if has(&[Intrinsic::StatusMessage]) {
            self.column("statusMessage", rows, text, |span, text| {
                span.status_message = text
            })?;
        }
        if wanted.all {
            self.column("traceState", rows, text, |span, text| {
                span.trace_state = text
            })?;
        }
        // The kind tells spans with the same id apart.
        let codes = |bytes: &[u8]| bytes.first().map(|byte| codec::codes(*byte));
        self.column("codes", rows, codes, |span, (kind, status)| {
            span.kind = kind;
            span.status = status;
        })?;
        let scoped = |scopes: &[AttributeScope]| {
            let mut attributes = wanted.attributes.iter();
            wanted.all || attributes.any(|(s, _)| *s == AttributeScope::Any || scopes.contains(s))
        };
        if scoped(&[AttributeScope::Resource]) || has(&[Intrinsic::RootService]) {
            let make = |from: &mut Cursor<'_>| codec::resource(from).map(Arc::new);
            let set = |span: &mut Span, resource: Arc<Resource>| span.resource = resource;
            self.shared("resources", "resource", rows, make, set)?;
        }
        let library = [
            Intrinsic::InstrumentationName,
            Intrinsic::InstrumentationVersion,
        ];
        if scoped(&[AttributeScope::Instrumentation]) || has(&library) {
            let make = |from: &mut Cursor<'_>| codec::scope(from).map(Arc::new);
            let set = |span: &mut Span, scope: Arc<Scope>| span.scope = scope;
            self.shared("scopes", "scope", rows, make, set)?;
        }
        self.attributes(wanted, rows)?;
        if scoped(&[AttributeScope::Event]) || has(&[Intrinsic::EventName, Intrinsic::EventTime]) {
            let make = |bytes: &[u8]| Some(Arc::new(bytes.to_vec()));
            let mut sound = true;
            self.column("events", rows, make, |span, bytes| {
                let read = codec::events(&mut Cursor::new(&bytes), span.start_ns);
                sound &= read.is_some();
                span.events = read.unwrap_or_default();
            })?;
            if !sound {
                return Err(self.wrong("events"));
            }
        }
        if scoped(&[AttributeScope::Link]) || has(&[Intrinsic::LinkTraceId, Intrinsic::LinkSpanId])
        {
            let make = |bytes: &[u8]| codec::links(&mut Cursor::new(bytes));
            self.column("links", rows, make, |span, links| span.links = links)?;
        }
        Ok(())
    }

    fn attributes(&self, wanted: &Wanted, rows: &mut Rows<'_, '_>) -> Result<(), SegmentError> {
        let of_span =
            |scope: AttributeScope| matches!(scope, AttributeScope::Any | AttributeScope::Span);
        for column in self.columns.keys() {
            let Some(name) = column.strip_prefix(SPAN) else {
                continue;
            };
            let mut asked = wanted.attributes.iter();
            if !wanted.all && !asked.any(|(scope, own)| own == name && of_span(*scope)) {
                continue;
            }
            let name: Arc<str> = name.into();
            let make = |bytes: &[u8]| codec::value(&mut Cursor::new(bytes));
            self.column(column, rows, make, |span, value| {
                span.attributes.push((Arc::clone(&name), value));
            })?;
        }
        Ok(())
    }

    fn column<T: Clone>(
        &self,
        name: &str,
        rows: &mut Rows<'_, '_>,
        make: impl FnMut(&[u8]) -> Option<T>,
        mut set: impl FnMut(&mut Span, T),
    ) -> Result<(), SegmentError> {
        let Some(block) = self.block(name)? else {
            return Ok(());
        };
        let mut sound = true;
        let read = column::read(&block, make, |row, value| {
            sound &= row < rows.total;
            if let Some(span) = rows.get(row) {
                set(span, value);
            }
        });
        match read {
            Some(()) if sound => Ok(()),
            _ => Err(self.wrong(name)),
        }
    }

    /// Things that are kept once, with a column of their numbers.
    fn shared<T: Clone>(
        &self,
        table: &str,
        name: &str,
        rows: &mut Rows<'_, '_>,
        make: impl Fn(&mut Cursor<'_>) -> Option<T>,
        set: impl Fn(&mut Span, T),
    ) -> Result<(), SegmentError> {
        let block = self.block(table)?.unwrap_or_default();
        let mut from = Cursor::new(&block);
        let count = from.count().ok_or_else(|| self.wrong(table))?;
        let all: Option<Vec<T>> = (0..count).map(|_| make(&mut from)).collect();
        let all = all.ok_or_else(|| self.wrong(table))?;
        let number = |bytes: &[u8]| {
            let number = Cursor::new(bytes).uvarint()?;
            all.get(usize::try_from(number).ok()?).cloned()
        };
        self.column(name, rows, number, set)
    }
}

/// The spans that are filled, which may be some of the group's.
struct Rows<'a, 's> {
    rows: &'a mut [&'s mut Span],
    first: usize,
    total: usize,
}

impl Rows<'_, '_> {
    fn get(&mut self, row: usize) -> Option<&mut Span> {
        let at = row.checked_sub(self.first)?;
        self.rows.get_mut(at).map(|span| &mut **span)
    }
}
