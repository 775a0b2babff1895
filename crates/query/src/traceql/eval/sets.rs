//! Sets of spans of one trace.

use super::code::Code;
use super::field::View;
use super::{compare, compute};
use crate::traceql::ast::{Aggregate, Op, Pipeline, Relation, Scalar, SetOp, Spanset, Stage};
use crate::traceql::model::Place;
use crate::traceql::value::{Key, Value};
use std::collections::{BTreeMap, HashMap, HashSet};

/// Sets that one trace may be divided into.
const SETS_MAX: usize = 1000;

/// Spans of a trace by their index, in order, and what was computed of them.
#[derive(Clone, Debug, Default, PartialEq)]
pub(in crate::traceql) struct Set {
    pub(in crate::traceql) spans: Vec<u32>,
    pub(in crate::traceql) values: Vec<(String, Value)>,
}

/// A pipeline made ready.
pub(in crate::traceql) struct Program(Vec<Instruction>);

enum Instruction {
    Sets(Sets),
    Filter(Op, Number, Number),
    By(Code, String),
    Coalesce,
}

enum Sets {
    All,
    Filter(Code),
    Binary(SetOp, Box<Sets>, Box<Sets>),
    Program(Program),
}

enum Number {
    Constant(Value),
    Aggregate(Aggregate, Option<Code>, String),
    Compute(Op, Box<Number>, Box<Number>),
}

impl Program {
    pub(in crate::traceql) fn of(pipeline: &Pipeline) -> Self {
        let stages = pipeline.stages.iter();
        Self(stages.filter_map(instruction).collect())
    }

    /// The sets of a trace that are left at the end, none of them empty.
    pub(in crate::traceql) fn run(&self, view: &View<'_>) -> Vec<Set> {
        let spans = (0..view.trace.spans.len() as u32).collect();
        self.run_on(view, spans)
    }

    fn run_on(&self, view: &View<'_>, spans: Vec<u32>) -> Vec<Set> {
        let mut sets = vec![Set {
            spans,
            values: Vec::new(),
        }];
        for instruction in &self.0 {
            sets = instruction.apply(view, sets);
            if sets.is_empty() {
                break;
            }
        }
        sets
    }
}

fn instruction(stage: &Stage) -> Option<Instruction> {
    Some(match stage {
        Stage::Spanset(set) => Instruction::Sets(sets(set)),
        Stage::Filter(op, lhs, rhs) => Instruction::Filter(*op, number(lhs), number(rhs)),
        Stage::By(by) => Instruction::By(Code::of(by), format!("by({by})")),
        Stage::Coalesce => Instruction::Coalesce,
        // Only the answer looks different.
        Stage::Select(_) => return None,
    })
}

fn sets(set: &Spanset) -> Sets {
    match set {
        Spanset::Filter(None) => Sets::All,
        Spanset::Filter(Some(filter)) => Sets::Filter(Code::of(filter)),
        Spanset::Binary(op, lhs, rhs) => {
            Sets::Binary(*op, Box::new(sets(lhs)), Box::new(sets(rhs)))
        }
        Spanset::Pipeline(pipeline) => Sets::Program(Program::of(pipeline)),
    }
}

fn number(scalar: &Scalar) -> Number {
    match scalar {
        Scalar::Literal(value) => Number::Constant(value.clone()),
        Scalar::Aggregate(function, of) => {
            Number::Aggregate(*function, of.as_ref().map(Code::of), scalar.to_string())
        }
        Scalar::Binary(op, lhs, rhs) => {
            Number::Compute(*op, Box::new(number(lhs)), Box::new(number(rhs)))
        }
    }
}

impl Instruction {
    fn apply(&self, view: &View<'_>, sets: Vec<Set>) -> Vec<Set> {
        match self {
            Self::Sets(filter) => {
                let each = sets.into_iter().map(|set| Set {
                    spans: filter.select(view, &set.spans),
                    values: set.values,
                });
                each.filter(|set| !set.spans.is_empty()).collect()
            }
            Self::Filter(op, lhs, rhs) => {
                let keep = |mut set: Set| {
                    let mut found = Vec::new();
                    let left = lhs.of(view, &set.spans, &mut found);
                    let right = rhs.of(view, &set.spans, &mut found);
                    set.values.extend(found);
                    compare(*op, &left, &right).then_some(set)
                };
                sets.into_iter().filter_map(keep).collect()
            }
            Self::By(code, name) => sets
                .into_iter()
                .flat_map(|set| divide(view, set, code, name))
                .take(SETS_MAX)
                .collect(),
            Self::Coalesce => {
                let mut spans: Vec<u32> = sets.into_iter().flat_map(|set| set.spans).collect();
                spans.sort_unstable();
                spans.dedup();
                vec![Set {
                    spans,
                    values: Vec::new(),
                }]
            }
        }
    }
}

fn divide(view: &View<'_>, set: Set, code: &Code, name: &str) -> Vec<Set> {
    let mut groups: BTreeMap<Key, Set> = BTreeMap::new();
    for span in set.spans {
        let value = code.value(view, span);
        let group = groups.entry(Key::of(std::slice::from_ref(&value)));
        let group = group.or_insert_with(|| {
            let mut values = set.values.clone();
            values.push((name.into(), value));
            Set {
                spans: Vec::new(),
                values,
            }
        });
        group.spans.push(span);
    }
    groups.into_values().collect()
}

impl Number {
    fn of(&self, view: &View<'_>, spans: &[u32], found: &mut Vec<(String, Value)>) -> Value {
        match self {
            Self::Constant(value) => value.clone(),
            Self::Compute(op, lhs, rhs) => {
                let left = lhs.of(view, spans, found);
                compute(*op, &left, &rhs.of(view, spans, found))
            }
            Self::Aggregate(function, code, name) => {
                let value = aggregate(*function, code.as_ref(), view, spans);
                found.push((name.clone(), value.clone()));
                value
            }
        }
    }
}

fn aggregate(function: Aggregate, code: Option<&Code>, view: &View<'_>, spans: &[u32]) -> Value {
    let Some(code) = code else {
        return Value::Int(spans.len() as i64);
    };
    let values = spans.iter().map(|span| code.value(view, *span));
    let values: Vec<Value> = values.filter(|v| v.number().is_some()).collect();
    let ordered = |a: &Value, b: &Value| a.order(b).unwrap_or(std::cmp::Ordering::Equal);
    let sum = || {
        let mut values = values.iter().cloned();
        let first = values.next()?;
        Some(values.fold(first, |sum, value| compute(Op::Add, &sum, &value)))
    };
    let result = match function {
        Aggregate::Count => Some(Value::Int(values.len() as i64)),
        Aggregate::Min => values.iter().cloned().min_by(ordered),
        Aggregate::Max => values.iter().cloned().max_by(ordered),
        Aggregate::Sum => sum(),
        Aggregate::Avg => sum().map(|sum| {
            // Means of whole numbers have fractions.
            let sum = match sum {
                Value::Int(n) => Value::Float(n as f64),
                other => other,
            };
            compute(Op::Div, &sum, &Value::Int(values.len() as i64))
        }),
    };
    result.unwrap_or_default()
}

impl Sets {
    fn select(&self, view: &View<'_>, among: &[u32]) -> Vec<u32> {
        match self {
            Self::All => among.to_vec(),
            Self::Filter(code) => {
                let each = among.iter().copied();
                each.filter(|span| code.holds(view, *span)).collect()
            }
            Self::Program(program) => {
                let sets = program.run_on(view, among.to_vec());
                let mut spans: Vec<u32> = sets.into_iter().flat_map(|set| set.spans).collect();
                spans.sort_unstable();
                spans.dedup();
                spans
            }
            Self::Binary(op, lhs, rhs) => {
                let left = lhs.select(view, among);
                // Neither side can be empty, except where one of them will do.
                if left.is_empty() && matches!(op, SetOp::And | SetOp::Is(_) | SetOp::Both(_)) {
                    return Vec::new();
                }
                let right = rhs.select(view, among);
                combine(*op, view, left, right)
            }
        }
    }
}

fn union(mut left: Vec<u32>, right: &[u32]) -> Vec<u32> {
    left.extend_from_slice(right);
    left.sort_unstable();
    left.dedup();
    left
}

fn combine(op: SetOp, view: &View<'_>, left: Vec<u32>, right: Vec<u32>) -> Vec<u32> {
    match op {
        SetOp::And if right.is_empty() => Vec::new(),
        SetOp::And | SetOp::Or => union(left, &right),
        SetOp::Is(relation) => related(relation, view, &left, &right),
        SetOp::IsNot(relation) => {
            let related: HashSet<u32> =
                related(relation, view, &left, &right).into_iter().collect();
            right.into_iter().filter(|s| !related.contains(s)).collect()
        }
        SetOp::Both(relation) => {
            let found = related(relation, view, &left, &right);
            let inverse = match relation {
                Relation::Child => Relation::Parent,
                Relation::Descendant => Relation::Ancestor,
                Relation::Parent => Relation::Child,
                Relation::Ancestor => Relation::Descendant,
                Relation::Sibling => Relation::Sibling,
            };
            let partners = related(inverse, view, &right, &left);
            union(found, &partners)
        }
    }
}

/// Those of `right` that stand so to one of `left`.
fn related(relation: Relation, view: &View<'_>, left: &[u32], right: &[u32]) -> Vec<u32> {
    let places = view.places();
    let place = |span: u32| places[span as usize];
    let right = right.iter().copied();
    match relation {
        Relation::Child => {
            let parents: HashSet<u32> = left.iter().copied().collect();
            let under = |p: Place| {
                p.parent_index
                    .is_some_and(|parent| parents.contains(&parent))
            };
            right.filter(|span| under(place(*span))).collect()
        }
        Relation::Parent => {
            let parents = left.iter().filter_map(|span| place(*span).parent_index);
            let parents: HashSet<u32> = parents.collect();
            right.filter(|span| parents.contains(span)).collect()
        }
        Relation::Descendant => {
            let roofs = Roofs::new(left.iter().map(|span| place(*span)));
            right.filter(|span| roofs.cover(place(*span))).collect()
        }
        Relation::Ancestor => {
            let mut lefts: Vec<i32> = left.iter().map(|span| place(*span).left).collect();
            lefts.retain(|left| *left > 0);
            lefts.sort_unstable();
            let over = |p: Place| {
                let next = lefts.partition_point(|left| *left <= p.left);
                p.left > 0 && lefts.get(next).is_some_and(|left| *left < p.right)
            };
            right.filter(|span| over(place(*span))).collect()
        }
        Relation::Sibling => {
            let mut by_parent: HashMap<u32, (u32, u32)> = HashMap::new();
            for span in left {
                if let Some(parent) = place(*span).parent_index {
                    let entry = by_parent.entry(parent).or_insert((0, *span));
                    entry.0 += 1;
                }
            }
            let beside = |span: &u32| {
                let parent = place(*span).parent_index;
                let found = parent.and_then(|parent| by_parent.get(&parent));
                found.is_some_and(|(count, one)| *count > 1 || one != span)
            };
            right.filter(beside).collect()
        }
    }
}

/// Spans that others may be below: only the outermost count, and those never overlap.
struct Roofs(Vec<(i32, i32)>);

impl Roofs {
    fn new(places: impl Iterator<Item = Place>) -> Self {
        let placed = places.filter(|p| p.left > 0);
        let mut all: Vec<(i32, i32)> = placed.map(|p| (p.left, p.right)).collect();
        all.sort_unstable();
        let mut outer: Vec<(i32, i32)> = Vec::new();
        for roof in all {
            if outer.last().is_none_or(|last| last.1 < roof.0) {
                outer.push(roof);
            }
        }
        Self(outer)
    }

    fn cover(&self, place: Place) -> bool {
        let before = self.0.partition_point(|(left, _)| *left < place.left);
        place.left > 0 && before > 0 && place.left < self.0[before - 1].1
    }
}
