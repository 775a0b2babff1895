//! The Common Expression Language as the Kubernetes API server speaks it.
//!
//! An [`Env`] names the variables and their types; [`Env::compile`] reads and checks an
//! expression; the [`Program`] it gives is evaluated any number of times, each time within a
//! budget of steps that is counted as upstream counts it, so that an expression fits both servers
//! or none. [`Program::estimate`] says the most it could cost for all objects of a shape.
//!
//! Nothing here can hang or exhaust memory: nesting, length, steps and the sizes of texts, lists
//! and patterns are bounded.

mod ast;
mod check;
mod cost;
mod env;
mod estimate;
mod eval;
mod fold;
mod format;
mod functions;
mod json;
mod lex;
mod lists;
mod macros;
mod names;
mod net;
mod numbers;
mod parse;
mod semver;
mod shape;
mod strings;
mod text;
mod time;
mod types;
mod url;
mod validate;
mod value;

pub(crate) use env::Source;
pub use env::{Env, Issue, Issues, Program};
pub use estimate::Estimate;
pub use eval::{Error, Outcome, Variables};
pub use names::{escape, unescape};
pub use shape::{Merge, REQUEST_BYTES, Shape};
pub use types::{Object, Type};
pub use value::{Authorizer, Check, Decision, Key, List, Map, Value};

/// Most one expression may cost.
pub const CALL_LIMIT: u64 = 1_000_000;
