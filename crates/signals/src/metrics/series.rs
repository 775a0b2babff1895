//! The samples of one series that are not yet in a segment.
//!
//! Chunks are in order of time and never overlap; only the last one grows. A late sample goes into
//! the chunk it belongs to, which is packed anew, so that a query never has to merge.

use std::sync::Arc;

use towpath_query::promql::{Histogram, ResetHint, stale};

use super::chunk::{Chunk, FULL, Found, Kind, histogram, spans, xor};
use super::registry::Pairs;
use crate::{Refused, Value};

/// The chunk that grows.
#[derive(Clone, Debug, Default)]
pub(crate) enum Open {
    #[default]
    None,
    Float(xor::Appender),
    Histogram(Box<histogram::Appender>),
}

/// How the chunk that grows is written down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// A chunk of floats as a closed one is: all of it is read to let it grow on.
    Floats,
    Histograms,
    /// Floats with all that is needed to grow on.
    Growing,
}

impl Form {
    pub(crate) fn code(self) -> u8 {
        match self {
            Self::Floats => 1,
            Self::Histograms => 2,
            Self::Growing => 3,
        }
    }

    pub(crate) fn of(code: u8) -> Option<Self> {
        let all = [Self::Floats, Self::Histograms, Self::Growing];
        all.into_iter().find(|form| form.code() == code)
    }
}

/// A series in the head.
#[derive(Debug)]
pub(crate) struct Series {
    pub(crate) labels: Pairs,
    pub(crate) source: u32,
    /// Whether somebody asked for it since the last look at who is gone.
    pub(crate) touched: bool,
    /// How many of the closed chunks are in a checkpoint.
    pub(crate) saved: u16,
    pub(crate) packed: Packed,
}

/// What may be written where, when a batch begins.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rules {
    /// Samples before are refused.
    pub(crate) min_valid: i64,
    /// The newest sample of the store.
    pub(crate) max: i64,
    /// How late a sample may be, in milliseconds.
    pub(crate) window: i64,
    /// Chunks do not cross multiples of this, in milliseconds.
    pub(crate) block: i64,
}

/// What became of a sample.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Taken {
    /// It is new.
    New,
    /// The same was there.
    Known,
}

impl Series {
    pub(crate) fn new(labels: Pairs, source: u32) -> Self {
        Self {
            labels,
            source,
            touched: true,
            saved: 0,
            packed: Packed::default(),
        }
    }

    /// Takes a sample if upstream would.
    pub(crate) fn append(
        &mut self,
        time: i64,
        value: &Value,
        rules: &Rules,
    ) -> Result<Taken, Refused> {
        if time >= rules.min_valid {
            match self.packed.max() {
                None => {
                    self.packed.push(time, value, rules.block);
                    return Ok(Taken::New);
                }
                Some(max) if time > max => {
                    self.packed.push(time, value, rules.block);
                    return Ok(Taken::New);
                }
                Some(max) if time == max => {
                    return if self.packed.ends_with(value) {
                        Ok(Taken::Known)
                    } else {
                        Err(Refused::Duplicate)
                    };
                }
                Some(_) => {}
            }
        }
        if rules.window <= 0 {
            return Err(if time < rules.min_valid {
                Refused::OutOfBounds
            } else {
                Refused::OutOfOrder
            });
        }
        if time < rules.max.saturating_sub(rules.window) {
            return Err(Refused::TooOld);
        }
        self.insert(time, value, rules.block)
    }

    /// Puts a sample where it belongs.
    pub(crate) fn insert(
        &mut self,
        time: i64,
        value: &Value,
        block: i64,
    ) -> Result<Taken, Refused> {
        if self.packed.max().is_none_or(|max| time > max) {
            self.packed.push(time, value, block);
            return Ok(Taken::New);
        }
        let (taken, changed) = self.packed.insert(time, value, block)?;
        // What is in a checkpoint of the chunks from there on is no longer true.
        self.saved = self.saved.min(changed.min(usize::from(u16::MAX)) as u16);
        Ok(taken)
    }

    /// Takes a closed chunk of a checkpoint; what reached into it is replaced.
    pub(crate) fn restore(&mut self, chunk: Chunk) {
        let open = std::mem::take(&mut self.packed.open);
        let behind = open.first().is_some_and(|first| first > chunk.max());
        self.packed.cut(chunk.min);
        self.packed.closed.push(chunk);
        if behind {
            self.packed.open = open;
        }
        self.saved = self.packed.closed.len().min(usize::from(u16::MAX)) as u16;
    }

    /// Takes the open chunk of a checkpoint; `None` if it is damaged.
    pub(crate) fn restore_open(&mut self, form: Form, data: &[u8]) -> Option<()> {
        let open = Open::get(form, data)?;
        self.packed.cut(open.first()?);
        self.saved = self.saved.min(self.packed.closed.len() as u16);
        self.packed.open = open;
        Some(())
    }

    /// Forgets what is before `boundary`.
    pub(crate) fn truncate(&mut self, boundary: i64, block: i64) {
        let before = self.packed.closed.len();
        let whole = self.packed.truncate(boundary, block);
        let gone = before.saturating_sub(self.packed.closed.len());
        self.saved = match whole {
            true => self
                .saved
                .saturating_sub(gone.min(usize::from(u16::MAX)) as u16),
            false => 0,
        };
    }

    /// What it takes in memory, without its labels.
    pub(crate) fn bytes(&self) -> usize {
        self.packed.bytes()
    }
}

impl Open {
    pub(crate) fn first(&self) -> Option<i64> {
        match self {
            Self::None => None,
            Self::Float(chunk) => Some(chunk.first),
            Self::Histogram(chunk) => Some(chunk.first),
        }
    }

    pub(crate) fn last(&self) -> Option<i64> {
        match self {
            Self::None => None,
            Self::Float(chunk) => Some(chunk.last),
            Self::Histogram(chunk) => Some(chunk.last),
        }
    }

    /// Writes it down; in which form. None where there is nothing.
    pub(crate) fn put(&self, out: &mut Vec<u8>) -> Option<Form> {
        match self {
            Self::None => None,
            Self::Float(chunk) => {
                chunk.put(out);
                Some(Form::Growing)
            }
            Self::Histogram(chunk) => {
                out.extend_from_slice(chunk.data());
                Some(Form::Histograms)
            }
        }
    }

    /// Reads what was written down; `None` if it is damaged.
    fn get(form: Form, data: &[u8]) -> Option<Self> {
        Some(match form {
            Form::Floats => Self::Float(xor::Appender::resume(data)?),
            Form::Histograms => Self::Histogram(Box::new(histogram::Appender::resume(data)?)),
            Form::Growing => Self::Float(xor::Appender::get(data)?),
        })
    }

    fn bytes(&self) -> usize {
        match self {
            Self::None => 0,
            Self::Float(chunk) => chunk.bytes(),
            Self::Histogram(chunk) => chunk.bytes(),
        }
    }

    fn close(self) -> Option<Chunk> {
        match self {
            Self::None => None,
            Self::Float(chunk) => Chunk::floats(chunk),
            Self::Histogram(c) => {
                Chunk::new(Kind::Histogram, c.first, c.last, c.count, c.into_data())
            }
        }
    }
}

/// Chunks in order of time.
#[derive(Clone, Debug, Default)]
pub(crate) struct Packed {
    pub(crate) closed: Vec<Chunk>,
    pub(crate) open: Open,
}

impl Packed {
    pub(crate) fn min(&self) -> Option<i64> {
        let closed = self.closed.first().map(|chunk| chunk.min);
        closed.or_else(|| self.open.first())
    }

    pub(crate) fn max(&self) -> Option<i64> {
        let closed = || self.closed.last().map(Chunk::max);
        self.open.last().or_else(closed)
    }

    pub(crate) fn chunks(&self) -> usize {
        self.closed.len() + usize::from(!matches!(self.open, Open::None))
    }

    pub(crate) fn bytes(&self) -> usize {
        let closed: usize = self.closed.iter().map(Chunk::bytes).sum();
        closed + self.open.bytes()
    }

    /// Whether there is a sample since a time, and the newest one marks no end.
    pub(crate) fn goes_on(&self, since: i64) -> bool {
        self.max().is_some_and(|max| max >= since) && !self.ends_with(&Value::Float(stale()))
    }

    fn ends_with(&self, value: &Value) -> bool {
        match (&self.open, value) {
            (Open::Float(chunk), Value::Float(value)) => chunk.value().to_bits() == value.to_bits(),
            (Open::Histogram(chunk), Value::Histogram(value)) => chunk.value().same(value),
            // Only after a restart can the last chunk be closed.
            (Open::None, value) => {
                let Some(chunk) = self.closed.last() else {
                    return false;
                };
                let mut found = Found::default();
                let read = chunk.read(chunk.max(), i64::MAX, &mut found);
                read.is_some() && is_at(&found, chunk.max(), value) == Some(true)
            }
            _ => false,
        }
    }

    /// Adds a sample newer than all others.
    pub(crate) fn push(&mut self, time: i64, value: &Value, block: i64) {
        // The first one is in the same block if that began no later.
        let within = |first: i64, count: u16| {
            count < FULL
                && spans(first, time)
                && time.saturating_sub(first) <= time.rem_euclid(block)
        };
        match (&mut self.open, value) {
            (Open::Float(chunk), Value::Float(value)) if within(chunk.first, chunk.count) => {
                chunk.push(time, *value);
            }
            (Open::Histogram(chunk), Value::Histogram(value))
                if within(chunk.first, chunk.count) && follows(chunk, value) =>
            {
                let hint = match value.hint {
                    ResetHint::Gauge => ResetHint::Gauge,
                    _ => ResetHint::NotReset,
                };
                chunk.push(time, hinted(value, hint));
            }
            (_, Value::Float(value)) => {
                self.close();
                self.open = Open::Float(xor::Appender::new(time, *value));
            }
            (_, Value::Histogram(value)) => {
                self.close();
                let hint = match value.hint {
                    ResetHint::Gauge => ResetHint::Gauge,
                    _ => ResetHint::Unknown,
                };
                let first = histogram::Appender::new(time, hinted(value, hint));
                self.open = Open::Histogram(Box::new(first));
            }
        }
    }

    fn close(&mut self) {
        if let Some(chunk) = std::mem::take(&mut self.open).close() {
            if self.closed.len() == self.closed.capacity() {
                self.closed.reserve_exact(1);
            }
            self.closed.push(chunk);
        }
    }

    /// Puts in a sample that is not newer than all others. Tells the first chunk that changed.
    fn insert(&mut self, time: i64, value: &Value, block: i64) -> Result<(Taken, usize), Refused> {
        let into_open = self.open.first().is_some_and(|first| first <= time);
        let after = self.closed.partition_point(|chunk| chunk.min <= time);
        let at = match into_open || self.closed.is_empty() {
            true => self.closed.len(),
            false => after.saturating_sub(1),
        };
        let mut found = Found::default();
        let read = match self.closed.get(at) {
            Some(chunk) => chunk.read(i64::MIN, i64::MAX, &mut found),
            None => self.read_open(i64::MIN, i64::MAX, &mut found),
        };
        if read.is_none() {
            return Err(Refused::OutOfOrder);
        }
        match is_at(&found, time, value) {
            Some(true) => return Ok((Taken::Known, self.closed.len())),
            Some(false) => return Err(Refused::Duplicate),
            None => {}
        }
        let mut anew = Self::default();
        let mut given = Some(value);
        for (own, kept) in samples(&found) {
            if own > time
                && let Some(value) = given.take()
            {
                anew.push(time, value, block);
            }
            anew.push(own, &kept, block);
        }
        if let Some(value) = given {
            anew.push(time, value, block);
        }
        if at == self.closed.len() {
            self.closed.append(&mut anew.closed);
            self.open = anew.open;
        } else {
            anew.close();
            self.closed.splice(at..=at, anew.closed);
        }
        Ok((Taken::New, at))
    }

    fn read_open(&self, start: i64, end: i64, out: &mut Found) -> Option<()> {
        match &self.open {
            Open::None => Some(()),
            Open::Float(chunk) => chunk.read(start, end, &mut out.floats),
            Open::Histogram(chunk) => {
                histogram::read(chunk.data(), start, end, &mut out.histograms)
            }
        }
    }

    /// Adds the samples from `start` to `end`; `None` if a chunk is damaged.
    pub(crate) fn read(&self, start: i64, end: i64, out: &mut Found) -> Option<()> {
        let from = self.closed.partition_point(|chunk| chunk.max() < start);
        for chunk in &self.closed[from..] {
            if chunk.min > end {
                return Some(());
            }
            chunk.read(start, end, out)?;
        }
        let open = self.open.first().is_some_and(|first| first <= end)
            && self.open.last().is_some_and(|last| last >= start);
        if open {
            self.read_open(start, end, out)?;
        }
        Some(())
    }

    /// Adds the newest sample if it is from `start` to `end`, without a look at the others; false if
    /// it has to be looked for.
    pub(crate) fn read_last(&self, start: i64, end: i64, out: &mut Found) -> bool {
        match &self.open {
            Open::Float(chunk) if chunk.last <= end => {
                if chunk.last >= start {
                    out.floats.push(chunk.last, chunk.value());
                }
                true
            }
            _ => false,
        }
    }

    /// Drops the chunks that reach to `time` or beyond it.
    fn cut(&mut self, time: i64) {
        self.open = Open::None;
        let keep = self.closed.partition_point(|chunk| chunk.max() < time);
        self.closed.truncate(keep);
    }

    /// Drops what is before `boundary`; tells whether only whole chunks went.
    fn truncate(&mut self, boundary: i64, block: i64) -> bool {
        let gone = self.closed.partition_point(|chunk| chunk.max() < boundary);
        self.closed.drain(..gone);
        self.closed.shrink_to_fit();
        if self.open.last().is_some_and(|last| last < boundary) {
            self.open = Open::None;
        }
        if self.min().is_none_or(|min| min >= boundary) {
            return true;
        }
        // The boundary lies within the first chunk: what is left of it is packed anew.
        let mut found = Found::default();
        let rest = if self.closed.is_empty() {
            // A damaged chunk keeps what could be read.
            let _ = self.read_open(boundary, i64::MAX, &mut found);
            self.open = Open::None;
            Vec::new()
        } else {
            let first = self.closed.remove(0);
            let _ = first.read(boundary, i64::MAX, &mut found);
            std::mem::take(&mut self.closed)
        };
        let open = std::mem::take(&mut self.open);
        for (time, value) in samples(&found) {
            self.push(time, &value, block);
        }
        if !rest.is_empty() || !matches!(open, Open::None) {
            self.close();
            self.closed.extend(rest);
            self.open = open;
        }
        false
    }
}

fn follows(chunk: &histogram::Appender, next: &Arc<Histogram>) -> bool {
    let (before, now) = (chunk.value().hint, next.hint);
    match (before == ResetHint::Gauge, now == ResetHint::Gauge) {
        (true, true) => true,
        (false, false) => chunk.continues(next),
        _ => false,
    }
}

fn hinted(value: &Arc<Histogram>, hint: ResetHint) -> Arc<Histogram> {
    if value.hint == hint {
        return Arc::clone(value);
    }
    Arc::new(Histogram {
        hint,
        ..(**value).clone()
    })
}

/// Whether there is a sample at a time, and if so, whether it is this one.
fn is_at(found: &Found, time: i64, value: &Value) -> Option<bool> {
    if let Ok(at) = found.floats.times.binary_search(&time) {
        let own = found.floats.values[at].to_bits();
        return Some(matches!(value, Value::Float(value) if value.to_bits() == own));
    }
    let at = found
        .histograms
        .binary_search_by_key(&time, |(time, _)| *time)
        .ok()?;
    let own = &found.histograms[at].1;
    Some(matches!(value, Value::Histogram(value) if value.same(own)))
}

/// The samples of one chunk; what was found out about resets is forgotten.
fn samples(found: &Found) -> impl Iterator<Item = (i64, Value)> + '_ {
    let floats = found.floats.iter().map(|(t, v)| (t, Value::Float(v)));
    let histograms = found.histograms.iter().map(|(time, value)| {
        let value = match value.hint {
            ResetHint::Gauge => Arc::clone(value),
            _ => hinted(value, ResetHint::Unknown),
        };
        (*time, Value::Histogram(value))
    });
    // A chunk holds samples of one kind.
    floats.chain(histograms)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const BLOCK: i64 = 7_200_000;

    fn all(packed: &Packed) -> Vec<(i64, f64)> {
        let mut found = Found::default();
        packed.read(i64::MIN, i64::MAX, &mut found).unwrap();
        found.floats.iter().collect()
    }

    proptest! {
        #[test]
        fn late_samples_find_their_place(
            samples in prop::collection::btree_map(-20_000_000i64..20_000_000, -5i32..5, 1..400),
            seed: u64,
            boundary in -20_000_000i64..20_000_000,
        ) {
            let mut order: Vec<(i64, f64)> =
                samples.iter().map(|(t, v)| (*t, f64::from(*v))).collect();
            let wanted = order.clone();
            order.sort_by_key(|(time, _)| (*time as u64 / 500_000).wrapping_mul(seed | 1));
            let mut series = Series::new(Box::new([]), 0);
            for (time, value) in order {
                prop_assert!(series.insert(time, &Value::Float(value), BLOCK).is_ok());
            }
            prop_assert_eq!(all(&series.packed), wanted.clone());
            let (time, value) = wanted[wanted.len() / 2];
            let known = series.insert(time, &Value::Float(value), BLOCK);
            prop_assert_eq!(known, Ok(Taken::Known));
            let other = series.insert(time, &Value::Float(value + 1.0), BLOCK);
            prop_assert_eq!(other, Err(Refused::Duplicate));
            series.truncate(boundary, BLOCK);
            let left: Vec<_> = wanted.into_iter().filter(|(t, _)| *t >= boundary).collect();
            prop_assert_eq!(all(&series.packed), left);
        }
    }
}
