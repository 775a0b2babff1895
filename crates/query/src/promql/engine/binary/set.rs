//! `and`, `or`, `unless`: which series are there, not what they measure.

use std::collections::HashMap;

use super::super::window::Steps;
use super::super::{Eval, EvalError, Stream, stream};
use crate::promql::ast::{Binary, BinaryOp, Matching};
use crate::promql::labels::Labels;
use crate::promql::series::{Samples, Series};

/// At which steps a group of matching series has a sample.
type Presence = HashMap<Labels, Vec<bool>>;

pub(super) fn set<'e>(
    eval: &'e Eval<'_>,
    binary: &'e Binary,
    steps: Steps,
) -> Result<Stream<'e>, EvalError> {
    let default = Matching::default();
    let matching = binary.matching.as_ref().unwrap_or(&default);
    let key = |series: &Series| series.labels.matching(matching.on, &matching.labels);
    let lhs = stream::stream(eval, &binary.lhs, steps)?;
    let rhs = stream::stream(eval, &binary.rhs, steps)?;
    match binary.op {
        BinaryOp::Or => {
            let left = eval.collect(lhs)?.into_inner();
            let there = presence(left.iter(), key, steps);
            let mut out = left;
            for one in rhs {
                let one = one?;
                let there = there.get(&key(&one));
                out.extend(kept(one, steps, |step| {
                    there.is_none_or(|there| !there[step])
                }));
            }
            let out = if steps.count() > 1 {
                super::super::merge::same_labels(out)?
            } else {
                out
            };
            Ok(Box::new(out.into_iter().map(Ok)))
        }
        op => {
            let mut there = Presence::new();
            for one in rhs {
                note(&mut there, &one?, key, steps);
            }
            let wanted = op == BinaryOp::And;
            let (on, labels) = (matching.on, matching.labels.clone());
            Ok(Box::new(lhs.filter_map(move |one| {
                let one = match one {
                    Ok(one) => one,
                    error => return Some(error),
                };
                let there = there.get(&one.labels.matching(on, &labels));
                let kept = kept(one, steps, |step| {
                    there.is_some_and(|there| there[step]) == wanted
                });
                kept.map(Ok)
            })))
        }
    }
}

fn presence<'s>(
    series: impl Iterator<Item = &'s Series>,
    key: impl Fn(&Series) -> Labels,
    steps: Steps,
) -> Presence {
    let mut out = Presence::new();
    for one in series {
        note(&mut out, one, &key, steps);
    }
    out
}

fn note(out: &mut Presence, one: &Series, key: impl Fn(&Series) -> Labels, steps: Steps) {
    let there = out
        .entry(key(one))
        .or_insert_with(|| vec![false; steps.count()]);
    let times = one
        .floats
        .times
        .iter()
        .chain(one.histograms.iter().map(|(time, _)| time));
    for time in times {
        there[steps.index(*time)] = true;
    }
}

/// The series with the samples of the steps that pass, if there is one.
fn kept(mut one: Series, steps: Steps, pass: impl Fn(usize) -> bool) -> Option<Series> {
    let samples = one
        .floats
        .iter()
        .filter(|(time, _)| pass(steps.index(*time)));
    let (times, values) = samples.unzip();
    one.floats = Samples { times, values };
    one.histograms.retain(|(time, _)| pass(steps.index(*time)));
    (!one.is_empty()).then_some(one)
}
