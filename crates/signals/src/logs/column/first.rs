//! Columns of blocks of the first version, which are only read.

use super::put_number;
use crate::bytes::Cursor;

const PLAIN: u8 = 0;
const NUMBERS: u8 = 1;
const DIFFERENCES: u8 = 2;
/// Numbers with zeros in front, all of one width.
const PADDED: u8 = 3;
const SAME: u8 = 4;

/// Reads numbers.
pub(in crate::logs) fn read_numbers(cursor: &mut Cursor<'_>, count: usize) -> Option<Vec<i64>> {
    // A number takes a byte at least.
    if count > cursor.rest().len() {
        return None;
    }
    let kind = cursor.u8()?;
    let mut out = Vec::with_capacity(count);
    let mut last = 0i64;
    for _ in 0..count {
        let value = cursor.varint()?;
        last = match kind {
            NUMBERS => value,
            DIFFERENCES => last.wrapping_add(value),
            _ => return None,
        };
        out.push(last);
    }
    Some(out)
}

/// A column that is read.
#[derive(Debug)]
pub(in crate::logs) enum Column<'a> {
    Same(&'a [u8]),
    Numbers(Vec<i64>),
    Padded(Vec<i64>, usize),
    Plain { bytes: &'a [u8], ends: Vec<u32> },
    Fixed { bytes: &'a [u8], width: usize },
}

impl<'a> Column<'a> {
    /// Reads a column of `count` texts.
    pub(in crate::logs) fn decode(cursor: &mut Cursor<'a>, count: usize) -> Option<Self> {
        let mut ahead = *cursor;
        match ahead.u8()? {
            SAME => {
                *cursor = ahead;
                let length = usize::try_from(cursor.uvarint()?).ok()?;
                Some(Self::Same(cursor.take(length)?))
            }
            NUMBERS | DIFFERENCES => Some(Self::Numbers(read_numbers(cursor, count)?)),
            PADDED => {
                *cursor = ahead;
                let width = usize::try_from(cursor.uvarint()?).ok()?;
                if width > 18 {
                    return None;
                }
                Some(Self::Padded(read_numbers(cursor, count)?, width))
            }
            PLAIN => {
                *cursor = ahead;
                Self::plain(cursor, count)
            }
            _ => None,
        }
    }

    fn plain(cursor: &mut Cursor<'a>, count: usize) -> Option<Self> {
        let equal = usize::try_from(cursor.uvarint()?).ok()?;
        if equal > 0 {
            let bytes = cursor.take((equal - 1).checked_mul(count)?)?;
            return Some(Self::Fixed {
                bytes,
                width: equal - 1,
            });
        }
        if count > cursor.rest().len() {
            return None;
        }
        let mut ends = Vec::with_capacity(count);
        let mut end = 0u64;
        for _ in 0..count {
            end = end.checked_add(cursor.uvarint()?)?;
            ends.push(u32::try_from(end).ok()?);
        }
        let bytes = cursor.take(end as usize)?;
        Some(Self::Plain { bytes, ends })
    }

    /// Adds the text at a place to `out`.
    pub(in crate::logs) fn write(&self, at: usize, out: &mut Vec<u8>) -> Option<()> {
        match self {
            Self::Same(text) => out.extend_from_slice(text),
            Self::Numbers(values) => put_number(out, *values.get(at)?, 0),
            Self::Padded(values, width) => put_number(out, *values.get(at)?, *width),
            Self::Plain { bytes, ends } => {
                let start = at
                    .checked_sub(1)
                    .map_or(Some(0), |before| ends.get(before).copied())?
                    as usize;
                out.extend_from_slice(bytes.get(start..*ends.get(at)? as usize)?);
            }
            Self::Fixed { bytes, width } => {
                out.extend_from_slice(bytes.get(at * width..(at + 1) * width)?);
            }
        }
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn anything_can_be_read(bytes: Vec<u8>, count in 0usize..1000) {
            let mut out = Vec::new();
            if let Some(column) = Column::decode(&mut Cursor::new(&bytes), count) {
                for at in 0..count {
                    let _ = column.write(at, &mut out);
                }
            }
        }
    }
}
