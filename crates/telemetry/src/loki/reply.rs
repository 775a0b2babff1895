//! Replies: JSON, packed where the client wants it and it is worth it.

use std::io::Write;

use axum::response::{IntoResponse, Response};
use flate2::Compression;
use flate2::write::GzEncoder;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE, VARY};
use serde_json::{Value, json};
use towpath_query::promql::{Labels, format_number};

/// Shorter replies are not packed, in bytes.
const WORTH_BYTES: usize = 1400;

pub(super) fn packed(value: &Value, gzip: bool) -> Response {
    let body = value.to_string().into_bytes();
    let headers = [(CONTENT_TYPE, "application/json; charset=UTF-8")];
    if !gzip || body.len() < WORTH_BYTES {
        return (headers, body).into_response();
    }
    let mut packer = GzEncoder::new(Vec::new(), Compression::fast());
    let packed = packer.write_all(&body).and_then(|()| packer.finish());
    match packed {
        Ok(packed) => {
            let coding = [(CONTENT_ENCODING, "gzip"), (VARY, "Accept-Encoding")];
            (headers, coding, packed).into_response()
        }
        Err(_) => (headers, body).into_response(),
    }
}

/// What succeeded, with its data.
pub(super) fn success(data: Value) -> Value {
    json!({ "status": "success", "data": data })
}

pub(super) fn labels(labels: &Labels) -> Value {
    let pairs = labels.iter();
    Value::Object(
        pairs
            .map(|(name, value)| (name.to_owned(), Value::from(value)))
            .collect(),
    )
}

/// A value with its time in seconds.
pub(super) fn sample(ms: i64, value: f64) -> Value {
    let time = if ms % 1000 == 0 {
        Value::from(ms / 1000)
    } else {
        Value::from(ms as f64 / 1000.0)
    };
    json!([time, format_number(value)])
}
