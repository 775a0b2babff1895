//! How much there is.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use towpath_query::promql::{Labels, Matcher};
use towpath_signals::logs::Volume;

use super::fault::Fault;
use super::{Call, names, reply};

/// The most steps of a range: each looks at all blocks.
const MAX_STEPS: i64 = 500;

pub(super) fn stats(call: &Call) -> Result<Value, Fault> {
    let sets = names::selectors(call, &["query"])?;
    let (start, end) = call.params.span(call.now)?;
    let volumes = call.loki.store.volumes(&sets, start, end);
    let sum = |of: fn(&Volume) -> u64| volumes.iter().map(of).sum::<u64>();
    Ok(json!({
        "streams": volumes.len(),
        "chunks": sum(|volume| volume.blocks),
        "entries": sum(|volume| volume.lines),
        "bytes": sum(|volume| volume.bytes),
    }))
}

/// By what volumes are summed.
enum By {
    Labels(Vec<String>),
    EachLabel(Vec<String>),
}

fn grouping(call: &Call, sets: &[Vec<Matcher>]) -> By {
    let targets = call.params.get("targetLabels").split(',').map(str::trim);
    let mut names: Vec<String> = targets
        .filter(|name| !name.is_empty())
        .map(str::to_owned)
        .collect();
    if call.params.get("aggregateBy") == "labels" {
        return By::EachLabel(names);
    }
    if names.is_empty() {
        names = sets
            .iter()
            .flatten()
            .map(|matcher| matcher.name.clone())
            .collect();
    }
    By::Labels(names)
}

fn summed(volumes: Vec<Volume>, by: &By) -> BTreeMap<Labels, u64> {
    let mut out: BTreeMap<Labels, u64> = BTreeMap::new();
    for volume in volumes {
        let labels = &volume.labels;
        match by {
            By::Labels(names) if names.is_empty() => {
                *out.entry(labels.clone()).or_default() += volume.bytes;
            }
            By::Labels(names) => {
                let kept = labels
                    .iter()
                    .filter(|(name, _)| names.iter().any(|n| n == name));
                *out.entry(kept.collect()).or_default() += volume.bytes;
            }
            By::EachLabel(names) => {
                for (name, _) in labels.iter() {
                    if names.is_empty() || names.iter().any(|n| n == name) {
                        let one: Labels = [(name, name)].into_iter().collect();
                        *out.entry(one).or_default() += volume.bytes;
                    }
                }
            }
        }
    }
    out
}

/// The largest sums, largest first.
fn largest(sums: BTreeMap<Labels, u64>, limit: usize) -> Vec<(Labels, u64)> {
    let mut all: Vec<(Labels, u64)> = sums.into_iter().collect();
    all.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
    all.truncate(limit);
    all
}

pub(super) fn volume(call: &Call) -> Result<Value, Fault> {
    let sets = names::selectors(call, &["query"])?;
    let (start, end) = call.params.span(call.now)?;
    let limit = call.params.count("limit", 100, 10_000)?;
    let sums = summed(
        call.loki.store.volumes(&sets, start, end),
        &grouping(call, &sets),
    );
    let one = |(labels, bytes): &(Labels, u64)| {
        json!({
            "metric": reply::labels(labels),
            "value": reply::sample(end.div_euclid(1_000_000), *bytes as f64),
        })
    };
    let result: Vec<Value> = largest(sums, limit).iter().map(one).collect();
    Ok(reply::success(
        json!({ "resultType": "vector", "result": result, "stats": {} }),
    ))
}

pub(super) fn volume_range(call: &Call) -> Result<Value, Fault> {
    let sets = names::selectors(call, &["query"])?;
    let span = call.params.span(call.now)?;
    let limit = call.params.count("limit", 100, 10_000)?;
    let step = call.params.step_ms(span)?.saturating_mul(1_000_000);
    let step = step.max((span.1 - span.0) / MAX_STEPS + 1);
    let by = grouping(call, &sets);
    let mut totals: BTreeMap<Labels, u64> = BTreeMap::new();
    let mut samples: BTreeMap<Labels, Vec<Value>> = BTreeMap::new();
    let mut at = span.0;
    while at < span.1 {
        let next = at.saturating_add(step).min(span.1);
        for (labels, bytes) in summed(call.loki.store.volumes(&sets, at, next), &by) {
            *totals.entry(labels.clone()).or_default() += bytes;
            let sample = reply::sample(next.div_euclid(1_000_000), bytes as f64);
            samples.entry(labels).or_default().push(sample);
        }
        at = next;
    }
    let result: Vec<Value> = largest(totals, limit)
        .into_iter()
        .map(|(labels, _)| {
            let values = samples.remove(&labels).unwrap_or_default();
            json!({ "metric": reply::labels(&labels), "values": values })
        })
        .collect();
    Ok(reply::success(
        json!({ "resultType": "matrix", "result": result, "stats": {} }),
    ))
}
