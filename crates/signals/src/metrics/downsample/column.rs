//! Copies of a series in bytes: columns as those of samples, each told by the one it is equal to
//! where there is one. Of a constant series, or of a counter without a reset, little else remains.

use super::buckets::{Buckets, Counter};
use crate::bytes::{Cursor, put_uvarint, put_varint};
use crate::metrics::column::{MOST, put_times, put_values, read_times, read_values};

/// In the place of the number of a column that is the same.
const OWN: u8 = 255;

fn same(a: &[f64], b: &[f64]) -> bool {
    let mut pairs = a.iter().zip(b);
    a.len() == b.len() && pairs.all(|(a, b)| a.to_bits() == b.to_bits())
}

/// Adds copies; there must be some and at most [`MOST`].
pub(crate) fn put(out: &mut Vec<u8>, of: &Buckets) {
    put_uvarint(out, of.len() as u64);
    put_times(out, &of.times);
    let counts: Vec<f64> = of.counts.iter().map(|count| f64::from(*count)).collect();
    put_values(out, &counts);
    out.push(u8::from(of.counter.is_some()));
    let mut columns: Vec<&[f64]> = vec![&of.last];
    columns.extend(of.counter.as_ref().map(|counter| &counter.first[..]));
    columns.extend([&of.min[..], &of.max, &of.sum]);
    for (at, column) in columns.iter().enumerate() {
        match columns[..at].iter().position(|before| same(before, column)) {
            Some(same) => out.push(same as u8),
            None => {
                out.push(OWN);
                put_values(out, column);
            }
        }
    }
    put_uvarint(out, of.ended.len() as u64);
    for (at, time) in &of.ended {
        put_uvarint(out, u64::from(*at));
        put_varint(out, time.wrapping_sub(of.times[*at as usize]));
    }
    if let Some(counter) = &of.counter {
        let pairs = of.times.iter().zip(&counter.first_at);
        let spans: Vec<i64> = pairs
            .map(|(last, first)| last.wrapping_sub(*first))
            .collect();
        put_times(out, &spans);
        put_uvarint(out, counter.resets.len() as u64);
        for (at, peaks, low) in &counter.resets {
            put_uvarint(out, u64::from(*at));
            out.extend_from_slice(&peaks.to_le_bytes());
            out.extend_from_slice(&low.to_le_bytes());
        }
    }
}

/// Reads what [`put`] wrote; none if it is damaged.
pub(crate) fn get(cursor: &mut Cursor<'_>) -> Option<Buckets> {
    let count = usize::try_from(cursor.uvarint()?).ok()?;
    if count == 0 || count > MOST {
        return None;
    }
    let times = read_times(cursor, count)?;
    let counts = read_values(cursor, count)?;
    let counts = counts.iter().map(|count| *count as u32).collect();
    let counts_up = cursor.u8()? != 0;
    let mut columns: Vec<Vec<f64>> = Vec::with_capacity(5);
    for _ in 0..4 + usize::from(counts_up) {
        let column = match cursor.u8()? {
            OWN => read_values(cursor, count)?,
            same => columns.get(usize::from(same))?.clone(),
        };
        columns.push(column);
    }
    let mut columns = columns.into_iter();
    let mut out = Buckets {
        times,
        counts,
        last: columns.next()?,
        ..Buckets::default()
    };
    let first = if counts_up {
        columns.next()?
    } else {
        Vec::new()
    };
    (out.min, out.max, out.sum) = (columns.next()?, columns.next()?, columns.next()?);
    let place = |cursor: &mut Cursor<'_>| {
        let at = u32::try_from(cursor.uvarint()?).ok()?;
        ((at as usize) < count).then_some(at)
    };
    for _ in 0..cursor.count()? {
        let at = place(cursor)?;
        let behind = cursor.varint()?;
        out.ended
            .push((at, out.times[at as usize].wrapping_add(behind)));
    }
    if counts_up {
        let spans = read_times(cursor, count)?;
        let pairs = out.times.iter().zip(&spans);
        let mut counter = Counter {
            first_at: pairs.map(|(last, span)| last.wrapping_sub(*span)).collect(),
            first,
            resets: Vec::new(),
        };
        for _ in 0..cursor.count()? {
            let at = place(cursor)?;
            counter.resets.push((at, cursor.f64()?, cursor.f64()?));
        }
        out.counter = Some(counter);
    }
    Some(out)
}
