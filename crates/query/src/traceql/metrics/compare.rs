//! `compare`: how often each value of each attribute occurs in a selection and in the rest.

use super::{MetricSeries, Range, SERIES_MAX, interval, selected};
use crate::traceql::ast::{AttributeScope, Expr, Query};
use crate::traceql::eval::{Code, EvalError, Meter, Program, View};
use crate::traceql::model::Span;
use crate::traceql::source::{SpanSource, Wanted};
use crate::traceql::value::{Key, Value};
use std::collections::{BTreeMap, HashMap};

/// The most values of one attribute that are counted.
const VALUES_MAX: usize = 1000;

pub(super) struct Selection {
    code: Option<Code>,
    top: usize,
    times: Option<(i64, i64)>,
}

impl Selection {
    pub(super) fn new(expr: Option<&Expr>, top: usize, times: Option<(i64, i64)>) -> Self {
        Self {
            code: expr.map(Code::of),
            top,
            times,
        }
    }

    fn holds(&self, view: &View<'_>, at: u32) -> bool {
        let start = i64::try_from(view.span(at).start_ns).unwrap_or(i64::MAX);
        let inside = self
            .times
            .is_none_or(|(from, to)| (from..to).contains(&start));
        inside && self.code.as_ref().is_none_or(|code| code.holds(view, at))
    }
}

#[derive(Default)]
struct Counts {
    values: HashMap<Key, (Value, Vec<f64>, f64)>,
    total: Vec<f64>,
}

impl Counts {
    fn add(&mut self, value: Value, step: usize, steps: usize) {
        self.total.resize(steps, 0.0);
        self.total[step] += 1.0;
        let key = Key::of(std::slice::from_ref(&value));
        if self.values.len() >= VALUES_MAX && !self.values.contains_key(&key) {
            return;
        }
        let entry = self.values.entry(key);
        let (_, counts, sum) = entry.or_insert_with(|| (value, vec![0.0; steps], 0.0));
        counts[step] += 1.0;
        *sum += 1.0;
    }
}

pub(super) fn run(
    source: &dyn SpanSource,
    query: &Query,
    range: &Range<'_>,
    steps: usize,
    selection: &Selection,
    meter: &mut Meter<'_>,
) -> Result<Vec<MetricSeries>, EvalError> {
    let program = Program::of(&query.pipeline);
    let wanted = Wanted::of(query, range.start_ns, range.end_ns);
    let mut all: BTreeMap<(bool, String), Counts> = BTreeMap::new();
    for trace in source.traces(&wanted).map_err(EvalError::Source)? {
        let trace = trace.map_err(EvalError::Source)?;
        meter.count(trace.spans.len())?;
        let view = View::new(&trace);
        for at in selected(&program, &view) {
            let span = view.span(at);
            let Some(step) = interval(range, span.start_ns) else {
                continue;
            };
            let chosen = selection.holds(&view, at);
            for (name, value) in values(span) {
                if all.len() >= SERIES_MAX {
                    return Err(EvalError::TooManySeries(SERIES_MAX));
                }
                let counts = all.entry((chosen, name)).or_default();
                counts.add(value, step, steps);
            }
        }
    }
    Ok(all
        .into_iter()
        .flat_map(|((chosen, name), counts)| series(chosen, &name, counts, selection.top))
        .collect())
}

fn values(span: &Span) -> Vec<(String, Value)> {
    let scoped = |scope: AttributeScope, pairs: &[(std::sync::Arc<str>, Value)]| {
        let pairs = pairs.iter();
        pairs
            .map(|(name, value)| (format!("{}.{name}", scope.name()), value.clone()))
            .collect::<Vec<_>>()
    };
    let mut out = vec![
        ("name".to_string(), Value::Text(span.name.clone())),
        ("status".to_string(), Value::Status(span.status)),
        ("kind".to_string(), Value::Kind(span.kind)),
    ];
    out.extend(scoped(AttributeScope::Span, &span.attributes));
    out.extend(scoped(AttributeScope::Resource, &span.resource.attributes));
    out
}

fn series(chosen: bool, name: &str, counts: Counts, top: usize) -> Vec<MetricSeries> {
    let kind = if chosen { "selection" } else { "baseline" };
    let labels = |kind: String, value: Option<Value>| {
        let mut labels = vec![("__meta_type".to_string(), Value::text(kind))];
        labels.push((name.to_string(), value.unwrap_or_default()));
        labels
    };
    let some = |values: Vec<f64>| values.into_iter().map(Some).collect();
    let mut found: Vec<_> = counts.values.into_values().collect();
    found.sort_by(|a, b| {
        b.2.total_cmp(&a.2)
            .then_with(|| a.0.to_string().cmp(&b.0.to_string()))
    });
    found.truncate(top);
    let each = found.into_iter().map(|(value, counts, _)| MetricSeries {
        labels: labels(kind.into(), Some(value)),
        values: some(counts),
        examples: Vec::new(),
    });
    let total = MetricSeries {
        labels: labels(format!("{kind}_total"), None),
        values: some(counts.total),
        examples: Vec::new(),
    };
    each.chain([total]).collect()
}
