//! Room on the disk: what keeps signals stops before the disk does, so that others can still write,
//! and that retention, which has to write before it frees, can go on.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

/// The share of a file system that is left free, and its bounds in bytes.
const SHARE: u64 = 33;
const LEAST: u64 = 1 << 20;
const MOST: u64 = 256 << 20;

/// The room beside the files of a store.
pub(crate) struct Room {
    dir: PathBuf,
    short: AtomicBool,
}

impl Room {
    pub(crate) fn new(dir: &Path) -> Self {
        Self {
            dir: dir.to_path_buf(),
            short: AtomicBool::new(false),
        }
    }

    /// Bytes that are free, and how many of them are kept back; none if nobody knows.
    fn free(&self) -> Option<(u64, u64)> {
        let found = rustix::fs::statvfs(&self.dir).ok()?;
        let bytes = |blocks: u64| blocks.saturating_mul(found.f_frsize);
        let kept = (bytes(found.f_blocks) / SHARE).clamp(LEAST, MOST);
        Some((bytes(found.f_bavail), kept))
    }

    /// Looks again. To be called every few seconds.
    pub(crate) fn look(&self) {
        let short = self.free().is_some_and(|(free, kept)| free < kept);
        if short != self.short.swap(short, Ordering::Relaxed) {
            let dir = self.dir.display();
            if short {
                tracing::error!(%dir, "the disk is nearly full: signals are refused");
            } else {
                tracing::info!(%dir, "there is room on the disk again");
            }
        }
    }

    /// Why nothing more is taken, if so.
    pub(crate) fn short(&self) -> Option<String> {
        if !self.short.load(Ordering::Relaxed) {
            return None;
        }
        // Somebody may have made room.
        self.look();
        let (free, kept) = self.free().filter(|(free, kept)| free < kept)?;
        Some(format!(
            "disk full: {free} bytes are free and the last {kept} are not used for signals"
        ))
    }

    /// Whether a file of so many bytes can be written.
    pub(crate) fn fits(&self, bytes: u64) -> bool {
        let fits = |(free, _): (u64, u64)| free >= bytes.saturating_add(LEAST);
        self.free().is_none_or(fits)
    }
}
