//! Answers of this store together with what a Loki knows from before.

use std::collections::BTreeSet;

use indexmap::IndexMap;
use serde_json::{Value, json};
use tokio::runtime::Handle;

use super::Call;
use crate::outgrow::through::{Asked, List, PastLines};

/// Those that are asked for what is from a time on, nanoseconds since the epoch.
fn asked(call: &Call, start: i64) -> impl Iterator<Item = &PastLines> {
    let all = call.loki.past.get().into_iter().flatten();
    all.filter(move |past| start < past.before())
}

/// Whether what is asked from a time on may be elsewhere.
pub(super) fn reaches(call: &Call, start: i64) -> bool {
    asked(call, start).next().is_some()
}

/// Adds remarks to a reply.
pub(super) fn remarked(mut reply: Value, remarks: Vec<String>) -> Value {
    if !remarks.is_empty() {
        reply["warnings"] = json!(remarks);
    }
    reply
}

/// Lines of here, as the reply has them, with those from before: in order, each once, and not
/// more than are wanted.
pub(super) fn lines(call: &Call, here: Value, wanted: &Asked<'_>) -> (Value, Vec<String>) {
    let mut remarks = Vec::new();
    let mut results = vec![here];
    for past in asked(call, wanted.start) {
        let own = Asked {
            end: wanted.end.min(past.before()),
            ..*wanted
        };
        match Handle::current().block_on(past.range(&own)) {
            Ok(mut data) => results.push(data["result"].take()),
            Err(why) => remarks.push(past.remark(&why)),
        }
    }
    (joined(results, wanted), remarks)
}

fn joined(results: Vec<Value>, wanted: &Asked<'_>) -> Value {
    if results.len() == 1 {
        return results.into_iter().next().unwrap_or_default();
    }
    let mut streams: IndexMap<String, Value> = IndexMap::new();
    let mut all: Vec<(i64, usize, Value)> = Vec::new();
    for mut stream in results.into_iter().flat_map(listed) {
        let values = listed(stream["values"].take());
        let entry = streams.entry(stream["stream"].to_string());
        let at = entry.index();
        entry.or_insert_with(|| stream["stream"].take());
        for value in values {
            let time = value[0].as_str().and_then(|text| text.parse().ok());
            all.push((time.unwrap_or(0), at, value));
        }
    }
    // The order of lines of one time is that in which they came.
    match wanted.forward {
        true => all.sort_by_key(|(time, _, _)| *time),
        false => all.sort_by_key(|(time, _, _)| std::cmp::Reverse(*time)),
    }
    let mut seen = BTreeSet::new();
    all.retain(|(time, at, value)| seen.insert((*time, *at, value[1].to_string())));
    // Each side is thinned already, but not where they meet.
    let mut last: Option<i64> = None;
    all.retain(|(time, _, _)| {
        let far = last.is_none_or(|last| time.abs_diff(last) >= wanted.interval.unsigned_abs());
        if far {
            last = Some(*time);
        }
        far
    });
    all.truncate(wanted.limit.unwrap_or(usize::MAX));
    let mut values: IndexMap<usize, Vec<Value>> = IndexMap::new();
    for (_, at, value) in all {
        values.entry(at).or_default().push(value);
    }
    let stream = |(at, values): (usize, Vec<Value>)| {
        let labels = streams.get_index(at).map(|(_, labels)| labels.clone());
        json!({ "stream": labels, "values": values })
    };
    values.into_iter().map(stream).collect()
}

fn listed(value: Value) -> Vec<Value> {
    match value {
        Value::Array(list) => list,
        _ => Vec::new(),
    }
}

/// The first step of a query that what is here answers; others are asked elsewhere.
pub(super) fn first_step(call: &Call, (start, end): (i64, i64), step_ms: i64) -> Option<i64> {
    let before = asked(call, start).map(PastLines::before).max()?;
    let step = step_ms.saturating_mul(1_000_000);
    let steps = (before - start).div_euclid(step) + i64::from((before - start) % step > 0);
    // At most one behind the end: nothing is asked here then.
    Some(
        start
            .saturating_add(steps.saturating_mul(step))
            .min(end.saturating_add(step)),
    )
}

/// Numbers from before, put before those of here; else why they are not to be had.
pub(super) fn numbers(
    call: &Call,
    wanted: &Asked<'_>,
    here: &mut Value,
) -> Result<(), Vec<String>> {
    let mut remarks = Vec::new();
    for past in asked(call, wanted.start) {
        match Handle::current().block_on(past.range(wanted)) {
            Ok(mut data) => {
                let before = listed(data["result"].take());
                let after = listed(here["result"].take());
                here["result"] = chained(before, after);
                return Ok(());
            }
            Err(why) => remarks.push(past.remark(&why)),
        }
    }
    Err(remarks)
}

fn chained(before: Vec<Value>, after: Vec<Value>) -> Value {
    let mut all: IndexMap<String, Value> = IndexMap::new();
    for mut series in before.into_iter().chain(after) {
        match all.entry(series["metric"].to_string()) {
            indexmap::map::Entry::Vacant(free) => drop(free.insert(series)),
            indexmap::map::Entry::Occupied(mut known) => {
                let more = listed(series["values"].take());
                if let Some(values) = known.get_mut()["values"].as_array_mut() {
                    values.extend(more);
                }
            }
        }
    }
    all.into_values().collect()
}

/// The answer at one time, from elsewhere.
pub(super) fn instant(call: &Call, text: &str, time: i64) -> Result<Value, Vec<String>> {
    let mut remarks = Vec::new();
    for past in asked(call, time) {
        match Handle::current().block_on(past.instant(text, time)) {
            Ok(data) => return Ok(super::reply::success(data)),
            Err(why) => remarks.push(past.remark(&why)),
        }
    }
    Err(remarks)
}

/// A list of here together with those from before.
pub(super) fn list(
    call: &Call,
    here: Vec<Value>,
    what: &List<'_>,
    selectors: &[&str],
    (start, end): (i64, i64),
) -> (Vec<Value>, Vec<String>) {
    if !reaches(call, start) {
        return (here, Vec::new());
    }
    let mut remarks = Vec::new();
    let mut all: IndexMap<String, Value> = IndexMap::new();
    let mut add = |list: Vec<Value>| {
        all.extend(list.into_iter().map(|value| (value.to_string(), value)));
    };
    add(here);
    for past in asked(call, start) {
        let asked = past.list(what, selectors, start, end);
        match Handle::current().block_on(asked) {
            Ok(list) => add(list),
            Err(why) => remarks.push(past.remark(&why)),
        }
    }
    all.sort_keys();
    (all.into_values().collect(), remarks)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_two_servers_are_one_answer() {
        let stream = |app: &str, values: Value| json!({"stream": {"app": app}, "values": values});
        let here = json!([stream("a", json!([["30", "c"], ["20", "b"]]))]);
        let there = json!([
            stream("b", json!([["25", "x"]])),
            stream("a", json!([["20", "b"], ["10", "a"]]))
        ]);
        let wanted = |limit, forward, interval| Asked {
            query: "",
            start: 0,
            end: 0,
            limit: Some(limit),
            forward,
            step: None,
            interval,
            categorize: false,
        };
        let asked = wanted(3, false, 0);
        let both = joined(vec![here.clone(), there.clone()], &asked);
        let streams = json!([
            stream("a", json!([["30", "c"], ["20", "b"]])),
            stream("b", json!([["25", "x"]]))
        ]);
        assert_eq!(both, streams);
        let both = joined(vec![here.clone(), there.clone()], &wanted(2, true, 0));
        assert_eq!(
            both,
            json!([stream("a", json!([["10", "a"], ["20", "b"]]))])
        );
        // Lines of both sides that are too near to each other.
        let both = joined(vec![here, there], &wanted(9, true, 15));
        assert_eq!(
            both,
            json!([
                stream("a", json!([["10", "a"]])),
                stream("b", json!([["25", "x"]]))
            ])
        );
    }

    #[test]
    fn numbers_follow_each_other() {
        let series = |values: Value| json!({"metric": {"app": "a"}, "values": values});
        let both = chained(
            vec![series(json!([[1, "1"]]))],
            vec![series(json!([[2, "5"]]))],
        );
        assert_eq!(both, json!([series(json!([[1, "1"], [2, "5"]]))]));
    }
}
