//! `count_values`: the values become labels.

use indexmap::IndexMap;

use super::super::window::Steps;
use super::super::{Eval, EvalError, stream};
use super::group_by;
use crate::promql::ast::{Aggregate, Node};
use crate::promql::labels::Labels;
use crate::promql::series::Series;
use crate::promql::text::{format_number, is_label_name, quote};

pub(super) fn count_values(
    eval: &Eval<'_>,
    aggregate: &Aggregate,
    steps: Steps,
) -> Result<Vec<Series>, EvalError> {
    let param = aggregate
        .param
        .as_ref()
        .map(|param| &param.unwrapped().node);
    let Some(Node::String(label)) = param else {
        return EvalError::query("count_values needs a label name");
    };
    if !is_label_name(label) {
        return EvalError::query(format!("invalid label name {}", quote(label)));
    }
    let mut grouping = aggregate.grouping.clone();
    if !aggregate.without {
        grouping.push(label.clone());
    }
    let mut groups: IndexMap<Labels, Vec<u32>> = IndexMap::new();
    let mut holds = Vec::new();
    for one in stream::stream(eval, &aggregate.expr, steps)? {
        let one = one?;
        let floats = one
            .floats
            .iter()
            .map(|(time, value)| (time, format_number(value)));
        let histograms = one
            .histograms
            .iter()
            .map(|(time, h)| (*time, h.to_string()));
        for (time, text) in floats.chain(histograms) {
            let labels = one.labels.with(label, &text);
            let key = group_by(&labels, &grouping, aggregate.without);
            if !groups.contains_key(&key) {
                holds.push(eval.hold(steps.count())?);
            }
            let counts = groups.entry(key).or_insert_with(|| vec![0; steps.count()]);
            counts[steps.index(time)] += 1;
        }
    }
    let series = groups.into_iter().map(|(labels, counts)| {
        let mut out = Series::new(labels);
        for (time, count) in steps.times().zip(counts) {
            if count > 0 {
                out.floats.push(time, f64::from(count));
            }
        }
        out
    });
    Ok(series.collect())
}
