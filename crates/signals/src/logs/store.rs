//! The store, and what it is asked beside queries.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use parking_lot::{Mutex, RwLock};
use tokio::sync::{Notify, broadcast};
use towpath_stdx::Clock;

use super::block::Encoded;
use super::deletion::{self, Active, Deletion};
use super::head::Lines;
use super::options::Options;
use super::push::{self, PushError, Stream};
use super::record;
use super::registry::Registry;
use super::segment::{self, Segment};
use super::tap::LineTap;
use crate::freed::Freed;
use crate::metrics::Shed;
use crate::metrics::budget::Budget;
use crate::objects::{Depot, ObjectsError, ObjectsStats, adopted_until};
use crate::room::Room;
use crate::segment::remove;
use crate::wal::{self, Disk, Log};

/// What fails beside pushes and queries.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The store cannot be opened.
    #[error("open log store {path}")]
    Open {
        /// Where.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A segment cannot be written.
    #[error("write segment of lines")]
    Write(#[source] io::Error),
    /// A segment cannot be read.
    #[error("read segment of lines")]
    Read(#[source] io::Error),
    /// The log takes nothing.
    #[error("{0}")]
    Log(PushError),
    /// What it has in a bucket cannot be used.
    #[error("open log store")]
    Objects(#[from] ObjectsError),
    /// A query of a deletion is none.
    #[error("{0}")]
    Query(String),
}

/// Lines that were taken out of the head and are not in a segment yet.
#[derive(Debug)]
pub(super) struct Flushing {
    pub(super) stream: u32,
    pub(super) lines: Lines,
    pub(super) sealed: Vec<Arc<Encoded>>,
}

#[derive(Default)]
pub(super) struct Parts {
    pub(super) segments: Vec<Arc<Segment>>,
    pub(super) flushing: Vec<Arc<Flushing>>,
}

/// How the store is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Health {
    /// Streams known.
    pub streams: usize,
    /// Segments.
    pub segments: usize,
    /// Bytes of segments.
    pub disk_bytes: u64,
    /// Bytes of lines not in a segment.
    pub head_bytes: u64,
    /// Segments that could not be opened, or of which a part was asked for that makes no sense.
    pub damaged: u64,
    /// Lines taken since the store was opened.
    pub lines: u64,
    /// Bytes of lines taken since the store was opened.
    pub bytes: u64,
    /// Bytes of the disk that were freed since then, by what for: `retention`, `size` or `deleted`.
    pub freed: [(&'static str, u64); 3],
    /// Lines that were refused for a limit, by source: `job`, else `namespace`, else
    /// `service_name`.
    pub shed: Vec<Shed>,
    /// What is in a bucket, where there is one.
    pub objects: Option<ObjectsStats>,
}

/// How many pushes may wait to be seen by those who follow.
const FOLLOWED: usize = 256;

/// A store of log lines.
pub struct LogStore {
    pub(super) dir: PathBuf,
    pub(super) options: Options,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) registry: RwLock<Registry>,
    pub(super) parts: RwLock<Parts>,
    /// Taken before the registry, the parts and a stream, in this order.
    /// Held to read while lines go to the log and the head, to write while both begin anew.
    pub(super) gate: RwLock<()>,
    pub(super) log: Log,
    pub(super) head_bytes: AtomicI64,
    /// When the oldest line came into the head, milliseconds since the epoch; 0 for none.
    pub(super) oldest: AtomicI64,
    pub(super) next_segment: AtomicU64,
    pub(super) deletions: RwLock<Vec<Arc<Active>>>,
    /// One at a time writes segments.
    pub(super) writing: Mutex<()>,
    /// Segments of which a part cannot be read: they are left as they are.
    pub(super) unreadable: Mutex<BTreeSet<u64>>,
    /// On which day segments were looked through for what is kept no longer.
    pub(super) trimmed: Mutex<BTreeMap<u64, i64>>,
    pub(super) freed: Freed,
    pub(super) room: Room,
    /// What of the head is whose.
    pub(super) budget: Budget,
    /// Tells that the head is large.
    pub(super) work: Notify,
    pub(super) followers: broadcast::Sender<Arc<Stream>>,
    /// Segments that could not be opened, or of which a part was asked for that makes no sense.
    pub(super) broken: Vec<u64>,
    pub(super) depot: Option<Arc<Depot>>,
    pub(super) taken: AtomicU64,
    pub(super) taken_bytes: AtomicU64,
    pub(super) tap: OnceLock<Arc<dyn LineTap>>,
}

impl LogStore {
    /// Opens the store in a directory, which is made if need be.
    ///
    /// # Errors
    /// The directory cannot be used. Segments that cannot be read are left alone and counted.
    pub fn open(dir: &Path, options: Options, clock: Arc<dyn Clock>) -> Result<Self, StoreError> {
        let fault = |source| StoreError::Open {
            path: dir.to_path_buf(),
            source,
        };
        let log_dir = dir.join("wal");
        std::fs::create_dir_all(&log_dir).map_err(fault)?;
        let depot = super::objects::open(dir, &options, &clock)?;
        let mut registry = Registry::default();
        let (segments, broken) =
            open_segments(dir, depot.as_deref(), &mut registry).map_err(fault)?;
        let from = segments.iter().map(|one| one.log).max();
        let from = from.unwrap_or(1).max(1);
        wal::remove_before(&log_dir, from).map_err(fault)?;
        let mut head_bytes = 0;
        let replayed = wal::replay(&log_dir, from, |bytes| {
            let Some((labels, lines)) = record::decode(bytes) else {
                tracing::warn!("a record of the log of lines cannot be read");
                return;
            };
            let id = registry.intern(&labels);
            if let Some(entry) = registry.entry(id) {
                let mut open = entry.open.lock();
                for line in lines {
                    head_bytes += open.push(&line, options.block_bytes);
                }
            }
        })
        .map_err(fault)?;
        for damage in &replayed.damage {
            tracing::warn!(?damage, "lines in the log are damaged and lost");
        }
        let log = Log::open(&log_dir, from, Arc::new(Disk)).map_err(fault)?;
        let deletions = read_deletions(dir).map_err(fault)?;
        let oldest = if head_bytes > 0 {
            millis(clock.as_ref())
        } else {
            0
        };
        let newest = segment::numbers(dir).map_err(fault)?.last().copied();
        let newest = newest.max(depot.as_ref().and_then(|depot| depot.last()));
        let limit = usize::try_from(options.max_head_bytes).unwrap_or(usize::MAX);
        let budget = Budget::new("logs", limit, "source".to_owned());
        for (_, entry) in registry.entries() {
            let bytes = entry.open.lock().bytes();
            budget.change(push::source(&budget, &entry.labels), bytes as isize);
        }
        Ok(Self {
            budget,
            dir: dir.to_path_buf(),
            options,
            clock,
            registry: RwLock::new(registry),
            next_segment: AtomicU64::new(newest.unwrap_or(0) + 1),
            parts: RwLock::new(Parts {
                segments,
                flushing: Vec::new(),
            }),
            gate: RwLock::default(),
            log,
            head_bytes: AtomicI64::new(head_bytes),
            oldest: AtomicI64::new(oldest),
            deletions: RwLock::new(deletions),
            writing: Mutex::default(),
            unreadable: Mutex::default(),
            trimmed: Mutex::default(),
            freed: Freed::default(),
            room: Room::new(dir),
            work: Notify::new(),
            followers: broadcast::Sender::new(FOLLOWED),
            broken,
            depot,
            taken: AtomicU64::new(0),
            taken_bytes: AtomicU64::new(0),
            tap: OnceLock::new(),
        })
    }

    /// Waits until all that was pushed before is durable.
    ///
    /// # Errors
    /// It is not, and perhaps never will be.
    pub async fn sync(&self) -> Result<(), PushError> {
        Ok(self.log.sync().await?)
    }

    /// From now on this one is told of every line that is taken; the first call counts.
    pub fn tap(&self, tap: Arc<dyn LineTap>) {
        // There is one place that calls it.
        let _ = self.tap.set(tap);
    }

    /// Lines as they are pushed, from now on. Who is slow misses some.
    pub fn follow(&self) -> broadcast::Receiver<Arc<Stream>> {
        self.followers.subscribe()
    }

    /// Waits until the head is large enough to be written before its time.
    pub async fn crowded(&self) {
        self.work.notified().await;
    }

    /// How the store is.
    pub fn health(&self) -> Health {
        let parts = self.parts.read();
        let segments = parts.segments.iter();
        let damaged = segments.filter(|segment| segment.data().is_damaged());
        Health {
            streams: self.registry.read().len(),
            segments: parts.segments.len(),
            disk_bytes: parts.segments.iter().map(|segment| segment.bytes).sum(),
            head_bytes: self.head_bytes.load(Ordering::Relaxed).max(0) as u64,
            damaged: (self.broken.len() + damaged.count()) as u64,
            objects: self.depot.as_ref().map(|depot| depot.stats()),
            lines: self.taken.load(Ordering::Relaxed),
            bytes: self.taken_bytes.load(Ordering::Relaxed),
            freed: self.freed.told(),
            shed: self.budget.sheds(),
        }
    }

    /// Forgets the lines of a query between two times, nanoseconds since the epoch, both included.
    ///
    /// # Errors
    /// The query is none, or the request cannot be kept.
    pub fn delete(&self, query: &str, start: i64, end: i64) -> Result<Deletion, StoreError> {
        let created = self.clock.since_epoch().as_nanos() as i64;
        let mut all = self.deletions.write();
        let deletion = Deletion {
            id: format!("{created:x}-{}", all.len()),
            query: query.to_owned(),
            start,
            end,
            created,
            done: false,
        };
        let mut next = all.clone();
        next.push(Arc::new(Active::new(deletion.clone())?));
        self.keep_deletions(&next).map_err(StoreError::Write)?;
        *all = next;
        self.work.notify_one();
        Ok(deletion)
    }

    /// The requests to forget lines.
    pub fn deletions(&self) -> Vec<Deletion> {
        let all = self.deletions.read();
        all.iter().map(|active| active.deletion.clone()).collect()
    }

    /// Takes back a request that is not done; whether there was one.
    ///
    /// # Errors
    /// That cannot be kept.
    pub fn cancel_deletion(&self, id: &str) -> Result<bool, StoreError> {
        let mut all = self.deletions.write();
        let mut next = all.clone();
        next.retain(|active| active.deletion.id != id || active.deletion.done);
        let found = next.len() < all.len();
        if found {
            self.keep_deletions(&next).map_err(StoreError::Write)?;
            *all = next;
        }
        Ok(found)
    }

    pub(super) fn keep_deletions(&self, all: &[Arc<Active>]) -> io::Result<()> {
        let bytes = deletion::encode(all.iter().map(|active| &active.deletion));
        let part = self.dir.join("deletions.part");
        std::fs::write(&part, bytes)?;
        std::fs::File::open(&part)?.sync_all()?;
        std::fs::rename(&part, self.dir.join("deletions"))
    }

    /// Makes what was pushed durable and stops taking lines.
    pub fn close(&self) {
        self.log.close();
        if let Some(depot) = &self.depot {
            depot.release();
        }
    }
}

fn open_segments(
    dir: &Path,
    depot: Option<&Depot>,
    registry: &mut Registry,
) -> io::Result<(Vec<Arc<Segment>>, Vec<u64>)> {
    let (mut segments, mut broken) = (Vec::new(), Vec::new());
    let adopted = adopted_until(dir)?;
    for number in segment::numbers(dir)? {
        let object = depot.and_then(|depot| depot.object(number));
        match Segment::open(dir, number, object, |labels| registry.intern(labels)) {
            Ok(mut segment) => {
                if number <= adopted {
                    segment.log = 0;
                }
                segments.push(Arc::new(segment));
            }
            Err(error) => {
                tracing::error!(number, %error, "a segment of lines cannot be read");
                broken.push(number);
            }
        }
    }
    let replaced: BTreeSet<u64> = segments
        .iter()
        .flat_map(|one| one.replaces.clone())
        .collect();
    segments.retain(|segment| {
        let stale = replaced.contains(&segment.number);
        if stale && let Err(error) = remove(&segment.path) {
            tracing::warn!(%error, "a segment that was replaced cannot be removed");
        }
        !stale
    });
    Ok((segments, broken))
}

fn read_deletions(dir: &Path) -> io::Result<Vec<Arc<Active>>> {
    let bytes = match std::fs::read(dir.join("deletions")) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let all = deletion::decode(&bytes).ok_or_else(|| {
        io::Error::new(
            io::ErrorKind::InvalidData,
            "the list of deletions is damaged",
        )
    })?;
    let active = |one| {
        Active::new(one)
            .map(Arc::new)
            .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error.to_string()))
    };
    all.into_iter().map(active).collect()
}

pub(super) fn millis(clock: &dyn Clock) -> i64 {
    clock.since_epoch().as_millis() as i64
}

pub(super) fn nanos(duration: Duration) -> i64 {
    i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX)
}
