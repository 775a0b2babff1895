//! Floats that are decimals, in chunks that are closed: whole numbers by a power of ten and a
//! common factor, of which the differences (or the differences of those) are kept in as many bits
//! as the largest takes. Where it is shorter than XOR bits, which is for most counters and gauges,
//! it is also faster to read. What leaves as Prometheus's chunks is made anew.

use towpath_query::promql::Samples;

use super::super::column::{POWERS, decimals, factor, put_times, times_into};
use crate::bytes::{Cursor, put_uvarint, put_varint, zigzag};

/// In the byte of the width: differences of differences.
const TWICE: u8 = 0x80;
/// No wider number can be read with one load.
const WIDEST: u32 = 56;

/// A chunk of these samples; none where they are no decimals or it would not be below `most` bytes.
pub(super) fn pack(samples: &Samples, most: usize) -> Option<Vec<u8>> {
    let (scale, whole, aside) = decimals(&samples.values)?;
    if !aside.is_empty() {
        return None;
    }
    let factor = factor(&whole);
    let steps = || whole.windows(2).map(|pair| (pair[1] - pair[0]) / factor);
    let changes = || {
        let before = std::iter::once(0).chain(steps());
        steps().zip(before).map(|(step, before)| step - before)
    };
    let width = |all: &mut dyn Iterator<Item = i64>| {
        64 - all
            .fold(0, |bits, step| bits | zigzag(step))
            .leading_zeros()
    };
    let (once, twice) = (width(&mut steps()), width(&mut changes()));
    let bits = once.min(twice);
    if bits > WIDEST || (whole.len() * bits as usize) / 8 >= most {
        return None;
    }
    let mut out = Vec::with_capacity(most);
    put_uvarint(&mut out, samples.len() as u64);
    put_times(&mut out, &samples.times);
    out.push(scale);
    put_uvarint(&mut out, factor as u64);
    put_varint(&mut out, whole[0]);
    if twice < once {
        out.push(bits as u8 | TWICE);
        put_bits(&mut out, changes(), bits);
    } else {
        out.push(bits as u8);
        put_bits(&mut out, steps(), bits);
    }
    (out.len() < most).then_some(out)
}

/// Adds numbers of so many bits, the lowest first.
fn put_bits(out: &mut Vec<u8>, all: impl Iterator<Item = i64>, width: u32) {
    let (mut ahead, mut count) = (0u64, 0);
    for number in all {
        ahead |= zigzag(number) << count;
        count += width;
        while count >= 8 {
            out.push(ahead as u8);
            ahead >>= 8;
            count -= 8;
        }
    }
    if count > 0 {
        out.push(ahead as u8);
    }
}

/// Adds the samples from `start` to `end`; `None` if the chunk is damaged.
pub(super) fn read(data: &[u8], start: i64, end: i64, out: &mut Samples) -> Option<()> {
    let mut cursor = Cursor::new(data);
    let count = usize::try_from(cursor.uvarint()?).ok()?;
    if count == 0 || count > usize::from(u16::MAX) {
        return None;
    }
    let before = out.len();
    times_into(&mut cursor, count, &mut out.times)?;
    let times = &out.times[before..];
    let to = times.partition_point(|time| *time <= end);
    let from = times[..to].partition_point(|time| *time < start);
    out.times.truncate(before + to);
    values(&mut cursor, to, &mut out.values)?;
    if from > 0 {
        out.times.drain(before..before + from);
        out.values.drain(before..before + from);
    }
    Some(())
}

/// The first `count` values.
fn values(cursor: &mut Cursor<'_>, count: usize, out: &mut Vec<f64>) -> Option<()> {
    let power = POWERS.get(usize::from(cursor.u8()?))?;
    let factor = i64::try_from(cursor.uvarint()?).ok()?;
    let mut whole = cursor.varint()?;
    let head = cursor.u8()?;
    let (width, twice) = (u32::from(head & !TWICE), head & TWICE != 0);
    let bits = cursor.rest();
    if count == 0 {
        return Some(());
    }
    if width > WIDEST || bits.len() < ((count - 1) * width as usize).div_ceil(8) {
        return None;
    }
    out.reserve(count);
    let before = out.len();
    out.push(whole as f64);
    let mask = (1u64 << width) - 1;
    let mut step = 0i64;
    let mut place = 0usize;
    for _ in 1..count {
        let word = word(bits, place / 8) >> (place % 8) & mask;
        place += width as usize;
        let next = (word >> 1) as i64 ^ -((word & 1) as i64);
        step = if twice { step.wrapping_add(next) } else { next };
        whole = whole.wrapping_add(step.wrapping_mul(factor));
        out.push(whole as f64);
    }
    if *power > 1.0 {
        for value in &mut out[before..] {
            *value /= power;
        }
    }
    Some(())
}

/// Eight bytes from a place on; behind the end are zeros.
#[inline(always)]
fn word(bytes: &[u8], at: usize) -> u64 {
    let rest = bytes.get(at..).unwrap_or_default();
    if let Some(word) = rest.first_chunk() {
        return u64::from_le_bytes(*word);
    }
    let mut word = [0; 8];
    word[..rest.len()].copy_from_slice(rest);
    u64::from_le_bytes(word)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn samples(values: Vec<f64>, stride: i64) -> Samples {
        let times = (0..values.len() as i64).map(|at| 7 + at * stride + at % 2);
        Samples {
            times: times.collect(),
            values,
        }
    }

    proptest! {
        #[test]
        fn round_trip(
            whole in prop::collection::vec(-(1i64 << 50)..1 << 50, 1..130),
            shift in 0u32..50,
            scale in 0u32..6,
            from in 0usize..130,
            to in 0usize..130,
        ) {
            let values = whole.iter().map(|w| (w >> shift) as f64 / 10f64.powi(scale as i32));
            let given = samples(values.collect(), 15_000);
            if let Some(packed) = pack(&given, 4096) {
                let mut out = Samples::default();
                read(&packed, i64::MIN, i64::MAX, &mut out).unwrap();
                prop_assert_eq!(&out.times, &given.times);
                let bits = |all: &[f64]| all.iter().map(|v| v.to_bits()).collect::<Vec<_>>();
                prop_assert_eq!(bits(&out.values), bits(&given.values));
                let (from, to) = (from.min(whole.len() - 1), to.min(whole.len() - 1));
                let (start, end) = (given.times[from], given.times[to]);
                let mut part = Samples::default();
                read(&packed, start, end, &mut part).unwrap();
                let wanted: Vec<_> = given.iter().filter(|(t, _)| *t >= start && *t <= end).collect();
                prop_assert_eq!(part.iter().collect::<Vec<_>>(), wanted);
            }
        }

        #[test]
        fn anything_can_be_read(bytes: Vec<u8>) {
            let mut out = Samples::default();
            let _ = read(&bytes, i64::MIN, i64::MAX, &mut out);
            prop_assert!(out.len() <= usize::from(u16::MAX));
        }
    }

    #[test]
    fn what_is_no_decimal_is_left() {
        assert!(pack(&samples(vec![1.0, f64::NAN, 3.0], 1), 4096).is_none());
        let sines = (0..50).map(|at| f64::from(at).sin()).collect();
        assert!(pack(&samples(sines, 1), 4096).is_none());
        // Hundredths, as kernels count seconds: a byte and a half each.
        let seconds = (0..120).map(|at| f64::from(at * 1500 + at * at % 700) / 100.0);
        let packed = pack(&samples(seconds.collect(), 15_000), 4096).unwrap();
        assert!(packed.len() < 400, "{}", packed.len());
    }
}
