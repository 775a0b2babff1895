//! How much room the disk of the data directory has, and what follows from it.
//!
//! A share alone would call a large disk full that has room for hundreds of images, and an amount
//! alone a small one that nobody filled: both must be short.

use std::path::Path;

const GIB: u64 = 1 << 30;

/// Bytes of a file system.
#[derive(Clone, Copy)]
pub(crate) struct Disk {
    /// Free for others than root.
    free: u64,
    /// In all.
    pub(crate) total: u64,
}

impl Disk {
    /// The disk of a directory; `None` where it cannot be asked.
    pub(crate) fn of(dir: &Path) -> Option<Self> {
        let stat = rustix::fs::statvfs(dir).ok()?;
        Some(Self {
            free: stat.f_bavail.saturating_mul(stat.f_frsize),
            total: stat.f_blocks.saturating_mul(stat.f_frsize),
        })
    }

    /// Images that no pod uses have to go.
    pub(crate) fn crowded(self) -> bool {
        self.free < self.total / 5
    }

    /// No new pods: less than 5 % and less than 2 GiB are free.
    pub(crate) fn pressed(self) -> bool {
        self.free < (self.total / 20).min(2 * GIB)
    }

    /// A pod has to go: less than 3 % and less than 1 GiB are free.
    pub(crate) fn full(self) -> bool {
        self.free < (self.total / 33).min(GIB)
    }
}

#[cfg(test)]
mod tests {
    use super::{Disk, GIB};

    #[test]
    fn a_large_disk_is_pressed_by_amount_and_a_small_one_by_share() {
        let disk = |free, total| Disk { free, total };
        assert!(!disk(12 * GIB, 252 * GIB).pressed());
        assert!(disk(2 * GIB - 1, 252 * GIB).pressed());
        assert!(!disk(GIB, 10 * GIB).pressed());
        assert!(disk(GIB / 4, 10 * GIB).pressed());
        assert!(!disk(GIB, 252 * GIB).full());
        assert!(disk(GIB - 1, 252 * GIB).full());
        assert!(disk(GIB, 10 * GIB).crowded());
    }
}
