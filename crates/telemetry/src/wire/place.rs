//! Where and why a body could not be read.

use towpath_query::promql::quote;

/// How much of a line is shown in an error.
const SHOWN_BYTES: usize = 160;

/// A body breaks its format.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message} (line {line}, column {column})")]
pub struct ParseError {
    /// What was expected and what is there.
    pub message: String,
    /// From 1; of a binary format always 1.
    pub line: usize,
    /// Byte of the line, from 1; of a binary format of the body.
    pub column: usize,
}

impl ParseError {
    /// An error at a byte of a text.
    pub(super) fn at(input: &[u8], at: usize, message: impl Into<String>) -> Self {
        let before = &input[..at.min(input.len())];
        Self {
            message: message.into(),
            line: memchr::memchr_iter(b'\n', before).count() + 1,
            column: at - memchr::memrchr(b'\n', before).map_or(0, |newline| newline + 1) + 1,
        }
    }

    /// Something else was expected at a byte of an entry that begins at `start`.
    pub(super) fn expected(input: &[u8], start: usize, at: usize, what: &str) -> Self {
        let end = |from: usize| {
            let rest = &input[from.min(input.len())..];
            let length = memchr::memchr(b'\n', rest).map_or(rest.len(), |newline| newline + 1);
            from.min(input.len()) + length
        };
        let next = input.get(at).map_or_else(
            || "the end".to_owned(),
            |byte| shown(std::slice::from_ref(byte)),
        );
        let entry = shown(&input[start.min(input.len())..end(at).max(start.min(input.len()))]);
        Self::at(
            input,
            at,
            format!("{what}, got {next} while parsing: {entry}"),
        )
    }
}

/// Bytes as a quoted text of limited length.
pub(super) fn shown(bytes: &[u8]) -> String {
    let (bytes, more) = match bytes.get(..SHOWN_BYTES) {
        Some(start) if bytes.len() > SHOWN_BYTES => (start, "..."),
        _ => (bytes, ""),
    };
    quote(&String::from_utf8_lossy(bytes)) + more
}
