//! Samples of every kind, and queries put together at random.

use proptest::prelude::*;
use towpath_query::promql::parse_series;

use super::store::Store;

pub(super) const SAMPLES: [&str; 12] = [
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

pub(super) fn store() -> Store {
    let mut store = Store::default();
    for line in SAMPLES {
        let (labels, values) = parse_series(line).unwrap();
        store.load(&labels, &values, 60_000);
    }
    store
}

/// Queries that are vectors.
pub(super) fn vector() -> impl Strategy<Value = String> {
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
