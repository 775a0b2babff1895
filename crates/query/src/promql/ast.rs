//! The tree of a query.
//!
//! Every node knows the bytes of the source it covers, so that errors, warnings and editors can
//! point at it, and how deep the tree beneath it is, so that no walk over it can run out of stack.

use super::functions::Function;
use super::matcher::Matcher;

/// A range of bytes in the source of a query.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Span {
    /// The first byte.
    pub start: usize,
    /// One past the last byte.
    pub end: usize,
}

impl Span {
    /// The bytes from `start` up to, not including, `end`.
    pub fn new(start: usize, end: usize) -> Self {
        Self { start, end }
    }

    /// The smallest range that holds both.
    pub fn to(self, other: Self) -> Self {
        Self::new(self.start, other.end)
    }

    /// `line:column` of the first byte, both counted from one, as in upstream's messages.
    pub fn place(self, source: &str) -> String {
        if source.is_empty() {
            return "unknown position".to_owned();
        }
        let Some(before) = source.get(..self.start) else {
            return "invalid position".to_owned();
        };
        let line = before.matches('\n').count() + 1;
        let column = self.start - before.rfind('\n').map_or(0, |at| at + 1) + 1;
        format!("{line}:{column}")
    }
}

/// What an expression evaluates to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ValueType {
    /// One number per step.
    Scalar,
    /// A set of series, one sample of each per step.
    Vector,
    /// A set of series, a range of samples of each per step.
    Matrix,
    /// A text.
    String,
}

impl ValueType {
    /// The name in results and in a few messages.
    pub fn name(self) -> &'static str {
        match self {
            Self::Scalar => "scalar",
            Self::Vector => "vector",
            Self::Matrix => "matrix",
            Self::String => "string",
        }
    }

    /// The name that the documentation of the language uses.
    pub fn documented(self) -> &'static str {
        match self {
            Self::Vector => "instant vector",
            Self::Matrix => "range vector",
            other => other.name(),
        }
    }
}

/// An expression.
#[derive(Clone, Debug)]
pub struct Expr {
    /// Where it stands.
    pub span: Span,
    /// What it is.
    pub node: Node,
    /// Nodes on the longest way down, itself included.
    pub(crate) depth: usize,
    /// Whether an evaluation does it once for all steps.
    pub(crate) hoist: bool,
}

/// The forms of expressions.
#[derive(Clone, Debug)]
pub enum Node {
    /// A number, or a duration in seconds.
    Number(Number),
    /// A text.
    String(String),
    /// `name{label="value"}`.
    Vector(VectorSelector),
    /// A selector with a range: `name[5m]`.
    Matrix(Box<MatrixSelector>),
    /// An expression with a range and a resolution: `expr[1h:1m]`.
    Subquery(Box<Subquery>),
    /// A function with its arguments.
    Call(&'static Function, Vec<Expr>),
    /// `sum by (a) (expr)` and its kin.
    Aggregate(Box<Aggregate>),
    /// An operator between two expressions.
    Binary(Box<Binary>),
    /// A sign before an expression; true is minus.
    Unary(bool, Box<Expr>),
    /// An expression in parentheses.
    Paren(Box<Expr>),
    /// A duration expression where none is evaluated; the checker refuses it.
    Duration(Box<Duration>),
}

/// A number as written.
#[derive(Clone, Copy, Debug)]
pub struct Number {
    /// The value; seconds if it is a duration.
    pub value: f64,
    /// Whether it was written as a duration.
    pub duration: bool,
}

/// The time a selector or subquery is pinned to with `@`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum At {
    /// Milliseconds since the epoch.
    Time(i64),
    /// The start of the query's range.
    Start,
    /// The end of the query's range.
    End,
}

/// How a range selector treats samples beyond its edges.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Edges {
    /// Only the samples inside count.
    #[default]
    Plain,
    /// The sample before the range stands at its start.
    Anchored,
    /// Values at both edges are interpolated.
    Smoothed,
}

/// The time modifiers that selectors and subqueries share.
#[derive(Clone, Debug, Default)]
pub struct Shift {
    /// Nanoseconds into the past.
    pub offset_ns: i64,
    /// The expression that gives the offset, if it is not a plain duration.
    pub offset: Option<Box<Duration>>,
    /// The pinned time.
    pub at: Option<At>,
}

/// A selection of series.
#[derive(Clone, Debug)]
pub struct VectorSelector {
    /// The metric name written before the braces, or empty.
    pub name: String,
    /// What labels must be; the name is the last one.
    pub matchers: Vec<Matcher>,
    /// When to look.
    pub shift: Shift,
    /// How edges are treated.
    pub edges: Edges,
    /// Whether matchers that all match the empty text are allowed (second argument of `info`).
    pub(crate) allow_empty: bool,
    /// Whether only counts and sums of histograms are looked at.
    pub(crate) counts_only: bool,
}

/// A selection of series with a range of time.
#[derive(Clone, Debug)]
pub struct MatrixSelector {
    /// Which series and when.
    pub selector: VectorSelector,
    /// Where the part before the bracket stands.
    pub selector_span: Span,
    /// How far back, in nanoseconds.
    pub range_ns: i64,
    /// The expression that gives the range, if it is not a plain duration.
    pub range: Option<Box<Duration>>,
}

/// An expression evaluated over a range of time.
#[derive(Clone, Debug)]
pub struct Subquery {
    /// What is evaluated.
    pub expr: Expr,
    /// How far back, in nanoseconds.
    pub range_ns: i64,
    /// The expression that gives the range, if it is not a plain duration.
    pub range: Option<Box<Duration>>,
    /// Between two evaluations, in nanoseconds; 0 is the default resolution.
    pub step_ns: i64,
    /// The expression that gives the resolution, if it is not a plain duration.
    pub step: Option<Box<Duration>>,
    /// When to look.
    pub shift: Shift,
}

/// An aggregation over series.
#[derive(Clone, Debug)]
pub struct Aggregate {
    /// The operation.
    pub op: AggregateOp,
    /// What is aggregated.
    pub expr: Expr,
    /// The first argument of operations that take two.
    pub param: Option<Expr>,
    /// The labels to group by.
    pub grouping: Vec<String>,
    /// Whether the labels are the ones dropped.
    pub without: bool,
}

macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[$vdoc:meta])* $variant:ident = $text:literal,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum $name { $($(#[$vdoc])* $variant,)* }
        impl $name {
            /// The word or sign of the language.
            pub fn text(self) -> &'static str {
                match self { $(Self::$variant => $text,)* }
            }
            pub(crate) fn from_text(text: &str) -> Option<Self> {
                match text { $($text => Some(Self::$variant),)* _ => None }
            }
        }
    };
}

words! {
    /// The aggregations.
    #[allow(missing_docs)]
    AggregateOp {
        Avg = "avg", Bottomk = "bottomk", Count = "count", CountValues = "count_values",
        Group = "group", Max = "max", Min = "min", Quantile = "quantile", Stddev = "stddev",
        Stdvar = "stdvar", Sum = "sum", Topk = "topk", Limitk = "limitk",
        LimitRatio = "limit_ratio",
    }
}

impl AggregateOp {
    /// Whether there is an argument before the vector.
    pub fn takes_param(self) -> bool {
        matches!(
            self,
            Self::Topk
                | Self::Bottomk
                | Self::CountValues
                | Self::Quantile
                | Self::Limitk
                | Self::LimitRatio
        )
    }

    pub(crate) fn experimental(self) -> bool {
        matches!(self, Self::Limitk | Self::LimitRatio)
    }
}

words! {
    /// The operators between two expressions.
    #[allow(missing_docs)]
    BinaryOp {
        Add = "+", Sub = "-", Mul = "*", Div = "/", Mod = "%", Pow = "^", Atan2 = "atan2",
        Eq = "==", Ne = "!=", Lt = "<", Le = "<=", Gt = ">", Ge = ">=",
        And = "and", Or = "or", Unless = "unless",
    }
}

impl BinaryOp {
    /// Whether it compares.
    pub fn compares(self) -> bool {
        matches!(
            self,
            Self::Eq | Self::Ne | Self::Lt | Self::Le | Self::Gt | Self::Ge
        )
    }

    /// Whether it works on sets of series.
    pub fn is_set(self) -> bool {
        matches!(self, Self::And | Self::Or | Self::Unless)
    }
}

/// An operator between two expressions.
#[derive(Clone, Debug)]
pub struct Binary {
    /// The operator.
    pub op: BinaryOp,
    /// The left side.
    pub lhs: Expr,
    /// The right side.
    pub rhs: Expr,
    /// How series find each other; none unless both sides are vectors.
    pub matching: Option<Matching>,
    /// Whether a comparison gives 0 or 1 instead of filtering.
    pub bool: bool,
}

/// How many series of one side belong to one of the other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Card {
    /// One to one.
    #[default]
    OneToOne,
    /// Many on the left: `group_left`.
    ManyToOne,
    /// Many on the right: `group_right`.
    OneToMany,
    /// Set operators.
    ManyToMany,
}

/// How series of two vectors find each other.
#[derive(Clone, Debug, Default)]
pub struct Matching {
    /// One or many on either side.
    pub card: Card,
    /// The labels that must be equal, or that are ignored.
    pub labels: Vec<String>,
    /// Whether `labels` are the ones that must be equal.
    pub on: bool,
    /// The labels copied from the "one" side.
    pub include: Vec<String>,
    /// The value of a missing left series.
    pub fill_left: Option<f64>,
    /// The value of a missing right series.
    pub fill_right: Option<f64>,
    /// Whether both were given in one `fill`.
    pub(crate) fill_both: bool,
}

/// A duration that may be computed.
#[derive(Clone, Debug)]
pub struct Duration {
    /// Where it stands.
    pub span: Span,
    /// What it is.
    pub node: DurationNode,
    /// Whether it stands in parentheses.
    pub wrapped: bool,
    pub(crate) depth: usize,
}

/// The forms of durations.
#[derive(Clone, Debug)]
pub enum DurationNode {
    /// A number of seconds.
    Number(Number),
    /// The step of the query.
    Step,
    /// The length of the query's range.
    Range,
    /// Minus.
    Negative(Box<Duration>),
    /// Arithmetic.
    Binary(BinaryOp, Box<Duration>, Box<Duration>),
    /// The smaller one.
    Min(Box<Duration>, Box<Duration>),
    /// The larger one.
    Max(Box<Duration>, Box<Duration>),
}

impl Duration {
    pub(crate) fn new(span: Span, node: DurationNode) -> Self {
        let depth = 1 + match &node {
            DurationNode::Number(_) | DurationNode::Step | DurationNode::Range => 0,
            DurationNode::Negative(inner) => inner.depth,
            DurationNode::Binary(_, a, b) | DurationNode::Min(a, b) | DurationNode::Max(a, b) => {
                a.depth.max(b.depth)
            }
        };
        Self {
            span,
            node,
            wrapped: false,
            depth,
        }
    }
}

impl Expr {
    pub(crate) fn new(span: Span, node: Node) -> Self {
        let depth = 1 + match &node {
            Node::Number(_) | Node::String(_) | Node::Vector(_) | Node::Matrix(_) => 0,
            Node::Duration(inner) => inner.depth,
            Node::Subquery(sub) => sub.expr.depth,
            Node::Call(_, args) => args.iter().map(|arg| arg.depth).max().unwrap_or(0),
            Node::Aggregate(agg) => agg
                .expr
                .depth
                .max(agg.param.as_ref().map_or(0, |p| p.depth)),
            Node::Binary(binary) => binary.lhs.depth.max(binary.rhs.depth),
            Node::Unary(_, inner) | Node::Paren(inner) => inner.depth,
        };
        Self {
            span,
            node,
            depth,
            hoist: false,
        }
    }

    /// What it evaluates to.
    pub fn value_type(&self) -> ValueType {
        match &self.node {
            Node::Number(_) | Node::Duration(_) => ValueType::Scalar,
            Node::String(_) => ValueType::String,
            Node::Vector(_) | Node::Aggregate(_) => ValueType::Vector,
            Node::Matrix(_) | Node::Subquery(_) => ValueType::Matrix,
            Node::Call(function, _) => function.returns,
            Node::Binary(binary) => {
                let scalar = |side: &Expr| side.value_type() == ValueType::Scalar;
                if scalar(&binary.lhs) && scalar(&binary.rhs) {
                    ValueType::Scalar
                } else {
                    ValueType::Vector
                }
            }
            Node::Unary(_, inner) | Node::Paren(inner) => inner.value_type(),
        }
    }

    /// The expression without the parentheses around it.
    pub fn unwrapped(&self) -> &Self {
        let mut expr = self;
        while let Node::Paren(inner) = &expr.node {
            expr = inner;
        }
        expr
    }
}
