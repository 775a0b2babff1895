//! Arithmetic and comparisons between two vectors.
//!
//! The side that may have only one series per match group becomes one table per group: which
//! series has a value at which step. The other side then passes by, series after series.

use std::collections::HashMap;
use std::sync::Arc;

use indexmap::IndexMap;

use super::super::window::Steps;
use super::super::{Eval, EvalError, Stream, merge, stream};
use super::element::{Operation, Outcome, changes_meaning, in_order};
use crate::promql::ast::{Binary, Card, Expr, Matching};
use crate::promql::hash::Texts;
use crate::promql::labels::Labels;
use crate::promql::series::{Series, Value};

/// One side's values of a match group, step by step.
struct Group {
    /// Which series, by its place on its side.
    series: Vec<Option<u32>>,
    values: Vec<Option<Value>>,
    /// Whether a partner was found.
    matched: Vec<bool>,
    /// At which steps a result of these labels was given, to find those given twice.
    results: IndexMap<Labels, Vec<bool>, Texts>,
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
    let one = eval.collect(stream::stream(eval, one, steps)?)?;
    let many = stream::stream(eval, many, steps)?;
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
        one: &one.series,
        groups: HashMap::default(),
        duplicates: Vec::new(),
        busy: vec![false; steps.count()],
        out: Vec::new(),
    };
    join.build();
    for series in many {
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
    /// The side with one series per group.
    one: &'j [Series],
    groups: HashMap<Labels, Group, Texts>,
    /// Steps at which a group has two series, and which.
    duplicates: Vec<(usize, u32, u32)>,
    /// At which steps the other side has any series at all.
    busy: Vec<bool>,
    out: Vec<Series>,
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

    fn empty_group(steps: usize) -> Group {
        Group {
            series: vec![None; steps],
            values: vec![None; steps],
            matched: vec![false; steps],
            results: IndexMap::default(),
        }
    }

    fn build(&mut self) {
        let steps = self.steps.count();
        for (at, series) in self.one.iter().enumerate() {
            let key = self.key(&series.labels);
            let group = self
                .groups
                .entry(key.clone())
                .or_insert_with(|| Self::empty_group(steps));
            for (time, value) in values(series) {
                let step = self.steps.index(time);
                if let Some(other) = group.series[step] {
                    self.duplicates.push((step, at as u32, other));
                    continue;
                }
                group.series[step] = Some(at as u32);
                group.values[step] = Some(value);
            }
        }
    }

    /// Several series of the "one" side in a group are an error, at the steps at which there is
    /// anything to be matched.
    fn refuse_duplicates(&self) -> Result<(), EvalError> {
        let fills = self.matching.fill_left.is_some() || self.matching.fill_right.is_some();
        let mut duplicates = self.duplicates.iter();
        let Some((_, at, other)) = duplicates.find(|(step, ..)| fills || self.busy[*step]) else {
            return Ok(());
        };
        let side = if self.swapped { "left" } else { "right" };
        let (series, other) = (
            &self.one[*at as usize].labels,
            &self.one[*other as usize].labels,
        );
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
        let steps = self.steps.count();
        let fill = self.fill_of_one();
        for (time, _) in values(&series) {
            self.busy[self.steps.index(time)] = true;
        }
        if fill.is_none() && !self.groups.contains_key(&key) {
            return Ok(());
        }
        let mut group = self
            .groups
            .remove(&key)
            .unwrap_or_else(|| Self::empty_group(steps));
        // Results by the series of the other side, which changes labels with `group_left`.
        let mut outs: Vec<Out> = Vec::new();
        let mut now = 0;
        let passed = values(&series).try_for_each(|(time, value)| {
            let step = self.steps.index(time);
            let (partner, other) = match (group.series[step], &group.values[step], fill) {
                (Some(at), Some(other), _) => (Some(at), other.clone()),
                (_, _, Some(fill)) => (None, Value::Float(fill)),
                _ => return Ok(()),
            };
            if outs.get(now).is_none_or(|out| out.partner != partner) {
                let known = outs.iter().position(|out| out.partner == partner);
                now = known.unwrap_or_else(|| {
                    let other = partner.map_or(&key, |at| &self.one[at as usize].labels);
                    let labels = self.labels(&series.labels, other);
                    outs.push(self.out(&mut group, partner, labels));
                    outs.len() - 1
                });
            }
            self.combine(&mut group, step, time, &value, &other, &mut outs[now])
        });
        self.groups.insert(key, group);
        passed?;
        self.out.extend(outs.into_iter().map(|out| out.series));
        Ok(())
    }

    fn out(&self, group: &mut Group, partner: Option<u32>, labels: Labels) -> Out {
        let series = self.result(labels);
        let mut place = 0;
        if self.matching.card != Card::OneToOne {
            let entry = group.results.entry(series.labels.clone());
            place = entry.index();
            entry.or_insert_with(|| vec![false; self.steps.count()]);
        }
        Out {
            partner,
            series,
            place,
        }
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
        if self.matching.card == Card::OneToOne {
            if group.matched[step] {
                return EvalError::query(
                    "multiple matches for labels: many-to-one matching must be explicit \
                     (group_left/group_right)",
                );
            }
        } else if std::mem::replace(&mut group.results[out.place][step], true) {
            return EvalError::query(
                "multiple matches for labels: grouping labels must ensure unique matches",
            );
        }
        group.matched[step] = true;
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
        for (at, series) in self.one.iter().enumerate() {
            let key = self.key(&series.labels);
            let Some(mut group) = self.groups.remove(&key) else {
                continue;
            };
            let mut out = self.out(&mut group, None, self.labels(&key, &series.labels));
            let combined = values(series).try_for_each(|(time, value)| {
                let step = self.steps.index(time);
                if group.matched[step] || group.series[step] != Some(at as u32) {
                    return Ok(());
                }
                self.combine(&mut group, step, time, &fill, &value, &mut out)
            });
            self.groups.insert(key, group);
            combined?;
            self.out.push(out.series);
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
