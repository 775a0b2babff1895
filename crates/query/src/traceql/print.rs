//! Queries as text that reads back as the same query.

use super::ast::{
    AttributeScope, Expr, Field, Metrics, MetricsFunction, Node, Pipeline, Query, Scalar,
    SeriesStage, Spanset, Stage,
};
use super::value::Value;
use std::fmt::{Display, Formatter, Result};

fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            '\r' => out.push_str("\\r"),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

fn joined<T: Display>(items: &[T]) -> String {
    let texts: Vec<String> = items.iter().map(ToString::to_string).collect();
    texts.join(", ")
}

/// Nanoseconds in the largest unit that has no fraction.
fn duration(ns: i64) -> String {
    let units = [
        ("h", 3_600_000_000_000),
        ("m", 60_000_000_000),
        ("s", 1_000_000_000),
        ("ms", 1_000_000),
        ("us", 1_000),
    ];
    let unit = units.iter().find(|(_, size)| ns != 0 && ns % size == 0);
    match unit {
        Some((name, size)) => format!("{}{name}", ns / size),
        None => format!("{ns}ns"),
    }
}

impl Display for Value {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        match self {
            Self::Nil => f.write_str("nil"),
            Self::Bool(yes) => write!(f, "{yes}"),
            Self::Int(n) => write!(f, "{n}"),
            Self::Float(n) if n.is_finite() && n.fract() == 0.0 && n.abs() < 1e15 => {
                write!(f, "{n:.1}")
            }
            Self::Float(n) if n.is_finite() => write!(f, "{n:e}"),
            Self::Float(n) => write!(f, "{n}"),
            Self::Text(text) => f.write_str(&quoted(text)),
            Self::Duration(ns) => f.write_str(&duration(*ns)),
            Self::Status(status) => f.write_str(status.name()),
            Self::Kind(kind) => f.write_str(kind.name()),
            Self::List(values) => write!(f, "[{}]", joined(values)),
            Self::Map(pairs) => {
                let pairs: Vec<_> = pairs.iter().map(|(k, v)| format!("{k}={v}")).collect();
                write!(f, "{{{}}}", pairs.join(", "))
            }
            Self::Bytes(bytes) => {
                let digits: String = bytes.iter().map(|b| format!("{b:02x}")).collect();
                f.write_str(&quoted(&digits))
            }
        }
    }
}

impl Display for Field {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        match self {
            Self::Intrinsic(intrinsic) => f.write_str(intrinsic.name()),
            Self::Attribute {
                parent,
                scope,
                name,
            } => {
                let plain = |c: char| c.is_alphanumeric() || "._-/:".contains(c);
                // Behind `parent` a name may look like a scope.
                let looks_scoped = *parent
                    && *scope == AttributeScope::Any
                    && (name.starts_with("span.") || name.starts_with("resource."));
                let digit = name.starts_with(|c: char| c.is_ascii_digit());
                let bare = name.chars().all(plain) && !looks_scoped && !digit;
                let parent = if *parent { "parent" } else { "" };
                let dot = if parent.is_empty() || scope.name().is_empty() {
                    ""
                } else {
                    "."
                };
                write!(f, "{parent}{dot}{}.", scope.name())?;
                if bare {
                    f.write_str(name)
                } else {
                    f.write_str(&quoted(name))
                }
            }
        }
    }
}

/// Inside operators, everything that is not a single token stands in parentheses: nobody has to
/// know how tightly anything binds.
struct Operand<'a>(&'a Expr);

impl Display for Operand<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        let negative = match &self.0.node {
            Node::Literal(value) => value.number().is_some_and(|n| n.is_sign_negative()),
            Node::Field(_) => false,
            _ => true,
        };
        if negative {
            write!(f, "({})", self.0)
        } else {
            write!(f, "{}", self.0)
        }
    }
}

impl Display for Expr {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        match &self.node {
            Node::Literal(value) => write!(f, "{value}"),
            Node::Field(field) => write!(f, "{field}"),
            Node::Negative(inner) => write!(f, "-{}", Operand(inner)),
            Node::Not(inner) => write!(f, "!{}", Operand(inner)),
            Node::Binary(op, lhs, rhs) => {
                write!(
                    f,
                    "{} {} {}",
                    Nested(lhs, op.level()),
                    op.sign(),
                    Nested(rhs, op.level() + 1)
                )
            }
        }
    }
}

/// A side of an operator, in parentheses where it binds less tightly.
struct Nested<'a>(&'a Expr, u8);

impl Display for Nested<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        match &self.0.node {
            Node::Binary(op, ..) if op.level() >= self.1 && *op != super::ast::Op::Pow => {
                write!(f, "{}", self.0)
            }
            _ => Operand(self.0).fmt(f),
        }
    }
}

impl Display for Spanset {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        match self {
            Self::Filter(None) => f.write_str("{ }"),
            Self::Filter(Some(filter)) => write!(f, "{{ {filter} }}"),
            Self::Pipeline(pipeline) => write!(f, "({pipeline})"),
            Self::Binary(op, lhs, rhs) => {
                let side = |set: &Self| match set {
                    Self::Binary(..) => format!("({set})"),
                    _ => set.to_string(),
                };
                write!(f, "{} {} {}", side(lhs), op.sign(), side(rhs))
            }
        }
    }
}

impl Display for Scalar {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        match self {
            Self::Literal(value) => write!(f, "{value}"),
            Self::Aggregate(function, None) => write!(f, "{}()", function.name()),
            Self::Aggregate(function, Some(of)) => write!(f, "{}({of})", function.name()),
            Self::Binary(op, lhs, rhs) => {
                let side = |scalar: &Self| match scalar {
                    Self::Binary(..) => format!("({scalar})"),
                    _ => scalar.to_string(),
                };
                write!(f, "{} {} {}", side(lhs), op.sign(), side(rhs))
            }
        }
    }
}

impl Display for Stage {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        match self {
            Self::Spanset(set) => write!(f, "{set}"),
            Self::Filter(op, lhs, rhs) => write!(f, "{lhs} {} {rhs}", op.sign()),
            Self::By(by) => write!(f, "by({by})"),
            Self::Coalesce => f.write_str("coalesce()"),
            Self::Select(fields) => write!(f, "select({})", joined(fields)),
        }
    }
}

impl Display for Pipeline {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        let stages: Vec<String> = self.stages.iter().map(ToString::to_string).collect();
        f.write_str(&stages.join(" | "))
    }
}

impl Display for MetricsFunction {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        match self {
            Self::Rate => f.write_str("rate()"),
            Self::Count => f.write_str("count_over_time()"),
            Self::Min(of) => write!(f, "min_over_time({of})"),
            Self::Max(of) => write!(f, "max_over_time({of})"),
            Self::Avg(of) => write!(f, "avg_over_time({of})"),
            Self::Sum(of) => write!(f, "sum_over_time({of})"),
            Self::Histogram(of) => write!(f, "histogram_over_time({of})"),
            Self::Quantile(of, quantiles) => {
                let quantiles: Vec<_> = quantiles.iter().map(|q| Value::Float(*q)).collect();
                write!(f, "quantile_over_time({of}, {})", joined(&quantiles))
            }
            Self::Compare {
                selection,
                top,
                times,
            } => {
                let set = Spanset::Filter(selection.clone());
                write!(f, "compare({set}, {top}")?;
                if let Some((start, end)) = times {
                    write!(f, ", {start}, {end}")?;
                }
                f.write_str(")")
            }
        }
    }
}

impl Display for Metrics {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        write!(f, "{}", self.function)?;
        if !self.by.is_empty() {
            write!(f, " by({})", joined(&self.by))?;
        }
        self.then.iter().try_for_each(|stage| match stage {
            SeriesStage::Top(n) => write!(f, " | topk({n})"),
            SeriesStage::Bottom(n) => write!(f, " | bottomk({n})"),
            SeriesStage::Filter(op, value) => write!(f, " {} {value}", op.sign()),
        })
    }
}

impl Display for Query {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        write!(f, "{}", self.pipeline)?;
        if let Some(metrics) = &self.metrics {
            write!(f, " | {metrics}")?;
        }
        if !self.hints.is_empty() {
            let hints: Vec<_> = self.hints.iter().map(|(k, v)| format!("{k}={v}")).collect();
            write!(f, " with({})", hints.join(", "))?;
        }
        Ok(())
    }
}
