//! One log across its files, in the CRI format: time, stream, whether the line goes on, text.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Seek, SeekFrom};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// The longest line that is put together of its pieces, in bytes.
const LINE_BYTES: usize = 192 << 10;

/// How far a log was read: a file and an offset in it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) inode: u64,
    pub(super) offset: u64,
}

/// A line that was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Line {
    /// Nanoseconds since the epoch.
    pub(super) at: i64,
    /// `stdout` or `stderr`.
    pub(super) stream: &'static str,
    pub(super) text: String,
}

/// The instances of a container that have logs in a directory.
pub(super) fn attempts(dir: &Path) -> Vec<u32> {
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    entries
        .filter_map(|entry| {
            let name = entry.file_name();
            name.to_str()?.strip_suffix(".log")?.parse().ok()
        })
        .collect()
}

/// The files of a log, oldest first; the one that is written is the last.
fn files(path: &Path) -> Vec<PathBuf> {
    let name = path
        .file_name()
        .and_then(|name| name.to_str())
        .unwrap_or("");
    let prefix = format!("{name}.");
    let entries = path.parent().map(std::fs::read_dir);
    let mut older: Vec<(u64, PathBuf)> = entries
        .into_iter()
        .flatten()
        .flatten()
        .flatten()
        .filter_map(|entry| {
            let file = entry.file_name();
            let number = file.to_str()?.strip_prefix(&prefix)?.parse().ok()?;
            Some((number, entry.path()))
        })
        .collect();
    older.sort();
    let older = older.into_iter().map(|(_, path)| path);
    older.chain([path.to_path_buf()]).collect()
}

/// What is left of a log.
pub(super) struct Source {
    files: Vec<(PathBuf, Place, u64)>,
}

impl Source {
    /// A log from a place on; from its oldest file where the place is gone or none is given.
    pub(super) fn open(path: &Path, from: Option<Place>) -> io::Result<Self> {
        let mut all = Vec::new();
        for file in files(path) {
            match std::fs::metadata(&file) {
                Ok(stat) => {
                    let place = Place {
                        inode: stat.ino(),
                        offset: 0,
                    };
                    all.push((file, place, stat.len()));
                }
                // It was renamed between the two looks; the next round finds it.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        if let Some(from) = from
            && let Some(at) = all
                .iter()
                .position(|(_, place, _)| place.inode == from.inode)
        {
            all.drain(..at);
            all[0].1.offset = from.offset;
        }
        Ok(Self { files: all })
    }

    /// Whether there are bytes behind the place.
    pub(super) fn has_more(&self) -> bool {
        self.files
            .iter()
            .any(|(_, place, length)| place.offset < *length)
    }

    /// Where the next line begins.
    pub(super) fn place(&self) -> Place {
        self.files
            .first()
            .map_or_else(Place::default, |(_, place, _)| *place)
    }

    /// Lines, of so many bytes of the files.
    pub(super) fn read(&mut self, budget: usize) -> io::Result<Vec<Line>> {
        let mut out = Vec::new();
        let mut left = budget as u64;
        while let Some((path, place, length)) = self.files.first_mut() {
            let before = place.offset;
            let ended = lines(path, place, left, &mut out)?;
            left = left.saturating_sub(place.offset - before);
            if left == 0 {
                break;
            }
            // What is no whole line at the end is finished later, or never where newer files are.
            *length = place.offset;
            if !ended || self.files.len() == 1 {
                break;
            }
            self.files.remove(0);
        }
        Ok(out)
    }
}

/// Reads whole lines of one file; whether its end was reached.
fn lines(path: &Path, place: &mut Place, budget: u64, out: &mut Vec<Line>) -> io::Result<bool> {
    let mut file = File::open(path)?;
    if file.metadata()?.ino() != place.inode {
        // Renamed since: the next round knows it under its new name.
        return Ok(false);
    }
    file.seek(SeekFrom::Start(place.offset))?;
    let mut reader = BufReader::with_capacity(64 << 10, file);
    let (start, mut at) = (place.offset, place.offset);
    let mut raw = Vec::new();
    let mut whole: Option<Line> = None;
    loop {
        raw.clear();
        let length = reader.read_until(b'\n', &mut raw)?;
        if raw.last() != Some(&b'\n') {
            return Ok(true);
        }
        at += length as u64;
        raw.pop();
        if let Some((line, full)) = parse(&raw) {
            let line = match whole.take() {
                Some(mut begun) if begun.stream == line.stream => {
                    begun.text.push_str(&line.text);
                    begun
                }
                Some(begun) => {
                    out.push(begun);
                    line
                }
                None => line,
            };
            if full || line.text.len() >= LINE_BYTES {
                out.push(line);
                place.offset = at;
            } else {
                whole = Some(line);
            }
        } else if whole.is_none() {
            place.offset = at;
        }
        if place.offset - start >= budget {
            return Ok(false);
        }
    }
}

fn parse(raw: &[u8]) -> Option<(Line, bool)> {
    let mut parts = raw.splitn(4, |byte| *byte == b' ');
    let at = time(std::str::from_utf8(parts.next()?).ok()?)?;
    let stream = match parts.next()? {
        b"stdout" => "stdout",
        b"stderr" => "stderr",
        _ => return None,
    };
    let full = match parts.next()? {
        b"F" => true,
        b"P" => false,
        _ => return None,
    };
    let text = String::from_utf8_lossy(parts.next()?).into_owned();
    Some((Line { at, stream, text }, full))
}

/// RFC 3339 in UTC with a fraction.
fn time(text: &str) -> Option<i64> {
    let text = text.strip_suffix('Z')?;
    let (seconds, fraction) = text.split_once('.').unwrap_or((text, "0"));
    let seconds = towpath_stdx::clock::parse_rfc3339(&format!("{seconds}Z"))?;
    let digits = fraction.get(..fraction.len().min(9))?;
    let nanos: i64 = format!("{digits:0<9}").parse().ok()?;
    i64::try_from(seconds)
        .ok()?
        .checked_mul(1_000_000_000)?
        .checked_add(nanos)
}
