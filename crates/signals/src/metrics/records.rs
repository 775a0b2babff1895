//! Records of metrics in the log and in checkpoints. Numbers of series are those of the store and
//! stay the same over restarts.

use std::sync::Arc;

use towpath_query::promql::Labels;

use super::chunk::{Chunk, Kind, histogram, spans};
use super::series::Form;
use crate::bytes::{Cursor, put_bytes, put_uvarint, put_varint};
use crate::{Exemplar, Metadata, Value};

const SERIES: u8 = 1;
const SAMPLES: u8 = 2;
const METADATA: u8 = 3;
const EXEMPLAR: u8 = 4;
const CHUNK: u8 = 5;
const OPEN: u8 = 6;
const END: u8 = 7;

/// One thing in a record.
#[derive(Debug)]
pub(crate) enum Entry<'r> {
    Sample(u32, i64, Value),
    Metadata(String, Metadata),
    Exemplar(u32, Exemplar),
    Chunk(u32, Chunk),
    Open(u32, Form, &'r [u8]),
    /// The last record of a checkpoint file, with how many entries there were.
    End(u64),
    /// Of a series that is not asked for.
    Other,
}

fn put_labels<'l>(out: &mut Vec<u8>, labels: impl ExactSizeIterator<Item = (&'l str, &'l str)>) {
    put_uvarint(out, labels.len() as u64);
    for (name, value) in labels {
        put_bytes(out, name.as_bytes());
        put_bytes(out, value.as_bytes());
    }
}

fn labels<'r>(cursor: &mut Cursor<'r>) -> Option<Vec<(&'r str, &'r str)>> {
    let count = cursor.count()?;
    let mut pairs = Vec::with_capacity(count);
    for _ in 0..count {
        pairs.push(label(cursor)?);
    }
    // As they are in a set of labels: in order, each once.
    pairs.is_sorted_by(|a, b| a.0 < b.0).then_some(pairs)
}

/// Reads the name and the value of a label, which is not empty.
pub(crate) fn label<'r>(cursor: &mut Cursor<'r>) -> Option<(&'r str, &'r str)> {
    let (name, value) = (cursor.text()?, cursor.text()?);
    (!value.is_empty()).then_some((name, value))
}

/// Adds a series to a record of series, begun if empty.
pub(crate) fn put_series(out: &mut Vec<u8>, id: u32, labels: &Labels) {
    if out.is_empty() {
        out.push(SERIES);
    }
    put_uvarint(out, u64::from(id));
    let pairs: Vec<_> = labels.iter().collect();
    put_labels(out, pairs.into_iter());
}

/// What is in a record of series.
pub(crate) fn series(record: &[u8]) -> Option<Cursor<'_>> {
    let mut cursor = Cursor::new(record);
    (cursor.u8()? == SERIES).then_some(cursor)
}

/// Reads the number of a series and how many labels follow.
pub(crate) fn one_series(cursor: &mut Cursor<'_>) -> Option<(u32, usize)> {
    let number = u32::try_from(cursor.uvarint()?).ok()?;
    Some((number, cursor.count()?))
}

/// Samples on their way into the log.
pub(crate) struct Samples {
    bytes: Vec<u8>,
    series: u64,
    time: i64,
}

impl Samples {
    pub(crate) fn new() -> Self {
        Self {
            bytes: Vec::new(),
            series: 0,
            time: 0,
        }
    }

    pub(crate) fn put(&mut self, series: u64, time: i64, value: &Value) {
        if self.bytes.is_empty() {
            self.bytes.push(SAMPLES);
            (self.series, self.time) = (0, 0);
        }
        let step = series.wrapping_sub(self.series) as i64;
        let float = matches!(value, Value::Float(_));
        // The lowest bit tells a number from a histogram.
        put_uvarint(
            &mut self.bytes,
            crate::bytes::zigzag(step) << 1 | u64::from(!float),
        );
        put_varint(&mut self.bytes, time.wrapping_sub(self.time));
        match value {
            Value::Float(value) => self.bytes.extend_from_slice(&value.to_le_bytes()),
            Value::Histogram(value) => histogram::put(&mut self.bytes, None, value),
        }
        self.series = series;
        self.time = time;
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    pub(crate) fn clear(&mut self) {
        self.bytes.clear();
    }
}

pub(crate) fn put_metadata(out: &mut Vec<u8>, family: &str, said: &Metadata) {
    if out.is_empty() {
        out.push(METADATA);
    }
    for text in [family, &said.kind, &said.help, &said.unit] {
        put_bytes(out, text.as_bytes());
    }
}

pub(crate) fn put_exemplar(out: &mut Vec<u8>, series: u32, exemplar: &Exemplar) {
    if out.is_empty() {
        out.push(EXEMPLAR);
    }
    put_uvarint(out, u64::from(series));
    put_varint(out, exemplar.at);
    out.extend_from_slice(&exemplar.value.to_le_bytes());
    let pairs: Vec<_> = exemplar.labels.iter().collect();
    put_labels(out, pairs.into_iter());
}

pub(crate) fn put_chunk(out: &mut Vec<u8>, series: u32, chunk: &Chunk) {
    if out.is_empty() {
        out.push(CHUNK);
    }
    put_uvarint(out, u64::from(series));
    out.push(chunk.kind.code());
    put_varint(out, chunk.min);
    put_uvarint(out, (chunk.max() - chunk.min) as u64);
    put_uvarint(out, u64::from(chunk.count));
    put_bytes(out, &chunk.data);
}

pub(crate) fn put_open(out: &mut Vec<u8>, series: u32, form: Form, data: &[u8]) {
    if out.is_empty() {
        out.push(OPEN);
    }
    put_uvarint(out, u64::from(series));
    out.push(form.code());
    put_bytes(out, data);
}

pub(crate) fn end(entries: u64) -> Vec<u8> {
    let mut out = vec![END];
    put_uvarint(&mut out, entries);
    out
}

/// Whether a record holds samples and chunks, which can be taken series by series.
pub(crate) fn is_of_samples(record: &[u8]) -> bool {
    matches!(record.first(), Some(&(SAMPLES | CHUNK | OPEN)))
}

/// Whether a record holds series.
pub(crate) fn is_of_series(record: &[u8]) -> bool {
    series(record).is_some()
}

/// Reads a record; false if it makes no sense from some place on.
pub(crate) fn read<'r>(record: &'r [u8], apply: impl FnMut(Entry<'r>)) -> bool {
    read_of(record, |_| true, apply)
}

/// Reads a record, but for samples and chunks of series that are not `wanted`.
pub(crate) fn read_of<'r>(
    record: &'r [u8],
    wanted: impl Fn(u32) -> bool,
    mut apply: impl FnMut(Entry<'r>),
) -> bool {
    let mut cursor = Cursor::new(record);
    let Some(kind) = cursor.u8() else {
        return true;
    };
    let mut last = (0u64, 0i64);
    while !cursor.is_empty() {
        let Some(entry) = entry(kind, &mut cursor, &mut last, &wanted) else {
            return false;
        };
        apply(entry);
    }
    true
}

#[inline]
fn entry<'r>(
    kind: u8,
    cursor: &mut Cursor<'r>,
    last: &mut (u64, i64),
    wanted: &impl Fn(u32) -> bool,
) -> Option<Entry<'r>> {
    let id = |cursor: &mut Cursor<'_>| u32::try_from(cursor.uvarint()?).ok();
    Some(match kind {
        SAMPLES => {
            let head = cursor.uvarint()?;
            let step = (head >> 2) as i64 ^ -((head >> 1 & 1) as i64);
            last.0 = last.0.wrapping_add(step as u64);
            last.1 = last.1.wrapping_add(cursor.varint()?);
            let value = match head & 1 {
                0 => Value::Float(cursor.f64()?),
                _ => Value::Histogram(Arc::new(histogram::get(cursor, None)?)),
            };
            let series = u32::try_from(last.0).ok()?;
            if !wanted(series) {
                return Some(Entry::Other);
            }
            Entry::Sample(series, last.1, value)
        }
        METADATA => {
            let mut text = || cursor.text().map(str::to_owned);
            let family = text()?;
            let said = Metadata {
                kind: text()?,
                help: text()?,
                unit: text()?,
            };
            Entry::Metadata(family, said)
        }
        EXEMPLAR => {
            let series = id(cursor)?;
            let at = cursor.varint()?;
            let value = cursor.f64()?;
            let labels = labels(cursor)?.into_iter().collect();
            Entry::Exemplar(series, Exemplar { labels, value, at })
        }
        CHUNK => {
            let series = id(cursor)?;
            let kind = Kind::of(cursor.u8()?)?;
            let min = cursor.varint()?;
            let max = min.checked_add_unsigned(cursor.uvarint()?)?;
            let count = u16::try_from(cursor.uvarint()?).ok()?;
            let data = cursor.bytes()?;
            if !wanted(series) {
                return spans(min, max).then_some(Entry::Other);
            }
            Entry::Chunk(series, Chunk::new(kind, min, max, count, data.to_vec())?)
        }
        OPEN => {
            let series = id(cursor)?;
            let form = Form::of(cursor.u8()?)?;
            let data = cursor.bytes()?;
            if !wanted(series) {
                return Some(Entry::Other);
            }
            Entry::Open(series, form, data)
        }
        END => Entry::End(cursor.uvarint()?),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn samples_round_trip(all in prop::collection::vec((any::<u32>(), any::<i64>(), any::<u64>()), 0..50)) {
            let mut out = Samples::new();
            for (id, time, bits) in &all {
                out.put(u64::from(*id), *time, &Value::Float(f64::from_bits(*bits)));
            }
            let mut got = Vec::new();
            let whole = read(out.bytes(), |entry| match entry {
                Entry::Sample(id, time, Value::Float(value)) => got.push((id, time, value.to_bits())),
                other => panic!("{other:?}"),
            });
            prop_assert!(whole);
            prop_assert_eq!(got, all);
        }

        #[test]
        fn anything_can_be_read(kind in 0u8..9, mut bytes: Vec<u8>) {
            bytes.insert(0, kind);
            read(&bytes, |_| {});
        }
    }

    #[test]
    fn the_others_round_trip() {
        let labels: Labels = [("__name__", "up"), ("job", "x")].into_iter().collect();
        let mut out = Vec::new();
        let said = Metadata {
            kind: "gauge".into(),
            help: "h".into(),
            unit: String::new(),
        };
        put_metadata(&mut out, "up", &said);
        read(&out, |entry| {
            assert!(matches!(entry, Entry::Metadata(family, own) if family == "up" && own == said));
        });
        let exemplar = Exemplar {
            labels,
            value: 2.5,
            at: -3,
        };
        out.clear();
        put_exemplar(&mut out, 3, &exemplar);
        read(&out, |entry| {
            assert!(matches!(entry, Entry::Exemplar(3, own) if own == exemplar));
        });
    }
}
