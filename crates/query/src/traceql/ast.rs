//! What a query is once it is read.

use super::value::Value;

/// A piece of the query's text, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// First byte.
    pub start: usize,
    /// Behind the last byte.
    pub end: usize,
}

impl Place {
    pub(super) fn to(self, other: Self) -> Self {
        Self {
            start: self.start,
            end: other.end,
        }
    }
}

/// Where an attribute is looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum AttributeScope {
    /// The span, then its resource, then the rest.
    Any,
    /// The span.
    Span,
    /// Its resource.
    Resource,
    /// Its events.
    Event,
    /// Its links.
    Link,
    /// Its library.
    Instrumentation,
}

impl AttributeScope {
    /// Its name, empty for any.
    pub fn name(self) -> &'static str {
        match self {
            Self::Any => "",
            Self::Span => "span",
            Self::Resource => "resource",
            Self::Event => "event",
            Self::Link => "link",
            Self::Instrumentation => "instrumentation",
        }
    }

    /// By its name.
    pub fn named(name: &str) -> Option<Self> {
        let all = [
            Self::Span,
            Self::Resource,
            Self::Event,
            Self::Link,
            Self::Instrumentation,
        ];
        all.into_iter().find(|scope| scope.name() == name)
    }
}

macro_rules! intrinsics {
    ($($(#[$doc:meta])* $variant:ident = $name:literal $(, $other:literal)?;)*) => {
        /// What every span has.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Intrinsic {
            $($(#[$doc])* $variant,)*
        }

        impl Intrinsic {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];

            /// Its name.
            pub fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }

            /// By one of its names.
            pub fn named(name: &str) -> Option<Self> {
                match name {
                    $($name $(| $other)? => Some(Self::$variant),)*
                    _ => None,
                }
            }
        }
    };
}
intrinsics! {
    /// How long it took.
    Duration = "duration", "span:duration";
    /// How many spans have it as parent.
    ChildCount = "childCount", "span:childCount";
    /// What is done.
    Name = "name", "span:name";
    /// How it went.
    Status = "status", "span:status";
    /// What went wrong.
    StatusMessage = "statusMessage", "span:statusMessage";
    /// Its part in the operation.
    Kind = "kind", "span:kind";
    /// Its id.
    SpanId = "span:id";
    /// The id of its parent.
    ParentId = "span:parentID";
    /// How long the trace took.
    TraceDuration = "traceDuration", "trace:duration";
    /// Name of the root.
    RootName = "rootName", "trace:rootName";
    /// Service of the root.
    RootService = "rootServiceName", "trace:rootService";
    /// Id of the trace.
    TraceId = "trace:id";
    /// Number when it is entered.
    NestedSetLeft = "nestedSetLeft";
    /// Number when it is left.
    NestedSetRight = "nestedSetRight";
    /// Number of its parent.
    NestedSetParent = "nestedSetParent";
    /// What happened.
    EventName = "event:name";
    /// How long after the begin it happened.
    EventTime = "event:timeSinceStart";
    /// Trace of a link.
    LinkTraceId = "link:traceID";
    /// Span of a link.
    LinkSpanId = "link:spanID";
    /// Name of the library.
    InstrumentationName = "instrumentation:name";
    /// Version of the library.
    InstrumentationVersion = "instrumentation:version";
}

/// What is looked at.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Field {
    /// What every span has.
    Intrinsic(Intrinsic),
    /// What is said about it.
    Attribute {
        /// Of the span's parent instead of the span.
        parent: bool,
        /// Where it is looked for.
        scope: AttributeScope,
        /// Its name.
        name: String,
    },
}

/// Operators between values of a span.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Op {
    /// `||`
    Or,
    /// `&&`
    And,
    /// `=`
    Eq,
    /// `!=`
    Ne,
    /// `=~`
    Match,
    /// `!~`
    NoMatch,
    /// `<`
    Lt,
    /// `<=`
    Le,
    /// `>`
    Gt,
    /// `>=`
    Ge,
    /// `+`
    Add,
    /// `-`
    Sub,
    /// `*`
    Mul,
    /// `/`
    Div,
    /// `%`
    Mod,
    /// `^`
    Pow,
}

impl Op {
    /// As it is written.
    pub fn sign(self) -> &'static str {
        match self {
            Self::Or => "||",
            Self::And => "&&",
            Self::Eq => "=",
            Self::Ne => "!=",
            Self::Match => "=~",
            Self::NoMatch => "!~",
            Self::Lt => "<",
            Self::Le => "<=",
            Self::Gt => ">",
            Self::Ge => ">=",
            Self::Add => "+",
            Self::Sub => "-",
            Self::Mul => "*",
            Self::Div => "/",
            Self::Mod => "%",
            Self::Pow => "^",
        }
    }

    /// How tightly it binds; more is tighter.
    pub(super) fn level(self) -> u8 {
        match self {
            Self::Or => 1,
            Self::And => 2,
            op if op.compares() => 3,
            Self::Add | Self::Sub => 4,
            Self::Pow => 6,
            _ => 5,
        }
    }

    /// Whether it compares.
    pub fn compares(self) -> bool {
        matches!(
            self,
            Self::Eq
                | Self::Ne
                | Self::Match
                | Self::NoMatch
                | Self::Lt
                | Self::Le
                | Self::Gt
                | Self::Ge
        )
    }

    /// Whether it computes.
    pub fn computes(self) -> bool {
        !self.compares() && !matches!(self, Self::Or | Self::And)
    }
}

/// An expression over one span.
#[derive(Clone, Debug, PartialEq)]
pub struct Expr {
    /// Where it stands.
    pub place: Place,
    /// What it is.
    pub node: Node,
}

/// What an expression is.
#[derive(Clone, Debug, PartialEq)]
pub enum Node {
    /// A literal.
    Literal(Value),
    /// What is looked at.
    Field(Field),
    /// `-`
    Negative(Box<Expr>),
    /// `!`
    Not(Box<Expr>),
    /// Two operands.
    Binary(Op, Box<Expr>, Box<Expr>),
}

/// How spans of two sets must stand to each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Relation {
    /// `>`: the right is a child of the left.
    Child,
    /// `>>`: the right is somewhere below the left.
    Descendant,
    /// `<`: the right is the parent of the left.
    Parent,
    /// `<<`: the right is somewhere above the left.
    Ancestor,
    /// `~`: both have the same parent.
    Sibling,
}

impl Relation {
    /// As it is written.
    pub fn sign(self) -> &'static str {
        match self {
            Self::Child => ">",
            Self::Descendant => ">>",
            Self::Parent => "<",
            Self::Ancestor => "<<",
            Self::Sibling => "~",
        }
    }
}

/// Operators between sets of spans.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SetOp {
    /// `&&`: both, where neither is empty.
    And,
    /// `||`: both.
    Or,
    /// Those of the right that stand so to one of the left.
    Is(Relation),
    /// `!`: those of the right that stand so to none of the left.
    IsNot(Relation),
    /// `&`: those of the right and of the left.
    Both(Relation),
}

impl SetOp {
    /// As it is written.
    pub fn sign(self) -> String {
        match self {
            Self::And => "&&".into(),
            Self::Or => "||".into(),
            Self::Is(relation) => relation.sign().into(),
            Self::IsNot(relation) => format!("!{}", relation.sign()),
            Self::Both(relation) => format!("&{}", relation.sign()),
        }
    }

    pub(super) fn level(self) -> u8 {
        match self {
            Self::Or => 1,
            Self::And => 2,
            _ => 3,
        }
    }
}

/// A set of spans of one trace.
#[derive(Clone, Debug, PartialEq)]
pub enum Spanset {
    /// `{ … }`; none is all.
    Filter(Option<Expr>),
    /// Two sets.
    Binary(SetOp, Box<Spanset>, Box<Spanset>),
    /// Stages in parentheses.
    Pipeline(Pipeline),
}

/// Functions over the spans of a set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Aggregate {
    /// How many.
    Count,
    /// Mean.
    Avg,
    /// Least.
    Min,
    /// Greatest.
    Max,
    /// Sum.
    Sum,
}

impl Aggregate {
    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Count => "count",
            Self::Avg => "avg",
            Self::Min => "min",
            Self::Max => "max",
            Self::Sum => "sum",
        }
    }

    /// By its name.
    pub fn named(name: &str) -> Option<Self> {
        let all = [Self::Count, Self::Avg, Self::Min, Self::Max, Self::Sum];
        all.into_iter().find(|f| f.name() == name)
    }
}

/// A number of a set of spans.
#[derive(Clone, Debug, PartialEq)]
pub enum Scalar {
    /// A literal.
    Literal(Value),
    /// A function; `count` has no argument.
    Aggregate(Aggregate, Option<Expr>),
    /// Two operands.
    Binary(Op, Box<Scalar>, Box<Scalar>),
}

/// A step of a pipeline.
#[derive(Clone, Debug, PartialEq)]
pub enum Stage {
    /// Spans of the set that also match.
    Spanset(Spanset),
    /// Sets for which it holds.
    Filter(Op, Scalar, Scalar),
    /// A set per value.
    By(Expr),
    /// One set of all.
    Coalesce,
    /// Fields that the answer shows.
    Select(Vec<Expr>),
}

/// Steps.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Pipeline {
    /// In order; the first is a set of spans.
    pub stages: Vec<Stage>,
}

/// Functions that make series of spans.
#[derive(Clone, Debug, PartialEq)]
pub enum MetricsFunction {
    /// Spans a second.
    Rate,
    /// Spans.
    Count,
    /// Least value.
    Min(Expr),
    /// Greatest value.
    Max(Expr),
    /// Mean.
    Avg(Expr),
    /// Sum.
    Sum(Expr),
    /// Quantiles.
    Quantile(Expr, Vec<f64>),
    /// How many in each bucket.
    Histogram(Expr),
    /// Attributes of a selection against those of the rest.
    Compare {
        /// Which spans.
        selection: Option<Expr>,
        /// How many values of an attribute are told.
        top: usize,
        /// Bounds of the selection's time, in nanoseconds since the epoch.
        times: Option<(i64, i64)>,
    },
}

/// What is done with series.
#[derive(Clone, Debug, PartialEq)]
pub enum SeriesStage {
    /// The greatest at each step.
    Top(usize),
    /// The least at each step.
    Bottom(usize),
    /// Points for which it holds.
    Filter(Op, Value),
}

/// How spans become series.
#[derive(Clone, Debug, PartialEq)]
pub struct Metrics {
    /// The function.
    pub function: MetricsFunction,
    /// A series per value of these.
    pub by: Vec<Expr>,
    /// What follows.
    pub then: Vec<SeriesStage>,
}

/// A query.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Query {
    /// Which spans.
    pub pipeline: Pipeline,
    /// What is made of them; none is a search.
    pub metrics: Option<Metrics>,
    /// `with (…)`.
    pub hints: Vec<(String, Value)>,
}
