//! How many bytes of the disk retention and deletion have freed.

use std::sync::atomic::{AtomicU64, Ordering};

/// Why bytes were freed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reason {
    Retention,
    Size,
    Deleted,
}

/// Bytes freed since the store was opened.
#[derive(Default)]
pub(crate) struct Freed([AtomicU64; 3]);

impl Freed {
    pub(crate) fn add(&self, reason: Reason, bytes: i64) {
        let bytes = u64::try_from(bytes).unwrap_or(0);
        self.0[reason as usize].fetch_add(bytes, Ordering::Relaxed);
    }

    pub(crate) fn told(&self) -> [(&'static str, u64); 3] {
        let one = |name, reason: Reason| (name, self.0[reason as usize].load(Ordering::Relaxed));
        [
            one("retention", Reason::Retention),
            one("size", Reason::Size),
            one("deleted", Reason::Deleted),
        ]
    }
}
