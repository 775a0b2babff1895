//! Room on the disk: writes stop while a margin is left, and a reserve file that is given back
//! then lets deletes go on.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

const RESERVE_BYTES: u64 = 4 << 20;
/// More than the log can hold before it is emptied into the database.
const MARGIN_BYTES: u64 = 6 << 20;

pub(crate) struct Space {
    directory: PathBuf,
    margin_bytes: u64,
    reserve_bytes: u64,
    refused: Option<Arc<str>>,
}

impl Space {
    /// Keeps `RESERVE_BYTES` aside where the disk has room for them.
    pub(crate) fn new(directory: &Path) -> Self {
        let total = room(directory).map_or(0, |(_, total)| total);
        // 2 % of the disk, within bounds.
        let margin_bytes = (total / 50).clamp(MARGIN_BYTES, 64 << 20);
        let reserve_bytes = RESERVE_BYTES;
        let mut space = Self {
            directory: directory.to_path_buf(),
            margin_bytes,
            reserve_bytes,
            refused: None,
        };
        space.take_back();
        space
    }

    /// Whether writes are refused now.
    pub(crate) fn is_short(&self) -> bool {
        self.refused.is_some()
    }

    /// Whether a write of about `bytes` may go ahead; else why not.
    pub(crate) fn admits(&mut self, bytes: u64) -> Result<(), Arc<str>> {
        let Some((free, _)) = room(&self.directory) else {
            return Ok(());
        };
        // After a refusal more is asked for, so that it does not flap.
        let margin = if self.refused.is_some() {
            self.margin_bytes + self.margin_bytes / 4
        } else {
            self.margin_bytes
        };
        if free >= margin + bytes {
            if self.refused.take().is_some() {
                tracing::info!(free_bytes = free, "object store takes writes again");
            }
            self.take_back();
            return Ok(());
        }
        Err(self.refuse(free))
    }

    /// Gives the reserve back to the disk, when even the margin is used up; tells whether there
    /// was one.
    pub(crate) fn release(&mut self) -> bool {
        let free = room(&self.directory).map_or(0, |(free, _)| free);
        self.refuse(free);
        std::fs::remove_file(self.file()).is_ok()
    }

    fn refuse(&mut self, free: u64) -> Arc<str> {
        if self.refused.is_none() {
            tracing::error!(
                free_bytes = free,
                margin_bytes = self.margin_bytes,
                "object store refuses writes: disk full"
            );
        }
        let why: Arc<str> = Arc::from(format!(
            "no space left: {free} bytes free on the disk of the data directory, {} are kept for deletes; free some space and writes go on by themselves",
            self.margin_bytes
        ));
        self.refused = Some(why.clone());
        if free < self.margin_bytes / 2 {
            let _ = std::fs::remove_file(self.file());
        }
        why
    }

    fn file(&self) -> PathBuf {
        self.directory.join("reserve")
    }

    fn take_back(&mut self) {
        let path = self.file();
        if path.exists()
            || room(&self.directory)
                .is_none_or(|(free, _)| free < self.margin_bytes * 2 + self.reserve_bytes)
        {
            return;
        }
        let made = OpenOptions::new()
            .create(true)
            .truncate(true)
            .write(true)
            .open(&path)
            .and_then(|f| self.fill(&f));
        if made.is_err() {
            let _ = std::fs::remove_file(&path);
        }
    }

    fn fill(&self, file: &File) -> std::io::Result<()> {
        let flags = rustix::fs::FallocateFlags::empty();
        if rustix::fs::fallocate(file, flags, 0, self.reserve_bytes).is_ok() {
            return Ok(());
        }
        let block = [0u8; 64 << 10];
        for at in (0..self.reserve_bytes).step_by(block.len()) {
            file.write_all_at(&block, at)?;
        }
        Ok(())
    }
}

fn room(directory: &Path) -> Option<(u64, u64)> {
    let stat = rustix::fs::statvfs(directory).ok()?;
    Some((stat.f_bavail * stat.f_frsize, stat.f_blocks * stat.f_frsize))
}
