//! Metrics in segment files.
//!
//! The key of a series is its name and then its labels, so that series of one metric are beside
//! each other: they are alike, and compress well together. Columns of many series share a block of
//! about 128 KiB; the value of a series lists where its columns are. Behind the samples of a series
//! stand its downsampled copies, where there are some.

use std::path::Path;
use std::sync::Arc;

use towpath_query::promql::{Labels, NAME, Samples};

use super::chunk::{Found, Kind, histogram};
use super::column::{self, Wanted};
use super::downsample::{self, Buckets, Copies};
use crate::bytes::{Cursor, put_uvarint, put_varint};
use crate::objects::Object;
use crate::segment::{self, At, Cache, Extent, Reader, SEPARATOR, SegmentError};

/// Columns gather until a block is this long.
const BLOCK: usize = 128 << 10;

/// The key of a series: in its order series are stored.
pub(crate) fn key(labels: &Labels) -> Vec<u8> {
    let mut out = Vec::new();
    put_key(labels.iter(), &mut out);
    out
}

/// Adds a key.
pub(crate) fn put_key<'l>(
    labels: impl Iterator<Item = (&'l str, &'l str)> + Clone,
    out: &mut Vec<u8>,
) {
    let named = labels.clone().find(|(name, _)| *name == NAME);
    out.extend_from_slice(named.map_or("", |(_, value)| value).as_bytes());
    out.push(SEPARATOR);
    for (name, value) in labels.filter(|(name, _)| *name != NAME) {
        for text in [name, value] {
            out.extend_from_slice(text.as_bytes());
            out.push(SEPARATOR);
        }
    }
}

/// The labels of a key.
pub(crate) fn labels(key: &[u8]) -> Option<Labels> {
    let mut texts = key
        .split(|byte| *byte == SEPARATOR)
        .map(std::str::from_utf8);
    let name = texts.next()?.ok()?;
    let mut pairs = Vec::with_capacity(16);
    pairs.push((NAME, name));
    while let (Some(name), Some(value)) = (texts.next(), texts.next()) {
        pairs.push((name.ok()?, value.ok()?));
    }
    Some(pairs.into_iter().collect())
}

/// What a column holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Content {
    Samples(Kind),
    /// Copies of a resolution.
    Copies(u8),
}

/// The code of copies of the first resolution.
const COPIES: u8 = 16;

impl Content {
    fn code(self) -> u8 {
        match self {
            Self::Samples(kind) => kind.code(),
            Self::Copies(level) => COPIES + level,
        }
    }

    fn of(code: u8) -> Option<Self> {
        match code.checked_sub(COPIES) {
            None => Kind::of(code).map(Self::Samples),
            Some(level) => {
                (usize::from(level) < downsample::RESOLUTIONS.len()).then_some(Self::Copies(level))
            }
        }
    }
}

/// Where samples of a series are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Part {
    content: Content,
    pub(crate) min: i64,
    pub(crate) max: i64,
    extent: Extent,
    /// Where in the block.
    at: u32,
    bytes: u32,
}

impl Part {
    /// Whether it holds plain samples.
    pub(crate) fn is_plain(&self) -> bool {
        self.content == Content::Samples(Kind::Float)
    }

    fn is_copies(&self) -> bool {
        matches!(self.content, Content::Copies(_))
    }

    pub(crate) fn is_histogram(&self) -> bool {
        self.content == Content::Samples(Kind::Histogram)
    }
}

fn put_parts(out: &mut Vec<u8>, parts: &[Part]) {
    put_uvarint(out, parts.len() as u64);
    for part in parts {
        out.push(part.content.code());
        put_varint(out, part.min);
        put_uvarint(out, part.max.wrapping_sub(part.min) as u64);
        put_uvarint(out, part.extent.offset);
        for number in [part.extent.bytes, part.at, part.bytes] {
            put_uvarint(out, u64::from(number));
        }
    }
}

fn parts(value: &[u8]) -> Option<Vec<Part>> {
    let mut cursor = Cursor::new(value);
    let count = cursor.count()?;
    let mut out = Vec::with_capacity(count);
    parts_into(&mut cursor, count, &mut out)?;
    Some(out)
}

fn parts_into(cursor: &mut Cursor<'_>, count: usize, out: &mut Vec<Part>) -> Option<()> {
    for _ in 0..count {
        let content = Content::of(cursor.u8()?)?;
        let min = cursor.varint()?;
        let max = min.checked_add_unsigned(cursor.uvarint()?)?;
        let offset = cursor.uvarint()?;
        let mut number = || u32::try_from(cursor.uvarint()?).ok();
        out.push(Part {
            content,
            min,
            max,
            extent: Extent {
                offset,
                bytes: number()?,
            },
            at: number()?,
            bytes: number()?,
        });
    }
    Some(())
}

/// What a segment holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Summary {
    pub(crate) samples: u64,
    pub(crate) min: i64,
    pub(crate) max: i64,
}

struct Waiting {
    key: Vec<u8>,
    labels: Labels,
    parts: Vec<Part>,
}

/// A segment of metrics that is written, series by series in the order of their keys.
pub(crate) struct Writer {
    file: segment::Writer,
    raw: Vec<u8>,
    /// Series with columns in the block that is not yet written.
    waiting: Vec<Waiting>,
    /// How many parts of the first one were written with blocks before.
    summary: Summary,
}

/// Stands for the block that is not yet written.
const PENDING: u64 = u64::MAX;

impl Writer {
    pub(crate) fn create(path: &Path) -> std::io::Result<Self> {
        Ok(Self {
            file: segment::Writer::create(path)?,
            raw: Vec::new(),
            waiting: Vec::new(),
            summary: Summary {
                samples: 0,
                min: i64::MAX,
                max: i64::MIN,
            },
        })
    }

    /// Adds a series; one without samples is left out.
    pub(crate) fn series(
        &mut self,
        key: Vec<u8>,
        labels: Labels,
        found: &Found,
    ) -> std::io::Result<()> {
        self.add(key, labels, found, &Copies::default())
    }

    /// Adds a series with its copies.
    pub(crate) fn add(
        &mut self,
        key: Vec<u8>,
        labels: Labels,
        found: &Found,
        copies: &Copies,
    ) -> std::io::Result<()> {
        if found.is_empty() && copies.iter().all(Option::is_none) {
            return Ok(());
        }
        self.waiting.push(Waiting {
            key,
            labels,
            parts: Vec::new(),
        });
        let Samples { times, values } = &found.floats;
        let columns = times.chunks(column::MOST).zip(values.chunks(column::MOST));
        for (times, values) in columns {
            let at = self.raw.len();
            column::put(&mut self.raw, times, values);
            self.samples(Kind::Float, times, at)?;
        }
        for all in found.histograms.chunks(1024) {
            let at = self.raw.len();
            let times: Vec<i64> = all.iter().map(|(time, _)| *time).collect();
            put_uvarint(&mut self.raw, all.len() as u64);
            column::put_times(&mut self.raw, &times);
            let mut before = None;
            for (_, value) in all {
                histogram::put(&mut self.raw, before, value);
                before = Some(&**value);
            }
            self.samples(Kind::Histogram, &times, at)?;
        }
        let mut alone = found.floats.is_empty();
        for (level, copies) in (0u8..).zip(copies) {
            let Some(copies) = copies else { continue };
            let at = self.raw.len();
            downsample::put(&mut self.raw, copies);
            let times = (copies.times[0], copies.times[copies.len() - 1]);
            // What they stand for is counted where nothing else does.
            if std::mem::take(&mut alone) {
                let counts = copies.counts.iter().map(|count| u64::from(*count));
                self.summary.samples += counts.sum::<u64>();
            }
            self.part(Content::Copies(level), times, at)?;
        }
        Ok(())
    }

    fn samples(&mut self, kind: Kind, times: &[i64], at: usize) -> std::io::Result<()> {
        self.summary.samples += times.len() as u64;
        let times = (times[0], times[times.len() - 1]);
        self.part(Content::Samples(kind), times, at)
    }

    fn part(&mut self, content: Content, (min, max): (i64, i64), at: usize) -> std::io::Result<()> {
        self.summary.min = self.summary.min.min(min);
        self.summary.max = self.summary.max.max(max);
        let part = Part {
            content,
            min,
            max,
            extent: Extent {
                offset: PENDING,
                bytes: 0,
            },
            at: at as u32,
            bytes: (self.raw.len() - at) as u32,
        };
        if let Some(last) = self.waiting.last_mut() {
            last.parts.push(part);
        }
        if self.raw.len() >= BLOCK {
            self.block()?;
        }
        Ok(())
    }

    fn block(&mut self) -> std::io::Result<()> {
        if self.raw.is_empty() {
            return Ok(());
        }
        let extent = self.file.block(&self.raw)?;
        self.raw.clear();
        // The last series may go on in the next block.
        let last = self.waiting.len().saturating_sub(1);
        for one in &mut self.waiting {
            for part in &mut one.parts {
                if part.extent.offset == PENDING {
                    part.extent = extent;
                }
            }
        }
        for one in self.waiting.drain(..last) {
            stream(&mut self.file, &one)?;
        }
        Ok(())
    }

    /// Ends the file; its length and what it holds.
    pub(crate) fn finish(mut self) -> std::io::Result<(u64, Summary)> {
        self.block()?;
        for one in self.waiting.drain(..) {
            stream(&mut self.file, &one)?;
        }
        let mut own = Vec::new();
        put_uvarint(&mut own, self.summary.samples);
        put_varint(&mut own, self.summary.min);
        put_varint(&mut own, self.summary.max);
        Ok((self.file.finish(&own)?, self.summary))
    }
}

fn stream(file: &mut segment::Writer, one: &Waiting) -> std::io::Result<()> {
    let mut value = Vec::new();
    put_parts(&mut value, &one.parts);
    file.stream(&one.key, &value, one.labels.iter())
}

/// Where a query is in a segment.
#[derive(Default)]
pub(crate) struct Walk {
    pub(crate) at: At,
    pub(crate) parts: Vec<Part>,
}

/// A segment of metrics that is read.
pub(crate) struct Segment {
    pub(crate) file: Reader,
    pub(crate) number: u64,
    /// First time it covers.
    pub(crate) min: i64,
    /// The time behind the last it covers.
    pub(crate) end: i64,
    pub(crate) samples: u64,
    /// The length of its file.
    pub(crate) bytes: u64,
}

impl Segment {
    pub(crate) fn open(
        path: &Path,
        number: u64,
        (min, end): (i64, i64),
        cache: Arc<Cache>,
        object: Option<Object>,
    ) -> Result<Self, SegmentError> {
        let file = Reader::open(path, number, cache, object)?;
        let samples = Cursor::new(file.own()).uvarint().unwrap_or(0);
        let bytes = file.bytes();
        Ok(Self {
            file,
            number,
            min,
            end,
            samples,
            bytes,
        })
    }

    /// Whether it may hold samples from `start` to `end`.
    pub(crate) fn overlaps(&self, start: i64, end: i64) -> bool {
        self.min <= end && self.end > start
    }

    /// Key and parts of a series.
    pub(crate) fn series(&self, id: u32) -> Result<(Vec<u8>, Vec<Part>), SegmentError> {
        self.file
            .stream(id, |key, value| Some((key.to_vec(), parts(value)?)))
    }

    /// Adds the samples of parts from `start` to `end`.
    pub(crate) fn read(
        &self,
        parts: &[Part],
        start: i64,
        end: i64,
        once: bool,
        out: &mut Found,
    ) -> Result<(), SegmentError> {
        for part in parts
            .iter()
            .filter(|part| part.min <= end && part.max >= start && !part.is_copies())
        {
            let raw = match once {
                true => self.file.block_once(part.extent)?,
                false => self.file.block(part.extent)?,
            };
            self.samples_of(part, &raw, Wanted::all(start, end), out)?;
        }
        Ok(())
    }

    /// Finds the parts of a series.
    pub(crate) fn find(&self, walk: &mut Walk, id: u32) -> Result<(), SegmentError> {
        let all = &mut walk.parts;
        all.clear();
        walk.at.stream(&self.file, id, |_, value| {
            let mut cursor = Cursor::new(value);
            let count = cursor.count()?;
            parts_into(&mut cursor, count, all)
        })
    }

    /// Adds the samples that are wanted of the series that was found; all of its histograms.
    pub(crate) fn read_at(
        &self,
        walk: &mut Walk,
        wanted: Wanted,
        out: &mut Found,
    ) -> Result<(), SegmentError> {
        for part in walk
            .parts
            .iter()
            .filter(|part| part.min <= wanted.end && part.max >= wanted.start && !part.is_copies())
        {
            let raw = walk.at.block(&self.file, part.extent)?;
            self.samples_of(part, raw, wanted, out)?;
        }
        Ok(())
    }

    /// The copies of a resolution, if there are some.
    pub(crate) fn buckets(
        &self,
        parts: &[Part],
        level: usize,
    ) -> Result<Option<Buckets>, SegmentError> {
        let is = |part: &&Part| part.content == Content::Copies(level as u8);
        let Some(part) = parts.iter().find(is) else {
            return Ok(None);
        };
        let raw = self.file.block(part.extent)?;
        self.column(part, &raw, downsample::get).map(Some)
    }

    fn samples_of(
        &self,
        part: &Part,
        raw: &[u8],
        wanted: Wanted,
        out: &mut Found,
    ) -> Result<(), SegmentError> {
        self.column(part, raw, |cursor| match part.content {
            Content::Samples(Kind::Float) => column::read(cursor, wanted, &mut out.floats),
            Content::Samples(Kind::Histogram) => {
                histograms(cursor, wanted.start, wanted.end, &mut out.histograms)
            }
            // Chunks of the head alone are packed so.
            Content::Samples(Kind::Decimal) => None,
            Content::Copies(_) => Some(()),
        })
    }

    /// Reads the column of a part.
    fn column<R>(
        &self,
        part: &Part,
        raw: &[u8],
        read: impl FnOnce(&mut Cursor<'_>) -> Option<R>,
    ) -> Result<R, SegmentError> {
        let at = part.at as usize;
        let bytes = at
            .checked_add(part.bytes as usize)
            .and_then(|to| raw.get(at..to));
        let read = bytes.and_then(|bytes| read(&mut Cursor::new(bytes)));
        read.ok_or_else(|| {
            self.file
                .damaged(part.extent.offset, "column makes no sense")
        })
    }
}

fn histograms(
    cursor: &mut Cursor<'_>,
    start: i64,
    end: i64,
    out: &mut Vec<(i64, Arc<towpath_query::promql::Histogram>)>,
) -> Option<()> {
    let count = usize::try_from(cursor.uvarint()?).ok()?;
    if count == 0 || count > column::MOST {
        return None;
    }
    let times = column::read_times(cursor, count)?;
    let mut before = None;
    for time in times {
        if time > end {
            break;
        }
        let value = Arc::new(histogram::get(cursor, before.as_deref())?);
        if time >= start {
            out.push((time, Arc::clone(&value)));
        }
        before = Some(value);
    }
    Some(())
}
