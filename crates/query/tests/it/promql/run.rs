//! Runs scripts: each query as it stands, instant ones also pinned with `@` and in a range.

use std::collections::BTreeMap;

use towpath_query::promql::{
    Annotations, Answer, At, Expr, Histogram, InstantSample, Labels, Level, Node, Notated, Series,
    Settings, Value, instant, is_stale, parse, range,
};

use super::script::{Command, Eval, Pattern, parse as parse_script};
use super::store::Store;

/// The counts of a file, and what went wrong by the line and the query.
#[derive(Default)]
pub(super) struct Outcome {
    pub(super) passed: usize,
    pub(super) failed: Vec<(usize, String, String)>,
}

pub(super) fn run(source: &str) -> Outcome {
    let mut store = Store::default();
    let mut outcome = Outcome::default();
    for command in parse_script(source) {
        match command {
            Command::Clear => store = Store::default(),
            Command::Load {
                step,
                converted,
                series,
            } => {
                for (labels, values) in &series {
                    store.load(labels, values, step);
                }
                if converted {
                    store.load_converted(&series, step);
                }
            }
            Command::Eval(eval) => match evaluate(&eval, &store) {
                Ok(()) => outcome.passed += 1,
                Err(why) => outcome.failed.push((eval.line, eval.query.clone(), why)),
            },
        }
    }
    outcome
}

fn settings() -> Settings<'static> {
    Settings {
        delayed_name_removal: true,
        ..Settings::default()
    }
}

fn evaluate(eval: &Eval, store: &Store) -> Result<(), String> {
    let expr = match parse(&eval.query) {
        Ok(expr) => expr,
        Err(error) => return judge_failure(eval, &error.to_string()),
    };
    if let Some((start, end, step)) = eval.range {
        let answer = match range(&expr, start, end, step, store, &settings()) {
            Ok(_) if eval.fail.is_some() => return Err("expected an error".to_owned()),
            Ok(answer) => answer,
            Err(error) => return judge_failure(eval, &error.to_string()),
        };
        annotations(eval, &answer.annotations)?;
        return compare(eval, &answer.value);
    }
    at_time(eval, &expr, eval.at, store)?;
    if let Some((pinned, times)) = pinned(&expr, eval.at) {
        let printed = pinned.to_string();
        let again = parse(&printed).map_err(|error| format!("{printed}: {error}"))?;
        for time in times {
            at_time(eval, &again, time, store)
                .map_err(|why| format!("{printed} at {time}: {why}"))?;
        }
    }
    Ok(())
}

fn judge_failure(eval: &Eval, error: &str) -> Result<(), String> {
    match &eval.fail {
        None => Err(format!("failed: {error}")),
        Some(pattern) if pattern.matches(error) => Ok(()),
        Some(_) => Err(format!("another error: {error}")),
    }
}

fn at_time(eval: &Eval, expr: &Expr, time: i64, store: &Store) -> Result<(), String> {
    let answer = match instant(expr, time, store, &settings()) {
        Ok(_) if eval.fail.is_some() => return Err("expected an error".to_owned()),
        Ok(answer) => answer,
        Err(error) => return judge_failure(eval, &error.to_string()),
    };
    annotations(eval, &answer.annotations)?;
    compare(eval, &answer.value)?;
    let special = eval.expect_range.is_some() || eval.string.is_some();
    if special || eval.query.contains("range()") {
        return Ok(());
    }
    let around = range(
        expr,
        time - 60_000,
        time + 60_000,
        60_000,
        store,
        &settings(),
    )
    .map_err(|error| format!("in range mode: {error}"))?;
    if eval.ordered {
        return Ok(());
    }
    compare(eval, &middle(&answer, &around, time)).map_err(|why| format!("in range mode: {why}"))
}

/// The samples of a range at one time, as an instant query gives them.
fn middle(answer: &Answer, around: &Answer, time: i64) -> Value {
    let Value::Matrix(series) = &around.value else {
        panic!("a range gives a matrix")
    };
    let samples = series.iter().filter_map(|one| {
        let float = one
            .floats
            .iter()
            .find(|(at, _)| *at == time)
            .map(|(_, value)| value);
        let histogram = one
            .histograms
            .iter()
            .find(|(at, _)| *at == time)
            .map(|(_, h)| h.clone());
        let value = if histogram.is_some() { 0.0 } else { float? };
        Some(InstantSample {
            labels: one.labels.clone(),
            value,
            histogram,
        })
    });
    let samples: Vec<InstantSample> = samples.collect();
    match answer.value {
        Value::Scalar(_) => Value::Scalar(samples[0].value),
        _ => Value::Vector(samples),
    }
}

/// The query with every selector pinned to `time`, and other times to evaluate it at; none if
/// its functions look at the time themselves.
fn pinned(expr: &Expr, time: i64) -> Option<(Expr, Vec<i64>)> {
    let mut expr = expr.clone();
    if !pin(&mut expr, time) {
        return None;
    }
    let times = if time == 0 {
        vec![-1000, 0, 1000]
    } else {
        vec![-10 * time, 0, time / 5, time, 10 * time]
    };
    Some((expr, times))
}

fn pin(expr: &mut Expr, time: i64) -> bool {
    let set = |at: &mut Option<At>| {
        if !matches!(at, Some(At::Time(_))) {
            *at = Some(At::Time(time));
        }
    };
    match &mut expr.node {
        Node::Vector(selector) => set(&mut selector.shift.at),
        Node::Matrix(matrix) => set(&mut matrix.selector.shift.at),
        // Pinned from outside, what is inside stays as it is.
        Node::Subquery(sub) => {
            set(&mut sub.shift.at);
            return !bound(&sub.expr);
        }
        Node::Call(function, args) => {
            let here = !TIME_BOUND.contains(&function.name);
            return args
                .iter_mut()
                .fold(here, |fine, arg| pin(arg, time) && fine);
        }
        Node::Aggregate(aggregate) => {
            let inner = pin(&mut aggregate.expr, time);
            return aggregate
                .param
                .as_mut()
                .is_none_or(|param| pin(param, time))
                && inner;
        }
        Node::Binary(binary) => {
            let lhs = pin(&mut binary.lhs, time);
            return pin(&mut binary.rhs, time) && lhs;
        }
        Node::Unary(_, inner) | Node::Paren(inner) => return pin(inner, time),
        Node::Number(_) | Node::String(_) | Node::Duration(_) => {}
    }
    true
}

const TIME_BOUND: [&str; 11] = [
    "days_in_month",
    "day_of_month",
    "day_of_week",
    "day_of_year",
    "hour",
    "minute",
    "month",
    "year",
    "predict_linear",
    "time",
    "timestamp",
];

fn bound(expr: &Expr) -> bool {
    !pin(&mut expr.clone(), 0)
}

fn annotations(eval: &Eval, all: &Annotations) -> Result<(), String> {
    let of = |level: Level| -> Vec<&str> {
        all.iter()
            .filter(|a| a.level == level)
            .map(|a| a.message.as_str())
            .collect()
    };
    let kinds = [
        ("warning", of(Level::Warning), &eval.warn, eval.no_warn),
        ("info", of(Level::Info), &eval.info, eval.no_info),
    ];
    for (name, found, wanted, none) in kinds {
        if none && !found.is_empty() {
            return Err(format!("unexpected {name}: {found:?}"));
        }
        if wanted.is_empty() {
            continue;
        }
        if found.is_empty() {
            return Err(format!("{name} expected"));
        }
        for pattern in wanted {
            if !found.iter().any(|text| pattern.matches(text)) {
                return Err(format!("another {name} expected than {found:?}"));
            }
        }
        let strict = !wanted
            .iter()
            .any(|pattern| matches!(pattern, Pattern::Some));
        for text in found {
            if strict && !wanted.iter().any(|pattern| pattern.matches(text)) {
                return Err(format!("unexpected {name}: {text}"));
            }
        }
    }
    Ok(())
}

fn compare(eval: &Eval, value: &Value) -> Result<(), String> {
    match value {
        Value::Scalar(got) => match eval.scalar {
            Some(wanted) if almost(*got, wanted) => Ok(()),
            wanted => Err(format!("got scalar {got}, want {wanted:?}")),
        },
        Value::String(got) => match &eval.string {
            Some(wanted) if wanted == got => Ok(()),
            // Nothing expected of a text is the empty text, as upstream has it.
            wanted => Err(format!("got string {got:?}, want {wanted:?}")),
        },
        Value::Vector(got) => vector(eval, got),
        Value::Matrix(got) => matrix(eval, got),
    }
}

fn vector(eval: &Eval, got: &[InstantSample]) -> Result<(), String> {
    if eval.scalar.is_some() {
        return Err("got a vector, want a scalar".to_owned());
    }
    let wanted: BTreeMap<&Labels, (usize, &Notated)> = (0..)
        .zip(&eval.series)
        .filter_map(|(at, (labels, values))| Some((labels, (at, values.first()?))))
        .collect();
    let mut seen = Vec::new();
    for (at, sample) in got.iter().enumerate() {
        let Some((place, wanted)) = wanted.get(&sample.labels) else {
            let shown = shown(sample);
            return Err(format!("unexpected {} in result: {shown}", sample.labels));
        };
        if eval.ordered && *place != at {
            return Err(format!("{} at {at}, want {place}", sample.labels));
        }
        let fits = match (wanted, &sample.histogram) {
            (Notated::Histogram(wanted, hint), Some(got)) => same_histogram(wanted, got, *hint),
            (Notated::Float(wanted), None) => almost(*wanted, sample.value),
            _ => false,
        };
        if !fits {
            let shown = shown(sample);
            return Err(format!("{}: got {shown}, want {wanted:?}", sample.labels));
        }
        seen.push(&sample.labels);
    }
    match wanted.keys().find(|labels| !seen.contains(labels)) {
        Some(labels) => Err(format!("{labels} not found")),
        None => Ok(()),
    }
}

fn shown(sample: &InstantSample) -> String {
    match &sample.histogram {
        Some(histogram) => format!("{histogram} {:?}", histogram.hint),
        None => sample.value.to_string(),
    }
}

fn matrix(eval: &Eval, got: &[Series]) -> Result<(), String> {
    if eval.ordered || eval.scalar.is_some() {
        return Err("got a matrix".to_owned());
    }
    if !got.is_sorted_by(|a, b| a.labels <= b.labels) {
        return Err("the matrix is not sorted".to_owned());
    }
    let Some((start, end, step)) = eval.range.or(eval.expect_range) else {
        return Err("got a matrix".to_owned());
    };
    for series in got {
        let wanted = eval
            .series
            .iter()
            .rfind(|(labels, _)| *labels == series.labels);
        let Some((_, wanted)) = wanted else {
            return Err(format!(
                "unexpected {} in result: {:?}",
                series.labels, series.floats
            ));
        };
        let (mut floats, mut histograms) = (series.floats.iter(), series.histograms.iter());
        for (time, wanted) in (0..).map(|at| start + at * step).zip(wanted) {
            if time > end {
                return Err(format!(
                    "{}: more samples wanted than there are steps",
                    series.labels
                ));
            }
            let fits = match wanted {
                Notated::Gap => true,
                Notated::Float(wanted) => floats
                    .next()
                    .is_some_and(|(at, got)| at == time && almost(*wanted, got)),
                Notated::Histogram(wanted, hint) => histograms
                    .next()
                    .is_some_and(|(at, got)| *at == time && same_histogram(wanted, got, *hint)),
            };
            if !fits {
                return Err(format!(
                    "{} at {time}: want {wanted:?}, got {:?} {:?}",
                    series.labels, series.floats, series.histograms
                ));
            }
        }
        if floats.next().is_some() || histograms.next().is_some() {
            return Err(format!(
                "{}: more samples than wanted: {:?} {:?}",
                series.labels, series.floats, series.histograms
            ));
        }
    }
    let missing = eval
        .series
        .iter()
        .find(|(labels, _)| !got.iter().any(|s| s.labels == *labels));
    match missing {
        Some((labels, _)) => Err(format!("{labels} not found")),
        None => Ok(()),
    }
}

fn same_histogram(wanted: &Histogram, got: &Histogram, hint: bool) -> bool {
    let compacted = |of: &Histogram| {
        let mut of = of.clone();
        of.compact();
        of
    };
    let (wanted, got) = (compacted(wanted), compacted(got));
    let side = |a: &[(i32, f64)], b: &[(i32, f64)]| {
        a.len() == b.len() && a.iter().zip(b).all(|(x, y)| x.0 == y.0 && almost(x.1, y.1))
    };
    wanted.schema == got.schema
        && almost(wanted.count, got.count)
        && almost(wanted.sum, got.sum)
        && (!wanted.is_custom() || wanted.bounds == got.bounds)
        && wanted.zero_threshold == got.zero_threshold
        && almost(wanted.zero_count, got.zero_count)
        && side(&wanted.positive, &got.positive)
        && side(&wanted.negative, &got.negative)
        && (!hint || wanted.hint == got.hint)
}

/// Upstream's tolerance: one part in a million.
fn almost(a: f64, b: f64) -> bool {
    const TOLERANCE: f64 = 1e-6;
    if is_stale(a) || is_stale(b) {
        return is_stale(a) && is_stale(b);
    }
    if (a.is_nan() && b.is_nan()) || a == b {
        return true;
    }
    let (sum, difference) = (a.abs() + b.abs(), (a - b).abs());
    if a == 0.0 || b == 0.0 || sum < f64::MIN_POSITIVE {
        return difference < TOLERANCE * f64::MIN_POSITIVE;
    }
    difference / sum.min(f64::MAX) < TOLERANCE
}
