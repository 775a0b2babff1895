//! `and`, `or`, `unless`: which series are there, not what they measure.

use std::collections::HashMap;

use super::super::budget::Hold;
use super::super::row::{self, Row};
use super::super::window::Steps;
use super::super::{Eval, EvalError, Stream, stream};
use crate::promql::ast::{Binary, BinaryOp, Matching};
use crate::promql::labels::Labels;
use crate::promql::series::{Samples, Series};

/// At which steps a group of matching series has a sample.
struct Presence<'e, 'a> {
    eval: &'e Eval<'a>,
    steps: Steps,
    groups: HashMap<Labels, Row<bool>>,
    hold: Hold<'e, 'a>,
}

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
            let left = eval.collect(lhs)?;
            let mut there = Presence::new(eval, steps)?;
            for one in &left.series {
                there.note(key(one), one)?;
            }
            let mut more = Vec::new();
            let mut hold = eval.hold(0)?;
            for one in rhs {
                let one = one?;
                let row = there.groups.get(&key(&one));
                let one = kept(one, steps, |step| !has(row, step));
                eval.hold_more(&mut hold, one.as_ref().map_or(0, Series::weight))?;
                more.extend(one);
            }
            let mut out = left.into_inner();
            out.extend(more);
            let out = if steps.count() > 1 {
                super::super::merge::same_labels(out)?
            } else {
                out
            };
            Ok(Box::new(out.into_iter().map(Ok)))
        }
        op => {
            let mut there = Presence::new(eval, steps)?;
            for one in rhs {
                let one = one?;
                there.note(key(&one), &one)?;
            }
            let wanted = op == BinaryOp::And;
            let (on, labels) = (matching.on, matching.labels.clone());
            Ok(Box::new(lhs.filter_map(move |one| {
                let one = match one {
                    Ok(one) => one,
                    error => return Some(error),
                };
                let row = there.groups.get(&one.labels.matching(on, &labels));
                kept(one, steps, |step| has(row, step) == wanted).map(Ok)
            })))
        }
    }
}

impl<'e, 'a> Presence<'e, 'a> {
    fn new(eval: &'e Eval<'a>, steps: Steps) -> Result<Self, EvalError> {
        Ok(Self {
            eval,
            steps,
            groups: HashMap::new(),
            hold: eval.hold(0)?,
        })
    }

    fn note(&mut self, group: Labels, one: &Series) -> Result<(), EvalError> {
        let row = self.groups.entry(group).or_default();
        if let Some(range) = row::range(self.steps, one) {
            row.cover(range, 1, (self.eval, &mut self.hold))?;
        }
        let floats = one.floats.times.iter();
        for time in floats.chain(one.histograms.iter().map(|(time, _)| time)) {
            if let Some(there) = row.get_mut(self.steps.index(*time)) {
                *there = true;
            }
        }
        Ok(())
    }
}

fn has(row: Option<&Row<bool>>, step: usize) -> bool {
    row.and_then(|row| row.get(step))
        .is_some_and(|there| *there)
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
