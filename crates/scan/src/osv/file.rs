//! The compiled file: header, records sorted by key, index of their offsets at the end.
//!
//! `TPOSV001`, number of records u64, offset of the index u64, SHA-256 of the index (32 bytes);
//! then records: length of key u32, length of value u32, key (`ecosystem NUL name`), value (JSON
//! list of advisories); then the index: one u64 per record. All little-endian.

use super::{Advisory, Error};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufWriter, Seek, SeekFrom, Write};
use std::os::unix::fs::FileExt;
use std::path::Path;

const MAGIC: &[u8; 8] = b"TPOSV001";
const HEADER_BYTES: u64 = 56;
const LIMIT_KEY_BYTES: usize = 4096;
const LIMIT_VALUE_BYTES: usize = 64 << 20;

/// Writes a database next to its place and moves it there.
pub(super) fn write(path: &Path, records: &BTreeMap<String, Vec<Advisory>>) -> Result<(), Error> {
    let temporary = path.with_extension("partial");
    let wrap = || Error::io(format!("write {}", temporary.display()));
    if let Some(parent) = path.parent() {
        std::fs::create_dir_all(parent)
            .map_err(Error::io(format!("create {}", parent.display())))?;
    }
    let mut out = BufWriter::new(File::create(&temporary).map_err(wrap())?);
    out.write_all(&[0u8; HEADER_BYTES as usize])
        .map_err(wrap())?;
    let mut offset = HEADER_BYTES;
    let mut index = Vec::with_capacity(records.len() * 8);
    for (key, advisories) in records {
        let value = serde_json::to_vec(advisories)
            .map_err(|e| Error::Format(format!("encode {key:?}: {e}")))?;
        index.extend_from_slice(&offset.to_le_bytes());
        for part in [
            &(key.len() as u32).to_le_bytes()[..],
            &(value.len() as u32).to_le_bytes(),
            key.as_bytes(),
            &value,
        ] {
            out.write_all(part).map_err(wrap())?;
            offset += part.len() as u64;
        }
    }
    out.write_all(&index).map_err(wrap())?;
    let mut file = out.into_inner().map_err(|e| wrap()(e.into_error()))?;
    file.seek(SeekFrom::Start(0)).map_err(wrap())?;
    let mut header = MAGIC.to_vec();
    header.extend_from_slice(&(records.len() as u64).to_le_bytes());
    header.extend_from_slice(&offset.to_le_bytes());
    header.extend_from_slice(&Sha256::digest(&index));
    file.write_all(&header).map_err(wrap())?;
    file.sync_all().map_err(wrap())?;
    std::fs::rename(&temporary, path)
        .map_err(Error::io(format!("move {} to its place", path.display())))
}

/// A compiled database, searched on disk.
#[derive(Debug)]
pub struct Database {
    file: File,
    path: String,
    count: u64,
    index: u64,
}

impl Database {
    /// Opens a file; a damaged one is refused.
    pub fn open(path: &Path) -> Result<Self, Error> {
        let name = path.display().to_string();
        let file = File::open(path).map_err(Error::io(format!("open {name}")))?;
        let bad = |what: &str| Error::Format(format!("{name} {what}: import the database again"));
        let length = file
            .metadata()
            .map_err(Error::io(format!("read {name}")))?
            .len();
        let mut header = [0u8; HEADER_BYTES as usize];
        file.read_exact_at(&mut header, 0)
            .map_err(|_| bad("is too short"))?;
        if &header[..8] != MAGIC {
            return Err(bad("is no vulnerability database of this version"));
        }
        let number =
            |at: usize| u64::from_le_bytes(header[at..at + 8].try_into().unwrap_or_default());
        let (count, index) = (number(8), number(16));
        if count.checked_mul(8).and_then(|n| n.checked_add(index)) != Some(length) {
            return Err(bad("is cut short"));
        }
        let mut hash = Sha256::new();
        let mut buffer = vec![0u8; 64 << 10];
        let mut at = index;
        while at < length {
            let n = buffer.len().min((length - at) as usize);
            file.read_exact_at(&mut buffer[..n], at)
                .map_err(Error::io(format!("read {name}")))?;
            hash.update(&buffer[..n]);
            at += n as u64;
        }
        if hash.finalize()[..] != header[24..56] {
            return Err(bad("is damaged"));
        }
        Ok(Self {
            file,
            path: name,
            count,
            index,
        })
    }

    /// Number of packages that have advisories.
    pub fn len(&self) -> u64 {
        self.count
    }

    /// Whether there is no advisory at all.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Advisories about a package. An ecosystem without a release (`Debian`) is looked up as it
    /// is written in the database.
    pub fn advisories(&self, ecosystem: &str, name: &str) -> Result<Vec<Advisory>, Error> {
        let key = key(ecosystem, name);
        let (mut low, mut high) = (0, self.count);
        while low < high {
            let middle = low + (high - low) / 2;
            let (found, value) = self.record(middle)?;
            match found.as_str().cmp(&key) {
                std::cmp::Ordering::Less => low = middle + 1,
                std::cmp::Ordering::Greater => high = middle,
                std::cmp::Ordering::Equal => return self.value(value),
            }
        }
        Ok(Vec::new())
    }

    // Key of a record, and where its value is.
    fn record(&self, number: u64) -> Result<(String, (u64, usize)), Error> {
        let mut offset = [0u8; 8];
        self.read(&mut offset, self.index + number * 8)?;
        let offset = u64::from_le_bytes(offset);
        let mut lengths = [0u8; 8];
        self.read(&mut lengths, offset)?;
        let key_bytes =
            u32::from_le_bytes([lengths[0], lengths[1], lengths[2], lengths[3]]) as usize;
        let value_bytes =
            u32::from_le_bytes([lengths[4], lengths[5], lengths[6], lengths[7]]) as usize;
        if key_bytes > LIMIT_KEY_BYTES || value_bytes > LIMIT_VALUE_BYTES {
            return Err(Error::Format(format!(
                "{} is damaged: import the database again",
                self.path
            )));
        }
        let mut key = vec![0u8; key_bytes];
        self.read(&mut key, offset + 8)?;
        Ok((
            String::from_utf8_lossy(&key).into_owned(),
            (offset + 8 + key_bytes as u64, value_bytes),
        ))
    }

    fn value(&self, (offset, bytes): (u64, usize)) -> Result<Vec<Advisory>, Error> {
        let mut value = vec![0u8; bytes];
        self.read(&mut value, offset)?;
        serde_json::from_slice(&value)
            .map_err(|e| Error::Format(format!("{} is damaged: {e}", self.path)))
    }

    fn read(&self, buffer: &mut [u8], at: u64) -> Result<(), Error> {
        self.file
            .read_exact_at(buffer, at)
            .map_err(Error::io(format!("read {}", self.path)))
    }
}

pub(super) fn key(ecosystem: &str, name: &str) -> String {
    format!("{ecosystem}\0{name}")
}
