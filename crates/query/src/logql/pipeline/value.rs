//! Values out of labels.

use crate::logql::amount;
use crate::logql::ast::Conversion;

/// Reads a value; the error says why there is none.
pub(super) fn read(text: &str, conversion: Option<Conversion>) -> Result<f64, String> {
    let value = match conversion {
        None => text.trim().parse().ok(),
        Some(Conversion::Duration | Conversion::DurationSeconds) => {
            amount::parse_duration(text.trim()).map(|ns| ns as f64 / 1e9)
        }
        Some(Conversion::Bytes) => amount::parse_bytes(text),
    };
    value.ok_or_else(|| {
        let kind = conversion.map_or("number", Conversion::text);
        format!("{text:?} is no {kind}")
    })
}
