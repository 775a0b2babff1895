//! The tree of a query.
//!
//! Every node knows the bytes of the source it covers and how deep the tree beneath it is, so that
//! editors can point at it and no walk over it can run out of stack.

use crate::promql::{BinaryOp, Matcher, Matching, Span};

/// An expression.
#[derive(Clone, Debug)]
pub struct Expr {
    /// Where it stands.
    pub span: Span,
    /// What it is.
    pub node: Node,
    pub(crate) depth: usize,
}

/// The forms of expressions.
#[derive(Clone, Debug)]
pub enum Node {
    /// Lines: a selector of streams and what is done to each line.
    Log(Box<LogQuery>),
    /// A function over a range of lines: `rate({app="a"}[5m])`.
    Range(Box<RangeAggregation>),
    /// `sum by (a) (expr)` and its kin.
    Aggregate(Box<Aggregation>),
    /// An operator between two expressions.
    Binary(Box<Binary>),
    /// A number.
    Number(f64),
    /// `vector(1)`.
    Vector(f64),
    /// `label_replace(expr, "to", "$1", "from", "(.*)")`.
    LabelReplace(Box<LabelReplace>),
    /// An expression in parentheses.
    Paren(Box<Expr>),
}

impl Expr {
    pub(crate) fn new(span: Span, node: Node) -> Self {
        let depth = 1 + match &node {
            Node::Log(_) | Node::Range(_) | Node::Number(_) | Node::Vector(_) => 0,
            Node::Aggregate(aggregation) => aggregation.expr.depth,
            Node::Binary(binary) => binary.lhs.depth.max(binary.rhs.depth),
            Node::LabelReplace(call) => call.expr.depth,
            Node::Paren(inner) => inner.depth,
        };
        Self { span, node, depth }
    }

    /// The expression without the parentheses around it.
    pub fn unwrapped(&self) -> &Self {
        let mut expr = self;
        while let Node::Paren(inner) = &expr.node {
            expr = inner;
        }
        expr
    }

    /// The lines it selects, if it is no metric query.
    pub fn as_log(&self) -> Option<&LogQuery> {
        match &self.unwrapped().node {
            Node::Log(query) => Some(query),
            _ => None,
        }
    }

    /// The selectors of streams in it, in the order of the source.
    pub fn selectors(&self) -> Vec<&LogQuery> {
        let mut out = Vec::new();
        self.collect_selectors(&mut out);
        out
    }

    fn collect_selectors<'a>(&'a self, out: &mut Vec<&'a LogQuery>) {
        match &self.node {
            Node::Log(query) => out.push(query),
            Node::Range(range) => out.push(&range.query),
            Node::Aggregate(aggregation) => aggregation.expr.collect_selectors(out),
            Node::Binary(binary) => {
                binary.lhs.collect_selectors(out);
                binary.rhs.collect_selectors(out);
            }
            Node::LabelReplace(call) => call.expr.collect_selectors(out),
            Node::Paren(inner) => inner.collect_selectors(out),
            Node::Number(_) | Node::Vector(_) => {}
        }
    }
}

/// A selector of streams and what is done to each line.
#[derive(Clone, Debug)]
pub struct LogQuery {
    /// What the labels of streams must be.
    pub matchers: Vec<Matcher>,
    /// What is done to each line, in order.
    pub stages: Vec<Stage>,
}

/// One stage of a pipeline.
#[derive(Clone, Debug)]
pub struct Stage {
    /// Where it stands.
    pub span: Span,
    /// What it is.
    pub node: StageNode,
}

/// The forms of stages.
#[derive(Clone, Debug)]
pub enum StageNode {
    /// `|= "a" or "b"`.
    Line(LineFilter),
    /// `json`, of all fields or of those named.
    Json(Vec<Extraction>),
    /// `logfmt`, of all fields or of those named.
    Logfmt {
        /// Whether a field that is none is an error.
        strict: bool,
        /// Whether fields without a value are labels without a value.
        keep_empty: bool,
        /// The fields, if not all.
        fields: Vec<Extraction>,
    },
    /// `regexp` with named groups.
    Regexp(String),
    /// `pattern` with named places.
    Pattern(String),
    /// `unpack`.
    Unpack,
    /// `line_format` with a template.
    LineFormat(String),
    /// `label_format`.
    LabelFormat(Vec<LabelFormat>),
    /// `decolorize`.
    Decolorize,
    /// A condition on labels.
    Filter(LabelFilter),
    /// `drop`.
    Drop(Vec<LabelRef>),
    /// `keep`.
    Keep(Vec<LabelRef>),
    /// `unwrap`: which label is the value.
    Unwrap(Unwrap),
}

macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($variant:ident = $text:literal,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[allow(missing_docs)]
        pub enum $name { $($variant,)* }
        impl $name {
            /// The word or sign of the language.
            pub fn text(self) -> &'static str {
                match self { $(Self::$variant => $text,)* }
            }
            #[allow(dead_code)]
            pub(crate) fn from_text(text: &str) -> Option<Self> {
                match text { $($text => Some(Self::$variant),)* _ => None }
            }
        }
    };
}

words! {
    /// How a line filter looks at a line.
    LineOp {
        Contains = "|=", Lacks = "!=", Matches = "|~", Differs = "!~",
        Pattern = "|>", NotPattern = "!>",
    }
}

impl LineOp {
    /// Whether lines pass that do not match.
    pub fn negated(self) -> bool {
        matches!(self, Self::Lacks | Self::Differs | Self::NotPattern)
    }
}

/// A condition on the line: one of the alternatives holds, or none where it is negated.
#[derive(Clone, Debug)]
pub struct LineFilter {
    /// How it looks.
    pub op: LineOp,
    /// What it looks for.
    pub any: Vec<LineMatch>,
}

/// What a line filter looks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LineMatch {
    /// A text, a regular expression or a pattern.
    Text(String),
    /// An address, a range of addresses or a network.
    Ip(String),
}

/// A field that becomes a label.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Extraction {
    /// The label.
    pub label: String,
    /// Where the value is: a path in JSON, a key in logfmt.
    pub from: String,
}

/// One assignment of `label_format`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LabelFormat {
    /// The label.
    pub label: String,
    /// What it becomes.
    pub value: LabelValue,
}

/// What a label becomes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LabelValue {
    /// Another label, which goes.
    Rename(String),
    /// A template.
    Template(String),
}

/// A label that is dropped or kept: always, or where the condition holds.
#[derive(Clone, Debug)]
pub enum LabelRef {
    /// Always.
    Name(String),
    /// Where its value is that.
    Match(Matcher),
}

words! {
    /// Comparisons of labels with amounts.
    Comparison {
        Eq = "==", Ne = "!=", Gt = ">", Ge = ">=", Lt = "<", Le = "<=",
    }
}

impl Comparison {
    pub(crate) fn holds(self, a: f64, b: f64) -> bool {
        match self {
            Self::Eq => a == b,
            Self::Ne => a != b,
            Self::Gt => a > b,
            Self::Ge => a >= b,
            Self::Lt => a < b,
            Self::Le => a <= b,
        }
    }
}

/// A condition on labels.
#[derive(Clone, Debug)]
pub enum LabelFilter {
    /// On the text of a label.
    Text(Matcher),
    /// On the amount in a label.
    Amount {
        /// The label.
        label: String,
        /// How it is compared.
        op: Comparison,
        /// With what.
        amount: Amount,
    },
    /// On the address in a label.
    Ip {
        /// The label.
        label: String,
        /// Whether it must not be there.
        negated: bool,
        /// An address, a range of addresses or a network.
        pattern: String,
    },
    /// Both.
    And(Box<LabelFilter>, Box<LabelFilter>),
    /// One of them.
    Or(Box<LabelFilter>, Box<LabelFilter>),
    /// In parentheses.
    Paren(Box<LabelFilter>),
}

/// An amount that a label is compared with, and how the label is read.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Amount {
    /// A number.
    Number(f64),
    /// A duration, in nanoseconds.
    Duration(i64),
    /// A number of bytes.
    Bytes(u64),
}

/// Which label is the value of a line.
#[derive(Clone, Debug)]
pub struct Unwrap {
    /// The label.
    pub label: String,
    /// How it is read.
    pub conversion: Option<Conversion>,
}

words! {
    /// How the label that is the value is read.
    Conversion { Duration = "duration", DurationSeconds = "duration_seconds", Bytes = "bytes", }
}

words! {
    /// The functions over ranges of lines.
    RangeOp {
        Rate = "rate", RateCounter = "rate_counter", CountOverTime = "count_over_time",
        BytesRate = "bytes_rate", BytesOverTime = "bytes_over_time",
        AvgOverTime = "avg_over_time", SumOverTime = "sum_over_time",
        MinOverTime = "min_over_time", MaxOverTime = "max_over_time",
        StdvarOverTime = "stdvar_over_time", StddevOverTime = "stddev_over_time",
        QuantileOverTime = "quantile_over_time", FirstOverTime = "first_over_time",
        LastOverTime = "last_over_time", AbsentOverTime = "absent_over_time",
    }
}

impl RangeOp {
    /// Whether it works on values, which `unwrap` makes.
    pub fn needs_unwrap(self) -> bool {
        !matches!(
            self,
            Self::Rate
                | Self::CountOverTime
                | Self::BytesRate
                | Self::BytesOverTime
                | Self::AbsentOverTime
        )
    }

    /// Whether it may work on values.
    pub fn takes_unwrap(self) -> bool {
        !matches!(
            self,
            Self::CountOverTime | Self::BytesRate | Self::BytesOverTime
        )
    }

    /// Whether its result can be grouped.
    pub fn groups(self) -> bool {
        matches!(
            self,
            Self::AvgOverTime
                | Self::MinOverTime
                | Self::MaxOverTime
                | Self::StdvarOverTime
                | Self::StddevOverTime
                | Self::QuantileOverTime
                | Self::FirstOverTime
                | Self::LastOverTime
        )
    }
}

/// Which labels results are grouped by.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Grouping {
    /// The labels.
    pub labels: Vec<String>,
    /// Whether the labels are the ones dropped.
    pub without: bool,
}

/// A function over a range of lines.
#[derive(Clone, Debug)]
pub struct RangeAggregation {
    /// The function.
    pub op: RangeOp,
    /// The first argument of `quantile_over_time`.
    pub param: Option<f64>,
    /// Which lines.
    pub query: LogQuery,
    /// How far back, in nanoseconds.
    pub range_ns: i64,
    /// Nanoseconds into the past.
    pub offset_ns: i64,
    /// How results are grouped.
    pub grouping: Option<Grouping>,
}

words! {
    /// The aggregations over series.
    AggregationOp {
        Sum = "sum", Avg = "avg", Min = "min", Max = "max", Count = "count",
        Stddev = "stddev", Stdvar = "stdvar", Topk = "topk", Bottomk = "bottomk",
        ApproxTopk = "approx_topk", Sort = "sort", SortDesc = "sort_desc",
    }
}

impl AggregationOp {
    /// Whether there is a number before the series.
    pub fn takes_param(self) -> bool {
        matches!(self, Self::Topk | Self::Bottomk | Self::ApproxTopk)
    }
}

/// An aggregation over series.
#[derive(Clone, Debug)]
pub struct Aggregation {
    /// The operation.
    pub op: AggregationOp,
    /// The first argument of operations that take two.
    pub param: Option<f64>,
    /// What is aggregated.
    pub expr: Expr,
    /// How results are grouped.
    pub grouping: Option<Grouping>,
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
    /// How series find each other.
    pub matching: Matching,
    /// Whether a comparison gives 0 or 1 instead of filtering.
    pub bool: bool,
}

/// A label set from another one.
#[derive(Clone, Debug)]
pub struct LabelReplace {
    /// The series.
    pub expr: Expr,
    /// The label that is set.
    pub to: String,
    /// To what.
    pub replacement: String,
    /// The label that is looked at.
    pub from: String,
    /// What it must match.
    pub regex: String,
}
