//! Functions of histograms, native ones and classic ones in buckets of their own series.

use indexmap::IndexMap;

use super::super::window::Steps;
use super::super::{Eval, EvalError, Stream, scalar, stream};
use super::classic::{self, Bucket};
use crate::promql::annotation::{self, Forced};
use crate::promql::ast::{Expr, Span};
use crate::promql::histogram::{self, Findings, Histogram, add_compensated};
use crate::promql::labels::{Labels, NAME};
use crate::promql::series::{Samples, Series};

/// A number of a histogram.
pub(super) type OfHistogram = fn(&Histogram) -> f64;

pub(super) fn find(name: &str) -> Option<OfHistogram> {
    Some(match name {
        "histogram_count" => |h| h.count,
        "histogram_sum" => |h| h.sum,
        "histogram_avg" => |h| h.sum / h.count,
        "histogram_stdvar" => variance,
        "histogram_stddev" => |h| variance(h).sqrt(),
        _ => return None,
    })
}

/// As if all observations of a bucket lay in its middle: the arithmetic one of custom buckets,
/// the geometric one of exponential buckets, zero for the zero bucket.
fn variance(of: &Histogram) -> f64 {
    let mean = of.sum / of.count;
    let (mut sum, mut error) = (0.0, 0.0);
    for bucket in of.buckets().iter().filter(|bucket| bucket.count != 0.0) {
        let middle = if of.is_custom() {
            (bucket.upper + bucket.lower) / 2.0
        } else if bucket.lower <= 0.0 && bucket.upper >= 0.0 {
            0.0
        } else {
            let middle = (bucket.upper * bucket.lower).sqrt();
            if bucket.upper < 0.0 { -middle } else { middle }
        };
        let delta = middle - mean;
        (sum, error) = add_compensated(bucket.count * delta * delta, sum, error);
    }
    (sum + error) / of.count
}

pub(super) fn each<'e>(
    eval: &'e Eval<'_>,
    of: OfHistogram,
    vector: &'e Expr,
    steps: Steps,
) -> Result<Stream<'e>, EvalError> {
    let series = stream::stream(eval, vector, steps)?.map(move |one| {
        let mut one = one?;
        let pairs = one.histograms.drain(..).map(|(time, h)| (time, of(&h)));
        let (times, values) = pairs.unzip();
        one.floats = Samples { times, values };
        Ok(super::renamed(eval, one))
    });
    let series = series.filter(|one| one.as_ref().map_or(true, |one| !one.is_empty()));
    eval.settle(Box::new(series))
}

/// What both functions work on: native histograms, and classic ones put together.
struct Inputs {
    native: Vec<Series>,
    /// By their labels without the bucket's, the series of the buckets with their upper bounds.
    classic: IndexMap<Labels, Vec<(f64, Samples)>>,
}

/// Takes a vector apart. Where a classic and a native histogram have the same labels at the same
/// time, neither counts.
fn inputs(eval: &Eval<'_>, vector: &Expr, steps: Steps) -> Result<Inputs, EvalError> {
    let mut native = Vec::new();
    let mut classic: IndexMap<Labels, Vec<(f64, Samples)>> = IndexMap::new();
    let shown = |labels: &Labels| {
        let name = if eval.settings.delayed_name_removal {
            labels.get(NAME)
        } else {
            ""
        };
        name.to_owned()
    };
    for mut one in eval
        .collect(stream::stream(eval, vector, steps)?)?
        .into_inner()
    {
        if !one.floats.is_empty() {
            let bound = one.labels.get("le");
            match classic::bound(bound) {
                Some(upper) => {
                    let key = one.labels.filtered(|name| name != "le");
                    classic
                        .entry(key)
                        .or_default()
                        .push((upper, std::mem::take(&mut one.floats)));
                }
                None => {
                    let name = shown(&one.labels);
                    eval.annotate(annotation::bad_bucket_label(&name, bound, vector.span));
                    one.floats = Samples::default();
                }
            }
        }
        if !one.histograms.is_empty() {
            native.push(one);
        }
    }
    for one in &mut native {
        let Some(buckets) = classic.get_mut(&one.labels) else {
            continue;
        };
        let clash: Vec<i64> = one
            .histograms
            .iter()
            .map(|(time, _)| *time)
            .filter(|time| {
                buckets
                    .iter()
                    .any(|(_, s)| s.times.binary_search(time).is_ok())
            })
            .collect();
        if clash.is_empty() {
            continue;
        }
        let name = shown(&one.labels);
        eval.annotate(annotation::mixed_histograms(&name, vector.span));
        one.histograms.retain(|(time, _)| !clash.contains(time));
        for (_, samples) in buckets {
            let kept = samples.iter().filter(|(time, _)| !clash.contains(time));
            let (times, values) = kept.unzip();
            *samples = Samples { times, values };
        }
    }
    Ok(Inputs { native, classic })
}

/// The numbers of both kinds of histograms as series.
fn numbers<'e>(
    eval: &'e Eval<'_>,
    inputs: Inputs,
    steps: Steps,
    of_native: impl Fn(usize, &Histogram, &str) -> f64,
    of_classic: impl Fn(usize, i64, Vec<Bucket>, &str) -> f64,
) -> Result<Stream<'e>, EvalError> {
    let name_of = |labels: &Labels| -> String {
        let shown = eval.settings.delayed_name_removal;
        if shown {
            labels.get(NAME).to_owned()
        } else {
            String::new()
        }
    };
    let mut out = Vec::new();
    for mut one in inputs.native {
        let name = name_of(&one.labels);
        for (time, histogram) in std::mem::take(&mut one.histograms) {
            one.floats
                .push(time, of_native(steps.index(time), &histogram, &name));
        }
        out.push(one);
    }
    for (labels, buckets) in inputs.classic {
        let name = name_of(&labels);
        let mut one = Series::new(labels);
        // The buckets side by side, and how far each one is.
        let mut at = vec![0; buckets.len()];
        for (step, time) in steps.times().enumerate() {
            let mut now = Vec::with_capacity(buckets.len());
            for ((upper, samples), at) in buckets.iter().zip(&mut at) {
                if samples.times.get(*at) == Some(&time) {
                    let (upper, count) = (*upper, samples.values[*at]);
                    now.push(Bucket { upper, count });
                    *at += 1;
                }
            }
            if !now.is_empty() {
                one.floats.push(time, of_classic(step, time, now, &name));
            }
        }
        out.push(one);
    }
    out.retain(|one| !one.is_empty());
    let out = out
        .into_iter()
        .map(move |one| Ok(super::renamed(eval, one)));
    eval.settle(Box::new(out))
}

fn remark(eval: &Eval<'_>, findings: Findings, name: &str, span: Span) {
    match findings {
        Findings::None => {}
        Findings::Skewed => eval.annotate(annotation::quantile_skewed(name, span)),
        Findings::NotANumber => eval.annotate(annotation::quantile_nan(name, span)),
        Findings::Excluded => eval.annotate(annotation::fraction_nan(name, span)),
    }
}

pub(super) fn quantile<'e>(
    eval: &'e Eval<'_>,
    args: &'e [Expr],
    steps: Steps,
) -> Result<Stream<'e>, EvalError> {
    let qs = scalar::values(eval, &args[0], steps)?;
    for q in qs.iter().filter(|q| !(0.0..=1.0).contains(*q)) {
        eval.annotate(annotation::invalid_quantile(*q, args[0].span));
    }
    let inputs = inputs(eval, &args[1], steps)?;
    let of_native = |step: usize, histogram: &Histogram, name: &str| {
        let (value, findings) = histogram::quantile(qs[step], histogram);
        remark(eval, findings, name, args[0].span);
        value
    };
    let of_classic = |step: usize, time: i64, buckets: Vec<Bucket>, name: &str| {
        let (value, forced) = classic::quantile(qs[step], buckets);
        if let Some((lowest, highest, difference)) = forced {
            let forced = Forced {
                from: time,
                to: time,
                lowest,
                highest,
                difference,
                count: 0,
            };
            eval.annotate(annotation::forced_monotonicity(name, args[1].span, forced));
        }
        value
    };
    numbers(eval, inputs, steps, of_native, of_classic)
}

pub(super) fn fraction<'e>(
    eval: &'e Eval<'_>,
    args: &'e [Expr],
    steps: Steps,
) -> Result<Stream<'e>, EvalError> {
    let lower = scalar::values(eval, &args[0], steps)?;
    let upper = scalar::values(eval, &args[1], steps)?;
    let inputs = inputs(eval, &args[2], steps)?;
    let of_native = |step: usize, histogram: &Histogram, name: &str| {
        let (value, findings) = histogram::fraction(lower[step], upper[step], histogram);
        remark(eval, findings, name, args[0].span);
        value
    };
    let of_classic = |step: usize, _: i64, buckets: Vec<Bucket>, _: &str| {
        classic::fraction(lower[step], upper[step], buckets)
    };
    numbers(eval, inputs, steps, of_native, of_classic)
}
