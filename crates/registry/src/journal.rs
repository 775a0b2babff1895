//! The index on disk: a journal of small records, each with a checksum, synced before it counts.
//!
//! A record is one line, `<crc32c in hex> <json>\n`. The last record may be torn by a crash: it
//! was never acknowledged and is cut off. Damage before the end is an error, not a shorter
//! index. When most records are superseded the journal is written anew beside it and renamed.

use crate::Error;
use crate::index::{Change, Index};
use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, Read, Seek, Write};
use std::path::{Path, PathBuf};

const RECORD_BYTES: u64 = 16 << 20;
// Written anew at start when it holds this many times what is live.
const SLACK: usize = 4;

pub(crate) struct Journal {
    file: File,
    path: PathBuf,
    // Set once a write failed: what the disk holds is unknown then, so nothing more is accepted
    // until the file was read again.
    broken: bool,
}

impl Journal {
    /// Opens or makes the journal and replays it.
    pub(crate) fn open(directory: &Path) -> Result<(Self, Index), Error> {
        let fail = |what| move |source| Error::Index { what, source };
        std::fs::create_dir_all(directory).map_err(fail("make the directory of"))?;
        let path = directory.join("index.journal");
        let mut file = OpenOptions::new()
            .read(true)
            .append(true)
            .create(true)
            .open(&path)
            .map_err(fail("open"))?;
        let (index, records, good) = replay(&mut file)?;
        if file.metadata().map_err(fail("read"))?.len() > good {
            file.set_len(good).map_err(fail("cut"))?;
        }
        // What was recovered may exist only in the page cache.
        file.sync_all().map_err(fail("sync"))?;
        sync_directory(directory).map_err(fail("sync"))?;
        let mut journal = Self {
            file,
            path,
            broken: false,
        };
        let live = index.snapshot();
        if records > 1000 && records > live.len() * SLACK {
            journal.rewrite(&live).map_err(fail("rewrite"))?;
        }
        Ok((journal, index))
    }

    /// Makes changes durable as one record: all of them or none.
    pub(crate) fn append(&mut self, changes: &[Change]) -> Result<(), Error> {
        let fail = |source| Error::Index {
            what: "write",
            source,
        };
        if self.broken {
            return Err(fail(io::Error::other(
                "an earlier write failed; restart to recover",
            )));
        }
        let before = self
            .file
            .stream_position()
            .and_then(|_| self.file.metadata())
            .map_err(fail)?
            .len();
        let written = self
            .file
            .write_all(&line(changes))
            .and_then(|()| self.file.sync_data());
        if let Err(source) = written {
            // A full disk leaves half a line: take it back, so that later deletes can go on.
            let undone = self
                .file
                .set_len(before)
                .and_then(|()| self.file.sync_data());
            self.broken = undone.is_err();
            return Err(fail(source));
        }
        Ok(())
    }

    fn rewrite(&mut self, live: &[Change]) -> io::Result<()> {
        let beside = self.path.with_extension("new");
        let mut file = File::create(&beside)?;
        for changes in live.chunks(256) {
            file.write_all(&line(changes))?;
        }
        file.sync_all()?;
        std::fs::rename(&beside, &self.path)?;
        if let Some(directory) = self.path.parent() {
            sync_directory(directory)?;
        }
        self.file = OpenOptions::new()
            .read(true)
            .append(true)
            .open(&self.path)?;
        Ok(())
    }
}

fn sync_directory(directory: &Path) -> io::Result<()> {
    File::open(directory)?.sync_all()
}

fn line(changes: &[Change]) -> Vec<u8> {
    let json = serde_json::to_string(changes).expect("plain data with string keys");
    format!("{:08x} {json}\n", crc32c::crc32c(json.as_bytes())).into_bytes()
}

fn parse(line: &[u8]) -> Option<Vec<Change>> {
    let text = std::str::from_utf8(line.strip_suffix(b"\n")?).ok()?;
    let (crc, json) = text.split_once(' ')?;
    let crc = u32::from_str_radix(crc, 16).ok()?;
    if crc != crc32c::crc32c(json.as_bytes()) {
        return None;
    }
    serde_json::from_str(json).ok()
}

// The index, the number of records, and the length of the part that is whole.
fn replay(file: &mut File) -> Result<(Index, usize, u64), Error> {
    let fail = |source| Error::Index {
        what: "read",
        source,
    };
    file.rewind().map_err(fail)?;
    let mut reader = BufReader::new(file);
    let (mut index, mut records, mut good) = (Index::default(), 0, 0u64);
    let mut line = Vec::new();
    loop {
        line.clear();
        let count = (&mut reader)
            .take(RECORD_BYTES)
            .read_until(b'\n', &mut line)
            .map_err(fail)? as u64;
        if count == 0 {
            return Ok((index, records, good));
        }
        let Some(changes) = parse(&line) else {
            // Torn only if nothing follows.
            return if reader.fill_buf().map_err(fail)?.is_empty() {
                Ok((index, records, good))
            } else {
                Err(Error::Damaged(good))
            };
        };
        for change in changes {
            index.apply(change, 0);
        }
        records += 1;
        good += count;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::index::Listed;

    fn put(repository: &str, n: usize) -> Change {
        Change::Manifest {
            repository: repository.into(),
            digest: format!("sha256:{n:064x}"),
            listed: Listed {
                media_type: "m".into(),
                bytes: 1,
                ..Listed::default()
            },
        }
    }

    #[test]
    fn a_torn_end_is_cut_and_damage_before_it_is_an_error() {
        let dir = tempfile::tempdir().expect("dir");
        {
            let (mut journal, _) = Journal::open(dir.path()).expect("open");
            for n in 0..3 {
                journal.append(&[put("a/b", n)]).expect("append");
            }
        }
        let path = dir.path().join("index.journal");
        let whole = std::fs::read(&path).expect("read");
        for cut in 1..line(&[put("a/b", 2)]).len() {
            std::fs::write(&path, &whole[..whole.len() - cut]).expect("write");
            let (mut journal, index) = Journal::open(dir.path()).expect("open");
            assert_eq!(
                index.repository("a/b").expect("repository").manifests.len(),
                2
            );
            journal.append(&[put("a/b", 2)]).expect("append");
            assert_eq!(std::fs::read(&path).expect("read"), whole);
        }
        let mut damaged = whole.clone();
        damaged[20] ^= 1;
        std::fs::write(&path, damaged).expect("write");
        assert!(matches!(Journal::open(dir.path()), Err(Error::Damaged(0))));
    }

    #[test]
    fn superseded_records_are_dropped_at_start() {
        let dir = tempfile::tempdir().expect("dir");
        {
            let (mut journal, _) = Journal::open(dir.path()).expect("open");
            let tag = |n: usize| Change::Tag {
                repository: "a".into(),
                tag: "t".into(),
                digest: format!("sha256:{n:064x}"),
            };
            let all: Vec<Change> = (0..2).map(|n| put("a", n)).collect();
            journal.append(&all).expect("append");
            for n in 0..1200 {
                // Without a sync each: only the number of records matters here.
                journal.file.write_all(&line(&[tag(n % 2)])).expect("write");
            }
        }
        drop(Journal::open(dir.path()).expect("open"));
        let (_, index) = Journal::open(dir.path()).expect("open");
        assert!(
            std::fs::metadata(dir.path().join("index.journal"))
                .expect("stat")
                .len()
                < 2000
        );
        assert_eq!(
            index.repository("a").expect("repository").tags["t"],
            format!("sha256:{:064x}", 1)
        );
    }
}
