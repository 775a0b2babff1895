//! What the scripts do not reach: limits, stopping, and queries put together at random.

use std::cell::Cell;

use proptest::prelude::*;
use towpath_query::promql::{
    EvalError, Expr, Series, Settings, Stop, Value, ValueType, instant, parse, parse_series, range,
};

use super::store::Store;

const SAMPLES: [&str; 12] = [
    "a_total{job=\"x\",i=\"1\"} 0+1x30 stale 3+2x30",
    "a_total{job=\"x\",i=\"2\"} 5 4 _x5 7+1x20 2+3x30",
    "a_total{job=\"y\",i=\"1\"} NaN 1 Inf 2 -Inf 3 0x20 1e308x4",
    "b{job=\"x\"} 3-1x60",
    "b{job=\"y\"} 1x60",
    "h{job=\"x\"} {{schema:0 sum:5 count:4 z_bucket:1 z_bucket_w:0.001 buckets:[1 2]}}+{{schema:0 sum:3 count:3 buckets:[1 1 1]}}x40",
    "h{job=\"y\"} {{schema:1 sum:5 count:4 buckets:[1 2 1] n_buckets:[1]}}x20 {{schema:0 sum:1 count:1 buckets:[1]}}x20",
    "h{job=\"z\"} {{schema:-53 sum:1 count:5 custom_values:[5 10] buckets:[1 4]}}x20 1x10 {{schema:-53 sum:1 count:7 custom_values:[5 20] buckets:[3 4]}}x9",
    "c_bucket{le=\"1\"} 0+1x40",
    "c_bucket{le=\"5\"} 0+2x40",
    "c_bucket{le=\"+Inf\"} 0+3x40",
    "target_info{job=\"x\",instance=\"q\",version=\"1\"} 1x60",
];

fn store() -> Store {
    let mut store = Store::default();
    for line in SAMPLES {
        let (labels, values) = parse_series(line).unwrap();
        store.load(&labels, &values, 60_000);
    }
    store
}

fn vector() -> impl Strategy<Value = String> {
    let leaf = prop::sample::select(vec![
        "a_total",
        "b",
        "h",
        "c_bucket",
        "a_total{job=\"x\"}",
        "b offset 3m",
        "h @ 600",
        "b @ end()",
        "{__name__=~\".+\"}",
        "vector(1)",
        "vector(time())",
        "absent(nope{a=\"b\"})",
        "rate(a_total[5m])",
        "increase(h[10m])",
        "delta(h[7m])",
        "irate(h[5m])",
        "idelta(b[5m])",
        "sum_over_time(h[6m])",
        "avg_over_time(a_total[6m])",
        "last_over_time({job=\"z\"}[3m])",
        "quantile_over_time(0.7, a_total[9m])",
        "stddev_over_time(b[9m])",
        "changes(h[20m])",
        "resets(h[20m])",
        "deriv(a_total[10m])",
        "predict_linear(a_total[10m], 60)",
        "max_over_time(rate(a_total[5m])[20m:2m])",
        "rate(h[5m] smoothed)",
        "rate(b[5m] anchored)",
        "a_total smoothed",
        "timestamp(h)",
        "day_of_week()",
        "ts_of_max_over_time(b[5m])",
        "double_exponential_smoothing(b[5m], 0.5, 0.5)",
        "mad_over_time(b[5m] offset -2m)",
    ]);
    leaf.prop_map(str::to_owned)
        .prop_recursive(4, 24, 3, |inner| {
            prop_oneof![
                (
                    inner.clone(),
                    prop::sample::select(vec![
                        "abs",
                        "ceil",
                        "sqrt",
                        "ln",
                        "sgn",
                        "sort",
                        "sort_desc",
                        "histogram_count",
                        "histogram_sum",
                        "histogram_avg",
                        "histogram_stddev",
                        "timestamp",
                        "absent",
                        "hour",
                        "month",
                        "round",
                        "info",
                        "-",
                        "(1 +",
                    ])
                )
                    .prop_map(|(inner, name)| format!(
                        "{name}({inner}){}",
                        if name == "(1 +" { ")" } else { "" }
                    )),
                (
                    inner.clone(),
                    prop::sample::select(vec![
                        "sum",
                        "avg",
                        "min",
                        "max",
                        "count",
                        "group",
                        "stddev",
                        "stdvar",
                        "topk(2,",
                        "bottomk(1,",
                        "limitk(2,",
                        "limit_ratio(0.5,",
                        "quantile(0.9,",
                        "count_values(\"v\",",
                    ]),
                    prop::sample::select(vec!["", "by (job)", "without (i)", "by (le, job)"])
                )
                    .prop_map(|(inner, name, by)| {
                        let name = name.to_owned();
                        if name.ends_with(',') {
                            format!("{name} {inner}) {by}")
                        } else {
                            format!("{name}({inner}) {by}")
                        }
                    }),
                (
                    inner.clone(),
                    inner.clone(),
                    prop::sample::select(vec![
                        "+", "-", "*", "/", "% ", "^", "== bool", ">", "<= bool", "and", "or",
                        "unless", "atan2", "!=",
                    ]),
                    prop::sample::select(vec!["", "on (job)", "ignoring (i, le)", "on ()",])
                )
                    .prop_map(|(a, b, op, how)| format!("({a}) {op} {how} ({b})")),
                (inner.clone(), inner.clone())
                    .prop_map(|(a, b)| { format!("({a}) * on (job) group_left () ({b})") }),
                (inner.clone(), inner.clone()).prop_map(|(a, b)| {
                    format!("({a}) + on (job) group_left () fill (3) ({b})")
                }),
                inner
                    .clone()
                    .prop_map(|a| format!("histogram_quantile(0.9, {a})")),
                inner
                    .clone()
                    .prop_map(|a| format!("histogram_fraction(0, 2, {a})")),
                inner
                    .clone()
                    .prop_map(|a| format!("clamp({a}, 0, scalar({a}))")),
                inner
                    .clone()
                    .prop_map(|a| format!("label_replace({a}, \"n\", \"$1\", \"job\", \"(.)\")")),
                inner
                    .clone()
                    .prop_map(|a| format!("label_join({a}, \"n\", \"-\", \"job\", \"i\")")),
                inner
                    .clone()
                    .prop_map(|a| format!("sum_over_time(({a})[9m:3m])")),
            ]
        })
}

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
                prop_assert_eq!(at(whole, time), at(&alone, time), "{} at {}", query, time);
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
