//! Columns: texts one after the other, in the form that takes least.
//!
//! A column is numbers, hexadecimal digits in half of their bytes, times beside the time of the
//! line, or texts. Where texts come again each is written once. What is compressible goes to the
//! head of the block, which is compressed as a whole; the rest follows as it is.

pub(super) mod first;
mod time;
mod write;

pub(super) use time::stamp;
pub(super) use write::encode;
use write::put_nibbles;

use crate::bytes::Cursor;
use crate::numbers::Numbers;

/// Texts that are collected.
#[derive(Clone, Debug, Default)]
pub(super) struct Texts {
    bytes: Vec<u8>,
    ends: Vec<u32>,
    /// The times of their lines, where the texts are times.
    ats: Vec<i64>,
}

impl Texts {
    pub(super) fn push(&mut self, text: &[u8]) {
        self.bytes.extend_from_slice(text);
        self.ends.push(self.bytes.len() as u32);
    }

    /// Adds a text that is a time, in a line of a time.
    pub(super) fn push_time(&mut self, text: &[u8], at: i64) {
        self.push(text);
        self.ats.push(at);
    }

    pub(super) fn len(&self) -> usize {
        self.ends.len()
    }

    pub(super) fn get(&self, at: usize) -> &[u8] {
        let start = at.checked_sub(1).map_or(0, |before| self.ends[before]);
        &self.bytes[start as usize..self.ends[at] as usize]
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &[u8]> {
        let mut start = 0;
        self.ends.iter().map(move |end| {
            let text = &self.bytes[start..*end as usize];
            start = *end as usize;
            text
        })
    }
}

const SAME: u8 = 0;
const NUMBERS: u8 = 1;
/// Numbers with zeros in front, all of one width.
const PADDED: u8 = 2;
/// Hexadecimal digits of one width, small letters or capitals.
const HEX: u8 = 3;
const HEX_CAPITALS: u8 = 4;
/// Identifiers of 32 hexadecimal digits with four dashes.
const UUID: u8 = 5;
/// Different texts as a column of their own, and which of them it is each time.
const KNOWN: u8 = 6;
/// The same, told by how long ago it was first there.
const RECENT: u8 = 7;
/// What all begin and end with, and a column of what is between.
const AFFIXED: u8 = 8;
const PLAIN: u8 = 9;
/// Times, by how far they are from those of the lines.
const BESIDE: u8 = 10;
/// Times as they are.
const TIMES: u8 = 11;

/// Columns within columns: different texts at most once, and what is between affixes below them.
const DEPTH: u8 = 2;
/// How many texts tell whether they come again.
const SAMPLE: usize = 512;
/// The widest numbers, in digits.
const DIGITS: usize = 18;

/// A text as the number that it is the only way to write, up to 18 digits.
fn number(text: &[u8]) -> Option<i64> {
    if text.is_empty() || text.len() > DIGITS || (text.len() > 1 && text[0] == b'0') {
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

fn is_small_hex(byte: u8) -> bool {
    matches!(byte, b'0'..=b'9' | b'a'..=b'f')
}

fn is_capital_hex(byte: u8) -> bool {
    matches!(byte, b'0'..=b'9' | b'A'..=b'F')
}

/// Whether a text is an identifier like `550e8400-e29b-41d4-a716-446655440000`.
pub(super) fn is_uuid(text: &[u8]) -> bool {
    text.len() == 36
        && text.iter().enumerate().all(|(at, byte)| match at {
            8 | 13 | 18 | 23 => *byte == b'-',
            _ => is_small_hex(*byte),
        })
}

/// A column that is read, but not unpacked.
#[derive(Debug)]
pub(super) enum Column<'a> {
    Same(&'a [u8]),
    Numbers(Numbers<'a>),
    Padded(Numbers<'a>, usize),
    Hex {
        bytes: &'a [u8],
        width: usize,
        capitals: bool,
    },
    Uuid(&'a [u8]),
    Known {
        different: Box<Column<'a>>,
        count: usize,
        ids: Numbers<'a>,
        recent: bool,
    },
    Affixed(&'a [u8], &'a [u8], Box<Column<'a>>),
    Plain(Numbers<'a>, &'a [u8]),
    Times {
        style: time::Style,
        values: Numbers<'a>,
        beside: bool,
    },
}

impl<'a> Column<'a> {
    /// Reads a column of `count` texts.
    pub(super) fn read(head: &mut Cursor<'a>, raw: &mut Cursor<'a>, count: usize) -> Option<Self> {
        Self::read_at(head, raw, count, 0)
    }

    fn read_at(
        head: &mut Cursor<'a>,
        raw: &mut Cursor<'a>,
        count: usize,
        depth: u8,
    ) -> Option<Self> {
        if depth > DEPTH {
            return None;
        }
        let kind = head.u8()?;
        Some(match kind {
            SAME => Self::Same(head.bytes()?),
            NUMBERS => Self::Numbers(Numbers::read(head, raw, count)?),
            PADDED => {
                let width = usize::try_from(head.uvarint()?).ok()?;
                if width > DIGITS {
                    return None;
                }
                Self::Padded(Numbers::read(head, raw, count)?, width)
            }
            HEX | HEX_CAPITALS => {
                let width = usize::try_from(head.uvarint()?).ok()?;
                let bytes = raw.take(count.checked_mul(width)?.div_ceil(2))?;
                Self::Hex {
                    bytes,
                    width,
                    capitals: kind == HEX_CAPITALS,
                }
            }
            UUID => Self::Uuid(raw.take(count.checked_mul(16)?)?),
            KNOWN | RECENT => {
                let different = usize::try_from(head.uvarint()?).ok()?;
                if different > count {
                    return None;
                }
                Self::Known {
                    different: Box::new(Self::read_at(head, raw, different, depth + 1)?),
                    count: different,
                    ids: Numbers::read(head, raw, count)?,
                    recent: kind == RECENT,
                }
            }
            AFFIXED => {
                let (front, back) = (head.bytes()?, head.bytes()?);
                let between = Self::read_at(head, raw, count, depth + 1)?;
                Self::Affixed(front, back, Box::new(between))
            }
            PLAIN => {
                let lengths = Numbers::read(head, raw, count)?.values()?;
                let mut end = 0i64;
                for length in &lengths {
                    end = end.checked_add(*length).filter(|_| *length >= 0)?;
                }
                let bytes = head.take(usize::try_from(end).ok()?)?;
                Self::Plain(Numbers::ready(lengths), bytes)
            }
            BESIDE | TIMES => Self::Times {
                style: time::Style::read(head)?,
                values: Numbers::read(head, raw, count)?,
                beside: kind == BESIDE,
            },
            _ => return None,
        })
    }

    /// Whether a text of the column may contain a word; only letters and digits make a word.
    pub(super) fn may_contain(&self, word: &[u8]) -> bool {
        match self {
            Self::Same(text) => memchr::memmem::find(text, word).is_some(),
            Self::Numbers(_) => word.len() <= DIGITS && digits(word).is_some(),
            Self::Padded(_, width) => word.len() <= *width && digits(word).is_some(),
            Self::Hex {
                bytes,
                width,
                capitals,
            } => {
                let fits = if *capitals {
                    is_capital_hex
                } else {
                    is_small_hex
                };
                if word.len() > *width || !word.iter().copied().all(fits) {
                    return false;
                }
                if word.len() < *width || width % 2 == 1 {
                    return true;
                }
                let mut packed = Vec::with_capacity(width / 2);
                put_nibbles(&mut packed, word.iter().copied());
                bytes.chunks_exact(width / 2).any(|own| own == packed)
            }
            Self::Uuid(_) => word.len() <= 12 && word.iter().copied().all(is_small_hex),
            Self::Known { different, .. } => different.may_contain(word),
            Self::Affixed(front, back, between) => {
                let longest = front.len().saturating_add(back.len());
                word.len() <= longest.saturating_add(between.longest())
            }
            Self::Plain(_, bytes) => memchr::memmem::find(bytes, word).is_some(),
            Self::Times { .. } => word.len() <= 10,
        }
    }

    /// The most bytes that a text of it may have.
    fn longest(&self) -> usize {
        match self {
            Self::Same(text) => text.len(),
            Self::Numbers(_) => DIGITS,
            Self::Padded(_, width) | Self::Hex { width, .. } => *width,
            Self::Known { different, .. } => different.longest(),
            _ => usize::MAX,
        }
    }

    /// Unpacks the column; `cells` is how much may still be unpacked.
    pub(super) fn unpack(self, cells: &mut usize) -> Option<Cells<'a>> {
        let mut values = |numbers: Numbers<'a>| {
            *cells = cells.checked_sub(numbers.count())?;
            numbers.values()
        };
        Some(match self {
            Self::Same(text) => Cells::Same(text),
            Self::Numbers(numbers) => Cells::Numbers(values(numbers)?, 0),
            Self::Padded(numbers, width) => Cells::Numbers(values(numbers)?, width),
            Self::Hex {
                bytes,
                width,
                capitals,
            } => Cells::Hex {
                bytes,
                width,
                letters: if capitals { CAPITALS } else { SMALL },
            },
            Self::Uuid(bytes) => Cells::Uuid(bytes),
            Self::Known {
                different,
                count,
                ids,
                recent,
            } => {
                let mut ids = values(ids)?;
                if recent {
                    let mut next = 0i64;
                    for id in &mut ids {
                        let ago = *id;
                        *id = next.checked_sub(ago)?;
                        next += i64::from(ago == 0);
                    }
                }
                let most = count as i64;
                if ids.iter().any(|id| *id < 0 || *id >= most) {
                    return None;
                }
                Cells::Known(Box::new(different.unpack(cells)?), ids)
            }
            Self::Affixed(front, back, between) => {
                Cells::Affixed(front, back, Box::new(between.unpack(cells)?))
            }
            Self::Plain(lengths, bytes) => {
                let mut end = 0;
                let lengths = values(lengths)?;
                let ends = lengths.into_iter().map(|length| {
                    end += length as usize;
                    end as u32
                });
                Cells::Plain(bytes, ends.collect())
            }
            Self::Times {
                style,
                values: numbers,
                beside,
            } => Cells::Times(style, values(numbers)?, beside),
        })
    }
}

const SMALL: &[u8; 16] = b"0123456789abcdef";
const CAPITALS: &[u8; 16] = b"0123456789ABCDEF";

/// A column that is unpacked.
#[derive(Debug)]
pub(super) enum Cells<'a> {
    Same(&'a [u8]),
    /// Numbers of a least width.
    Numbers(Vec<i64>, usize),
    Hex {
        bytes: &'a [u8],
        width: usize,
        letters: &'static [u8; 16],
    },
    Uuid(&'a [u8]),
    Known(Box<Cells<'a>>, Vec<i64>),
    Affixed(&'a [u8], &'a [u8], Box<Cells<'a>>),
    Plain(&'a [u8], Vec<u32>),
    Times(time::Style, Vec<i64>, bool),
}

impl Cells<'_> {
    /// Adds the text at a place, in a line of a time, to `out`.
    pub(super) fn write(&self, place: usize, at: i64, out: &mut Vec<u8>) -> Option<()> {
        match self {
            Self::Same(text) => out.extend_from_slice(text),
            Self::Numbers(values, width) => put_number(out, *values.get(place)?, *width),
            Self::Hex {
                bytes,
                width,
                letters,
            } => {
                let from = place.checked_mul(*width)?;
                for digit in from..from + width {
                    let byte = *bytes.get(digit / 2)?;
                    let nibble = if digit % 2 == 0 { byte >> 4 } else { byte & 15 };
                    out.push(letters[usize::from(nibble)]);
                }
            }
            Self::Uuid(bytes) => {
                let own = bytes.get(place.checked_mul(16)?..)?.get(..16)?;
                for (at, byte) in own.iter().enumerate() {
                    if matches!(at, 4 | 6 | 8 | 10) {
                        out.push(b'-');
                    }
                    out.push(SMALL[usize::from(byte >> 4)]);
                    out.push(SMALL[usize::from(byte & 15)]);
                }
            }
            Self::Known(different, ids) => {
                different.write(usize::try_from(*ids.get(place)?).ok()?, at, out)?;
            }
            Self::Affixed(front, back, between) => {
                out.extend_from_slice(front);
                between.write(place, at, out)?;
                out.extend_from_slice(back);
            }
            Self::Plain(bytes, ends) => {
                let before = place.checked_sub(1).map_or(Some(&0), |one| ends.get(one))?;
                out.extend_from_slice(bytes.get(*before as usize..*ends.get(place)? as usize)?);
            }
            Self::Times(style, values, beside) => {
                let mut value = *values.get(place)?;
                if *beside {
                    value = value.wrapping_add(at.div_euclid(style.unit()));
                }
                style.write(value, out)?;
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
mod tests;
