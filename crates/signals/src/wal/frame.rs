//! Records in a file: a mark to find the next one by, a length, a checksum over both length and
//! record, the record.

/// Occurs before every record; where one is damaged, the next is found by it.
const MARK: [u8; 4] = [0xa7, 0x1d, 0xfe, 0x52];
const HEAD: usize = 12;

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
            at += HEAD + record.len();
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
    let rest = &bytes[at..];
    if rest.len() < HEAD || rest[..4] != MARK {
        return None;
    }
    let length: [u8; 4] = rest[4..8].try_into().ok()?;
    let sum = u32::from_le_bytes(rest[8..12].try_into().ok()?);
    let count = u32::from_le_bytes(length) as usize;
    if count > MAX_RECORD {
        return None;
    }
    let record = rest[HEAD..].get(..count)?;
    (checksum(length, record) == sum).then_some(record)
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
                    Piece::Record(record) => HEAD + record.len(),
                    Piece::Damaged { bytes, .. } => bytes,
                })
                .sum();
            prop_assert_eq!(covered, bytes.len());
        }
    }
}
