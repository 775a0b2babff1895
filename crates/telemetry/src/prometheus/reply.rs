//! Replies, written piece by piece while they are sent.
//!
//! An endpoint writes into a buffer on a thread of its own. What stays small goes out whole; what
//! grows is sent in pieces while the rest is being written, and the writer waits when the client
//! is slow. A client that went away ends the writing at the next piece.

use std::io::Write;

use axum::body::Body;
use bytes::Bytes;
use flate2::Compression;
use flate2::write::{GzEncoder, ZlibEncoder};
use http::header::{ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_TYPE, VARY};
use http::{HeaderMap, HeaderValue, Response, StatusCode};
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use super::fault::{Fault, Kind};
use super::json;

/// Bytes that are written before a piece is sent.
const PIECE_BYTES: usize = 64 << 10;
/// Pieces that a slow client may be behind.
const PIECES: usize = 4;

/// What the client can unpack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Coding {
    Plain,
    Gzip,
    Deflate,
}

impl Coding {
    /// The first coding in the list that is known here; weights are not looked at, as upstream
    /// does not.
    pub(super) fn accepted(headers: &HeaderMap) -> Self {
        let accepted = headers.get(ACCEPT_ENCODING).and_then(|v| v.to_str().ok());
        let mut names = accepted.unwrap_or("").split(',').map(str::trim);
        names
            .find_map(|name| match name {
                "gzip" => Some(Self::Gzip),
                "deflate" => Some(Self::Deflate),
                _ => None,
            })
            .unwrap_or(Self::Plain)
    }

    fn name(self) -> Option<&'static str> {
        match self {
            Self::Plain => None,
            Self::Gzip => Some("gzip"),
            Self::Deflate => Some("deflate"),
        }
    }
}

enum Packer {
    Plain,
    Gzip(GzEncoder<Vec<u8>>),
    Deflate(ZlibEncoder<Vec<u8>>),
}

impl Packer {
    fn new(coding: Coding) -> Self {
        match coding {
            Coding::Plain => Self::Plain,
            Coding::Gzip => Self::Gzip(GzEncoder::new(Vec::new(), Compression::fast())),
            Coding::Deflate => Self::Deflate(ZlibEncoder::new(Vec::new(), Compression::fast())),
        }
    }

    // Writing into memory does not fail.
    fn pack(&mut self, plain: &mut Vec<u8>) -> Vec<u8> {
        let packed = match self {
            Self::Plain => return std::mem::take(plain),
            Self::Gzip(packer) => {
                let _ = packer.write_all(plain);
                std::mem::take(packer.get_mut())
            }
            Self::Deflate(packer) => {
                let _ = packer.write_all(plain);
                std::mem::take(packer.get_mut())
            }
        };
        plain.clear();
        packed
    }

    fn finish(mut self, plain: &mut Vec<u8>) -> Vec<u8> {
        let mut packed = self.pack(plain);
        packed.extend(match self {
            Self::Plain => Vec::new(),
            Self::Gzip(packer) => packer.finish().unwrap_or_default(),
            Self::Deflate(packer) => packer.finish().unwrap_or_default(),
        });
        packed
    }
}

type Pieces = mpsc::Receiver<Result<Bytes, std::io::Error>>;

/// What the connection gets.
enum Sent {
    Whole(StatusCode, Vec<u8>),
    Pieces(Bytes, Pieces),
}

/// How the content is named.
const JSON: &str = "application/json";

/// A reply that is being written.
pub(super) struct Reply {
    /// What is written and not sent.
    out: Vec<u8>,
    packer: Packer,
    start: Option<oneshot::Sender<(&'static str, Sent)>>,
    rest: Option<mpsc::Sender<Result<Bytes, std::io::Error>>>,
    canceled: CancellationToken,
    content_type: &'static str,
    /// Whether `{"status":"success","data":` stands at the start.
    enveloped: bool,
    /// Remarks behind the data.
    pub(super) warnings: Vec<String>,
    /// Lesser remarks behind the data.
    pub(super) infos: Vec<String>,
}

/// The other end of a reply.
pub(super) struct Awaited {
    start: oneshot::Receiver<(&'static str, Sent)>,
    coding: Coding,
}

/// A reply and its other end. `canceled` tells that nobody waits.
pub(super) fn pair(coding: Coding, canceled: CancellationToken) -> (Reply, Awaited) {
    let (start, awaited) = oneshot::channel();
    let reply = Reply {
        out: Vec::new(),
        packer: Packer::new(coding),
        start: Some(start),
        rest: None,
        canceled,
        content_type: JSON,
        enveloped: false,
        warnings: Vec::new(),
        infos: Vec::new(),
    };
    let awaited = Awaited {
        start: awaited,
        coding,
    };
    (reply, awaited)
}

impl Reply {
    /// Begins the data of a JSON reply; one value is to be written.
    pub(super) fn data(&mut self) -> &mut Vec<u8> {
        self.enveloped = true;
        self.out
            .extend_from_slice(b"{\"status\":\"success\",\"data\":");
        &mut self.out
    }

    /// Begins a reply that is no JSON in an envelope.
    pub(super) fn raw(&mut self, content_type: &'static str) -> &mut Vec<u8> {
        self.content_type = content_type;
        &mut self.out
    }

    /// What is being written, between pieces.
    pub(super) fn out(&mut self) -> &mut Vec<u8> {
        &mut self.out
    }

    /// Whether anybody waits.
    pub(super) fn canceled(&self) -> bool {
        self.canceled.is_cancelled()
    }

    /// Sends what is written if it is enough.
    pub(super) fn checkpoint(&mut self) -> Result<(), Fault> {
        if self.canceled() {
            return Err(gone());
        }
        if self.out.len() < PIECE_BYTES {
            return Ok(());
        }
        let piece = Bytes::from(self.packer.pack(&mut self.out));
        if piece.is_empty() {
            return Ok(());
        }
        if let Some(start) = self.start.take() {
            let (rest, pieces) = mpsc::channel(PIECES);
            self.rest = Some(rest);
            let sent = Sent::Pieces(piece, pieces);
            return start.send((self.content_type, sent)).map_err(|_| gone());
        }
        match &self.rest {
            Some(rest) => rest.blocking_send(Ok(piece)).map_err(|_| gone()),
            None => Err(gone()),
        }
    }

    /// Ends the reply.
    pub(super) fn finish(mut self, done: Result<(), Fault>) {
        let status = match done {
            Err(fault) => {
                if let Some(rest) = self.rest {
                    // Too late for a status: the connection breaks, so that nobody takes the
                    // part for the whole.
                    let error = std::io::Error::other(fault.message);
                    let _ = rest.blocking_send(Err(error));
                    return;
                }
                self.out.clear();
                self.content_type = JSON;
                write_fault(&mut self.out, fault.name(), &fault.message);
                fault.status()
            }
            Ok(()) if self.enveloped => {
                for (name, remarks) in [("warnings", &self.warnings), ("infos", &self.infos)] {
                    if !remarks.is_empty() {
                        self.out
                            .extend_from_slice(format!(",\"{name}\":").as_bytes());
                        json::list(&mut self.out, remarks, |out, text| json::text(out, text));
                    }
                }
                self.out.push(b'}');
                StatusCode::OK
            }
            Ok(()) if self.out.is_empty() && self.content_type == JSON => StatusCode::NO_CONTENT,
            Ok(()) => StatusCode::OK,
        };
        let last = self.packer.finish(&mut self.out);
        match (self.start, self.rest) {
            (Some(start), _) => {
                let _ = start.send((self.content_type, Sent::Whole(status, last)));
            }
            (None, Some(rest)) if !last.is_empty() => {
                let _ = rest.blocking_send(Ok(Bytes::from(last)));
            }
            _ => {}
        }
    }
}

fn gone() -> Fault {
    Fault::new(Kind::Canceled, "query was canceled in query execution")
}

/// A reply that says what went wrong.
pub(super) fn write_fault(out: &mut Vec<u8>, kind: &str, message: &str) {
    out.extend_from_slice(b"{\"status\":\"error\",\"errorType\":");
    json::text(out, kind);
    out.extend_from_slice(b",\"error\":");
    json::text(out, message);
    out.push(b'}');
}

impl Awaited {
    /// The response, once its start is known.
    pub(super) async fn response(self) -> Response<Body> {
        let Ok((content_type, sent)) = self.start.await else {
            // The writer's thread panicked; the log has it.
            let fault = Fault::new(Kind::Internal, "the reply could not be written");
            return refused(fault.status(), fault.name(), &fault.message);
        };
        let mut empty = false;
        let mut response = match sent {
            Sent::Whole(status, bytes) => {
                empty = status == StatusCode::NO_CONTENT;
                let body = if empty { Body::empty() } else { bytes.into() };
                let mut response = Response::new(body);
                *response.status_mut() = status;
                response
            }
            Sent::Pieces(first, mut rest) => {
                let mut first = Some(first);
                let pieces = futures::stream::poll_fn(move |context| match first.take() {
                    Some(first) => std::task::Poll::Ready(Some(Ok(first))),
                    None => rest.poll_recv(context),
                });
                Response::new(Body::from_stream(pieces))
            }
        };
        let headers = response.headers_mut();
        headers.insert(VARY, HeaderValue::from_static("Accept-Encoding"));
        if !empty {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
            if let Some(name) = self.coding.name() {
                headers.insert(CONTENT_ENCODING, HeaderValue::from_static(name));
            }
        }
        response
    }
}

/// A small reply that says why something is refused.
pub(super) fn refused(status: StatusCode, kind: &str, message: &str) -> Response<Body> {
    let mut out = Vec::new();
    write_fault(&mut out, kind, message);
    let mut response = Response::new(Body::from(out));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(JSON));
    response
}
