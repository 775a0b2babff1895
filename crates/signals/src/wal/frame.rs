//! Records in a file: a mark to find the next one by, a length, a checksum over both length and
//! record, the record.

/// Occurs before every record; where one is damaged, the next is found by it.
const MARK: [u8; 4] = [0xa7, 0x1d, 0xfe, 0x52];
/// What a frame takes before its record, in bytes.
pub(crate) const FRAME: usize = 12;

/// The longest record, in bytes.
pub(crate) const MAX_RECORD: usize = 16 << 20;

/// Adds a record with its frame.
pub(crate) fn frame(out: &mut Vec<u8>, record: &[u8]) {
    let length = (record.len() as u32).to_le_bytes();
    out.extend_from_slice(&MARK);
    out.extend_from_slice(&length);
    out.extend_from_slice(&checksum(length, record).to_le_bytes());
    out.extend_from_slice(record);
}

fn checksum(length: [u8; 4], record: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(&length), record)
}

/// What a frame says of its record.
pub(crate) struct Framed {
    /// How long it is, in bytes.
    pub(crate) length: usize,
    sum: u32,
}

impl Framed {
    /// Reads a frame; `None` if it is none.
    pub(crate) fn of(bytes: &[u8; FRAME]) -> Option<Self> {
        let [mark @ .., _, _, _, _, _, _, _, _] = *bytes;
        let [.., l0, l1, l2, l3, s0, s1, s2, s3] = *bytes;
        let length = u32::from_le_bytes([l0, l1, l2, l3]) as usize;
        (mark == MARK && length <= MAX_RECORD).then_some(Self {
            length,
            sum: u32::from_le_bytes([s0, s1, s2, s3]),
        })
    }

    /// Whether this is the record.
    pub(crate) fn is(&self, record: &[u8]) -> bool {
        let length = (self.length as u32).to_le_bytes();
        record.len() == self.length && checksum(length, record) == self.sum
    }
}

/// What is found in bytes, from the front on.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Piece<'a> {
    /// A record that is whole.
    Record(&'a [u8]),
    /// Bytes that are no record, from an offset on; another record may follow.
    Damaged {
        /// From where.
        offset: usize,
        /// How many.
        bytes: usize,
    },
}

/// The records in bytes, and what is between them.
pub(crate) fn records(bytes: &[u8]) -> impl Iterator<Item = Piece<'_>> {
    let mut at = 0;
    std::iter::from_fn(move || {
        if at >= bytes.len() {
            return None;
        }
        if let Some(record) = whole(bytes, at) {
            at += FRAME + record.len();
            return Some(Piece::Record(record));
        }
        let offset = at;
        at += 1;
        while at < bytes.len() && whole(bytes, at).is_none() {
            at += 1;
        }
        Some(Piece::Damaged {
            offset,
            bytes: at - offset,
        })
    })
}

fn whole(bytes: &[u8], at: usize) -> Option<&[u8]> {
    let (front, rest) = bytes[at..].split_first_chunk()?;
    let framed = Framed::of(front)?;
    let record = rest.get(..framed.length)?;
    framed.is(record).then_some(record)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn one_flipped_bit_costs_one_record(
            all in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 1..10),
            at: prop::sample::Index,
            bit in 0u8..8,
        ) {
            let mut bytes = Vec::new();
            for record in &all {
                frame(&mut bytes, record);
            }
            let found = |bytes: &[u8]| {
                let mut out = Vec::new();
                for piece in records(bytes) {
                    if let Piece::Record(record) = piece {
                        out.push(record.to_vec());
                    }
                }
                out
            };
            prop_assert_eq!(&found(&bytes), &all);
            let at = at.index(bytes.len());
            bytes[at] ^= 1 << bit;
            let left = found(&bytes);
            prop_assert_eq!(left.len(), all.len() - 1);
            prop_assert!(left.iter().all(|record| all.contains(record)));
        }

        #[test]
        fn anything_can_be_read(bytes: Vec<u8>) {
            let covered: usize = records(&bytes)
                .map(|piece| match piece {
                    Piece::Record(record) => FRAME + record.len(),
                    Piece::Damaged { bytes, .. } => bytes,
                })
                .sum();
            prop_assert_eq!(covered, bytes.len());
        }
    }
}
