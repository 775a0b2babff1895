//! What waits to be sent, on the disk: numbered files of framed records and a note of how far they
//! were sent.
//!
//! A record is in the kernel's hands when [`Queue::push`] returns, so that it outlives this
//! process; [`Queue::settle`] brings it to the disk. Sent records are sent again after a crash
//! that came before the note: at least once. The bytes of all files are bounded. What happens at
//! the bound is stated: the oldest file goes and what was in it is counted, or nothing more is
//! taken.

mod file;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use parking_lot::Mutex;
use tokio::sync::Notify;

use file::{HEAD, MAGIC, frame, head, numbers, scan, sum};

use super::settings::WhenFull;

/// The largest record, in bytes.
pub(crate) const RECORD_BYTES: usize = 16 << 20;
/// A file is closed at this length at the latest.
const FILE_BYTES: u64 = 16 << 20;
/// So many files make up the bound.
const FILES: u64 = 16;

/// Nothing more is taken.
#[derive(Debug, thiserror::Error)]
pub(crate) enum QueueError {
    /// The bound is reached.
    #[error("the queue of {name} is full: {limit} bytes wait to be sent")]
    Full {
        /// Of which mirror.
        name: String,
        /// The bound.
        limit: u64,
    },
    /// The disk does not take it.
    #[error("write the queue of {name}")]
    Io {
        /// Of which mirror.
        name: String,
        /// Why.
        #[source]
        source: io::Error,
    },
}

/// A place between two records.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Place {
    number: u64,
    offset: u64,
}

/// Records to be sent.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    pub(crate) records: Vec<Vec<u8>>,
    pub(crate) items: u64,
    /// What is sent when it was.
    upto: Place,
    /// Items by file.
    parts: Vec<(u64, u64)>,
}

/// One file.
#[derive(Debug)]
struct Segment {
    number: u64,
    bytes: u64,
    /// Items in it that are not sent.
    items: u64,
}

/// How a queue stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Waiting {
    /// Bytes of its files.
    pub(crate) bytes: u64,
    /// The bound.
    pub(crate) limit: u64,
    /// Samples, lines or spans that wait.
    pub(crate) items: u64,
    /// Of those, how many were dropped since the start.
    pub(crate) dropped: u64,
}

struct State {
    segments: VecDeque<Segment>,
    writer: Option<File>,
    sent: Place,
    bytes: u64,
    items: u64,
    dropped: u64,
    dirty: bool,
}

/// A queue on the disk.
pub(crate) struct Queue {
    name: String,
    dir: PathBuf,
    limit: u64,
    when_full: WhenFull,
    state: Mutex<State>,
    pub(crate) more: Notify,
}

impl Queue {
    /// Opens the queue in a directory, which is made where it is missing.
    pub(crate) fn open(
        dir: &Path,
        name: &str,
        limit: u64,
        when_full: WhenFull,
    ) -> io::Result<Self> {
        std::fs::create_dir_all(dir)?;
        let mut sent = read_place(dir)?;
        let mut segments = VecDeque::new();
        let (mut bytes, mut items) = (0, 0);
        let all = numbers(dir)?;
        for number in &all {
            let path = path(dir, *number);
            if *number < sent.number {
                std::fs::remove_file(path)?;
                continue;
            }
            let from = match *number == sent.number {
                true => sent.offset,
                false => 0,
            };
            let found = scan(&path, from, all.last() == Some(number))?;
            bytes += found.bytes;
            items += found.items;
            segments.push_back(Segment {
                number: *number,
                bytes: found.bytes,
                items: found.items,
            });
        }
        // A number is never used twice: the note may be of a file that is gone.
        let last = segments.back().map_or(sent.number, |last| last.number);
        if segments.is_empty() {
            sent = Place {
                number: last + 1,
                offset: 0,
            };
        }
        let state = State {
            segments,
            writer: None,
            sent,
            bytes,
            items,
            dropped: 0,
            dirty: false,
        };
        Ok(Self {
            name: name.to_owned(),
            dir: dir.to_owned(),
            limit,
            when_full,
            state: Mutex::new(state),
            more: Notify::new(),
        })
    }

    /// How it stands.
    pub(crate) fn waiting(&self) -> Waiting {
        let state = self.state.lock();
        Waiting {
            bytes: state.bytes,
            limit: self.limit,
            items: state.items,
            dropped: state.dropped,
        }
    }

    /// Whether something is taken now.
    pub(crate) fn room(&self) -> Result<(), QueueError> {
        let state = self.state.lock();
        match self.when_full == WhenFull::Refuse && state.bytes >= self.limit {
            true => Err(self.full()),
            false => Ok(()),
        }
    }

    fn full(&self) -> QueueError {
        QueueError::Full {
            name: self.name.clone(),
            limit: self.limit,
        }
    }

    /// Takes a record that stands for so many samples, lines or spans.
    ///
    /// Where nothing may be refused, a record of a caller that has already taken what is in it is
    /// taken beyond the bound of a queue that refuses: [`Queue::room`] is asked before.
    pub(crate) fn push(&self, record: &[u8], items: u32) -> Result<(), QueueError> {
        let framed = frame(record, items);
        let size = framed.len() as u64;
        let mut state = self.state.lock();
        if record.len() > RECORD_BYTES || size > self.limit {
            state.dropped += u64::from(items);
            return Err(self.full());
        }
        while self.when_full == WhenFull::DropOldest && state.bytes + size > self.limit {
            if !self.drop_oldest(&mut state) {
                break;
            }
        }
        if let Err(source) = self.write(&mut state, &framed, items) {
            state.dropped += u64::from(items);
            return Err(QueueError::Io {
                name: self.name.clone(),
                source,
            });
        }
        drop(state);
        self.more.notify_one();
        Ok(())
    }

    fn write(&self, state: &mut State, framed: &[u8], items: u32) -> io::Result<()> {
        let most = (self.limit / FILES).clamp(1 << 16, FILE_BYTES);
        let old = state.segments.back();
        let fresh = state.writer.is_none() || old.is_none_or(|old| old.bytes >= most);
        if fresh {
            let last = old.map_or(state.sent.number, |old| old.number + 1);
            let number = last.max(state.sent.number);
            let mut file = OpenOptions::new()
                .write(true)
                .create_new(true)
                .open(path(&self.dir, number))?;
            file.write_all(MAGIC)?;
            state.writer = Some(file);
            state.bytes += MAGIC.len() as u64;
            state.segments.push_back(Segment {
                number,
                bytes: MAGIC.len() as u64,
                items: 0,
            });
        }
        let (Some(file), Some(segment)) = (&mut state.writer, state.segments.back_mut()) else {
            return Err(io::Error::other("no file is open"));
        };
        if let Err(error) = file.write_all_at(framed, segment.bytes) {
            // What is half there is cut off; if not even that can be done, nothing follows it.
            if file.set_len(segment.bytes).is_err() {
                state.writer = None;
            }
            return Err(error);
        }
        segment.bytes += framed.len() as u64;
        segment.items += u64::from(items);
        state.bytes += framed.len() as u64;
        state.items += u64::from(items);
        state.dirty = true;
        Ok(())
    }

    /// Takes the oldest file away; false where there is none.
    fn drop_oldest(&self, state: &mut State) -> bool {
        let Some(oldest) = state.segments.pop_front() else {
            return false;
        };
        if state.segments.is_empty() {
            state.writer = None;
        }
        let _ = std::fs::remove_file(path(&self.dir, oldest.number));
        state.bytes -= oldest.bytes;
        state.items -= oldest.items;
        state.dropped += oldest.items;
        let next = Place {
            number: oldest.number + 1,
            offset: 0,
        };
        state.sent = state.sent.max(next);
        true
    }

    /// The next records, at most about so many items and bytes; at least one where one waits.
    pub(crate) fn next(&self, max_items: u64, max_bytes: usize) -> io::Result<Batch> {
        let (start, files) = {
            let state = self.state.lock();
            let files: Vec<(u64, u64)> =
                state.segments.iter().map(|s| (s.number, s.bytes)).collect();
            (state.sent, files)
        };
        let mut batch = Batch {
            upto: start,
            ..Batch::default()
        };
        let mut size = 0;
        for (number, end) in files {
            if number < start.number {
                continue;
            }
            let file = match File::open(path(&self.dir, number)) {
                Ok(file) => file,
                // It was dropped meanwhile.
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => return Err(error),
            };
            let mut offset = match number == start.number {
                true => start.offset.max(MAGIC.len() as u64),
                false => MAGIC.len() as u64,
            };
            let mut items = 0;
            while offset + HEAD as u64 <= end {
                let full = batch.items >= max_items || size >= max_bytes;
                if full && !batch.records.is_empty() {
                    break;
                }
                let mut bytes = [0; HEAD];
                file.read_exact_at(&mut bytes, offset)?;
                let head = head(&bytes);
                let fits =
                    head.length <= RECORD_BYTES && offset + (HEAD + head.length) as u64 <= end;
                let mut record = vec![0; if fits { head.length } else { 0 }];
                if fits {
                    file.read_exact_at(&mut record, offset + HEAD as u64)?;
                }
                if !fits || sum(&bytes, &record) != head.sum {
                    self.damaged(number, items);
                    offset = end;
                    break;
                }
                offset += (HEAD + record.len()) as u64;
                items += u64::from(head.items);
                batch.items += u64::from(head.items);
                size += record.len();
                batch.records.push(record);
            }
            batch.upto = Place { number, offset };
            batch.parts.push((number, items));
            let full = batch.items >= max_items || size >= max_bytes;
            if offset < end || (full && !batch.records.is_empty()) {
                break;
            }
        }
        Ok(batch)
    }

    /// What follows in a file cannot be read: it counts as dropped.
    fn damaged(&self, number: u64, read: u64) {
        let mut state = self.state.lock();
        let Some(segment) = state.segments.iter_mut().find(|s| s.number == number) else {
            return;
        };
        let lost = segment.items.saturating_sub(read);
        segment.items -= lost;
        state.items -= lost;
        state.dropped += lost;
        tracing::error!(queue = self.name, file = number, lost, "a queue is damaged");
    }

    /// The records were sent, or never will be.
    pub(crate) fn done(&self, batch: &Batch) -> io::Result<()> {
        let mut state = self.state.lock();
        for (number, items) in &batch.parts {
            if let Some(segment) = state.segments.iter_mut().find(|s| s.number == *number) {
                let items = segment.items.min(*items);
                segment.items -= items;
                state.items -= items;
            }
        }
        state.sent = state.sent.max(batch.upto);
        let sent = state.sent;
        let whole = |s: &Segment| {
            s.number < sent.number || (s.number == sent.number && s.bytes <= sent.offset)
        };
        // The last file goes too when all of it is sent and nothing is being added.
        while state.segments.front().is_some_and(whole) {
            let Some(gone) = state.segments.pop_front() else {
                break;
            };
            state.bytes -= gone.bytes;
            if state.segments.is_empty() {
                state.writer = None;
                state.sent = Place {
                    number: gone.number + 1,
                    offset: 0,
                };
            }
            let _ = std::fs::remove_file(path(&self.dir, gone.number));
        }
        write_place(&self.dir, state.sent)
    }

    /// Brings what was taken to the disk.
    pub(crate) fn settle(&self) -> io::Result<()> {
        let file = {
            let mut state = self.state.lock();
            if !std::mem::take(&mut state.dirty) {
                return Ok(());
            }
            state.writer.as_ref().map(File::try_clone).transpose()?
        };
        file.map_or(Ok(()), |file| file.sync_data())
    }
}

fn path(dir: &Path, number: u64) -> PathBuf {
    dir.join(format!("{number:012}.queue"))
}

fn read_place(dir: &Path) -> io::Result<Place> {
    let bytes = match towpath_stdx::bounded::read_file(&dir.join("sent"), 1 << 10) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Place::default()),
        Err(error) => return Err(error),
    };
    let text = String::from_utf8_lossy(&bytes);
    let mut parts = text.split_whitespace().map(str::parse);
    // Without the note everything is sent again.
    Ok(match (parts.next(), parts.next()) {
        (Some(Ok(number)), Some(Ok(offset))) => Place { number, offset },
        _ => Place::default(),
    })
}

fn write_place(dir: &Path, place: Place) -> io::Result<()> {
    let fresh = dir.join("sent.new");
    std::fs::write(&fresh, format!("{} {}\n", place.number, place.offset))?;
    std::fs::rename(fresh, dir.join("sent"))
}
