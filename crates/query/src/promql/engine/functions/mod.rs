//! The functions of vectors and ranges.

mod absent;
mod classic;
mod compare;
mod dates;
mod histograms;
mod info;
mod labels;
mod map;
mod over_time;
mod range;
mod rate;
mod sort;
mod trend;

use super::window::Steps;
use super::{Eval, EvalError, Stream, scalar, select, stream};
use crate::promql::ast::{Expr, Node};
use crate::promql::functions::Function;
use crate::promql::labels::Labels;
use crate::promql::series::{Samples, Series};

pub(super) use over_time::quantile_of;

pub(super) fn call<'e>(
    eval: &'e Eval<'_>,
    function: &'static Function,
    args: &'e [Expr],
    steps: Steps,
) -> Result<Stream<'e>, EvalError> {
    if let Some(of) = range::find(function.name) {
        return range::over_ranges(eval, function, of, args, steps);
    }
    if let Some(date) = dates::find(function.name) {
        return dates::dates(eval, date, args, steps);
    }
    match function.name {
        "absent" => absent::absent(eval, &args[0], steps),
        "absent_over_time" => absent::absent_over_time(eval, &args[0], steps),
        "vector" => vector(eval, &args[0], steps),
        "timestamp" => timestamp(eval, &args[0], steps),
        "label_replace" => labels::replace(eval, args, steps),
        "label_join" => labels::join(eval, args, steps),
        "info" => info::info(eval, args, steps),
        "sort" | "sort_desc" | "sort_by_label" | "sort_by_label_desc" => {
            sort::sort(eval, function.name, args, steps)
        }
        "histogram_quantile" => histograms::quantile(eval, args, steps),
        "histogram_fraction" => histograms::fraction(eval, args, steps),
        name => match histograms::find(name) {
            Some(of) => histograms::each(eval, of, &args[0], steps),
            None => map::map(eval, name, args, steps),
        },
    }
}

fn vector<'e>(eval: &'e Eval<'_>, number: &'e Expr, steps: Steps) -> Result<Stream<'e>, EvalError> {
    let mut one = Series::new(Labels::default());
    let values = scalar::values(eval, number, steps)?;
    one.floats = Samples {
        times: steps.times().collect(),
        values,
    };
    Ok(Box::new(std::iter::once(Ok(one))))
}

/// The times of the samples of a selector; of any other vector, the times of evaluation.
fn timestamp<'e>(eval: &'e Eval<'_>, arg: &'e Expr, steps: Steps) -> Result<Stream<'e>, EvalError> {
    let series = match &arg.unwrapped().node {
        Node::Vector(selector) => select::timestamps(eval, selector, steps)?,
        _ => Box::new(stream::stream(eval, arg, steps)?.map(|one| {
            let mut one = one?;
            let histograms = std::mem::take(&mut one.histograms);
            let mut times = std::mem::take(&mut one.floats.times);
            times.extend(histograms.iter().map(|(time, _)| *time));
            times.sort_unstable();
            one.floats.values = times.iter().map(|time| *time as f64 / 1000.0).collect();
            one.floats.times = times;
            Ok(one)
        })),
    };
    let series = series.filter(|one| one.as_ref().map_or(true, |one| !one.is_empty()));
    eval.settle(Box::new(
        series.map(move |one| one.map(|one| renamed(eval, one))),
    ))
}

/// A series whose name has lost its meaning.
fn renamed(eval: &Eval<'_>, mut one: Series) -> Series {
    one.labels = eval.renamed(one.labels);
    one.drop_name = true;
    one
}
