//! A series that is there when no other one is.

use super::super::matrix::{fixed_labels, ranges, window_at};
use super::super::window::{Sliding, Steps};
use super::super::{Eval, EvalError, Stream, stream};
use crate::promql::ast::Expr;
use crate::promql::series::Series;

pub(super) fn absent<'e>(
    eval: &'e Eval<'_>,
    arg: &'e Expr,
    steps: Steps,
) -> Result<Stream<'e>, EvalError> {
    let mut there = vec![false; steps.count()];
    for one in stream::stream(eval, arg, steps)? {
        let one = one?;
        let histograms = one.histograms.iter().map(|(time, _)| time);
        for time in one.floats.times.iter().chain(histograms) {
            there[steps.index(*time)] = true;
        }
    }
    Ok(gaps(arg, &there, steps, false))
}

pub(super) fn absent_over_time<'e>(
    eval: &'e Eval<'_>,
    arg: &'e Expr,
    steps: Steps,
) -> Result<Stream<'e>, EvalError> {
    let mut there = vec![false; steps.count()];
    let mut ranges = ranges(eval, arg, steps, "absent_over_time")?;
    if ranges.edges != crate::promql::ast::Edges::Plain {
        return EvalError::query(super::range::edges_refused(
            ranges.edges,
            "absent_over_time",
        ));
    }
    let series = std::mem::replace(&mut ranges.series, Box::new(std::iter::empty()));
    for one in series {
        let one = one?;
        let mut sliding = Sliding::new(&one);
        for (at, time) in steps.times().enumerate() {
            let window = window_at(&mut sliding, ranges.range_at(time), ranges.margin());
            there[at] |= !window.is_empty();
        }
    }
    Ok(gaps(arg, &there, steps, true))
}

fn gaps<'e>(arg: &Expr, there: &[bool], steps: Steps, drop_name: bool) -> Stream<'e> {
    let mut out = Series {
        drop_name,
        ..Series::new(fixed_labels(arg))
    };
    for (time, there) in steps.times().zip(there) {
        if !there {
            out.floats.push(time, 1.0);
        }
    }
    Box::new((!out.is_empty()).then_some(Ok(out)).into_iter())
}
