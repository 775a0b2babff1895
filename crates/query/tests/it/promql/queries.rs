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
    load(&SAMPLES)
}

/// A store with series in the notation of scripts, their samples a minute apart.
pub(super) fn load(lines: &[impl AsRef<str>]) -> Store {
    let mut store = Store::default();
    for line in lines {
        let (labels, values) = parse_series(line.as_ref()).unwrap();
        store.load(&labels, &values, 60_000);
    }
    store
}

/// The series of [`SAMPLES`] with other samples.
pub(super) fn samples() -> impl Strategy<Value = Vec<String>> {
    let lines: Vec<_> = SAMPLES
        .iter()
        .map(|line| {
            let (series, values) = line.split_once(' ').unwrap();
            let one = if values.contains("{{") {
                mixed().boxed()
            } else {
                plain().boxed()
            };
            let series = series.to_owned();
            prop::collection::vec(one, 1..8)
                .prop_map(move |values| format!("{series} {}", values.join(" ")))
        })
        .collect();
    lines
}

/// Plain samples, gaps and ends.
fn plain() -> impl Strategy<Value = String> {
    let number = prop_oneof![
        (-50i32..50).prop_map(|n| n.to_string()),
        (-1e6..1e6f64).prop_map(|n| n.to_string()),
        prop::sample::select(vec!["0", "NaN", "Inf", "-Inf", "1e308", "1e-300", "-1e308"])
            .prop_map(str::to_owned),
    ];
    prop_oneof![
        4 => (number.clone(), -5i32..9, 1u32..20)
            .prop_map(|(n, step, times)| format!("{n}{step:+}x{times}")),
        2 => number,
        1 => (1u32..8).prop_map(|times| format!("_x{times}")),
        1 => Just("stale".to_owned()),
    ]
}

/// Histograms of all layouts, now and then something else.
fn mixed() -> impl Strategy<Value = String> {
    let counts = prop::collection::vec(0u32..9, 1..6).prop_map(|counts| {
        counts
            .iter()
            .map(u32::to_string)
            .collect::<Vec<_>>()
            .join(" ")
    });
    let hint = prop::sample::select(vec![
        "",
        "",
        "",
        "counter_reset_hint:gauge",
        "counter_reset_hint:reset",
    ]);
    let exponential = (
        (-2i32..4, 0u32..40, -20i32..90, counts.clone()),
        (prop::option::of(counts.clone()), 0i32..4, 0u32..5, hint),
    )
        .prop_map(|((schema, count, sum, positive), (negative, offset, zero, hint))| {
            let negative = negative.map_or(String::new(), |n| format!("n_buckets:[{n}]"));
            let width = [0.0, 0.001, 0.0625][zero as usize % 3];
            format!(
                "{{{{schema:{schema} count:{count} sum:{sum} z_bucket:{zero} z_bucket_w:{width} \
                 offset:{offset} buckets:[{positive}] {negative} {hint}}}}}"
            )
        });
    let bounds = prop::sample::select(vec!["1 2 5", "1 5", "2 5 10", "-1 0 1"]);
    let custom = (bounds, 0u32..40, prop::collection::vec(0u32..9, 1..3)).prop_map(
        |(bounds, count, counts)| {
            let counts: Vec<String> = counts.iter().map(u32::to_string).collect();
            let counts = counts.join(" ");
            format!(
                "{{{{schema:-53 count:{count} sum:7 custom_values:[{bounds}] buckets:[{counts}]}}}}"
            )
        },
    );
    let histogram = prop_oneof![3 => exponential, 1 => custom];
    prop_oneof![
        4 => (histogram.clone(), 0u32..15).prop_map(|(h, times)| format!("{h}x{times}")),
        4 => (histogram.clone(), 1u32..15).prop_map(|(h, times)| format!("{h}+{h}x{times}")),
        1 => plain(),
    ]
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
