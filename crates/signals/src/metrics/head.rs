//! The newest samples, in memory: the registry of series and a slot for each.
//!
//! Locks, in the order they are taken: the registry, then one series. Appending takes only the
//! second, so a query or a new series elsewhere does not hold it up.

mod back;

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};

use parking_lot::{Mutex, RwLock};
use towpath_query::promql::Labels;

use super::budget::Budget;
use super::chunk::histogram;
use super::registry::{Pairs, Registry};
use super::series::{Rules, Series, Taken};
use crate::{Outcome, Refused, Sample, SeriesRef, Value};

pub(crate) use back::Back;

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
    pages: RwLock<Vec<Option<Page>>>,
    max: AtomicI64,
    /// No sample is older; `i64::MAX` while there is none.
    min: AtomicI64,
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
            min: AtomicI64::new(i64::MAX),
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

    /// No sample is older; none while there is none.
    pub(crate) fn min(&self) -> Option<i64> {
        let min = self.min.load(Ordering::Acquire);
        (min < i64::MAX).then_some(min)
    }

    /// The store has a sample of this time.
    pub(crate) fn saw(&self, time: i64) {
        self.max.fetch_max(time, Ordering::AcqRel);
    }

    /// The head has a sample of this time.
    pub(crate) fn holds(&self, time: i64) {
        if time < self.min.load(Ordering::Relaxed) {
            self.min.fetch_min(time, Ordering::AcqRel);
        }
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
            let hash = registry.hash(labels.iter());
            if let Some(id) = self.find(&registry, hash, |own| registry.is(own, labels.iter())) {
                return Ok(SeriesRef(u64::from(id)));
            }
            hash
        };
        check_labels(labels)?;
        let mut registry = self.registry.write();
        if let Some(id) = self.find(&registry, hash, |own| registry.is(own, labels.iter())) {
            return Ok(SeriesRef(u64::from(id)));
        }
        let count = registry.ids().len();
        let source = self.budget.source_of(|name| labels.get(name));
        if let Some(limit) = self.budget.crowded(source, count, self.max_series) {
            self.budget.shed(source, "series", 1);
            return Err(limit);
        }
        if let Some(limit) = self.budget.exceeded(source, self.bytes()) {
            self.budget.shed(source, "memory", 1);
            return Err(limit);
        }
        let id = u32::try_from(self.next.load(Ordering::Relaxed))
            .map_err(|_| Refused::Limit("limit of series since start is reached".to_owned()))?;
        let pairs: Vec<(&str, &str)> = labels.iter().collect();
        self.add(&mut registry, hash, &pairs, id);
        made(id);
        Ok(SeriesRef(u64::from(id)))
    }

    /// The series with this hash whose labels `is` accepts.
    fn find(&self, registry: &Registry, hash: u64, is: impl Fn(&[u32]) -> bool) -> Option<u32> {
        registry.find(hash, |id| {
            self.with(id, |series| {
                let same = is(&series.labels);
                series.touched |= same;
                same
            })
            .unwrap_or(false)
        })
    }

    fn add(&self, registry: &mut Registry, hash: u64, labels: &[(&str, &str)], id: u32) {
        let pairs = registry.add(hash, labels, id);
        let source = self.budget.source_of(|name| {
            let found = labels.binary_search_by(|(own, _)| (*own).cmp(name));
            found.map_or("", |at| labels[at].1)
        });
        self.budget.change(source, own_bytes(pairs.len()) as isize);
        self.budget.change_series(source, 1);
        let page = self.page(id);
        *page[id as usize % PAGE].lock() = Some(Box::new(Series::new(pairs, source)));
        self.next.fetch_max(id as usize + 1, Ordering::AcqRel);
        if id.is_multiple_of(256) {
            self.registry_bytes
                .store(registry.bytes(), Ordering::Relaxed);
        }
    }

    /// The page of a number, made if there is none.
    fn page(&self, id: u32) -> Page {
        let at = id as usize / PAGE;
        let mut pages = self.pages.write();
        if pages.len() <= at {
            pages.resize(at + 1, None);
        }
        let empty = || (0..PAGE).map(|_| Mutex::new(None)).collect();
        Arc::clone(pages[at].get_or_insert_with(empty))
    }

    /// How many series there are.
    pub(crate) fn count(&self) -> usize {
        self.registry.read_recursive().ids().len()
    }

    /// No series made from now on gets a number below this.
    pub(crate) fn numbers_from(&self, id: u32) {
        self.next.fetch_max(id as usize, Ordering::AcqRel);
    }

    /// The number of the next series.
    pub(crate) fn next(&self) -> u32 {
        self.next.load(Ordering::Acquire).min(u32::MAX as usize) as u32
    }

    /// Does something with a series, if it is there.
    pub(crate) fn with<R>(&self, id: u32, f: impl FnOnce(&mut Series) -> R) -> Option<R> {
        let page = {
            let pages = self.pages.read_recursive();
            Arc::clone(pages.get(id as usize / PAGE)?.as_ref()?)
        };
        let mut slot = page[id as usize % PAGE].lock();
        slot.as_deref_mut().map(f)
    }

    /// The labels of a series.
    pub(crate) fn labels(&self, id: u32) -> Option<Labels> {
        let registry = self.registry.read_recursive();
        self.with(id, |series| registry.labels(&series.labels))
    }

    /// Whether a series is there and has these labels.
    pub(crate) fn is(&self, id: u32, labels: &[(&str, &str)]) -> bool {
        let registry = self.registry.read_recursive();
        let same = self.with(id, |series| {
            let same = registry.is(&series.labels, labels.iter().copied());
            series.touched |= same;
            same
        });
        same.unwrap_or(false)
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
            let found = pages.get(id / PAGE).and_then(Clone::clone);
            let found = found.ok_or_else(unknown)?;
            *page = Some((id / PAGE, found));
        }
        let Some((_, page)) = page else {
            return Err(unknown());
        };
        let mut slot = page[id % PAGE].lock();
        let series = slot.as_deref_mut().ok_or_else(unknown)?;
        if let Some(limit) = self.budget.exceeded(series.source, self.bytes()) {
            self.budget.shed(series.source, "memory", 1);
            return Err(limit);
        }
        // Read while the series is locked: who moves the bound locks every series after it.
        let flushed = self.min_valid();
        if sample.at < flushed {
            let window = rules.window > 0;
            return Err(if window {
                Refused::TooOld
            } else {
                Refused::OutOfBounds
            });
        }
        rules.min_valid = flushed.max(quiet);
        let before = series.packed.closed.len();
        let open = open_bytes(series);
        let taken = series.append(sample.at, &sample.value, rules)?;
        self.holds(sample.at);
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

    /// Does something to a series and counts what it takes anew.
    pub(crate) fn change<R>(&self, id: u32, f: impl FnOnce(&mut Series) -> R) -> Option<R> {
        self.with(id, |series| {
            let before = series.bytes();
            let done = f(series);
            let grown = series.bytes() as isize - before as isize;
            self.budget.change(series.source, grown);
            done
        })
    }

    /// Forgets all samples before `boundary`, and the series that have none left and were not
    /// asked for since the last time. Tells which.
    pub(crate) fn truncate(&self, boundary: i64) -> Vec<u32> {
        let ids = self.registry.read().ids().to_vec();
        let mut idle = Vec::new();
        // What comes in from here on tells its time itself; what came before is found.
        self.min.store(i64::MAX, Ordering::Release);
        for id in ids {
            self.change(id, |series| {
                series.truncate(boundary, self.block);
                match series.packed.min() {
                    Some(min) => self.holds(min),
                    None => {
                        if !series.touched {
                            idle.push(id);
                        }
                        series.touched = false;
                    }
                }
            });
        }
        if idle.is_empty() {
            return idle;
        }
        let mut registry = self.registry.write();
        let mut gone: Vec<(u32, Pairs)> = Vec::with_capacity(idle.len());
        let mut pages = self.pages.write();
        for id in idle {
            let Some(page) = &pages[id as usize / PAGE] else {
                continue;
            };
            let mut slot = page[id as usize % PAGE].lock();
            let still = slot
                .as_ref()
                .is_some_and(|series| series.packed.min().is_none() && !series.touched);
            if still && let Some(series) = slot.take() {
                let own = own_bytes(series.labels.len());
                self.budget.change(series.source, -(own as isize));
                self.budget.change_series(series.source, -1);
                gone.push((id, series.labels));
            }
        }
        // Pages that no new series will use and no old one does.
        let used = self.next.load(Ordering::Acquire) / PAGE;
        for page in pages.iter_mut().take(used) {
            if page
                .as_ref()
                .is_some_and(|page| page.iter().all(|slot| slot.lock().is_none()))
            {
                *page = None;
            }
        }
        drop(pages);
        registry.remove(&gone);
        self.registry_bytes
            .store(registry.bytes(), Ordering::Relaxed);
        gone.into_iter().map(|(id, _)| id).collect()
    }
}

/// What a series takes beside its chunks.
fn own_bytes(labels: usize) -> usize {
    size_of::<Series>() + 16 + labels * size_of::<u32>()
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
