//! Parts of dates, UTC.

use super::super::window::Steps;
use super::super::{Eval, EvalError, Stream, stream};
use crate::calendar::{civil_from_days, days_from_civil, month_days};
use crate::promql::ast::Expr;
use crate::promql::labels::Labels;
use crate::promql::series::{Samples, Series};

/// A part of a date from seconds since the epoch.
pub(super) type Part = fn(i64) -> i64;

const DAY: i64 = 86_400;

/// Days before 1970 at which the calendar of Go begins. Times before it come out at its other
/// end, and since what is no time is the least one of 64 bits, that shows.
const BEGINNING: i64 = 106_751_991_073_400;

/// The day since 1970 and the second of the day.
fn split(seconds: i64) -> (i64, i64) {
    let since = (seconds as u64).wrapping_add((BEGINNING * DAY) as u64);
    let days = since / DAY as u64;
    (days as i64 - BEGINNING, (since % DAY as u64) as i64)
}

pub(super) fn find(name: &str) -> Option<Part> {
    Some(match name {
        "minute" => |seconds| split(seconds).1 % 3600 / 60,
        "hour" => |seconds| split(seconds).1 / 3600,
        // 1970-01-01 was a Thursday.
        "day_of_week" => |seconds| (split(seconds).0 + 4).rem_euclid(7),
        "day_of_month" => |seconds| date(seconds).2,
        "day_of_year" => |seconds| {
            let days = split(seconds).0;
            days - days_from_civil(date(seconds).0, 1, 1) + 1
        },
        "days_in_month" => |seconds| {
            let (year, month, _) = date(seconds);
            month_days(year, month)
        },
        "month" => |seconds| date(seconds).1,
        "year" => |seconds| date(seconds).0,
        _ => return None,
    })
}

fn date(seconds: i64) -> (i64, i64, i64) {
    civil_from_days(split(seconds).0)
}

pub(super) fn dates<'e>(
    eval: &'e Eval<'_>,
    part: Part,
    args: &'e [Expr],
    steps: Steps,
) -> Result<Stream<'e>, EvalError> {
    let Some(vector) = args.first() else {
        let mut one = Series::new(Labels::default());
        let times: Vec<i64> = steps.times().collect();
        let values = times.iter().map(|time| part(time / 1000) as f64).collect();
        one.floats = Samples { times, values };
        return Ok(Box::new(std::iter::once(Ok(one))));
    };
    let series = stream::stream(eval, vector, steps)?.map(move |one| {
        let mut one = one?;
        one.histograms.clear();
        for value in &mut one.floats.values {
            // What is no time becomes the least one, as on the machines upstream runs on.
            let possible = value.abs() < 9.2e18;
            *value = part(if possible { *value as i64 } else { i64::MIN }) as f64;
        }
        Ok(super::renamed(eval, one))
    });
    let series = series.filter(|one| one.as_ref().map_or(true, |one| !one.is_empty()));
    eval.settle(Box::new(series))
}
