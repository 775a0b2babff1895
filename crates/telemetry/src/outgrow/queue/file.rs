//! Files of a queue: a magic number, then records, each behind a head of length, items and a
//! checksum over head and record.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use super::RECORD_BYTES;

pub(super) const MAGIC: &[u8; 8] = b"TPOUT\0\0\x01";
pub(super) const HEAD: usize = 12;

/// What stands before a record.
pub(super) struct Head {
    pub(super) length: usize,
    pub(super) items: u32,
    pub(super) sum: u32,
}

pub(super) fn head(bytes: &[u8; HEAD]) -> Head {
    let number =
        |at: usize| u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
    Head {
        length: number(0) as usize,
        items: number(4),
        sum: number(8),
    }
}

pub(super) fn sum(head: &[u8; HEAD], record: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(&head[..8]), record)
}

/// A record with its head.
pub(super) fn frame(record: &[u8], items: u32) -> Vec<u8> {
    let mut head = [0; HEAD];
    head[..4].copy_from_slice(&(record.len() as u32).to_le_bytes());
    head[4..8].copy_from_slice(&items.to_le_bytes());
    let sum = sum(&head, record);
    head[8..].copy_from_slice(&sum.to_le_bytes());
    let mut out = Vec::with_capacity(HEAD + record.len());
    out.extend_from_slice(&head);
    out.extend_from_slice(record);
    out
}

/// The numbers of the files of a queue, in order.
pub(super) fn numbers(dir: &Path) -> io::Result<Vec<u64>> {
    let mut out = Vec::new();
    for entry in std::fs::read_dir(dir)? {
        let name = entry?.file_name();
        let number = name.to_str().and_then(|name| name.strip_suffix(".queue"));
        out.extend(number.and_then(|number| number.parse::<u64>().ok()));
    }
    out.sort_unstable();
    Ok(out)
}

/// What a file holds.
pub(super) struct Found {
    pub(super) bytes: u64,
    pub(super) items: u64,
}

/// Counts the items behind an offset by their heads. Of the last file, which may end in a record
/// that was being written, what is not whole is cut off.
pub(super) fn scan(path: &Path, from: u64, last: bool) -> io::Result<Found> {
    let file = OpenOptions::new().read(true).write(last).open(path)?;
    let length = file.metadata()?.len();
    let (mut at, mut items) = (MAGIC.len() as u64, 0);
    while at + HEAD as u64 <= length {
        let mut bytes = [0; HEAD];
        file.read_exact_at(&mut bytes, at)?;
        let head = head(&bytes);
        let end = at + (HEAD + head.length) as u64;
        if head.length > RECORD_BYTES || end > length || (last && !whole(&file, at, &bytes)?) {
            break;
        }
        if at >= from {
            items += u64::from(head.items);
        }
        at = end;
    }
    if last && at < length {
        file.set_len(at.min(length))?;
        return Ok(Found {
            bytes: at.min(length),
            items,
        });
    }
    Ok(Found {
        bytes: length,
        items,
    })
}

fn whole(file: &File, at: u64, bytes: &[u8; HEAD]) -> io::Result<bool> {
    let head = head(bytes);
    let mut record = vec![0; head.length];
    file.read_exact_at(&mut record, at + HEAD as u64)?;
    Ok(sum(bytes, &record) == head.sum)
}
