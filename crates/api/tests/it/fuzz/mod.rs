//! Every decoder of this crate under mutated inputs: no panic, an end within a second, and what
//! was read can be written and read again.

mod formats;
mod languages;
mod objects;
mod words;
mod writes;

use serde_json::Value;
use std::path::{Path, PathBuf};
use towpath_api::{field::FieldError, json as text};

fn corpus(decoder: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/corpus/fuzz")
        .join(decoder)
}

fn parsed(input: &[u8]) -> Result<Value, String> {
    let limits = text::Limits::default();
    text::parse(input, limits)
        .map(|(value, _)| value)
        .map_err(|error| format!("unread {error}"))
}

fn findings(found: &[FieldError]) -> String {
    found
        .iter()
        .take(3)
        .map(|error| format!("{error:?} "))
        .collect()
}
