//! The store as the house sees it.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use parking_lot::{Condvar, Mutex, RwLock};
use towpath_query::promql::{Labels, Matcher};

use super::budget::{Budget, Shed};
use super::exemplars::Exemplars;
use super::families::Families;
use super::head::{Bounds, Head};
use super::options::Options;
use super::records;
use super::series::Series;
use super::upkeep::{Upkeep, background};
use super::view::View;
use crate::freed::Freed;
use crate::objects::{Depot, ObjectsError, ObjectsStats};
use crate::room::Room;
use crate::segment::Cache;
use crate::wal::{Disk, Files, Log, NotTaken, Replayed};
use crate::{Append, Exemplar, Metadata, Outcome, Refused, Sample, SeriesRef, WriteError};

/// Why a store cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Its directory or a file in it cannot be made or read.
    #[error("open store of metrics {path}")]
    Io {
        /// Which directory.
        path: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// What it has in a bucket cannot be used.
    #[error("open store of metrics")]
    Objects(#[from] ObjectsError),
}

/// Figures of a store.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Stats {
    /// Series in the head.
    pub series: u64,
    /// Samples taken since it was opened.
    pub samples_taken: u64,
    /// Samples refused since it was opened.
    pub samples_refused: u64,
    /// Memory in use for series and samples that are not in segments, in bytes.
    pub memory_bytes: u64,
    /// The limit of that.
    pub memory_limit_bytes: u64,
    /// What was refused for a limit, by source.
    pub shed: Vec<Shed>,
    /// Memory by source, most first.
    pub memory_by_source: Vec<(String, u64)>,
    /// Segments.
    pub segments: u64,
    /// What they take on the disk, in bytes.
    pub segment_bytes: u64,
    /// Samples in them.
    pub segment_samples: u64,
    /// Segments that cannot be opened, or of which a part was asked for that makes no sense, and why.
    pub broken: Vec<String>,
    /// First time in segments or head, milliseconds since the epoch; none while it is empty.
    pub oldest: Option<i64>,
    /// Bytes of the disk that were freed since it was opened, by what for: `retention`, `size` or
    /// `deleted`.
    pub freed: [(&'static str, u64); 3],
    /// Why nothing is taken now, if so.
    pub trouble: Option<String>,
    /// What opening it found in the log.
    pub replayed: Replayed,
    /// What is in a bucket, where there is one.
    pub objects: Option<ObjectsStats>,
}

/// Wakes the thread that looks after the store.
#[derive(Default)]
pub(crate) struct Bell {
    state: Mutex<(bool, bool)>,
    rung: Condvar,
}

impl Bell {
    pub(crate) fn ring(&self) {
        self.state.lock().0 = true;
        self.rung.notify_all();
    }

    pub(crate) fn stop(&self) {
        self.state.lock().1 = true;
        self.rung.notify_all();
    }

    /// Waits until it is rung, or for a while; false if it is over.
    pub(crate) fn wait(&self, longest: Duration) -> bool {
        let mut state = self.state.lock();
        if !state.0 && !state.1 {
            self.rung.wait_for(&mut state, longest);
        }
        state.0 = false;
        !state.1
    }
}

/// The store of metrics. Cheap to share behind an [`Arc`].
pub struct Store {
    pub(crate) head: Head,
    pub(crate) exemplars: Mutex<Exemplars>,
    pub(crate) families: Mutex<Families>,
    pub(crate) options: Options,
    pub(crate) dir: PathBuf,
    pub(crate) log: Log,
    pub(crate) view: RwLock<Arc<View>>,
    /// Samples before are no longer in the head.
    pub(crate) truncated: AtomicI64,
    pub(crate) upkeep: Mutex<Upkeep>,
    pub(crate) cache: Arc<Cache>,
    pub(crate) depot: Option<Arc<Depot>>,
    pub(crate) bell: Arc<Bell>,
    pub(crate) replayed: Replayed,
    pub(crate) freed: Freed,
    pub(crate) room: Room,
    /// Series whose record the log did not take.
    unlogged: Mutex<Vec<u32>>,
    /// Samples were taken that the log did not take: only a checkpoint makes them durable.
    pub(crate) unsafe_until_checkpoint: AtomicBool,
    taken: AtomicU64,
    refused: AtomicU64,
}

impl Store {
    /// Opens the store in a directory, which is made where it is missing, and reads back what was
    /// not in segments.
    ///
    /// # Errors
    /// The directory cannot be used or the manifest is damaged. A segment that cannot be opened is
    /// told of by [`Store::stats`] and by every query for its time.
    pub fn open(dir: &Path, options: Options) -> Result<Arc<Self>, OpenError> {
        Self::open_on(dir, options, Arc::new(Disk))
    }

    pub(crate) fn open_on(
        dir: &Path,
        options: Options,
        files: Arc<dyn Files>,
    ) -> Result<Arc<Self>, OpenError> {
        let background_work = options.background;
        let store = Arc::new(super::recover::open(dir, options, files)?);
        let started = match background_work {
            true => background(&store),
            false => Ok(()),
        };
        let started = started.and_then(|()| store.begin_uploads());
        started.map_err(|source| OpenError::Io {
            path: dir.display().to_string(),
            source,
        })?;
        Ok(store)
    }

    pub(crate) fn assemble(
        dir: &Path,
        options: Options,
        log: Log,
        parts: (Head, Exemplars, Families, Replayed),
        view: View,
        upkeep: Upkeep,
        (cache, depot): (Arc<Cache>, Option<Arc<Depot>>),
    ) -> Self {
        let (head, exemplars, families, replayed) = parts;
        Self {
            head,
            exemplars: Mutex::new(exemplars),
            families: Mutex::new(families),
            options,
            dir: dir.to_path_buf(),
            log,
            truncated: AtomicI64::new(view.flushed),
            view: RwLock::new(Arc::new(view)),
            upkeep: Mutex::new(upkeep),
            cache,
            depot,
            bell: Arc::default(),
            replayed,
            freed: Freed::default(),
            room: Room::new(dir),
            unlogged: Mutex::default(),
            unsafe_until_checkpoint: AtomicBool::new(false),
            taken: AtomicU64::new(0),
            refused: AtomicU64::new(0),
        }
    }

    pub(crate) fn head_of(options: &Options) -> Head {
        let bounds = Bounds {
            block: options.block_ms.max(1),
            window: options.out_of_order_ms,
            max_series: options.max_series,
        };
        let budget = Budget::new(
            "metrics",
            options.memory_bytes,
            options.source_label.clone(),
        );
        Head::new(&bounds, budget)
    }

    /// Figures of the store.
    pub fn stats(&self) -> Stats {
        let view = self.view();
        let segments = view.segments.iter();
        let oldest = segments.clone().map(|segment| segment.min).min();
        let broken = view.broken.iter().map(|one| one.why.clone());
        let damaged = segments.clone().map(|segment| segment.file.data());
        let damaged = damaged
            .filter(|data| data.is_damaged())
            .map(|data| format!("{} is damaged", data.name()));
        let trouble = self.log.state().err().map(|why| match why {
            NotTaken::Failed(why) | NotTaken::Full(why) => why.to_string(),
        });
        let trouble = trouble.or_else(|| self.room.short());
        Stats {
            series: self.head.registry.read_recursive().ids().len() as u64,
            samples_taken: self.taken.load(Ordering::Relaxed),
            samples_refused: self.refused.load(Ordering::Relaxed),
            memory_bytes: self.head.bytes() as u64,
            memory_limit_bytes: self.head.budget.limit() as u64,
            shed: self.head.budget.sheds(),
            memory_by_source: self.head.budget.by_source(),
            segments: view.segments.len() as u64,
            segment_bytes: view.segments.iter().map(|segment| segment.bytes).sum(),
            segment_samples: segments.map(|segment| segment.samples).sum(),
            broken: broken.chain(damaged).collect(),
            oldest: oldest.or_else(|| self.head.min()),
            freed: self.freed.told(),
            trouble,
            objects: self.depot.as_ref().map(|depot| depot.stats()),
            replayed: self.replayed.clone(),
        }
    }

    pub(crate) fn view(&self) -> Arc<View> {
        Arc::clone(&self.view.read_recursive())
    }

    fn now(&self) -> i64 {
        i64::try_from(self.options.clock.since_epoch().as_millis()).unwrap_or(i64::MAX)
    }

    /// Makes durable what was taken and stops; nothing is taken any more. Reads go on.
    pub fn close(&self) {
        self.bell.stop();
        self.log.close();
        if let Some(depot) = &self.depot {
            depot.release();
        }
    }

    fn log_series(&self, id: u32, labels: &Labels) -> bool {
        let mut record = Vec::new();
        records::put_series(&mut record, id, labels);
        self.log.push(&record).is_ok()
    }

    /// Logs the series that the log did not take when they were made.
    fn log_late_series(&self) {
        let mut late = self.unlogged.lock();
        while let Some(id) = late.pop() {
            if let Some(labels) = self.head.labels(id)
                && !self.log_series(id, &labels)
            {
                late.push(id);
                return;
            }
        }
    }

    /// Everything is refused for the disk.
    fn all_refused(&self, samples: &[Sample], why: &str) -> Outcome {
        for sample in samples {
            let id = u32::try_from(sample.series.0).unwrap_or(u32::MAX);
            if let Some(source) = self.head.with(id, |series| series.source) {
                self.head.budget.shed(source, "disk", 1);
            }
        }
        let refused = samples.iter().enumerate().take(100);
        Outcome {
            taken: 0,
            refused: refused
                .map(|(at, _)| (at, Refused::Limit(why.to_owned())))
                .collect(),
            refused_count: samples.len(),
        }
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        self.bell.stop();
    }
}

/// Records of samples are cut at about this length, in bytes.
const RECORD: usize = 1 << 20;

#[async_trait]
impl Append for Store {
    fn resolve(&self, labels: &Labels) -> Result<SeriesRef, Refused> {
        self.head.resolve(labels, |id| {
            if !self.log_series(id, labels) {
                self.unlogged.lock().push(id);
            }
        })
    }

    fn labels(&self, series: SeriesRef) -> Option<Labels> {
        self.head.labels(u32::try_from(series.0).ok()?)
    }

    fn is(&self, series: SeriesRef, labels: &[(&str, &str)]) -> bool {
        let id = u32::try_from(series.0).unwrap_or(u32::MAX);
        self.head.is(id, labels)
    }

    fn going_on(&self, labels: &Labels, since: i64) -> Vec<SeriesRef> {
        let matchers: Vec<Matcher> = labels
            .iter()
            .map(|(name, value)| Matcher::equal(name, value))
            .collect();
        let mut ids = self.head_ids(&matchers);
        let goes_on = |series: &Series| series.packed.goes_on(since);
        ids.retain(|id| self.head.with(*id, |series| goes_on(series)) == Some(true));
        ids.into_iter().map(|id| SeriesRef(id.into())).collect()
    }

    fn touch(&self, series: SeriesRef) -> bool {
        let id = u32::try_from(series.0).unwrap_or(u32::MAX);
        let touched = self.head.with(id, |series| series.touched = true);
        touched.is_some()
    }

    fn append(&self, samples: &[Sample]) -> Result<Outcome, WriteError> {
        match self.log.state() {
            Ok(()) => {
                if let Some(why) = self.room.short() {
                    return Ok(self.all_refused(samples, &why));
                }
            }
            Err(NotTaken::Failed(why)) => return Err(WriteError(why.to_string())),
            Err(NotTaken::Full(why)) => return Ok(self.all_refused(samples, &why)),
        }
        self.log_late_series();
        let latest = self.now().saturating_add(self.options.future_ms);
        let mut out = records::Samples::new();
        let mut lost = None;
        let outcome = self.head.append(samples, latest, |sample| {
            out.put(sample.series.0, sample.at, &sample.value);
            if out.bytes().len() > RECORD {
                lost = lost.take().or(self.log.push(out.bytes()).err());
                out.clear();
            }
        });
        if !out.bytes().is_empty() {
            lost = lost.or(self.log.push(out.bytes()).err());
        }
        self.taken
            .fetch_add(outcome.taken as u64, Ordering::Relaxed);
        let refused = outcome.refused_count as u64;
        self.refused.fetch_add(refused, Ordering::Relaxed);
        if self.head.bytes() / 9 >= self.head.budget.limit() / 10 {
            self.bell.ring();
        }
        match lost {
            None => Ok(outcome),
            Some(NotTaken::Full(why)) => {
                // They can be queried, and a sender that tries again finds them there; durable
                // they are with the next checkpoint.
                self.unsafe_until_checkpoint.store(true, Ordering::Release);
                self.bell.ring();
                Ok(self.all_refused(samples, &why))
            }
            Some(NotTaken::Failed(why)) => Err(WriteError(why.to_string())),
        }
    }

    fn exemplar(&self, series: SeriesRef, exemplar: Exemplar) -> Result<(), Refused> {
        let unknown = || Refused::Labels(format!("unknown series {}", series.0));
        let id = u32::try_from(series.0).map_err(|_| unknown())?;
        self.head.with(id, |_| {}).ok_or_else(unknown)?;
        let mut record = Vec::new();
        records::put_exemplar(&mut record, id, &exemplar);
        self.exemplars.lock().add(id, exemplar)?;
        // Exemplars are a convenience: one that the log does not take is kept in memory alone.
        let _ = self.log.push(&record);
        Ok(())
    }

    fn metadata(&self, family: &str, metadata: Metadata) {
        let mut record = Vec::new();
        records::put_metadata(&mut record, family, &metadata);
        if self.families.lock().add(family, metadata) {
            // The next checkpoint has it too.
            let _ = self.log.push(&record);
        }
    }

    async fn sync(&self) -> Result<(), WriteError> {
        if self.unsafe_until_checkpoint.load(Ordering::Acquire) {
            return Err(WriteError("the log was full; try again".to_owned()));
        }
        self.log.sync().await.map_err(|why| match why {
            NotTaken::Failed(why) | NotTaken::Full(why) => WriteError(why.to_string()),
        })
    }
}
