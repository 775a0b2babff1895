//! What the scripts do not reach: limits, stopping, and queries put together at random.

use std::cell::Cell;

use proptest::prelude::*;
use towpath_query::promql::{
    Answer, EvalError, Expr, Series, Settings, Stop, Value, ValueType, instant, parse, range,
};

use super::queries::{load, store, vector};
use super::store::Store;

/// The samples of a range at one time, in the order of labels.
fn at(series: &[Series], time: i64) -> Vec<String> {
    let mut out = Vec::new();
    for one in series {
        for (when, value) in one.floats.iter().filter(|(when, _)| *when == time) {
            out.push(format!("{} {when} {:016x}", one.labels, bits(value)));
        }
        for (when, histogram) in one.histograms.iter().filter(|(when, _)| *when == time) {
            out.push(format!("{} {when} {histogram}", one.labels));
        }
    }
    out.sort();
    out
}

fn bits(value: f64) -> u64 {
    if value.is_nan() {
        f64::NAN.to_bits()
    } else {
        value.to_bits()
    }
}

/// Whether two samples of one series are the same but for the last bits.
fn close(one: &str, other: &str) -> bool {
    let parts = |text: &str| {
        let (series, bits) = text.rsplit_once(' ')?;
        let value = u64::from_str_radix(bits, 16).ok()?;
        Some((series.to_string(), f64::from_bits(value)))
    };
    match (parts(one), parts(other)) {
        (Some((a, one)), Some((b, other))) => {
            a == b && (one - other).abs() <= 1e-9 * one.abs().max(other.abs())
        }
        _ => false,
    }
}

/// Whether samples are the same. What is added up from ranked series comes in another order in a
/// range than alone, as upstream has it, so that the last bits may differ.
fn same(query: &str, some: &[String], others: &[String]) -> bool {
    let ranked = ["topk", "bottomk", "limitk", "limit_ratio"];
    let ranked = ranked.iter().any(|name| query.contains(name));
    some.len() == others.len()
        && some
            .iter()
            .zip(others)
            .all(|(one, other)| one == other || ranked && close(one, other))
}

fn evaluate(
    expr: &Expr,
    start: i64,
    end: i64,
    delayed: bool,
    store: &Store,
) -> Result<Vec<Series>, EvalError> {
    let settings = Settings {
        delayed_name_removal: delayed,
        ..Settings::default()
    };
    match range(expr, start, end, 60_000, store, &settings)?.value {
        Value::Matrix(series) => Ok(series),
        other => panic!("a range gives a matrix, not {other:?}"),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 600, ..ProptestConfig::default() })]

    /// Every step of a range is what the range of this step alone gives: nothing leaks from one
    /// step into the next.
    #[test]
    fn steps_are_independent(query in vector(), delayed: bool) {
        let store = store();
        let expr = match parse(&query) {
            Ok(expr) => expr,
            Err(error) => return Err(TestCaseError::fail(format!("{query}: {error}"))),
        };
        let pinned = query.contains("end()");
        let whole = evaluate(&expr, 600_000, 2_400_000, delayed, &store);
        if let Ok(whole) = &whole {
            for time in [600_000, 1_500_000, 2_400_000] {
                if pinned && time != 2_400_000 {
                    continue;
                }
                let alone = evaluate(&expr, time, time, delayed, &store);
                let alone = alone.map_err(|e| TestCaseError::fail(format!("{query}: {e}")))?;
                let (whole, alone) = (at(whole, time), at(&alone, time));
                prop_assert!(same(&query, &whole, &alone), "{} at {}: {:?} {:?}", query, time, whole, alone);
            }
        }
        let _ = instant(&expr, 1_200_000, &store, &Settings::default());
    }
}

#[test]
fn samples_are_limited() {
    let store = store();
    let settings = Settings {
        max_samples: 50,
        ..Settings::default()
    };
    let error = |query: &str| {
        range(
            &parse(query).unwrap(),
            0,
            3_000_000,
            60_000,
            &store,
            &settings,
        )
        .unwrap_err()
    };
    for query in [
        "a_total",
        "sum by (i) (a_total)",
        "a_total * on (job) group_left b",
        "rate(h[1h])",
    ] {
        assert_eq!(error(query), EvalError::TooManySamples, "{query}");
    }
    let few = instant(&parse("b").unwrap(), 0, &store, &settings).unwrap();
    assert!(few.peak_samples > 0 && few.peak_samples <= 50);
}

/// The answer over a hundred minutes, with a limit of samples.
fn within(store: &Store, query: &str, max_samples: usize) -> Result<Answer, EvalError> {
    let settings = Settings {
        max_samples,
        ..Settings::default()
    };
    let expr = parse(query).unwrap();
    range(&expr, 0, 6_000_000, 60_000, store, &settings)
}

/// What an aggregation keeps counts, and no more than it keeps: many series that live shortly are
/// answered, all values of a quantile, all groups of a rank and all labels made of values are not.
#[test]
fn what_aggregations_keep_is_limited() {
    // A hundred series of one sample each, one after the other.
    let short = (0..100).map(|at| format!("short{{i=\"{at}\"}} {}{at} stale", "_ ".repeat(at)));
    // Ten that have a new value every minute.
    let long = (0..10).map(|at| format!("long{{i=\"{at}\"}} {at}+10.5x99"));
    let store = load(&short.chain(long).collect::<Vec<_>>());
    let ask = |query: &str, max_samples: usize| within(&store, query, max_samples);
    for query in [
        "sum by (i) (short)",
        "topk(3, short)",
        "topk by (i) (1, short)",
        "quantile(0.5, short)",
        "count_values(\"value\", short)",
    ] {
        let answer = ask(query, 1500).unwrap();
        let Value::Matrix(series) = answer.value else {
            panic!("{query}");
        };
        assert!(!series.is_empty() && answer.peak_samples > 50, "{query}");
    }
    for (query, most) in [
        ("sum by (i) (long)", 1500),
        ("quantile(0.5, long)", 1000),
        ("topk by (i) (1, long)", 1500),
        ("count_values(\"value\", long)", 5000),
    ] {
        assert_eq!(
            ask(query, most).unwrap_err(),
            EvalError::TooManySamples,
            "{query}"
        );
        assert!(ask(query, most * 4).is_ok(), "{query}");
    }
}

/// The same of matching: rows of groups, what is there of each, and results count.
#[test]
fn what_matching_keeps_is_limited() {
    // A hundred series of one sample each, one after the other, and ten that are always there.
    let short = (0..100).map(|at| format!("short{{i=\"{at}\"}} {}{at} stale", "_ ".repeat(at)));
    let long = (0..10).map(|at| format!("long{{i=\"{at}\"}} {at}+10.5x99"));
    // Ten that are there first and last.
    let rare = (0..10).map(|at| format!("rare{{i=\"{at}\"}} 1 stale {}2", "_ ".repeat(97)));
    let store = load(&short.chain(long).chain(rare).collect::<Vec<_>>());
    let ask = |query: &str, max_samples: usize| within(&store, query, max_samples);
    for query in [
        "short * short",
        "short * on (i) group_left short",
        "short - on (i) group_right short",
        "short and short",
        "short unless on (i) long",
        "short or long{i=\"1\"}",
    ] {
        let answer = ask(query, 2500).unwrap();
        let Value::Matrix(series) = answer.value else {
            panic!("{query}");
        };
        assert!(!series.is_empty(), "{query}");
    }
    for (query, most) in [
        ("sum(long / long)", 2500),
        ("sum(long / on (i) group_left long)", 3500),
        ("sum(rare / rare)", 1500),
        ("sum(short and on () rare)", 150),
        ("sum(short unless on (i) rare)", 900),
        ("sum(long or short)", 1000),
    ] {
        assert_eq!(
            ask(query, most).unwrap_err(),
            EvalError::TooManySamples,
            "{query}"
        );
        assert!(ask(query, most * 3).is_ok(), "{query}");
    }
}

#[test]
fn extreme_times_and_resolutions_end() {
    let store = store();
    let settings = Settings::default();
    for query in [
        "vector(1)[100y:1ms]",
        "sum_over_time(vector(time())[200y:1ms])",
    ] {
        let error = instant(&parse(query).unwrap(), 0, &store, &settings).unwrap_err();
        assert_eq!(error, EvalError::TooManySamples, "{query}");
    }
    let far = i64::MAX / 4;
    for query in [
        "b",
        "rate(b[5m])",
        "b offset 200y",
        "b @ 1e12",
        "sum_over_time(b[5m:1m] offset -200y)",
    ] {
        let expr = parse(query).unwrap();
        for time in [-far, far] {
            let _ = instant(&expr, time, &store, &settings);
            let _ = range(&expr, time, time + 60_000, 1000, &store, &settings);
        }
        assert!(range(&expr, -far, far, 1, &store, &settings).is_err());
    }
}

#[test]
fn a_query_can_be_stopped() {
    let store = store();
    for (stop, error) in [
        (Stop::Canceled, EvalError::Canceled),
        (Stop::TimedOut, EvalError::TimedOut),
    ] {
        let asked = Cell::new(0);
        let hook = || {
            asked.set(asked.get() + 1);
            (asked.get() > 3).then_some(stop)
        };
        let settings = Settings {
            stop: Some(&hook),
            ..Settings::default()
        };
        let expr = parse("sum(rate(a_total[5m]))").unwrap();
        assert_eq!(
            instant(&expr, 600_000, &store, &settings).unwrap_err(),
            error
        );
    }
}

#[test]
fn deep_queries_fit_the_stack() {
    let store = store();
    let query = "b".to_owned() + &" + b".repeat(150);
    let expr = parse(&query).unwrap();
    assert_eq!(expr.value_type(), ValueType::Vector);
    range(&expr, 0, 600_000, 60_000, &store, &Settings::default()).unwrap();
    let query = "abs(".repeat(150) + "b" + &")".repeat(150);
    range(
        &parse(&query).unwrap(),
        0,
        600_000,
        60_000,
        &store,
        &Settings::default(),
    )
    .unwrap();
}

#[test]
fn ranges_take_scalars_and_vectors_only() {
    let store = store();
    let expr = parse("b[5m]").unwrap();
    let error = range(&expr, 0, 60_000, 60_000, &store, &Settings::default()).unwrap_err();
    assert_eq!(
        error.to_string(),
        "invalid expression type \"range vector\" for range query, must be Scalar or instant Vector"
    );
}
