//! The log: what was taken in and is not yet elsewhere on the disk.
//!
//! It knows nothing of signals; a record is bytes. Appending puts a record into a bounded buffer
//! and returns; one thread writes the buffer and syncs the file, at the latest 50 ms after the
//! first record of a group or when 1 MiB has gathered, at once if somebody waits in
//! [`Log::sync`]. After a failed sync nothing is taken any more: the kernel may have dropped the
//! pages, so a second try could not be believed. A full disk is different: what could not be
//! written stays in the buffer, is tried again every second, and meanwhile nothing is taken.
//!
//! Files are numbered and never written again once the next one is there. Each record is framed
//! by a mark, its length and a CRC32C; on [`replay`] damage in the middle costs the damaged
//! records alone, and a torn end is cut.

mod frame;
mod log;
mod replay;

pub(crate) use frame::{FRAME, Framed, Piece, frame, records};
pub(crate) use log::{Disk, Files, Log, NotTaken};
pub(crate) use replay::replay;
pub use replay::{Damage, Replayed};

use std::path::{Path, PathBuf};

/// What a file of the log begins with.
const MAGIC: &[u8; 8] = b"TPWAL\0\0\x01";

fn path(dir: &Path, number: u64) -> PathBuf {
    dir.join(format!("{number:010}.wal"))
}

/// The numbers of the files in a directory, in order.
pub(crate) fn numbers(dir: &Path) -> std::io::Result<Vec<u64>> {
    let mut out = Vec::new();
    for entry in std::fs::read_dir(dir)? {
        let name = entry?.file_name();
        let number = name.to_str().and_then(|name| name.strip_suffix(".wal"));
        out.extend(number.and_then(|number| number.parse::<u64>().ok()));
    }
    out.sort_unstable();
    Ok(out)
}

/// Removes the files before a number.
pub(crate) fn remove_before(dir: &Path, number: u64) -> std::io::Result<()> {
    for old in numbers(dir)?.into_iter().filter(|old| *old < number) {
        std::fs::remove_file(path(dir, old))?;
    }
    Ok(())
}
