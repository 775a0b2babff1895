//! YAML of files people write: bounded, and with the place of what is wrong.

use std::borrow::Cow;

use serde::de::{DeserializeOwned, Error as _};
use serde::{Deserialize, Deserializer};
use serde_saphyr::Spanned;
use towpath_query::promql::parse_duration;

use crate::Finding;

/// No file is larger.
pub(crate) const MAX_BYTES: usize = 8 << 20;

/// The place of something that was read.
pub(crate) fn place<T>(of: &Spanned<T>) -> (u64, u64) {
    (of.referenced.line(), of.referenced.column())
}

/// Reads a document; an empty one gives the default.
pub(crate) fn read<T: DeserializeOwned + Default>(text: &str) -> Result<T, Finding> {
    if text.len() > MAX_BYTES {
        return Err(Finding::new(format!(
            "the file is larger than {MAX_BYTES} bytes"
        )));
    }
    let aliases = serde_saphyr::alias_limits! { max_total_replayed_events: 100_000 };
    let options = serde_saphyr::options! {
        alias_limits: aliases,
        with_snippet: false,
        // `n` is a text where a text is wanted.
        strict_booleans: true,
    };
    match serde_saphyr::from_str_with_options::<Option<T>>(text, options) {
        Ok(found) => Ok(found.unwrap_or_default()),
        Err(error) => {
            let place = error.location().map(|l| (l.line(), l.column()));
            let message = error.to_string();
            // The place stands beside the message, not in it.
            let message = match message.rsplit_once(" at line ") {
                Some((before, _)) => before.to_owned(),
                None => message,
            };
            Err(Finding { place, message })
        }
    }
}

/// A span of time in milliseconds, written as Prometheus writes it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Span(pub(crate) i64);

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Cow::<'de, str>::deserialize(deserializer)?;
        parse_duration(&text).map(Self).map_err(D::Error::custom)
    }
}

/// A truth value in any of the words that YAML 1.1 has for it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Flag(pub(crate) bool);

/// What a word says.
pub(crate) fn truth(word: &str) -> Option<bool> {
    match word.to_ascii_lowercase().as_str() {
        "true" | "yes" | "on" | "y" => Some(true),
        "false" | "no" | "off" | "n" => Some(false),
        _ => None,
    }
}

impl<'de> Deserialize<'de> for Flag {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let word = Cow::<'de, str>::deserialize(deserializer)?;
        let told = truth(&word).ok_or_else(|| D::Error::custom(format!("{word} is no boolean")));
        told.map(Self)
    }
}
