//! Evaluation, all steps of one series at a time.
//!
//! Expressions become streams of series. A selector pulls one series after the other from its
//! [`Source`] and walks its samples once with sliding windows; functions change the series as they
//! pass; aggregations keep one cell per group and step and forget the series. Only matching,
//! sorting and joining hold whole sides. What cannot change from step to step is evaluated once.

mod aggregate;
mod binary;
mod budget;
mod functions;
mod matrix;
mod merge;
mod prepare;
mod row;
mod scalar;
mod select;
mod stream;
mod window;

use std::cell::{Cell, RefCell};

use super::annotation::{Annotation, Annotations};
use super::ast::{Expr, Node, ValueType};
use super::histogram::Histogram;
use super::labels::Labels;
use super::matcher::Matcher;
use super::series::Series;
use window::Steps;

/// Where the samples come from.
pub trait Source {
    /// The series that pass all matchers, each once, with all their samples from `hints.start` to
    /// `hints.end`, both included. Markers of staleness are samples like others.
    fn select<'a>(
        &'a self,
        matchers: &[Matcher],
        hints: &Hints<'_>,
    ) -> Result<Box<dyn Iterator<Item = Result<Series, String>> + 'a>, String>;
}

/// What a source may use to send less.
#[derive(Clone, Copy, Debug)]
pub struct Hints<'a> {
    /// The first time needed, in milliseconds.
    pub start: i64,
    /// The last time needed, in milliseconds.
    pub end: i64,
    /// Between two evaluations, in milliseconds; [`Hints::ONCE`] for a plain selector where there is
    /// only one.
    pub step: i64,
    /// The range of the range selector, in milliseconds; 0 for none.
    pub range: i64,
    /// The function or aggregation right around the selector, or empty.
    pub function: &'a str,
}

impl Hints<'_> {
    /// In the place of a step: only the newest sample up to the end matters.
    pub const ONCE: i64 = i64::MAX;
}

/// Why an evaluation stops early.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// Nobody waits for the result.
    Canceled,
    /// It took too long.
    TimedOut,
}

/// How to evaluate.
#[derive(Clone, Copy)]
pub struct Settings<'a> {
    /// How old the last sample of a series may be, in milliseconds.
    pub lookback_ms: i64,
    /// The most samples in memory at once.
    pub max_samples: usize,
    /// The resolution of subqueries that give none, in milliseconds, from their range.
    pub default_step_ms: fn(i64) -> i64,
    /// Whether names are kept until the end of the query (upstream's feature
    /// `promql-delayed-name-removal`).
    pub delayed_name_removal: bool,
    /// Whether `__type__` tells counters (upstream's feature `type-and-unit-labels`).
    pub type_and_unit_labels: bool,
    /// Asked between series; an answer ends the query.
    pub stop: Option<&'a dyn Fn() -> Option<Stop>>,
}

impl Default for Settings<'_> {
    fn default() -> Self {
        Self {
            lookback_ms: 300_000,
            max_samples: 50_000_000,
            default_step_ms: |_| 60_000,
            delayed_name_removal: false,
            type_and_unit_labels: false,
            stop: None,
        }
    }
}

/// Why there is no result.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EvalError {
    /// The limit of samples is reached.
    #[error("query processing would load too many samples into memory in query execution")]
    TooManySamples,
    /// The caller stopped it.
    #[error("query was canceled in expression evaluation")]
    Canceled,
    /// The caller's time is over.
    #[error("query timed out in expression evaluation")]
    TimedOut,
    /// The source failed.
    #[error("expanding series: {0}")]
    Source(String),
    /// The data or the arguments do not allow a result.
    #[error("{0}")]
    Query(String),
}

impl EvalError {
    fn query<T>(message: impl Into<String>) -> Result<T, Self> {
        Err(Self::Query(message.into()))
    }
}

/// A sample of an instant query.
#[derive(Clone, Debug)]
pub struct InstantSample {
    /// Whose it is.
    pub labels: Labels,
    /// The number, unless there is a histogram.
    pub value: f64,
    /// The histogram.
    pub histogram: Option<std::sync::Arc<Histogram>>,
}

/// A result.
#[derive(Clone, Debug)]
pub enum Value {
    /// One number.
    Scalar(f64),
    /// A text.
    String(String),
    /// One sample per series.
    Vector(Vec<InstantSample>),
    /// Many samples per series, sorted by labels.
    Matrix(Vec<Series>),
}

/// A result with what should be known about it.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The result.
    pub value: Value,
    /// Warnings and remarks.
    pub annotations: Annotations,
    /// The most samples that were in memory at once.
    pub peak_samples: usize,
}

/// Whether an expression can be evaluated at these times at all: durations that are computed may
/// be out of place. Both evaluations look for themselves; here the fault is told apart from those
/// of the data.
pub fn prepared(expr: &Expr, start: i64, end: i64, step: i64) -> Result<(), EvalError> {
    prepare::prepare(expr, start, end, step).map(drop)
}

/// Evaluates at one time, in milliseconds.
pub fn instant(
    expr: &Expr,
    time: i64,
    source: &dyn Source,
    settings: &Settings<'_>,
) -> Result<Answer, EvalError> {
    let expr = prepare::prepare(expr, time, time, 0)?;
    let eval = Eval::new(source, settings);
    let steps = Steps {
        start: time,
        end: time,
        step: 1,
    };
    let inner = expr.unwrapped();
    let value = match (expr.value_type(), &inner.node) {
        (ValueType::String, Node::String(text)) => Value::String(text.clone()),
        (ValueType::Scalar, _) => Value::Scalar(scalar::values(&eval, &expr, steps)?[0]),
        (ValueType::Matrix, _) => {
            let mut series = matrix::raw(&eval, inner, steps)?;
            eval.finish_names(&mut series)?;
            series.sort_by(|a, b| a.labels.cmp(&b.labels));
            Value::Matrix(series)
        }
        _ => {
            let mut series = eval
                .collect(stream::stream(&eval, &expr, steps)?)?
                .into_inner();
            eval.finish_names(&mut series)?;
            Value::Vector(series.into_iter().filter_map(sample).collect())
        }
    };
    Ok(eval.answer(value))
}

fn sample(series: Series) -> Option<InstantSample> {
    let histogram = series
        .histograms
        .into_iter()
        .next()
        .map(|(_, histogram)| histogram);
    let value = series.floats.values.first().copied();
    let value = if histogram.is_some() { 0.0 } else { value? };
    Some(InstantSample {
        labels: series.labels,
        value,
        histogram,
    })
}

/// Evaluates at every `step` from `start` to `end`, all in milliseconds.
pub fn range(
    expr: &Expr,
    start: i64,
    end: i64,
    step: i64,
    source: &dyn Source,
    settings: &Settings<'_>,
) -> Result<Answer, EvalError> {
    let of = expr.value_type();
    if !matches!(of, ValueType::Scalar | ValueType::Vector) {
        return EvalError::query(format!(
            "invalid expression type {} for range query, must be Scalar or instant Vector",
            super::text::quote(of.documented())
        ));
    }
    if step <= 0 {
        return EvalError::query("the step of a range query must be greater than 0");
    }
    let expr = prepare::prepare(expr, start, end, step)?;
    let eval = Eval::new(source, settings);
    let steps = Steps { start, end, step };
    eval.check_steps(steps)?;
    let mut series = if end < start {
        Vec::new()
    } else {
        eval.collect(stream::stream(&eval, &expr, steps)?)?
            .into_inner()
    };
    eval.finish_names(&mut series)?;
    series.sort_by(|a, b| a.labels.cmp(&b.labels));
    Ok(eval.answer(Value::Matrix(series)))
}

/// A stream of series, each with its samples at the steps.
type Stream<'a> = Box<dyn Iterator<Item = Result<Series, EvalError>> + 'a>;

/// What an evaluation carries along.
struct Eval<'a> {
    source: &'a dyn Source,
    settings: &'a Settings<'a>,
    held: Cell<usize>,
    peak: Cell<usize>,
    annotations: RefCell<Annotations>,
}

impl<'a> Eval<'a> {
    fn new(source: &'a dyn Source, settings: &'a Settings<'a>) -> Self {
        Self {
            source,
            settings,
            held: Cell::new(0),
            peak: Cell::new(0),
            annotations: RefCell::default(),
        }
    }

    fn annotate(&self, annotation: Annotation) {
        self.annotations.borrow_mut().add(annotation);
    }

    fn answer(self, value: Value) -> Answer {
        Answer {
            value,
            annotations: self.annotations.into_inner(),
            peak_samples: self.peak.get(),
        }
    }

    /// The labels of a result whose name has lost its meaning.
    fn renamed(&self, labels: Labels) -> Labels {
        if self.settings.delayed_name_removal {
            labels
        } else {
            labels.without_metadata()
        }
    }

    /// Takes the names away that have lost their meaning.
    fn finish_names(&self, series: &mut Vec<Series>) -> Result<(), EvalError> {
        if !self.settings.delayed_name_removal {
            return Ok(());
        }
        for one in series.iter_mut().filter(|one| one.drop_name) {
            one.labels = one.labels.without_metadata();
        }
        *series = merge::same_labels(std::mem::take(series))?;
        Ok(())
    }
}
