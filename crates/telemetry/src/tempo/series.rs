//! Series made of spans.

use super::Tempo;
use super::answer::{self, Failure};
use super::json::{hex, named};
use super::params::Params;
use axum::extract::{RawQuery, State};
use axum::response::Response;
use serde_json::{Value as Json, json};
use towpath_query::promql::quote;
use towpath_query::traceql::{
    Example, MetricAnswer, MetricSeries, MetricsFunction, Query, Range, Value, metrics, parse,
};

/// Intervals of a range for which no step is given.
const STEPS: u64 = 60;
/// Spans that an answer tells as examples, unless it is said how many, and at most.
const EXAMPLES: (usize, usize) = (100, 1000);
const SECOND: u64 = 1_000_000_000;

fn read(params: &Params) -> Result<Query, Failure> {
    let text = params.get("q").or_else(|| params.get("query"));
    let text = text.ok_or_else(|| Failure::bad("the parameter q is missing"))?;
    parse(text).map_err(|e| Failure::bad(format!("invalid TraceQL query: {e}")))
}

pub(super) async fn range(
    State(tempo): State<Tempo>,
    RawQuery(raw): RawQuery,
) -> Result<Response, Failure> {
    let params = Params::read(raw.as_deref());
    let query = read(&params)?;
    let (start_ns, end_ns) = params.range(&*tempo.clock).map_err(Failure::bad)?;
    let usual = ((end_ns - start_ns) / STEPS / SECOND).max(1) * SECOND;
    let step_ns = params
        .duration("step")
        .map_err(Failure::bad)?
        .unwrap_or(usual);
    // Intervals begin at multiples of the step, so that a later request has the same ones.
    let start_ns = start_ns / step_ns * step_ns;
    let end_ns = end_ns.div_ceil(step_ns).saturating_mul(step_ns);
    // None are told where none are wanted.
    let examples = match params.get("exemplars") {
        Some("0") => 0,
        _ => params
            .number("exemplars", EXAMPLES.0, EXAMPLES.1)
            .map_err(Failure::bad)?,
    };
    let (name, found) = run(&tempo, query, (start_ns, end_ns, step_ns), examples).await?;
    let series = found.series.iter().map(|one| {
        let points = one.values.iter().zip(&found.times_ns);
        let samples = points.filter_map(|(value, at)| {
            let at = (at / 1_000_000).to_string();
            value.map(|value| json!({"timestampMs": at, "value": value}))
        });
        let mut out = labels(one, name);
        out["samples"] = samples.collect();
        if !one.examples.is_empty() {
            out["exemplars"] = one.examples.iter().map(|(_, of)| example(of)).collect();
        }
        out
    });
    let series: Vec<Json> = series.collect();
    Ok(answer::json(&json!({
        "series": series,
        "metrics": {"inspectedSpans": found.spans_seen.to_string(), "completedJobs": 1, "totalJobs": 1},
    })))
}

pub(super) async fn instant(
    State(tempo): State<Tempo>,
    RawQuery(raw): RawQuery,
) -> Result<Response, Failure> {
    let params = Params::read(raw.as_deref());
    let query = read(&params)?;
    let (start_ns, end_ns) = params.range(&*tempo.clock).map_err(Failure::bad)?;
    let whole = (start_ns, end_ns, end_ns - start_ns);
    let (name, found) = run(&tempo, query, whole, 0).await?;
    let series = found.series.iter().filter_map(|one| {
        let value = one.values.first().copied().flatten()?;
        let mut out = labels(one, name);
        out["value"] = value.into();
        Some(out)
    });
    let series: Vec<Json> = series.collect();
    Ok(answer::json(&json!({
        "series": series,
        "metrics": {"inspectedSpans": found.spans_seen.to_string(), "completedJobs": 1, "totalJobs": 1},
    })))
}

async fn run(
    tempo: &Tempo,
    query: Query,
    (start_ns, end_ns, step_ns): (u64, u64, u64),
    examples: usize,
) -> Result<(&'static str, MetricAnswer), Failure> {
    let name = match query.metrics.as_ref().map(|m| &m.function) {
        Some(MetricsFunction::Rate) => "rate",
        Some(MetricsFunction::Count) => "count_over_time",
        Some(MetricsFunction::Min(_)) => "min_over_time",
        Some(MetricsFunction::Max(_)) => "max_over_time",
        Some(MetricsFunction::Avg(_)) => "avg_over_time",
        Some(MetricsFunction::Sum(_)) => "sum_over_time",
        _ => "",
    };
    let found = tempo.run(move |store, budget| {
        let range = Range {
            start_ns,
            end_ns,
            step_ns,
            examples,
            budget,
        };
        metrics(store, &query, &range).map_err(Failure::from)
    });
    Ok((name, found.await?))
}

/// A span as an example of a point.
fn example(of: &Example) -> Json {
    let labels = [
        ("trace:id".to_owned(), Value::text(hex(&of.trace))),
        ("span:id".to_owned(), Value::text(hex(&of.span))),
    ];
    json!({
        "labels": named(&labels),
        "value": of.value,
        "timestampMs": (of.at_ns / 1_000_000).to_string(),
    })
}

/// A series without its values; one without labels is called by its function.
fn labels(one: &MetricSeries, name: &str) -> Json {
    let own = [("__name__".to_string(), Value::text(name))];
    let labels = if one.labels.is_empty() {
        &own[..]
    } else {
        &one.labels[..]
    };
    let plain = |value: &Value| match value {
        Value::Text(text) => text.to_string(),
        Value::Float(n) => n.to_string(),
        other => other.to_string(),
    };
    let pairs = labels.iter().map(|(name, value)| {
        let bare = name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
        let name = if bare { name.clone() } else { quote(name) };
        format!("{name}={}", quote(&plain(value)))
    });
    let pairs: Vec<String> = pairs.collect();
    json!({
        "labels": named(labels),
        "promLabels": format!("{{{}}}", pairs.join(", ")),
    })
}
