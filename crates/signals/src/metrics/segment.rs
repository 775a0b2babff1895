//! Metrics in segment files.
//!
//! The key of a series is its name and then its labels, so that series of one metric are beside
//! each other: they are alike, and compress well together. Columns of many series share a block of
//! about 128 KiB; the value of a series lists where its columns are.

use std::path::Path;
use std::sync::Arc;

use towpath_query::promql::{Labels, NAME, Samples};

use super::chunk::{Found, Kind, histogram};
use super::column;
use crate::bytes::{Cursor, put_uvarint, put_varint};
use crate::segment::{self, Cache, Extent, Reader, SEPARATOR, SegmentError};

/// Columns gather until a block is this long.
const BLOCK: usize = 128 << 10;

/// The key of a series: in its order series are stored.
pub(crate) fn key(labels: &Labels) -> Vec<u8> {
    let mut out = labels.get(NAME).as_bytes().to_vec();
    out.push(SEPARATOR);
    for (name, value) in labels.iter().filter(|(name, _)| *name != NAME) {
        for text in [name, value] {
            out.extend_from_slice(text.as_bytes());
            out.push(SEPARATOR);
        }
    }
    out
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

/// Where samples of a series are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Part {
    kind: Kind,
    pub(crate) min: i64,
    pub(crate) max: i64,
    extent: Extent,
    /// Where in the block.
    at: u32,
    bytes: u32,
}

fn put_parts(out: &mut Vec<u8>, parts: &[Part]) {
    put_uvarint(out, parts.len() as u64);
    for part in parts {
        out.push(part.kind.code());
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
    for _ in 0..count {
        let kind = Kind::of(cursor.u8()?)?;
        let min = cursor.varint()?;
        let max = min.checked_add_unsigned(cursor.uvarint()?)?;
        let offset = cursor.uvarint()?;
        let mut number = || u32::try_from(cursor.uvarint()?).ok();
        out.push(Part {
            kind,
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
    Some(out)
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
        if found.is_empty() {
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
            self.part(Kind::Float, times, at)?;
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
            self.part(Kind::Histogram, &times, at)?;
        }
        Ok(())
    }

    fn part(&mut self, kind: Kind, times: &[i64], at: usize) -> std::io::Result<()> {
        let (min, max) = (times[0], times[times.len() - 1]);
        self.summary.samples += times.len() as u64;
        self.summary.min = self.summary.min.min(min);
        self.summary.max = self.summary.max.max(max);
        let part = Part {
            kind,
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
    ) -> Result<Self, SegmentError> {
        let file = Reader::open(path, number, cache)?;
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
            .filter(|part| part.min <= end && part.max >= start)
        {
            let raw = match once {
                true => self.file.block_once(part.extent)?,
                false => self.file.block(part.extent)?,
            };
            let wrong = || {
                self.file
                    .damaged(part.extent.offset, "column makes no sense")
            };
            let at = part.at as usize;
            let bytes = at
                .checked_add(part.bytes as usize)
                .and_then(|to| raw.get(at..to))
                .ok_or_else(wrong)?;
            let mut cursor = Cursor::new(bytes);
            match part.kind {
                Kind::Float => column::read(&mut cursor, start, end, &mut out.floats),
                Kind::Histogram => histograms(&mut cursor, start, end, &mut out.histograms),
            }
            .ok_or_else(wrong)?;
        }
        Ok(())
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
