//! A function over ranges of lines, at all steps: the leaves of metric queries.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::ops::ControlFlow;

use super::{EvalError, Meter, Settings, Statistics, window};
use crate::logql::ast::{Grouping, RangeAggregation, RangeOp};
use crate::logql::pipeline::{Pipeline, needles};
use crate::logql::source::{Direction, LogSource, Row, Selection, Sink};
use crate::promql::{Labels, MatchOp, Series};

/// The times of an evaluation.
#[derive(Clone, Copy, Debug)]
pub(super) struct Steps {
    /// The first one, in nanoseconds since the epoch.
    pub(super) start_ns: i64,
    /// Between two, in milliseconds; at least one.
    pub(super) step_ms: i64,
    /// How many.
    pub(super) count: usize,
}

impl Steps {
    fn step_ns(self) -> i64 {
        self.step_ms.saturating_mul(1_000_000)
    }

    fn at_ns(self, step: usize) -> i64 {
        let ahead = self.step_ns().saturating_mul(step as i64);
        self.start_ns.saturating_add(ahead)
    }

    fn at_ms(self, step: usize) -> i64 {
        self.start_ns.div_euclid(1_000_000) + self.step_ms * step as i64
    }
}

/// A function with what can be said about it from outside.
pub(super) struct Leaf<'a> {
    pub(super) range: &'a RangeAggregation,
    /// The grouping of a sum right around it: sums of sums are the same.
    pub(super) summed: Option<&'a Grouping>,
}

enum Values {
    /// How much begins to count, and ceases to, at each step.
    Changes(Vec<i64>),
    /// The values with their times.
    Samples(Vec<(i64, f64)>),
}

struct Collected {
    labels: Labels,
    values: Values,
}

/// Sets of labels of lines whose series is remembered.
const REMEMBERED: usize = 10_000;

/// A hash, the metadata that it was made of, and the place of its series.
type Known = (u64, Vec<(Box<str>, Box<str>)>, usize);

struct Windows<'a> {
    meter: Meter<'a>,
    leaf: &'a Leaf<'a>,
    pipeline: Pipeline,
    grouping: Option<&'a Grouping>,
    steps: Steps,
    by_stream: HashMap<u64, usize>,
    by_labels: HashMap<Labels, usize>,
    by_metadata: HashMap<u64, Known>,
    series: Vec<Collected>,
    held: usize,
}

impl Windows<'_> {
    /// Whether lines are counted; else their values are looked at.
    fn counts(&self) -> bool {
        match self.leaf.range.op {
            RangeOp::CountOverTime
            | RangeOp::BytesRate
            | RangeOp::BytesOverTime
            | RangeOp::AbsentOverTime => true,
            RangeOp::Rate => !unwraps(self.leaf.range),
            _ => false,
        }
    }

    fn hold(&mut self, values: usize) -> bool {
        self.held += values;
        let limit = self.meter.settings.max_samples;
        self.held <= limit || self.meter.fail(EvalError::TooManySamples(limit))
    }

    fn series_of(&mut self, labels: Labels) -> Option<usize> {
        if let Some(at) = self.by_labels.get(&labels) {
            return Some(*at);
        }
        let counts = self.counts();
        let width = self.steps.count + 1;
        // A series costs something even where it has few values.
        if !self.hold(if counts { width } else { 16 }) {
            return None;
        }
        self.series.push(Collected {
            labels: labels.clone(),
            values: if counts {
                Values::Changes(vec![0; width])
            } else {
                Values::Samples(Vec::new())
            },
        });
        self.by_labels.insert(labels, self.series.len() - 1);
        Some(self.series.len() - 1)
    }

    fn grouped(&self, name: &str) -> bool {
        match self.grouping {
            None => true,
            Some(grouping) => grouping.labels.iter().any(|label| label == name) != grouping.without,
        }
    }

    /// Which series a line belongs to; a break ends the scan.
    fn place(
        &mut self,
        stream: u64,
        labels: &Labels,
        row: &Row<'_>,
    ) -> ControlFlow<(), Option<(usize, f64)>> {
        let Some(outcome) = self.pipeline.run(labels, row) else {
            return ControlFlow::Continue(None);
        };
        self.meter.statistics.passed += 1;
        let bytes = outcome.line.len() as f64;
        let value = outcome.value.unwrap_or(bytes);
        let absent = self.leaf.range.op == RangeOp::AbsentOverTime;
        let own = match &outcome.labels {
            _ if absent => None,
            Some(own) => {
                if let Some(kind) = own.error() {
                    let error = EvalError::Pipeline {
                        kind: kind.to_owned(),
                        series: own.joined(|name| !name.starts_with("__error")).to_string(),
                    };
                    self.meter.fail(error);
                    return ControlFlow::Break(());
                }
                Some(own.joined(|name| self.grouped(name)))
            }
            None if !row.metadata.iter().any(|(name, _)| self.grouped(name)) => None,
            None => {
                let at = self.with_metadata(stream, labels, row);
                return match at {
                    Some(at) => ControlFlow::Continue(Some((at, value))),
                    None => ControlFlow::Break(()),
                };
            }
        };
        let at = match own {
            Some(own) => self.series_of(own),
            None => match self.by_stream.get(&stream) {
                Some(at) => Some(*at),
                None => {
                    let labels = if absent {
                        Labels::default()
                    } else {
                        labels
                            .iter()
                            .filter(|(name, _)| self.grouped(name))
                            .collect()
                    };
                    let at = self.series_of(labels);
                    self.by_stream.extend(at.map(|at| (stream, at)));
                    at
                }
            },
        };
        match at {
            Some(at) => ControlFlow::Continue(Some((at, value))),
            None => ControlFlow::Break(()),
        }
    }

    /// The series of a line whose own labels count. Most lines of a stream have one of few sets.
    fn with_metadata(&mut self, stream: u64, labels: &Labels, row: &Row<'_>) -> Option<usize> {
        let mut hasher = DefaultHasher::new();
        (stream, row.metadata).hash(&mut hasher);
        let key = hasher.finish();
        if let Some((of, metadata, at)) = self.by_metadata.get(&key)
            && *of == stream
            && metadata.len() == row.metadata.len()
            && metadata
                .iter()
                .zip(row.metadata)
                .all(|((n, v), (name, value))| **n == **name && **v == **value)
        {
            return Some(*at);
        }
        let own = labels
            .iter()
            .chain(row.metadata.iter().copied())
            .filter(|(name, _)| self.grouped(name))
            .collect();
        let at = self.series_of(own)?;
        if self.by_metadata.len() >= REMEMBERED {
            self.by_metadata.clear();
        }
        let metadata = row.metadata.iter();
        let metadata = metadata.map(|(name, value)| ((*name).into(), (*value).into()));
        self.by_metadata
            .insert(key, (stream, metadata.collect(), at));
        Some(at)
    }

    fn put(&mut self, at: usize, time: i64, value: f64) -> bool {
        let range = self.leaf.range;
        let time = time.saturating_add(range.offset_ns);
        match &mut self.series[at].values {
            Values::Samples(samples) => {
                samples.push((time, value));
                self.hold(1)
            }
            Values::Changes(changes) => {
                // It counts at steps in [time, time + range).
                let step = self.steps.step_ns().max(1);
                let index = |time: i64| {
                    let ahead = i128::from(time) - i128::from(self.steps.start_ns);
                    let ceil = (ahead + i128::from(step) - 1).div_euclid(i128::from(step));
                    ceil.clamp(0, self.steps.count as i128) as usize
                };
                let amount = match range.op {
                    RangeOp::BytesRate | RangeOp::BytesOverTime => value as i64,
                    _ => 1,
                };
                changes[index(time)] += amount;
                changes[index(time.saturating_add(range.range_ns))] -= amount;
                true
            }
        }
    }

    /// The samples of a series at the steps.
    fn finish(&self, collected: Collected) -> Series {
        let range = self.leaf.range;
        let seconds = range.range_ns as f64 / 1e9;
        let mut out = Series::new(collected.labels);
        match collected.values {
            Values::Changes(changes) => {
                let mut amount = 0i64;
                for (step, change) in changes.into_iter().take(self.steps.count).enumerate() {
                    amount += change;
                    if amount == 0 {
                        continue;
                    }
                    let value = match range.op {
                        RangeOp::Rate | RangeOp::BytesRate => amount as f64 / seconds,
                        _ => amount as f64,
                    };
                    out.floats.push(self.steps.at_ms(step), value);
                }
            }
            Values::Samples(mut samples) => {
                samples.sort_by_key(|(at, _)| *at);
                let (mut low, mut high) = (0, 0);
                for step in 0..self.steps.count {
                    let end = self.steps.at_ns(step);
                    let begin = end.saturating_sub(range.range_ns);
                    while samples.get(high).is_some_and(|(at, _)| *at <= end) {
                        high += 1;
                    }
                    while low < high && samples[low].0 <= begin {
                        low += 1;
                    }
                    if low == high {
                        continue;
                    }
                    let param = range.param.unwrap_or(0.0);
                    let window = &samples[low..high];
                    let value = window::value(range.op, param, window, end, range.range_ns);
                    if let Some(value) = value {
                        out.floats.push(self.steps.at_ms(step), value);
                    }
                }
            }
        }
        out
    }

    /// One where there is no line.
    fn absent(&self, found: Option<Collected>) -> Series {
        let mut lines = vec![0; self.steps.count + 1];
        if let Some(Values::Changes(changes)) = found.map(|found| found.values) {
            lines = changes;
        }
        let matchers = self.leaf.range.query.matchers.iter();
        let labels = matchers
            .clone()
            .filter(|matcher| {
                let same = matchers.clone().filter(|other| other.name == matcher.name);
                matcher.op == MatchOp::Equal && same.count() == 1
            })
            .map(|matcher| (matcher.name.as_str(), matcher.value.as_str()))
            .collect();
        let mut out = Series::new(labels);
        let mut amount = 0;
        for (step, change) in lines.into_iter().take(self.steps.count).enumerate() {
            amount += change;
            if amount == 0 {
                out.floats.push(self.steps.at_ms(step), 1.0);
            }
        }
        out
    }
}

fn unwraps(range: &RangeAggregation) -> bool {
    use crate::logql::ast::StageNode::Unwrap;
    let mut stages = range.query.stages.iter();
    stages.any(|stage| matches!(stage.node, Unwrap(_)))
}

impl Sink for Windows<'_> {
    fn wants(&self, _first: i64, _last: i64) -> bool {
        true
    }

    fn row(&mut self, stream: u64, labels: &Labels, row: Row<'_>) -> ControlFlow<()> {
        if !self.meter.count(row.line) {
            return ControlFlow::Break(());
        }
        if let Some((at, value)) = self.place(stream, labels, &row)?
            && !self.put(at, row.at, value)
        {
            return ControlFlow::Break(());
        }
        ControlFlow::Continue(())
    }
}

/// The series of a leaf with a sample at every step that has one.
pub(super) fn evaluate(
    leaf: &Leaf<'_>,
    steps: Steps,
    source: &dyn LogSource,
    settings: &Settings<'_>,
) -> Result<(Vec<Series>, Statistics), EvalError> {
    let range = leaf.range;
    let mut windows = Windows {
        meter: Meter::new(settings),
        leaf,
        pipeline: Pipeline::new(&range.query).map_err(EvalError::Query)?,
        grouping: range.grouping.as_ref().or(leaf.summed),
        steps,
        by_stream: HashMap::new(),
        by_labels: HashMap::new(),
        by_metadata: HashMap::new(),
        series: Vec::new(),
        held: 0,
    };
    let needles = needles(&range.query);
    let last = steps.at_ns(steps.count.saturating_sub(1));
    let first = steps.start_ns.saturating_sub(range.range_ns);
    let selection = Selection {
        matchers: &range.query.matchers,
        start: first.saturating_sub(range.offset_ns).saturating_add(1),
        end: last.saturating_sub(range.offset_ns).saturating_add(1),
        direction: Direction::Forward,
        needles: &needles,
    };
    let scan = source
        .scan(&selection, &mut windows)
        .map_err(EvalError::Source)?;
    windows.meter.statistics.add_scan(scan);
    if let Some(error) = windows.meter.failed.take() {
        return Err(error);
    }
    let statistics = windows.meter.statistics;
    let mut collected = std::mem::take(&mut windows.series);
    if range.op == RangeOp::AbsentOverTime {
        return Ok((vec![windows.absent(collected.pop())], statistics));
    }
    let series = collected.into_iter().map(|one| windows.finish(one));
    Ok((series.filter(|one| !one.is_empty()).collect(), statistics))
}
