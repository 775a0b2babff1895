//! Samples of one series in a segment: a column of times and one of values, made to be small
//! after compression.
//!
//! Times of a fixed stride are two numbers, others are differences of differences. Values that are
//! all the same are one number; decimals become whole numbers by a power of ten and a common
//! factor, stored as differences or differences of differences, whichever is shorter; all others
//! are in XOR bits. A few values that are no numbers (markers of staleness most of all) are set
//! aside. Bytes, not bits, are used where the compressor behind can see that they repeat.

use towpath_query::promql::Samples;

use super::chunk::xor;
use crate::bytes::{Cursor, put_uvarint, put_varint, uvarint_len, zigzag};

/// The most samples of a column.
pub(crate) const MOST: usize = 8192;

const SAME: u8 = 0;
const FIRST: u8 = 1;
const SECOND: u8 = 2;
const XOR: u8 = 3;

/// Adds a column. There must be at least one sample and at most [`MOST`].
pub(crate) fn put(out: &mut Vec<u8>, times: &[i64], values: &[f64]) {
    put_uvarint(out, times.len() as u64);
    put_times(out, times);
    put_values(out, values);
}

/// Adds the samples of a column that lie from `start` to `end`; `None` if it is damaged.
pub(crate) fn read(cursor: &mut Cursor<'_>, start: i64, end: i64, out: &mut Samples) -> Option<()> {
    let count = usize::try_from(cursor.uvarint()?).ok()?;
    if count == 0 || count > MOST {
        return None;
    }
    let times = read_times(cursor, count)?;
    let values = read_values(cursor, count)?;
    let from = times.partition_point(|time| *time < start);
    let to = times.partition_point(|time| *time <= end);
    if from < to {
        out.times.extend_from_slice(&times[from..to]);
        out.values.extend_from_slice(&values[from..to]);
    }
    Some(())
}

pub(crate) fn put_times(out: &mut Vec<u8>, times: &[i64]) {
    let step = |at: usize| times[at].wrapping_sub(times[at - 1]);
    let regular = times.len() < 2 || (2..times.len()).all(|at| step(at) == step(1));
    out.push(u8::from(!regular));
    put_varint(out, times[0]);
    if times.len() < 2 {
        return;
    }
    put_varint(out, step(1));
    if !regular {
        for at in 2..times.len() {
            put_varint(out, step(at).wrapping_sub(step(at - 1)));
        }
    }
}

pub(crate) fn read_times(cursor: &mut Cursor<'_>, count: usize) -> Option<Vec<i64>> {
    let regular = cursor.u8()? == 0;
    let mut time = cursor.varint()?;
    let mut times = Vec::with_capacity(count);
    times.push(time);
    if count < 2 {
        return Some(times);
    }
    let mut step = cursor.varint()?;
    for at in 1..count {
        if !regular && at > 1 {
            step = step.wrapping_add(cursor.varint()?);
        }
        time = time.wrapping_add(step);
        times.push(time);
    }
    Some(times)
}

fn put_values(out: &mut Vec<u8>, values: &[f64]) {
    let first = values[0].to_bits();
    if values.iter().all(|value| value.to_bits() == first) {
        out.push(SAME);
        out.extend_from_slice(&first.to_le_bytes());
        return;
    }
    let Some((scale, whole, aside)) = decimals(values) else {
        out.push(XOR);
        let mut chunk = xor::Appender::new(0, values[0]);
        for (at, value) in values.iter().enumerate().skip(1) {
            chunk.push(at as i64, *value);
        }
        crate::bytes::put_bytes(out, chunk.data());
        return;
    };
    let factor = factor(&whole);
    let step = |at: usize| (whole[at] - whole[at - 1]) / factor;
    let (mut once, mut twice) = (0, 0);
    for at in 2..whole.len() {
        once += uvarint_len(zigzag(step(at)));
        twice += uvarint_len(zigzag(step(at).wrapping_sub(step(at - 1))));
    }
    out.push(if twice < once { SECOND } else { FIRST });
    out.push(scale);
    put_uvarint(out, factor as u64);
    put_uvarint(out, aside.len() as u64);
    let mut last = 0;
    for at in &aside {
        put_uvarint(out, (at - last) as u64);
        out.extend_from_slice(&values[*at].to_bits().to_le_bytes());
        last = *at;
    }
    put_varint(out, whole[0]);
    let mut before = 0;
    for at in 1..whole.len() {
        let now = step(at);
        if twice < once {
            put_varint(out, now.wrapping_sub(before));
            before = now;
        } else {
            put_varint(out, now);
        }
    }
}

fn read_values(cursor: &mut Cursor<'_>, count: usize) -> Option<Vec<f64>> {
    let kind = cursor.u8()?;
    match kind {
        SAME => Some(vec![cursor.f64()?; count]),
        XOR => {
            let mut samples = Samples::default();
            xor::read(cursor.bytes()?, i64::MIN, i64::MAX, &mut samples)?;
            (samples.len() == count).then_some(samples.values)
        }
        FIRST | SECOND => {
            let power = POWERS.get(usize::from(cursor.u8()?))?;
            let factor = i64::try_from(cursor.uvarint()?).ok()?;
            let mut aside = Vec::new();
            let mut place = 0usize;
            for _ in 0..cursor.count()? {
                place = place.checked_add(usize::try_from(cursor.uvarint()?).ok()?)?;
                aside.push((place, cursor.f64()?));
            }
            let mut whole = cursor.varint()?;
            let mut values = Vec::with_capacity(count);
            values.push(whole as f64 / power);
            let mut step = 0i64;
            for _ in 1..count {
                let next = cursor.varint()?;
                step = if kind == SECOND {
                    step.wrapping_add(next)
                } else {
                    next
                };
                whole = whole.wrapping_add(step.wrapping_mul(factor));
                values.push(whole as f64 / power);
            }
            for (place, value) in aside {
                *values.get_mut(place)? = value;
            }
            Some(values)
        }
        _ => None,
    }
}

const POWERS: [f64; 13] = [
    1.0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12,
];
/// Whole numbers up to here are exact in a float.
const EXACT: f64 = 9_007_199_254_740_992.0;

/// The power of ten by which all values are whole, and these; where one is no number, its place,
/// and the value before stands in for it. None if there is no such power.
fn decimals(values: &[f64]) -> Option<(u8, Vec<i64>, Vec<usize>)> {
    let mut scale = 0;
    let mut aside = Vec::new();
    for (at, value) in values.iter().enumerate() {
        if !value.is_finite() || (*value == 0.0 && value.is_sign_negative()) {
            aside.push(at);
            if aside.len() > 4 + values.len() / 32 {
                return None;
            }
            continue;
        }
        while scaled(*value, scale).is_none() {
            scale += 1;
            if scale == POWERS.len() {
                return None;
            }
        }
    }
    let mut whole = Vec::with_capacity(values.len());
    let mut last = 0;
    for value in values {
        // What was whole by a lower power may be too large by this one.
        let special = !value.is_finite() || (*value == 0.0 && value.is_sign_negative());
        if !special {
            last = scaled(*value, scale)?;
        }
        whole.push(last);
    }
    Some((scale as u8, whole, aside))
}

/// A value times a power of ten, if it is whole and leads back to the same bits.
fn scaled(value: f64, scale: usize) -> Option<i64> {
    let by = value * POWERS[scale];
    let whole = by.round();
    if whole.abs() > EXACT || (whole / POWERS[scale]).to_bits() != value.to_bits() {
        return None;
    }
    Some(whole as i64)
}

/// The largest number that divides all differences.
fn factor(whole: &[i64]) -> i64 {
    let mut found = 0i64;
    for pair in whole.windows(2) {
        let mut a = (pair[1] - pair[0]).abs();
        while a != 0 {
            (found, a) = (a, found % a);
        }
        if found == 1 {
            return 1;
        }
    }
    found.max(1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn value() -> impl Strategy<Value = f64> {
        prop_oneof![
            4 => (-1000i32..1000).prop_map(f64::from),
            3 => (0i32..100_000).prop_map(|v| f64::from(v) / 100.0),
            1 => any::<f64>(),
            1 => (0i64..1 << 40).prop_map(|v| (v * 4096) as f64),
            1 => prop_oneof![Just(towpath_query::promql::stale()), Just(-0.0), Just(f64::INFINITY)],
        ]
    }

    fn check(times: &[i64], values: &[f64]) -> usize {
        let mut out = Vec::new();
        put(&mut out, times, values);
        let mut back = Samples::default();
        let mut cursor = Cursor::new(&out);
        read(&mut cursor, i64::MIN, i64::MAX, &mut back).unwrap();
        assert!(cursor.is_empty());
        assert_eq!(back.times, times);
        let bits = |values: &[f64]| values.iter().map(|v| v.to_bits()).collect::<Vec<_>>();
        assert_eq!(bits(&back.values), bits(values));
        out.len()
    }

    #[test]
    fn what_is_regular_is_small() {
        let times: Vec<i64> = (0..480).map(|at| 1_700_000_000_000 + at * 15_000).collect();
        assert!(check(&times, &vec![1.0; 480]) < 30);
        let steady: Vec<f64> = (0..480).map(|at| f64::from(at) * 0.25 + 7.0).collect();
        assert!(check(&times, &steady) < 520);
        let pages: Vec<f64> = (0..480)
            .map(|at| f64::from(at % 7 + 1_000_000) * 4096.0)
            .collect();
        assert!(check(&times, &pages) < 520);
    }

    proptest! {
        #[test]
        fn round_trip(mixed in prop::collection::vec((1i64..100_000, value()), 1..300)) {
            let mut time = -77;
            let (times, values): (Vec<i64>, Vec<f64>) = mixed
                .into_iter()
                .map(|(step, value)| {
                    time += step;
                    (time, value)
                })
                .unzip();
            check(&times, &values);
        }

        #[test]
        fn decimals_round_trip(values in prop::collection::vec((0i64..1 << 45).prop_map(|v| v as f64 / 1000.0), 1..300)) {
            let times: Vec<i64> = (0..values.len() as i64).collect();
            check(&times, &values);
        }

        #[test]
        fn anything_can_be_read(bytes: Vec<u8>) {
            let mut out = Samples::default();
            let _ = read(&mut Cursor::new(&bytes), i64::MIN, i64::MAX, &mut out);
            prop_assert!(out.len() <= MOST);
        }
    }
}
