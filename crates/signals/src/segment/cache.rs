//! Blocks that were read lately, bounded in bytes.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;

/// Which segment, and where in it.
type Key = (u64, u64);

#[derive(Default)]
struct Generations {
    young: HashMap<Key, Arc<[u8]>>,
    old: HashMap<Key, Arc<[u8]>>,
    young_bytes: usize,
}

/// Two generations: what is used moves to the young one, and when that is full the old one goes.
pub(crate) struct Cache {
    half: usize,
    all: Mutex<Generations>,
}

impl Cache {
    pub(crate) fn new(bytes: usize) -> Self {
        Self {
            half: bytes / 2,
            all: Mutex::default(),
        }
    }

    pub(crate) fn get(&self, key: Key) -> Option<Arc<[u8]>> {
        let mut all = self.all.lock();
        if let Some(found) = all.young.get(&key) {
            return Some(Arc::clone(found));
        }
        let found = all.old.remove(&key)?;
        all.keep(key, Arc::clone(&found), self.half);
        Some(found)
    }

    pub(crate) fn put(&self, key: Key, block: Arc<[u8]>) {
        if block.len() <= self.half {
            self.all.lock().keep(key, block, self.half);
        }
    }
}

impl Generations {
    fn keep(&mut self, key: Key, block: Arc<[u8]>, half: usize) {
        if self.young_bytes + block.len() > half {
            self.old = std::mem::take(&mut self.young);
            self.young_bytes = 0;
        }
        self.young_bytes += block.len();
        if let Some(before) = self.young.insert(key, block) {
            self.young_bytes -= before.len();
        }
    }
}
