//! Blocks: segments of traces in the order of their ids.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use towpath_query::traceql::{AttributeScope, Field, Intrinsic, Op, Span, Trace, TraceId, Wanted};

use super::bloom::Bloom;
use super::draft::Draft;
use super::group::{self, Group, Outline};
use super::index::{MANY, index_value};
use crate::bytes::{Cursor, put_bytes, put_uvarint};
use crate::matching::Index;
use crate::objects::Object;
use crate::segment::{Cache, Reader, SegmentError, Writer};

/// What stands in the footer of a block.
#[derive(Clone, Debug, Default)]
pub(super) struct Meta {
    /// The log before this file is in blocks.
    pub(super) covers: u64,
    /// Blocks that this one stands for.
    pub(super) replaces: Vec<u64>,
    /// When it was made, in nanoseconds since the epoch.
    pub(super) made_ns: u64,
    pub(super) start_ns: u64,
    pub(super) end_ns: u64,
    pub(super) traces: u64,
    pub(super) spans: u64,
    pub(super) groups: Vec<Outline>,
    pub(super) bloom: Bloom,
}

impl Meta {
    fn bytes(&self) -> Vec<u8> {
        let mut out = Vec::new();
        put_uvarint(&mut out, self.covers);
        put_uvarint(&mut out, self.replaces.len() as u64);
        self.replaces.iter().for_each(|n| put_uvarint(&mut out, *n));
        let numbers = [
            self.made_ns,
            self.start_ns,
            self.end_ns,
            self.traces,
            self.spans,
        ];
        numbers.iter().for_each(|n| put_uvarint(&mut out, *n));
        put_uvarint(&mut out, self.groups.len() as u64);
        for group in &self.groups {
            out.extend_from_slice(&group.first);
            out.extend_from_slice(&group.last);
            put_uvarint(&mut out, group.start_ns);
            put_uvarint(&mut out, group.end_ns);
            put_uvarint(&mut out, group.spans.into());
        }
        put_bytes(&mut out, self.bloom.bytes());
        out
    }

    fn read(bytes: &[u8]) -> Option<Self> {
        let mut from = Cursor::new(bytes);
        let covers = from.uvarint()?;
        let count = from.count()?;
        let replaces = (0..count).map(|_| from.uvarint()).collect::<Option<_>>()?;
        let mut number = || from.uvarint();
        let (made_ns, start_ns, end_ns) = (number()?, number()?, number()?);
        let (traces, spans) = (number()?, number()?);
        let count = from.count()?;
        let groups = (0..count).map(|_| {
            Some(Outline {
                first: from.take(16)?.try_into().ok()?,
                last: from.take(16)?.try_into().ok()?,
                start_ns: from.uvarint()?,
                end_ns: from.uvarint()?,
                spans: u32::try_from(from.uvarint()?).ok()?,
            })
        });
        let groups = groups.collect::<Option<_>>()?;
        Some(Self {
            covers,
            replaces,
            made_ns,
            start_ns,
            end_ns,
            traces,
            spans,
            groups,
            bloom: Bloom::from_bytes(from.bytes()?),
        })
    }
}

/// A block that is open.
pub(super) struct Block {
    pub(super) number: u64,
    pub(super) path: PathBuf,
    pub(super) meta: Meta,
    pub(super) reader: Reader,
}

pub(super) fn path(dir: &Path, number: u64) -> PathBuf {
    dir.join(format!("{number:010}.traces"))
}

/// Why a block is not made.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unwritten {
    #[error(transparent)]
    Write(#[from] io::Error),
    #[error("{0}")]
    Read(String),
}

/// A block while it is made.
pub(super) struct Making {
    writer: Writer,
    meta: Meta,
    ids: Vec<TraceId>,
    pub(super) draft: Draft,
}

impl Making {
    /// Whether so many spans of a trace have to go into the next group.
    pub(super) fn is_full(&self, spans: usize) -> bool {
        self.draft.spans() > 0 && self.draft.spans() + spans > group::SPANS
    }

    /// Writes the group that was drafted.
    pub(super) fn put(&mut self) -> io::Result<()> {
        let meta = &mut self.meta;
        meta.traces += self.draft.traces().len() as u64;
        self.ids.extend(self.draft.traces());
        let number = meta.groups.len() as u32;
        let outline = self.draft.write(&mut self.writer, number)?;
        meta.start_ns = meta.start_ns.min(outline.start_ns);
        meta.end_ns = meta.end_ns.max(outline.end_ns);
        meta.spans += u64::from(outline.spans);
        meta.groups.push(outline);
        Ok(())
    }
}

/// Makes a block of what `fill` adds in the order of the ids. It counts once it has its name.
pub(super) fn write(
    dir: &Path,
    number: u64,
    meta: Meta,
    fill: impl FnOnce(&mut Making) -> Result<(), Unwritten>,
) -> Result<PathBuf, Unwritten> {
    let path = path(dir, number);
    let partial = path.with_extension("partial");
    let mut making = Making {
        writer: Writer::create(&partial)?,
        meta: Meta {
            start_ns: u64::MAX,
            ..meta
        },
        ids: Vec::new(),
        draft: Draft::default(),
    };
    fill(&mut making)?;
    if making.draft.spans() > 0 {
        making.put()?;
    }
    let (mut meta, ids) = (making.meta, making.ids);
    meta.bloom = Bloom::new(ids.len());
    ids.iter().for_each(|id| meta.bloom.add(id));
    making.writer.finish(&meta.bytes())?;
    std::fs::rename(&partial, &path)?;
    std::fs::File::open(dir)?.sync_all()?;
    Ok(path)
}

impl Block {
    pub(super) fn open(
        dir: &Path,
        number: u64,
        cache: Arc<Cache>,
        object: Option<Object>,
    ) -> Result<Self, SegmentError> {
        let path = path(dir, number);
        let reader = Reader::open(&path, number, cache, object)?;
        let meta = Meta::read(reader.own());
        let meta = meta.ok_or_else(|| reader.damaged(0, "footer makes no sense"))?;
        if meta.groups.len() != reader.len() as usize {
            return Err(reader.damaged(0, "number of groups is another"));
        }
        Ok(Self {
            number,
            path,
            meta,
            reader,
        })
    }

    /// The spans of a trace.
    pub(super) fn trace(&self, id: &TraceId) -> Result<Vec<Span>, SegmentError> {
        let mut spans = Vec::new();
        if !self.meta.bloom.may_have(id) {
            return Ok(spans);
        }
        let wanted = Wanted::everything(0, u64::MAX);
        let first = self.meta.groups.partition_point(|group| group.last < *id);
        for (at, outline) in self.meta.groups.iter().enumerate().skip(first) {
            if outline.first > *id {
                break;
            }
            let group = Group::open(&self.reader, at as u32, false)?;
            let found = group.traces(&wanted, Some(id))?;
            spans.extend(found.into_iter().flat_map(|t| t.spans));
        }
        Ok(spans)
    }

    /// The groups that may have something of what is wanted.
    fn groups(&self, wanted: &Wanted) -> Result<Vec<u32>, SegmentError> {
        let mut groups: BTreeSet<u32> = BTreeSet::new();
        for (at, outline) in self.meta.groups.iter().enumerate() {
            if outline.start_ns < wanted.end_ns && outline.end_ns >= wanted.start_ns {
                groups.insert(at as u32);
            }
        }
        for condition in &wanted.conditions {
            let told = index_value(&condition.value).filter(|_| condition.op == Op::Eq);
            let (Some(told), Some(labels)) = (told, labels(&condition.field)) else {
                continue;
            };
            let mut with = BTreeSet::new();
            for (label, exact) in labels {
                if exact {
                    with.extend(self.reader.exact(&label, &told)?.iter().copied());
                    with.extend(self.reader.exact(&label, MANY)?.iter().copied());
                } else {
                    with.extend(self.reader.any(&label, &mut |_| true)?);
                }
            }
            groups.retain(|group| with.contains(group));
        }
        Ok(groups.into_iter().collect())
    }

    /// Its traces with what is wanted, in the order of their ids.
    pub(super) fn traces(
        self: Arc<Self>,
        wanted: Arc<Wanted>,
    ) -> Result<impl Iterator<Item = Result<Trace, SegmentError>>, SegmentError> {
        let groups = self.groups(&wanted)?;
        let each = groups.into_iter().map(move |number| {
            let group = Group::open(&self.reader, number, false)?;
            group.traces(&wanted, None)
        });
        Ok(each.flat_map(|read| match read {
            Ok(traces) => traces.into_iter().map(Ok).collect::<Vec<_>>(),
            Err(error) => vec![Err(error)],
        }))
    }
}

/// Labels of the index under which the value of a field stands; false where any value may be
/// meant. `None` where the index does not help.
fn labels(field: &Field) -> Option<Vec<(String, bool)>> {
    let label = |scope: AttributeScope, name: &str| format!("{}.{name}", scope.name());
    match field {
        Field::Intrinsic(
            intrinsic @ (Intrinsic::Name
            | Intrinsic::Status
            | Intrinsic::Kind
            | Intrinsic::StatusMessage
            | Intrinsic::EventName),
        ) => Some(vec![(intrinsic.name().into(), true)]),
        Field::Intrinsic(_) | Field::Attribute { parent: true, .. } => None,
        Field::Attribute { scope, name, .. } if *scope != AttributeScope::Any => {
            Some(vec![(label(*scope, name), true)])
        }
        Field::Attribute { name, .. } => {
            let scopes = [
                (AttributeScope::Span, true),
                (AttributeScope::Resource, true),
                (AttributeScope::Event, false),
                (AttributeScope::Link, false),
                (AttributeScope::Instrumentation, true),
            ];
            Some(
                scopes
                    .map(|(scope, exact)| (label(scope, name), exact))
                    .into(),
            )
        }
    }
}
