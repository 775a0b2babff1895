//! `POST /prometheus/api/v1/read`: samples for a Prometheus elsewhere, by remote read.
//!
//! An answer is one message with all samples, or a stream of frames with chunks, as the caller
//! likes it best. Labels must be in order, so that the whole of a query is gathered first, packed
//! in the second kind. Requests, samples and bytes are bounded; a request ends when its client is
//! gone.

mod stream;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use http::{HeaderValue, StatusCode};
use http_body_util::{BodyExt, Limited};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use towpath_query::promql::{Hints, Series};
use towpath_signals::Read;
use towpath_stdx::Clock;

use super::wire::put::Put;
use super::wire::read::{Answer, Query, request, time_series};
use crate::door::Door;
use crate::wire::remote_write::unpack;

/// The longest request, unpacked.
const REQUEST_BYTES: usize = 4 << 20;
/// How long a request may take to arrive.
const REQUEST_TIME: Duration = Duration::from_secs(30);

/// How much is answered.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Requests that are worked on at a time.
    pub concurrency: usize,
    /// Samples of an answer that is one message.
    pub samples: usize,
    /// Bytes of chunks that an answer gathers.
    pub chunk_bytes: usize,
    /// Bytes of a frame. Prometheus takes two frames of one series for two series and keeps the
    /// second: it is far more than a series usually has, and less than the 50 MB that are read.
    pub frame_bytes: usize,
    /// The longest that a request takes, the wait for its turn included.
    pub time: Duration,
}

impl Default for Limits {
    /// Upstream's where it has one.
    fn default() -> Self {
        Self {
            concurrency: 10,
            samples: 50_000_000,
            chunk_bytes: 256 << 20,
            frame_bytes: 32 << 20,
            time: Duration::from_secs(120),
        }
    }
}

/// Answers remote read.
pub struct RemoteRead {
    read: Arc<dyn Read>,
    clock: Arc<dyn Clock>,
    limits: Limits,
    places: Arc<Semaphore>,
}

impl RemoteRead {
    /// From these samples.
    pub fn new(read: Arc<dyn Read>, clock: Arc<dyn Clock>, limits: Limits) -> Arc<Self> {
        Arc::new(Self {
            read,
            clock,
            places: Arc::new(Semaphore::new(limits.concurrency)),
            limits,
        })
    }

    /// The route with its absolute path; `door` is left out in tests alone.
    pub fn router(self: &Arc<Self>, door: Option<Door>) -> Router {
        let server = Arc::clone(self);
        Router::new()
            .route("/prometheus/api/v1/read", post(handle))
            .with_state((server, door))
    }
}

/// Why there is no answer.
pub(super) enum Fault {
    Bad(String),
    Failed(String),
}

impl IntoResponse for Fault {
    fn into_response(self) -> Response {
        match self {
            Self::Bad(why) => (StatusCode::BAD_REQUEST, why).into_response(),
            Self::Failed(why) => (StatusCode::INTERNAL_SERVER_ERROR, why).into_response(),
        }
    }
}

async fn handle(
    State((server, door)): State<(Arc<RemoteRead>, Option<Door>)>,
    request: Request,
) -> Response {
    if let Some(door) = door
        && let Err(refusal) = door.pass(request.headers(), "get").await
    {
        return *refusal;
    }
    let deadline = server.clock.monotonic() + server.limits.time;
    let place = Arc::clone(&server.places).acquire_owned();
    let Ok(Ok(place)) = tokio::time::timeout(server.limits.time, place).await else {
        let why = "too many requests of remote read at a time";
        return (StatusCode::SERVICE_UNAVAILABLE, why).into_response();
    };
    let body = Limited::new(request.into_body(), REQUEST_BYTES).collect();
    let body = match tokio::time::timeout(REQUEST_TIME, body).await {
        Ok(Ok(body)) => body.to_bytes(),
        Ok(Err(error)) => return Fault::Bad(error.to_string()).into_response(),
        Err(_) => return StatusCode::REQUEST_TIMEOUT.into_response(),
    };
    let read = unpack(&body, REQUEST_BYTES)
        .map_err(|error| error.to_string())
        .and_then(|message| self::request(&message).map_err(|error| error.to_string()));
    let asked = match read.and_then(|asked| asked.answer().map(|kind| (asked.queries, kind))) {
        Ok(asked) => asked,
        Err(why) => return Fault::Bad(why).into_response(),
    };
    let gone = CancellationToken::new();
    // Dropped with this future when the client goes away.
    let guard = gone.clone().drop_guard();
    let work = Work {
        server,
        deadline,
        gone,
    };
    let (queries, kind) = asked;
    match kind {
        Answer::Samples => {
            let made = tokio::task::spawn_blocking(move || {
                let made = work.samples(&queries);
                drop(place);
                made
            });
            match made.await {
                Ok(Ok(body)) => typed(Body::from(body), "application/x-protobuf", true),
                Ok(Err(fault)) => fault.into_response(),
                Err(error) => Fault::Failed(error.to_string()).into_response(),
            }
        }
        Answer::Chunks => {
            let first = stream::start(work, queries, place).await;
            // From here on the frames tell whether anybody reads.
            guard.disarm();
            match first {
                Ok(body) => typed(body, stream::CONTENT, false),
                Err(fault) => fault.into_response(),
            }
        }
    }
}

fn typed(body: Body, content: &'static str, packed: bool) -> Response {
    let mut response = Response::new(body);
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content));
    if packed {
        headers.insert(CONTENT_ENCODING, HeaderValue::from_static("snappy"));
    }
    response
}

/// One request that is worked on.
pub(super) struct Work {
    server: Arc<RemoteRead>,
    deadline: std::time::Instant,
    gone: CancellationToken,
}

impl Work {
    fn over(&self) -> Result<(), Fault> {
        if self.gone.is_cancelled() {
            return Err(Fault::Failed("the client is gone".to_owned()));
        }
        if self.server.clock.monotonic() >= self.deadline {
            return Err(Fault::Failed("the query took too long".to_owned()));
        }
        Ok(())
    }

    /// Gives every series of a query to `each`, in the order of the store.
    fn select(
        &self,
        query: &Query,
        mut each: impl FnMut(Series) -> Result<(), Fault>,
    ) -> Result<(), Fault> {
        // Whoever reads samples evaluates them: none may stand for others.
        let hints = Hints {
            start: query.start,
            end: query.end,
            step: 0,
            range: 0,
            function: "",
        };
        let found = self.server.read.select(&query.matchers, &hints);
        for series in found.map_err(Fault::Failed)? {
            self.over()?;
            each(series.map_err(Fault::Failed)?)?;
        }
        Ok(())
    }

    fn samples(&self, queries: &[Query]) -> Result<Vec<u8>, Fault> {
        let limit = self.server.limits.samples;
        let mut left = limit;
        let mut message = Put::default();
        for query in queries {
            let mut found = Vec::new();
            self.select(query, |series| {
                let count = series.floats.len() + series.histograms.len();
                left = left
                    .checked_sub(count)
                    .ok_or_else(|| Fault::Bad(format!("exceeded sample limit ({limit})")))?;
                found.push(series);
                Ok(())
            })?;
            found.sort_by(|a, b| a.labels.cmp(&b.labels));
            let mut result = Put::default();
            for series in found {
                result.message(1, &time_series(&series));
            }
            message.message(1, &result);
        }
        let packed = snap::raw::Encoder::new().compress_vec(message.bytes());
        packed.map_err(|error| Fault::Failed(error.to_string()))
    }
}
