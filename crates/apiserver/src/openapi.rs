//! OpenAPI documents, with entity tags so that clients fetch each version once.

use crate::body::{self, Answer};
use crate::core::Call;
use crate::model;
use http::HeaderValue;
use http::header::{ETAG, IF_NONE_MATCH, VARY};
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};
use towpath_api::status;

fn hash(bytes: &[u8]) -> String {
    towpath_stdx::id::hex(&Sha256::digest(bytes)).to_uppercase()
}

/// Bytes with an entity tag, or 304 where the client has them.
pub(crate) fn tagged(call: &Call, content_type: &'static str, bytes: Vec<u8>) -> Answer {
    let tag = format!("\"{}\"", hash(&bytes));
    let known = call.header(IF_NONE_MATCH) == tag;
    let mut answer = if known {
        body::response(304, content_type, Vec::new())
    } else {
        body::response(200, content_type, bytes)
    };
    if let Ok(value) = HeaderValue::from_str(&tag) {
        answer.headers_mut().insert(ETAG, value);
    }
    answer
        .headers_mut()
        .insert(VARY, HeaderValue::from_static("Accept"));
    Ok(answer)
}

/// `/openapi/v3`: where each document is; the address changes with its content.
pub(crate) fn index(call: &Call) -> Answer {
    let kinds = call.core.kinds.load();
    let mut found = Map::new();
    for group in &kinds.groups {
        for version in &group.versions {
            let path = match group.name.as_str() {
                "" => format!("api/{version}"),
                name => format!("apis/{name}/{version}"),
            };
            let tag = hash(model::openapi_version(&kinds, &group.name, version).as_bytes());
            found.insert(
                path.clone(),
                json!({"serverRelativeURL": format!("/openapi/v3/{path}?hash={tag}")}),
            );
        }
    }
    tagged(
        call,
        "application/json",
        json!({"paths": found}).to_string().into_bytes(),
    )
}

/// `/openapi/v3/<path>`: one document.
pub(crate) fn document(call: &Call, path: &str) -> Answer {
    let (group, version) = match path.split('/').collect::<Vec<_>>().as_slice() {
        ["api", version] => (String::new(), (*version).to_string()),
        ["apis", group, version] => ((*group).to_string(), (*version).to_string()),
        _ => return Err(status::no_such_resource()),
    };
    let kinds = call.core.kinds.load();
    let document: Value =
        model::openapi(&kinds, &group, &version).ok_or_else(status::no_such_resource)?;
    tagged(
        call,
        "application/json",
        serde_json::to_vec(&document).unwrap_or_default(),
    )
}

/// `/openapi/v2`, in its JSON form; clients that want it in protobuf have v3.
pub(crate) fn v2(call: &Call) -> Answer {
    let accept = call.header(http::header::ACCEPT);
    if !accept.is_empty()
        && !["json", "*/*", "application/*"]
            .iter()
            .any(|form| accept.contains(form))
    {
        return Err(status::not_acceptable(&["application/json"]));
    }
    let document = model::openapi_v2(&call.core.kinds.load());
    tagged(
        call,
        "application/json",
        serde_json::to_vec(&document).unwrap_or_default(),
    )
}
