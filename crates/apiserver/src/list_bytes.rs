//! Lists as bytes, from the stored bytes of their items: JSON is spliced while it is sent,
//! protobuf is written beside the threads that serve, since its length stands before it.

use crate::accept::Media;
use crate::body::{self, Body};
use crate::kinds::Resource;
use crate::wire::Finite;
use bytes::Bytes;
use futures::stream;
use http::Response;
use serde_json::Value;
use std::collections::VecDeque;
use std::sync::Arc;
use towpath_api::protobuf;
use towpath_store::Rec;

const CHUNK_BYTES: usize = 128 << 10;

/// The whole answer for a list whose items are shown as they are stored.
pub(crate) async fn answer(
    resource: &Resource,
    media: Media,
    metadata: &Value,
    items: Vec<Arc<Rec>>,
) -> Response<Body> {
    let total: usize = items.iter().map(|rec| rec.body_bytes() + 24).sum();
    if total < 2 * CHUNK_BYTES {
        return body::json_bytes(200, short(resource, metadata, items, total));
    }
    if media == Media::Protobuf
        && let Some(chunks) = protobuf(resource, metadata, &items).await
    {
        let mut answer = body::response(200, Media::Protobuf.name(), chunks);
        answer.extensions_mut().insert(Finite);
        return answer;
    }
    let mut answer = body::json_bytes(200, long(resource, metadata, items));
    answer.extensions_mut().insert(Finite);
    answer
}

fn head(resource: &Resource, metadata: &Value) -> Vec<u8> {
    let head = format!(
        "{{\"kind\":{},\"apiVersion\":{},\"metadata\":{metadata},\"items\":[",
        Value::from(resource.list_kind.as_str()),
        Value::from(resource.api_version())
    );
    head.into_bytes()
}

fn short(resource: &Resource, metadata: &Value, items: Vec<Arc<Rec>>, total: usize) -> Vec<u8> {
    let mut out = head(resource, metadata);
    out.reserve(total);
    append(&mut out, &mut VecDeque::from(items), usize::MAX, true);
    out.extend_from_slice(b"]}");
    out
}

fn long(resource: &Resource, metadata: &Value, items: Vec<Arc<Rec>>) -> Body {
    let state = (head(resource, metadata), VecDeque::from(items), true, false);
    Body::stream(stream::unfold(
        state,
        |(mut out, mut items, first, done)| async move {
            if done {
                return None;
            }
            out.reserve(CHUNK_BYTES);
            append(&mut out, &mut items, CHUNK_BYTES, first);
            let done = items.is_empty();
            if done {
                out.extend_from_slice(b"]}");
            }
            Some((Ok(Bytes::from(out)), (Vec::new(), items, false, done)))
        },
    ))
}

fn append(out: &mut Vec<u8>, items: &mut VecDeque<Arc<Rec>>, limit: usize, mut first: bool) {
    while out.len() < limit {
        let Some(rec) = items.pop_front() else { return };
        if !first {
            out.push(b',');
        }
        first = false;
        rec.write_to(out);
    }
}

// Nothing where an item has no such form, which is said in the log: then the list is JSON.
async fn protobuf(resource: &Resource, metadata: &Value, items: &[Arc<Rec>]) -> Option<Body> {
    let (version, kind) = (resource.api_version(), resource.kind.clone());
    let list_kind = resource.list_kind.clone();
    let (metadata, items) = (metadata.to_string(), items.to_vec());
    let work = move || {
        let writer = protobuf::Writer::of(&version, &kind)?;
        let mut out = protobuf::list_head(metadata.as_bytes())?;
        let (mut chunks, mut size, mut json) = (VecDeque::new(), 0, Vec::new());
        for rec in items {
            json.clear();
            rec.write_to(&mut json);
            writer.item(&json, &mut out)?;
            if out.len() >= CHUNK_BYTES {
                size += out.len();
                let next = Vec::with_capacity(CHUNK_BYTES + (16 << 10));
                chunks.push_back(Bytes::from(std::mem::replace(&mut out, next)));
            }
        }
        size += out.len();
        out.extend_from_slice(protobuf::ENVELOPE_END);
        chunks.push_back(out.into());
        chunks.push_front(protobuf::envelope(&version, &list_kind, size).into());
        Ok::<_, protobuf::Error>(chunks)
    };
    match tokio::task::spawn_blocking(work).await {
        Ok(Ok(chunks)) => Some(Body::stream(stream::iter(chunks.into_iter().map(Ok)))),
        Ok(Err(error)) => {
            tracing::error!(%error, kind = resource.kind, "a list cannot be written as protobuf");
            None
        }
        Err(_) => None,
    }
}
