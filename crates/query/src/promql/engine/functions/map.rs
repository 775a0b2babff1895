//! Functions of single numbers.

use super::super::window::Steps;
use super::super::{Eval, EvalError, Stream, scalar, stream};
use crate::promql::ast::Expr;
use crate::promql::series::Samples;

type OfNumber = fn(f64) -> f64;

fn find(name: &str) -> Option<OfNumber> {
    Some(match name {
        "abs" => f64::abs,
        "ceil" => f64::ceil,
        "floor" => f64::floor,
        "exp" => f64::exp,
        "sqrt" => f64::sqrt,
        "ln" => f64::ln,
        "log2" => f64::log2,
        "log10" => f64::log10,
        "sin" => f64::sin,
        "cos" => f64::cos,
        "tan" => f64::tan,
        "asin" => f64::asin,
        "acos" => f64::acos,
        "atan" => f64::atan,
        "sinh" => f64::sinh,
        "cosh" => f64::cosh,
        "tanh" => f64::tanh,
        "asinh" => f64::asinh,
        "acosh" => f64::acosh,
        "atanh" => f64::atanh,
        "rad" => |value| value * std::f64::consts::PI / 180.0,
        "deg" => |value| value * 180.0 / std::f64::consts::PI,
        "sgn" => |value| {
            if value < 0.0 {
                -1.0
            } else if value > 0.0 {
                1.0
            } else {
                value
            }
        },
        _ => return None,
    })
}

/// The smaller number; minus infinity is smaller than what is none.
fn min(a: f64, b: f64) -> f64 {
    if a == f64::NEG_INFINITY || b == f64::NEG_INFINITY {
        f64::NEG_INFINITY
    } else if a.is_nan() || b.is_nan() {
        f64::NAN
    } else {
        a.min(b)
    }
}

fn max(a: f64, b: f64) -> f64 {
    -min(-a, -b)
}

pub(super) fn map<'e>(
    eval: &'e Eval<'_>,
    name: &'static str,
    args: &'e [Expr],
    steps: Steps,
) -> Result<Stream<'e>, EvalError> {
    let Some(vector) = args.first() else {
        return EvalError::query(format!("function {name} is not supported"));
    };
    let series = stream::stream(eval, vector, steps)?;
    if let Some(of) = find(name) {
        return each(eval, series, steps, move |_, value| Some(of(value)));
    }
    let param = |at: usize| scalar::values(eval, &args[at], steps);
    let count = steps.count();
    let (lowest, highest) = match name {
        "clamp" => (param(1)?, param(2)?),
        "clamp_min" => (param(1)?, vec![f64::INFINITY; count]),
        "clamp_max" => (vec![f64::NEG_INFINITY; count], param(1)?),
        "round" => {
            let nearest = if args.len() > 1 {
                param(1)?
            } else {
                vec![1.0; count]
            };
            return each(eval, series, steps, move |step, value| {
                // By the inverse, which loses less.
                let inverse = 1.0 / nearest[step];
                Some((value * inverse + 0.5).floor() / inverse)
            });
        }
        _ => return EvalError::query(format!("function {name} is not supported")),
    };
    each(eval, series, steps, move |step, value| {
        let (lowest, highest) = (lowest[step], highest[step]);
        (highest >= lowest || highest.is_nan() || lowest.is_nan())
            .then(|| max(lowest, min(highest, value)))
    })
}

/// Changes the plain samples; histograms are left out.
fn each<'e>(
    eval: &'e Eval<'_>,
    series: Stream<'e>,
    steps: Steps,
    of: impl Fn(usize, f64) -> Option<f64> + 'e,
) -> Result<Stream<'e>, EvalError> {
    let out = series.map(move |one| {
        let mut one = one?;
        one.histograms.clear();
        let samples = one.floats.iter();
        let (times, values) = samples
            .filter_map(|(time, value)| Some((time, of(steps.index(time), value)?)))
            .unzip();
        one.floats = Samples { times, values };
        Ok(super::renamed(eval, one))
    });
    let out = out.filter(|one| one.as_ref().map_or(true, |one| !one.is_empty()));
    eval.settle(Box::new(out))
}
