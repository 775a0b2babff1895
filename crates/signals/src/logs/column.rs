//! Columns: texts one after the other, in the form that takes least.
//!
//! Numbers are written as differences or as they are; texts as lengths and bytes. What comes out
//! is not compressed yet: one compressor goes over all columns of a block.

use crate::bytes::{Cursor, put_uvarint, put_varint, zigzag};

/// Texts that are collected.
#[derive(Clone, Debug, Default)]
pub(super) struct Texts {
    bytes: Vec<u8>,
    ends: Vec<u32>,
}

impl Texts {
    pub(super) fn push(&mut self, text: &[u8]) {
        self.bytes.extend_from_slice(text);
        self.ends.push(self.bytes.len() as u32);
    }

    pub(super) fn len(&self) -> usize {
        self.ends.len()
    }

    fn iter(&self) -> impl Iterator<Item = &[u8]> {
        let mut start = 0;
        self.ends.iter().map(move |end| {
            let text = &self.bytes[start..*end as usize];
            start = *end as usize;
            text
        })
    }
}

const PLAIN: u8 = 0;
const NUMBERS: u8 = 1;
const DIFFERENCES: u8 = 2;
/// Numbers with zeros in front, all of one width.
const PADDED: u8 = 3;
const SAME: u8 = 4;

/// A text as the number that it is the only way to write, up to 18 digits.
fn number(text: &[u8]) -> Option<i64> {
    if text.is_empty() || text.len() > 18 || (text.len() > 1 && text[0] == b'0') {
        return None;
    }
    digits(text)
}

fn digits(text: &[u8]) -> Option<i64> {
    text.iter().try_fold(0i64, |sum, byte| {
        byte.is_ascii_digit()
            .then(|| sum * 10 + i64::from(byte - b'0'))
    })
}

fn width(texts: &Texts) -> Option<usize> {
    let first = texts.iter().next()?.len();
    (first > 0 && first <= 18 && texts.iter().all(|text| text.len() == first)).then_some(first)
}

/// Writes a column.
pub(super) fn encode(out: &mut Vec<u8>, texts: &Texts) {
    let first = texts.iter().next().unwrap_or_default();
    if texts.len() > 1 && texts.iter().all(|text| text == first) {
        out.push(SAME);
        put_uvarint(out, first.len() as u64);
        out.extend_from_slice(first);
        return;
    }
    if let Some(values) = texts.iter().map(number).collect::<Option<Vec<i64>>>() {
        numbers(out, &values);
        return;
    }
    if let Some(width) = width(texts)
        && let Some(values) = texts.iter().map(digits).collect::<Option<Vec<i64>>>()
    {
        out.push(PADDED);
        put_uvarint(out, width as u64);
        numbers(out, &values);
        return;
    }
    out.push(PLAIN);
    let equal = texts.iter().all(|text| text.len() == first.len());
    if equal {
        put_uvarint(out, first.len() as u64 + 1);
    } else {
        put_uvarint(out, 0);
        for text in texts.iter() {
            put_uvarint(out, text.len() as u64);
        }
    }
    out.extend_from_slice(&texts.bytes);
}

/// Writes numbers as themselves or as differences, whichever is shorter.
pub(super) fn numbers(out: &mut Vec<u8>, values: &[i64]) {
    let cost = |value: i64| (70 - (zigzag(value) | 1).leading_zeros() as usize) / 7;
    let (mut plain, mut differing, mut last) = (0, 0, 0i64);
    for value in values {
        plain += cost(*value);
        differing += cost(value.wrapping_sub(last));
        last = *value;
    }
    if differing < plain {
        out.push(DIFFERENCES);
        let mut last = 0i64;
        for value in values {
            put_varint(out, value.wrapping_sub(last));
            last = *value;
        }
    } else {
        out.push(NUMBERS);
        for value in values {
            put_varint(out, *value);
        }
    }
}

/// Reads numbers that [`numbers`] wrote.
pub(super) fn read_numbers(cursor: &mut Cursor<'_>, count: usize) -> Option<Vec<i64>> {
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
pub(super) enum Column<'a> {
    Same(&'a [u8]),
    Numbers(Vec<i64>),
    Padded(Vec<i64>, usize),
    Plain { bytes: &'a [u8], ends: Vec<u32> },
    Fixed { bytes: &'a [u8], width: usize },
}

impl<'a> Column<'a> {
    /// Reads a column of `count` texts.
    pub(super) fn decode(cursor: &mut Cursor<'a>, count: usize) -> Option<Self> {
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
    pub(super) fn write(&self, at: usize, out: &mut Vec<u8>) -> Option<()> {
        match self {
            Self::Same(text) => out.extend_from_slice(text),
            Self::Numbers(values) => put_number(out, *values.get(at)?, 0),
            Self::Padded(values, width) => put_number(out, *values.get(at)?, *width),
            Self::Plain { bytes, ends } => {
                let start = at.checked_sub(1).map_or(0, |before| ends[before] as usize);
                out.extend_from_slice(bytes.get(start..*ends.get(at)? as usize)?);
            }
            Self::Fixed { bytes, width } => {
                out.extend_from_slice(bytes.get(at * width..(at + 1) * width)?);
            }
        }
        Some(())
    }
}

/// Writes a number, with zeros in front up to a width.
fn put_number(out: &mut Vec<u8>, value: i64, width: usize) {
    let mut digits = [0u8; 20];
    let mut at = digits.len();
    let mut rest = value.unsigned_abs();
    loop {
        at -= 1;
        digits[at] = b'0' + (rest % 10) as u8;
        rest /= 10;
        if rest == 0 || at == 0 {
            break;
        }
    }
    while digits.len() - at < width && at > 0 {
        at -= 1;
        digits[at] = b'0';
    }
    out.extend_from_slice(&digits[at..]);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn columns_round_trip(
            texts in prop_oneof![
                prop::collection::vec("[0-9]{1,3}", 0..20),
                prop::collection::vec("[0-9]{4}", 0..20),
                prop::collection::vec("[a-z0-9]{0,4}", 0..20),
                prop::collection::vec("[ab]{2}", 0..20),
                prop::collection::vec("[0-9]{17,20}", 0..20),
            ],
        ) {
            let mut column = Texts::default();
            for text in &texts {
                column.push(text.as_bytes());
            }
            let mut out = Vec::new();
            encode(&mut out, &column);
            let mut cursor = Cursor::new(&out);
            let read = Column::decode(&mut cursor, texts.len()).expect("a column");
            prop_assert!(cursor.is_empty());
            for (at, text) in texts.iter().enumerate() {
                let mut back = Vec::new();
                read.write(at, &mut back).expect("a text");
                prop_assert_eq!(&back, text.as_bytes());
            }
        }

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
