//! Groups: some thousand spans of whole traces, by column, with an index of what occurs in them.
//!
//! A group is a stream of a segment. Its key is its number, its value where its columns are, its
//! labels what occurs in it: `span.<name>`, `resource.<name>`, `event.<name>`, … with values that
//! tell their type. A label with too many values has the value [`MANY`] instead of the rest.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io;
use std::sync::Arc;

use towpath_query::traceql::{
    AttributeScope, Attributes, Intrinsic, Resource, Scope, Span, Trace, TraceId, Value, Wanted,
};
use towpath_stdx::keyed::Quick;

use super::codec;
use super::column::{self, Builder};
use super::spine;
use crate::bytes::{Cursor, put_bytes, put_uvarint};
use crate::hash::{chained, hash};
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
            self.attribute(&format!("{}.{name}", scope.name()), value);
        }
    }

    fn attribute(&mut self, label: &str, value: &Value) {
        match value {
            Value::List(values) => values.iter().for_each(|v| self.add(label, v)),
            value => self.add(label, value),
        }
    }

    /// What occurs in a column, each value once.
    fn column(&mut self, name: &str, column: &Builder) {
        let text = |value: &[u8]| Value::text(String::from_utf8_lossy(value));
        for value in column.values() {
            match name {
                "name" | "statusMessage" => self.add(name, &text(value)),
                "codes" => {
                    let (kind, status) = codec::codes(value.first().copied().unwrap_or(0));
                    self.add("status", &Value::Status(status));
                    self.add("kind", &Value::Kind(kind));
                }
                _ if name.starts_with(SPAN) => {
                    // It was written a moment ago.
                    if let Some(value) = codec::value(&mut Cursor::new(value)) {
                        self.attribute(name, &value);
                    }
                }
                _ => {}
            }
        }
    }
}

/// Begins the names of columns of attributes of spans.
const SPAN: &str = "span.";

/// What is known of a group without reading it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Outline {
    pub(super) first: TraceId,
    pub(super) last: TraceId,
    pub(super) start_ns: u64,
    pub(super) end_ns: u64,
    pub(super) spans: u32,
}

/// Columns by name, most of them asked for in the same order again and again.
#[derive(Default)]
struct Columns {
    /// With the name of the attribute behind `span.`.
    all: Vec<(String, Builder)>,
    known: HashMap<u64, usize, Quick>,
}

impl Columns {
    /// The column `<prefix><name>`.
    fn of(&mut self, prefix: &str, name: &str) -> &mut Builder {
        let hash = chained(hash(prefix.as_bytes()), name.as_bytes());
        let is = |own: &str| own.strip_prefix(prefix) == Some(name);
        let known = self.known.get(&hash).copied();
        let known = known.filter(|at| is(&self.all[*at].0));
        // Another name has the same hash once in an age.
        let known = known.or_else(|| {
            let at = self.all.iter().position(|(own, _)| is(own))?;
            Some(at)
        });
        let at = known.unwrap_or_else(|| {
            self.all
                .push((format!("{prefix}{name}"), Builder::default()));
            self.known.insert(hash, self.all.len() - 1);
            self.all.len() - 1
        });
        &mut self.all[at].1
    }
}

/// Writes traces, which come in the order of their ids, as the next group.
pub(super) fn write(writer: &mut Writer, number: u32, traces: &[Trace]) -> io::Result<Outline> {
    let mut columns = Columns::default();
    let mut index = Index::default();
    let mut outline = Outline {
        first: traces.first().map(|t| t.id).unwrap_or_default(),
        last: traces.last().map(|t| t.id).unwrap_or_default(),
        start_ns: u64::MAX,
        ..Outline::default()
    };
    let (mut resources, mut scopes) = (codec::Shared::new(), codec::Shared::new());
    let mut buffer = Vec::new();
    for (row, span) in traces.iter().flat_map(|t| &t.spans).enumerate() {
        let row = row as u32;
        outline.start_ns = outline.start_ns.min(span.start_ns);
        outline.end_ns = outline.end_ns.max(span.end_ns());
        outline.spans += 1;
        columns.of("", "name").add(row, span.name.as_bytes());
        if !span.status_message.is_empty() {
            let message = span.status_message.as_bytes();
            columns.of("", "statusMessage").add(row, message);
        }
        if !span.trace_state.is_empty() {
            let state = span.trace_state.as_bytes();
            columns.of("", "traceState").add(row, state);
        }
        buffer.clear();
        codec::put_codes(&mut buffer, span);
        columns.of("", "codes").add(row, &buffer);
        let shared = [
            ("resource", resources.number(&span.resource)),
            ("scope", scopes.number(&span.scope)),
        ];
        for (name, number) in shared {
            buffer.clear();
            put_uvarint(&mut buffer, number as u64);
            columns.of("", name).add(row, &buffer);
        }
        for (name, value) in &span.attributes {
            buffer.clear();
            codec::put_value(&mut buffer, value);
            columns.of(SPAN, name).add(row, &buffer);
        }
        if !span.events.is_empty() {
            buffer.clear();
            codec::put_events(&mut buffer, span);
            columns.of("", "events").add(row, &buffer);
        }
        for event in &span.events {
            index.add("event:name", &Value::Text(Arc::clone(&event.name)));
            index.attributes(AttributeScope::Event, &event.attributes);
        }
        if !span.links.is_empty() {
            buffer.clear();
            codec::put_links(&mut buffer, &span.links);
            columns.of("", "links").add(row, &buffer);
        }
        for link in &span.links {
            index.attributes(AttributeScope::Link, &link.attributes);
        }
    }
    columns.all.sort_by(|(a, _), (b, _)| a.cmp(b));
    for (name, column) in &columns.all {
        index.column(name, column);
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
    put_uvarint(&mut directory, columns.all.len() as u64 + 3);
    let mut add = |writer: &mut Writer, name: &str, raw: &[u8]| {
        let extent = writer.block(raw)?;
        put_bytes(&mut directory, name.as_bytes());
        put_uvarint(&mut directory, extent.offset);
        put_uvarint(&mut directory, extent.bytes.into());
        io::Result::Ok(())
    };
    add(writer, spine::NAME, &spine::write(traces))?;
    add(writer, "resources", &all)?;
    add(writer, "scopes", &libraries)?;
    for (name, column) in &columns.all {
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
        let mut traces = match self.block(spine::NAME)? {
            Some(block) => spine::read(&block).ok_or_else(|| self.wrong(spine::NAME))?,
            // Groups of the first version.
            None => {
                let ids = self.block("ids")?.unwrap_or_default();
                let times = self.block("times")?.unwrap_or_default();
                spine::read_first(&ids, &times).ok_or_else(|| self.wrong("ids"))?
            }
        };
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
