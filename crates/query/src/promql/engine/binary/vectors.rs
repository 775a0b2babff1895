//! Arithmetic and comparisons between two vectors.
//!
//! The side that may have only one series per match group becomes one row per group: which series
//! has a value at which step. The other side then passes by, series after series. What is kept of
//! both counts against the limit of samples.

use std::collections::HashMap;
use std::sync::Arc;

use indexmap::IndexMap;

use super::super::budget::Hold;
use super::super::row::{self, Row};
use super::super::window::Steps;
use super::super::{Eval, EvalError, Stream, merge, stream};
use super::element::{Operation, Outcome, changes_meaning, in_order};
use crate::promql::ast::{Binary, Card, Expr, Matching};
use crate::promql::hash::Texts;
use crate::promql::labels::Labels;
use crate::promql::series::{Series, Value};

/// A match group at one step.
#[derive(Default)]
struct Slot {
    /// The value of the side with one series per group, and the place of the series on its side.
    one: Option<(u32, Value)>,
    /// Whether a partner was found.
    matched: bool,
}

/// A slot takes as much as so many samples.
const SLOT_WEIGHT: usize = 2;
const _: () = assert!(size_of::<Slot>() <= SLOT_WEIGHT * 16);

/// A match group.
#[derive(Default)]
struct Group {
    slots: Row<Slot>,
    /// At which steps a result of these labels was given, to find those given twice.
    results: IndexMap<Labels, Row<bool>, Texts>,
}

/// A result in the making.
struct Out {
    /// Which series of the side with one per group it is made with.
    partner: Option<u32>,
    series: Series,
    /// Where its labels are among the results of the group.
    place: usize,
}

pub(super) fn vectors<'e>(
    eval: &'e Eval<'_>,
    expr: &'e Expr,
    binary: &'e Binary,
    steps: Steps,
) -> Result<Stream<'e>, EvalError> {
    let default = Matching::default();
    let matching = binary.matching.as_ref().unwrap_or(&default);
    let swapped = matching.card == Card::OneToMany;
    let (many, one) = if swapped {
        (&binary.rhs, &binary.lhs)
    } else {
        (&binary.lhs, &binary.rhs)
    };
    let operation = Operation {
        eval,
        op: binary.op,
        span: expr.span,
    };
    let mut join = Join {
        operation,
        binary,
        matching,
        swapped,
        steps,
        ones: Vec::new(),
        groups: HashMap::default(),
        duplicates: vec![None; steps.count()],
        busy: vec![false; steps.count()],
        out: Vec::new(),
        hold: eval.hold(0)?,
    };
    for series in stream::stream(eval, one, steps)? {
        join.note(series?)?;
    }
    for series in stream::stream(eval, many, steps)? {
        join.pass(series?)?;
    }
    join.refuse_duplicates()?;
    join.fill_many()?;
    let mut out = join.out;
    out.iter_mut().for_each(in_order);
    out.retain(|series| !series.is_empty());
    // At a single step upstream lets equal label sets pass until the names go.
    if steps.count() > 1 || !eval.settings.delayed_name_removal {
        out = merge::same_labels(out)?;
    }
    Ok(Box::new(out.into_iter().map(Ok)))
}

struct Join<'j, 'e, 'a> {
    operation: Operation<'e, 'a>,
    binary: &'j Binary,
    matching: &'j Matching,
    swapped: bool,
    steps: Steps,
    /// The series of the side with one per group.
    ones: Vec<Labels>,
    groups: HashMap<Labels, Group, Texts>,
    /// For each step the first two of them that are in one group.
    duplicates: Vec<Option<(u32, u32)>>,
    /// At which steps the other side has any series at all.
    busy: Vec<bool>,
    out: Vec<Series>,
    /// What groups and results weigh.
    hold: Hold<'e, 'a>,
}

fn values(series: &Series) -> impl Iterator<Item = (i64, Value)> + '_ {
    let floats = series
        .floats
        .iter()
        .map(|(time, value)| (time, Value::Float(value)));
    let histograms = series.histograms.iter();
    floats.chain(histograms.map(|(time, h)| (*time, Value::Histogram(Arc::clone(h)))))
}

impl Join<'_, '_, '_> {
    fn key(&self, labels: &Labels) -> Labels {
        labels.matching(self.matching.on, &self.matching.labels)
    }

    fn hold(&mut self, samples: usize) -> Result<(), EvalError> {
        let eval = self.operation.eval;
        eval.hold_more(&mut self.hold, samples)
    }

    /// Takes a series of the side with one per group.
    fn note(&mut self, series: Series) -> Result<(), EvalError> {
        let (at, steps, eval) = (self.ones.len() as u32, self.steps, self.operation.eval);
        let group = self.groups.entry(self.key(&series.labels)).or_default();
        if let Some(range) = row::range(steps, &series) {
            group
                .slots
                .cover(range, SLOT_WEIGHT, (eval, &mut self.hold))?;
        }
        for (time, value) in values(&series) {
            let step = steps.index(time);
            let Some(slot) = group.slots.get_mut(step) else {
                continue;
            };
            if let Some((other, _)) = slot.one {
                self.duplicates[step].get_or_insert((at, other));
                continue;
            }
            if let Value::Histogram(histogram) = &value {
                eval.hold_more(&mut self.hold, histogram.weight())?;
            }
            slot.one = Some((at, value));
        }
        self.ones.push(series.labels);
        Ok(())
    }

    /// Several series of the "one" side in a group are an error, at the steps at which there is
    /// anything to be matched.
    fn refuse_duplicates(&self) -> Result<(), EvalError> {
        let fills = self.matching.fill_left.is_some() || self.matching.fill_right.is_some();
        let duplicates = self.duplicates.iter().zip(&self.busy);
        let told = duplicates.filter(|(_, busy)| fills || **busy);
        let Some((at, other)) = told
            .filter_map(|(found, _)| *found)
            .min_by_key(|(at, _)| *at)
        else {
            return Ok(());
        };
        let side = if self.swapped { "left" } else { "right" };
        let (series, other) = (&self.ones[at as usize], &self.ones[other as usize]);
        let key = self.key(series);
        EvalError::query(format!(
            "found duplicate series for the match group {key} on the {side} hand-side of the \
             operation: [{series}, {other}];many-to-many matching not allowed: matching labels \
             must be unique on one side"
        ))
    }

    /// The value that stands for a missing series of the "one" side.
    fn fill_of_one(&self) -> Option<f64> {
        // Upstream fills by the side as it is after the swap.
        self.matching.fill_right
    }

    fn pass(&mut self, series: Series) -> Result<(), EvalError> {
        let key = self.key(&series.labels);
        let fill = self.fill_of_one();
        for (time, _) in values(&series) {
            self.busy[self.steps.index(time)] = true;
        }
        let mut group = match self.groups.remove(&key) {
            Some(group) => group,
            None if fill.is_some() => Group::default(),
            None => return Ok(()),
        };
        let Some(range) = row::range(self.steps, &series) else {
            self.groups.insert(key, group);
            return Ok(());
        };
        if fill.is_some() {
            let eval = self.operation.eval;
            group
                .slots
                .cover(range, SLOT_WEIGHT, (eval, &mut self.hold))?;
        }
        // Results by the series of the other side, which changes labels with `group_left`.
        let mut outs: Vec<Out> = Vec::new();
        let mut now = 0;
        for (time, value) in values(&series) {
            let step = self.steps.index(time);
            let one = group.slots.get(step).and_then(|slot| slot.one.as_ref());
            let (partner, other) = match (one, fill) {
                (Some((at, other)), _) => (Some(*at), other.clone()),
                (None, Some(fill)) => (None, Value::Float(fill)),
                (None, None) => continue,
            };
            if outs.get(now).is_none_or(|out| out.partner != partner) {
                let known = outs.iter().position(|out| out.partner == partner);
                now = match known {
                    Some(known) => known,
                    None => {
                        let other = partner.map_or(&key, |at| &self.ones[at as usize]);
                        let labels = self.labels(&series.labels, other);
                        outs.push(self.out(&mut group, partner, labels, range)?);
                        outs.len() - 1
                    }
                };
            }
            self.combine(&mut group, step, time, &value, &other, &mut outs[now])?;
        }
        self.groups.insert(key, group);
        outs.into_iter().try_for_each(|out| self.give(out.series))
    }

    fn give(&mut self, series: Series) -> Result<(), EvalError> {
        self.hold(series.weight())?;
        self.out.push(series);
        Ok(())
    }

    /// A result with these labels, which has samples at steps from one to another, if at all.
    fn out(
        &mut self,
        group: &mut Group,
        partner: Option<u32>,
        labels: Labels,
        (from, to): (usize, usize),
    ) -> Result<Out, EvalError> {
        let series = self.result(labels);
        let mut place = 0;
        if self.matching.card != Card::OneToOne {
            let entry = group.results.entry(series.labels.clone());
            place = entry.index();
            let covered = group.slots.steps();
            let (from, to) = (from.max(covered.start), (to + 1).min(covered.end));
            let row = entry.or_default();
            if from < to {
                let eval = self.operation.eval;
                row.cover((from, to - 1), 1, (eval, &mut self.hold))?;
            }
        }
        Ok(Out {
            partner,
            series,
            place,
        })
    }

    fn result(&self, labels: Labels) -> Series {
        let labels = if self.binary.bool {
            self.operation.eval.renamed(labels)
        } else {
            labels
        };
        Series {
            drop_name: self.binary.bool,
            ..Series::new(labels)
        }
    }

    /// Combines the values of one step into `out`.
    fn combine(
        &self,
        group: &mut Group,
        step: usize,
        time: i64,
        many: &Value,
        one: &Value,
        out: &mut Out,
    ) -> Result<(), EvalError> {
        let outcome = if self.swapped {
            self.operation.apply(one, many)
        } else {
            self.operation.apply(many, one)
        };
        let Outcome::Value { result, keep } = outcome else {
            return Ok(());
        };
        let Some(slot) = group.slots.get_mut(step) else {
            return Ok(());
        };
        if self.matching.card == Card::OneToOne {
            if slot.matched {
                return EvalError::query(
                    "multiple matches for labels: many-to-one matching must be explicit \
                     (group_left/group_right)",
                );
            }
        } else if let Some(given) = group.results[out.place].get_mut(step)
            && std::mem::replace(given, true)
        {
            return EvalError::query(
                "multiple matches for labels: grouping labels must ensure unique matches",
            );
        }
        slot.matched = true;
        if self.binary.bool {
            let keep = f64::from(u8::from(keep));
            out.series.push(time, Value::Float(keep));
        } else if keep {
            out.series.push(time, result);
        }
        Ok(())
    }

    /// Series of the "one" side without a partner, where a value is to be filled in.
    fn fill_many(&mut self) -> Result<(), EvalError> {
        let Some(fill) = self.matching.fill_left else {
            return Ok(());
        };
        let fill = Value::Float(fill);
        for at in 0..self.ones.len() {
            let key = self.key(&self.ones[at]);
            let Some(mut group) = self.groups.remove(&key) else {
                continue;
            };
            let steps = group.slots.steps();
            let labels = self.labels(&key, &self.ones[at]);
            let range = (steps.start, steps.end.saturating_sub(1));
            let mut out = self.out(&mut group, None, labels, range)?;
            for step in steps {
                let slot = group.slots.get(step).filter(|slot| !slot.matched);
                let one = slot.and_then(|slot| slot.one.as_ref());
                let Some((_, value)) = one.filter(|(own, _)| *own == at as u32) else {
                    continue;
                };
                let (time, value) = (self.steps.time(step), value.clone());
                self.combine(&mut group, step, time, &fill, &value, &mut out)?;
            }
            self.groups.insert(key, group);
            self.give(out.series)?;
        }
        Ok(())
    }

    /// The labels of a result.
    fn labels(&self, many: &Labels, one: &Labels) -> Labels {
        let mut labels = many.clone();
        if changes_meaning(self.binary.op) {
            labels = labels.without_metadata();
        }
        let names = &self.matching.labels;
        if self.matching.card == Card::OneToOne {
            let on = self.matching.on;
            labels = labels.filtered(|name| names.iter().any(|n| n == name) == on);
        }
        for name in &self.matching.include {
            labels = labels.with(name, one.get(name));
        }
        labels
    }
}
