//! TraceQL: what queries read as, and what they select, from files; and any text at all.

use proptest::prelude::*;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use towpath_query::traceql::{
    Budget, EvalError, Event, Kind, Range, Resource, Search, Span, SpanId, SpanSource, Status,
    Trace, TraceId, Value, Wanted, metrics, parse, search,
};

fn corpus(name: &str) -> String {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus/traceql");
    std::fs::read_to_string(directory.join(name)).expect("a corpus")
}

/// Lines without comments; a line that expects something with the one before it.
fn cases(text: &str) -> Vec<(usize, String, String)> {
    let lines: Vec<(usize, &str)> = text.lines().enumerate().map(|(n, l)| (n + 1, l)).collect();
    let expects = |line: &str| line.starts_with('=') || line.starts_with("!!");
    let pairs = lines.windows(2).filter(|pair| expects(pair[1].1));
    pairs
        .map(|pair| (pair[0].0, pair[0].1.into(), pair[1].1.into()))
        .collect()
}

#[test]
fn queries_read_as_they_are_printed() {
    let mut wrong = Vec::new();
    for (line, query, expected) in cases(&corpus("parse.txt")) {
        let found = match parse(&query) {
            Ok(read) => {
                let printed = read.to_string();
                let again = parse(&printed).map(|q| q.to_string());
                assert_eq!(again.as_deref(), Ok(&*printed), "line {line}");
                if printed == query {
                    "=".into()
                } else {
                    format!("=> {printed}")
                }
            }
            Err(e) => {
                let first = e.message.lines().next().unwrap_or_default();
                format!("!! {}..{}: {first}", e.place.start, e.place.end)
            }
        };
        if found != expected {
            wrong.push(format!(
                "line {line}: {query}\n  expected {expected}\n  found    {found}"
            ));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

struct Scene(Vec<Trace>);

impl SpanSource for Scene {
    fn traces<'a>(
        &'a self,
        wanted: &Wanted,
    ) -> Result<Box<dyn Iterator<Item = Result<Trace, String>> + 'a>, String> {
        let (start, end) = (wanted.start_ns, wanted.end_ns);
        let inside = move |t: &&Trace| {
            t.spans
                .iter()
                .any(|s| s.start_ns < end && s.end_ns() >= start)
        };
        Ok(Box::new(self.0.iter().filter(inside).cloned().map(Ok)))
    }

    fn trace(&self, id: &TraceId) -> Result<Option<Trace>, String> {
        Ok(self.0.iter().find(|t| t.id == *id).cloned())
    }
}

fn value(text: &str) -> Value {
    if let Ok(n) = text.parse() {
        return Value::Int(n);
    }
    if let Ok(n) = text.parse() {
        return Value::Float(n);
    }
    match text {
        "true" => Value::Bool(true),
        "false" => Value::Bool(false),
        text => Value::text(text),
    }
}

fn span_id(text: &str) -> SpanId {
    let mut id = SpanId::default();
    if text != "-" {
        id[7] = text.as_bytes()[0];
    }
    id
}

fn scene(text: &str) -> Scene {
    let mut traces: BTreeMap<TraceId, Trace> = BTreeMap::new();
    for line in text.lines().filter_map(|line| line.strip_prefix("span ")) {
        let words: Vec<&str> = line.split_whitespace().collect();
        let mut id = TraceId::default();
        id[15] = words[0].as_bytes()[1];
        let ms = |text: &str| text.parse::<u64>().expect("a number") * 1_000_000;
        let mut span = Span {
            id: span_id(words[1]),
            parent_id: span_id(words[2]),
            name: words[4].into(),
            start_ns: ms(words[7]),
            duration_ns: ms(words[8]),
            ..Span::default()
        };
        span.kind = Kind::ALL
            .into_iter()
            .find(|k| k.name() == words[5])
            .expect("a kind");
        let statuses = [Status::Error, Status::Ok, Status::Unset];
        span.status = statuses
            .into_iter()
            .find(|s| s.name() == words[6])
            .expect("a status");
        let mut resource = Resource::default();
        resource
            .attributes
            .push(("service.name".into(), Value::text(words[3])));
        for word in &words[9..] {
            let (name, text) = word.split_once('=').expect("name=value");
            if let Some(name) = name.strip_prefix("resource.") {
                resource.attributes.push((name.into(), value(text)));
            } else if let Some((event, name)) = name
                .strip_prefix("event.")
                .and_then(|rest| rest.split_once('.'))
            {
                span.events.push(Event {
                    time_ns: span.start_ns + 1_000_000,
                    name: event.into(),
                    attributes: vec![(name.into(), value(text))],
                    ..Event::default()
                });
            } else {
                span.attributes.push((name.into(), value(text)));
            }
        }
        span.resource = Arc::new(resource);
        let trace = traces.entry(id).or_insert_with(|| Trace {
            id,
            ..Trace::default()
        });
        trace.spans.push(span);
    }
    Scene(traces.into_values().collect())
}

fn options() -> Search<'static> {
    Search {
        start_ns: 0,
        end_ns: u64::MAX,
        limit: 100,
        spans_per_set: 100,
        budget: Budget::default(),
    }
}

#[test]
fn searches_find_what_they_should() {
    let text = corpus("search.txt");
    let scene = scene(&text);
    let mut wrong = Vec::new();
    for (line, query, expected) in cases(&text) {
        let read = parse(&query).unwrap_or_else(|e| panic!("line {line}: {e}"));
        let mut found = search(&scene, &read, &options()).expect("an answer");
        found.traces.sort_by_key(|t| t.id);
        let mut said = String::from("=>");
        for trace in found.traces {
            said += &format!(" t{}", trace.id[15] as char);
            let sets = trace.sets.iter().map(|set| {
                let mut ids: Vec<_> = set.spans.iter().map(|s| s.id[7] as char).collect();
                ids.sort_unstable();
                let ids: Vec<String> = ids.into_iter().map(String::from).collect();
                format!("[{}]", ids.join(" "))
            });
            said += &sets.collect::<Vec<_>>().join(" ");
        }
        if said != expected.trim_end() {
            wrong.push(format!(
                "line {line}: {query}\n  expected {expected}\n  found    {said}"
            ));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn answers_name_what_was_looked_at() {
    let scene = scene(&corpus("search.txt"));
    let query = parse("{ .rows = 3 } | by(.db.system) | count() > 0 | select(.cluster, status)");
    let found = search(&scene, &query.expect("a query"), &options()).expect("an answer");
    let trace = &found.traces[0];
    assert_eq!(&*trace.summary.root_name, "/buy");
    assert_eq!(trace.summary.duration_ns, 100_000_000);
    assert_eq!(trace.services["shop"], (4, 1));
    assert_eq!(trace.sets.len(), 2);
    let set = &trace.sets[1];
    assert_eq!(
        set.attributes[0],
        ("by(.db.system)".into(), Value::text("pg"))
    );
    assert_eq!(set.attributes[1], ("count()".into(), Value::Int(1)));
    let names: Vec<_> = set.spans[0]
        .attributes
        .iter()
        .map(|(n, _)| n.as_str())
        .collect();
    assert_eq!(names, ["rows", "db.system", "status"]);
}

#[test]
fn the_latest_traces_stay_when_there_are_too_many() {
    let scene = scene(&corpus("search.txt"));
    let query = parse("{ }").expect("a query");
    let few = Search {
        limit: 2,
        spans_per_set: 1,
        ..options()
    };
    let found = search(&scene, &query, &few).expect("an answer");
    let starts: Vec<u64> = found
        .traces
        .iter()
        .map(|t| t.summary.start_ns / 1_000_000)
        .collect();
    assert_eq!(starts, [900, 500]);
    let sizes = |t: &towpath_query::traceql::FoundTrace| (t.sets[0].matched, t.sets[0].spans.len());
    assert_eq!(sizes(&found.traces[1]), (2, 1));
    let small = Budget {
        max_spans: 3,
        ..Budget::default()
    };
    let refused = search(
        &scene,
        &query,
        &Search {
            budget: small,
            ..options()
        },
    );
    assert_eq!(refused, Err(EvalError::TooManySpans(3)));
}

fn series(query: &str) -> Vec<(String, Vec<Option<f64>>)> {
    let scene = scene(&corpus("search.txt"));
    let range = Range {
        start_ns: 0,
        end_ns: 1_000_000_000,
        step_ns: 500_000_000,
        examples: 0,
        budget: Budget::default(),
    };
    let answer = metrics(&scene, &parse(query).expect("a query"), &range).expect("an answer");
    let named = answer.series.into_iter().map(|one| {
        let labels: Vec<_> = one.labels.iter().map(|(n, v)| format!("{n}={v}")).collect();
        (labels.join(","), one.values)
    });
    named.collect()
}

#[test]
fn spans_become_series() {
    let one = |values: [Option<f64>; 2]| vec![(String::new(), values.to_vec())];
    assert_eq!(series("{ } | rate()"), one([Some(10.0), Some(6.0)]));
    assert_eq!(
        series("{ } | count_over_time()"),
        one([Some(5.0), Some(3.0)])
    );
    assert_eq!(
        series("{ } | max_over_time(duration)"),
        one([Some(0.1), Some(0.9)])
    );
    assert_eq!(
        series("{ } | sum_over_time(span.rows)"),
        one([Some(6.0), None])
    );
    assert_eq!(
        series("{ } | avg_over_time(.ratio)"),
        one([Some(0.5), None])
    );
    assert_eq!(
        series("{ } | min_over_time(duration) > 1ms"),
        one([Some(0.005), Some(0.005)])
    );
    let by = series("{ } | count_over_time() by (resource.service.name) | topk(1)");
    let expected = [
        (
            "resource.service.name=\"cart\"".to_string(),
            vec![None, Some(2.0)],
        ),
        (
            "resource.service.name=\"shop\"".to_string(),
            vec![Some(4.0), None],
        ),
    ];
    assert_eq!(by, expected);
    let quantiles = series("{ } | quantile_over_time(duration, 0.5, 1)");
    assert_eq!(quantiles[0].0, "p=5e-1");
    let close = |value: Option<f64>, to: f64| (value.expect("a value") / to - 1.0).abs() < 0.02;
    assert!(
        close(quantiles[0].1[0], 0.04) && close(quantiles[1].1[1], 0.9),
        "{quantiles:?}"
    );
    let buckets = series("{ kind = server } | histogram_over_time(duration)");
    let expected = [
        ("__bucket=6.25e-2".to_string(), vec![Some(1.0), Some(0.0)]),
        ("__bucket=1.25e-1".to_string(), vec![Some(1.0), Some(0.0)]),
        ("__bucket=1.0".to_string(), vec![Some(0.0), Some(1.0)]),
    ];
    assert_eq!(buckets, expected);
    let compared = series("{ } | compare({ status = error })");
    let found = |labels: &str| {
        let one = compared.iter().find(|(l, _)| l == labels);
        one.map(|(_, values)| values.clone())
    };
    let selection = found("__meta_type=\"selection\",span.db.system=\"pg\"");
    assert_eq!(selection, Some(vec![Some(1.0), Some(0.0)]));
    let baseline = found("__meta_type=\"baseline_total\",name=nil");
    assert_eq!(baseline, Some(vec![Some(4.0), Some(2.0)]));
}

#[test]
fn points_have_spans_as_examples() {
    let scene = scene(&corpus("search.txt"));
    let range = |examples| Range {
        start_ns: 0,
        end_ns: 1_000_000_000,
        step_ns: 500_000_000,
        examples,
        budget: Budget::default(),
    };
    let found = |query: &str, most: usize| {
        let query = parse(query).expect("a query");
        let answer = metrics(&scene, &query, &range(most)).expect("an answer");
        let each = answer.series.into_iter().flat_map(|one| one.examples);
        let each: Vec<(usize, f64)> = each.map(|(step, of)| (step, of.value)).collect();
        each
    };
    // The longest of each interval.
    let longest = found("{ } | max_over_time(duration)", 9);
    assert_eq!(longest, [(0, 0.1), (1, 0.9)]);
    assert_eq!(found("{ } | quantile_over_time(duration, 1)", 1).len(), 1);
    // What is only counted lies on its point.
    assert_eq!(found("{ } | count_over_time()", 9), [(0, 5.0), (1, 3.0)]);
    // One of each size, each in its own bucket.
    let sizes = found("{ kind = server } | histogram_over_time(duration)", 9);
    assert_eq!(sizes.len(), 3, "{sizes:?}");
    // No point, no example.
    assert_eq!(
        found("{ } | max_over_time(duration) > 500ms", 9),
        [(1, 0.9)]
    );
    assert_eq!(found("{ } | rate()", 0), []);
    assert_eq!(found("{ } | compare({ status = error })", 9), []);
}

fn queries() -> Vec<String> {
    let texts = [corpus("parse.txt"), corpus("search.txt")];
    texts
        .iter()
        .flat_map(|text| cases(text))
        .map(|(_, query, _)| query)
        .collect()
}

proptest! {
    #[test]
    fn no_text_makes_it_panic(text in "\\PC{0,80}") {
        let _ = parse(&text);
    }

    #[test]
    fn no_mix_of_queries_makes_it_panic(
        parts in prop::collection::vec((0usize..400, 0usize..60, 0usize..60), 1..5),
    ) {
        let queries = queries();
        let mut text = String::new();
        for (which, from, length) in parts {
            let query: Vec<char> = queries[which % queries.len()].chars().collect();
            text.extend(query.iter().skip(from % query.len().max(1)).take(length));
        }
        if let Ok(read) = parse(&text) {
            let printed = read.to_string();
            let again = parse(&printed).map(|q| q.to_string());
            prop_assert_eq!(again.as_deref(), Ok(&*printed));
        }
    }
}

#[test]
fn depth_and_length_are_bounded() {
    let deep = format!("{{ {}1 = 1{} }}", "(".repeat(50_000), ")".repeat(50_000));
    assert!(
        parse(&deep)
            .expect_err("too long")
            .message
            .contains("longer")
    );
    let deep = format!("{{ {}1 = 1{} }}", "(".repeat(5_000), ")".repeat(5_000));
    assert!(
        parse(&deep)
            .expect_err("too deep")
            .message
            .contains("deeper")
    );
    let long = format!("{{ .a = 1{} }}", " || .a = 1".repeat(1000));
    assert!(
        parse(&long)
            .expect_err("too many")
            .message
            .contains("operators")
    );
    let most = format!("{{ .a = 1{} }}", " || .a = 1".repeat(255));
    let read = parse(&most).expect("enough");
    assert!(read.to_string().len() > 1000);
}
