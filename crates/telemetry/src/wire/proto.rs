//! The wire format of protobuf, read in place. Claimed lengths are checked against what is there;
//! nothing is allocated for them.

use std::borrow::Cow;

/// A message breaks the wire format or has a field of another type.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Broken {
    /// It ends within a field.
    #[error("proto: unexpected end of message")]
    Truncated,
    /// A number has more than ten bytes.
    #[error("proto: integer overflow")]
    Overflow,
    /// A field's number or type is none.
    #[error("proto: illegal tag {0}")]
    Tag(u64),
    /// A field has another type than its message says.
    #[error("proto: wrong wire type for field {0}")]
    Type(u32),
    /// A text is not UTF-8.
    #[error("proto: field {0} contains invalid UTF-8")]
    Utf8(u32),
}

/// The value of a field.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Value<'a> {
    Varint(u64),
    Fixed64(u64),
    Bytes(&'a [u8]),
    Fixed32(u32),
}

/// A field with its number.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Field<'a> {
    pub(crate) number: u32,
    pub(crate) value: Value<'a>,
}

impl<'a> Field<'a> {
    pub(crate) fn varint(&self) -> Result<u64, Broken> {
        match self.value {
            Value::Varint(value) => Ok(value),
            _ => Err(Broken::Type(self.number)),
        }
    }

    pub(crate) fn int(&self) -> Result<i64, Broken> {
        self.varint().map(|value| value as i64)
    }

    pub(crate) fn zigzag(&self) -> Result<i64, Broken> {
        self.varint().map(zigzag)
    }

    pub(crate) fn double(&self) -> Result<f64, Broken> {
        match self.value {
            Value::Fixed64(bits) => Ok(f64::from_bits(bits)),
            _ => Err(Broken::Type(self.number)),
        }
    }

    pub(crate) fn bytes(&self) -> Result<&'a [u8], Broken> {
        match self.value {
            Value::Bytes(bytes) => Ok(bytes),
            _ => Err(Broken::Type(self.number)),
        }
    }

    pub(crate) fn message(&self) -> Result<Reader<'a>, Broken> {
        self.bytes().map(Reader::new)
    }

    pub(crate) fn text(&self) -> Result<&'a str, Broken> {
        std::str::from_utf8(self.bytes()?).map_err(|_| Broken::Utf8(self.number))
    }

    /// A repeated number, alone or packed.
    pub(crate) fn varints(&self, mut each: impl FnMut(u64)) -> Result<(), Broken> {
        match self.value {
            Value::Varint(value) => each(value),
            Value::Bytes(bytes) => {
                let mut reader = Reader::new(bytes);
                while !reader.rest.is_empty() {
                    each(reader.varint()?);
                }
            }
            _ => return Err(Broken::Type(self.number)),
        }
        Ok(())
    }

    /// A repeated double, alone or packed.
    pub(crate) fn doubles(&self, mut each: impl FnMut(f64)) -> Result<(), Broken> {
        match self.value {
            Value::Fixed64(bits) => each(f64::from_bits(bits)),
            Value::Bytes(bytes) => {
                let words = bytes.chunks_exact(8);
                if !words.remainder().is_empty() {
                    return Err(Broken::Truncated);
                }
                for word in words {
                    each(f64::from_bits(little(word)));
                }
            }
            _ => return Err(Broken::Type(self.number)),
        }
        Ok(())
    }
}

pub(crate) fn zigzag(value: u64) -> i64 {
    ((value >> 1) as i64) ^ -((value & 1) as i64)
}

fn little(bytes: &[u8]) -> u64 {
    bytes
        .iter()
        .rev()
        .fold(0, |sum, byte| sum << 8 | u64::from(*byte))
}

/// Walks over the fields of a message.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(crate) fn new(message: &'a [u8]) -> Self {
        Self { rest: message }
    }

    /// The next field, `None` at the end of the message.
    #[inline]
    pub(crate) fn next(&mut self) -> Result<Option<Field<'a>>, Broken> {
        if self.rest.is_empty() {
            return Ok(None);
        }
        let tag = self.varint()?;
        let number = u32::try_from(tag >> 3).map_err(|_| Broken::Tag(tag))?;
        if number == 0 {
            return Err(Broken::Tag(tag));
        }
        let value = match tag & 7 {
            0 => Value::Varint(self.varint()?),
            1 => Value::Fixed64(little(self.take(8)?)),
            2 => {
                let length = self.varint()?;
                Value::Bytes(self.take(usize::try_from(length).map_err(|_| Broken::Truncated)?)?)
            }
            5 => Value::Fixed32(little(self.take(4)?) as u32),
            _ => return Err(Broken::Tag(tag)),
        };
        Ok(Some(Field { number, value }))
    }

    #[inline]
    pub(crate) fn varint(&mut self) -> Result<u64, Broken> {
        let mut value = 0u64;
        for (at, byte) in self.rest.iter().enumerate().take(10) {
            value |= u64::from(byte & 0x7f) << (7 * at);
            if *byte < 0x80 {
                if at == 9 && *byte > 1 {
                    return Err(Broken::Overflow);
                }
                self.rest = &self.rest[at + 1..];
                return Ok(value);
            }
        }
        Err(if self.rest.len() < 10 {
            Broken::Truncated
        } else {
            Broken::Overflow
        })
    }

    #[inline]
    pub(crate) fn take(&mut self, length: usize) -> Result<&'a [u8], Broken> {
        let (taken, rest) = self
            .rest
            .split_at_checked(length)
            .ok_or(Broken::Truncated)?;
        self.rest = rest;
        Ok(taken)
    }

    pub(crate) fn rest(&self) -> &'a [u8] {
        self.rest
    }
}

/// Buckets of one side of a histogram as the messages write them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Side {
    /// Gap to the span before, and length.
    pub(crate) spans: Vec<(i64, u64)>,
    /// Integer counts, each as the difference to the one before.
    pub(crate) deltas: Vec<i64>,
    /// Counts of histograms with fractions.
    pub(crate) counts: Vec<f64>,
}

impl Side {
    pub(crate) fn span(&mut self, field: &Field<'_>) -> Result<(), Broken> {
        let (mut offset, mut length) = (0, 0);
        let mut reader = field.message()?;
        while let Some(field) = reader.next()? {
            match field.number {
                1 => offset = i64::from(field.zigzag()? as i32),
                2 => length = u64::from(field.varint()? as u32),
                _ => {}
            }
        }
        self.spans.push((offset, length));
        Ok(())
    }

    pub(crate) fn delta(&mut self, field: &Field<'_>) -> Result<(), Broken> {
        field.varints(|value| self.deltas.push(zigzag(value)))
    }

    pub(crate) fn count(&mut self, field: &Field<'_>) -> Result<(), Broken> {
        field.doubles(|value| self.counts.push(value))
    }

    /// The counts by index; the error is upstream's.
    pub(crate) fn buckets(&self, float: bool) -> Result<Vec<(i32, f64)>, Cow<'static, str>> {
        let have = if float {
            self.counts.len()
        } else {
            self.deltas.len()
        };
        let mut need = 0u64;
        for (at, (offset, length)) in self.spans.iter().enumerate() {
            if at > 0 && *offset < 0 {
                return Err(format!(
                    "span number {} with offset {offset}: histogram has a span whose offset is \
                     negative",
                    at + 1
                )
                .into());
            }
            need += length;
        }
        if need != have as u64 {
            return Err(format!(
                "spans need {need} buckets, have {have} buckets: histogram spans specify \
                 different number of buckets than provided"
            )
            .into());
        }
        let mut out = Vec::with_capacity(have);
        let (mut index, mut last) = (0i64, 0i64);
        for (offset, length) in &self.spans {
            index += offset;
            for _ in 0..*length {
                let count = if float {
                    self.counts[out.len()]
                } else {
                    last = last.wrapping_add(self.deltas[out.len()]);
                    last as f64
                };
                if count < 0.0 {
                    return Err(format!(
                        "bucket number {} has observation count of {count}: histogram has a \
                         bucket whose observation count is negative",
                        out.len() + 1
                    )
                    .into());
                }
                let at = i32::try_from(index).map_err(|_| "histogram bucket index overflows")?;
                out.push((at, count));
                index += 1;
            }
        }
        Ok(out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_become_indices() {
        let side = Side {
            spans: vec![(-2, 2), (3, 1)],
            deltas: vec![1, 2, -1],
            counts: vec![],
        };
        assert_eq!(
            side.buckets(false).unwrap(),
            [(-2, 1.0), (-1, 3.0), (3, 2.0)]
        );
        assert!(
            side.buckets(true)
                .unwrap_err()
                .contains("spans need 3 buckets, have 0")
        );
    }

    #[test]
    fn a_claimed_length_is_not_believed() {
        let mut reader = Reader::new(&[0x0a, 0xff, 0xff, 0xff, 0xff, 0x0f, 1]);
        assert_eq!(reader.next(), Err(Broken::Truncated));
        let mut reader = Reader::new(&[0xff; 11]);
        assert_eq!(reader.next(), Err(Broken::Overflow));
    }
}
