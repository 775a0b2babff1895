//! `count_values`: the values become labels.

use indexmap::IndexMap;

use super::super::row::Row;
use super::super::window::Steps;
use super::super::{Eval, EvalError, stream};
use super::group_by;
use crate::promql::ast::{Aggregate, Node};
use crate::promql::hash::Texts;
use crate::promql::labels::Labels;
use crate::promql::series::Series;
use crate::promql::text::{format_number, is_label_name, quote};

/// Labels that are made of values take about as much as so many samples.
const LABELS_WEIGHT: usize = 8;

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
    let mut groups: IndexMap<Labels, Row<u32>, Texts> = IndexMap::default();
    let mut hold = eval.hold(0)?;
    for one in stream::stream(eval, &aggregate.expr, steps)? {
        let one = one?;
        let mut group = |text: &str| {
            let labels = one.labels.with(label, text);
            let key = group_by(&labels, &grouping, aggregate.without);
            if let Some(at) = groups.get_index_of(&key) {
                return Ok(at);
            }
            eval.hold_more(&mut hold, LABELS_WEIGHT)?;
            Ok(groups.insert_full(key, Row::default()).0)
        };
        // What has not changed need not be written again.
        let mut last: Option<(u64, usize)> = None;
        let mut counted = Vec::with_capacity(one.floats.len() + one.histograms.len());
        for (time, value) in one.floats.iter() {
            let at = match last {
                Some((bits, at)) if bits == value.to_bits() => at,
                _ => group(&format_number(value))?,
            };
            last = Some((value.to_bits(), at));
            counted.push((steps.index(time), at));
        }
        for (time, histogram) in &one.histograms {
            counted.push((steps.index(*time), group(&histogram.to_string())?));
        }
        for (step, at) in counted {
            let row = &mut groups[at];
            row.cover((step, step), 1, (eval, &mut hold))?;
            let (first, cells) = row.cells();
            cells[step - first] += 1;
        }
    }
    let series = groups.into_iter().map(|(labels, row)| {
        let mut out = Series::new(labels);
        for (time, count) in row.into_times(steps) {
            if count > 0 {
                out.floats.push(time, f64::from(count));
            }
        }
        out
    });
    Ok(series.collect())
}
