//! xxHash, 64 bits. With seed 0 it is what `limit_ratio` samples by, so that it takes the same
//! series as Prometheus does; with a seed nobody knows, tables of label sets are kept by it.

use std::hash::{BuildHasher, Hasher, RandomState};

const P1: u64 = 0x9E37_79B1_85EB_CA87;
const P2: u64 = 0xC2B2_AE3D_27D4_EB4F;
const P3: u64 = 0x1656_67B1_9E37_79F9;
const P4: u64 = 0x85EB_CA77_C2B2_AE63;
const P5: u64 = 0x27D4_EB2F_1656_67C5;

fn round(lane: u64, input: u64) -> u64 {
    lane.wrapping_add(input.wrapping_mul(P2))
        .rotate_left(31)
        .wrapping_mul(P1)
}

fn read(bytes: &[u8]) -> u64 {
    if let Ok(word) = bytes.try_into() {
        return u64::from_le_bytes(word);
    }
    let mut word = [0; 8];
    word[..bytes.len()].copy_from_slice(bytes);
    u64::from_le_bytes(word)
}

/// The hash of `bytes`.
pub(super) fn xxh64(bytes: &[u8]) -> u64 {
    seeded(bytes, 0)
}

fn seeded(bytes: &[u8], seed: u64) -> u64 {
    let mut rest = bytes;
    let mut hash;
    if bytes.len() >= 32 {
        let mut lanes = [P1.wrapping_add(P2), P2, 0, 0u64.wrapping_sub(P1)];
        for lane in &mut lanes {
            *lane = lane.wrapping_add(seed);
        }
        while let Some((stripe, after)) = rest.split_at_checked(32) {
            for (lane, word) in lanes.iter_mut().zip(stripe.chunks_exact(8)) {
                *lane = round(*lane, read(word));
            }
            rest = after;
        }
        hash = [1, 7, 12, 18]
            .into_iter()
            .zip(lanes)
            .fold(0u64, |sum, (turn, lane)| {
                sum.wrapping_add(lane.rotate_left(turn))
            });
        for lane in lanes {
            hash = (hash ^ round(0, lane)).wrapping_mul(P1).wrapping_add(P4);
        }
    } else {
        hash = P5.wrapping_add(seed);
    }
    hash = hash.wrapping_add(bytes.len() as u64);
    while let Some((word, after)) = rest.split_at_checked(8) {
        hash ^= round(0, read(word));
        hash = hash.rotate_left(27).wrapping_mul(P1).wrapping_add(P4);
        rest = after;
    }
    if let Some((word, after)) = rest.split_at_checked(4) {
        hash ^= read(word).wrapping_mul(P1);
        hash = hash.rotate_left(23).wrapping_mul(P2).wrapping_add(P3);
        rest = after;
    }
    for byte in rest {
        hash ^= u64::from(*byte).wrapping_mul(P5);
        hash = hash.rotate_left(11).wrapping_mul(P1);
    }
    hash ^= hash >> 33;
    hash = hash.wrapping_mul(P2);
    hash ^= hash >> 29;
    hash = hash.wrapping_mul(P3);
    hash ^ (hash >> 32)
}

/// Makes hashers of texts, each table its own.
#[derive(Clone)]
pub(super) struct Texts(u64);

impl Default for Texts {
    fn default() -> Self {
        Self(RandomState::new().hash_one(0u8))
    }
}

impl BuildHasher for Texts {
    type Hasher = OfText;

    fn build_hasher(&self) -> OfText {
        OfText(self.0)
    }
}

/// The hash of one text.
pub(super) struct OfText(u64);

impl Hasher for OfText {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        self.0 = seeded(bytes, self.0);
    }

    fn write_u8(&mut self, byte: u8) {
        self.0 = round(self.0, u64::from(byte));
    }
}

#[cfg(test)]
mod tests {
    use super::xxh64;

    #[test]
    fn known_values() {
        assert_eq!(xxh64(b""), 0xef46_db37_51d8_e999);
        assert_eq!(xxh64(b"a"), 0xd24e_c4f1_a98c_6e5b);
        assert_eq!(xxh64(b"abc"), 0x44bc_2cf5_ad77_0999);
    }
}
