//! What is done beside reading and writing: checkpoints, moving samples into segments, compaction,
//! retention. One at a time, by a thread of its own.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use towpath_stdx::Clock;

use super::checkpoint;
use super::manifest::{Listed, Manifest};
use super::segment::Segment;
use super::store::Store;
use super::view::View;
use crate::segment::SegmentError;
use crate::wal::{self, NotTaken};

/// How often the thread looks, if nobody wakes it.
const LOOK: Duration = Duration::from_secs(5);
/// How long a flush waits for queries that still read the head.
const PATIENCE: Duration = Duration::from_secs(120);

/// Why upkeep failed. It is tried again.
#[derive(Debug, thiserror::Error)]
pub enum UpkeepError {
    /// The disk fails.
    #[error("write metrics to disk")]
    Io(#[from] io::Error),
    /// A segment cannot be read.
    #[error(transparent)]
    Segment(#[from] SegmentError),
    /// The log takes nothing.
    #[error("log of metrics: {0}")]
    Log(Arc<str>),
}

impl From<NotTaken> for UpkeepError {
    fn from(why: NotTaken) -> Self {
        match why {
            NotTaken::Failed(why) | NotTaken::Full(why) => Self::Log(why),
        }
    }
}

/// The state of upkeep.
pub(crate) struct Upkeep {
    pub(crate) manifest: Manifest,
    /// Series below are in the checkpoint.
    series: u32,
    /// The next checkpoint has to be whole.
    whole: bool,
    last: Instant,
    /// What the log had taken at the last checkpoint, in bytes.
    taken: u64,
    /// What is in the log of before the start, in bytes.
    replayed: u64,
    /// Segments that could not be read as a whole: they are left as they are.
    pub(crate) unreadable: BTreeSet<u64>,
    /// Up to when segments were looked through for what is kept no longer.
    pub(crate) trimmed: BTreeMap<u64, i64>,
}

impl Upkeep {
    /// `replayed` is the length of the log that was read back, in bytes.
    pub(crate) fn new(manifest: Manifest, replayed: u64, clock: &dyn Clock) -> Self {
        Self {
            manifest,
            series: 0,
            // What was read back is not followed file by file.
            whole: true,
            last: clock.monotonic(),
            taken: 0,
            replayed,
            unreadable: BTreeSet::new(),
            trimmed: BTreeMap::new(),
        }
    }
}

pub(crate) fn segment_path(dir: &Path, number: u64) -> PathBuf {
    dir.join(format!("{number:010}.seg"))
}

pub(crate) fn sync_dir(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}

/// A place where a crash would leave something half done; tests look at the files there.
#[cfg(not(test))]
pub(crate) fn step() {}

#[cfg(test)]
pub(crate) fn step() {
    if let Some(step) = tests::STEP.take() {
        step();
        tests::STEP.set(Some(step));
    }
}

/// Starts the thread. It ends with the store.
pub(crate) fn background(store: &Arc<Store>) -> io::Result<()> {
    let bell = Arc::clone(&store.bell);
    let store: Weak<Store> = Arc::downgrade(store);
    let run = move || {
        while bell.wait(LOOK) {
            let Some(store) = store.upgrade() else {
                return;
            };
            if let Err(error) = store.maintain() {
                tracing::error!(error = %told(&error), "upkeep of metrics failed");
            }
        }
    };
    std::thread::Builder::new()
        .name("signals-upkeep".to_owned())
        .spawn(run)
        .map(drop)
}

/// An error with its causes.
pub(crate) fn told(error: &dyn std::error::Error) -> String {
    let mut out = error.to_string();
    let mut next = error.source();
    while let Some(error) = next {
        out = format!("{out}: {error}");
        next = error.source();
    }
    out
}

impl Store {
    /// Does what is due: moves full intervals into segments, compacts, drops what is too old,
    /// writes checkpoints. The store calls it itself unless its options say otherwise.
    ///
    /// # Errors
    /// The disk fails; nothing is lost and it can be called again.
    pub fn maintain(&self) -> Result<(), UpkeepError> {
        let mut upkeep = self.upkeep.lock();
        self.head.budget.settle(self.options.clock.monotonic());
        self.room.look();
        // First, because it makes room for what follows.
        self.retain(&mut upkeep)?;
        let mut flushed = false;
        while let Some(boundary) = self.due(&upkeep) {
            flushed = true;
            self.flush_to(&mut upkeep, boundary)?;
        }
        let now = self.options.clock.monotonic();
        // While nothing comes in, there is nothing to write down.
        let taken = self.log.taken();
        let new = upkeep.whole || taken > upkeep.taken;
        let late = new && now.duration_since(upkeep.last) >= self.options.checkpoint;
        let log = taken.saturating_sub(upkeep.taken) + upkeep.replayed;
        let long = log > self.options.log_bytes.max(self.head.bytes() as u64 / 8);
        let overdue = late || long;
        let urgent = self.unsafe_until_checkpoint.load(Ordering::Acquire);
        if urgent || (overdue && !flushed) {
            self.checkpoint(&mut upkeep)?;
        }
        if flushed {
            self.compact(&mut upkeep)?;
            self.trim(&mut upkeep)?;
            self.free_deleted(&mut upkeep)?;
        }
        Ok(())
    }

    /// Moves samples before a time into a segment now. What comes late for that time is refused
    /// from then on.
    ///
    /// # Errors
    /// The disk fails; nothing is lost.
    pub fn flush(&self, before: i64) -> Result<(), UpkeepError> {
        let mut upkeep = self.upkeep.lock();
        if before > upkeep.manifest.flushed {
            self.flush_to(&mut upkeep, before)?;
        }
        Ok(())
    }

    /// Up to when the head can go into a segment now.
    fn due(&self, upkeep: &Upkeep) -> Option<i64> {
        let (min, max) = (self.head.min()?, self.head.max());
        let block = self.options.block_ms.max(1);
        let window = self.options.out_of_order_ms.max(0);
        let from = min.max(upkeep.manifest.flushed);
        let end = from
            .div_euclid(block)
            .saturating_add(1)
            .saturating_mul(block);
        if max >= end.saturating_add(window.max(block / 4)) {
            return Some(end);
        }
        let full = self.head.bytes() / 9 >= self.head.budget.limit() / 10;
        // Under pressure, what no late sample can reach any more, if that is worth a file.
        let early = max.saturating_sub(window);
        (full && early > from.saturating_add(block / 16)).then_some(early)
    }

    /// Moves samples before `boundary` from the head into a segment.
    pub(crate) fn flush_to(&self, upkeep: &mut Upkeep, boundary: i64) -> Result<(), UpkeepError> {
        self.head.refuse_before(boundary);
        let number = upkeep.manifest.next;
        let path = segment_path(&self.dir, number);
        let written = super::flush::write(self, &path, boundary)?;
        step();
        let mut manifest = upkeep.manifest.clone();
        manifest.next += 1;
        manifest.flushed = boundary;
        match &written {
            Some((bytes, summary)) => manifest.segments.push(Listed {
                number,
                min: summary.min,
                end: boundary,
                level: 0,
                bytes: *bytes,
                thin: 0,
            }),
            None => fs::remove_file(&path)?,
        }
        sync_dir(&self.dir)?;
        self.publish(upkeep, manifest)?;
        self.truncated.fetch_max(boundary, Ordering::AcqRel);
        let gone = self.head.truncate(boundary);
        if !gone.is_empty() {
            let is_gone = |id: u32| gone.binary_search(&id).is_ok();
            self.exemplars.lock().remove(is_gone);
        }
        upkeep.whole = true;
        self.checkpoint(upkeep)
    }

    /// Makes a manifest the one that counts, for the disk and for queries; returns when no query
    /// looks at what was before.
    pub(crate) fn publish(
        &self,
        upkeep: &mut Upkeep,
        manifest: Manifest,
    ) -> Result<(), UpkeepError> {
        manifest.store(&self.dir)?;
        step();
        upkeep.manifest = manifest;
        let before = self.view();
        let mut segments = Vec::with_capacity(upkeep.manifest.segments.len());
        let mut broken = Vec::new();
        for listed in &upkeep.manifest.segments {
            let mut known = before.broken.iter();
            if let Some(one) = known.find(|one| one.number == listed.number) {
                broken.push(one.clone());
                continue;
            }
            let open = before.segments.iter();
            let open = open.clone().find(|open| open.number == listed.number);
            segments.push(match open {
                Some(open) => Arc::clone(open),
                None => {
                    let path = segment_path(&self.dir, listed.number);
                    let times = (listed.min, listed.end);
                    let cache = Arc::clone(&self.cache);
                    let object = self.object(listed.number);
                    Arc::new(Segment::open(&path, listed.number, times, cache, object)?)
                }
            });
        }
        let readers = Arc::clone(&before.readers);
        let view = View {
            segments,
            broken,
            listed: upkeep.manifest.segments.clone(),
            flushed: upkeep.manifest.flushed,
            tombstones: upkeep.manifest.tombstones.clone(),
            readers: Arc::clone(&readers),
        };
        *self.view.write() = Arc::new(view);
        let old = Arc::downgrade(&before);
        drop(before);
        if let Some(depot) = &self.depot {
            depot.ring();
        }
        readers.wait(&old, PATIENCE);
        Ok(())
    }

    /// Writes down the head, so that the log before can go.
    pub(crate) fn checkpoint(&self, upkeep: &mut Upkeep) -> Result<(), UpkeepError> {
        upkeep.last = self.options.clock.monotonic();
        let urgent = self.unsafe_until_checkpoint.load(Ordering::Acquire);
        let next_series = self.head.next();
        let taken = self.log.taken();
        let log = self.log.rotate()?;
        let number = upkeep.manifest.next;
        let whole = upkeep.whole;
        // Until it is done, what it marks as saved is not.
        upkeep.whole = true;
        step();
        checkpoint::write(self, number, whole, upkeep.series)?;
        step();
        sync_dir(&self.dir)?;
        let mut manifest = upkeep.manifest.clone();
        manifest.next += 1;
        manifest.wal = log;
        manifest.series = next_series;
        let moving = manifest.checkpoints.last().copied();
        let old = match whole {
            true => std::mem::take(&mut manifest.checkpoints),
            false => Vec::new(),
        };
        manifest.checkpoints.push(number);
        manifest.store(&self.dir)?;
        upkeep.manifest = manifest;
        upkeep.series = next_series;
        (upkeep.taken, upkeep.replayed) = (taken, 0);
        upkeep.whole = false;
        step();
        if urgent {
            self.unsafe_until_checkpoint.store(false, Ordering::Release);
        }
        if let Some(number) = moving {
            fs::remove_file(checkpoint::open_path(&self.dir, number))?;
            step();
        }
        for number in old {
            fs::remove_file(checkpoint::path(&self.dir, number))?;
            step();
        }
        wal::remove_before(&self.dir.join("wal"), log)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests;
