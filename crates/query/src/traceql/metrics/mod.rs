//! Series made of spans: each span counts in the interval in which it began.

mod cell;
mod compare;
mod example;
mod rank;

use super::ast::{MetricsFunction, Query};
use super::eval::{Budget, Code, EvalError, Meter, Program, View};
use super::search::label;
use super::source::{SpanSource, Wanted};
use super::value::{Key, Value};
use super::{ast::Field, ast::Node};
use cell::Cell;
pub use example::Example;
use example::{Examples, Room};
use std::collections::BTreeMap;

/// The most series of an answer.
pub(super) const SERIES_MAX: usize = 10_000;
/// The most intervals.
const STEPS_MAX: usize = 11_000;

/// Which intervals.
#[derive(Clone, Copy)]
pub struct Range<'a> {
    /// First moment, in nanoseconds since the epoch.
    pub start_ns: u64,
    /// Behind the last moment, in nanoseconds since the epoch.
    pub end_ns: u64,
    /// How long an interval is, in nanoseconds.
    pub step_ns: u64,
    /// Spans that are told as examples of points, of all series together.
    pub examples: usize,
    /// What bounds the work.
    pub budget: Budget<'a>,
}

impl Range<'_> {
    fn steps(&self) -> Result<usize, EvalError> {
        if self.step_ns == 0 || self.end_ns <= self.start_ns {
            let message = "the end must lie behind the start, and the step be above 0";
            return Err(EvalError::Range(message.into()));
        }
        let steps = (self.end_ns - self.start_ns).div_ceil(self.step_ns);
        match usize::try_from(steps) {
            Ok(steps) if steps <= STEPS_MAX => Ok(steps),
            _ => {
                let message = format!("more than {STEPS_MAX} steps: make them longer");
                Err(EvalError::Range(message))
            }
        }
    }
}

/// A series: labels, and a value per interval where there is one.
#[derive(Clone, Debug, PartialEq)]
pub struct MetricSeries {
    /// What it is.
    pub labels: Vec<(String, Value)>,
    /// Values by interval.
    pub values: Vec<Option<f64>>,
    /// Spans behind some of them: which interval, and which span.
    pub examples: Vec<(usize, Example)>,
}

/// What came out.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct MetricAnswer {
    /// The series, in order of their labels.
    pub series: Vec<MetricSeries>,
    /// Begin of each interval, in nanoseconds since the epoch.
    pub times_ns: Vec<u64>,
    /// How many spans were looked at.
    pub spans_seen: usize,
}

struct Group {
    labels: Vec<(String, Value)>,
    cells: Vec<Option<Cell>>,
    examples: Examples,
}

/// Runs a query that makes series.
///
/// # Errors
/// The query is a search, is too much work or cannot read.
pub fn metrics(
    source: &dyn SpanSource,
    query: &Query,
    range: &Range<'_>,
) -> Result<MetricAnswer, EvalError> {
    let Some(metrics) = &query.metrics else {
        let message = "the query makes no series: end it with a function such as rate()";
        return Err(EvalError::Sort(message));
    };
    let steps = range.steps()?;
    let mut meter = Meter::new(range.budget);
    let mut answer = MetricAnswer {
        times_ns: (0..steps as u64)
            .map(|n| range.start_ns + n * range.step_ns)
            .collect(),
        ..MetricAnswer::default()
    };
    if let MetricsFunction::Compare {
        selection,
        top,
        times,
    } = &metrics.function
    {
        let selection = compare::Selection::new(selection.as_ref(), *top, *times);
        answer.series = compare::run(source, query, range, steps, &selection, &mut meter)?;
    } else {
        let groups = collect(source, query, range, steps, &mut meter)?;
        let series = groups
            .into_values()
            .flat_map(|group| finish(group, metrics, range));
        answer.series = series.collect();
    }
    for stage in &metrics.then {
        rank::apply(stage, &mut answer.series);
    }
    example::keep(&mut answer.series, range.examples);
    answer.spans_seen = meter.spans;
    Ok(answer)
}

fn collect(
    source: &dyn SpanSource,
    query: &Query,
    range: &Range<'_>,
    steps: usize,
    meter: &mut Meter<'_>,
) -> Result<BTreeMap<Key, Group>, EvalError> {
    let program = Program::of(&query.pipeline);
    let metrics = query.metrics.as_ref();
    let function = metrics.map(|m| &m.function);
    let of = function.and_then(argument).map(Code::of);
    let by: Vec<(String, Code)> = metrics
        .iter()
        .flat_map(|m| &m.by)
        .map(|by| (by_label(&by.node), Code::of(by)))
        .collect();
    let wanted = Wanted::of(query, range.start_ns, range.end_ns);
    let mut groups: BTreeMap<Key, Group> = BTreeMap::new();
    let mut room = Room::of(range.examples);
    let sized = matches!(function, Some(MetricsFunction::Histogram(_)));
    for trace in source.traces(&wanted).map_err(EvalError::Source)? {
        let trace = trace.map_err(EvalError::Source)?;
        meter.count(trace.spans.len())?;
        let view = View::new(&trace);
        for at in selected(&program, &view) {
            let Some(step) = interval(range, view.span(at).start_ns) else {
                continue;
            };
            let value = of.as_ref().map(|code| code.value(&view, at));
            // A span that has not what is computed counts in no series.
            if value.as_ref().is_some_and(|value| value.number().is_none()) {
                continue;
            }
            let values: Vec<Value> = by.iter().map(|(_, code)| code.value(&view, at)).collect();
            let key = Key::of(&values);
            if groups.len() >= SERIES_MAX && !groups.contains_key(&key) {
                return Err(EvalError::TooManySeries(SERIES_MAX));
            }
            let group = groups.entry(key).or_insert_with(|| Group {
                labels: by
                    .iter()
                    .map(|(name, _)| name.clone())
                    .zip(values)
                    .collect(),
                cells: (0..steps).map(|_| None).collect(),
                examples: Examples::default(),
            });
            let cell = group.cells[step].get_or_insert_with(|| Cell::new(function));
            cell.add(value.as_ref());
            let span = (trace.id, view.span(at));
            let examples = &mut group.examples;
            examples.see(step, sized, value.as_ref(), span, &mut room);
        }
    }
    Ok(groups)
}

/// The spans of all sets, each once.
fn selected(program: &Program, view: &View<'_>) -> Vec<u32> {
    let mut spans: Vec<u32> = program
        .run(view)
        .into_iter()
        .flat_map(|s| s.spans)
        .collect();
    spans.sort_unstable();
    spans.dedup();
    spans
}

fn interval(range: &Range<'_>, at_ns: u64) -> Option<usize> {
    let inside = (range.start_ns..range.end_ns).contains(&at_ns);
    inside.then(|| ((at_ns - range.start_ns) / range.step_ns) as usize)
}

fn argument(function: &MetricsFunction) -> Option<&super::ast::Expr> {
    match function {
        MetricsFunction::Min(of)
        | MetricsFunction::Max(of)
        | MetricsFunction::Avg(of)
        | MetricsFunction::Sum(of)
        | MetricsFunction::Quantile(of, _)
        | MetricsFunction::Histogram(of) => Some(of),
        _ => None,
    }
}

/// How a label is called: with its scope, so that names of different scopes stay apart.
fn by_label(node: &Node) -> String {
    match node {
        Node::Field(field @ Field::Attribute { .. }) => field.to_string(),
        Node::Field(field) => label(field),
        _ => "value".into(),
    }
}

fn finish(mut group: Group, metrics: &super::ast::Metrics, range: &Range<'_>) -> Vec<MetricSeries> {
    let seconds = range.step_ns as f64 / 1e9;
    let examples = std::mem::take(&mut group.examples);
    let mut limits = Vec::new();
    let one = |read: &dyn Fn(&Cell) -> Option<f64>, empty: Option<f64>| {
        let values = group.cells.iter().map(|cell| match cell {
            Some(cell) => read(cell),
            None => empty,
        });
        values.collect::<Vec<_>>()
    };
    let labelled = |extra: Option<(&str, Value)>, values| {
        let mut labels = group.labels.clone();
        labels.extend(extra.map(|(name, value)| (name.to_string(), value)));
        MetricSeries {
            labels,
            values,
            examples: Vec::new(),
        }
    };
    let mut series = match &metrics.function {
        MetricsFunction::Rate => {
            let values = one(&|cell| Some(cell.count() / seconds), Some(0.0));
            vec![labelled(None, values)]
        }
        MetricsFunction::Count => vec![labelled(None, one(&|c| Some(c.count()), Some(0.0)))],
        MetricsFunction::Quantile(_, quantiles) => quantiles
            .iter()
            .map(|q| {
                labelled(
                    Some(("p", Value::Float(*q))),
                    one(&|c| c.quantile(*q), None),
                )
            })
            .collect(),
        MetricsFunction::Histogram(_) => {
            let mut bounds: Vec<f64> = group
                .cells
                .iter()
                .flatten()
                .flat_map(Cell::bounds)
                .collect();
            bounds.sort_by(f64::total_cmp);
            bounds.dedup();
            limits.clone_from(&bounds);
            bounds
                .into_iter()
                .map(|bound| {
                    let values = one(&|cell| Some(cell.bucket(bound)), Some(0.0));
                    labelled(Some(("__bucket", Value::Float(bound))), values)
                })
                .collect()
        }
        _ => vec![labelled(None, one(&Cell::value, None))],
    };
    examples.share(&mut series, &limits);
    series
}
