//! What can be known to be wrong without any span.

use super::ast::{
    Aggregate, Expr, Field, Intrinsic, Metrics, MetricsFunction, Node, Op, Pipeline, Query, Scalar,
    Spanset, Stage,
};
use super::parse::ParseError;
use super::value::Value;

/// What an expression can be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Type {
    /// Known with the span only.
    Open,
    Nil,
    Bool,
    Number,
    Text,
    Status,
    Kind,
}

type Checked<T = ()> = Result<T, ParseError>;

pub(super) fn query(query: &Query) -> Checked {
    pipeline(&query.pipeline)?;
    query.metrics.as_ref().map_or(Ok(()), metrics)
}

fn pipeline(pipeline: &Pipeline) -> Checked {
    pipeline.stages.iter().try_for_each(|stage| match stage {
        Stage::Spanset(set) => spanset(set),
        Stage::Filter(op, lhs, rhs) => {
            if matches!(op, Op::Match | Op::NoMatch) {
                let place = super::ast::Place::default();
                return Err(ParseError::new(place, "numbers have no patterns"));
            }
            scalar(lhs)?;
            scalar(rhs)
        }
        Stage::By(by) => kind(by).map(drop),
        Stage::Coalesce => Ok(()),
        Stage::Select(fields) => fields.iter().try_for_each(field),
    })
}

/// Something that can be shown: a field, not a computation.
fn field(expr: &Expr) -> Checked {
    match expr.node {
        Node::Field(_) => Ok(()),
        _ => Err(ParseError::new(expr.place, "only fields can be selected")),
    }
}

fn spanset(set: &Spanset) -> Checked {
    match set {
        Spanset::Filter(None) => Ok(()),
        Spanset::Filter(Some(filter)) => boolean(filter),
        Spanset::Binary(_, lhs, rhs) => {
            spanset(lhs)?;
            spanset(rhs)
        }
        Spanset::Pipeline(inner) => pipeline(inner),
    }
}

fn boolean(filter: &Expr) -> Checked {
    match kind(filter)? {
        Type::Bool | Type::Open => Ok(()),
        _ => Err(ParseError::new(
            filter.place,
            "a filter must be true or false",
        )),
    }
}

fn numeric(expr: &Expr) -> Checked {
    match kind(expr)? {
        Type::Number | Type::Open => Ok(()),
        _ => Err(ParseError::new(expr.place, "a number is needed here")),
    }
}

fn scalar(scalar: &Scalar) -> Checked {
    match scalar {
        Scalar::Literal(value) if value.number().is_some() => Ok(()),
        Scalar::Literal(_) => {
            let place = super::ast::Place::default();
            Err(ParseError::new(
                place,
                "numbers of sets are compared to numbers",
            ))
        }
        Scalar::Aggregate(Aggregate::Count, _) | Scalar::Aggregate(_, None) => Ok(()),
        Scalar::Aggregate(_, Some(of)) => numeric(of),
        Scalar::Binary(_, lhs, rhs) => {
            self::scalar(lhs)?;
            self::scalar(rhs)
        }
    }
}

fn metrics(metrics: &Metrics) -> Checked {
    match &metrics.function {
        MetricsFunction::Rate | MetricsFunction::Count => {}
        MetricsFunction::Min(of)
        | MetricsFunction::Max(of)
        | MetricsFunction::Avg(of)
        | MetricsFunction::Sum(of)
        | MetricsFunction::Quantile(of, _)
        | MetricsFunction::Histogram(of) => numeric(of)?,
        MetricsFunction::Compare { selection, .. } => {
            selection.as_ref().map_or(Ok(()), boolean)?;
        }
    }
    metrics.by.iter().try_for_each(field)
}

fn kind(expr: &Expr) -> Checked<Type> {
    match &expr.node {
        Node::Literal(value) => Ok(match value {
            Value::Nil => Type::Nil,
            Value::Bool(_) => Type::Bool,
            Value::Text(_) => Type::Text,
            Value::Status(_) => Type::Status,
            Value::Kind(_) => Type::Kind,
            _ => Type::Number,
        }),
        Node::Field(Field::Attribute { .. }) => Ok(Type::Open),
        Node::Field(Field::Intrinsic(intrinsic)) => Ok(match intrinsic {
            Intrinsic::Duration
            | Intrinsic::ChildCount
            | Intrinsic::TraceDuration
            | Intrinsic::NestedSetLeft
            | Intrinsic::NestedSetRight
            | Intrinsic::NestedSetParent
            | Intrinsic::EventTime => Type::Number,
            Intrinsic::Status => Type::Status,
            Intrinsic::Kind => Type::Kind,
            _ => Type::Text,
        }),
        Node::Negative(inner) => numeric(inner).map(|()| Type::Number),
        Node::Not(inner) => boolean(inner).map(|()| Type::Bool),
        Node::Binary(op, lhs, rhs) => binary(expr, *op, lhs, rhs),
    }
}

fn binary(expr: &Expr, op: Op, lhs: &Expr, rhs: &Expr) -> Checked<Type> {
    if matches!(op, Op::And | Op::Or) {
        boolean(lhs)?;
        boolean(rhs)?;
        return Ok(Type::Bool);
    }
    if op.computes() {
        numeric(lhs)?;
        numeric(rhs)?;
        return Ok(Type::Number);
    }
    let (left, right) = (kind(lhs)?, kind(rhs)?);
    let error = |message: String| Err(ParseError::new(expr.place, message));
    if matches!(op, Op::Match | Op::NoMatch) {
        let Node::Literal(Value::Text(pattern)) = &rhs.node else {
            return error("a pattern is a text".into());
        };
        if !matches!(left, Type::Text | Type::Open) {
            return error("only texts have patterns".into());
        }
        return match super::eval::pattern(pattern) {
            Ok(_) => Ok(Type::Bool),
            Err(why) => error(why),
        };
    }
    if left == Type::Nil || right == Type::Nil {
        return match op {
            Op::Eq | Op::Ne => Ok(Type::Bool),
            _ => error("nil is equal or not, never more or less".into()),
        };
    }
    let same = left == right || left == Type::Open || right == Type::Open;
    if !same {
        return error("the two sides can never be compared".into());
    }
    Ok(Type::Bool)
}
