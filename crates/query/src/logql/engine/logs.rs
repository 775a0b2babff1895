//! Queries of lines.

use std::cmp::Ordering;
use std::collections::BinaryHeap;
use std::ops::ControlFlow;

use super::{EvalError, Meter, Settings, Statistics};
use crate::logql::ast::LogQuery;
use crate::logql::pipeline::{Pipeline, needles};
use crate::logql::source::{Direction, LogSource, Row, Selection, Sink};
use crate::promql::Labels;

/// A line of a result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogEntry {
    /// Nanoseconds since the epoch.
    pub at: i64,
    /// The line.
    pub line: String,
    /// The labels of the stream, as far as no stage changed them.
    pub stream: Labels,
    /// The labels of the line alone.
    pub metadata: Labels,
    /// The labels that stages made.
    pub parsed: Labels,
}

impl LogEntry {
    /// All labels together.
    pub fn labels(&self) -> Labels {
        if self.metadata.is_empty() && self.parsed.is_empty() {
            return self.stream.clone();
        }
        let parts = [&self.stream, &self.metadata, &self.parsed];
        parts.into_iter().flat_map(Labels::iter).collect()
    }
}

/// The result of a query of lines.
#[derive(Clone, Debug, Default)]
pub struct LogAnswer {
    /// The lines, in the order asked for.
    pub entries: Vec<LogEntry>,
    /// What it cost.
    pub statistics: Statistics,
}

/// An entry in the heap of the best: the worst one is the greatest.
struct Held {
    /// The time, turned so that smaller is better.
    key: i64,
    /// Of equal times the one that came first is better.
    arrived: u64,
    entry: LogEntry,
}

impl PartialEq for Held {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}
impl Eq for Held {}
impl PartialOrd for Held {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Held {
    fn cmp(&self, other: &Self) -> Ordering {
        (self.key, self.arrived).cmp(&(other.key, other.arrived))
    }
}

struct Best<'a> {
    meter: Meter<'a>,
    pipeline: &'a Pipeline,
    direction: Direction,
    limit: usize,
    held: BinaryHeap<Held>,
}

impl Best<'_> {
    fn key(&self, at: i64) -> i64 {
        match self.direction {
            Direction::Forward => at,
            Direction::Backward => at.checked_neg().unwrap_or(i64::MAX),
        }
    }

    /// Whether an entry of that key would be kept.
    fn better(&self, key: i64) -> bool {
        self.held.len() < self.limit || self.held.peek().is_some_and(|worst| key < worst.key)
    }
}

impl Sink for Best<'_> {
    fn wants(&self, first: i64, last: i64) -> bool {
        self.better(match self.direction {
            Direction::Forward => self.key(first),
            Direction::Backward => self.key(last),
        })
    }

    fn row(&mut self, _stream: u64, labels: &Labels, row: Row<'_>) -> ControlFlow<()> {
        let key = self.key(row.at);
        if !self.better(key) {
            return ControlFlow::Continue(());
        }
        if !self.meter.count(row.line) {
            return ControlFlow::Break(());
        }
        let Some(outcome) = self.pipeline.run(labels, &row) else {
            return ControlFlow::Continue(());
        };
        self.meter.statistics.passed += 1;
        let line = outcome.line.clone().into_owned();
        let [stream, metadata, parsed] = outcome.into_labels(labels, &row);
        self.held.push(Held {
            key,
            arrived: self.meter.statistics.passed,
            entry: LogEntry {
                at: row.at,
                line,
                stream,
                metadata,
                parsed,
            },
        });
        if self.held.len() > self.limit {
            self.held.pop();
        }
        ControlFlow::Continue(())
    }
}

/// The lines from `start` (included) to `end` (not included), nanoseconds since the epoch, at most
/// `limit` of them: the newest, or the oldest if `direction` is forward.
///
/// # Errors
/// A limit is reached, the caller stops it, or the source fails.
pub fn logs(
    query: &LogQuery,
    (start, end): (i64, i64),
    direction: Direction,
    limit: usize,
    source: &dyn LogSource,
    settings: &Settings<'_>,
) -> Result<LogAnswer, EvalError> {
    let pipeline = Pipeline::new(query).map_err(EvalError::Query)?;
    let needles = needles(query);
    let mut best = Best {
        meter: Meter::new(settings),
        pipeline: &pipeline,
        direction,
        limit: limit.min(settings.max_entries),
        held: BinaryHeap::new(),
    };
    if best.limit > 0 && start < end {
        let selection = Selection {
            matchers: &query.matchers,
            start,
            end,
            direction,
            needles: &needles,
        };
        let scan = source
            .scan(&selection, &mut best)
            .map_err(EvalError::Source)?;
        best.meter.statistics.add_scan(scan);
    }
    if let Some(error) = best.meter.failed {
        return Err(error);
    }
    let entries = best.held.into_sorted_vec().into_iter();
    Ok(LogAnswer {
        entries: entries.map(|held| held.entry).collect(),
        statistics: best.meter.statistics,
    })
}
