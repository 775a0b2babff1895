//! TraceQL, the query language for traces: parse, check, print, evaluate.
//!
//! A query selects sets of spans, one trace at a time, and either tells the traces ([`search`]) or
//! makes series of the spans ([`metrics()`]). Spans come from a [`SpanSource`], which is told what
//! the query looks at, so that it reads nothing else.

mod ast;
mod check;
mod eval;
mod lex;
mod metrics;
mod model;
mod parse;
mod print;
mod search;
mod source;
mod value;

pub use ast::{
    Aggregate, AttributeScope, Expr, Field, Intrinsic, Metrics, MetricsFunction, Node, Op,
    Pipeline, Place as TextPlace, Query, Relation, Scalar, SeriesStage, SetOp, Spanset, Stage,
};
pub use eval::{Budget, EvalError};
pub use metrics::{Example, MetricAnswer, MetricSeries, Range, metrics};
pub use model::{
    Attributes, Event, Link, Place, Resource, Scope, Span, SpanId, Summary, Trace, TraceId, find,
};
pub use parse::{MAX_BYTES, MAX_DEPTH, ParseError, parse};
pub use search::{Found, FoundSet, FoundSpan, FoundTrace, Search, search};
pub use source::{Condition, SpanSource, Wanted};
pub use value::{Kind, Status, Value};
