//! `info`: labels of info series, such as `target_info`, joined to other series.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::super::select::{Lookup, pull, sample_times};
use super::super::window::Steps;
use super::super::{Eval, EvalError, Hints, Stream, merge, stream};
use crate::promql::ast::{At, Expr, Node, Shift};
use crate::promql::labels::{Labels, NAME};
use crate::promql::matcher::{MatchOp, Matcher};
use crate::promql::series::{Series, Value};

/// The labels that say which info series belongs to a series.
const IDENTITY: [&str; 2] = ["instance", "job"];

/// Joins of `info` for one evaluation.
struct Join<'e> {
    /// Conditions on the labels to be joined; without any, all labels are joined.
    data: BTreeMap<&'e str, Vec<&'e Matcher>>,
    /// Info series by their identity and name, each with the times of its samples.
    infos: Vec<Series>,
    names: BTreeSet<String>,
    /// By name and identity, the info series that may hold.
    by_identity: HashMap<(String, Labels), Vec<usize>>,
}

pub(super) fn info<'e>(
    eval: &'e Eval<'_>,
    args: &'e [Expr],
    steps: Steps,
) -> Result<Stream<'e>, EvalError> {
    let base = eval.collect(stream::stream(eval, &args[0], steps)?)?;
    let matchers: &[Matcher] = match args.get(1).map(|arg| &arg.unwrapped().node) {
        Some(Node::Vector(selector)) => &selector.matchers,
        _ => &[],
    };
    let default = [Matcher::equal(NAME, "target_info")];
    let names: Vec<&Matcher> = matchers.iter().filter(|m| m.name == NAME).collect();
    let names = if args.len() == 1 {
        default.iter().collect()
    } else {
        names
    };
    let is_info = |one: &Series| names.iter().any(|m| m.matches(one.labels.get(NAME)));
    let mut data: BTreeMap<&str, Vec<&Matcher>> = BTreeMap::new();
    for matcher in matchers.iter().filter(|m| m.name != NAME) {
        data.entry(&matcher.name).or_default().push(matcher);
    }
    let infos = fetch(eval, &args[0], &base.series, is_info, matchers, steps)?;
    let mut join = Join {
        data,
        names: infos
            .iter()
            .map(|one| one.labels.get(NAME).to_owned())
            .collect(),
        infos,
        by_identity: HashMap::new(),
    };
    for (at, one) in join.infos.iter().enumerate() {
        let key = (one.labels.get(NAME).to_owned(), identity(&one.labels));
        join.by_identity.entry(key).or_default().push(at);
    }
    let mut out: Vec<Series> = Vec::new();
    for one in base.into_inner() {
        if is_info(&one) {
            // Upstream forgets here that a name was to go, for both kinds of series.
            out.push(Series {
                drop_name: false,
                ..one
            });
        } else {
            join.enrich(&one, &mut out)?;
        }
    }
    out.retain(|one| !one.is_empty());
    let out = merge::same_labels(out)?;
    Ok(Box::new(out.into_iter().map(Ok)))
}

fn identity(labels: &Labels) -> Labels {
    labels.filtered(|name| IDENTITY.contains(&name))
}

/// The modifiers of the first selector in an expression: info series are looked up likewise.
fn first_shift(expr: &Expr) -> Option<&Shift> {
    match &expr.node {
        Node::Vector(selector) => Some(&selector.shift),
        Node::Matrix(matrix) => Some(&matrix.selector.shift),
        Node::Subquery(sub) => first_shift(&sub.expr),
        Node::Call(_, args) => args.iter().find_map(first_shift),
        Node::Aggregate(aggregate) => {
            let param = aggregate.param.as_ref().and_then(first_shift);
            first_shift(&aggregate.expr).or(param)
        }
        Node::Binary(binary) => first_shift(&binary.lhs).or_else(|| first_shift(&binary.rhs)),
        Node::Unary(_, inner) | Node::Paren(inner) => first_shift(inner),
        Node::Number(_) | Node::String(_) | Node::Duration(_) => None,
    }
}

/// The info series that belong to any of `base`; their values are the times of their samples.
fn fetch(
    eval: &Eval<'_>,
    expr: &Expr,
    base: &[Series],
    is_info: impl Fn(&Series) -> bool,
    matchers: &[Matcher],
    steps: Steps,
) -> Result<Vec<Series>, EvalError> {
    let mut values: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for one in base.iter().filter(|one| !is_info(one)) {
        for label in IDENTITY {
            let value = one.labels.get(label);
            if !value.is_empty() {
                values.entry(label).or_default().insert(value);
            }
        }
    }
    if values.is_empty() {
        return Ok(Vec::new());
    }
    let mut wanted: Vec<Matcher> = matchers.to_vec();
    if !matchers.iter().any(|m| m.name == NAME) {
        wanted.push(Matcher::equal(NAME, "target_info"));
    }
    for (label, values) in values {
        let pattern: Vec<String> = values.iter().map(|value| regex::escape(value)).collect();
        let matcher = Matcher::new(label, MatchOp::Regex, pattern.join("|"));
        wanted.push(matcher.map_err(EvalError::Query)?);
    }
    let shift = first_shift(expr);
    let lookback = eval.settings.lookback_ms;
    let offset = shift.map_or(0, |shift| shift.offset_ns / 1_000_000);
    let (first, last) = match shift.and_then(|shift| shift.at) {
        Some(At::Time(time)) => (time, time),
        _ => (steps.start, steps.end),
    };
    let hints = Hints {
        start: first - lookback + 1 - offset,
        end: last - offset,
        step: steps.step,
        range: 0,
        function: "info",
    };
    let selector = crate::promql::ast::VectorSelector {
        name: String::new(),
        matchers: wanted,
        shift: Shift::default(),
        edges: crate::promql::ast::Edges::Plain,
        allow_empty: true,
        counts_only: false,
    };
    let lookup = Lookup::new(&Shift::default(), steps);
    let mut out = Vec::new();
    for one in pull(eval, &selector, hints)? {
        let mut one = one?;
        if !one.histograms.is_empty() {
            let labels = &one.labels;
            return EvalError::query(format!(
                "this should be an info metric, with float samples: {labels}"
            ));
        }
        one.floats = sample_times(&one, lookback, lookup, steps);
        if !one.is_empty() {
            out.push(one);
        }
    }
    Ok(out)
}

impl Join<'_> {
    /// Adds the series under the labels it has at each step.
    fn enrich(&self, one: &Series, out: &mut Vec<Series>) -> Result<(), EvalError> {
        let identity = identity(&one.labels);
        let candidates: Vec<&[usize]> = self
            .names
            .iter()
            .filter_map(|name| self.by_identity.get(&(name.clone(), identity.clone())))
            .map(Vec::as_slice)
            .collect();
        let floats = one
            .floats
            .iter()
            .map(|(time, value)| (time, Value::Float(value)));
        let histograms = one.histograms.iter();
        let histograms =
            histograms.map(|(time, h)| (*time, Value::Histogram(std::sync::Arc::clone(h))));
        let mut known: Vec<(Vec<usize>, usize)> = Vec::new();
        for (time, value) in floats.chain(histograms) {
            let mut found = Vec::new();
            for candidates in &candidates {
                found.extend(self.newest(candidates, time)?);
            }
            let slot = match known.iter().find(|(infos, _)| *infos == found) {
                Some((_, slot)) => *slot,
                None => {
                    let Some(labels) = self.labels(&one.labels, &found)? else {
                        continue;
                    };
                    out.push(Series::new(labels));
                    known.push((found, out.len() - 1));
                    out.len() - 1
                }
            };
            out[slot].push(time, value);
        }
        Ok(())
    }

    /// Of the info series with one identity, the one with the newest sample.
    fn newest(&self, candidates: &[usize], time: i64) -> Result<Option<usize>, EvalError> {
        let mut best: Option<(usize, f64)> = None;
        for at in candidates {
            let samples = &self.infos[*at].floats;
            let Ok(index) = samples.times.binary_search(&time) else {
                continue;
            };
            let sampled = samples.values[index];
            match best {
                Some((_, newer)) if newer > sampled => {}
                Some((other, same)) if same == sampled => {
                    let ms = (sampled * 1000.0).round() as i64;
                    return EvalError::query(format!(
                        "found duplicate series for info metric: existing {} @ {ms}, new {} @ {ms}",
                        self.infos[other].labels, self.infos[*at].labels
                    ));
                }
                _ => best = Some((*at, sampled)),
            }
        }
        Ok(best.map(|(at, _)| at))
    }

    /// The labels of a series with those of its info series; none if it is to be left out.
    fn labels(&self, base: &Labels, infos: &[usize]) -> Result<Option<Labels>, EvalError> {
        if infos.is_empty() {
            let needed = self
                .data
                .values()
                .flatten()
                .any(|matcher| !matcher.matches(""));
            return Ok((!needed).then(|| base.clone()));
        }
        let mut joined = Labels::default();
        for at in infos {
            for (name, value) in self.infos[*at].labels.iter() {
                if name == NAME || (!self.data.is_empty() && !self.data.contains_key(name)) {
                    continue;
                }
                let other = joined.get(name);
                if !other.is_empty() && other != value {
                    return EvalError::query(format!("conflicting label: {name}"));
                }
                if base.get(name).is_empty() {
                    joined = joined.with(name, value);
                }
            }
        }
        let mut labels = base.clone();
        for (name, value) in joined.iter() {
            labels = labels.with(name, value);
        }
        Ok(Some(labels))
    }
}
