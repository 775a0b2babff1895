//! The store: taking lines, and what it is asked beside queries.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::{Mutex, RwLock};
use tokio::sync::{Notify, broadcast};
use towpath_query::promql::{Labels, Matcher};
use towpath_stdx::Clock;

use super::block::Encoded;
use super::deletion::{self, Active, Deletion};
use super::head::{Lines, Open};
use super::record;
use super::registry::Registry;
use super::segment::{self, Segment};
use crate::wal::{self, Disk, Log, NotTaken};

/// How the store works.
#[derive(Clone, Debug)]
pub struct Options {
    /// Bytes of text after which lines of a stream become a block.
    pub block_bytes: usize,
    /// Bytes of the head after which it is written as a segment.
    pub head_bytes: u64,
    /// The most bytes of the head; beyond it nothing is taken.
    pub max_head_bytes: u64,
    /// How long lines stay in the head.
    pub flush_after: Duration,
    /// How long lines are kept; zero for ever.
    pub retention: Duration,
    /// The most bytes of segments; zero for no limit.
    pub max_disk_bytes: u64,
    /// The most streams.
    pub max_streams: usize,
    /// The most labels of a stream.
    pub max_labels: usize,
    /// The longest line, in bytes.
    pub max_line_bytes: usize,
    /// How far ahead of the clock a line may be.
    pub max_ahead: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            block_bytes: 1 << 20,
            head_bytes: 64 << 20,
            max_head_bytes: 192 << 20,
            flush_after: Duration::from_secs(300),
            retention: Duration::from_secs(14 * 24 * 3600),
            max_disk_bytes: 20 << 30,
            max_streams: 50_000,
            max_labels: 30,
            max_line_bytes: 256 << 10,
            max_ahead: Duration::from_secs(600),
        }
    }
}

/// One line.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Line {
    /// Nanoseconds since the epoch.
    pub at: i64,
    /// The line.
    pub text: String,
    /// The labels of the line alone.
    pub metadata: Vec<(String, String)>,
}

/// Lines of one stream.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stream {
    /// What the stream is.
    pub labels: Labels,
    /// Its lines, in any order.
    pub lines: Vec<Line>,
}

/// Why a line was not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RefusedLine {
    /// It is older than lines are kept.
    #[error("entry for stream '{stream}' has timestamp too old: {at}")]
    TooOld {
        /// The stream.
        stream: String,
        /// Nanoseconds since the epoch.
        at: i64,
    },
    /// It is ahead of the clock.
    #[error("entry for stream '{stream}' has timestamp too new: {at}")]
    TooNew {
        /// The stream.
        stream: String,
        /// Nanoseconds since the epoch.
        at: i64,
    },
    /// It is too long.
    #[error(
        "max entry size {limit} bytes exceeded for stream '{stream}' while adding an entry with length {bytes} bytes"
    )]
    TooLong {
        /// The stream.
        stream: String,
        /// The limit.
        limit: usize,
        /// Its length.
        bytes: usize,
    },
    /// The labels are no stream.
    #[error("{0}")]
    Labels(String),
    /// A limit is reached.
    #[error("{0}")]
    Limit(String),
}

/// How a push went.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pushed {
    /// Lines taken.
    pub taken: usize,
    /// Lines not taken.
    pub refused_count: usize,
    /// Why, of the first few.
    pub refused: Vec<RefusedLine>,
}

/// Why nothing is taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PushError {
    /// For now: the disk is full or does not keep up.
    #[error("lines are not taken now: {0}")]
    Full(String),
    /// Until the store is opened again.
    #[error("write lines to disk: {0}")]
    Failed(String),
}

impl From<NotTaken> for PushError {
    fn from(why: NotTaken) -> Self {
        match why {
            NotTaken::Failed(why) => Self::Failed(why.to_string()),
            NotTaken::Full(why) => Self::Full(why.to_string()),
        }
    }
}

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
    /// Segments that could not be read when the store was opened.
    pub damaged: u64,
    /// Lines taken since the store was opened.
    pub lines: u64,
    /// Bytes of lines taken since the store was opened.
    pub bytes: u64,
}

/// How much a stream has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Volume {
    /// The stream.
    pub labels: Labels,
    /// Bytes of lines.
    pub bytes: u64,
    /// Lines.
    pub lines: u64,
    /// Blocks.
    pub blocks: u64,
}

/// How many pushes may wait to be seen by those who follow.
const FOLLOWED: usize = 256;
/// How many refusals are told.
const TOLD: usize = 10;
/// Lines of one record of the log, in bytes.
const RECORD: usize = 4 << 20;

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
    /// Tells that the head is large.
    work: Notify,
    followers: broadcast::Sender<Arc<Stream>>,
    damaged: u64,
    taken: AtomicU64,
    taken_bytes: AtomicU64,
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
        let mut registry = Registry::default();
        let (segments, damaged) = open_segments(dir, &mut registry).map_err(fault)?;
        let from = segments.iter().map(|one| one.log).max().unwrap_or(1);
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
                    head_bytes += open.push(line, options.block_bytes);
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
        Ok(Self {
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
            work: Notify::new(),
            followers: broadcast::Sender::new(FOLLOWED),
            damaged,
            taken: AtomicU64::new(0),
            taken_bytes: AtomicU64::new(0),
        })
    }

    /// Takes lines. They can be queried at once; [`LogStore::sync`] waits until they are durable.
    ///
    /// # Errors
    /// Nothing is taken now, or any more.
    pub fn push(&self, streams: Vec<Stream>) -> Result<Pushed, PushError> {
        let head = self.head_bytes.load(Ordering::Relaxed).max(0) as u64;
        if head > self.options.max_head_bytes {
            self.work.notify_one();
            return Err(PushError::Full(format!(
                "{head} bytes of lines wait to be written to segments"
            )));
        }
        let mut out = Pushed::default();
        for mut stream in streams {
            if let Err(why) = self.check_labels(&stream.labels) {
                out.refuse(why, stream.lines.len());
                continue;
            }
            self.check_lines(&mut stream, &mut out);
            if stream.lines.is_empty() {
                continue;
            }
            let Some(id) = self.resolve(&stream.labels) else {
                let limit = self.options.max_streams;
                let why = RefusedLine::Limit(format!(
                    "maximum active stream limit exceeded, limit: {limit}, stream: '{}'",
                    stream.labels
                ));
                out.refuse(why, stream.lines.len());
                continue;
            };
            out.taken += stream.lines.len();
            self.put(id, stream)?;
        }
        Ok(out)
    }

    fn resolve(&self, labels: &Labels) -> Option<u32> {
        if let Some(id) = self.registry.read().find(labels) {
            return Some(id);
        }
        let mut registry = self.registry.write();
        (registry.len() < self.options.max_streams).then(|| registry.intern(labels))
    }

    fn put(&self, id: u32, stream: Stream) -> Result<(), PushError> {
        let Some(entry) = self.registry.read().entry(id).cloned() else {
            return Ok(());
        };
        let stream = Arc::new(stream);
        let mut rest = stream.lines.as_slice();
        while !rest.is_empty() {
            let mut bytes = 0;
            let count = rest
                .iter()
                .take_while(|line| {
                    bytes += line.text.len();
                    bytes <= RECORD
                })
                .count();
            let (now, later) = rest.split_at(count.max(1));
            rest = later;
            let record = record::encode(&stream.labels, now);
            let _gate = self.gate.read();
            self.log.push(&record)?;
            let mut grown = 0;
            {
                let mut open = entry.open.lock();
                for line in now {
                    grown += open.push(line.clone(), self.options.block_bytes);
                }
            }
            let raw: usize = now.iter().map(|line| line.text.len()).sum();
            self.taken.fetch_add(now.len() as u64, Ordering::Relaxed);
            self.taken_bytes.fetch_add(raw as u64, Ordering::Relaxed);
            let head = self.head_bytes.fetch_add(grown, Ordering::Relaxed) + grown;
            if self.oldest.load(Ordering::Relaxed) == 0 {
                let now = millis(self.clock.as_ref());
                self.oldest.store(now, Ordering::Relaxed);
            }
            if head > self.options.head_bytes as i64 {
                self.work.notify_one();
            }
        }
        // Nobody may be listening.
        let _ = self.followers.send(stream);
        Ok(())
    }

    fn check_labels(&self, labels: &Labels) -> Result<(), RefusedLine> {
        let count = labels.iter().count();
        if count == 0 {
            return Err(RefusedLine::Labels(
                "error at least one label pair is required per stream".to_owned(),
            ));
        }
        if count > self.options.max_labels {
            return Err(RefusedLine::Labels(format!(
                "entry for stream '{labels}' has {count} label names; limit {}",
                self.options.max_labels
            )));
        }
        match labels
            .iter()
            .find(|(name, value)| name.len() > 1024 || value.len() > 2048)
        {
            Some((name, _)) => Err(RefusedLine::Labels(format!(
                "stream has a label name or value that is too long: {name:.100}"
            ))),
            None => Ok(()),
        }
    }

    fn check_lines(&self, stream: &mut Stream, out: &mut Pushed) {
        let now = self.clock.since_epoch().as_nanos() as i64;
        let newest = now.saturating_add(nanos(self.options.max_ahead));
        let oldest = match nanos(self.options.retention) {
            0 => i64::MIN,
            kept => now.saturating_sub(kept),
        };
        let limit = self.options.max_line_bytes;
        let labels = &stream.labels;
        let mut refused = Vec::new();
        stream.lines.retain(|line| {
            let name = || labels.to_string();
            let own: usize = line.metadata.iter().map(|(n, v)| n.len() + v.len()).sum();
            let why = if line.text.len() + own > limit {
                RefusedLine::TooLong {
                    stream: name(),
                    limit,
                    bytes: line.text.len() + own,
                }
            } else if line.at < oldest {
                RefusedLine::TooOld {
                    stream: name(),
                    at: line.at,
                }
            } else if line.at > newest {
                RefusedLine::TooNew {
                    stream: name(),
                    at: line.at,
                }
            } else {
                return true;
            };
            refused.push(why);
            false
        });
        for why in refused {
            out.refuse(why, 1);
        }
    }

    /// Waits until all that was pushed before is durable.
    ///
    /// # Errors
    /// It is not, and perhaps never will be.
    pub async fn sync(&self) -> Result<(), PushError> {
        Ok(self.log.sync().await?)
    }

    /// Lines as they are pushed, from now on. Who is slow misses some.
    pub fn follow(&self) -> broadcast::Receiver<Arc<Stream>> {
        self.followers.subscribe()
    }

    /// Waits until the head is large enough to be written before its time.
    pub async fn crowded(&self) {
        self.work.notified().await;
    }

    /// Streams that may have lines between two times, nanoseconds since the epoch, the second not
    /// included, and that pass one of the lists of matchers; no list means all.
    pub fn streams(&self, sets: &[Vec<Matcher>], start: i64, end: i64) -> Vec<Labels> {
        let volumes = self.volumes(sets, start, end);
        volumes.into_iter().map(|volume| volume.labels).collect()
    }

    /// How much streams have in blocks between two times, in the order of their labels. A block
    /// counts in the share of its time that lies between them.
    pub fn volumes(&self, sets: &[Vec<Matcher>], start: i64, end: i64) -> Vec<Volume> {
        let _gate = self.gate.read();
        let registry = self.registry.read();
        let wanted: BTreeSet<u32> = if sets.is_empty() {
            registry.select(&[])
        } else {
            sets.iter().flat_map(|set| registry.select(set)).collect()
        };
        let mut found: BTreeMap<u32, (u64, u64, u64)> = BTreeMap::new();
        let mut count = |stream: u32, (first, last): (i64, i64), bytes: u64, rows: u64| {
            if last < start || first >= end || !wanted.contains(&stream) {
                return;
            }
            let length = (last as f64 - first as f64).max(1.0);
            let inside = (last.min(end) as f64 - first.max(start) as f64).max(0.0);
            let share = if first >= start && last < end {
                1.0
            } else {
                (inside / length).clamp(0.0, 1.0)
            };
            let sums = found.entry(stream).or_default();
            sums.0 += (bytes as f64 * share).round() as u64;
            sums.1 += (rows as f64 * share).round() as u64;
            sums.2 += 1;
        };
        let parts = self.parts.read();
        for segment in &parts.segments {
            if segment.times.1 < start || segment.times.0 >= end {
                continue;
            }
            for block in &segment.blocks {
                count(
                    block.stream,
                    (block.first, block.last),
                    block.raw,
                    u64::from(block.rows),
                );
            }
        }
        for one in &parts.flushing {
            head_volume(one.stream, &one.lines, &one.sealed, &mut count);
        }
        for id in &wanted {
            if let Some(entry) = registry.entry(*id) {
                let Open { lines, sealed } = &*entry.open.lock();
                head_volume(*id, lines, sealed, &mut count);
            }
        }
        let mut out: Vec<Volume> = found
            .into_iter()
            .filter_map(|(id, (bytes, lines, blocks))| {
                Some(Volume {
                    labels: registry.entry(id)?.labels.clone(),
                    bytes,
                    lines,
                    blocks,
                })
            })
            .collect();
        out.sort_by(|a, b| a.labels.cmp(&b.labels));
        out
    }

    /// How the store is.
    pub fn health(&self) -> Health {
        let parts = self.parts.read();
        Health {
            streams: self.registry.read().len(),
            segments: parts.segments.len(),
            disk_bytes: parts.segments.iter().map(|segment| segment.bytes).sum(),
            head_bytes: self.head_bytes.load(Ordering::Relaxed).max(0) as u64,
            damaged: self.damaged,
            lines: self.taken.load(Ordering::Relaxed),
            bytes: self.taken_bytes.load(Ordering::Relaxed),
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
    }
}

fn head_volume(
    stream: u32,
    lines: &Lines,
    sealed: &[Arc<Encoded>],
    count: &mut impl FnMut(u32, (i64, i64), u64, u64),
) {
    if let Some(times) = lines.times() {
        count(stream, times, lines.text_bytes() as u64, lines.len() as u64);
    }
    for block in sealed {
        count(
            stream,
            (block.first, block.last),
            block.raw,
            u64::from(block.rows),
        );
    }
}

fn open_segments(dir: &Path, registry: &mut Registry) -> io::Result<(Vec<Arc<Segment>>, u64)> {
    let (mut segments, mut damaged) = (Vec::new(), 0);
    for number in segment::numbers(dir)? {
        match Segment::open(dir, number, |labels| registry.intern(labels)) {
            Ok(segment) => segments.push(Arc::new(segment)),
            Err(error) => {
                tracing::error!(number, %error, "a segment of lines cannot be read");
                damaged += 1;
            }
        }
    }
    let replaced: BTreeSet<u64> = segments
        .iter()
        .flat_map(|one| one.replaces.clone())
        .collect();
    segments.retain(|segment| {
        let stale = replaced.contains(&segment.number);
        if stale && let Err(error) = std::fs::remove_file(&segment.path) {
            tracing::warn!(%error, "a segment that was replaced cannot be removed");
        }
        !stale
    });
    Ok((segments, damaged))
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

impl Pushed {
    fn refuse(&mut self, why: RefusedLine, lines: usize) {
        self.refused_count += lines;
        if self.refused.len() < TOLD {
            self.refused.push(why);
        }
    }
}
