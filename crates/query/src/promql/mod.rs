//! PromQL, the query language of Prometheus: parse, check, print, evaluate.
//!
//! The language is Prometheus 3.10's, its errors and annotations are word for word the same. What
//! upstream hides behind flags is on unless [`Options`] turn it off.

mod ast;
mod check;
mod functions;
mod lex;
mod matcher;
mod parse;
mod print;
mod text;

pub use ast::*;
pub use functions::{FUNCTIONS, Function};
pub use matcher::{MatchOp, Matcher};
pub use parse::{MAX_BYTES, MAX_DEPTH, Options, ParseError, parse, parse_selector, parse_with};
pub use print::format;
pub use text::{format_duration, format_general, format_number, parse_duration, quote};
