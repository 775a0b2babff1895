//! The newest samples, in memory: the registry of series and a slot for each.
//!
//! Locks, in the order they are taken: the registry, then one series. Appending takes only the
//! second, so a query or a new series elsewhere does not hold it up.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};

use parking_lot::{Mutex, RwLock};
use towpath_query::promql::Labels;

use super::budget::Budget;
use super::chunk::histogram;
use super::registry::{Pairs, Registry};
use super::series::{Rules, Series, Taken};
use crate::{Outcome, Refused, Sample, SeriesRef, Value};

/// Slots come in pages, so that a series never moves.
const PAGE: usize = 256;

type Slot = Mutex<Option<Box<Series>>>;
type Page = Arc<[Slot]>;

/// The most bytes all labels of a series may have.
const LABEL_BYTES: usize = 64 << 10;
/// The refusals that are told one by one.
const REFUSED: usize = 100;

pub(crate) struct Head {
    pub(crate) registry: RwLock<Registry>,
    pages: RwLock<Vec<Page>>,
    max: AtomicI64,
    /// Samples before are in segments.
    min_valid: AtomicI64,
    pub(crate) budget: Budget,
    block: i64,
    window: i64,
    max_series: usize,
    /// What the registry takes, as of a while ago.
    registry_bytes: AtomicUsize,
    next: AtomicUsize,
}

/// How the head is bounded.
pub(crate) struct Bounds {
    pub(crate) block: i64,
    pub(crate) window: i64,
    pub(crate) max_series: usize,
}

impl Head {
    pub(crate) fn new(bounds: &Bounds, budget: Budget) -> Self {
        Self {
            registry: RwLock::default(),
            pages: RwLock::default(),
            max: AtomicI64::new(i64::MIN),
            min_valid: AtomicI64::new(i64::MIN),
            budget,
            block: bounds.block,
            window: bounds.window,
            max_series: bounds.max_series,
            registry_bytes: AtomicUsize::new(0),
            next: AtomicUsize::new(0),
        }
    }

    /// The newest time, `i64::MIN` before there is any.
    pub(crate) fn max(&self) -> i64 {
        self.max.load(Ordering::Acquire)
    }

    pub(crate) fn saw(&self, time: i64) {
        self.max.fetch_max(time, Ordering::AcqRel);
    }

    pub(crate) fn min_valid(&self) -> i64 {
        self.min_valid.load(Ordering::Acquire)
    }

    /// From now on samples before `time` are refused. Who takes the lock of a series after this
    /// sees all that were let in before.
    pub(crate) fn refuse_before(&self, time: i64) {
        self.min_valid.fetch_max(time, Ordering::AcqRel);
    }

    /// Memory in use, in bytes.
    pub(crate) fn bytes(&self) -> usize {
        self.budget.chunk_bytes()
            + self.registry_bytes.load(Ordering::Relaxed)
            + self.next.load(Ordering::Relaxed) * size_of::<Slot>()
    }

    /// The series of these labels; made if there is none, then `made` is told, before anybody else
    /// can know of it.
    pub(crate) fn resolve(
        &self,
        labels: &Labels,
        made: impl FnOnce(u32),
    ) -> Result<SeriesRef, Refused> {
        let hash = {
            let registry = self.registry.read_recursive();
            let hash = registry.hash(labels);
            if let Some(id) = self.find(&registry, hash, labels) {
                return Ok(SeriesRef(u64::from(id)));
            }
            hash
        };
        check_labels(labels)?;
        let mut registry = self.registry.write();
        if let Some(id) = self.find(&registry, hash, labels) {
            return Ok(SeriesRef(u64::from(id)));
        }
        let count = registry.ids().len();
        if count >= self.max_series {
            self.budget.shed_of(labels, "series", 1);
            return Err(Refused::Limit(format!(
                "limit of {} series is reached",
                self.max_series
            )));
        }
        if let Some(limit) = self.budget.exceeded(self.bytes()) {
            self.budget.shed_of(labels, "memory", 1);
            return Err(limit);
        }
        let id = self.add(&mut registry, hash, labels)?;
        made(id);
        Ok(SeriesRef(u64::from(id)))
    }

    fn find(&self, registry: &Registry, hash: u64, labels: &Labels) -> Option<u32> {
        registry.find(hash, |id| {
            self.with(id, |series| {
                let same = registry.is(&series.labels, labels);
                series.touched |= same;
                same
            })
            .unwrap_or(false)
        })
    }

    fn add(&self, registry: &mut Registry, hash: u64, labels: &Labels) -> Result<u32, Refused> {
        let next = self.next.load(Ordering::Relaxed);
        let id = u32::try_from(next)
            .map_err(|_| Refused::Limit("limit of series since start is reached".to_owned()))?;
        let pairs = registry.add(hash, labels, id);
        let source = self.budget.source_of(labels);
        self.budget.add(
            source,
            size_of::<Series>() + 16 + pairs.len() * size_of::<(u32, u32)>(),
        );
        if next.is_multiple_of(PAGE) {
            let page: Page = (0..PAGE).map(|_| Mutex::new(None)).collect();
            self.pages.write().push(page);
        }
        let pages = self.pages.read();
        *pages[next / PAGE][next % PAGE].lock() = Some(Box::new(Series::new(pairs, source)));
        drop(pages);
        self.next.store(next + 1, Ordering::Release);
        if next.is_multiple_of(256) {
            self.registry_bytes
                .store(registry.bytes(), Ordering::Relaxed);
        }
        Ok(id)
    }

    /// Makes a series of a log, whatever the limits are.
    pub(crate) fn restore(&self, labels: &Labels) -> Option<u32> {
        let mut registry = self.registry.write();
        let hash = registry.hash(labels);
        match self.find(&registry, hash, labels) {
            Some(id) => Some(id),
            None => self.add(&mut registry, hash, labels).ok(),
        }
    }

    /// Does something with a series, if it is there.
    pub(crate) fn with<R>(&self, id: u32, f: impl FnOnce(&mut Series) -> R) -> Option<R> {
        let page = {
            let pages = self.pages.read_recursive();
            Arc::clone(pages.get(id as usize / PAGE)?)
        };
        let mut slot = page[id as usize % PAGE].lock();
        slot.as_deref_mut().map(f)
    }

    /// The labels of a series.
    pub(crate) fn labels(&self, id: u32) -> Option<Labels> {
        let registry = self.registry.read_recursive();
        self.with(id, |series| registry.labels(&series.labels))
    }

    /// Takes samples; `taken` is told of each that is new. Samples after `latest` are refused.
    pub(crate) fn append(
        &self,
        samples: &[Sample],
        latest: i64,
        mut taken: impl FnMut(&Sample),
    ) -> Outcome {
        let mut outcome = Outcome::default();
        let max = self.max();
        let mut rules = Rules {
            min_valid: i64::MIN,
            max,
            window: self.window,
            block: self.block,
        };
        // Half a block back a quiet series may still go on, as upstream has it.
        let quiet = match max {
            i64::MIN => i64::MIN,
            max => max.saturating_sub(self.block / 2),
        };
        let mut newest = i64::MIN;
        let mut page: Option<(usize, Page)> = None;
        for (at, sample) in samples.iter().enumerate() {
            let done = self.one(sample, latest, quiet, &mut rules, &mut page);
            match done {
                Ok(Taken::New) => {
                    outcome.taken += 1;
                    newest = newest.max(sample.at);
                    taken(sample);
                }
                Ok(Taken::Known) => outcome.taken += 1,
                Err(why) => {
                    outcome.refused_count += 1;
                    if outcome.refused.len() < REFUSED {
                        outcome.refused.push((at, why));
                    }
                }
            }
        }
        if newest > i64::MIN {
            self.saw(newest);
        }
        outcome
    }

    fn one(
        &self,
        sample: &Sample,
        latest: i64,
        quiet: i64,
        rules: &mut Rules,
        page: &mut Option<(usize, Page)>,
    ) -> Result<Taken, Refused> {
        if sample.at > latest {
            return Err(Refused::OutOfBounds);
        }
        if let Value::Histogram(value) = &sample.value {
            histogram::check(value).map_err(Refused::Histogram)?;
        }
        let unknown = || Refused::Labels(format!("unknown series {}", sample.series.0));
        let id = usize::try_from(sample.series.0).map_err(|_| unknown())?;
        if page.as_ref().is_none_or(|(at, _)| *at != id / PAGE) {
            let pages = self.pages.read_recursive();
            let found = pages.get(id / PAGE).map(Arc::clone).ok_or_else(unknown)?;
            *page = Some((id / PAGE, found));
        }
        let Some((_, page)) = page else {
            return Err(unknown());
        };
        let mut slot = page[id % PAGE].lock();
        let series = slot.as_deref_mut().ok_or_else(unknown)?;
        if let Some(limit) = self.budget.exceeded(self.bytes()) {
            self.budget.shed(series.source, "memory", 1);
            return Err(limit);
        }
        // Read while the series is locked: who moves the bound locks every series after it.
        let flushed = self.min_valid();
        if sample.at < flushed {
            return Err(match rules.window {
                ..=0 => Refused::OutOfBounds,
                _ => Refused::TooOld,
            });
        }
        rules.min_valid = flushed.max(quiet);
        let before = series.packed.closed.len();
        let open = open_bytes(series);
        let taken = series.append(sample.at, &sample.value, rules)?;
        // Only where chunks were closed is all counted anew.
        let grown = if series.packed.closed.len() == before {
            open_bytes(series) as isize - open as isize
        } else {
            let closed = series.packed.closed[before.min(series.packed.closed.len())..].iter();
            closed.map(|chunk| chunk.bytes() as isize).sum::<isize>() + open_bytes(series) as isize
                - open as isize
        };
        self.budget.change(series.source, grown);
        Ok(taken)
    }

    /// Puts in a sample of a log; whether the series is there and it could be placed.
    pub(crate) fn replay(&self, id: u32, time: i64, value: &Value) -> bool {
        if time < self.min_valid() {
            return true;
        }
        let done = self.with(id, |series| {
            let before = series.bytes();
            let done = series.insert(time, value, self.block).is_ok();
            let grown = series.bytes() as isize - before as isize;
            self.budget.change(series.source, grown);
            done
        });
        self.saw(time);
        done.unwrap_or(false)
    }

    /// Forgets all samples before `boundary`, and the series that have none left and were not
    /// asked for since the last time. Tells which.
    pub(crate) fn truncate(&self, boundary: i64) -> Vec<u32> {
        let ids = self.registry.read().ids().to_vec();
        let mut idle = Vec::new();
        for id in ids {
            self.with(id, |series| {
                let before = series.bytes();
                series.truncate(boundary, self.block);
                let grown = series.bytes() as isize - before as isize;
                self.budget.change(series.source, grown);
                if series.packed.min().is_none() {
                    if !series.touched {
                        idle.push(id);
                    }
                    series.touched = false;
                }
            });
        }
        if idle.is_empty() {
            return idle;
        }
        let mut registry = self.registry.write();
        let mut gone: Vec<(u32, Pairs)> = Vec::with_capacity(idle.len());
        let pages = self.pages.read();
        for id in idle {
            let mut slot = pages[id as usize / PAGE][id as usize % PAGE].lock();
            let still = slot
                .as_ref()
                .is_some_and(|series| series.packed.min().is_none() && !series.touched);
            if still && let Some(series) = slot.take() {
                let own = size_of::<Series>() + 16 + series.labels.len() * 8;
                self.budget.change(series.source, -(own as isize));
                gone.push((id, series.labels));
            }
        }
        drop(pages);
        registry.remove(&gone);
        self.registry_bytes
            .store(registry.bytes(), Ordering::Relaxed);
        gone.into_iter().map(|(id, _)| id).collect()
    }
}

fn open_bytes(series: &Series) -> usize {
    use super::series::Open;
    match &series.packed.open {
        Open::None => 0,
        Open::Float(chunk) => chunk.bytes(),
        Open::Histogram(chunk) => chunk.bytes(),
    }
}

fn check_labels(labels: &Labels) -> Result<(), Refused> {
    if labels.is_empty() {
        return Err(Refused::Labels("empty labelset: invalid sample".to_owned()));
    }
    let mut bytes = 0;
    for (name, value) in labels.iter() {
        if name.is_empty() {
            return Err(Refused::Labels("empty label name".to_owned()));
        }
        bytes += name.len() + value.len();
    }
    if bytes > LABEL_BYTES {
        return Err(Refused::Limit(format!(
            "labels of {bytes} bytes, limit is {LABEL_BYTES}"
        )));
    }
    Ok(())
}
