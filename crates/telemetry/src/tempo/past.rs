//! Traces of this store together with what a Tempo knows from before.

use std::collections::HashSet;

use axum::response::Response;
use http::HeaderValue;
use serde_json::Value as Json;

use super::Tempo;
use super::params::Params;
use crate::otlp::message::{ResourceSpans, Span};
use crate::outgrow::through::PastSpans;

/// A trace that begins this long behind the cut-over has no part before it, in nanoseconds.
const LONG: u64 = 3_600_000_000_000;
/// Clients of Tempo know no remarks in the answer to a search: they are told in a header.
const REMARKS: &str = "x-towpath-warning";

/// A trace, and what of it was out of reach.
pub(super) struct Whole {
    pub(super) spans: Vec<ResourceSpans>,
    pub(super) remarks: Vec<String>,
}

fn each(spans: &[ResourceSpans]) -> impl Iterator<Item = &Span> {
    let scopes = spans.iter().flat_map(|resource| &resource.scope_spans);
    scopes.flat_map(|scope| &scope.spans)
}

/// Adds to a trace what is elsewhere. Of spans that are in both places those of here stay.
pub(super) async fn trace(tempo: &Tempo, id: &[u8], here: Vec<ResourceSpans>) -> Whole {
    let mut whole = Whole {
        spans: here,
        remarks: Vec::new(),
    };
    let starts = each(&whole.spans).map(|span| span.start_time_unix_nano);
    let begins = starts.min().unwrap_or(0);
    let old = |past: &&PastSpans| begins < past.before().saturating_add(LONG);
    for past in tempo.past.iter().filter(old) {
        match past.trace(id).await {
            Ok(other) => add(&mut whole.spans, other),
            Err(why) => whole.remarks.push(past.remark(&why)),
        }
    }
    whole
}

fn add(spans: &mut Vec<ResourceSpans>, mut other: Vec<ResourceSpans>) {
    let known: HashSet<bytes::Bytes> = each(spans).map(|span| span.span_id.clone()).collect();
    for resource in &mut other {
        for scope in &mut resource.scope_spans {
            scope.spans.retain(|span| !known.contains(&span.span_id));
        }
        resource.scope_spans.retain(|scope| !scope.spans.is_empty());
    }
    other.retain(|resource| !resource.scope_spans.is_empty());
    spans.extend(other);
}

/// Adds to the answer of a search what is found elsewhere; what was out of reach.
pub(super) async fn search(
    tempo: &Tempo,
    params: &Params,
    (start_ns, end_ns, limit): (u64, u64, usize),
    reply: &mut Json,
) -> Vec<String> {
    let mut remarks = Vec::new();
    let names = ["q", "tags", "minDuration", "maxDuration", "limit", "spss"];
    let given = names.iter();
    let given = given.filter_map(|name| Some((*name, params.get(name)?.to_owned())));
    let given: Vec<(&str, String)> = given.collect();
    for past in tempo.past.iter().filter(|past| start_ns < past.before()) {
        match past.search(given.clone(), start_ns, end_ns).await {
            Ok(found) => join(reply, found, limit),
            Err(why) => remarks.push(past.remark(&why)),
        }
    }
    remarks
}

/// Each trace once, the newest first.
fn join(reply: &mut Json, found: Vec<Json>, limit: usize) {
    let Some(traces) = reply["traces"].as_array_mut() else {
        return;
    };
    // Ids may be written without the zeros they begin with.
    let id = |trace: &Json| {
        let text = trace["traceID"].as_str().unwrap_or_default();
        text.trim_start_matches('0').to_owned()
    };
    let known: HashSet<String> = traces.iter().map(id).collect();
    traces.extend(
        found
            .into_iter()
            .filter(|trace| !known.contains(&id(trace))),
    );
    let start = |trace: &Json| -> u64 {
        let text = trace["startTimeUnixNano"].as_str().unwrap_or_default();
        text.parse().unwrap_or(0)
    };
    traces.sort_by_key(|trace| std::cmp::Reverse(start(trace)));
    traces.truncate(limit);
}

/// The answer with remarks in a header.
pub(super) fn remarked(mut response: Response, remarks: &[String]) -> Response {
    if !remarks.is_empty()
        && let Ok(value) = HeaderValue::from_str(&remarks.join("; "))
    {
        response.headers_mut().insert(REMARKS, value);
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_was_found_twice_is_told_once() {
        let trace = |id: &str, start: &str| json!({"traceID": id, "startTimeUnixNano": start});
        let mut reply = json!({"traces": [trace("0a", "30"), trace("b", "10")]});
        let found = vec![trace("a", "30"), trace("c", "20")];
        join(&mut reply, found, 2);
        let wanted = json!({"traces": [trace("0a", "30"), trace("c", "20")]});
        assert_eq!(reply, wanted);
    }
}
