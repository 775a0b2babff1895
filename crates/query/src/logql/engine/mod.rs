//! Evaluation: lines pass the pipeline as the source sends them. Queries of lines keep the best
//! ones up to their limit; metric queries count them into windows and leave the rest to PromQL.

mod logs;
mod lower;
mod range;
mod window;

use crate::promql::{self, Stop};

pub use logs::{LogAnswer, LogEntry, logs};
pub use lower::{instant, range};

use super::source::Scanned;

/// How to evaluate.
#[derive(Clone, Copy)]
pub struct Settings<'a> {
    /// The most bytes of lines that one query may look at.
    pub max_bytes: u64,
    /// The most lines a query of lines may give.
    pub max_entries: usize,
    /// The most series of a result.
    pub max_series: usize,
    /// The most values in memory at once.
    pub max_samples: usize,
    /// Asked every few hundred lines; an answer ends the query.
    pub stop: Option<&'a dyn Fn() -> Option<Stop>>,
}

impl Default for Settings<'_> {
    fn default() -> Self {
        Self {
            max_bytes: 100 << 30,
            max_entries: 5000,
            max_series: 2000,
            max_samples: 20_000_000,
            stop: None,
        }
    }
}

/// What an evaluation cost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Statistics {
    /// What the source did.
    pub scanned: Scanned,
    /// Lines looked at.
    pub lines: u64,
    /// Bytes of the lines looked at.
    pub bytes: u64,
    /// Lines that passed.
    pub passed: u64,
}

impl Statistics {
    /// Adds what another evaluation cost.
    pub fn add(&mut self, other: &Self) {
        self.add_scan(other.scanned);
        self.lines += other.lines;
        self.bytes += other.bytes;
        self.passed += other.passed;
    }

    fn add_scan(&mut self, scan: Scanned) {
        let total = &mut self.scanned;
        total.blocks += scan.blocks;
        total.blocks_skipped += scan.blocks_skipped;
        total.compressed_bytes += scan.compressed_bytes;
        total.head_bytes += scan.head_bytes;
        total.head_lines += scan.head_lines;
        total.streams += scan.streams;
    }
}

/// Why there is no result.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum EvalError {
    /// The limit of bytes is reached.
    #[error(
        "the query would read more than {0} bytes, consider adding matchers or shortening the time range"
    )]
    TooManyBytes(u64),
    /// The limit of series is reached.
    #[error("maximum of series ({0}) reached for a single query")]
    TooManySeries(usize),
    /// The limit of values is reached.
    #[error("the query would hold more than {0} values in memory")]
    TooManySamples(usize),
    /// The caller stopped it.
    #[error("query was canceled")]
    Canceled,
    /// The caller's time is over.
    #[error("query timed out")]
    TimedOut,
    /// A line of a metric query failed in the pipeline.
    #[error(
        "pipeline error: '{kind}' for series: '{series}'.\n\
         Use a label filter to intentionally skip this error. (e.g | __error__!=\"{kind}\").\n\
         To skip all potential errors you can match empty errors.(e.g __error__=\"\")\n\
         The label filter can also be specified after unwrap. (e.g | unwrap latency | __error__=\"\" )"
    )]
    Pipeline {
        /// What failed.
        kind: String,
        /// For which labels.
        series: String,
    },
    /// The source failed.
    #[error("read lines: {0}")]
    Source(String),
    /// The query allows no result.
    #[error("{0}")]
    Query(String),
}

impl From<promql::EvalError> for EvalError {
    fn from(error: promql::EvalError) -> Self {
        match error {
            promql::EvalError::Canceled => Self::Canceled,
            promql::EvalError::TimedOut => Self::TimedOut,
            promql::EvalError::Source(message) => Self::Source(message),
            other => Self::Query(other.to_string()),
        }
    }
}

/// The result of a metric query.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The result, as PromQL has them.
    pub value: promql::Value,
    /// What it cost.
    pub statistics: Statistics,
}

/// Counts lines and bytes against the limits.
struct Meter<'a> {
    settings: &'a Settings<'a>,
    statistics: Statistics,
    failed: Option<EvalError>,
}

/// Lines between two looks at whether the query shall go on.
const LOOK: u64 = 256;

impl<'a> Meter<'a> {
    fn new(settings: &'a Settings<'a>) -> Self {
        Self {
            settings,
            statistics: Statistics::default(),
            failed: None,
        }
    }

    /// Counts a line; false where the query ends.
    fn count(&mut self, line: &str) -> bool {
        self.statistics.lines += 1;
        self.statistics.bytes += line.len() as u64;
        if self.statistics.bytes > self.settings.max_bytes {
            return self.fail(EvalError::TooManyBytes(self.settings.max_bytes));
        }
        if self.statistics.lines.is_multiple_of(LOOK) {
            match self.settings.stop.and_then(|stop| stop()) {
                None => {}
                Some(Stop::Canceled) => return self.fail(EvalError::Canceled),
                Some(Stop::TimedOut) => return self.fail(EvalError::TimedOut),
            }
        }
        true
    }

    fn fail(&mut self, error: EvalError) -> bool {
        self.failed.get_or_insert(error);
        false
    }
}
