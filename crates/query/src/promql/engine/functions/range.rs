//! Functions of ranges: each sees one window of one series at a time.

use super::super::matrix::{ranges, window_at};
use super::super::window::{Sliding, Steps, Window};
use super::super::{Eval, EvalError, Stream, scalar};
use super::{compare, over_time, rate, trend};
use crate::promql::annotation;
use crate::promql::ast::{Edges, Expr, Span, ValueType};
use crate::promql::functions::Function;
use crate::promql::labels::NAME;
use crate::promql::series::{Samples, Series, Value};

/// What a function knows beside the samples.
pub(super) struct Call<'c, 'a> {
    pub(super) eval: &'c Eval<'a>,
    /// Of the first argument.
    pub(super) span: Span,
    /// The name of the metric.
    pub(super) metric: &'c str,
    /// The time of evaluation.
    pub(super) time: i64,
    /// The edges of the range.
    pub(super) range: (i64, i64),
    /// Its length.
    pub(super) seconds: f64,
    pub(super) edges: Edges,
    /// The other arguments at this step.
    pub(super) params: &'c [f64],
}

impl Call<'_, '_> {
    /// Says that histograms among the samples were left out.
    pub(super) fn ignore_histograms(&self) {
        self.eval
            .annotate(annotation::ignored_in_range(self.metric, self.span));
    }

    pub(super) fn mixed_samples(&self) {
        self.eval
            .annotate(annotation::mixed_samples(self.metric, self.span));
    }

    pub(super) fn mixed_schemas(&self) {
        self.eval
            .annotate(annotation::mixed_schemas(self.metric, self.span));
    }
}

/// A function of a window that holds at least one sample.
pub(super) type OfRange = fn(&Call<'_, '_>, &Window<'_>) -> Result<Option<Value>, EvalError>;

pub(super) fn find(name: &str) -> Option<OfRange> {
    Some(match name {
        "avg_over_time" => over_time::avg,
        "changes" => compare::changes,
        "count_over_time" => over_time::count,
        "delta" => rate::delta,
        "deriv" => trend::deriv,
        "double_exponential_smoothing" => trend::smoothing,
        "first_over_time" => over_time::first,
        "idelta" => rate::idelta,
        "increase" => rate::increase,
        "irate" => rate::irate,
        "last_over_time" => over_time::last,
        "mad_over_time" => over_time::mad,
        "max_over_time" => over_time::max,
        "min_over_time" => over_time::min,
        "predict_linear" => trend::predict,
        "present_over_time" => over_time::present,
        "quantile_over_time" => over_time::quantile,
        "rate" => rate::rate,
        "resets" => compare::resets,
        "stddev_over_time" => over_time::stddev,
        "stdvar_over_time" => over_time::stdvar,
        "sum_over_time" => over_time::sum,
        "ts_of_first_over_time" => over_time::time_of_first,
        "ts_of_last_over_time" => over_time::time_of_last,
        "ts_of_max_over_time" => over_time::time_of_max,
        "ts_of_min_over_time" => over_time::time_of_min,
        _ => return None,
    })
}

/// Which functions understand samples beyond the edges.
fn with_edges(edges: Edges) -> (&'static str, &'static [&'static str]) {
    match edges {
        Edges::Plain => ("", &[]),
        Edges::Anchored => (
            "anchored",
            &["changes", "delta", "increase", "rate", "resets"],
        ),
        Edges::Smoothed => ("smoothed", &["delta", "increase", "rate"]),
    }
}

/// Why a function cannot be used with a modifier.
pub(super) fn edges_refused(edges: Edges, name: &str) -> String {
    let (modifier, allowed) = with_edges(edges);
    let allowed = allowed.join(", ");
    format!("{modifier} modifier can only be used with: {allowed} - not with {name}")
}

fn check_edges(edges: Edges, name: &str) -> Result<(), EvalError> {
    if edges == Edges::Plain || with_edges(edges).1.contains(&name) {
        return Ok(());
    }
    EvalError::query(edges_refused(edges, name))
}

pub(super) fn over_ranges<'e>(
    eval: &'e Eval<'_>,
    function: &'static Function,
    of: OfRange,
    args: &'e [Expr],
    steps: Steps,
) -> Result<Stream<'e>, EvalError> {
    let Some(range) = args
        .iter()
        .find(|arg| arg.value_type() == ValueType::Matrix)
    else {
        return EvalError::query("expression is no range vector");
    };
    // The parameters of all steps, side by side.
    let mut params = vec![Vec::new(); steps.count()];
    for arg in args
        .iter()
        .filter(|arg| arg.value_type() == ValueType::Scalar)
    {
        for (at, value) in scalar::values(eval, arg, steps)?.into_iter().enumerate() {
            params[at].push(value);
        }
    }
    let mut ranges = ranges(eval, range, steps, function.name)?;
    check_edges(ranges.edges, function.name)?;
    let series = std::mem::replace(&mut ranges.series, Box::new(std::iter::empty()));
    let span = args[0].span;
    let keeps_name = matches!(function.name, "last_over_time" | "first_over_time");
    let out = series.map(move |one| {
        let one = one?;
        let mut out = Series::new(one.labels.clone());
        let mut sliding = match function.name {
            "rate" | "increase" | "resets" => Sliding::marking(&one, compare::falls),
            "changes" => Sliding::marking(&one, compare::changed),
            "max_over_time" => Sliding::ranking(&one, |a, b| a > b),
            "min_over_time" => Sliding::ranking(&one, |a, b| a < b),
            "ts_of_max_over_time" => Sliding::ranking(&one, |a, b| a >= b),
            "ts_of_min_over_time" => Sliding::ranking(&one, |a, b| a <= b),
            _ => Sliding::new(&one),
        };
        if !one.floats.is_empty() {
            out.floats = Samples::with_capacity(steps.count().min(one.floats.len() + 64));
        }
        let metric = one.labels.get(NAME);
        for (time, params) in steps.times().zip(&params) {
            let range = ranges.range_at(time);
            let window = window_at(&mut sliding, range, ranges.margin());
            if window.is_empty() {
                continue;
            }
            if ranges.edges != Edges::Plain && !window.histograms.is_empty() {
                return EvalError::query(
                    "smoothed and anchored modifiers do not work with native histograms",
                );
            }
            let call = Call {
                eval,
                span,
                metric,
                time,
                range,
                seconds: ranges.range_seconds,
                edges: ranges.edges,
                params,
            };
            if let Some(value) = of(&call, &window)? {
                out.push(time, value);
            }
        }
        if matches!(function.name, "rate" | "increase") && !out.floats.is_empty() {
            suspect(eval, &one, span);
        }
        if !keeps_name {
            out = super::renamed(eval, out);
        }
        Ok(out)
    });
    let out = out.filter(|one| one.as_ref().map_or(true, |one| !one.is_empty()));
    Ok(eval.distinct(Box::new(out)))
}

/// Remarks on what does not look like a counter.
fn suspect(eval: &Eval<'_>, one: &Series, span: Span) {
    let name = one.labels.get(NAME);
    if name.is_empty() {
        return;
    }
    if eval.settings.type_and_unit_labels {
        let of = one.labels.get("__type__");
        if of != "counter" && of != "histogram" {
            eval.annotate(annotation::possibly_no_counter_type(name, of, span));
        }
    } else if !["_total", "_sum", "_count", "_bucket"]
        .iter()
        .any(|end| name.ends_with(end))
    {
        eval.annotate(annotation::possibly_no_counter(name, span));
    }
}
