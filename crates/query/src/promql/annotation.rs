//! What a reader should know about a result: warnings and remarks, with upstream's words.

use indexmap::IndexMap;
use indexmap::map::Entry;

use super::ast::Span;
use super::text::{exponent_form, format_general, quote};

/// How serious an annotation is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// The result may be wrong.
    Warning,
    /// The result may not be what was meant.
    Info,
}

/// One remark about a result.
#[derive(Clone, Debug, PartialEq)]
pub struct Annotation {
    /// How serious it is.
    pub level: Level,
    /// What it says, without its place.
    pub message: String,
    /// The part of the query it is about.
    pub span: Span,
    forced: Option<Forced>,
}

/// Where a histogram's buckets had to be made monotonic.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Forced {
    pub(crate) from: i64,
    pub(crate) to: i64,
    pub(crate) lowest: f64,
    pub(crate) highest: f64,
    pub(crate) difference: f64,
    pub(crate) count: usize,
}

impl Annotation {
    fn new(level: Level, message: String, span: Span) -> Self {
        let prefix = if level == Level::Warning {
            "PromQL warning: "
        } else {
            "PromQL info: "
        };
        Self {
            level,
            message: prefix.to_owned() + &message,
            span,
            forced: None,
        }
    }

    /// The remark with its place in `query`.
    pub fn located(&self, query: &str) -> String {
        let place = self.span.place(query);
        let Some(forced) = self.forced else {
            return format!("{} ({place})", self.message);
        };
        format!(
            "{}, from buckets {} to {}, with a max diff of {}, over {} samples from {} to {} ({place})",
            self.message,
            format_general(forced.lowest),
            format_general(forced.highest),
            two_digits(forced.difference),
            forced.count + 1,
            crate::promql::text::format_time(forced.from.div_euclid(1000)),
            crate::promql::text::format_time(forced.to.div_euclid(1000)),
        )
    }
}

/// A number as `%.2g` writes it.
fn two_digits(value: f64) -> String {
    let rounded: f64 = format!("{value:.1e}").parse().unwrap_or(value);
    let exponent = rounded.abs().log10().floor();
    if rounded == 0.0 || !rounded.is_finite() || (-4.0..2.0).contains(&exponent) {
        return format_general(rounded);
    }
    exponent_form(rounded)
}

/// The annotations of a result, each message once.
#[derive(Clone, Debug, Default)]
pub struct Annotations(IndexMap<String, Annotation>);

impl Annotations {
    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &Annotation> {
        self.0.values()
    }

    /// The messages of one level with their places in `query`, at most `limit` of them (0: all)
    /// and a line that counts the others.
    pub fn texts(&self, level: Level, query: &str, limit: usize) -> Vec<String> {
        let all: Vec<&Annotation> = self.iter().filter(|a| a.level == level).collect();
        let shown = if limit == 0 {
            all.len()
        } else {
            all.len().min(limit)
        };
        let mut out: Vec<String> = all[..shown].iter().map(|a| a.located(query)).collect();
        if all.len() > shown {
            let name = if level == Level::Warning {
                "warning"
            } else {
                "info"
            };
            out.push(format!(
                "{} more {name} annotations omitted",
                all.len() - shown
            ));
        }
        out
    }

    pub(crate) fn add(&mut self, annotation: Annotation) {
        match self.0.entry(annotation.message.clone()) {
            Entry::Vacant(entry) => drop(entry.insert(annotation)),
            Entry::Occupied(mut entry) => {
                // Of several places the last one is told.
                entry.get_mut().span = annotation.span;
                if let (Some(old), Some(new)) = (&mut entry.get_mut().forced, annotation.forced) {
                    old.from = old.from.min(new.from);
                    old.to = old.to.max(new.to);
                    old.lowest = old.lowest.min(new.lowest);
                    old.highest = old.highest.max(new.highest);
                    old.difference = old.difference.max(new.difference);
                    old.count += new.count + 1;
                }
            }
        }
    }
}

fn warning(message: String, span: Span) -> Annotation {
    Annotation::new(Level::Warning, message, span)
}

fn info(message: String, span: Span) -> Annotation {
    Annotation::new(Level::Info, message, span)
}

fn named(message: &str, metric: &str) -> String {
    if metric.is_empty() {
        message.to_owned()
    } else {
        format!("{message} for metric name {}", quote(metric))
    }
}

pub(crate) fn invalid_quantile(q: f64, span: Span) -> Annotation {
    let got = format_general(q);
    warning(
        format!("quantile value should be between 0 and 1, got {got}"),
        span,
    )
}

pub(crate) fn invalid_ratio(ratio: f64, to: f64, span: Span) -> Annotation {
    let (got, to) = (format_general(ratio), format_general(to));
    warning(
        format!("ratio value should be between -1 and 1, got {got}, capping to {to}"),
        span,
    )
}

pub(crate) fn bad_bucket_label(metric: &str, value: &str, span: Span) -> Annotation {
    let what = format!(
        "bucket label \"le\" is missing or has a malformed value of {}",
        quote(value)
    );
    warning(named(&what, metric), span)
}

pub(crate) fn mixed_samples(metric: &str, span: Span) -> Annotation {
    let metric = quote(metric);
    warning(
        format!("encountered a mix of histograms and floats for metric name {metric}"),
        span,
    )
}

pub(crate) fn mixed_aggregation(span: Span) -> Annotation {
    warning(
        "encountered a mix of histograms and floats for aggregation".to_owned(),
        span,
    )
}

pub(crate) fn mixed_histograms(metric: &str, span: Span) -> Annotation {
    let what = "vector contains a mix of classic and native histograms";
    warning(named(what, metric), span)
}

pub(crate) fn not_counter(metric: &str, span: Span) -> Annotation {
    let metric = quote(metric);
    warning(
        format!("this native histogram metric is not a counter: {metric}"),
        span,
    )
}

pub(crate) fn not_gauge(metric: &str, span: Span) -> Annotation {
    let metric = quote(metric);
    warning(
        format!("this native histogram metric is not a gauge: {metric}"),
        span,
    )
}

pub(crate) fn mixed_schemas(metric: &str, span: Span) -> Annotation {
    let metric = quote(metric);
    let what = "vector contains a mix of histograms with exponential and custom buckets schemas";
    warning(format!("{what} for metric name {metric}"), span)
}

pub(crate) fn incompatible_layout(operator: &str, span: Span) -> Annotation {
    let what = "incompatible bucket layout encountered for binary operator";
    warning(format!("{what} {operator}"), span)
}

pub(crate) fn possibly_no_counter(metric: &str, span: Span) -> Annotation {
    let metric = quote(metric);
    let what = "metric might not be a counter, name does not end in _total/_sum/_count/_bucket";
    info(format!("{what}: {metric}"), span)
}

pub(crate) fn possibly_no_counter_type(metric: &str, of: &str, span: Span) -> Annotation {
    let (metric, of) = (quote(metric), quote(of));
    let what =
        "metric might not be a counter, __type__ label is not set to \"counter\" or \"histogram\"";
    info(format!("{what}, got {of}: {metric}"), span)
}

pub(crate) fn forced_monotonicity(metric: &str, span: Span, forced: Forced) -> Annotation {
    let what = "input to histogram_quantile needed to be fixed for monotonicity (see https://prometheus.io/docs/prometheus/latest/querying/functions/#histogram_quantile)";
    Annotation {
        forced: Some(forced),
        ..info(named(what, metric), span)
    }
}

pub(crate) fn incompatible_types(
    left: &str,
    operator: &str,
    right: &str,
    span: Span,
) -> Annotation {
    let what = "incompatible sample types encountered for binary operator";
    info(
        format!("{what} {}: {left} {operator} {right}", quote(operator)),
        span,
    )
}

pub(crate) fn ignored_in_aggregation(aggregation: &str, span: Span) -> Annotation {
    info(
        format!("ignored histogram in {aggregation} aggregation"),
        span,
    )
}

pub(crate) fn ignored_in_range(metric: &str, span: Span) -> Annotation {
    let metric = quote(metric);
    let what = "ignored histograms in a range containing both floats and histograms";
    info(format!("{what} for metric name {metric}"), span)
}

pub(crate) fn quantile_nan(metric: &str, span: Span) -> Annotation {
    let what = "input to histogram_quantile has NaN observations, result is NaN";
    info(named(what, metric), span)
}

pub(crate) fn quantile_skewed(metric: &str, span: Span) -> Annotation {
    let what = "input to histogram_quantile has NaN observations, result is skewed higher";
    info(named(what, metric), span)
}

pub(crate) fn fraction_nan(metric: &str, span: Span) -> Annotation {
    let what = "input to histogram_fraction has NaN observations, which are excluded from all \
         fractions";
    info(named(what, metric), span)
}

/// `resolution` is how far apart the samples are that were read.
pub(crate) fn downsampled(resolution: &str, span: Span) -> Annotation {
    info(
        format!("samples downsampled to {resolution} were read instead of all samples"),
        span,
    )
}

pub(crate) fn samples_gone(resolution: &str, function: &str, span: Span) -> Annotation {
    let of = if function.is_empty() {
        "the query".to_owned()
    } else {
        quote(function)
    };
    let what = "of some of the time only the last sample of every";
    warning(
        format!("{what} {resolution} is kept, {of} needs all of them"),
        span,
    )
}

/// What was done to histograms when something had to be given up.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Operation {
    Addition,
    Subtraction,
    Aggregation,
}

impl Operation {
    fn text(self) -> &'static str {
        match self {
            Self::Addition => "addition",
            Self::Subtraction => "subtraction",
            Self::Aggregation => "aggregation",
        }
    }
}

pub(crate) fn resets_collide(of: Operation, span: Span) -> Annotation {
    warning(
        format!("conflicting counter resets during histogram {}", of.text()),
        span,
    )
}

pub(crate) fn bounds_reconciled(of: Operation, span: Span) -> Annotation {
    info(
        format!(
            "mismatched custom buckets were reconciled during {}",
            of.text()
        ),
        span,
    )
}
