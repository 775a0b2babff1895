//! Metric queries as expressions of PromQL: a function over a range of lines becomes a selector
//! of the series that it gives, which have their samples exactly at the steps.

use std::cell::{Cell, RefCell};

use super::range::{Leaf, Steps, evaluate};
use super::{Answer, EvalError, Settings, Statistics};
use crate::logql::ast::{Aggregation, AggregationOp, Expr, Node, RangeOp};
use crate::logql::source::LogSource;
use crate::promql::{
    self, AggregateOp, Edges, FUNCTIONS, Hints, Matcher, Number, Series, Shift, Source, Value,
    ValueType, VectorSelector,
};

/// The label by which a selector names its leaf.
const LEAF: &str = "__logql_leaf__";

struct Lowering<'a> {
    leaves: Vec<Leaf<'a>>,
}

impl<'a> Lowering<'a> {
    fn expr(&mut self, expr: &'a Expr) -> Result<promql::Expr, EvalError> {
        let node = match &expr.node {
            Node::Log(_) => {
                return Err(EvalError::Query(
                    "a query of lines has no values; wrap it in a function such as \
                     count_over_time"
                        .to_owned(),
                ));
            }
            Node::Range(range) => {
                self.leaves.push(Leaf {
                    range,
                    summed: None,
                });
                self.leaf()
            }
            Node::Number(value) => number(*value),
            Node::Vector(value) => call("vector", vec![at(expr, number(*value))])?,
            Node::Paren(inner) => promql::Node::Paren(Box::new(self.expr(inner)?)),
            Node::LabelReplace(replace) => {
                let text = |text: &str| at(expr, promql::Node::String(text.to_owned()));
                let args = vec![
                    self.expr(&replace.expr)?,
                    text(&replace.to),
                    text(&replace.replacement),
                    text(&replace.from),
                    text(&replace.regex),
                ];
                call("label_replace", args)?
            }
            Node::Binary(binary) => {
                let (lhs, rhs) = (self.expr(&binary.lhs)?, self.expr(&binary.rhs)?);
                let vector = |side: &promql::Expr| side.value_type() == ValueType::Vector;
                let matching = vector(&lhs) && vector(&rhs);
                promql::Node::Binary(Box::new(promql::Binary {
                    op: binary.op,
                    lhs,
                    rhs,
                    matching: matching.then(|| binary.matching.clone()),
                    bool: binary.bool,
                }))
            }
            Node::Aggregate(aggregation) => self.aggregation(expr, aggregation)?,
        };
        Ok(at(expr, node))
    }

    fn leaf(&self) -> promql::Node {
        let name = (self.leaves.len() - 1).to_string();
        promql::Node::Vector(VectorSelector {
            name: String::new(),
            matchers: vec![Matcher::equal(LEAF, name)],
            shift: Shift::default(),
            edges: Edges::Plain,
            allow_empty: false,
            counts_only: false,
        })
    }

    fn aggregation(
        &mut self,
        expr: &'a Expr,
        aggregation: &'a Aggregation,
    ) -> Result<promql::Node, EvalError> {
        let inner = match &aggregation.expr.unwrapped().node {
            Node::Range(range) if aggregation.op == AggregationOp::Sum && adds(range.op) => {
                self.leaves.push(Leaf {
                    range,
                    summed: Some(aggregation.grouping.as_ref().unwrap_or(&NOTHING)),
                });
                at(&aggregation.expr, self.leaf())
            }
            _ => self.expr(&aggregation.expr)?,
        };
        let op = match aggregation.op {
            AggregationOp::Sort => return call("sort", vec![inner]),
            AggregationOp::SortDesc => return call("sort_desc", vec![inner]),
            AggregationOp::Sum => AggregateOp::Sum,
            AggregationOp::Avg => AggregateOp::Avg,
            AggregationOp::Min => AggregateOp::Min,
            AggregationOp::Max => AggregateOp::Max,
            AggregationOp::Count => AggregateOp::Count,
            AggregationOp::Stddev => AggregateOp::Stddev,
            AggregationOp::Stdvar => AggregateOp::Stdvar,
            // The exact answer is an approximate one.
            AggregationOp::Topk | AggregationOp::ApproxTopk => AggregateOp::Topk,
            AggregationOp::Bottomk => AggregateOp::Bottomk,
        };
        let grouping = aggregation.grouping.clone().unwrap_or_default();
        Ok(promql::Node::Aggregate(Box::new(promql::Aggregate {
            op,
            expr: inner,
            param: aggregation.param.map(|value| at(expr, number(value))),
            grouping: grouping.labels,
            without: grouping.without,
        })))
    }
}

static NOTHING: crate::logql::ast::Grouping = crate::logql::ast::Grouping {
    labels: Vec::new(),
    without: false,
};

/// Whether the sum over series is the function over all their lines.
fn adds(op: RangeOp) -> bool {
    matches!(
        op,
        RangeOp::Rate
            | RangeOp::CountOverTime
            | RangeOp::BytesRate
            | RangeOp::BytesOverTime
            | RangeOp::SumOverTime
    )
}

fn at(expr: &Expr, node: promql::Node) -> promql::Expr {
    promql::Expr::new(expr.span, node)
}

fn number(value: f64) -> promql::Node {
    promql::Node::Number(Number {
        value,
        duration: false,
    })
}

fn call(name: &str, args: Vec<promql::Expr>) -> Result<promql::Node, EvalError> {
    let function = FUNCTIONS.iter().find(|function| function.name == name);
    let function = function.ok_or_else(|| EvalError::Query(format!("no function {name}")))?;
    Ok(promql::Node::Call(function, args))
}

struct Leaves<'a> {
    leaves: Vec<Leaf<'a>>,
    steps: Steps,
    source: &'a dyn LogSource,
    settings: &'a Settings<'a>,
    statistics: Cell<Statistics>,
    failed: RefCell<Option<EvalError>>,
}

impl Source for Leaves<'_> {
    fn select<'s>(
        &'s self,
        matchers: &[Matcher],
        _hints: &Hints<'_>,
    ) -> Result<Box<dyn Iterator<Item = Result<Series, String>> + 's>, String> {
        let leaf = matchers
            .iter()
            .find(|matcher| matcher.name == LEAF)
            .and_then(|matcher| self.leaves.get(matcher.value.parse::<usize>().ok()?))
            .ok_or("a selector without lines")?;
        match evaluate(leaf, self.steps, self.source, self.settings) {
            Ok((series, cost)) => {
                let mut total = self.statistics.get();
                total.lines += cost.lines;
                total.bytes += cost.bytes;
                total.passed += cost.passed;
                total.add_scan(cost.scanned);
                self.statistics.set(total);
                Ok(Box::new(series.into_iter().map(Ok)))
            }
            Err(error) => {
                let text = error.to_string();
                self.failed.borrow_mut().get_or_insert(error);
                Err(text)
            }
        }
    }
}

fn run(
    expr: &Expr,
    steps: Steps,
    source: &dyn LogSource,
    settings: &Settings<'_>,
    evaluate: impl FnOnce(
        &promql::Expr,
        &dyn Source,
        &promql::Settings<'_>,
    ) -> Result<promql::Answer, promql::EvalError>,
) -> Result<Answer, EvalError> {
    let mut lowering = Lowering { leaves: Vec::new() };
    let lowered = lowering.expr(expr)?;
    let leaves = Leaves {
        leaves: lowering.leaves,
        steps,
        source,
        settings,
        statistics: Cell::default(),
        failed: RefCell::default(),
    };
    let inner = promql::Settings {
        // Samples stand at the steps, nothing before counts.
        lookback_ms: 1,
        max_samples: settings.max_samples,
        stop: settings.stop,
        ..promql::Settings::default()
    };
    let answer = evaluate(&lowered, &leaves, &inner);
    if let Some(error) = leaves.failed.take() {
        return Err(error);
    }
    let value = answer?.value;
    let series = match &value {
        Value::Vector(samples) => samples.len(),
        Value::Matrix(series) => series.len(),
        _ => 0,
    };
    if series > settings.max_series {
        return Err(EvalError::TooManySeries(settings.max_series));
    }
    Ok(Answer {
        value,
        statistics: leaves.statistics.get(),
    })
}

/// Evaluates a metric query at one time, in nanoseconds.
///
/// # Errors
/// A limit is reached, the caller stops it, a line fails, or the source does.
pub fn instant(
    expr: &Expr,
    time_ns: i64,
    source: &dyn LogSource,
    settings: &Settings<'_>,
) -> Result<Answer, EvalError> {
    let steps = Steps {
        start_ns: time_ns,
        step_ms: 1,
        count: 1,
    };
    let time = time_ns.div_euclid(1_000_000);
    run(expr, steps, source, settings, |expr, source, settings| {
        promql::instant(expr, time, source, settings)
    })
}

/// Evaluates a metric query at every `step_ms` milliseconds from `start_ns` to `end_ns`,
/// nanoseconds since the epoch.
///
/// # Errors
/// A limit is reached, the caller stops it, a line fails, or the source does.
pub fn range(
    expr: &Expr,
    (start_ns, end_ns): (i64, i64),
    step_ms: i64,
    source: &dyn LogSource,
    settings: &Settings<'_>,
) -> Result<Answer, EvalError> {
    if step_ms <= 0 {
        return Err(EvalError::Query(
            "the step must be greater than 0".to_owned(),
        ));
    }
    if end_ns < start_ns {
        return Err(EvalError::Query("the end is before the start".to_owned()));
    }
    let step_ns = step_ms.saturating_mul(1_000_000);
    let count = usize::try_from(start_ns.abs_diff(end_ns) / step_ns.unsigned_abs())
        .unwrap_or(usize::MAX)
        .saturating_add(1);
    if count > settings.max_samples {
        return Err(EvalError::TooManySamples(settings.max_samples));
    }
    let steps = Steps {
        start_ns,
        step_ms,
        count,
    };
    let start = start_ns.div_euclid(1_000_000);
    let end = start.saturating_add(step_ms.saturating_mul(count as i64 - 1));
    run(expr, steps, source, settings, |expr, source, settings| {
        promql::range(expr, start, end, step_ms, source, settings)
    })
}
