//! Filters that tell what a block certainly does not contain.
//!
//! A filter is a row of cells of 32 bytes. A key belongs to one cell and sets one bit in each of
//! its seven words of bits, so that a look costs one read of 32 bytes (the split block filter of
//! Parquet's format, but for its eighth word; about 3 in 100 looks find what is not there).
//!
//! Where most lines have an identifier of their own, filters would be larger than all else in a
//! block. There a key has half the bits, and one look in six finds what is not there; the columns
//! of the block tell soon enough that it is not.
//!
//! The last word of a cell is the checksum of the others: a bit that the disk lost must not hide a
//! line. A damaged cell rules nothing out. Filters of earlier versions have bits of keys there.

use towpath_stdx::keyed::Quick;

/// Bytes of a cell.
pub(super) const CELL: usize = 32;
/// Keys a cell is made for.
const KEYS: usize = 28;
/// Keys a cell of a lean filter is made for.
const LEAN_KEYS: usize = 56;
/// The most cells of a filter.
pub(super) const MAX_CELLS: usize = 4096;

const SALTS: [u32; 8] = [
    0x47b6_137b,
    0x4497_4d91,
    0x8824_ad5b,
    0xa2b7_289d,
    0x7054_95c7,
    0x2df1_424b,
    0x9efc_4947,
    0x5c6b_fb31,
];

/// Keys of a block.
pub(super) type Keys = std::collections::HashSet<u64, Quick>;

/// Bytes of a cell before its checksum.
const SEAL: usize = CELL - 4;

/// How a filter is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Make {
    /// A key has few bits.
    pub(super) lean: bool,
    /// Cells have a checksum.
    pub(super) sealed: bool,
}

/// A filter of the keys.
pub(super) fn build(keys: &Keys, make: Make) -> Vec<u8> {
    let each = if make.lean { LEAN_KEYS } else { KEYS };
    let cells = keys.len().div_ceil(each).clamp(1, MAX_CELLS);
    let mut out = vec![0; cells * CELL];
    for key in keys {
        let at = cell(*key, cells) * CELL;
        for bit in bits(*key, make).into_iter().flatten() {
            out[at + bit / 8] |= 1 << (bit % 8);
        }
    }
    if make.sealed {
        for cell in out.chunks_exact_mut(CELL) {
            let (bits, seal) = cell.split_at_mut(SEAL);
            seal.copy_from_slice(&crc32c::crc32c(bits).to_le_bytes());
        }
    }
    out
}

/// Which cell a key belongs to.
pub(super) fn cell(key: u64, cells: usize) -> usize {
    (((key >> 32) * cells as u64) >> 32) as usize
}

/// The bits of a key in its cell: one in each 32, in lean filters one in each 64 (of the last 64,
/// where a checksum takes half of them, one in 32).
fn bits(key: u64, make: Make) -> [Option<usize>; 8] {
    let mut out = [None; 8];
    let (lanes, wide) = match make {
        Make { lean: true, .. } => (4, 6),
        Make { sealed: true, .. } => (7, 5),
        _ => (8, 5),
    };
    for (lane, salt) in SALTS.into_iter().enumerate().take(lanes) {
        let narrower = u32::from(make.lean && make.sealed && lane == 3);
        let bit = (key as u32).wrapping_mul(salt) >> (32 - wide + narrower);
        out[lane] = Some((lane << wide) + bit as usize);
    }
    out
}

/// Whether a cell is as it was written, as far as that can be told.
pub(super) fn is_sound(cell: &[u8], make: Make) -> bool {
    if !make.sealed {
        return true;
    }
    let (bits, seal) = cell.split_at(SEAL.min(cell.len()));
    *seal == crc32c::crc32c(bits).to_le_bytes()
}

/// Whether a key may be in its cell.
pub(super) fn may_contain(cell: &[u8], key: u64, make: Make) -> bool {
    let mut bits = bits(key, make).into_iter().flatten();
    !is_sound(cell, make)
        || bits.all(|bit| cell.get(bit / 8).is_none_or(|b| b >> (bit % 8) & 1 == 1))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn looks_up(filter: &[u8], key: u64, make: Make) -> bool {
        let at = cell(key, filter.len() / CELL) * CELL;
        may_contain(&filter[at..at + CELL], key, make)
    }

    proptest! {
        #[test]
        fn what_is_in_is_found(
            keys: std::collections::HashSet<u64>,
            lean: bool,
            sealed: bool,
            flip: prop::sample::Index,
        ) {
            let make = Make { lean, sealed };
            let keys: Keys = keys.into_iter().collect();
            let mut filter = build(&keys, make);
            prop_assert!(keys.iter().all(|key| looks_up(&filter, *key, make)));
            if sealed {
                let bit = flip.index(filter.len() * 8);
                filter[bit / 8] ^= 1 << (bit % 8);
                prop_assert!(keys.iter().all(|key| looks_up(&filter, *key, make)));
            }
        }
    }

    #[test]
    fn little_else_is_found() {
        let spread = |key: u64| key.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ (key << 7);
        let most = [
            (false, false, 400),
            (true, false, 1600),
            (false, true, 400),
            (true, true, 1900),
        ];
        for (lean, sealed, most) in most {
            let make = Make { lean, sealed };
            let filter = build(&(0..10_000).map(spread).collect(), make);
            let wrong = (10_000..20_000).filter(|key| looks_up(&filter, spread(*key), make));
            let wrong = wrong.count();
            println!("{make:?}: {wrong}");
            assert!(wrong < most, "{wrong} of 10000 with {make:?}");
        }
    }
}
