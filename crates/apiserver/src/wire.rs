//! The last step of an answer: handlers make JSON, and what goes out is in the media type that
//! the client asked for, for people or for programs, and compressed where the client takes that
//! and it is worth it.
//!
//! Large lists do not come this way as a whole: they are written while they are sent
//! ([`crate::list_bytes`]), and only compressed here, piece by piece.

use crate::accept::{self, Media, Wanted};
use crate::body::{self, Body};
use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use futures::stream::{self, BoxStream};
use futures::{Stream, StreamExt};
use http::header::{
    ACCEPT, ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, USER_AGENT, VARY,
};
use http::request::Parts;
use http::{HeaderValue, Response};
use serde_json::Value;
use std::io::{self, Write};
use towpath_api::protobuf;
use towpath_api::status::{self, Failure};
use towpath_render::yaml;

/// Answers up to here go as they are, as upstream does.
const COMPRESS_BYTES: usize = 128 << 10;
const CHUNK_BYTES: usize = 128 << 10;
/// Work on more than this is done beside the threads that serve.
const INLINE_BYTES: usize = 256 << 10;
/// YAML is made in one piece; more than this is refused.
const YAML_BYTES: usize = 32 << 20;

/// A stream that ends by itself and may be compressed.
#[derive(Clone, Copy)]
pub(crate) struct Finite;

/// What a request says about the answer's bytes.
pub(crate) struct Client {
    accept: HeaderValue,
    gzip: bool,
    pretty: bool,
}

impl Client {
    pub(crate) fn of(parts: &Parts) -> Self {
        let text = |name| {
            let value = parts.headers.get(name).and_then(|v| v.to_str().ok());
            value.unwrap_or_default()
        };
        let encodings = text(ACCEPT_ENCODING);
        let query = parts.uri.query().unwrap_or_default();
        let asked = query
            .split('&')
            .find_map(|pair| pair.strip_prefix("pretty="));
        let agent = text(USER_AGENT);
        Self {
            accept: parts
                .headers
                .get(ACCEPT)
                .cloned()
                .unwrap_or(HeaderValue::from_static("")),
            gzip: encodings.split(',').any(|name| name.trim() == "gzip"),
            pretty: match asked.filter(|value| !value.is_empty()) {
                Some(value) => matches!(value, "1" | "t" | "T" | "true" | "TRUE" | "True"),
                // A page's own requests come from browsers too; the address bar asks for HTML.
                None => {
                    agent.starts_with("curl")
                        || agent.starts_with("Wget")
                        || agent.starts_with("Mozilla/5.0") && text(ACCEPT).contains("text/html")
                }
            },
        }
    }

    // What the answer shall be, and whether for people.
    fn wants(&self, answer: &Response<Body>) -> (Media, bool) {
        let chosen = answer.extensions().get::<Wanted>().copied();
        match chosen.filter(|_| answer.status().is_success()) {
            Some(wanted) => (wanted.media, wanted.pretty || self.pretty),
            None => {
                let accept = self.accept.to_str().unwrap_or_default();
                (accept::for_status(accept), self.pretty)
            }
        }
    }
}

/// Brings an answer into the form in which it is sent.
pub(crate) async fn finish(client: Client, mut answer: Response<Body>) -> Response<Body> {
    let is_json = answer
        .headers()
        .get(CONTENT_TYPE)
        .map(HeaderValue::as_bytes)
        == Some(Media::Json.name().as_bytes());
    if is_json {
        let (media, pretty) = client.wants(&answer);
        if let Err(failure) = translate(&mut answer, media, pretty).await {
            return body::failure(&failure);
        }
    }
    if client.gzip {
        compress(&mut answer);
    }
    answer
}

async fn translate(answer: &mut Response<Body>, media: Media, pretty: bool) -> Result<(), Failure> {
    if media == Media::Json && !pretty {
        return Ok(());
    }
    let finite = answer.extensions().get::<Finite>().is_some();
    let json = match answer.body().whole() {
        Some(bytes) => bytes,
        // A list that was to be sent piece by piece.
        None if media == Media::Yaml && finite => gather(answer.body_mut()).await?,
        None => return Ok(()),
    };
    let work = move || rewritten(&json, media, pretty);
    let made = match answer.body().whole() {
        Some(bytes) if bytes.len() <= INLINE_BYTES => work(),
        _ => tokio::task::spawn_blocking(work).await.unwrap_or_default(),
    };
    if let Some(bytes) = made {
        answer.body_mut().replace(bytes.into());
        let name = HeaderValue::from_static(media.name());
        answer.headers_mut().insert(CONTENT_TYPE, name);
        answer.headers_mut().remove(CONTENT_LENGTH);
    }
    Ok(())
}

// Nothing where the answer is no object, or has no such form: then it stays JSON.
fn rewritten(json: &[u8], media: Media, pretty: bool) -> Option<Vec<u8>> {
    match media {
        Media::Protobuf => {
            let made = protobuf::encode(json);
            made.inspect_err(|error| match error {
                protobuf::Error::Kind(_) => {}
                error => tracing::error!(%error, "an object cannot be written as protobuf"),
            })
            .ok()
        }
        Media::Yaml => {
            let value: Value = serde_json::from_slice(json).ok()?;
            value.get("kind")?;
            let text = yaml::to_yaml(&yaml::Node::from_json(&value));
            Some(text.into_bytes())
        }
        Media::Json if pretty && json.len() <= INLINE_BYTES => {
            let value: Value = serde_json::from_slice(json).ok()?;
            serde_json::to_vec_pretty(&value).ok()
        }
        Media::Json => None,
    }
}

async fn gather(body: &mut Body) -> Result<Bytes, Failure> {
    let mut all = Vec::new();
    let mut stream = body.take_stream();
    while let Some(part) = stream.next().await {
        let part = part.map_err(|error| status::internal(error.to_string()))?;
        if all.len() + part.len() > YAML_BYTES {
            return Err(status::bad_request(
                "the list is too long to be written as YAML: ask for less with limit, or for JSON",
            ));
        }
        all.extend_from_slice(&part);
    }
    Ok(all.into())
}

fn compress(answer: &mut Response<Body>) {
    let worth = match answer.body().whole() {
        Some(bytes) => bytes.len() > COMPRESS_BYTES,
        None => answer.extensions().get::<Finite>().is_some(),
    };
    let kind = answer.headers().get(CONTENT_TYPE);
    let kind = kind.and_then(|v| v.to_str().ok()).unwrap_or_default();
    let known = kind.starts_with("application/json")
        || kind.starts_with("application/yaml")
        || kind.starts_with(protobuf::MEDIA_TYPE)
        || kind.starts_with("application/com.github.proto-openapi");
    if !worth || !known || answer.headers().contains_key(CONTENT_ENCODING) {
        return;
    }
    let headers = answer.headers_mut();
    headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    headers.append(VARY, HeaderValue::from_static("Accept-Encoding"));
    headers.remove(CONTENT_LENGTH);
    let body = answer.body_mut();
    let parts: BoxStream<'static, io::Result<Bytes>> = match body.whole() {
        Some(mut bytes) => stream::iter(std::iter::from_fn(move || {
            let size = bytes.len().min(CHUNK_BYTES);
            (size > 0).then(|| Ok(bytes.split_to(size)))
        }))
        .boxed(),
        None => body.take_stream(),
    };
    body.stream_instead(zipped(parts));
}

// Compressed piece by piece: no more than one piece is held.
fn zipped(
    parts: BoxStream<'static, io::Result<Bytes>>,
) -> impl Stream<Item = io::Result<Bytes>> + Send {
    let writer = GzEncoder::new(Vec::new(), Compression::fast());
    stream::unfold(Some((parts, writer)), |state| async move {
        let (mut parts, mut writer) = state?;
        loop {
            match parts.next().await {
                Some(Ok(part)) => {
                    if let Err(error) = writer.write_all(&part) {
                        return Some((Err(error), None));
                    }
                    let made = std::mem::take(writer.get_mut());
                    if !made.is_empty() {
                        return Some((Ok(Bytes::from(made)), Some((parts, writer))));
                    }
                }
                Some(Err(error)) => return Some((Err(error), None)),
                None => return Some((writer.finish().map(Bytes::from), None)),
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::BodyExt;
    use std::io::Read;

    fn client(headers: &[(&'static str, &'static str)], uri: &str) -> Client {
        let mut request = http::Request::builder().uri(uri);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        Client::of(&request.body(()).expect("request").into_parts().0)
    }

    async fn sent(client: Client, answer: Response<Body>) -> (http::HeaderMap, Vec<u8>) {
        let (parts, body) = finish(client, answer).await.into_parts();
        let bytes = body.collect().await.expect("body").to_bytes();
        (parts.headers, bytes.to_vec())
    }

    #[tokio::test]
    async fn large_answers_are_compressed_for_those_who_take_it() {
        let text = format!("{{\"a\":\"{}\"}}", "x".repeat(400_000));
        let answer = || body::json_bytes(200, text.clone().into_bytes());
        let (headers, bytes) =
            sent(client(&[("accept-encoding", "br, gzip")], "/"), answer()).await;
        assert_eq!(headers[CONTENT_ENCODING], "gzip");
        assert!(bytes.len() < 10_000);
        let mut plain = String::new();
        flate2::read::GzDecoder::new(&bytes[..])
            .take(1 << 20)
            .read_to_string(&mut plain)
            .expect("gzip");
        assert_eq!(plain, text);
        for other in [&[("accept-encoding", "gzip;q=1")][..], &[]] {
            let (headers, bytes) = sent(client(other, "/"), answer()).await;
            assert!(!headers.contains_key(CONTENT_ENCODING) && bytes == text.as_bytes());
        }
        let small = body::json_bytes(200, b"{}".to_vec());
        let (headers, _) = sent(client(&[("accept-encoding", "gzip")], "/"), small).await;
        assert!(!headers.contains_key(CONTENT_ENCODING));
    }

    #[tokio::test]
    async fn failures_are_told_in_what_is_accepted() {
        let failure = || body::failure(&status::bad_request("no"));
        let yaml = [("accept", "application/yaml")];
        let (headers, bytes) = sent(client(&yaml, "/"), failure()).await;
        assert_eq!(headers[CONTENT_TYPE], "application/yaml");
        assert!(bytes.starts_with(b"apiVersion: v1\ncode: 400\n"));
        let typed = [("accept", "application/vnd.kubernetes.protobuf")];
        let (_, bytes) = sent(client(&typed, "/"), failure()).await;
        let status = protobuf::decode(&bytes).expect("protobuf");
        assert_eq!(status["message"], "no");
        let (headers, _) = sent(client(&[("accept", "text/html")], "/"), failure()).await;
        assert_eq!(headers[CONTENT_TYPE], "application/json");
        // What is no object stays as it is; people get it with line breaks.
        let version = || body::json_bytes(200, br#"{"major":"1"}"#.to_vec());
        let (headers, bytes) = sent(client(&typed, "/"), version()).await;
        assert!(headers[CONTENT_TYPE] == "application/json" && bytes == br#"{"major":"1"}"#);
        let (_, bytes) = sent(client(&[("user-agent", "curl/8")], "/"), version()).await;
        assert_eq!(bytes, b"{\n  \"major\": \"1\"\n}");
        let (_, bytes) = sent(
            client(&[("user-agent", "curl/8")], "/?pretty=false"),
            version(),
        )
        .await;
        assert_eq!(bytes, br#"{"major":"1"}"#);
    }
}
