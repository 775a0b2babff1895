//! Hashes that live no longer than the process, faster than those that withstand who knows them: what
//! two texts have in common with one hash must never be taken for the same without a look.

fn folded(a: u64, b: u64) -> u64 {
    let product = u128::from(a) * u128::from(b);
    product as u64 ^ (product >> 64) as u64
}

/// A hash of bytes behind others. It is not kept: nothing outside of a block depends on it.
pub(crate) fn chained(seed: u64, bytes: &[u8]) -> u64 {
    let mut state = seed ^ 0xa076_1d64_78bd_642f ^ bytes.len() as u64;
    let mut chunks = bytes.chunks_exact(8);
    for chunk in &mut chunks {
        let mut word = [0; 8];
        word.copy_from_slice(chunk);
        state = folded(state ^ u64::from_le_bytes(word), 0xe703_7ed1_a0b4_28db);
    }
    let mut word = [0; 8];
    let rest = chunks.remainder();
    word[..rest.len()].copy_from_slice(rest);
    folded(state ^ u64::from_le_bytes(word), 0x8ebc_6af0_9c88_c6e3)
}

/// A hash of bytes.
pub(crate) fn hash(bytes: &[u8]) -> u64 {
    chained(0, bytes)
}
