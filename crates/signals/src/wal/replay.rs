//! Reading the log back.

use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::path::Path;

use super::frame::{Piece, records};
use super::{MAGIC, numbers, path};

/// The largest file that is read; the writer makes none near it.
const MAX_FILE: u64 = 256 << 20;

/// Bytes of the log that are no records.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage {
    /// The file.
    pub file: String,
    /// From where.
    pub offset: u64,
    /// How many.
    pub bytes: u64,
}

/// How a replay went.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Replayed {
    /// Files read.
    pub files: u64,
    /// Records read.
    pub records: u64,
    /// Bytes read.
    pub bytes: u64,
    /// Bytes cut from the end, where the last write was torn.
    pub cut: u64,
    /// Damage elsewhere: what was there is lost.
    pub damage: Vec<Damage>,
}

/// The most places of damage that are told.
const TOLD: usize = 1000;

/// Gives every record of the files from number `from` on to `apply`, in order. The torn end of
/// the last file is cut off.
///
/// # Errors
/// A file cannot be read.
pub(crate) fn replay(dir: &Path, from: u64, mut apply: impl FnMut(&[u8])) -> io::Result<Replayed> {
    let mut done = Replayed::default();
    let all: Vec<u64> = numbers(dir)?.into_iter().filter(|n| *n >= from).collect();
    // One for all files.
    let mut bytes = Vec::new();
    for number in &all {
        let last = all.last() == Some(number);
        let path = path(dir, *number);
        bytes.clear();
        File::open(&path)?.take(MAX_FILE).read_to_end(&mut bytes)?;
        done.files += 1;
        done.bytes += bytes.len() as u64;
        let start = if bytes.starts_with(MAGIC) {
            MAGIC.len()
        } else {
            0
        };
        let mut end = start;
        for piece in records(&bytes[start..]) {
            match piece {
                Piece::Record(record) => {
                    apply(record);
                    done.records += 1;
                    end = start + (record.as_ptr() as usize - bytes[start..].as_ptr() as usize);
                    end += record.len();
                }
                Piece::Damaged {
                    offset,
                    bytes: lost,
                } => {
                    let offset = start + offset;
                    if last && offset + lost == bytes.len() {
                        continue;
                    }
                    if done.damage.len() < TOLD {
                        done.damage.push(Damage {
                            file: path.display().to_string(),
                            offset: offset as u64,
                            bytes: lost as u64,
                        });
                    }
                }
            }
        }
        if last && end < bytes.len() {
            done.cut = (bytes.len() - end) as u64;
            let file = OpenOptions::new().write(true).open(&path)?;
            file.set_len(end as u64)?;
            file.sync_all()?;
        }
    }
    Ok(done)
}
