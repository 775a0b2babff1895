//! Request and response bodies, and answers in the shapes of the API.

use bytes::Bytes;
use futures::Stream;
use futures::stream::BoxStream;
use http::{HeaderValue, Response, StatusCode, header};
use http_body::{Frame, SizeHint};
use http_body_util::BodyExt;
use http_body_util::combinators::UnsyncBoxBody;
use serde_json::Value;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;
use towpath_api::status::{self, Failure};

/// A request's body, whatever it came in by.
pub(crate) type Incoming = UnsyncBoxBody<Bytes, io::Error>;

type Cause = Box<dyn std::error::Error + Send + Sync>;

fn cause<E: Into<Cause>>(error: E) -> io::Error {
    io::Error::other(error)
}

/// Largest body of a request, as upstream.
pub(crate) const REQUEST_BYTES: usize = 3 << 20;
// How much more is taken of a body that is refused.
const REFUSED_BYTES: usize = 32 << 20;

/// All of a request's body, which must be there by a deadline.
///
/// A client that is still sending when it is refused sees a broken connection instead of the
/// reason; so a body that is too large is read on for a while, and forgotten.
pub(crate) async fn read(mut body: Incoming, deadline: Duration) -> Result<Bytes, Failure> {
    let reading = async {
        let (mut first, mut rest, mut size) = (Bytes::new(), Vec::new(), 0);
        while let Some(frame) = body.frame().await {
            let Ok(data) = frame?.into_data() else {
                continue;
            };
            size += data.len();
            if size > REQUEST_BYTES + REFUSED_BYTES {
                break;
            }
            if size > REQUEST_BYTES {
                (first, rest) = (Bytes::new(), Vec::new());
            } else if first.is_empty() {
                first = data;
            } else {
                // Copied, so that many small pieces do not hold many buffers.
                rest.extend_from_slice(&data);
            }
        }
        Ok::<_, io::Error>((first, rest, size))
    };
    match tokio::time::timeout(deadline, reading).await {
        Ok(Ok((.., size))) if size > REQUEST_BYTES => Err(status::too_large(REQUEST_BYTES)),
        Ok(Ok((first, rest, _))) if rest.is_empty() => Ok(first),
        Ok(Ok((first, rest, _))) => Ok([&first[..], &rest].concat().into()),
        Ok(Err(error)) => Err(status::bad_request(format!("read body: {error}"))),
        Err(_) => Err(status::timeout(
            "request did not complete within the allotted timeout",
        )),
    }
}

/// Any body as a request's.
pub(crate) fn incoming<B>(body: B) -> Incoming
where
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<Cause>,
{
    body.map_err(cause::<B::Error>).boxed_unsync()
}

/// A response's body: bytes, or a stream of them.
pub struct Body(Kind, Option<End>);

// Something to do when a body is gone, sent or not.
struct End(Option<Box<dyn FnOnce() + Send>>);

impl Drop for End {
    fn drop(&mut self) {
        if let Some(end) = self.0.take() {
            end();
        }
    }
}

enum Kind {
    Once(Option<Bytes>),
    Stream(BoxStream<'static, io::Result<Bytes>>),
}

impl Body {
    pub(crate) fn stream(stream: impl Stream<Item = io::Result<Bytes>> + Send + 'static) -> Self {
        Self(Kind::Stream(Box::pin(stream)), None)
    }

    /// The bytes, where it is not a stream.
    pub(crate) fn whole(&self) -> Option<Bytes> {
        match &self.0 {
            Kind::Once(bytes) => Some(bytes.clone().unwrap_or_default()),
            Kind::Stream(_) => None,
        }
    }

    /// Other bytes instead; what is done at the end stays.
    pub(crate) fn replace(&mut self, bytes: Bytes) {
        self.0 = Self::from(bytes).0;
    }

    /// A stream instead; what is done at the end stays.
    pub(crate) fn stream_instead(
        &mut self,
        stream: impl Stream<Item = io::Result<Bytes>> + Send + 'static,
    ) {
        self.0 = Kind::Stream(Box::pin(stream));
    }

    /// The stream, taken out; empty where the body is none.
    pub(crate) fn take_stream(&mut self) -> BoxStream<'static, io::Result<Bytes>> {
        match std::mem::replace(&mut self.0, Kind::Once(None)) {
            Kind::Stream(stream) => stream,
            Kind::Once(_) => Box::pin(futures::stream::empty()),
        }
    }

    /// Does something once the body is gone.
    pub(crate) fn at_end(&mut self, end: impl FnOnce() + Send + 'static) {
        self.1 = Some(End(Some(Box::new(end))));
    }
}

impl From<Bytes> for Body {
    fn from(bytes: Bytes) -> Self {
        Self(Kind::Once(Some(bytes).filter(|b| !b.is_empty())), None)
    }
}

impl From<Vec<u8>> for Body {
    fn from(bytes: Vec<u8>) -> Self {
        Bytes::from(bytes).into()
    }
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        match &mut self.0 {
            Kind::Once(bytes) => Poll::Ready(bytes.take().map(|b| Ok(Frame::data(b)))),
            Kind::Stream(stream) => stream.as_mut().poll_next(cx).map_ok(Frame::data),
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(self.0, Kind::Once(None))
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            Kind::Once(bytes) => SizeHint::with_exact(bytes.as_ref().map_or(0, |b| b.len() as u64)),
            Kind::Stream(_) => SizeHint::default(),
        }
    }
}

/// What a handler answers.
pub(crate) type Answer = Result<Response<Body>, Failure>;

pub(crate) fn response(
    code: u16,
    content_type: &'static str,
    body: impl Into<Body>,
) -> Response<Body> {
    let mut response = Response::new(body.into());
    *response.status_mut() =
        StatusCode::from_u16(code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(
        header::CACHE_CONTROL,
        HeaderValue::from_static("no-cache, private"),
    );
    response
}

pub(crate) fn json_bytes(code: u16, body: impl Into<Body>) -> Response<Body> {
    response(code, "application/json", body)
}

pub(crate) fn json(code: u16, value: &Value) -> Response<Body> {
    json_bytes(code, serde_json::to_vec(value).unwrap_or_default())
}

pub(crate) fn text(code: u16, text: impl Into<String>) -> Response<Body> {
    response(code, "text/plain; charset=utf-8", text.into().into_bytes())
}

pub(crate) fn failure(failure: &Failure) -> Response<Body> {
    let mut status = failure.to_value();
    // A fresh token for the rest of an expired list belongs to the list's metadata.
    if let Some(token) = status.pointer("/details/continue").cloned() {
        status["metadata"]["continue"] = token;
        status["details"] = Value::Null;
    }
    let mut answer = json(failure.code, &status);
    let retry = failure
        .details
        .as_ref()
        .and_then(|d| d["retryAfterSeconds"].as_u64());
    if let Some(value) = retry.and_then(|s| HeaderValue::from_str(&s.to_string()).ok()) {
        answer.headers_mut().insert(header::RETRY_AFTER, value);
    }
    if failure.code == 401 {
        let challenge = HeaderValue::from_static("Bearer realm=\"kubernetes\"");
        answer
            .headers_mut()
            .insert(header::WWW_AUTHENTICATE, challenge);
    }
    answer
}

/// Adds warnings as headers, as clients show them.
pub(crate) fn warn(answer: &mut Response<Body>, warnings: &[String]) {
    for warning in warnings.iter().take(64) {
        let quoted = warning.replace('\\', "\\\\").replace('"', "\\\"");
        if let Ok(value) = HeaderValue::from_str(&format!("299 - \"{quoted}\"")) {
            answer.headers_mut().append(header::WARNING, value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::StreamExt;
    use http_body_util::StreamBody;

    fn sent(parts: impl Stream<Item = Vec<u8>> + Send + 'static) -> Incoming {
        incoming(StreamBody::new(
            parts.map(|part| Ok::<_, io::Error>(Frame::data(Bytes::from(part)))),
        ))
    }

    #[tokio::test]
    async fn a_body_is_whole_or_refused() {
        let soon = Duration::from_secs(60);
        let small = futures::stream::iter((0..1000u32).map(|n| vec![n as u8]));
        let read = super::read(sent(small), soon).await.expect("body");
        assert_eq!((read.len(), read[999]), (1000, 231));
        let endless = futures::stream::repeat(vec![0; 1 << 20]);
        let refused = super::read(sent(endless), soon)
            .await
            .expect_err("too large");
        assert_eq!(refused.code, 413);
        let slow = futures::stream::iter([vec![b'{']]).chain(futures::stream::pending());
        let refused = super::read(sent(slow), Duration::from_millis(50)).await;
        let refused = refused.expect_err("too slow");
        assert_eq!(
            (refused.code, refused.message.as_str()),
            (
                504,
                "Timeout: request did not complete within the allotted timeout"
            )
        );
    }
}
