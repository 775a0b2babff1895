//! PromQL, the query language of Prometheus: parse, check, print, evaluate.
//!
//! The language is Prometheus 3.10's, its errors and annotations are word for word the same. What
//! upstream hides behind flags is on unless [`Options`] turn it off.

mod annotation;
mod ast;
mod check;
mod engine;
mod functions;
mod hash;
mod histogram;
mod labels;
mod lex;
mod matcher;
mod notation;
mod parse;
mod print;
mod series;
mod text;

pub use annotation::{Annotation, Annotations, Level};
pub use ast::*;
pub use engine::{
    Answer, EvalError, Hints, InstantSample, Settings, Source, Stop, Value, instant, prepared,
    range,
};
pub use functions::{FUNCTIONS, Function};
pub use histogram::{Bucket, CUSTOM, Cell, Histogram, Incompatible, Layout, ResetHint};
pub use labels::{Labels, NAME};
pub(crate) use matcher::is_plain_label;
pub use matcher::{MatchOp, Matcher};
pub use notation::{Notated, parse_series};
pub use parse::{MAX_BYTES, MAX_DEPTH, Options, ParseError, parse, parse_selector, parse_with};
pub use print::format;
pub use series::{Downsampled, HistogramSample, Samples, Series, is_stale, stale};
pub use text::{format_duration, format_general, format_number, parse_duration, quote};
pub(crate) use text::{parse_number, quote_char, unquote};
