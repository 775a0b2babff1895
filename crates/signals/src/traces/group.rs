//! Groups: some thousand spans of whole traces, by column, with an index of what occurs in them.
//!
//! A group is a stream of a segment. Its key is its number, its value where its columns are, its
//! labels what occurs in it: `span.<name>`, `resource.<name>`, `event.<name>`, … with values that
//! tell their type. A label with too many values has the value [`MANY`] instead of the rest.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::Arc;

use towpath_query::traceql::{
    AttributeScope, Attributes, Intrinsic, Resource, Scope, Span, Trace, TraceId, Value, Wanted,
};

use super::codec;
use super::column::{self, Builder};
use crate::bytes::{Cursor, put_bytes, put_uvarint, put_varint};
use crate::segment::{Extent, Reader, SegmentError, Writer};

/// Spans of a group, unless one trace has more.
pub(super) const SPANS: usize = 2048;
/// Values of one label of a group that are told.
const VALUES_MAX: usize = 512;
/// The longest value that is told, in bytes.
const VALUE_MAX: usize = 256;
/// Stands for values that are not told.
pub(super) const MANY: &str = "*";

/// A value as the index has it; `None` for those it does not have.
pub(super) fn index_value(value: &Value) -> Option<String> {
    Some(match value {
        Value::Text(text) if text.len() <= VALUE_MAX => format!("s:{text}"),
        Value::Int(n) => format!("n:{n}"),
        Value::Float(n) if n.fract() == 0.0 && n.abs() < 9e15 => format!("n:{}", *n as i64),
        Value::Float(n) => format!("n:{n}"),
        Value::Bool(yes) => format!("b:{yes}"),
        Value::Status(status) => format!("k:{}", status.name()),
        Value::Kind(kind) => format!("k:{}", kind.name()),
        _ => return None,
    })
}

/// What occurs in a group.
#[derive(Default)]
struct Index(BTreeMap<String, BTreeSet<String>>);

impl Index {
    fn add(&mut self, name: &str, value: &Value) {
        if !self.0.contains_key(name) {
            self.0.insert(name.to_string(), BTreeSet::new());
        }
        let Some(values) = self.0.get_mut(name) else {
            return;
        };
        let told = index_value(value).filter(|_| values.len() < VALUES_MAX);
        match told {
            Some(told) => drop(values.insert(told)),
            None => drop(values.insert(MANY.into())),
        }
    }

    fn attributes(&mut self, scope: AttributeScope, attributes: &Attributes) {
        for (name, value) in attributes {
            let label = format!("{}.{name}", scope.name());
            match value {
                Value::List(values) => values.iter().for_each(|v| self.add(&label, v)),
                value => self.add(&label, value),
            }
        }
    }
}

/// What is known of a group without reading it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Outline {
    pub(super) first: TraceId,
    pub(super) last: TraceId,
    pub(super) start_ns: u64,
    pub(super) end_ns: u64,
    pub(super) spans: u32,
}

/// Writes traces, which come in the order of their ids, as the next group.
pub(super) fn write(writer: &mut Writer, number: u32, traces: &[Trace]) -> io::Result<Outline> {
    let mut columns: BTreeMap<String, Builder> = BTreeMap::new();
    let mut index = Index::default();
    let mut outline = Outline {
        first: traces.first().map(|t| t.id).unwrap_or_default(),
        last: traces.last().map(|t| t.id).unwrap_or_default(),
        start_ns: u64::MAX,
        ..Outline::default()
    };
    let (mut ids, mut times) = (Vec::new(), Vec::new());
    let (mut resources, mut scopes) = (codec::Shared::new(), codec::Shared::new());
    put_uvarint(&mut ids, traces.len() as u64);
    for trace in traces {
        ids.extend_from_slice(&trace.id);
        put_uvarint(&mut ids, trace.spans.len() as u64);
    }
    let mut last_start = 0i64;
    let mut buffer = Vec::new();
    for (row, span) in traces.iter().flat_map(|t| &t.spans).enumerate() {
        let row = row as u32;
        ids.extend_from_slice(&span.id);
        ids.extend_from_slice(&span.parent_id);
        let start = span.start_ns as i64;
        put_varint(&mut times, start.wrapping_sub(last_start));
        put_uvarint(&mut times, span.duration_ns);
        last_start = start;
        outline.start_ns = outline.start_ns.min(span.start_ns);
        outline.end_ns = outline.end_ns.max(span.end_ns());
        outline.spans += 1;
        let mut put = |name: &str, value: &[u8]| match columns.get_mut(name) {
            Some(column) => column.add(row, value),
            None => columns.entry(name.to_string()).or_default().add(row, value),
        };
        put("name", span.name.as_bytes());
        index.add("name", &Value::Text(Arc::clone(&span.name)));
        if !span.status_message.is_empty() {
            put("statusMessage", span.status_message.as_bytes());
            index.add(
                "statusMessage",
                &Value::Text(Arc::clone(&span.status_message)),
            );
        }
        if !span.trace_state.is_empty() {
            put("traceState", span.trace_state.as_bytes());
        }
        buffer.clear();
        codec::put_codes(&mut buffer, span);
        put("codes", &buffer);
        index.add("status", &Value::Status(span.status));
        index.add("kind", &Value::Kind(span.kind));
        let shared = [
            ("resource", resources.number(&span.resource)),
            ("scope", scopes.number(&span.scope)),
        ];
        for (name, number) in shared {
            buffer.clear();
            put_uvarint(&mut buffer, number as u64);
            put(name, &buffer);
        }
        for (name, value) in &span.attributes {
            buffer.clear();
            codec::put_value(&mut buffer, value);
            put(&format!("span.{name}"), &buffer);
        }
        index.attributes(AttributeScope::Span, &span.attributes);
        if !span.events.is_empty() {
            buffer.clear();
            codec::put_events(&mut buffer, span);
            put("events", &buffer);
        }
        for event in &span.events {
            index.add("event:name", &Value::Text(Arc::clone(&event.name)));
            index.attributes(AttributeScope::Event, &event.attributes);
        }
        if !span.links.is_empty() {
            buffer.clear();
            codec::put_links(&mut buffer, &span.links);
            put("links", &buffer);
        }
        for link in &span.links {
            index.attributes(AttributeScope::Link, &link.attributes);
        }
    }
    let mut all = Vec::new();
    put_uvarint(&mut all, resources.all().len() as u64);
    for resource in resources.all() {
        codec::put_resource(&mut all, resource);
        index.attributes(AttributeScope::Resource, &resource.attributes);
    }
    let mut libraries = Vec::new();
    put_uvarint(&mut libraries, scopes.all().len() as u64);
    for scope in scopes.all() {
        codec::put_scope(&mut libraries, scope);
        index.attributes(AttributeScope::Instrumentation, &scope.attributes);
        if !scope.name.is_empty() {
            index.add(
                "instrumentation:name",
                &Value::Text(Arc::clone(&scope.name)),
            );
        }
    }
    let mut directory = Vec::new();
    put_uvarint(&mut directory, columns.len() as u64 + 4);
    let mut add = |writer: &mut Writer, name: &str, raw: &[u8]| {
        let extent = writer.block(raw)?;
        put_bytes(&mut directory, name.as_bytes());
        put_uvarint(&mut directory, extent.offset);
        put_uvarint(&mut directory, extent.bytes.into());
        io::Result::Ok(())
    };
    add(writer, "ids", &ids)?;
    add(writer, "times", &times)?;
    add(writer, "resources", &all)?;
    add(writer, "scopes", &libraries)?;
    for (name, column) in &columns {
        add(writer, name, &column.finish())?;
    }
    let labels = index.0.iter().flat_map(|(name, values)| {
        values
            .iter()
            .map(move |value| (name.as_str(), value.as_str()))
    });
    writer.stream(&number.to_be_bytes(), &directory, labels)?;
    Ok(outline)
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

    fn block(&self, name: &str) -> Result<Option<Arc<[u8]>>, SegmentError> {
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

    fn wrong(&self, name: &str) -> SegmentError {
        let offset = self.columns.get(name).map_or(0, |extent| extent.offset);
        self.reader.damaged(offset, "column makes no sense")
    }

    /// Its traces with what is wanted; only the one asked for, where one is.
    pub(super) fn traces(
        &self,
        wanted: &Wanted,
        only: Option<&TraceId>,
    ) -> Result<Vec<Trace>, SegmentError> {
        let ids = self.block("ids")?.unwrap_or_default();
        let times = self.block("times")?.unwrap_or_default();
        let mut traces = bare(&ids, &times).ok_or_else(|| self.wrong("ids"))?;
        let total: usize = traces.iter().map(|t| t.spans.len()).sum();
        let mut first = 0;
        if let Some(only) = only {
            let before = traces.iter().take_while(|t| t.id != *only);
            first = before.map(|t| t.spans.len()).sum();
            traces.retain(|t| t.id == *only);
        }
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
            let Some(name) = column.strip_prefix("span.") else {
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

/// Traces with the ids and times of their spans.
fn bare(ids: &[u8], times: &[u8]) -> Option<Vec<Trace>> {
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
