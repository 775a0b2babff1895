//! `topk`, `bottomk`, `limitk`, `limit_ratio`: some of the series, as they are.

use std::sync::Arc;

use indexmap::IndexMap;

use super::super::row::{Row, range};
use super::super::window::Steps;
use super::super::{Eval, EvalError, merge, stream};
use super::{extremes, group_of, params};
use crate::promql::annotation;
use crate::promql::ast::{Aggregate, AggregateOp, Expr};
use crate::promql::hash::Texts;
use crate::promql::labels::Labels;
use crate::promql::series::{Series, Value};
use crate::promql::text::format_general;

/// A sample that may be chosen, by the place of its series.
struct Candidate {
    series: usize,
    value: Value,
}

/// The candidates of a group at one step.
type Chosen = Vec<Candidate>;

pub(super) fn ranked(
    eval: &Eval<'_>,
    expr: &Expr,
    aggregate: &Aggregate,
    steps: Steps,
) -> Result<Vec<Series>, EvalError> {
    let params = params(eval, aggregate, steps)?;
    let Some(limits) = limits(eval, aggregate, &params)? else {
        return Ok(Vec::new());
    };
    let mut groups: IndexMap<Labels, Row<Chosen>, Texts> = IndexMap::default();
    let mut known: Vec<Series> = Vec::new();
    let mut hold = eval.hold(0)?;
    for one in stream::stream(eval, &aggregate.expr, steps)? {
        let one = one?;
        let key = group_of(aggregate, &one.labels);
        let row: &mut Row<Chosen> = groups.entry(key).or_default();
        if let Some(covered) = range(steps, &one) {
            row.cover(covered, 1, (eval, &mut hold))?;
        }
        let (first, chosen) = row.cells();
        let offset = match aggregate.op {
            AggregateOp::LimitRatio => one.labels.upstream_hash() as f64 / u64::MAX as f64,
            _ => 0.0,
        };
        let series = known.len();
        let mut kept = 1;
        let mut put = |time: i64, value: Value| {
            let step = steps.index(time);
            let place = &mut chosen[step - first];
            let added = limits.offer(aggregate.op, step, offset, place, series, value);
            match added {
                Offer::Kept => kept += 1,
                Offer::Ignored => {
                    let name = aggregate.op.text();
                    eval.annotate(annotation::ignored_in_aggregation(name, expr.span));
                }
                Offer::Refused => {}
            }
        };
        for (time, value) in one.floats.iter() {
            put(time, Value::Float(value));
        }
        for (time, histogram) in &one.histograms {
            put(*time, Value::Histogram(Arc::clone(histogram)));
        }
        eval.hold_more(&mut hold, kept)?;
        known.push(Series {
            drop_name: one.drop_name,
            ..Series::new(one.labels)
        });
    }
    if steps.count() == 1 {
        return Ok(in_rank(aggregate.op, groups, &known, steps));
    }
    for (_, row) in groups {
        for (time, chosen) in row.into_times(steps) {
            for candidate in chosen {
                known[candidate.series].push(time, candidate.value);
            }
        }
    }
    known.retain(|series| !series.is_empty());
    merge::same_labels(known)
}

/// At a single step the order is part of the result.
fn in_rank(
    op: AggregateOp,
    groups: IndexMap<Labels, Row<Chosen>, Texts>,
    known: &[Series],
    steps: Steps,
) -> Vec<Series> {
    let mut out = Vec::new();
    for (_, row) in groups {
        let chosen = row.into_times(steps).flat_map(|(_, chosen)| chosen);
        let mut chosen: Chosen = chosen.collect();
        if matches!(op, AggregateOp::Topk | AggregateOp::Bottomk) {
            chosen.sort_by(|a, b| {
                if worse(op, number(&b.value), number(&a.value)) {
                    std::cmp::Ordering::Less
                } else if worse(op, number(&a.value), number(&b.value)) {
                    std::cmp::Ordering::Greater
                } else {
                    std::cmp::Ordering::Equal
                }
            });
        }
        for candidate in chosen {
            let mut series = known[candidate.series].clone();
            series.push(steps.start, candidate.value);
            out.push(series);
        }
    }
    out
}

fn number(value: &Value) -> f64 {
    match value {
        Value::Float(value) => *value,
        Value::Histogram(_) => 0.0,
    }
}

/// Whether `a` leaves before `b`; what is no number leaves first.
fn worse(op: AggregateOp, a: f64, b: f64) -> bool {
    if a.is_nan() {
        return !b.is_nan();
    }
    match op {
        AggregateOp::Bottomk => a > b,
        _ => a < b,
    }
}

enum Offer {
    Kept,
    Refused,
    Ignored,
}

/// How many, or which share, of the series each step takes.
struct Limits(Vec<f64>);

impl Limits {
    fn offer(
        &self,
        op: AggregateOp,
        step: usize,
        offset: f64,
        chosen: &mut Chosen,
        series: usize,
        value: Value,
    ) -> Offer {
        let limit = self.0[step];
        let candidate = Candidate { series, value };
        if op == AggregateOp::LimitRatio {
            let ratio = limit.clamp(-1.0, 1.0);
            let inside = if ratio >= 0.0 {
                offset < ratio
            } else {
                offset >= 1.0 + ratio
            };
            if limit != 0.0 && inside {
                chosen.push(candidate);
                return Offer::Kept;
            }
            return Offer::Refused;
        }
        let limit = limit as i64;
        if limit < 1 {
            return Offer::Refused;
        }
        let room = (chosen.len() as i64) < limit;
        if op == AggregateOp::Limitk {
            if room {
                chosen.push(candidate);
                return Offer::Kept;
            }
            return Offer::Refused;
        }
        let Value::Float(new) = candidate.value else {
            return Offer::Ignored;
        };
        if room {
            chosen.push(candidate);
            let last = chosen.len() - 1;
            sift_up(op, chosen, last);
            return Offer::Kept;
        }
        let weakest = number(&chosen[0].value);
        let beats = if op == AggregateOp::Topk {
            weakest < new
        } else {
            weakest > new
        };
        if beats || (weakest.is_nan() && !new.is_nan()) {
            chosen[0] = candidate;
            sift_down(op, chosen);
        }
        Offer::Refused
    }
}

/// The order of a heap as upstream keeps it, since it decides between equal values.
fn before(op: AggregateOp, a: &Candidate, b: &Candidate) -> bool {
    let (a, b) = (number(&a.value), number(&b.value));
    a.is_nan()
        || if op == AggregateOp::Bottomk {
            a > b
        } else {
            a < b
        }
}

fn sift_up(op: AggregateOp, heap: &mut Chosen, mut at: usize) {
    while at > 0 {
        let parent = (at - 1) / 2;
        if !before(op, &heap[at], &heap[parent]) {
            break;
        }
        heap.swap(at, parent);
        at = parent;
    }
}

fn sift_down(op: AggregateOp, heap: &mut Chosen) {
    let mut at = 0;
    loop {
        let left = 2 * at + 1;
        if left >= heap.len() {
            break;
        }
        let right = left + 1;
        let child = if right < heap.len() && before(op, &heap[right], &heap[left]) {
            right
        } else {
            left
        };
        if !before(op, &heap[child], &heap[at]) {
            break;
        }
        heap.swap(at, child);
        at = child;
    }
}

/// The limits of the steps; none if no step takes anything.
fn limits(
    eval: &Eval<'_>,
    aggregate: &Aggregate,
    params: &[f64],
) -> Result<Option<Limits>, EvalError> {
    let (min, max, nan) = extremes(params);
    if aggregate.op == AggregateOp::LimitRatio {
        if max == 0.0 && min == 0.0 {
            return Ok(None);
        }
        if nan {
            return EvalError::query("Ratio value is NaN");
        }
        let span = aggregate
            .param
            .as_ref()
            .map_or(aggregate.expr.span, |param| param.span);
        if max > 1.0 {
            eval.annotate(annotation::invalid_ratio(max, 1.0, span));
        }
        if min < -1.0 {
            eval.annotate(annotation::invalid_ratio(min, -1.0, span));
        }
        return Ok(Some(Limits(params.to_vec())));
    }
    if max < 1.0 {
        return Ok(None);
    }
    if nan {
        return EvalError::query("Parameter value is NaN");
    }
    if min <= i64::MIN as f64 {
        let shown = format_general(min);
        return EvalError::query(format!("Scalar value {shown} underflows int64"));
    }
    if max >= i64::MAX as f64 {
        let shown = format_general(max);
        return EvalError::query(format!("Scalar value {shown} overflows int64"));
    }
    Ok(Some(Limits(params.to_vec())))
}
