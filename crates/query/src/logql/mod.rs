//! LogQL, the query language of Loki: parse, print, evaluate over a [`LogSource`].
//!
//! Written from its public documentation. Metric queries become expressions of PromQL whose
//! selectors are the functions over ranges of lines, so that aggregations, operators and matching
//! are those of the one engine there is.

mod amount;
mod ast;
mod engine;
mod lex;
mod parse;
mod pipeline;
mod print;
mod source;

pub use ast::*;
pub use engine::{
    Answer, EvalError, LogAnswer, LogEntry, Settings, Statistics, instant, logs, range,
};
pub use parse::{MAX_BYTES, MAX_DEPTH, ParseError, parse, parse_log, parse_matchers};
pub use pipeline::{Outcome, Pipeline, fields};
pub use print::format;
pub use source::{Direction, LogSource, Needle, Row, Scanned, Selection, Sink};
