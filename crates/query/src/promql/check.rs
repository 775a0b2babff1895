//! Types: what may stand where.

use super::ast::{
    Aggregate, AggregateOp, Binary, Card, Expr, Node, Span, ValueType, VectorSelector,
};
use super::functions::Function;
use super::parse::ParseError;
use super::text::quote;

/// Checks a tree and settles what depends on types: sides that are no vectors have no matching,
/// set operators match many to many. The error is the first one.
pub(crate) fn check(expr: &mut Expr, source: &str) -> Result<(), ParseError> {
    let mut checker = Checker {
        source,
        first: None,
    };
    checker.expr(expr);
    checker.first.map_or(Ok(()), Err)
}

struct Checker<'a> {
    source: &'a str,
    first: Option<ParseError>,
}

impl Checker<'_> {
    fn error(&mut self, span: Span, message: impl Into<String>) {
        if self.first.is_none() {
            self.first = Some(ParseError::new(self.source, span, message));
        }
    }

    fn expr(&mut self, expr: &mut Expr) -> ValueType {
        let of = expr.value_type();
        let span = expr.span;
        match &mut expr.node {
            Node::Aggregate(aggregate) => self.aggregate(aggregate),
            Node::Binary(binary) => self.binary(binary, span),
            Node::Call(function, args) => self.call(function, args, span),
            Node::Paren(inner) => {
                self.expr(inner);
            }
            Node::Unary(_, inner) => {
                let of = self.expr(inner);
                if !matches!(of, ValueType::Scalar | ValueType::Vector) {
                    let got = quote(of.documented());
                    self.error(
                        span,
                        format!(
                            "unary expression only allowed on expressions of type scalar or \
                             instant vector, got {got}"
                        ),
                    );
                }
            }
            Node::Subquery(subquery) => {
                let of = self.expr(&mut subquery.expr);
                if of != ValueType::Vector {
                    let got = of.name();
                    self.error(
                        span,
                        format!("subquery is only allowed on instant vector, got {got} instead"),
                    );
                }
            }
            Node::Matrix(matrix) => self.selector(&matrix.selector, matrix.selector_span),
            Node::Vector(selector) => self.selector(selector, span),
            Node::Duration(_) => self.error(span, "unknown node type: *parser.DurationExpr"),
            Node::Number(_) | Node::String(_) => {}
        }
        of
    }

    fn expect(&mut self, expr: &mut Expr, wanted: ValueType, place: &str) {
        let got = self.expr(expr);
        if got != wanted {
            let message = format!(
                "expected type {} in {place}, got {}",
                wanted.documented(),
                got.documented()
            );
            self.error(expr.span, message);
        }
    }

    fn aggregate(&mut self, aggregate: &mut Aggregate) {
        self.expect(
            &mut aggregate.expr,
            ValueType::Vector,
            "aggregation expression",
        );
        if let Some(param) = &mut aggregate.param {
            let wanted = if aggregate.op == AggregateOp::CountValues {
                ValueType::String
            } else {
                ValueType::Scalar
            };
            self.expect(param, wanted, "aggregation parameter");
        }
    }

    fn binary(&mut self, binary: &mut Binary, span: Span) {
        let left = self.expr(&mut binary.lhs);
        let right = self.expr(&mut binary.rhs);
        let sign = self.operator_span(binary);
        let op = binary.op;
        if binary.bool && !op.compares() {
            self.error(
                sign,
                "bool modifier can only be used on comparison operators",
            );
        }
        let scalars = left == ValueType::Scalar && right == ValueType::Scalar;
        if op.compares() && !binary.bool && scalars {
            self.error(sign, "comparisons between scalars must use BOOL modifier");
        }
        let mut matching = binary.matching.take().unwrap_or_default();
        if op.is_set() && matching.card == Card::OneToOne {
            matching.card = Card::ManyToMany;
        }
        if matching.on
            && let Some(label) = matching
                .labels
                .iter()
                .find(|l| matching.include.contains(l))
        {
            let label = quote(label);
            self.error(
                sign,
                format!("label {label} must not occur in ON and GROUP clause at once"),
            );
        }
        for (of, side) in [(left, &binary.lhs), (right, &binary.rhs)] {
            if !matches!(of, ValueType::Scalar | ValueType::Vector) {
                self.error(
                    side.span,
                    "binary expression must contain only scalar and instant vector types",
                );
            }
        }
        let fills = matching.fill_left.is_some() || matching.fill_right.is_some();
        if left != ValueType::Vector || right != ValueType::Vector {
            if !matching.labels.is_empty() {
                self.error(span, "vector matching only allowed between instant vectors");
            }
            if fills {
                self.error(
                    span,
                    "filling in missing series only allowed between instant vectors",
                );
            }
        } else {
            if op.is_set() {
                if matches!(matching.card, Card::OneToMany | Card::ManyToOne) {
                    let name = quote(op.text());
                    self.error(span, format!("no grouping allowed for {name} operation"));
                }
                if matching.card != Card::ManyToMany {
                    self.error(span, "set operations must always be many-to-many");
                }
                if fills {
                    self.error(
                        span,
                        "filling in missing series not allowed for set operators",
                    );
                }
            }
            binary.matching = Some(matching);
        }
        if (left == ValueType::Scalar || right == ValueType::Scalar) && op.is_set() {
            let name = quote(op.text());
            self.error(
                span,
                format!("set operator {name} not allowed in binary scalar expression"),
            );
        }
    }

    /// The bytes between the sides, without the space around them.
    fn operator_span(&self, binary: &Binary) -> Span {
        let (start, end) = (binary.lhs.span.end, binary.rhs.span.start);
        let between = self.source.get(start..end).unwrap_or("");
        let leading = between.len() - between.trim_start().len();
        Span::new(start + leading, start + between.trim_end().len())
    }

    fn call(&mut self, function: &'static Function, args: &mut [Expr], span: Span) {
        let name = quote(function.name);
        let (given, declared) = (args.len(), function.args.len());
        if function.variadic == 0 {
            if given != declared {
                let what =
                    format!("expected {declared} argument(s) in call to {name}, got {given}");
                self.error(span, what);
            }
        } else {
            let least = declared - 1;
            let most = least + usize::try_from(function.variadic).unwrap_or(usize::MAX - least);
            let wrong = if given < least {
                Some(("least", least))
            } else if given > most {
                Some(("most", most))
            } else {
                None
            };
            if let Some((which, count)) = wrong {
                self.error(
                    span,
                    format!(
                        "expected at {which} {count} argument(s) in call to {name}, got {given}"
                    ),
                );
            }
        }
        if function.name == "info"
            && let Some(data) = args.get_mut(1)
        {
            self.info_data(data, span);
        }
        for (at, arg) in args.iter_mut().enumerate() {
            if at >= declared && function.variadic == 0 {
                break;
            }
            let Some(wanted) = function.args.get(at).or(function.args.last()) else {
                break;
            };
            self.expect(arg, *wanted, &format!("call to function {name}"));
        }
    }

    /// The second argument of `info` names labels, not a metric.
    fn info_data(&mut self, data: &mut Expr, span: Span) {
        let of = data.value_type();
        if of != ValueType::Vector {
            let got = of.documented();
            self.error(
                span,
                format!("expected type instant vector in call to function \"info\", got {got}"),
            );
        }
        match &mut data.node {
            Node::Vector(selector) if selector.name.is_empty() => selector.allow_empty = true,
            Node::Vector(_) => self.error(
                data.span,
                "expected label selectors only, got vector selector instead",
            ),
            _ => self.error(data.span, "expected label selectors only"),
        }
    }

    fn selector(&mut self, selector: &VectorSelector, span: Span) {
        if let Some((_, others)) = selector.matchers.split_last()
            && !selector.name.is_empty()
        {
            if let Some(twice) = others.iter().find(|m| m.name == "__name__") {
                let (a, b) = (quote(&selector.name), quote(&twice.value));
                self.error(
                    span,
                    format!("metric name must not be set twice: {a} or {b}"),
                );
            }
            return;
        }
        if !selector.allow_empty && selector.matchers.iter().all(|m| m.matches("")) {
            self.error(
                span,
                "vector selector must contain at least one non-empty matcher",
            );
        }
    }
}
