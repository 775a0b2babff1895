//! OpenAPI documents, with entity tags so that clients fetch each version once.
//!
//! A tag is the hash of a document. Documents are made when they are asked for, and only their
//! tags are kept: a client that comes back with the present one costs nothing.

use crate::accept;
use crate::aggregation;
use crate::body::{self, Answer};
use crate::core::Call;
use crate::kinds::Kinds;
use crate::model;
use http::HeaderValue;
use http::header::{CACHE_CONTROL, ETAG, EXPIRES, IF_NONE_MATCH, LOCATION, VARY};
use parking_lot::Mutex;
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use towpath_api::openapi::gnostic;
use towpath_api::status;

/// Tags by document, each with what it was made from.
static TAGS: Mutex<BTreeMap<String, (String, String)>> = Mutex::new(BTreeMap::new());

/// What older clients still call the protobuf form.
const OLD_GNOSTIC: &str = "application/com.github.proto-openapi.spec.v2@v1.0+protobuf";
const YEAR: u64 = 365 * 24 * 3600;

fn hash(bytes: &[u8]) -> String {
    towpath_stdx::id::hex(&Sha256::digest(bytes)).to_uppercase()
}

/// Bytes with an entity tag, or 304 where the client has them.
pub(crate) fn tagged(call: &Call, content_type: &'static str, bytes: Vec<u8>) -> Answer {
    let tag = hash(&bytes);
    Ok(with_tag(call, content_type, &tag, || bytes))
}

fn with_tag(
    call: &Call,
    content_type: &'static str,
    tag: &str,
    bytes: impl FnOnce() -> Vec<u8>,
) -> http::Response<body::Body> {
    let tag = format!("\"{tag}\"");
    let asked = call.header(IF_NONE_MATCH);
    let known = asked == "*"
        || asked
            .split(',')
            .any(|one| one.trim().trim_start_matches("W/") == tag);
    let mut answer = if known {
        body::response(304, content_type, Vec::new())
    } else {
        body::response(200, content_type, bytes())
    };
    if let Ok(value) = HeaderValue::from_str(&tag) {
        answer.headers_mut().insert(ETAG, value);
    }
    answer
        .headers_mut()
        .insert(VARY, HeaderValue::from_static("Accept"));
    answer
}

// The tag of a document made from something, if it is known; else the document is made.
fn tag_of(name: &str, source: &str, make: impl FnOnce() -> Vec<u8>) -> (String, Option<Vec<u8>>) {
    let source = hash(source.as_bytes());
    if let Some((from, tag)) = TAGS.lock().get(name)
        && *from == source
    {
        return (tag.clone(), None);
    }
    let bytes = make();
    let tag = hash(&bytes);
    let mut tags = TAGS.lock();
    // Groups come and go with their definitions; made again, a tag is the same.
    if tags.len() > 1000 {
        tags.clear();
    }
    tags.insert(name.into(), (source, tag.clone()));
    (tag, Some(bytes))
}

fn place(group: &str, version: &str) -> String {
    match group {
        "" => format!("api/{version}"),
        name => format!("apis/{name}/{version}"),
    }
}

fn bytes_of(kinds: &Kinds, group: &str, version: &str) -> Option<Vec<u8>> {
    let document: Value = model::openapi(kinds, group, version)?;
    Some(serde_json::to_vec(&document).unwrap_or_default())
}

/// `/openapi/v3`: where each document is; the address changes with its content.
pub(crate) fn index(call: &Call) -> Answer {
    let kinds = call.core.kinds.load();
    let mut found = Map::new();
    for group in &kinds.groups {
        for version in &group.versions {
            let path = place(&group.name, version);
            let source = model::openapi_version(&kinds, &group.name, version);
            let (tag, _) = tag_of(&path, &source, || {
                bytes_of(&kinds, &group.name, version).unwrap_or_default()
            });
            let url = format!("/openapi/v3/{path}?hash={tag}");
            found.insert(path, json!({"serverRelativeURL": url}));
        }
    }
    for path in aggregation::openapi_paths(&call.core) {
        let url = format!("/openapi/v3/{path}");
        found.insert(path, json!({"serverRelativeURL": url}));
    }
    tagged(
        call,
        "application/json",
        json!({"paths": found}).to_string().into_bytes(),
    )
}

/// `/openapi/v3/<path>`: one document. Under the address that names its hash it never changes.
pub(crate) fn document(call: &Call, path: &str) -> Answer {
    let (group, version) = match path.split('/').collect::<Vec<_>>().as_slice() {
        ["api", version] => (String::new(), (*version).to_string()),
        ["apis", group, version] => ((*group).to_string(), (*version).to_string()),
        _ => return Err(status::no_such_resource()),
    };
    if !accept::takes(call.header(http::header::ACCEPT), "application/json") {
        return Ok(body::response(406, "text/plain; charset=utf-8", Vec::new()));
    }
    let kinds = call.core.kinds.load();
    let known = kinds.group(&group);
    known
        .filter(|known| known.versions.contains(&version))
        .ok_or_else(status::no_such_resource)?;
    let make = || bytes_of(&kinds, &group, &version).unwrap_or_default();
    let source = model::openapi_version(&kinds, &group, &version);
    let (tag, made) = tag_of(path, &source, make);
    let wanted = call.query.get("hash").filter(|hash| !hash.is_empty());
    if wanted.is_some_and(|wanted| wanted != tag) {
        let mut answer = body::response(301, "text/html; charset=utf-8", Vec::new());
        let place = format!("/openapi/v3/{path}?hash={tag}");
        if let Ok(place) = HeaderValue::from_str(&place) {
            answer.headers_mut().insert(LOCATION, place);
        }
        return Ok(answer);
    }
    let bytes = || made.unwrap_or_else(make);
    let mut answer = with_tag(call, "application/json", &tag, bytes);
    if wanted.is_some() {
        let until = call.core.clock.since_epoch().as_secs() + YEAR;
        let headers = answer.headers_mut();
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("public, immutable"));
        if let Ok(until) = HeaderValue::from_str(&towpath_api::time::http_date(until)) {
            headers.insert(EXPIRES, until);
        }
    }
    Ok(answer)
}

/// `/openapi/v2`, in JSON or in the protobuf form, both under the tag of the JSON.
pub(crate) fn v2(call: &Call) -> Answer {
    let accepted = call.header(http::header::ACCEPT);
    let known = ["application/json", OLD_GNOSTIC, gnostic::MEDIA_TYPE];
    let Some(kind) = accept::first(accepted, &known) else {
        return Ok(body::response(406, "text/plain; charset=utf-8", Vec::new()));
    };
    let kinds = call.core.kinds.load();
    let make = || model::openapi_v2(&kinds);
    let json = |document: &Value| serde_json::to_vec(document).unwrap_or_default();
    let mut document = None;
    let (tag, bytes) = tag_of("v2", &model::openapi_v2_version(&kinds), || {
        json(document.insert(make()))
    });
    Ok(match kind {
        0 => with_tag(call, "application/json", &tag, || {
            bytes.unwrap_or_else(|| json(&make()))
        }),
        _ => with_tag(call, gnostic::MEDIA_TYPE, &tag, || {
            gnostic::document(&document.unwrap_or_else(make))
        }),
    })
}
