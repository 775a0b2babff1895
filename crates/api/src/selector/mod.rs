//! Label and field selectors: parse, match, print, with upstream's errors.

mod field;
mod label;
mod parse;

pub use field::{Field, field_text, missing, resolve, selectable};
pub use label::{Label, Operator, Requirement};

/// Why a text is no selector.
#[derive(Debug, thiserror::Error, PartialEq, Eq, Clone)]
pub enum Error {
    /// Not the grammar of label selectors, or a key or value outside its own.
    #[error("unable to parse requirement: {0}")]
    Label(String),
    /// Requirements that are not put together as upstream's grammar has it.
    #[error("{0}")]
    List(String),
    /// Not the grammar of field selectors.
    #[error("invalid selector: '{0}'; can't understand '{1}'")]
    Field(String, String),
    /// A field that objects of this kind cannot be selected by.
    #[error("{0}")]
    Unsupported(String),
    /// A `LabelSelector` with an operator that does not exist.
    #[error("{0:?} is not a valid label selector operator")]
    Operator(String),
}
