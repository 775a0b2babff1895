//! Searches: which traces have spans that a query selects.

use super::ast::{Expr, Field, Intrinsic, Node, Query, Spanset, Stage};
use super::eval::{Budget, EvalError, Meter, Program, Set, View};
use super::model::{SpanId, Summary, Trace, TraceId};
use super::source::{SpanSource, Wanted};
use super::value::{Status, Value};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::sync::Arc;

/// What is looked for, and how much of it is told.
#[derive(Clone, Copy)]
pub struct Search<'a> {
    /// First moment, in nanoseconds since the epoch.
    pub start_ns: u64,
    /// Behind the last moment, in nanoseconds since the epoch.
    pub end_ns: u64,
    /// The most traces; the latest are told.
    pub limit: usize,
    /// The most spans of a set.
    pub spans_per_set: usize,
    /// What bounds the work.
    pub budget: Budget<'a>,
}

/// A span that was selected.
#[derive(Clone, Debug, PartialEq)]
pub struct FoundSpan {
    /// Its id.
    pub id: SpanId,
    /// What is done.
    pub name: Arc<str>,
    /// Begin, in nanoseconds since the epoch.
    pub start_ns: u64,
    /// How long it took, in nanoseconds.
    pub duration_ns: u64,
    /// What the query looked at.
    pub attributes: Vec<(String, Value)>,
}

/// A set of spans that was selected.
#[derive(Clone, Debug, PartialEq)]
pub struct FoundSet {
    /// What was computed of it.
    pub attributes: Vec<(String, Value)>,
    /// How many spans it has.
    pub matched: usize,
    /// The first of them.
    pub spans: Vec<FoundSpan>,
}

/// A trace with spans that were selected.
#[derive(Clone, Debug, PartialEq)]
pub struct FoundTrace {
    /// Its id.
    pub id: TraceId,
    /// The trace as a whole.
    pub summary: Summary,
    /// Spans, and those of them that failed, by service.
    pub services: BTreeMap<String, (usize, usize)>,
    /// The sets.
    pub sets: Vec<FoundSet>,
}

/// What a search found.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Found {
    /// The latest first.
    pub traces: Vec<FoundTrace>,
    /// How many traces were looked at.
    pub traces_seen: usize,
    /// How many spans were looked at.
    pub spans_seen: usize,
}

/// Runs a search.
///
/// # Errors
/// The query makes series, is too much work or cannot read.
pub fn search(
    source: &dyn SpanSource,
    query: &Query,
    options: &Search<'_>,
) -> Result<Found, EvalError> {
    if query.metrics.is_some() {
        return Err(EvalError::Sort(
            "the query makes series: ask for metrics instead of a search",
        ));
    }
    let program = Program::of(&query.pipeline);
    let mut wanted = Wanted::of(query, options.start_ns, options.end_ns);
    wanted.intrinsics.extend([Intrinsic::Name]);
    let shown = shown(query);
    let mut meter = Meter::new(options.budget);
    let mut latest: BinaryHeap<Reverse<(u64, TraceId)>> = BinaryHeap::new();
    let mut kept: BTreeMap<TraceId, FoundTrace> = BTreeMap::new();
    let mut found = Found::default();
    if options.limit == 0 {
        return Ok(found);
    }
    for trace in source.traces(&wanted).map_err(EvalError::Source)? {
        let trace = trace.map_err(EvalError::Source)?;
        meter.count(trace.spans.len())?;
        found.traces_seen += 1;
        let start_ns = trace.spans.iter().map(|s| s.start_ns).min().unwrap_or(0);
        let full = latest.len() >= options.limit;
        if full && latest.peek().is_some_and(|least| start_ns <= least.0.0) {
            continue;
        }
        let view = View::new(&trace);
        let sets = program.run(&view);
        if sets.is_empty() {
            continue;
        }
        if full && let Some(Reverse((_, id))) = latest.pop() {
            kept.remove(&id);
        }
        latest.push(Reverse((start_ns, trace.id)));
        kept.insert(trace.id, describe(&view, &sets, &shown, options));
    }
    for mut one in kept.into_values() {
        // What was read may be only the part of the trace that the query looked at.
        let whole = source.trace(&one.id).map_err(EvalError::Source)?;
        if let Some(whole) = whole {
            one.summary = whole.summary();
            one.services = services(&whole);
        }
        found.traces.push(one);
    }
    found
        .traces
        .sort_by_key(|trace| Reverse((trace.summary.start_ns, trace.id)));
    found.spans_seen = meter.spans;
    Ok(found)
}

fn services(trace: &Trace) -> BTreeMap<String, (usize, usize)> {
    let mut services = BTreeMap::new();
    for span in &trace.spans {
        let service = span.resource.service();
        if !services.contains_key(service) {
            services.insert(service.to_string(), (0, 0));
        }
        if let Some(counts) = services.get_mut(service) {
            counts.0 += 1;
            counts.1 += usize::from(span.status == Status::Error);
        }
    }
    services
}

fn describe(view: &View<'_>, sets: &[Set], shown: &[Field], options: &Search<'_>) -> FoundTrace {
    let sets = sets.iter().map(|set| {
        let mut spans = set.spans.clone();
        spans.sort_by_key(|span| view.span(*span).start_ns);
        spans.truncate(options.spans_per_set);
        FoundSet {
            attributes: set.values.clone(),
            matched: set.spans.len(),
            spans: spans.iter().map(|s| found_span(view, *s, shown)).collect(),
        }
    });
    FoundTrace {
        id: view.trace.id,
        summary: view.summary().clone(),
        services: BTreeMap::new(),
        sets: sets.collect(),
    }
}

fn found_span(view: &View<'_>, at: u32, shown: &[Field]) -> FoundSpan {
    let span = view.span(at);
    let values = shown
        .iter()
        .map(|field| (label(field), view.field(field, at)));
    FoundSpan {
        id: span.id,
        name: span.name.clone(),
        start_ns: span.start_ns,
        duration_ns: span.duration_ns,
        attributes: values.filter(|(_, value)| *value != Value::Nil).collect(),
    }
}

/// How an answer calls a field: attributes by their names alone.
pub(super) fn label(field: &Field) -> String {
    match field {
        Field::Intrinsic(intrinsic) => intrinsic.name().into(),
        Field::Attribute { name, .. } => name.clone(),
    }
}

/// What the query looks at, each once; the name and the duration are told anyway.
fn shown(query: &Query) -> Vec<Field> {
    let mut fields = Vec::new();
    stages(&query.pipeline.stages, &mut fields);
    fields
}

fn stages(stages: &[Stage], out: &mut Vec<Field>) {
    for stage in stages {
        match stage {
            Stage::Spanset(set) => spanset(set, out),
            Stage::By(by) => expr(by, out),
            Stage::Select(selected) => selected.iter().for_each(|e| expr(e, out)),
            Stage::Filter(..) | Stage::Coalesce => {}
        }
    }
}

fn spanset(set: &Spanset, out: &mut Vec<Field>) {
    match set {
        Spanset::Filter(filter) => filter.iter().for_each(|f| expr(f, out)),
        Spanset::Binary(_, lhs, rhs) => {
            spanset(lhs, out);
            spanset(rhs, out);
        }
        Spanset::Pipeline(inner) => stages(&inner.stages, out),
    }
}

fn expr(e: &Expr, out: &mut Vec<Field>) {
    match &e.node {
        Node::Literal(_) => {}
        Node::Field(Field::Intrinsic(Intrinsic::Name | Intrinsic::Duration)) => {}
        Node::Field(field) if out.contains(field) => {}
        Node::Field(field) => out.push(field.clone()),
        Node::Negative(inner) | Node::Not(inner) => expr(inner, out),
        Node::Binary(_, lhs, rhs) => {
            expr(lhs, out);
            expr(rhs, out);
        }
    }
}
