//! Tests of rules, run over samples in memory. Texts of failures are promtool's.

use std::collections::{BTreeMap, BTreeSet};

use towpath_query::promql::{
    Labels, Notated, Settings, format_duration, parse, parse_series, quote,
};
use towpath_query::template::format_span;

use super::file::{AlertCase, ExpectedSample, File, QueryCase, Test};
use crate::rules::group::vector;
use crate::rules::{Group, Health, Kind, Memory, Shared, State, World, read};
use crate::yaml;

/// The most samples a query of a test may hold, as upstream.
const MAX_SAMPLES: usize = 10_000;
/// The most evaluations of a test.
const MAX_EVALUATIONS: i64 = 1_000_000;

/// Finds files by a pattern: names and contents. The error says why they cannot be read.
pub type Files<'a> = dyn Fn(&str) -> Result<Vec<(String, String)>, String> + 'a;

/// Runs the tests of a file; `only` chooses tests by name.
///
/// # Errors
/// What failed, a text each.
pub fn run(text: &str, files: &Files<'_>, only: &dyn Fn(&str) -> bool) -> Result<(), Vec<String>> {
    let mut file: File = yaml::read(text).map_err(|finding| vec![finding.to_string()])?;
    if file.evaluation_interval.0 == 0 {
        file.evaluation_interval.0 = 60_000;
    }
    let mut order = BTreeMap::new();
    for (at, name) in file.group_eval_order.iter().enumerate() {
        if order.insert(name.as_str(), at).is_some() {
            return Err(vec![format!(
                "group name repeated in evaluation order: {name}"
            )]);
        }
    }
    let mut rules = Vec::new();
    for pattern in &file.rule_files {
        rules.append(&mut files(pattern).map_err(|why| vec![why])?);
    }
    let mut failures = Vec::new();
    for test in file.tests.iter().filter(|test| only(&test.name)) {
        failures.append(&mut run_test(&file, test, &order, &rules));
    }
    match failures.is_empty() {
        true => Ok(()),
        false => Err(failures),
    }
}

/// Input not yet in the store: a series and what is left of its samples, the last one first.
struct Pending {
    labels: Labels,
    samples: Vec<(i64, Notated)>,
}

fn inputs(test: &Test, step: i64) -> Result<Vec<Pending>, String> {
    let mut out = Vec::new();
    for input in &test.input_series {
        let (labels, values) = parse_series(&format!("{} {}", input.series, input.values))?;
        let at = |index: usize| test.start_timestamp.0 + index as i64 * step;
        let samples = values.into_iter().enumerate();
        let mut samples: Vec<_> = samples.map(|(i, value)| (at(i), value)).collect();
        samples.reverse();
        out.push(Pending { labels, samples });
    }
    Ok(out)
}

fn load(pending: &mut [Pending], till: i64, memory: &Memory) -> Result<(), String> {
    for series in pending {
        while let Some((at, value)) = series.samples.pop_if(|(at, _)| *at <= till) {
            match value {
                Notated::Gap => {}
                Notated::Float(value) => memory.push(&series.labels, at, value, None)?,
                Notated::Histogram(histogram, _) => {
                    memory.push(&series.labels, at, 0.0, Some(histogram))?;
                }
            }
        }
    }
    Ok(())
}

fn groups(
    test: &Test,
    order: &BTreeMap<&str, usize>,
    rules: &[(String, String)],
    shared: &Shared,
) -> Result<Vec<Group>, Vec<String>> {
    let mut groups = Vec::new();
    for (name, text) in rules {
        let specs = read(text).map_err(|findings| {
            let told = findings.iter().map(|finding| format!("{name}: {finding}"));
            told.collect::<Vec<_>>()
        })?;
        groups.extend(specs.into_iter().map(|s| Group::new(name, s, shared, true)));
    }
    groups.sort_by_key(|group| order.get(group.name.as_str()).copied().unwrap_or(0));
    for case in &test.alert_rule_test {
        if case.alertname.is_empty() {
            let within = match test.name.as_str() {
                "" => String::new(),
                name => format!(" (in TestGroup {name})"),
            };
            let time = format_duration(case.eval_time.0);
            return Err(vec![format!(
                "an item under alert_rule_test misses required attribute alertname at eval_time \
                 {time}{within}"
            )]);
        }
    }
    Ok(groups)
}

fn run_test(
    file: &File,
    test: &Test,
    order: &BTreeMap<&str, usize>,
    rules: &[(String, String)],
) -> Vec<String> {
    let every = file.evaluation_interval.0;
    let step = match test.interval.0 {
        0 => every,
        own => own,
    };
    let shared = Shared {
        external_labels: test.external_labels.clone().into_iter().collect(),
        external_url: test.external_url.clone(),
        interval_ms: step,
        ..Shared::default()
    };
    let mut groups = match groups(test, order, rules, &shared) {
        Ok(groups) => groups,
        Err(failures) => return failures,
    };
    let mut pending = match inputs(test, step) {
        Ok(pending) => pending,
        Err(failure) => return vec![failure],
    };
    let memory = Memory::default();
    let world = World {
        source: &memory,
        output: &memory,
        settings: Settings {
            max_samples: MAX_SAMPLES,
            ..Settings::default()
        },
        shared: &shared,
        seconds: &|| 0.0,
    };
    let start = test.start_timestamp.0;
    let alert_times = test.alert_rule_test.iter().map(|case| case.eval_time.0);
    let query_times = test.promql_expr_test.iter().map(|case| case.eval_time.0);
    let span = alert_times.clone().chain(query_times).max().unwrap_or(0);
    if span / every > MAX_EVALUATIONS {
        return vec![format!("more than {MAX_EVALUATIONS} evaluations")];
    }
    let mut times: Vec<i64> = alert_times.collect::<BTreeSet<_>>().into_iter().collect();
    times.reverse();
    let mut failures = Vec::new();
    let mut at = 0;
    while at <= span {
        if let Err(failure) = load(&mut pending, start + at, &memory) {
            failures.push(failure);
        }
        let faults = evaluate(&mut groups, start + at, &world);
        if !faults.is_empty() {
            failures.extend(faults);
            return failures;
        }
        while let Some(time) = times.pop_if(|time| (at..at + every).contains(time)) {
            let cases = test.alert_rule_test.iter();
            for case in cases.filter(|case| case.eval_time.0 == time) {
                failures.extend(compare_alerts(test, case, &groups));
            }
        }
        at += every;
    }
    for case in &test.promql_expr_test {
        failures.extend(compare_samples(file, case, start, &world));
    }
    failures
}

fn evaluate(groups: &mut [Group], now: i64, world: &World<'_>) -> Vec<String> {
    let mut faults = Vec::new();
    for group in groups {
        group.evaluate(now, world);
        for rule in &group.rules {
            if let Health::Bad(why) = &rule.health {
                let time = format_span(now.saturating_mul(1_000_000));
                faults.push(format!(
                    "    rule: {}, time: {time}, err: {why}",
                    rule.name()
                ));
            }
        }
    }
    faults
}

type Told = (Labels, Labels);

fn compare_alerts(test: &Test, case: &AlertCase, groups: &[Group]) -> Option<String> {
    let mut got: Vec<Told> = Vec::new();
    for rule in groups.iter().flat_map(|group| &group.rules) {
        let Kind::Alerting(rule) = &rule.kind else {
            continue;
        };
        if rule.name == case.alertname {
            let firing = rule.current().filter(|a| a.state == State::Firing);
            got.extend(firing.map(|alert| {
                let annotations = alert.annotations.iter();
                let annotations = annotations.map(|(n, v)| (n.as_str(), v.as_str()));
                (alert.labels.clone(), annotations.collect())
            }));
        }
    }
    let map = |texts: &Option<BTreeMap<String, String>>, name: Option<&str>| -> Labels {
        let texts = texts.iter().flatten();
        texts
            .map(|(n, v)| (n.as_str(), v.as_str()))
            .chain(name.map(|name| ("alertname", name)))
            .collect()
    };
    let expected = case.exp_alerts.iter().flatten();
    let mut expected: Vec<Told> = expected
        .map(|alert| {
            (
                map(&alert.exp_labels, Some(&case.alertname)),
                map(&alert.exp_annotations, None),
            )
        })
        .collect();
    expected.sort();
    got.sort();
    if expected == got {
        return None;
    }
    let name = match test.name.as_str() {
        "" => String::new(),
        name => format!("    name: {name},\n"),
    };
    Some(format!(
        "{name}    alertname: {}, time: {}, \n        exp:{}, \n        got:{}",
        case.alertname,
        format_duration(case.eval_time.0),
        shown(&expected),
        shown(&got)
    ))
}

fn shown(alerts: &[Told]) -> String {
    if alerts.is_empty() {
        return "[]".to_owned();
    }
    let each: Vec<String> = alerts
        .iter()
        .enumerate()
        .map(|(at, (labels, annotations))| {
            format!("{at}:\n  Labels:{labels}\n  Annotations:{annotations}")
        })
        .collect();
    let all = format!("[\n{}\n]", each.join(",\n"));
    all.replace('\n', "\n            ")
}

/// A sample to compare: labels, the number, or a histogram as text.
type Sample = (Labels, f64, String);

fn expected_sample(sample: &ExpectedSample) -> Result<Sample, String> {
    let labels = match sample.labels.trim() {
        "" => Labels::default(),
        text => parse_series(&format!("{text} 0"))?.0,
    };
    let histogram = match sample.histogram.as_str() {
        "" => String::new(),
        text => match parse_series(&format!("{{}} {text}"))?.1.as_slice() {
            [Notated::Histogram(histogram, _)] => histogram.to_string(),
            [_] => return Err(format!("expected histogram, got {text}")),
            values => return Err(format!("expected 1 value, got {}", values.len())),
        },
    };
    Ok((labels, sample.value, histogram))
}

fn compare_samples(file: &File, case: &QueryCase, start: i64, world: &World<'_>) -> Option<String> {
    let time = format_duration(case.eval_time.0);
    let expr = quote(&case.expr);
    let found = parse(&case.expr)
        .map_err(|error| error.to_string())
        .and_then(|expr| vector(&expr, start + case.eval_time.0, world));
    let mut got: Vec<Sample> = match found {
        Ok(found) => found
            .into_iter()
            .map(|s| {
                let histogram = s.histogram.map_or(String::new(), |h| h.to_string());
                (s.labels, s.value, histogram)
            })
            .collect(),
        Err(why) => return Some(format!("    expr: {expr}, time: {time}, err: {why}")),
    };
    let mut expected = Vec::new();
    for sample in case.exp_samples.iter().flatten() {
        match expected_sample(sample) {
            Ok(sample) => expected.push(sample),
            Err(why) => {
                let labels = quote(&sample.labels);
                return Some(format!(
                    "    expr: {expr}, time: {time}, err: labels {labels}: {why}"
                ));
            }
        }
    }
    let fuzzy = file.fuzzy_compare;
    let close = |a: f64, b: f64| a == b || (fuzzy && (a.next_down() == b || a.next_up() == b));
    let equal = |a: &Sample, b: &Sample| a.0 == b.0 && a.2 == b.2 && close(a.1, b.1);
    got.sort_by(|a, b| a.0.cmp(&b.0));
    expected.sort_by(|a, b| a.0.cmp(&b.0));
    if got.len() == expected.len() && got.iter().zip(&expected).all(|(a, b)| equal(a, b)) {
        return None;
    }
    Some(format!(
        "    expr: {expr}, time: {time},\n        exp: {}\n        got: {}",
        listed(&expected),
        listed(&got)
    ))
}

fn listed(samples: &[Sample]) -> String {
    if samples.is_empty() {
        return "nil".to_owned();
    }
    let each: Vec<String> = samples
        .iter()
        .map(|(labels, value, histogram)| match histogram.as_str() {
            "" => format!("{labels} {}", exponent(*value)),
            text => format!("{labels} {text}"),
        })
        .collect();
    each.join(", ")
}

/// `1.5E+00`
fn exponent(value: f64) -> String {
    if !value.is_finite() {
        return towpath_query::promql::format_number(value);
    }
    let text = format!("{value:E}");
    let (digits, exponent) = text.split_once('E').unwrap_or((&text, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{digits}E{sign}{:02}", exponent.abs())
}
