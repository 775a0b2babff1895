//! Queries as text: one line where it fits, else a tree.

use std::fmt::{self, Display, Formatter, Write};

use super::amount::{format_bytes, format_duration};
use super::ast::{
    Aggregation, Amount, Binary, Expr, Extraction, Grouping, LabelFilter, LabelRef, LabelValue,
    LineMatch, LogQuery, Node, RangeAggregation, Stage, StageNode,
};
use crate::promql::{Card, Matcher, format_number, quote};

/// How long a line may be before it is broken.
const LINE: usize = 100;

/// The query as text that reads back as the same query.
pub fn format(expr: &Expr) -> String {
    let mut out = String::new();
    pretty(&mut out, expr, 0);
    out
}

fn pretty(out: &mut String, expr: &Expr, level: usize) {
    let line = expr.to_string();
    let pad = "  ".repeat(level);
    if pad.len() + line.len() <= LINE {
        let _ = write!(out, "{pad}{line}");
        return;
    }
    match &expr.node {
        Node::Log(query) => broken_log(out, query, level),
        Node::Range(range) => {
            let _ = writeln!(out, "{pad}{}(", range.op.text());
            if let Some(param) = range.param {
                let _ = writeln!(out, "{pad}  {},", number(param));
            }
            broken_log(out, &range.query, level + 1);
            let _ = write!(out, " {}\n{pad})", RangeSuffix(range));
            grouping_suffix(out, range.grouping.as_ref());
        }
        Node::Aggregate(aggregation) => {
            let _ = write!(out, "{pad}");
            let _ = head(out, aggregation);
            out.push_str("(\n");
            if let Some(param) = aggregation.param {
                let _ = writeln!(out, "{pad}  {},", number(param));
            }
            pretty(out, &aggregation.expr, level + 1);
            let _ = write!(out, "\n{pad})");
        }
        Node::Binary(binary) => {
            pretty(out, &binary.lhs, level + 1);
            let _ = writeln!(out, "\n{pad}{}", Operator(binary));
            pretty(out, &binary.rhs, level + 1);
        }
        Node::LabelReplace(call) => {
            let _ = writeln!(out, "{pad}label_replace(");
            pretty(out, &call.expr, level + 1);
            for text in [&call.to, &call.replacement, &call.from, &call.regex] {
                let _ = write!(out, ",\n{pad}  {}", quote(text));
            }
            let _ = write!(out, "\n{pad})");
        }
        Node::Paren(inner) => {
            let _ = writeln!(out, "{pad}(");
            pretty(out, inner, level + 1);
            let _ = write!(out, "\n{pad})");
        }
        Node::Number(_) | Node::Vector(_) => {
            let _ = write!(out, "{pad}{line}");
        }
    }
}

fn broken_log(out: &mut String, query: &LogQuery, level: usize) {
    let pad = "  ".repeat(level);
    let _ = write!(out, "{pad}{}", Selector(&query.matchers));
    for stage in &query.stages {
        let _ = write!(out, "\n{pad}  {stage}");
    }
}

fn number(value: f64) -> String {
    format_number(value)
}

struct Selector<'a>(&'a [Matcher]);

impl Display for Selector<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_char('{')?;
        for (at, matcher) in self.0.iter().enumerate() {
            write!(f, "{}{matcher}", if at > 0 { ", " } else { "" })?;
        }
        f.write_char('}')
    }
}

impl Display for LogQuery {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{}", Selector(&self.matchers))?;
        for stage in &self.stages {
            write!(f, " {stage}")?;
        }
        Ok(())
    }
}

impl Display for Stage {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match &self.node {
            StageNode::Line(filter) => {
                f.write_str(filter.op.text())?;
                for (at, alternative) in filter.any.iter().enumerate() {
                    f.write_str(if at > 0 { " or " } else { " " })?;
                    match alternative {
                        LineMatch::Text(text) => f.write_str(&quote(text))?,
                        LineMatch::Ip(pattern) => write!(f, "ip({})", quote(pattern))?,
                    }
                }
                Ok(())
            }
            StageNode::Json(fields) => {
                f.write_str("| json")?;
                extractions(f, fields)
            }
            StageNode::Logfmt {
                strict,
                keep_empty,
                fields,
            } => {
                f.write_str("| logfmt")?;
                if *strict {
                    f.write_str(" --strict")?;
                }
                if *keep_empty {
                    f.write_str(" --keep-empty")?;
                }
                extractions(f, fields)
            }
            StageNode::Regexp(text) => write!(f, "| regexp {}", quote(text)),
            StageNode::Pattern(text) => write!(f, "| pattern {}", quote(text)),
            StageNode::Unpack => f.write_str("| unpack"),
            StageNode::Decolorize => f.write_str("| decolorize"),
            StageNode::LineFormat(text) => write!(f, "| line_format {}", quote(text)),
            StageNode::LabelFormat(formats) => {
                f.write_str("| label_format")?;
                for (at, format) in formats.iter().enumerate() {
                    let comma = if at > 0 { "," } else { "" };
                    write!(f, "{comma} {}=", format.label)?;
                    match &format.value {
                        LabelValue::Rename(from) => f.write_str(from)?,
                        LabelValue::Template(text) => f.write_str(&quote(text))?,
                    }
                }
                Ok(())
            }
            StageNode::Filter(filter) => write!(f, "| {filter}"),
            StageNode::Drop(labels) => {
                f.write_str("| drop")?;
                label_refs(f, labels)
            }
            StageNode::Keep(labels) => {
                f.write_str("| keep")?;
                label_refs(f, labels)
            }
            StageNode::Unwrap(unwrap) => match unwrap.conversion {
                Some(conversion) => write!(f, "| unwrap {}({})", conversion.text(), unwrap.label),
                None => write!(f, "| unwrap {}", unwrap.label),
            },
        }
    }
}

fn extractions(f: &mut Formatter<'_>, fields: &[Extraction]) -> fmt::Result {
    for (at, field) in fields.iter().enumerate() {
        let comma = if at > 0 { "," } else { "" };
        write!(f, "{comma} {}={}", field.label, quote(&field.from))?;
    }
    Ok(())
}

fn label_refs(f: &mut Formatter<'_>, labels: &[LabelRef]) -> fmt::Result {
    for (at, label) in labels.iter().enumerate() {
        f.write_str(if at > 0 { ", " } else { " " })?;
        match label {
            LabelRef::Name(name) => f.write_str(name)?,
            LabelRef::Match(matcher) => write!(f, "{matcher}")?,
        }
    }
    Ok(())
}

impl Display for LabelFilter {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(matcher) => write!(f, "{matcher}"),
            Self::Amount { label, op, amount } => {
                write!(f, "{label} {} ", op.text())?;
                match amount {
                    Amount::Number(value) => f.write_str(&number(*value)),
                    Amount::Duration(ns) => f.write_str(&format_duration(*ns)),
                    Amount::Bytes(bytes) => f.write_str(&format_bytes(*bytes)),
                }
            }
            Self::Ip {
                label,
                negated,
                pattern,
            } => {
                let sign = if *negated { "!=" } else { "=" };
                write!(f, "{label} {sign} ip({})", quote(pattern))
            }
            Self::And(a, b) => write!(f, "{a} and {b}"),
            Self::Or(a, b) => write!(f, "{a} or {b}"),
            Self::Paren(inner) => write!(f, "({inner})"),
        }
    }
}

struct RangeSuffix<'a>(&'a RangeAggregation);

impl Display for RangeSuffix<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "[{}]", format_duration(self.0.range_ns))?;
        if self.0.offset_ns != 0 {
            write!(f, " offset {}", format_duration(self.0.offset_ns))?;
        }
        Ok(())
    }
}

fn grouping(out: &mut String, grouping: &Grouping) {
    let word = if grouping.without { "without" } else { "by" };
    let _ = write!(out, "{word} ({})", grouping.labels.join(", "));
}

fn grouping_suffix(out: &mut String, of: Option<&Grouping>) {
    if let Some(of) = of {
        out.push(' ');
        grouping(out, of);
    }
}

fn head(out: &mut String, aggregation: &Aggregation) -> fmt::Result {
    out.push_str(aggregation.op.text());
    if let Some(of) = &aggregation.grouping {
        out.push(' ');
        grouping(out, of);
        out.push(' ');
    }
    Ok(())
}

struct Operator<'a>(&'a Binary);

impl Display for Operator<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Binary {
            op, matching, bool, ..
        } = self.0;
        f.write_str(op.text())?;
        if *bool {
            f.write_str(" bool")?;
        }
        if matching.on || !matching.labels.is_empty() || grouped(matching.card) {
            let word = if matching.on { "on" } else { "ignoring" };
            write!(f, " {word} ({})", matching.labels.join(", "))?;
        }
        if grouped(matching.card) {
            let side = if matching.card == Card::ManyToOne {
                "group_left"
            } else {
                "group_right"
            };
            write!(f, " {side} ({})", matching.include.join(", "))?;
        }
        Ok(())
    }
}

fn grouped(card: Card) -> bool {
    matches!(card, Card::ManyToOne | Card::OneToMany)
}

impl Display for Expr {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match &self.node {
            Node::Log(query) => write!(f, "{query}"),
            Node::Range(range) => {
                write!(f, "{}(", range.op.text())?;
                if let Some(param) = range.param {
                    write!(f, "{}, ", number(param))?;
                }
                write!(f, "{}{})", range.query, RangeSuffix(range))?;
                let mut suffix = String::new();
                grouping_suffix(&mut suffix, range.grouping.as_ref());
                f.write_str(&suffix)
            }
            Node::Aggregate(aggregation) => {
                let mut out = String::new();
                head(&mut out, aggregation)?;
                f.write_str(&out)?;
                f.write_char('(')?;
                if let Some(param) = aggregation.param {
                    write!(f, "{}, ", number(param))?;
                }
                write!(f, "{})", aggregation.expr)
            }
            Node::Binary(binary) => {
                write!(f, "{} {} {}", binary.lhs, Operator(binary), binary.rhs)
            }
            Node::Number(value) => f.write_str(&number(*value)),
            Node::Vector(value) => write!(f, "vector({})", number(*value)),
            Node::LabelReplace(call) => write!(
                f,
                "label_replace({}, {}, {}, {}, {})",
                call.expr,
                quote(&call.to),
                quote(&call.replacement),
                quote(&call.from),
                quote(&call.regex)
            ),
            Node::Paren(inner) => write!(f, "({inner})"),
        }
    }
}
