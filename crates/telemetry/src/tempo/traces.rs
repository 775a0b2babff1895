//! Searches.

use super::Tempo;
use super::answer::{self, Failure};
use super::json::{hex, named};
use super::params::{self, Params};
use super::past;
use axum::extract::{RawQuery, State};
use axum::response::Response;
use serde_json::{Map, Value as Json, json};
use towpath_query::traceql::{Found, FoundSet, FoundTrace, Query, Search, parse, search as find};

/// What Tempo says of a trace whose root is not there.
const NO_ROOT: &str = "<root span not yet received>";
/// Traces that an answer has, unless more are asked for, and at most.
const LIMIT: (usize, usize) = (20, 5000);
/// Spans of a set that an answer has, unless more are asked for, and at most.
const SPANS: (usize, usize) = (3, 1000);

fn query(params: &Params) -> Result<Query, Failure> {
    let text = match params.get("q") {
        Some(q) => q.to_string(),
        None => {
            let least = params.duration("minDuration").map_err(Failure::bad)?;
            let most = params.duration("maxDuration").map_err(Failure::bad)?;
            let tags = params.get("tags").unwrap_or_default();
            params::tags(tags, least, most).map_err(Failure::bad)?
        }
    };
    parse(&text).map_err(|e| Failure::bad(format!("invalid TraceQL query: {e}")))
}

pub(super) async fn search(
    State(tempo): State<Tempo>,
    RawQuery(raw): RawQuery,
) -> Result<Response, Failure> {
    let params = Params::read(raw.as_deref());
    let query = query(&params)?;
    let (start_ns, end_ns) = params.range(&*tempo.clock).map_err(Failure::bad)?;
    let limit = params
        .number("limit", LIMIT.0, LIMIT.1)
        .map_err(Failure::bad)?;
    let spans_per_set = params
        .number("spss", SPANS.0, SPANS.1)
        .map_err(Failure::bad)?;
    let found = tempo.run(move |store, budget| {
        let options = Search {
            start_ns,
            end_ns,
            limit,
            spans_per_set,
            budget,
        };
        find(store, &query, &options).map_err(Failure::from)
    });
    let mut reply = told(&found.await?);
    let remarks = past::search(&tempo, &params, (start_ns, end_ns, limit), &mut reply).await;
    Ok(past::remarked(answer::json(&reply), &remarks))
}

fn told(found: &Found) -> Json {
    let traces: Vec<Json> = found.traces.iter().map(trace).collect();
    json!({
        "traces": traces,
        "metrics": {
            "inspectedTraces": found.traces_seen,
            "inspectedSpans": found.spans_seen.to_string(),
            "completedJobs": 1,
            "totalJobs": 1,
        },
    })
}

fn trace(found: &FoundTrace) -> Json {
    let summary = &found.summary;
    let known = |text: &str| match text {
        "" => NO_ROOT.to_string(),
        text => text.to_string(),
    };
    let sets: Vec<Json> = found.sets.iter().map(set).collect();
    let services = found.services.iter().map(|(name, (spans, errors))| {
        let mut counts = Map::new();
        counts.insert("spanCount".into(), (*spans).into());
        if *errors > 0 {
            counts.insert("errorCount".into(), (*errors).into());
        }
        (name.clone(), Json::Object(counts))
    });
    json!({
        "traceID": hex(&found.id),
        "rootServiceName": known(&summary.root_service),
        "rootTraceName": known(&summary.root_name),
        "startTimeUnixNano": summary.start_ns.to_string(),
        "durationMs": summary.duration_ns / 1_000_000,
        "spanSet": sets.first(),
        "spanSets": sets,
        "serviceStats": services.collect::<Map<String, Json>>(),
    })
}

fn set(found: &FoundSet) -> Json {
    let spans = found.spans.iter().map(|span| {
        json!({
            "spanID": hex(&span.id),
            "name": &*span.name,
            "startTimeUnixNano": span.start_ns.to_string(),
            "durationNanos": span.duration_ns.to_string(),
            "attributes": named(&span.attributes),
        })
    });
    let mut out = Map::new();
    out.insert("spans".into(), spans.collect());
    out.insert("matched".into(), found.matched.into());
    if !found.attributes.is_empty() {
        out.insert("attributes".into(), named(&found.attributes));
    }
    out.into()
}
