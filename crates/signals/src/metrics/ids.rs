//! A table from hashes to numbers of things that are kept elsewhere, 16 bytes an entry.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

/// The keys are hashes already.
#[derive(Default)]
pub(crate) struct Same(u64);

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

pub(crate) type Quick = BuildHasherDefault<Same>;

/// From hashes to numbers; the few hashes that several things share are in a list.
#[derive(Default)]
pub(crate) struct Ids {
    first: HashMap<u64, u32, Quick>,
    more: Vec<(u64, u32)>,
}

impl Ids {
    /// The number with this hash of which `is` holds.
    pub(crate) fn get(&self, hash: u64, is: impl Fn(u32) -> bool) -> Option<u32> {
        let first = *self.first.get(&hash)?;
        if is(first) {
            return Some(first);
        }
        let mut more = self.more.iter().filter(|(own, _)| *own == hash);
        more.find(|(_, id)| is(*id)).map(|(_, id)| *id)
    }

    pub(crate) fn insert(&mut self, hash: u64, id: u32) {
        if let Some(first) = self.first.insert(hash, id) {
            self.more.push((hash, first));
        }
    }

    pub(crate) fn remove(&mut self, hash: u64, id: u32) {
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

    pub(crate) fn bytes(&self) -> usize {
        self.first.capacity() * 17 + self.more.capacity() * 16
    }
}
