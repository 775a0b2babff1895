//! Native histograms, packed: times as differences of differences, a layout (schema, bounds, which
//! buckets) only where it changes, counts as what was added since the histogram before.
//!
//! Whether a counter may have started anew is known when a histogram is added and is kept with it:
//! nothing is known of the first of a chunk, the others are not resets.

use std::sync::Arc;

use towpath_query::promql::{CUSTOM, Histogram, ResetHint};

use crate::bytes::{Cursor, put_uvarint, put_varint};

/// A chunk that grows.
#[derive(Clone, Debug)]
pub(crate) struct Appender {
    bytes: Vec<u8>,
    pub(crate) count: u16,
    pub(crate) first: i64,
    pub(crate) last: i64,
    delta: i64,
    value: Arc<Histogram>,
}

const SAME_LAYOUT: u8 = 4;

impl Appender {
    pub(crate) fn new(time: i64, value: Arc<Histogram>) -> Self {
        let mut own = Self {
            bytes: Vec::new(),
            count: 0,
            first: time,
            last: 0,
            delta: 0,
            value: Arc::new(Histogram::default()),
        };
        own.bytes.extend_from_slice(&[0, 0]);
        own.push(time, value);
        own
    }

    /// The last histogram, with the hint it was given.
    pub(crate) fn value(&self) -> &Arc<Histogram> {
        &self.value
    }

    /// What it takes.
    pub(crate) fn bytes(&self) -> usize {
        let buckets = self.value.positive.len() + self.value.negative.len();
        self.bytes.capacity() + size_of::<Self>() + size_of::<Histogram>() + buckets * 16
    }

    /// Adds a histogram that is newer than the last one, with the hint it has.
    pub(crate) fn push(&mut self, time: i64, value: Arc<Histogram>) {
        let delta = time.wrapping_sub(self.last);
        put_varint(&mut self.bytes, delta.wrapping_sub(self.delta));
        let before = (self.count > 0).then_some(&*self.value);
        put(&mut self.bytes, before, &value);
        // The first "difference" is the time itself; what follows is one between samples.
        self.delta = if self.count == 0 { 0 } else { delta };
        self.last = time;
        self.value = value;
        self.count += 1;
        let count = self.count.to_be_bytes();
        self.bytes[..2].copy_from_slice(&count);
    }

    /// Whether a histogram can follow in this chunk as one that is no reset.
    pub(crate) fn continues(&self, next: &Histogram) -> bool {
        let before = &*self.value;
        let plain = Histogram {
            hint: ResetHint::Unknown,
            ..next.clone()
        };
        before.hint != ResetHint::Gauge
            && next.hint != ResetHint::Reset
            && (next.is_stale()
                || (!before.is_stale()
                    && plain.schema == before.schema
                    && plain.zero_threshold == before.zero_threshold
                    && plain.bounds == before.bounds
                    && !plain.resets(before)))
    }

    pub(crate) fn data(&self) -> &[u8] {
        &self.bytes
    }

    pub(crate) fn into_data(self) -> Vec<u8> {
        self.bytes
    }

    /// A chunk that was written, to grow on; `None` if it is damaged.
    pub(crate) fn resume(data: &[u8]) -> Option<Self> {
        let mut all = Vec::new();
        read(data, i64::MIN, i64::MAX, &mut all)?;
        let mut all = all.into_iter();
        let (time, value) = all.next()?;
        let mut own = Self::new(time, value);
        for (time, value) in all {
            own.push(time, value);
        }
        Some(own)
    }
}

/// Adds the histograms of a chunk from `start` to `end`; `None` if it is damaged.
pub(crate) fn read(
    data: &[u8],
    start: i64,
    end: i64,
    out: &mut Vec<(i64, Arc<Histogram>)>,
) -> Option<()> {
    let (count, rest) = data.split_at_checked(2)?;
    let count = u16::from_be_bytes([count[0], count[1]]);
    let mut cursor = Cursor::new(rest);
    let (mut time, mut delta) = (0i64, 0i64);
    let mut before: Option<Arc<Histogram>> = None;
    for at in 0..count {
        let next = delta.wrapping_add(cursor.varint()?);
        time = time.wrapping_add(next);
        delta = if at == 0 { 0 } else { next };
        let value = Arc::new(get(&mut cursor, before.as_deref())?);
        if time > end {
            break;
        }
        if time >= start {
            out.push((time, Arc::clone(&value)));
        }
        before = Some(value);
    }
    Some(())
}

fn same_layout(a: &Histogram, b: &Histogram) -> bool {
    let side = |a: &[(i32, f64)], b: &[(i32, f64)]| {
        a.len() == b.len() && a.iter().zip(b).all(|(x, y)| x.0 == y.0)
    };
    a.schema == b.schema
        && a.zero_threshold.to_bits() == b.zero_threshold.to_bits()
        && a.bounds == b.bounds
        && side(&a.positive, &b.positive)
        && side(&a.negative, &b.negative)
}

/// Writes a histogram, as what changed since another one.
pub(crate) fn put(out: &mut Vec<u8>, before: Option<&Histogram>, value: &Histogram) {
    let before = before.filter(|before| same_layout(before, value));
    let hint = match value.hint {
        ResetHint::Unknown => 0,
        ResetHint::Reset => 1,
        ResetHint::NotReset => 2,
        ResetHint::Gauge => 3,
    };
    out.push(hint | if before.is_some() { SAME_LAYOUT } else { 0 });
    if before.is_none() {
        put_varint(out, i64::from(value.schema));
        out.extend_from_slice(&value.zero_threshold.to_le_bytes());
        put_uvarint(out, value.bounds.len() as u64);
        for bound in value.bounds.iter() {
            out.extend_from_slice(&bound.to_le_bytes());
        }
        for side in [&value.positive, &value.negative] {
            put_uvarint(out, side.len() as u64);
            let mut last = 0;
            for (index, _) in side {
                put_varint(out, i64::from(*index) - last);
                last = i64::from(*index);
            }
        }
    }
    let zero = Histogram::default();
    let old = before.unwrap_or(&zero);
    number(out, old.count, value.count);
    number(out, old.zero_count, value.zero_count);
    number(out, old.sum, value.sum);
    let sides = [
        (&old.positive, &value.positive),
        (&old.negative, &value.negative),
    ];
    for (old, new) in sides {
        for (at, (_, count)) in new.iter().enumerate() {
            number(out, old.get(at).map_or(0.0, |(_, count)| *count), *count);
        }
    }
}

/// Whole numbers that a float holds exactly.
fn whole(value: f64) -> Option<i64> {
    let as_whole = value as i64;
    let exact = value.abs() < 9.0e15 && (as_whole as f64).to_bits() == value.to_bits();
    exact.then_some(as_whole)
}

/// A number: what was added, or a mark and its bits.
fn number(out: &mut Vec<u8>, before: f64, value: f64) {
    match (whole(before), whole(value)) {
        (Some(before), Some(value)) => {
            put_uvarint(out, crate::bytes::zigzag(value - before) << 1);
        }
        _ => {
            out.push(1);
            out.extend_from_slice(&value.to_le_bytes());
        }
    }
}

fn read_number(cursor: &mut Cursor<'_>, before: f64) -> Option<f64> {
    let code = cursor.uvarint()?;
    if code == 1 {
        return cursor.f64();
    }
    let added = (code >> 2) as i64 ^ -((code >> 1 & 1) as i64);
    Some(whole(before)?.checked_add(added)? as f64)
}

/// Reads a histogram that [`put`] wrote beside `before`.
pub(crate) fn get(cursor: &mut Cursor<'_>, before: Option<&Histogram>) -> Option<Histogram> {
    let head = cursor.u8()?;
    let mut value = if head & SAME_LAYOUT != 0 {
        before?.clone()
    } else {
        layout(cursor)?
    };
    value.hint = match head & 3 {
        0 => ResetHint::Unknown,
        1 => ResetHint::Reset,
        2 => ResetHint::NotReset,
        _ => ResetHint::Gauge,
    };
    value.count = read_number(cursor, value.count)?;
    value.zero_count = read_number(cursor, value.zero_count)?;
    value.sum = read_number(cursor, value.sum)?;
    for (_, count) in value.positive.iter_mut().chain(&mut value.negative) {
        *count = read_number(cursor, *count)?;
    }
    Some(value)
}

fn layout(cursor: &mut Cursor<'_>) -> Option<Histogram> {
    let schema = i32::try_from(cursor.varint()?).ok()?;
    let zero_threshold = cursor.f64()?;
    let bounds = cursor.count()?;
    let bounds: Option<Vec<f64>> = (0..bounds).map(|_| cursor.f64()).collect();
    let mut side = || {
        let count = cursor.count()?;
        let mut index = 0i64;
        let mut all = Vec::with_capacity(count);
        for _ in 0..count {
            index = index.checked_add(cursor.varint()?)?;
            all.push((i32::try_from(index).ok()?, 0.0));
        }
        Some(all)
    };
    Some(Histogram {
        schema,
        zero_threshold,
        positive: side()?,
        negative: side()?,
        bounds: bounds?.into(),
        ..Histogram::default()
    })
}

/// Why a histogram is none that may be kept.
pub(crate) fn check(value: &Histogram) -> Result<(), String> {
    let custom = value.schema == CUSTOM;
    if !custom && !(-4..=8).contains(&value.schema) {
        return Err(format!(
            "invalid histogram schema {}: must be {CUSTOM} or from -4 to 8",
            value.schema
        ));
    }
    let ascending = |side: &[(i32, f64)]| side.windows(2).all(|pair| pair[0].0 < pair[1].0);
    if !ascending(&value.positive) || !ascending(&value.negative) {
        return Err("histogram buckets are not in order".to_owned());
    }
    if value.is_stale() {
        return Ok(());
    }
    if value.hint != ResetHint::Gauge {
        let sides = value.positive.iter().chain(&value.negative);
        let mut counts = sides
            .map(|(_, count)| *count)
            .chain([value.count, value.zero_count]);
        if let Some(count) = counts.find(|count| *count < 0.0) {
            return Err(format!("histogram has a negative count: {count}"));
        }
    }
    if custom {
        if !value.bounds.windows(2).all(|pair| pair[0] < pair[1]) {
            return Err("custom histogram bounds must be in strictly increasing order".to_owned());
        }
        if value.bounds.last().is_some_and(|bound| bound.is_infinite()) {
            return Err("last +Inf bound must not be explicitly defined".to_owned());
        }
        let fits = |index: i32| usize::try_from(index).is_ok_and(|at| at <= value.bounds.len());
        if !value.positive.iter().all(|(index, _)| fits(*index)) {
            return Err("custom histogram has more buckets than bounds".to_owned());
        }
        if !value.negative.is_empty() || value.zero_count != 0.0 {
            return Err("custom histogram must have positive buckets alone".to_owned());
        }
    } else if !value.bounds.is_empty() {
        return Err("histogram with exponential schema must not have custom bounds".to_owned());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn histograms() -> impl Strategy<Value = Vec<(i64, Histogram)>> {
        let number = prop_oneof![(0u32..1000).prop_map(f64::from), any::<f64>(), Just(-0.0),];
        let one = (
            1i64..1_000_000,
            -4i32..9,
            prop::collection::btree_map(-50i32..50, number.clone(), 0..6),
            prop::collection::btree_map(-50i32..50, number.clone(), 0..3),
            number.clone(),
            number,
            0u8..4,
        );
        prop::collection::vec(one, 1..40).prop_map(|all| {
            let mut time = -5_000_000i64;
            let each = all
                .into_iter()
                .map(|(step, schema, above, below, count, sum, hint)| {
                    time += step;
                    let value = Histogram {
                        hint: [
                            ResetHint::Unknown,
                            ResetHint::Reset,
                            ResetHint::NotReset,
                            ResetHint::Gauge,
                        ][usize::from(hint)],
                        schema,
                        count,
                        sum,
                        positive: above.into_iter().collect(),
                        negative: below.into_iter().collect(),
                        ..Histogram::default()
                    };
                    (time, value)
                });
            each.collect()
        })
    }

    proptest! {
        #[test]
        fn round_trip(all in histograms()) {
            let mut chunk = Appender::new(all[0].0, Arc::new(all[0].1.clone()));
            for (time, value) in &all[1..] {
                chunk.push(*time, Arc::new(value.clone()));
            }
            let mut out = Vec::new();
            read(chunk.data(), i64::MIN, i64::MAX, &mut out).unwrap();
            prop_assert_eq!(out.len(), all.len());
            for (got, wanted) in out.iter().zip(&all) {
                prop_assert_eq!(got.0, wanted.0);
                prop_assert!(got.1.same(&wanted.1) && got.1.hint == wanted.1.hint);
            }
            let resumed = Appender::resume(chunk.data()).unwrap();
            prop_assert_eq!(resumed.data(), chunk.data());
        }

        #[test]
        fn damage_never_panics(data: Vec<u8>) {
            read(&data, i64::MIN, i64::MAX, &mut Vec::new());
        }

        #[test]
        fn a_flipped_bit_never_panics(all in histograms(), at: prop::sample::Index, bit in 0u8..8) {
            let mut chunk = Appender::new(all[0].0, Arc::new(all[0].1.clone()));
            for (time, value) in &all[1..] {
                chunk.push(*time, Arc::new(value.clone()));
            }
            let mut data = chunk.into_data();
            let at = at.index(data.len());
            data[at] ^= 1 << bit;
            read(&data, i64::MIN, i64::MAX, &mut Vec::new());
        }
    }
}
