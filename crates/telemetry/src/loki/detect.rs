//! What is in the lines: labels, fields, patterns.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::ControlFlow;

use serde_json::{Value, json};
use towpath_query::logql::{
    self, Direction, LogEntry, LogSource, Pipeline, Row, Selection, Sink, parse_log,
};
use towpath_query::promql::{Labels, Stop};
use towpath_signals::logs::template;

use super::fault::Fault;
use super::{Call, names, reply};

/// The most values of a field that are told apart.
const VALUES: usize = 1000;
/// The most lines that are looked at for fields.
const LINES: usize = 5000;
/// The most lines that are looked at for patterns.
const PATTERN_LINES: usize = 500_000;
/// The most patterns that are told apart, and that are told.
const PATTERNS: usize = 10_000;
const PATTERNS_TOLD: usize = 300;

pub(super) fn labels(call: &Call) -> Result<Value, Fault> {
    let sets = names::selectors(call, &["query"])?;
    let (start, end) = call.params.span(call.now)?;
    let mut values: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for labels in call.loki.store.streams(&sets, start, end) {
        for (name, value) in labels.iter() {
            values
                .entry(name.to_owned())
                .or_default()
                .insert(value.to_owned());
        }
    }
    let one = |(name, values): (String, BTreeSet<String>)| json!({ "label": name, "cardinality": values.len() });
    let found: Vec<Value> = values.into_iter().map(one).collect();
    Ok(json!({ "detectedLabels": found }))
}

#[derive(Default)]
struct Field {
    values: BTreeSet<String>,
    kind: Option<&'static str>,
    parsers: BTreeSet<&'static str>,
}

/// The fields of the newest lines of a query.
fn found(call: &Call) -> Result<BTreeMap<String, Field>, Fault> {
    let query = parse_log(call.params.get("query"))?;
    let span = call.params.span(call.now)?;
    let lines = call.params.count("line_limit", 1000, LINES)?;
    let store = call.loki.store.as_ref();
    let answer = call.evaluate(LINES, |settings| {
        logql::logs(&query, span, Direction::Backward, lines, store, settings)
    })?;
    let mut out: BTreeMap<String, Field> = BTreeMap::new();
    for entry in &answer.entries {
        collect(entry, &mut out);
    }
    Ok(out)
}

fn collect(entry: &LogEntry, out: &mut BTreeMap<String, Field>) {
    let (fields, parser) = logql::fields(&entry.line);
    let mut add = |name: &str, value: &str, parser: Option<&'static str>| {
        // A field that has the name of a label is told from it by its suffix.
        let name = if parser.is_some() && !entry.stream.get(name).is_empty() {
            format!("{name}_extracted")
        } else {
            name.to_owned()
        };
        let field = out.entry(name).or_default();
        field.parsers.extend(parser);
        let kind = kind_of(value);
        field.kind = Some(match field.kind {
            None => kind,
            Some(known) if known == kind => kind,
            Some("int") if kind == "float" => "float",
            Some("float") if kind == "int" => "float",
            Some(_) => "string",
        });
        if field.values.len() < VALUES {
            field.values.insert(value.to_owned());
        }
    };
    for (name, value) in &fields {
        add(name, value, parser);
    }
    for (name, value) in entry.metadata.iter().chain(entry.parsed.iter()) {
        if !name.starts_with("__error") && !fields.iter().any(|(known, _)| known == name) {
            add(name, value, None);
        }
    }
}

fn kind_of(value: &str) -> &'static str {
    let digits = value.starts_with(|c: char| c.is_ascii_digit() || c == '-');
    if value == "true" || value == "false" {
        "boolean"
    } else if digits && value.parse::<i64>().is_ok() {
        "int"
    } else if digits && value.parse::<f64>().is_ok() {
        "float"
    } else if digits && towpath_query::go_duration::parse(value).is_some() {
        "duration"
    } else if digits && is_bytes(value) {
        "bytes"
    } else {
        "string"
    }
}

fn is_bytes(value: &str) -> bool {
    let unit = value
        .trim_start_matches(|c: char| c.is_ascii_digit() || c == '.')
        .trim();
    let unit = unit.to_ascii_lowercase();
    matches!(
        unit.as_str(),
        "b" | "kb" | "mb" | "gb" | "tb" | "kib" | "mib" | "gib" | "tib"
    )
}

pub(super) fn fields(call: &Call) -> Result<Value, Fault> {
    let limit = call.params.count("limit", 1000, 10_000)?;
    let one = |(name, field): (String, Field)| {
        let parsers: Vec<&str> = field.parsers.into_iter().collect();
        json!({
            "label": name,
            "type": field.kind.unwrap_or("string"),
            "cardinality": field.values.len(),
            "parsers": if parsers.is_empty() { Value::Null } else { json!(parsers) },
        })
    };
    let fields: Vec<Value> = found(call)?.into_iter().take(limit).map(one).collect();
    Ok(json!({ "fields": fields, "limit": limit }))
}

pub(super) fn field_values(call: &Call) -> Result<Value, Fault> {
    let limit = call.params.count("limit", 1000, 10_000)?;
    let mut all = found(call)?;
    let field = all.remove(&call.name).unwrap_or_default();
    let values: Vec<String> = field.values.into_iter().take(limit).collect();
    Ok(json!({ "values": values, "limit": limit }))
}

/// How often lines of a form came, by step.
struct Forms<'a> {
    call: &'a Call,
    pipeline: Pipeline,
    step: i64,
    lines: usize,
    bytes: u64,
    found: HashMap<String, BTreeMap<i64, u64>>,
    stopped: Option<Stop>,
}

impl Sink for Forms<'_> {
    fn wants(&self, _: i64, _: i64) -> bool {
        true
    }

    fn row(&mut self, _: u64, labels: &Labels, row: Row<'_>) -> ControlFlow<()> {
        self.lines += 1;
        self.bytes += row.line.len() as u64;
        if self.lines > PATTERN_LINES {
            return ControlFlow::Break(());
        }
        if self.lines.is_multiple_of(256) {
            let spent = self.call.loki.clock.monotonic() - self.call.started;
            if self.call.canceled.is_cancelled() {
                self.stopped = Some(Stop::Canceled);
            } else if spent > self.call.loki.settings.query_timeout {
                self.stopped = Some(Stop::TimedOut);
            }
            if self.stopped.is_some() {
                return ControlFlow::Break(());
            }
        }
        let Some(outcome) = self.pipeline.run(labels, &row) else {
            return ControlFlow::Continue(());
        };
        let form = template(&outcome.line);
        if self.found.len() >= PATTERNS && !self.found.contains_key(&form) {
            return ControlFlow::Continue(());
        }
        let at = row.at.div_euclid(self.step) * self.step;
        *self.found.entry(form).or_default().entry(at).or_default() += 1;
        ControlFlow::Continue(())
    }
}

pub(super) fn patterns(call: &Call) -> Result<Value, Fault> {
    let query = parse_log(call.params.get("query"))?;
    let (start, end) = call.params.span(call.now)?;
    // Steps are no shorter than ten seconds, as upstream's.
    let step = call.params.step_ms((start, end))?.max(10_000) * 1_000_000;
    let mut forms = Forms {
        call,
        pipeline: Pipeline::new(&query).map_err(Fault::bad)?,
        step,
        lines: 0,
        bytes: 0,
        found: HashMap::new(),
        stopped: None,
    };
    let selection = Selection {
        matchers: &query.matchers,
        start,
        end,
        direction: Direction::Backward,
        needles: &[],
    };
    call.loki
        .store
        .scan(&selection, &mut forms)
        .map_err(Fault::internal)?;
    match forms.stopped {
        Some(Stop::TimedOut) => return Err(logql::EvalError::TimedOut.into()),
        Some(Stop::Canceled) => return Err(logql::EvalError::Canceled.into()),
        None => {}
    }
    let total = |samples: &BTreeMap<i64, u64>| samples.values().sum::<u64>();
    let mut all: Vec<(String, BTreeMap<i64, u64>)> = forms.found.into_iter().collect();
    all.sort_by(|a, b| total(&b.1).cmp(&total(&a.1)).then_with(|| a.0.cmp(&b.0)));
    all.truncate(PATTERNS_TOLD);
    let one = |(pattern, samples): (String, BTreeMap<i64, u64>)| {
        let samples = samples.into_iter();
        let samples = samples.map(|(at, count)| json!([at / 1_000_000_000, count]));
        json!({ "pattern": pattern, "samples": samples.collect::<Vec<Value>>() })
    };
    Ok(reply::success(all.into_iter().map(one).collect()))
}
