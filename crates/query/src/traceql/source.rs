//! What a query needs of the spans' keeper.

use super::ast::{AttributeScope, Expr, Field, Intrinsic, Node, Op, Query, Scalar, Spanset, Stage};
use super::ast::{Metrics, MetricsFunction};
use super::model::{Trace, TraceId};
use super::parse::single_filter;
use super::value::Value;
use std::collections::BTreeSet;

/// Keeps spans.
pub trait SpanSource {
    /// The traces with a span in the interval, each once, in any order, with at least what is
    /// wanted filled in.
    fn traces<'a>(
        &'a self,
        wanted: &Wanted,
    ) -> Result<Box<dyn Iterator<Item = Result<Trace, String>> + 'a>, String>;

    /// All that is known of a trace.
    fn trace(&self, id: &TraceId) -> Result<Option<Trace>, String>;
}

/// Something that holds for at least one span of every trace in the answer.
#[derive(Clone, Debug, PartialEq)]
pub struct Condition {
    /// Of this,
    pub field: Field,
    /// that this
    pub op: Op,
    /// to that.
    pub value: Value,
}

/// What a query looks at. Ids, begin and duration of spans are always wanted.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Wanted {
    /// First moment, in nanoseconds since the epoch.
    pub start_ns: u64,
    /// Behind the last moment, in nanoseconds since the epoch.
    pub end_ns: u64,
    /// Everything.
    pub all: bool,
    /// What of every span.
    pub intrinsics: BTreeSet<Intrinsic>,
    /// Which attributes.
    pub attributes: BTreeSet<(AttributeScope, String)>,
    /// Each of them holds for the spans that the answer is made of: spans, and parts of traces,
    /// without such a span need not be told. Empty where the query looks at whole traces.
    pub conditions: Vec<Condition>,
}

impl Wanted {
    /// Everything of an interval.
    pub fn everything(start_ns: u64, end_ns: u64) -> Self {
        Self {
            start_ns,
            end_ns,
            all: true,
            ..Self::default()
        }
    }

    /// What a query looks at in an interval.
    pub fn of(query: &Query, start_ns: u64, end_ns: u64) -> Self {
        let mut wanted = Self {
            start_ns,
            end_ns,
            ..Self::default()
        };
        for stage in &query.pipeline.stages {
            wanted.stage(stage);
        }
        if let Some(metrics) = &query.metrics {
            wanted.metrics(metrics);
        }
        let whole = wanted.intrinsics.iter().any(|i| looks_around(*i))
            || wanted.parents(query)
            || wanted.all;
        if !whole && let Some(filter) = single_filter(query) {
            conditions(filter, &mut wanted.conditions);
        }
        wanted
    }

    // A look at a parent needs the parent, which need not match itself.
    fn parents(&self, query: &Query) -> bool {
        let text = query.to_string();
        text.contains("parent.")
    }

    fn stage(&mut self, stage: &Stage) {
        match stage {
            Stage::Spanset(set) => self.spanset(set),
            Stage::Filter(_, lhs, rhs) => {
                self.scalar(lhs);
                self.scalar(rhs);
            }
            Stage::By(by) => self.expr(by),
            Stage::Coalesce => {}
            Stage::Select(fields) => fields.iter().for_each(|f| self.expr(f)),
        }
    }

    fn spanset(&mut self, set: &Spanset) {
        match set {
            Spanset::Filter(filter) => filter.iter().for_each(|f| self.expr(f)),
            Spanset::Binary(_, lhs, rhs) => {
                self.spanset(lhs);
                self.spanset(rhs);
            }
            Spanset::Pipeline(inner) => inner.stages.iter().for_each(|s| self.stage(s)),
        }
    }

    fn scalar(&mut self, scalar: &Scalar) {
        match scalar {
            Scalar::Literal(_) => {}
            Scalar::Aggregate(_, of) => of.iter().for_each(|of| self.expr(of)),
            Scalar::Binary(_, lhs, rhs) => {
                self.scalar(lhs);
                self.scalar(rhs);
            }
        }
    }

    fn metrics(&mut self, metrics: &Metrics) {
        metrics.by.iter().for_each(|by| self.expr(by));
        match &metrics.function {
            MetricsFunction::Rate | MetricsFunction::Count => {}
            MetricsFunction::Compare { .. } => self.all = true,
            MetricsFunction::Min(of)
            | MetricsFunction::Max(of)
            | MetricsFunction::Avg(of)
            | MetricsFunction::Sum(of)
            | MetricsFunction::Quantile(of, _)
            | MetricsFunction::Histogram(of) => self.expr(of),
        }
    }

    fn expr(&mut self, expr: &Expr) {
        match &expr.node {
            Node::Literal(_) => {}
            Node::Field(Field::Intrinsic(intrinsic)) => {
                self.intrinsics.insert(*intrinsic);
            }
            Node::Field(Field::Attribute { scope, name, .. }) => {
                self.attributes.insert((*scope, name.clone()));
            }
            Node::Negative(inner) | Node::Not(inner) => self.expr(inner),
            Node::Binary(_, lhs, rhs) => {
                self.expr(lhs);
                self.expr(rhs);
            }
        }
    }
}

/// Whether more than the span itself says what it is.
fn looks_around(intrinsic: Intrinsic) -> bool {
    matches!(
        intrinsic,
        Intrinsic::ChildCount
            | Intrinsic::TraceDuration
            | Intrinsic::RootName
            | Intrinsic::RootService
            | Intrinsic::NestedSetLeft
            | Intrinsic::NestedSetRight
            | Intrinsic::NestedSetParent
    )
}

fn conditions(filter: &Expr, out: &mut Vec<Condition>) {
    let Node::Binary(op, lhs, rhs) = &filter.node else {
        return;
    };
    if *op == Op::And {
        conditions(lhs, out);
        conditions(rhs, out);
        return;
    }
    if let (Node::Field(field), Node::Literal(value)) = (&lhs.node, &rhs.node)
        && op.compares()
        && *value != Value::Nil
    {
        out.push(Condition {
            field: field.clone(),
            op: *op,
            value: value.clone(),
        });
    }
}
