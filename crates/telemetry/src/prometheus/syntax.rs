//! `format_query` and `parse_query`: an expression as text and as a tree.

use towpath_query::promql::{
    self, At, Card, Edges, Expr, Matcher, Node, Shift, VectorSelector, format_number,
};

use super::Call;
use super::fault::Fault;
use super::json::{self, Object};
use super::reply::Reply;

fn parsed(call: &Call) -> Result<Expr, Fault> {
    promql::parse(call.form.get("query"))
        .map_err(|error| Fault::parameter("query", &error.to_string()))
}

/// The expression over as many lines as it needs.
pub(super) fn format(call: &Call, reply: &mut Reply) -> Result<(), Fault> {
    let text = promql::format(&parsed(call)?);
    json::text(reply.data(), &text);
    Ok(())
}

/// The expression as a tree, the names of the fields in order.
pub(super) fn parse(call: &Call, reply: &mut Reply) -> Result<(), Fault> {
    let expr = parsed(call)?;
    tree(reply.data(), &expr);
    Ok(())
}

fn null(out: &mut Vec<u8>) {
    out.extend_from_slice(b"null");
}

fn tree(out: &mut Vec<u8>, expr: &Expr) {
    let mut object = Object::begin(out);
    let kind = match &expr.node {
        Node::Aggregate(of) => {
            tree(object.field("expr"), &of.expr);
            texts(object.field("grouping"), &of.grouping);
            object.text("op", of.op.text());
            match &of.param {
                Some(param) => tree(object.field("param"), param),
                None => null(object.field("param")),
            }
            object.text("type", "aggregation");
            object.raw("without", of.without);
            return object.end();
        }
        Node::Binary(binary) => {
            object.raw("bool", binary.bool);
            tree(object.field("lhs"), &binary.lhs);
            matching(object.field("matching"), binary.matching.as_ref());
            object.text("op", binary.op.text());
            tree(object.field("rhs"), &binary.rhs);
            "binaryExpr"
        }
        Node::Call(function, args) => {
            json::list(object.field("args"), args, tree);
            let mut called = Object::begin(object.field("func"));
            json::list(called.field("argTypes"), function.args, |out, of| {
                json::text(out, of.name());
            });
            called.text("name", function.name);
            called.text("returnType", function.returns.name());
            called.raw("variadic", function.variadic);
            called.end();
            "call"
        }
        Node::Matrix(matrix) => {
            let selector = &matrix.selector;
            selection(&mut object, selector, Some(matrix.range_ns));
            "matrixSelector"
        }
        Node::Vector(selector) => {
            selection(&mut object, selector, None);
            "vectorSelector"
        }
        Node::Subquery(sub) => {
            tree(object.field("expr"), &sub.expr);
            object.raw("offset", sub.shift.offset_ns / 1_000_000);
            object.raw("range", sub.range_ns / 1_000_000);
            pinned(&mut object, &sub.shift, Some(sub.step_ns / 1_000_000));
            "subquery"
        }
        Node::Number(number) => {
            object.text("type", "numberLiteral");
            object.text("val", &format_number(number.value));
            return object.end();
        }
        Node::String(text) => {
            object.text("type", "stringLiteral");
            object.text("val", text);
            return object.end();
        }
        Node::Paren(inner) => {
            tree(object.field("expr"), inner);
            "parenExpr"
        }
        Node::Unary(minus, inner) => {
            tree(object.field("expr"), inner);
            object.text("op", if *minus { "-" } else { "+" });
            "unaryExpr"
        }
        // The checker refuses it outside of brackets.
        Node::Duration(_) => "duration",
    };
    object.text("type", kind);
    object.end();
}

fn selection(object: &mut Object<'_>, selector: &VectorSelector, range_ns: Option<i64>) {
    object.raw("anchored", selector.edges == Edges::Anchored);
    json::list(object.field("matchers"), &selector.matchers, matcher);
    object.text("name", &selector.name);
    object.raw("offset", selector.shift.offset_ns / 1_000_000);
    if let Some(range_ns) = range_ns {
        object.raw("range", range_ns / 1_000_000);
    }
    object.raw("smoothed", selector.edges == Edges::Smoothed);
    pinned(object, &selector.shift, None);
}

/// When something is looked at, with the step between two neighbours of the alphabet.
fn pinned(object: &mut Object<'_>, shift: &Shift, step_ms: Option<i64>) {
    match shift.at {
        Some(At::Start) => object.text("startOrEnd", "start"),
        Some(At::End) => object.text("startOrEnd", "end"),
        _ => null(object.field("startOrEnd")),
    }
    if let Some(step_ms) = step_ms {
        object.raw("step", step_ms);
    }
    match shift.at {
        Some(At::Time(ms)) => object.raw("timestamp", ms),
        _ => null(object.field("timestamp")),
    }
}

fn matcher(out: &mut Vec<u8>, matcher: &Matcher) {
    let mut object = Object::begin(out);
    object.text("name", &matcher.name);
    object.text("type", matcher.op.text());
    object.text("value", &matcher.value);
    object.end();
}

fn texts(out: &mut Vec<u8>, list: &[String]) {
    json::list(out, list, |out, text| json::text(out, text));
}

fn matching(out: &mut Vec<u8>, matching: Option<&promql::Matching>) {
    let Some(matching) = matching else {
        return null(out);
    };
    let mut object = Object::begin(out);
    let card = match matching.card {
        Card::OneToOne => "one-to-one",
        Card::ManyToOne => "many-to-one",
        Card::OneToMany => "one-to-many",
        Card::ManyToMany => "many-to-many",
    };
    object.text("card", card);
    let mut fills = Object::begin(object.field("fillValues"));
    for (name, value) in [("lhs", matching.fill_left), ("rhs", matching.fill_right)] {
        match value {
            Some(value) if value.is_finite() => fills.number(name, value),
            _ => null(fills.field(name)),
        }
    }
    fills.end();
    texts(object.field("include"), &matching.include);
    texts(object.field("labels"), &matching.labels);
    object.raw("on", matching.on);
    object.end();
}

/// The conditions of all selectors of an expression, in the order of its text.
pub(super) fn selectors(expr: &Expr) -> Vec<Vec<Matcher>> {
    let mut found = Vec::new();
    collect(expr, &mut found);
    found
}

fn collect(expr: &Expr, found: &mut Vec<Vec<Matcher>>) {
    match &expr.node {
        Node::Vector(selector) => found.push(selector.matchers.clone()),
        Node::Matrix(matrix) => found.push(matrix.selector.matchers.clone()),
        Node::Subquery(sub) => collect(&sub.expr, found),
        Node::Call(_, args) => args.iter().for_each(|arg| collect(arg, found)),
        Node::Aggregate(of) => {
            collect(&of.expr, found);
            if let Some(param) = &of.param {
                collect(param, found);
            }
        }
        Node::Binary(binary) => {
            collect(&binary.lhs, found);
            collect(&binary.rhs, found);
        }
        Node::Unary(_, inner) | Node::Paren(inner) => collect(inner, found),
        Node::Number(_) | Node::String(_) | Node::Duration(_) => {}
    }
}
