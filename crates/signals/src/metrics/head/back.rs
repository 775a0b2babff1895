//! What was written down comes back into the head.

use std::sync::atomic::Ordering;

use super::super::batch::{Batch, Label};
use super::super::budget::Budget;
use super::super::chunk::Chunk;
use super::super::series::{Form, Series};
use super::{Head, PAGE, Page, open_bytes, own_bytes};
use crate::Value;

/// What is gathered while a head is read back.
#[derive(Default)]
pub(crate) struct Back {
    /// The page of the series before: the next one is on it, mostly.
    page: Option<(usize, Page)>,
    /// Bytes by source.
    grown: Vec<isize>,
    /// The first and the last time.
    times: Option<(i64, i64)>,
}

impl Back {
    fn saw(&mut self, first: i64, last: i64) {
        let (oldest, newest) = self.times.unwrap_or((first, last));
        self.times = Some((oldest.min(first), newest.max(last)));
    }
}

/// What a batch of series takes, told source by source: they come in runs.
#[derive(Default)]
struct Tally<'b> {
    /// The value by which the source was known, and the source.
    known: Option<(&'b str, u32)>,
    of: u32,
    bytes: isize,
    series: isize,
}

impl<'b> Tally<'b> {
    /// The source of a series.
    fn source(&mut self, budget: &Budget, mut labels: impl Iterator<Item = Label<'b>>) -> u32 {
        let found = labels.find(|label| label.name == budget.label());
        let value = found.map_or("", |label| label.value);
        match self.known {
            Some((known, source)) if known == value => source,
            _ => {
                let source = budget.source_of(|_| value);
                self.known = Some((value, source));
                source
            }
        }
    }

    fn add(&mut self, budget: &Budget, source: u32, bytes: usize) {
        if self.of != source {
            self.tell(budget);
            self.of = source;
        }
        self.bytes += bytes as isize;
        self.series += 1;
    }

    fn tell(&mut self, budget: &Budget) {
        budget.change(self.of, std::mem::take(&mut self.bytes));
        budget.change_series(self.of, std::mem::take(&mut self.series));
    }
}

impl Head {
    /// Makes the series of a log with their numbers, whatever the limits are. Tells those that
    /// have another number: they were there already, or the log is damaged and theirs was taken.
    pub(crate) fn restore(&self, batch: &Batch) -> Vec<(u32, u32)> {
        let mut registry = self.registry.write();
        let mut other = Vec::new();
        let mut tally = Tally::default();
        let mut page: Option<(usize, Page)> = None;
        let (mut pairs, mut before): (Vec<u32>, Vec<u32>) = Default::default();
        for (number, hash, labels) in batch.iter() {
            std::mem::swap(&mut pairs, &mut before);
            pairs.clear();
            let texts = labels.clone().map(|label| (label.name, label.value));
            let known = self.find(&registry, hash, |own| registry.is(own, texts.clone()));
            if let Some(known) = known {
                self.with(known, |series| pairs.extend_from_slice(&series.labels));
                if known != number {
                    other.push((number, known));
                }
                continue;
            }
            let Some(own) = self.free(number, &mut page) else {
                continue;
            };
            if own != number {
                other.push((number, own));
            }
            for label in labels.clone() {
                let pair = label.same.and_then(|at| before.get(at).copied());
                pairs.push(pair.unwrap_or_else(|| registry.pair(label.name, label.value)));
            }
            let source = tally.source(&self.budget, labels);
            let series = Series::new(Box::from(&pairs[..]), source);
            if let Some((_, page)) = &page {
                *page[own as usize % PAGE].lock() = Some(Box::new(series));
            }
            tally.add(&self.budget, source, own_bytes(pairs.len()));
            registry.put(hash, &pairs, own);
            self.next.fetch_max(own as usize + 1, Ordering::AcqRel);
        }
        tally.tell(&self.budget);
        self.registry_bytes
            .store(registry.bytes(), Ordering::Relaxed);
        other
    }

    /// The number, or the next one that is free where it is taken; none where there is no other.
    /// `page` is that of the number then.
    fn free(&self, number: u32, page: &mut Option<(usize, Page)>) -> Option<u32> {
        let mut own = number;
        loop {
            let at = own as usize / PAGE;
            let (_, page) = match &mut *page {
                Some(page) if page.0 == at => page,
                page => page.insert((at, self.page(own))),
            };
            if page[own as usize % PAGE].lock().is_none() {
                return Some(own);
            }
            if own == u32::MAX {
                return None;
            }
            own = self.next();
        }
    }

    /// Does something to a series that is read back; `f` tells how much more it takes than before.
    fn read_back<R>(
        &self,
        back: &mut Back,
        id: u32,
        f: impl FnOnce(&mut Series) -> (R, isize),
    ) -> Option<R> {
        let at = id as usize / PAGE;
        if back.page.as_ref().is_none_or(|(own, _)| *own != at) {
            let pages = self.pages.read_recursive();
            back.page = Some((at, pages.get(at).and_then(Clone::clone)?));
        }
        let (_, page) = back.page.as_ref()?;
        let mut slot = page[id as usize % PAGE].lock();
        let series = slot.as_deref_mut()?;
        let (done, grown) = f(series);
        let source = series.source as usize;
        if back.grown.len() <= source {
            back.grown.resize(source + 1, 0);
        }
        back.grown[source] += grown;
        Some(done)
    }

    /// Puts in samples of a log, all of one series, in the order of the log. How many could not be
    /// placed, or all if the series is not there.
    pub(crate) fn replay(
        &self,
        back: &mut Back,
        id: u32,
        samples: impl Iterator<Item = (i64, Value)> + Clone,
    ) -> usize {
        let valid = self.min_valid();
        let samples = samples.filter(|(time, _)| *time >= valid);
        let all = samples.clone();
        let mut times: Option<(i64, i64)> = None;
        let lost = self.read_back(back, id, |series| {
            let (mut lost, mut grown) = (0, 0);
            for (time, value) in samples {
                let (first, last) = times.unwrap_or((time, time));
                times = Some((first.min(time), last.max(time)));
                if series.packed.max().is_some_and(|max| time <= max) {
                    let before = series.bytes() as isize;
                    lost += usize::from(series.insert(time, &value, self.block).is_err());
                    grown += series.bytes() as isize - before;
                    continue;
                }
                let (closed, open) = (series.packed.closed.len(), open_bytes(series));
                series.packed.push(time, &value, self.block);
                let new = series.packed.closed[closed..].iter().map(Chunk::bytes);
                grown += (new.sum::<usize>() + open_bytes(series)) as isize - open as isize;
            }
            (lost, grown)
        });
        if let Some((first, last)) = times {
            back.saw(first, last);
        }
        lost.unwrap_or_else(|| all.count())
    }

    /// Puts in a closed chunk of a checkpoint.
    pub(crate) fn replay_chunk(&self, back: &mut Back, id: u32, chunk: Chunk) {
        back.saw(chunk.min, chunk.max());
        self.read_back(back, id, |series| {
            let before = series.bytes() as isize;
            series.restore(chunk);
            ((), series.bytes() as isize - before)
        });
    }

    /// Puts in the open chunk of a checkpoint.
    pub(crate) fn replay_open(&self, back: &mut Back, id: u32, form: Form, data: &[u8]) {
        let times = self.read_back(back, id, |series| {
            let before = series.bytes() as isize;
            let times = series.restore_open(form, data).and_then(|()| {
                let open = &series.packed.open;
                open.first().zip(open.last())
            });
            (times, series.bytes() as isize - before)
        });
        if let Some(Some((first, last))) = times {
            back.saw(first, last);
        }
    }

    /// All that is on the disk has been read back, or all of a share.
    pub(crate) fn is_back(&self, back: &Back) {
        for (source, bytes) in (0..).zip(&back.grown) {
            self.budget.change(source, *bytes);
        }
        if let Some((oldest, newest)) = back.times {
            self.saw(newest);
            self.holds(oldest.max(self.min_valid()));
        }
        let registry = self.registry.read_recursive();
        self.registry_bytes
            .store(registry.bytes(), Ordering::Relaxed);
    }
}
