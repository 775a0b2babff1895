//! Random queries beside the real engine (`tests/peers/prometheus`), over the same samples.
//!
//! Numbers agree to the last bit or within a hair: the real engine adds up series in the random
//! order its test storage loads them in. For the same reason queries that choose among equal
//! series (`topk` and its kin) are left out here.

use std::path::{Path, PathBuf};

use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::TestRunner;
use serde_json::{Value as Json, json};
use towpath_query::promql::{
    Answer, EvalError, Level, Series, Settings, Value, instant, parse, range,
};

use super::queries::{SAMPLES, load, samples, vector};
use super::store::Store;

/// How far the order of additions may carry a number away, relative to it.
const TOLERANCE: f64 = 1e-9;

fn peer() -> Option<PathBuf> {
    towpath_testkit::peer("promql")
}

struct Query {
    expr: String,
    /// Start, end and step; the step is 0 for an instant.
    times: (i64, i64, i64),
}

fn queries(runner: &mut TestRunner, count: usize) -> Vec<Query> {
    let mut out = Vec::new();
    let unordered = ["topk", "bottomk", "limitk"];
    while out.len() < count {
        let expr = vector().new_tree(runner).unwrap().current();
        if unordered.iter().any(|name| expr.contains(name)) || expr.len() > 600 {
            continue;
        }
        let times = if out.len() % 3 == 0 {
            (1_230_000, 1_230_000, 0)
        } else {
            // The end is a step: the real engine looks at it even if it is none.
            (300_000, 2_730_000, 90_000)
        };
        out.push(Query { expr, times });
    }
    out
}

fn job(samples: &[String], queries: &[Query], delayed: bool) -> String {
    let queries: Vec<Json> = queries
        .iter()
        .map(|query| {
            let (start, end, step) = query.times;
            json!({"expr": query.expr, "start": start, "end": end, "step": step})
        })
        .collect();
    let load = format!("load 1m\n  {}", samples.join("\n  "));
    json!({"load": load, "delayed": delayed, "queries": queries}).to_string()
}

fn ask(peer: &Path, jobs: &[String]) -> Vec<Json> {
    let answers = towpath_testkit::ask(peer, &[], jobs);
    let parsed = answers.iter().map(|line| serde_json::from_str(line));
    parsed.collect::<Result<_, _>>().unwrap()
}

fn answer(query: &Query, delayed: bool, store: &Store) -> Result<Answer, EvalError> {
    let expr = parse(&query.expr).unwrap();
    let settings = Settings {
        delayed_name_removal: delayed,
        ..Settings::default()
    };
    let (start, end, step) = query.times;
    if step == 0 {
        instant(&expr, start, store, &settings)
    } else {
        range(&expr, start, end, step, store, &settings)
    }
}

/// What a result has at a label set and time: a number, or a histogram as text.
type Points = Vec<(String, String)>;

fn own(value: &Value, time: i64) -> Points {
    let mut out = Points::new();
    let mut add = |series: &Series| {
        for (time, value) in series.floats.iter() {
            out.push((format!("{} {time}", series.labels), format!("{value:?}")));
        }
        for (time, histogram) in &series.histograms {
            out.push((format!("{} {time}", series.labels), histogram.to_string()));
        }
    };
    match value {
        Value::Matrix(series) => series.iter().for_each(add),
        Value::Vector(samples) => {
            for sample in samples {
                let mut series = Series::new(sample.labels.clone());
                match &sample.histogram {
                    Some(histogram) => series.histograms.push((time, histogram.clone())),
                    None => series.floats.push(time, sample.value),
                }
                add(&series);
            }
        }
        other => panic!("a vector is expected, not {other:?}"),
    }
    out.sort();
    out
}

fn theirs(answer: &Json) -> Points {
    let list = |value: &Json| value.as_array().cloned().unwrap_or_default();
    let mut out = Points::new();
    for series in list(&answer["series"]) {
        let labels = series["labels"].as_str().unwrap();
        for (field, float) in [("floats", true), ("histograms", false)] {
            for point in list(&series[field]) {
                let (time, value) = point.as_str().unwrap().split_once(' ').unwrap();
                let value = if float {
                    format!(
                        "{:?}",
                        f64::from_bits(u64::from_str_radix(value, 16).unwrap())
                    )
                } else {
                    value.to_owned()
                };
                out.push((format!("{labels} {time}"), value));
            }
        }
    }
    out.sort();
    out
}

/// Whether both are the same but for the last digits of their numbers.
fn near(a: &str, b: &str) -> bool {
    let numbers = |text: &str| -> Vec<String> {
        text.split(|c: char| "{}[](),: ".contains(c))
            .map(str::to_owned)
            .collect()
    };
    let (a, b) = (numbers(a), numbers(b));
    a.len() == b.len()
        && a.iter()
            .zip(&b)
            .all(|(a, b)| match (a.parse::<f64>(), b.parse::<f64>()) {
                (Ok(a), Ok(b)) => {
                    a == b
                        || (a.is_nan() && b.is_nan())
                        || (a - b).abs() <= TOLERANCE * a.abs().max(b.abs()).max(1e-6)
                }
                _ => a == b,
            })
}

/// Messages without their places. How many samples were forced is left out: the real engine
/// doubles their number whenever it meets another one.
fn bare(texts: impl Iterator<Item = String>) -> Vec<String> {
    let mut out: Vec<String> = texts
        .map(|text| {
            let text = text
                .rsplit_once(" (")
                .map_or(text.as_str(), |(text, _)| text);
            match (text.find(", over "), text.find(" samples from")) {
                (Some(from), Some(to)) => text[..from].to_owned() + &text[to..],
                _ => text.to_owned(),
            }
        })
        .collect();
    out.sort();
    out.dedup();
    out
}

/// Remarks that hang on the order in which an aggregation meets its series.
fn by_chance(text: &str) -> bool {
    let aggregated = [
        "during aggregation",
        "during histogram aggregation",
        "and custom buckets",
        "floats for aggregation",
    ];
    aggregated.iter().any(|what| text.contains(what))
}

#[derive(Default, Debug)]
struct Counts {
    same: usize,
    near: usize,
    errors: usize,
    other_errors: usize,
    crashed: usize,
    places_differ: usize,
}

fn judge(
    query: &Query,
    delayed: bool,
    store: &Store,
    other: &Json,
    counts: &mut Counts,
) -> Result<(), String> {
    let error = other["error"].as_str();
    if error == Some("the real engine crashed") {
        counts.crashed += 1;
        return Ok(());
    }
    let answer = match (answer(query, delayed, store), error) {
        (Err(own), Some(error)) => {
            // Of several errors in a query either engine may meet another one first.
            let start = |text: &str| text.chars().take(40).collect::<String>();
            let same = start(&own.to_string()) == start(error);
            counts.errors += usize::from(same);
            counts.other_errors += usize::from(!same);
            return Ok(());
        }
        // Upstream does not see a number and a histogram of the same labels and time.
        (Err(EvalError::Query(own)), None) if own.contains("the same labelset") => {
            counts.other_errors += 1;
            return Ok(());
        }
        (Err(own), None) => return Err(format!("only we fail: {own}")),
        (Ok(_), Some(error)) => return Err(format!("only they fail: {error}")),
        (Ok(answer), None) => answer,
    };
    let (own, theirs) = (own(&answer.value, query.times.0), theirs(other));
    if own == theirs {
        counts.same += 1;
    } else {
        counts.near += 1;
        // The last digits of a number may be part of a label.
        if query.expr.contains("count_values") {
            return Ok(());
        }
        if own.len() != theirs.len() {
            let only = own.iter().find(|p| !theirs.iter().any(|t| t.0 == p.0));
            let missing = theirs.iter().find(|p| !own.iter().any(|t| t.0 == p.0));
            return Err(format!("only ours: {only:?}, only theirs: {missing:?}"));
        }
        // Whether an infinite value comes first decides what a variance of it is.
        let variance = query.expr.contains("stddev(") || query.expr.contains("stdvar(");
        let endless = |text: &str| text.parse::<f64>().is_ok_and(|value| !value.is_finite());
        let differs = own.iter().zip(&theirs).find(|(a, b)| {
            let chance = variance && endless(&a.1) && endless(&b.1);
            a.0 != b.0 || !(near(&a.1, &b.1) || chance)
        });
        if let Some((own, theirs)) = differs {
            return Err(format!("{own:?}\n    {theirs:?}"));
        }
    }
    for (level, field) in [(Level::Warning, "warnings"), (Level::Info, "infos")] {
        let own = answer.annotations.texts(level, &query.expr, 0);
        let theirs = other[field].as_array().cloned().unwrap_or_default();
        let theirs: Vec<String> = theirs
            .iter()
            .map(|text| text.as_str().unwrap().to_owned())
            .collect();
        let mut sorted = own.clone();
        sorted.sort();
        counts.places_differ += usize::from(sorted != theirs);
        let (own, theirs) = (bare(own.into_iter()), bare(theirs.into_iter()));
        // Upstream keeps the last remark of an operator at a step, here none is lost.
        let lost = |text: &str| {
            ["binary operator", "during addition", "during subtraction"]
                .iter()
                .any(|what| text.contains(what))
        };
        let missing = theirs
            .iter()
            .any(|text| !own.contains(text) && !by_chance(text));
        let extra = |text: &String| !theirs.contains(text) && !lost(text) && !by_chance(text);
        if missing || own.iter().any(extra) {
            return Err(format!("{field}: {own:?}\n    {theirs:?}"));
        }
    }
    Ok(())
}

/// How many rounds of queries; the first one is always the same.
const ROUNDS: &str = "TOWPATH_PROMQL_ROUNDS";
const QUERIES: usize = 1000;

#[test]
fn beside_the_real_engine() {
    let Some(peer) = peer() else { return };
    let rounds = std::env::var(ROUNDS).map_or(2, |rounds| rounds.parse().unwrap());
    let mut counts = Counts::default();
    let mut wrong = Vec::new();
    let mut runner = TestRunner::deterministic();
    for round in 0..rounds {
        let queries = queries(&mut runner, QUERIES);
        let samples: Vec<String> = match round {
            0 => SAMPLES.map(str::to_owned).to_vec(),
            _ => samples().new_tree(&mut runner).unwrap().current(),
        };
        let jobs = [false, true].map(|delayed| job(&samples, &queries, delayed));
        let answers = ask(&peer, &jobs);
        assert_eq!(answers.len(), queries.len() * 2);
        let store = load(&samples);
        for (at, other) in answers.iter().enumerate() {
            let (query, delayed) = (&queries[at % queries.len()], at >= queries.len());
            if let Err(why) = judge(query, delayed, &store, other, &mut counts) {
                let place = format!("round {round}, {:?}, delayed {delayed}", query.times);
                wrong.push(format!("{}\n    {place}\n    {why}", query.expr));
            }
        }
    }
    println!("{counts:?}, {} wrong", wrong.len());
    wrong.sort_by_key(String::len);
    wrong.truncate(60);
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
