//! Hashes of what comes from outside, with a secret of this process, so that nobody can choose
//! texts that fall together; and tables for what is hashed already. Eight bytes at a time, since
//! every series, label and line that comes in goes through here.

use std::collections::HashMap;
use std::hash::{BuildHasher, BuildHasherDefault, Hasher, RandomState};

/// The secret.
#[derive(Clone, Copy, Debug)]
pub struct Fingerprint {
    seeds: [u64; 2],
    /// Odd, so that multiplying takes nothing away.
    factors: [u64; 2],
}

impl Default for Fingerprint {
    fn default() -> Self {
        let random = RandomState::new();
        Self {
            seeds: [random.hash_one(1), random.hash_one(2)],
            factors: [random.hash_one(3) | 1, random.hash_one(4) | 1],
        }
    }
}

/// Every bit of both in every bit of the outcome.
#[inline(always)]
fn mix(state: u64, word: u64, factor: u64) -> u64 {
    let wide = u128::from(state ^ word) * u128::from(factor);
    wide as u64 ^ (wide >> 64) as u64
}

/// The words of a text, its length last: where a text ends counts.
#[inline(always)]
fn words(bytes: &[u8], mut each: impl FnMut(u64)) {
    let (words, rest) = bytes.as_chunks::<8>();
    for word in words {
        each(u64::from_le_bytes(*word));
    }
    let mut last = [0; 8];
    last[..rest.len()].copy_from_slice(rest);
    each(u64::from_le_bytes(last));
    each(bytes.len() as u64);
}

impl Fingerprint {
    /// 64 bits: two lists of texts that share them have to be told apart.
    #[inline]
    pub fn of<'t>(&self, texts: impl IntoIterator<Item = &'t [u8]>) -> u64 {
        let mut state = self.seeds[0];
        for text in texts {
            words(text, |word| state = mix(state, word, self.factors[0]));
        }
        state
    }

    /// 96 bits: nobody who does not know the secret finds two lists of texts that share them, and
    /// by chance a billion lists do not.
    #[inline]
    pub fn wide<'t>(&self, texts: impl IntoIterator<Item = &'t [u8]>) -> Wide {
        let [mut first, mut second] = self.seeds;
        for text in texts {
            // Both in one walk: each waits for its own outcome alone.
            words(text, |word| {
                first = mix(first, word, self.factors[0]);
                second = mix(second, word, self.factors[1]);
            });
        }
        Wide(first, (second >> 32) as u32)
    }
}

/// A fingerprint that stands for what it was taken of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(Rust, packed(4))]
pub struct Wide(u64, u32);

impl std::hash::Hash for Wide {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.0);
    }
}

/// Hashes of what is a hash already, or a number in a row.
#[derive(Debug, Default)]
pub struct Same(u64);

impl Hasher for Same {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }

    fn write_u64(&mut self, value: u64) {
        self.0 = value;
    }

    fn write_u32(&mut self, value: u32) {
        // Numbers in a row must not fall into one bucket.
        self.0 = u64::from(value).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }
}

/// For maps and sets whose keys are hashes, or numbers in a row.
pub type Quick = BuildHasherDefault<Same>;

/// From hashes to numbers of things that are kept elsewhere, 16 bytes an entry; the few hashes
/// that several things share are in a list.
#[derive(Debug, Default)]
pub struct Ids {
    first: HashMap<u64, u32, Quick>,
    more: Vec<(u64, u32)>,
}

impl Ids {
    /// Makes room for so many more.
    pub fn reserve(&mut self, more: usize) {
        self.first.reserve(more);
    }

    /// The number with this hash of which `is` holds.
    pub fn get(&self, hash: u64, is: impl Fn(u32) -> bool) -> Option<u32> {
        let first = *self.first.get(&hash)?;
        if is(first) {
            return Some(first);
        }
        let mut more = self.more.iter().filter(|(own, _)| *own == hash);
        more.find(|(_, id)| is(*id)).map(|(_, id)| *id)
    }

    /// Adds a number.
    pub fn insert(&mut self, hash: u64, id: u32) {
        if let Some(first) = self.first.insert(hash, id) {
            self.more.push((hash, first));
        }
    }

    /// Removes a number, if it is there with this hash.
    pub fn remove(&mut self, hash: u64, id: u32) {
        if let Some(at) = self.more.iter().position(|entry| *entry == (hash, id)) {
            self.more.swap_remove(at);
        } else if self.first.get(&hash) == Some(&id) {
            self.first.remove(&hash);
            if let Some(at) = self.more.iter().position(|(own, _)| *own == hash) {
                let (hash, id) = self.more.swap_remove(at);
                self.first.insert(hash, id);
            }
        }
    }

    /// What it takes in memory, in bytes.
    pub fn bytes(&self) -> usize {
        self.first.capacity() * 17 + self.more.capacity() * 16
    }
}

#[cfg(test)]
mod tests {
    use super::{Fingerprint, Ids};

    #[test]
    fn texts_differ() {
        let own = Fingerprint::default();
        let texts: [&[u8]; 6] = [b"", b"a", b"a\0", b"12345678", b"12345678\0", b"123456781"];
        for (at, one) in texts.iter().enumerate() {
            for (other_at, other) in texts.iter().enumerate() {
                assert_eq!(own.of([*one]) == own.of([*other]), at == other_at);
                assert_eq!(own.wide([*one]) == own.wide([*other]), at == other_at);
            }
        }
        assert_ne!(own.of([&b"ab"[..], b"c"]), own.of([&b"a"[..], b"bc"]));
    }

    #[test]
    fn what_shares_a_hash_is_told_apart() {
        let mut ids = Ids::default();
        for id in [1, 2, 3] {
            ids.insert(7, id);
        }
        for id in [1, 2, 3] {
            assert_eq!(ids.get(7, |own| own == id), Some(id));
        }
        ids.remove(7, 3);
        ids.remove(7, 9);
        assert_eq!(ids.get(7, |own| own == 3), None);
        assert_eq!(ids.get(7, |own| own == 1), Some(1));
        ids.remove(7, 1);
        ids.remove(7, 2);
        assert_eq!(ids.get(7, |_| true), None);
    }
}
