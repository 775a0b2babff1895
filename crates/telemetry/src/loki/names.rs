//! Labels, their values, series.

use std::collections::BTreeSet;

use serde_json::Value;
use towpath_query::logql::parse_matchers;
use towpath_query::promql::{Labels, Matcher};

use super::fault::Fault;
use super::{Call, past, reply};
use crate::outgrow::through::List;

/// Selectors given under any of the names that clients use.
pub(super) fn selectors(call: &Call, names: &[&str]) -> Result<Vec<Vec<Matcher>>, Fault> {
    let texts = names.iter().flat_map(|name| call.params.all(name));
    let mut out = Vec::new();
    for text in texts.filter(|text| !text.is_empty()) {
        out.push(parse_matchers(text)?);
    }
    Ok(out)
}

fn streams(call: &Call, names: &[&str]) -> Result<Vec<Labels>, Fault> {
    let sets = selectors(call, names)?;
    let (start, end) = call.params.span(call.now)?;
    Ok(call.loki.store.streams(&sets, start, end))
}

/// The list with what others know from before.
fn told(call: &Call, here: Vec<Value>, what: &List<'_>, names: &[&str]) -> Result<Value, Fault> {
    let span = call.params.span(call.now)?;
    let given: Vec<&str> = names
        .iter()
        .flat_map(|name| call.params.all(name))
        .collect();
    let (all, remarks) = past::list(call, here, what, &given, span);
    Ok(past::remarked(reply::success(all.into()), remarks))
}

pub(super) fn labels(call: &Call) -> Result<Value, Fault> {
    let streams = streams(call, &["query"])?;
    let names: BTreeSet<&str> = streams
        .iter()
        .flat_map(|labels| labels.iter().map(|(name, _)| name))
        .collect();
    let names = names.into_iter().map(Value::from).collect();
    told(call, names, &List::Names, &["query"])
}

pub(super) fn values(call: &Call) -> Result<Value, Fault> {
    let streams = streams(call, &["query"])?;
    let values: BTreeSet<&str> = streams
        .iter()
        .map(|labels| labels.get(&call.name))
        .filter(|value| !value.is_empty())
        .collect();
    let values = values.into_iter().map(Value::from).collect();
    told(call, values, &List::Values(&call.name), &["query"])
}

pub(super) fn series(call: &Call) -> Result<Value, Fault> {
    let names = &["match[]", "match"];
    let streams = streams(call, names)?;
    let all = streams.iter().map(reply::labels).collect();
    told(call, all, &List::Series, names)
}
