//! Trees as text: on one line, or wrapped where a line gets long.

use super::ast::{
    Aggregate, At, Binary, BinaryOp, Card, Duration, DurationNode, Edges, Expr, Matching,
    MatrixSelector, Node, Number, Shift, Subquery, VectorSelector,
};
use super::matcher::{MatchOp, is_plain_label};
use super::text::{format_duration, format_general, format_number, quote};

/// The longest line that is not wrapped, in bytes.
const LINE: usize = 100;

impl std::fmt::Display for Expr {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut out = String::new();
        expr(&mut out, self);
        f.write_str(&out)
    }
}

/// The expression over as many lines as it needs, as `promtool` and the API format it.
pub fn format(expr: &Expr) -> String {
    pretty(expr, 0)
}

fn expr(out: &mut String, of: &Expr) {
    match &of.node {
        Node::Number(value) => out.push_str(&number(value)),
        Node::String(text) => out.push_str(&quote(text)),
        Node::Vector(selector) => vector(out, selector),
        Node::Matrix(matrix) => range_selector(out, matrix),
        Node::Subquery(sub) => {
            expr(out, &sub.expr);
            subquery_suffix(out, sub);
        }
        Node::Call(function, args) => {
            out.push_str(function.name);
            out.push('(');
            for (at, arg) in args.iter().enumerate() {
                if at > 0 {
                    out.push_str(", ");
                }
                expr(out, arg);
            }
            out.push(')');
        }
        Node::Aggregate(aggregate) => {
            aggregate_head(out, aggregate);
            out.push('(');
            if let Some(param) = &aggregate.param {
                expr(out, param);
                out.push_str(", ");
            }
            expr(out, &aggregate.expr);
            out.push(')');
        }
        Node::Binary(binary) => {
            match unsigned(binary) {
                Some(infinity) => out.push_str(infinity),
                None => expr(out, &binary.lhs),
            }
            out.push(' ');
            operator(out, binary);
            out.push(' ');
            expr(out, &binary.rhs);
        }
        Node::Unary(minus, inner) => {
            out.push(if *minus { '-' } else { '+' });
            expr(out, inner);
        }
        Node::Paren(inner) => {
            out.push('(');
            expr(out, inner);
            out.push(')');
        }
        Node::Duration(inner) => duration(out, inner),
    }
}

fn number(number: &Number) -> String {
    if !number.duration {
        return format_number(number.value);
    }
    let text = format_duration((number.value.abs() * 1e9) as i64 / 1_000_000);
    if number.value < 0.0 {
        format!("-{text}")
    } else {
        text
    }
}

/// What is printed for an infinity that is raised to a power. A sign binds weaker than `^`: the
/// `+Inf` of upstream's printer would be read as a sign before the power, and every printing of
/// what was read would add one.
fn unsigned(binary: &Binary) -> Option<&'static str> {
    let raised = binary.op == BinaryOp::Pow;
    let infinite = matches!(&binary.lhs.node, Node::Number(n) if n.value == f64::INFINITY);
    (raised && infinite).then_some("Inf")
}

fn aggregate_head(out: &mut String, aggregate: &Aggregate) {
    out.push_str(aggregate.op.text());
    if aggregate.without {
        out.push_str(" without (");
    } else if !aggregate.grouping.is_empty() {
        out.push_str(" by (");
    } else {
        return;
    }
    labels(out, &aggregate.grouping);
    out.push_str(") ");
}

fn labels(out: &mut String, labels: &[String]) {
    for (at, label) in labels.iter().enumerate() {
        if at > 0 {
            out.push_str(", ");
        }
        if is_plain_label(label) {
            out.push_str(label);
        } else {
            out.push_str(&quote(label));
        }
    }
}

fn operator(out: &mut String, binary: &Binary) {
    out.push_str(binary.op.text());
    if binary.bool {
        out.push_str(" bool");
    }
    if let Some(how) = &binary.matching {
        matching(out, how);
    }
}

fn matching(out: &mut String, how: &Matching) {
    let grouped = matches!(how.card, Card::ManyToOne | Card::OneToMany);
    if !how.labels.is_empty() || how.on || grouped {
        out.push_str(if how.on { " on (" } else { " ignoring (" });
        labels(out, &how.labels);
        out.push(')');
    }
    if grouped {
        let left = how.card == Card::ManyToOne;
        out.push_str(if left {
            " group_left ("
        } else {
            " group_right ("
        });
        labels(out, &how.include);
        out.push(')');
    }
    let mut fill = |name: &str, value: Option<f64>| {
        if let Some(value) = value {
            out.push_str(&format!(" {name} ({})", format_general(value)));
        }
    };
    if how.fill_both {
        fill("fill", how.fill_left);
    } else {
        fill("fill_left", how.fill_left);
        fill("fill_right", how.fill_right);
    }
}

fn vector_head(out: &mut String, selector: &VectorSelector) {
    let mut matchers: Vec<String> = selector
        .matchers
        .iter()
        .filter(|m| {
            let is_name = m.name == "__name__" && m.op == MatchOp::Equal;
            !(is_name && m.value == selector.name && !m.value.is_empty())
        })
        .map(ToString::to_string)
        .collect();
    out.push_str(&selector.name);
    if !matchers.is_empty() {
        matchers.sort();
        out.push('{');
        out.push_str(&matchers.join(","));
        out.push('}');
    }
}

fn edges(out: &mut String, edges: Edges) {
    match edges {
        Edges::Plain => {}
        Edges::Anchored => out.push_str(" anchored"),
        Edges::Smoothed => out.push_str(" smoothed"),
    }
}

fn vector(out: &mut String, selector: &VectorSelector) {
    vector_head(out, selector);
    at(out, &selector.shift);
    edges(out, selector.edges);
    offset(out, &selector.shift);
}

fn range_selector(out: &mut String, matrix: &MatrixSelector) {
    vector_head(out, &matrix.selector);
    out.push('[');
    span(out, matrix.range_ns, matrix.range.as_deref());
    out.push(']');
    edges(out, matrix.selector.edges);
    at(out, &matrix.selector.shift);
    offset(out, &matrix.selector.shift);
}

fn subquery_suffix(out: &mut String, subquery: &Subquery) {
    out.push('[');
    span(out, subquery.range_ns, subquery.range.as_deref());
    out.push(':');
    if subquery.step_ns != 0 || subquery.step.is_some() {
        span(out, subquery.step_ns, subquery.step.as_deref());
    }
    out.push(']');
    at(out, &subquery.shift);
    offset(out, &subquery.shift);
}

fn span(out: &mut String, ns: i64, computed: Option<&Duration>) {
    match computed {
        Some(computed) => duration(out, computed),
        None => out.push_str(&format_duration(ns / 1_000_000)),
    }
}

fn at(out: &mut String, shift: &Shift) {
    match shift.at {
        None => {}
        Some(At::Start) => out.push_str(" @ start()"),
        Some(At::End) => out.push_str(" @ end()"),
        Some(At::Time(ms)) => out.push_str(&format!(" @ {:.3}", ms as f64 / 1000.0)),
    }
}

fn offset(out: &mut String, shift: &Shift) {
    if let Some(computed) = &shift.offset {
        out.push_str(" offset ");
        duration(out, computed);
    } else if shift.offset_ns != 0 {
        out.push_str(if shift.offset_ns < 0 {
            " offset -"
        } else {
            " offset "
        });
        out.push_str(&format_duration((shift.offset_ns / 1_000_000).abs()));
    }
}

fn duration(out: &mut String, of: &Duration) {
    if of.wrapped {
        out.push('(');
    }
    let pair = |out: &mut String, name: &str, a: &Duration, b: &Duration| {
        out.push_str(name);
        out.push('(');
        duration(out, a);
        out.push_str(", ");
        duration(out, b);
        out.push(')');
    };
    match &of.node {
        DurationNode::Number(value) => out.push_str(&number(value)),
        DurationNode::Step => out.push_str("step()"),
        DurationNode::Range => out.push_str("range()"),
        DurationNode::Negative(inner) => {
            out.push('-');
            duration(out, inner);
        }
        DurationNode::Binary(op, a, b) => {
            duration(out, a);
            out.push_str(&format!(" {} ", op.text()));
            duration(out, b);
        }
        DurationNode::Min(a, b) => pair(out, "min", a, b),
        DurationNode::Max(a, b) => pair(out, "max", a, b),
    }
    if of.wrapped {
        out.push(')');
    }
}

fn indent(level: usize) -> String {
    "  ".repeat(level)
}

fn pretty(of: &Expr, level: usize) -> String {
    let line = of.to_string();
    let pad = indent(level);
    let fits = line.len() <= LINE;
    match &of.node {
        Node::Unary(minus, inner) => {
            let sign = if *minus { '-' } else { '+' };
            format!("{pad}{sign}{}", pretty(inner, level).trim())
        }
        // Upstream forgets the indentation here, and so do we: the text is what is compared.
        Node::Subquery(_) if fits => line,
        Node::Subquery(sub) => {
            let mut out = pretty(&sub.expr, level);
            subquery_suffix(&mut out, sub);
            out
        }
        _ if fits => format!("{pad}{line}"),
        Node::Aggregate(aggregate) => {
            let mut out = pad.clone();
            aggregate_head(&mut out, aggregate);
            out.push_str("(\n");
            if let Some(param) = &aggregate.param {
                out.push_str(&pretty(param, level + 1));
                out.push_str(",\n");
            }
            out.push_str(&format!("{}\n{pad})", pretty(&aggregate.expr, level + 1)));
            out
        }
        Node::Binary(binary) => {
            let mut sign = String::new();
            operator(&mut sign, binary);
            let lhs = match unsigned(binary) {
                Some(infinity) => indent(level + 1) + infinity,
                None => pretty(&binary.lhs, level + 1),
            };
            let rhs = pretty(&binary.rhs, level + 1);
            format!("{lhs}\n{pad}{sign}\n{rhs}")
        }
        Node::Call(function, args) => {
            let args: Vec<String> = args.iter().map(|arg| pretty(arg, level + 1)).collect();
            format!("{pad}{}(\n{}\n{pad})", function.name, args.join(",\n"))
        }
        Node::Paren(inner) => format!("{pad}(\n{}\n{pad})", pretty(inner, level + 1)),
        _ => format!("{pad}{line}"),
    }
}
