//! How samples come in.

use std::sync::Arc;

use async_trait::async_trait;
use towpath_query::promql::{Histogram, Labels};

/// A series of a store for as long as the store is open; what it resolves to is never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SeriesRef(pub u64);

/// What was measured.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// A number; the marker of staleness among them.
    Float(f64),
    /// A native histogram.
    Histogram(Arc<Histogram>),
}

/// One sample of a series.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// Whose it is.
    pub series: SeriesRef,
    /// Milliseconds since the epoch.
    pub at: i64,
    /// What was measured.
    pub value: Value,
    /// Since when a counter has counted, milliseconds since the epoch, where the sender says so.
    pub start: Option<i64>,
}

/// A measurement that stands for others, most often with the trace it came from.
#[derive(Clone, Debug, PartialEq)]
pub struct Exemplar {
    /// The labels of its own, such as `trace_id`.
    pub labels: Labels,
    /// What was measured.
    pub value: f64,
    /// Milliseconds since the epoch.
    pub at: i64,
}

/// What is said about a metric family. Kinds are those of the text format: `counter`, `gauge`,
/// `histogram`, `gaugehistogram`, `summary`, `info`, `stateset`, `unknown`.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Metadata {
    /// Its kind, empty where it was not said.
    pub kind: String,
    /// What it means.
    pub help: String,
    /// Its unit, mostly empty.
    pub unit: String,
}

/// Why a sample or a series was not taken. The texts of the first four are upstream's.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum Refused {
    /// A newer sample is there and no window is open for older ones.
    #[error("out of order sample")]
    OutOfOrder,
    /// There is another value at this time.
    #[error("duplicate sample for timestamp")]
    Duplicate,
    /// Older than anything that may still be written.
    #[error("out of bounds")]
    OutOfBounds,
    /// Older than the window for late samples.
    #[error("too old sample")]
    TooOld,
    /// The labels are no series.
    #[error("{0}")]
    Labels(String),
    /// The histogram contradicts itself.
    #[error("{0}")]
    Histogram(String),
    /// A limit is reached: which, and how large it is.
    #[error("{0}")]
    Limit(String),
}

/// How an append went. Positions are those of the samples given.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Outcome {
    /// How many samples were taken; those that were already there with the same value count.
    pub taken: usize,
    /// What was not, the first 100 of them.
    pub refused: Vec<(usize, Refused)>,
    /// How many were not, in all.
    pub refused_count: usize,
}

/// What was appended is not durable and nothing more will be.
#[derive(Clone, Debug, thiserror::Error)]
#[error("write signals to disk: {0}")]
pub struct WriteError(pub String);

/// Takes samples.
#[async_trait]
pub trait Append: Send + Sync {
    /// The series of these labels, made if there is none.
    ///
    /// # Errors
    /// The labels are no series, or a limit is reached.
    fn resolve(&self, labels: &Labels) -> Result<SeriesRef, Refused>;

    /// The labels of a series that was resolved, while it is known.
    fn labels(&self, series: SeriesRef) -> Option<Labels>;

    /// Whether a series that was resolved is known and has these labels, in the order of their
    /// names. Dearer than it need be where nothing else is said.
    fn is(&self, series: SeriesRef, labels: &[(&str, &str)]) -> bool {
        let own = self.labels(series);
        own.is_some_and(|own| own.iter().eq(labels.iter().copied()))
    }

    /// Series that have all of these labels and whose newest sample is not before `since`, in
    /// milliseconds, and no mark of an end: what a writer left when the server was killed. None
    /// where nothing is remembered.
    fn going_on(&self, labels: &Labels, since: i64) -> Vec<SeriesRef> {
        let _ = (labels, since);
        Vec::new()
    }

    /// Whether a series that was resolved is known; then it stays so for a while. Dearer than it
    /// need be where nothing else is said.
    fn touch(&self, series: SeriesRef) -> bool {
        self.labels(series).is_some()
    }

    /// Takes samples, in the order given. They can be queried at once and are written to the log
    /// in the background; [`Append::sync`] waits for that. A series that was forgotten since it
    /// was resolved refuses with [`Refused::Labels`]: resolve again.
    ///
    /// # Errors
    /// The store takes nothing more.
    fn append(&self, samples: &[Sample]) -> Result<Outcome, WriteError>;

    /// Keeps an exemplar of a series, in a bounded buffer.
    ///
    /// # Errors
    /// It is older than the last one of the series, or the same.
    fn exemplar(&self, series: SeriesRef, exemplar: Exemplar) -> Result<(), Refused>;

    /// Remembers what is said about a metric family.
    fn metadata(&self, family: &str, metadata: Metadata);

    /// Waits until all that was appended before is durable.
    ///
    /// # Errors
    /// It never will be.
    async fn sync(&self) -> Result<(), WriteError>;
}
