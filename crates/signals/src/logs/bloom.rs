//! Filters that tell what a block certainly does not contain.
//!
//! A filter is a row of cells of 32 bytes. A key belongs to one cell and sets one bit in each of
//! its eight words, so that a look costs one read of 32 bytes (the split block filter of Parquet's
//! format, with 8 bits a key about 2 in 100 looks find what is not there).

/// Bytes of a cell.
pub(super) const CELL: usize = 32;
/// Keys a cell is made for.
const KEYS: usize = 32;
/// The most cells of a filter.
const MAX_CELLS: usize = 4096;

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

/// A filter of the keys.
pub(super) fn build(keys: &std::collections::HashSet<u64>) -> Vec<u8> {
    let cells = keys.len().div_ceil(KEYS).clamp(1, MAX_CELLS);
    let mut out = vec![0; cells * CELL];
    for key in keys {
        let at = cell(*key, cells) * CELL;
        for (word, bit) in bits(*key).into_iter().enumerate() {
            out[at + word * 4 + bit / 8] |= 1 << (bit % 8);
        }
    }
    out
}

/// Which cell a key belongs to.
pub(super) fn cell(key: u64, cells: usize) -> usize {
    (((key >> 32) * cells as u64) >> 32) as usize
}

fn bits(key: u64) -> [usize; 8] {
    SALTS.map(|salt| ((key as u32).wrapping_mul(salt) >> 27) as usize)
}

/// Whether a key may be in its cell.
pub(super) fn may_contain(cell: &[u8], key: u64) -> bool {
    bits(key).into_iter().enumerate().all(|(word, bit)| {
        cell.get(word * 4 + bit / 8)
            .is_none_or(|b| b >> (bit % 8) & 1 == 1)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn looks_up(filter: &[u8], key: u64) -> bool {
        let at = cell(key, filter.len() / CELL) * CELL;
        may_contain(&filter[at..at + CELL], key)
    }

    proptest! {
        #[test]
        fn what_is_in_is_found(keys: std::collections::HashSet<u64>) {
            let filter = build(&keys);
            prop_assert!(keys.iter().all(|key| looks_up(&filter, *key)));
        }
    }

    #[test]
    fn little_else_is_found() {
        let spread = |key: u64| key.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ (key << 7);
        let filter = build(&(0..10_000).map(spread).collect());
        let wrong = (10_000..20_000).filter(|key| looks_up(&filter, spread(*key)));
        let wrong = wrong.count();
        assert!(wrong < 400, "{wrong} of 10000");
    }
}
