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

/// Which samples of a column are wanted.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wanted {
    /// None before.
    pub(crate) start: i64,
    /// None behind.
    pub(crate) end: i64,
    /// Where only the newest sample at `end` and at every such step before it counts, the step;
    /// 0 for all samples. Some that do not count may be read too.
    pub(crate) step: i64,
}

impl Wanted {
    /// All from `start` to `end`.
    pub(crate) fn all(start: i64, end: i64) -> Self {
        Self {
            start,
            end,
            step: 0,
        }
    }

    /// The first time of evaluation from `time` on, which is not behind the end.
    fn evaluation(&self, time: i64) -> i64 {
        let more = self.end.abs_diff(time) % self.step.unsigned_abs();
        time.saturating_add_unsigned(more)
    }

    /// Of times in order, none of them behind the end, those that count, by their places.
    fn newest(&self, times: &[i64]) -> Vec<u32> {
        let mut kept = Vec::new();
        let Some(first) = times.first() else {
            return kept;
        };
        let mut next = self.evaluation(*first);
        for (at, pair) in times.windows(2).enumerate() {
            if next < pair[1] {
                kept.push(at as u32);
                next = self.evaluation(pair[1]);
            }
        }
        kept.push(times.len() as u32 - 1);
        kept
    }

    /// The same of `count` times that are `stride` apart.
    fn newest_of(&self, first: i64, stride: i64, count: usize) -> Vec<u32> {
        let last = count as i64 - 1;
        let mut kept = Vec::with_capacity((last * stride / self.step + 2) as usize);
        let mut at = (self.evaluation(first) - first) / stride;
        // How far the evaluation is behind the sample that is the newest for it.
        let mut behind = (self.evaluation(first) - first) % stride;
        let (steps, rest) = (self.step / stride, self.step % stride);
        while at < last {
            kept.push(at as u32);
            at += steps;
            behind += rest;
            if behind >= stride {
                behind -= stride;
                at += 1;
            }
        }
        kept.push(last as u32);
        kept
    }
}

/// Adds the samples of a column that are wanted; `None` if it is damaged.
pub(crate) fn read(cursor: &mut Cursor<'_>, wanted: Wanted, out: &mut Samples) -> Option<()> {
    let count = usize::try_from(cursor.uvarint()?).ok()?;
    if count == 0 || count > MOST {
        return None;
    }
    let before = out.times.len();
    let mut ahead = *cursor;
    if let Some((first, stride)) = regular(&mut ahead, count)? {
        *cursor = ahead;
        let (from, to) = between(first, stride, count, wanted);
        let time = |at: usize| first + stride * at as i64;
        let thin = to > from && wanted.step >= 2 * stride;
        let kept = thin.then(|| wanted.newest_of(time(from), stride, to - from));
        match &kept {
            Some(kept) => {
                let kept = kept.iter().map(|at| time(from + *at as usize));
                out.times.extend(kept);
            }
            None => out.times.extend((from..to).map(time)),
        }
        return values_into(
            cursor,
            (from, to),
            to == count,
            kept.as_deref(),
            &mut out.values,
        );
    }
    times_into(cursor, count, &mut out.times)?;
    let times = &out.times[before..];
    let to = times.partition_point(|time| *time <= wanted.end);
    let from = times[..to].partition_point(|time| *time < wanted.start);
    let in_order = || times[from..to].is_sorted();
    let kept = (wanted.step > 0 && in_order()).then(|| wanted.newest(&times[from..to]));
    match &kept {
        Some(kept) => {
            for (at, kept) in kept.iter().enumerate() {
                out.times[before + at] = out.times[before + from + *kept as usize];
            }
            out.times.truncate(before + kept.len());
        }
        None => {
            out.times.truncate(before + to);
            out.times.drain(before..before + from);
        }
    }
    // What comes later is not looked at.
    values_into(
        cursor,
        (from, to),
        to == count,
        kept.as_deref(),
        &mut out.values,
    )
}

/// The first time and the stride of times that have one; none of others. Behind the outer `None`
/// is damage.
#[allow(clippy::option_option)]
fn regular(cursor: &mut Cursor<'_>, count: usize) -> Option<Option<(i64, i64)>> {
    if cursor.u8()? != 0 || count < 2 {
        return Some(None);
    }
    let (first, stride) = (cursor.varint()?, cursor.varint()?);
    let sound = stride > 0
        && (count as i64 - 1)
            .checked_mul(stride)
            .and_then(|length| first.checked_add(length))
            .is_some();
    Some(sound.then_some((first, stride)))
}

/// The places of the first time that is wanted and of the first one behind.
fn between(first: i64, stride: i64, count: usize, wanted: Wanted) -> (usize, usize) {
    let place = |distance: i128| usize::try_from(distance.max(0)).map_or(count, |at| at.min(count));
    let (first, stride) = (i128::from(first), i128::from(stride));
    let to = place((i128::from(wanted.end) - first).div_euclid(stride) + 1);
    let from = place((i128::from(wanted.start) - first + stride - 1).div_euclid(stride));
    (from.min(to), to)
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
    let mut times = Vec::new();
    times_into(cursor, count, &mut times)?;
    Some(times)
}

pub(crate) fn times_into(
    cursor: &mut Cursor<'_>,
    count: usize,
    times: &mut Vec<i64>,
) -> Option<()> {
    let regular = cursor.u8()? == 0;
    let mut time = cursor.varint()?;
    times.reserve(count);
    times.push(time);
    if count < 2 {
        return Some(());
    }
    let mut step = cursor.varint()?;
    if regular {
        let first = time;
        times.extend((1..count as i64).map(|at| first.wrapping_add(step.wrapping_mul(at))));
        return Some(());
    }
    time = time.wrapping_add(step);
    times.push(time);
    for _ in 2..count {
        step = step.wrapping_add(cursor.varint()?);
        time = time.wrapping_add(step);
        times.push(time);
    }
    Some(())
}

pub(crate) fn put_values(out: &mut Vec<u8>, values: &[f64]) {
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
        crate::bytes::put_bytes(out, &chunk.into_data());
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

/// Values as they were put.
pub(crate) fn read_values(cursor: &mut Cursor<'_>, count: usize) -> Option<Vec<f64>> {
    let mut values = Vec::new();
    values_into(cursor, (0, count), true, None, &mut values)?;
    Some(values)
}

/// The values from one place to another, which may be behind all of them; of these those at the
/// places that are `kept`.
fn values_into(
    cursor: &mut Cursor<'_>,
    (from, to): (usize, usize),
    all: bool,
    kept: Option<&[u32]>,
    values: &mut Vec<f64>,
) -> Option<()> {
    if from == to {
        return Some(());
    }
    let kind = cursor.u8()?;
    let before = values.len();
    match kind {
        SAME => {
            let value = cursor.f64()?;
            let count = kept.map_or(to - from, <[u32]>::len);
            values.extend(std::iter::repeat_n(value, count));
            return Some(());
        }
        XOR => {
            let own = xor::read_values(cursor.bytes()?, to, values)?;
            if own < to || (all && own != to) {
                return None;
            }
            values.drain(before..before + from);
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
            values.reserve(to - from);
            if kind == FIRST {
                steps::<false>(cursor, (from, to), factor, values)?;
            } else {
                steps::<true>(cursor, (from, to), factor, values)?;
            }
            if *power > 1.0 {
                for value in &mut values[before..] {
                    *value /= power;
                }
            }
            for (place, value) in aside {
                match place
                    .checked_sub(from)
                    .and_then(|at| values[before..].get_mut(at))
                {
                    Some(own) => *own = value,
                    None if all && place >= to => return None,
                    None => {}
                }
            }
        }
        _ => return None,
    }
    if let Some(kept) = kept {
        for (at, kept) in kept.iter().enumerate() {
            values[before + at] = values[before + *kept as usize];
        }
        values.truncate(before + kept.len());
    }
    Some(())
}

/// Whole numbers by their differences, or by the differences of those.
#[inline]
fn steps<const TWICE: bool>(
    cursor: &mut Cursor<'_>,
    (from, to): (usize, usize),
    factor: i64,
    values: &mut Vec<f64>,
) -> Option<()> {
    let mut whole = cursor.varint()?;
    if from == 0 {
        values.push(whole as f64);
    }
    let mut step = 0i64;
    let mut next = |cursor: &mut Cursor<'_>| {
        let next = cursor.varint()?;
        step = if TWICE { step.wrapping_add(next) } else { next };
        whole = whole.wrapping_add(step.wrapping_mul(factor));
        Some(whole as f64)
    };
    for _ in 1..from.max(1) {
        next(cursor)?;
    }
    for _ in from.max(1)..to {
        let value = next(cursor)?;
        values.push(value);
    }
    Some(())
}

pub(crate) const POWERS: [f64; 13] = [
    1.0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12,
];
/// Whole numbers up to here are exact in a float.
const EXACT: f64 = 9_007_199_254_740_992.0;

/// The power of ten by which all values are whole, and these; where one is no number, its place,
/// and the value before stands in for it. None if there is no such power.
pub(crate) fn decimals(values: &[f64]) -> Option<(u8, Vec<i64>, Vec<usize>)> {
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

/// All values as whole numbers of one part of ten, and how many of those make one; none if some
/// value is not such a decimal.
pub(crate) fn whole(values: &[f64]) -> Option<(f64, Vec<i64>)> {
    let (scale, whole, aside) = decimals(values)?;
    aside
        .is_empty()
        .then(|| (POWERS[usize::from(scale)], whole))
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
pub(crate) fn factor(whole: &[i64]) -> i64 {
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
mod tests;
