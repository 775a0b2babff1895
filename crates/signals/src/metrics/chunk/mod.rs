//! Chunks: up to 120 samples of one series, packed.
//!
//! Floats are in Prometheus's layout, byte for byte, while a chunk grows. One that is closed is
//! packed as decimals where that is shorter. Histograms have a layout of our own.

mod decimal;
pub(crate) mod histogram;
pub(crate) mod xor;

use std::sync::Arc;

use towpath_query::promql::{Histogram, Samples};

/// The samples after which a chunk is full.
pub(crate) const FULL: u16 = 120;

/// With fewer samples the head of a chunk is most of it.
const WORTH: u16 = 8;

/// What a chunk holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Float,
    Histogram,
    /// Floats as decimals.
    Decimal,
}

impl Kind {
    pub(crate) fn code(self) -> u8 {
        match self {
            Self::Float => 1,
            Self::Histogram => 2,
            Self::Decimal => 3,
        }
    }

    pub(crate) fn of(code: u8) -> Option<Self> {
        match code {
            1 => Some(Self::Float),
            2 => Some(Self::Histogram),
            3 => Some(Self::Decimal),
            _ => None,
        }
    }
}

/// A chunk that is closed.
#[derive(Clone, Debug)]
pub(crate) struct Chunk {
    pub(crate) min: i64,
    /// From the first sample to the last, in milliseconds.
    span: u32,
    pub(crate) count: u16,
    pub(crate) kind: Kind,
    pub(crate) data: Box<[u8]>,
}

/// Whether a chunk that begins at `first` may reach to `time`.
pub(crate) fn spans(first: i64, time: i64) -> bool {
    time.checked_sub(first)
        .is_some_and(|span| u32::try_from(span).is_ok())
}

impl Chunk {
    pub(crate) fn new(kind: Kind, min: i64, max: i64, count: u16, data: Vec<u8>) -> Option<Self> {
        Some(Self {
            min,
            span: u32::try_from(max.checked_sub(min)?).ok()?,
            count,
            kind,
            // A copy where there is room left: what is merely shortened keeps its place in memory.
            data: match data.capacity() - data.len() < 8 {
                true => data.into_boxed_slice(),
                false => Box::from(&data[..]),
            },
        })
    }

    /// A chunk of floats that has been full, packed as short as can be.
    pub(crate) fn floats(of: xor::Appender) -> Option<Self> {
        let (min, max, count) = (of.first, of.last, of.count);
        if count >= WORTH {
            let mut samples = Samples::default();
            of.read(i64::MIN, i64::MAX, &mut samples)?;
            if let Some(data) = decimal::pack(&samples, of.len()) {
                return Self::new(Kind::Decimal, min, max, count, data);
            }
        }
        Self::new(Kind::Float, min, max, count, of.into_data())
    }

    pub(crate) fn max(&self) -> i64 {
        self.min.saturating_add(i64::from(self.span))
    }

    /// What it takes in memory, its place in a list included.
    pub(crate) fn bytes(&self) -> usize {
        size_of::<Self>() + self.data.len().next_multiple_of(16) + 16
    }

    /// Adds the samples from `start` to `end`; `None` if the chunk is damaged.
    pub(crate) fn read(&self, start: i64, end: i64, out: &mut Found) -> Option<()> {
        match self.kind {
            Kind::Float => xor::read(&self.data, start, end, &mut out.floats),
            Kind::Histogram => histogram::read(&self.data, start, end, &mut out.histograms),
            Kind::Decimal => decimal::read(&self.data, start, end, &mut out.floats),
        }
    }
}

/// Samples that were found, in order of time.
#[derive(Clone, Debug, Default)]
pub(crate) struct Found {
    pub(crate) floats: Samples,
    pub(crate) histograms: Vec<(i64, Arc<Histogram>)>,
}

impl Found {
    pub(crate) fn is_empty(&self) -> bool {
        self.floats.is_empty() && self.histograms.is_empty()
    }
}
