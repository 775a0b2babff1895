//! Expressions: `${{ … }}` with GitHub's semantics. Pure: text → tree → value, under budgets for
//! length, depth and memory.

mod eval;
mod functions;
mod lex;
mod parse;
mod template;
mod value;

pub use eval::{HashFiles, Scope, Status, eval};
pub use functions::{FUNCTIONS, STATUS_FUNCTIONS};
pub use parse::{Expr, Operator, parse};
pub use template::{Part, condition, condition_expr, interpolate, parts, value_of};
pub use value::{Value, number_text};

/// What is wrong with an expression.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Byte offset in the text.
    pub offset: usize,
    /// What, as one sentence.
    pub message: String,
}
