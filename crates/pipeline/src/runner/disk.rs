//! Whether a job fills the machine's disk: a node has no control group for disk space.
//!
//! Asking the file system for its free space is cheap; the job's own files are only counted when
//! more than its limit has gone since it began, because others write too.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

// What must stay free for the rest of the machine.
const RESERVE_BYTES: u64 = 512 << 20;

pub(super) fn free_bytes(path: &Path) -> Option<u64> {
    let stat = rustix::fs::statvfs(path).ok()?;
    Some(stat.f_bavail * stat.f_frsize)
}

/// Why the job has to stop, if it has to.
pub(super) fn judge(dirs: &[PathBuf], at_start: u64, limit_bytes: u64) -> Option<String> {
    let free = free_bytes(&dirs[0])?;
    if free < RESERVE_BYTES && at_start > RESERVE_BYTES {
        return Some("the machine's disk is nearly full, so the job was stopped".into());
    }
    if limit_bytes > 0 && at_start.saturating_sub(free) > limit_bytes {
        let used: u64 = dirs.iter().map(|d| used_bytes(d)).sum();
        if used > limit_bytes {
            let limit = limit_bytes >> 20;
            return Some(format!(
                "the job wrote more than its limit of {limit} MiB to disk, so it was stopped"
            ));
        }
    }
    None
}

// Blocks of regular files below a directory, without other file systems.
fn used_bytes(dir: &Path) -> u64 {
    walkdir::WalkDir::new(dir)
        .same_file_system(true)
        .into_iter()
        .filter_map(|e| e.ok()?.metadata().ok())
        .filter(std::fs::Metadata::is_file)
        .map(|m| m.blocks() * 512)
        .sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_counts_own_files_only() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("f"), vec![1u8; 1 << 20]).unwrap();
        let dirs = [dir.path().to_path_buf()];
        let free = free_bytes(dir.path()).unwrap();
        let gone = free.saturating_add(1 << 30);
        assert!(
            judge(&dirs, gone, 1 << 16)
                .unwrap()
                .contains("limit of 0 MiB")
        );
        assert_eq!(judge(&dirs, gone, 10 << 20), None);
        assert_eq!(judge(&dirs, free, 1 << 16), None);
    }
}
