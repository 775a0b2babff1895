//! `POST /prometheus/api/v1/write`: remote write 1.0 and 2.0.
//!
//! A request is acknowledged after everything it brought is durable. Of a request with samples
//! that are refused, the others are kept, in both versions; the answer is 400, so that nobody
//! sends the bad ones again. Bytes of requests in flight are bounded: beyond that, 429.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use bytes::Bytes;
use http::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderMap, StatusCode};
use http_body_util::{BodyExt, Limited};
use parking_lot::Mutex;
use tokio::sync::Semaphore;
use towpath_query::promql::{Labels, NAME};
use towpath_signals::{
    Append, Exemplar, Metadata, Outcome, Refused, Sample, SeriesRef, Value, WriteError,
};
use towpath_stdx::Clock;

use super::known::Known;
use crate::door::{Denied, Door};
use crate::wire::remote_write::{
    Request as Message, RequestError, Series, unpack_into, version_1_known, version_2,
};

/// The largest body, packed and unpacked; upstream's limit.
const MAX_BODY_BYTES: usize = 32 << 20;
/// All bodies in flight together, in KiB, unpacked.
const IN_FLIGHT_KIB: usize = 128 << 10;
/// How far ahead of the clock a sample may be.
const MAX_AHEAD: Duration = Duration::from_secs(600);
/// How long a body may take to arrive.
const BODY_TIMEOUT: Duration = Duration::from_secs(30);
/// How many rooms for unpacked requests are kept, and how large they may be.
const ROOMS: usize = 4;
const ROOM_BYTES: usize = 1 << 20;
/// How many complaints an answer names.
const MAX_COMPLAINTS: usize = 20;

/// Takes requests of remote write.
pub struct RemoteWrite {
    store: Arc<dyn Append>,
    door: Door,
    clock: Arc<dyn Clock>,
    known: Known,
    room: Semaphore,
    /// Room for requests: it is dearer to get from the system than to keep.
    rooms: Mutex<Vec<Vec<u8>>>,
}

impl RemoteWrite {
    /// Writes what comes into `store`, from those who may `create` `signals`.
    pub fn new(store: Arc<dyn Append>, door: Door, clock: Arc<dyn Clock>) -> Self {
        Self {
            store,
            door,
            clock,
            known: Known::default(),
            room: Semaphore::new(IN_FLIGHT_KIB),
            rooms: Mutex::default(),
        }
    }
}

/// The route with its absolute path.
pub fn router(remote_write: Arc<RemoteWrite>) -> Router {
    Router::new()
        .route("/prometheus/api/v1/write", post(handle))
        .with_state(remote_write)
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Version {
    One,
    Two,
}

async fn handle(State(server): State<Arc<RemoteWrite>>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let headers = &parts.headers;
    if let Err(denied) = server.door.check(headers, "create").await {
        return refused(&denied);
    }
    let version = match version(headers) {
        Ok(version) => version,
        Err(message) => return (StatusCode::UNSUPPORTED_MEDIA_TYPE, message).into_response(),
    };
    let length = headers
        .get(CONTENT_LENGTH)
        .and_then(|value| value.to_str().ok());
    if length
        .and_then(|text| text.parse().ok())
        .is_some_and(|have: u64| have > MAX_BODY_BYTES as u64)
    {
        return too_large();
    }
    let collected = Limited::new(body, MAX_BODY_BYTES).collect();
    let body: Bytes = match tokio::time::timeout(BODY_TIMEOUT, collected).await {
        Ok(Ok(body)) => body.to_bytes(),
        Ok(Err(error)) if error.is::<http_body_util::LengthLimitError>() => return too_large(),
        Ok(Err(error)) => return (StatusCode::BAD_REQUEST, error.to_string()).into_response(),
        Err(_) => return (StatusCode::REQUEST_TIMEOUT, "the body took too long").into_response(),
    };
    let claimed = snap::raw::decompress_len(&body)
        .unwrap_or(0)
        .min(MAX_BODY_BYTES);
    let weight = u32::try_from((claimed + body.len()).div_ceil(1024)).unwrap_or(u32::MAX);
    let Ok(_room) = server.room.try_acquire_many(weight) else {
        return later("too many requests of remote write at once");
    };
    let (writing, at) = (Arc::clone(&server), server.clock.since_epoch() + MAX_AHEAD);
    let written = tokio::task::spawn_blocking(move || {
        let mut unpacked = writing.rooms.lock().pop().unwrap_or_default();
        let at = i64::try_from(at.as_millis()).unwrap_or(i64::MAX);
        let written = writing.take(&body, version, at, &mut unpacked);
        if unpacked.capacity() <= ROOM_BYTES {
            let mut rooms = writing.rooms.lock();
            if rooms.len() < ROOMS {
                rooms.push(unpacked);
            }
        }
        written
    });
    let written: Result<Written, RequestError> = match written.await {
        Ok(written) => written,
        Err(error) => {
            return (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response();
        }
    };
    let written = match written {
        Ok(written) => written,
        Err(RequestError::TooLarge { .. }) => return too_large(),
        Err(error) => return (StatusCode::BAD_REQUEST, error.to_string()).into_response(),
    };
    let durable = match &written.failed {
        Some(error) => Err(error.clone()),
        None => server.store.sync().await,
    };
    match durable {
        Ok(()) => written.answer(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}

fn refused(denied: &Denied) -> Response {
    let mut response = (denied.status(), denied.to_string()).into_response();
    denied.challenge(&mut response);
    response
}

fn too_large() -> Response {
    let message = format!("decoded size exceeds the {MAX_BODY_BYTES} bytes limit");
    (StatusCode::BAD_REQUEST, message).into_response()
}

fn later(message: &str) -> Response {
    let body = message.to_owned();
    (StatusCode::TOO_MANY_REQUESTS, [(RETRY_AFTER, "5")], body).into_response()
}

/// Which message a request brings; the words are upstream's.
fn version(headers: &HeaderMap) -> Result<Version, String> {
    const MEDIA: &str = "application/x-protobuf";
    let text = |name: http::HeaderName| {
        let value = headers.get(name).map(|value| value.to_str().unwrap_or("?"));
        value.unwrap_or_default().trim().to_owned()
    };
    let encoding = text(CONTENT_ENCODING);
    if !encoding.is_empty() && encoding != "snappy" {
        return Err(format!(
            "{encoding} encoding (compression) is not accepted by this server; only snappy is \
             acceptable"
        ));
    }
    let content_type = text(CONTENT_TYPE);
    if content_type.is_empty() {
        return Ok(Version::One);
    }
    let mut parts = content_type.split(';');
    if parts.next() != Some(MEDIA) {
        return Err(format!(
            "expected {MEDIA} as the first (media) part, got {content_type} content-type"
        ));
    }
    for part in parts {
        match part.trim().split_once('=') {
            Some(("proto", "prometheus.WriteRequest")) => return Ok(Version::One),
            Some(("proto", "io.prometheus.write.v2.Request")) => return Ok(Version::Two),
            Some(("proto", other)) => {
                return Err(format!(
                    "got {content_type} content type; unknown type for remote write protobuf \
                     message {other}, supported: prometheus.WriteRequest, \
                     io.prometheus.write.v2.Request"
                ));
            }
            Some(_) => {}
            None => {
                return Err(format!(
                    "expected parameters to be key-values, got {part} in {content_type} \
                     content-type"
                ));
            }
        }
    }
    Ok(Version::One)
}

/// What became of a request.
#[derive(Default)]
struct Written {
    samples: usize,
    histograms: usize,
    exemplars: usize,
    complaints: Vec<String>,
    complained: usize,
    /// A limit of the store, which time may lift.
    limit: Option<String>,
    failed: Option<WriteError>,
}

impl Written {
    fn complain(&mut self, text: String) {
        self.complained += 1;
        if self.complaints.len() < MAX_COMPLAINTS {
            self.complaints.push(text);
        }
    }

    fn answer(self) -> Response {
        let mut response = if let Some(limit) = &self.limit {
            later(limit)
        } else if self.complained > 0 {
            let mut text = self.complaints.join("\n");
            if self.complained > self.complaints.len() {
                text += &format!("\nand {} more", self.complained - self.complaints.len());
            }
            (StatusCode::BAD_REQUEST, text).into_response()
        } else {
            StatusCode::NO_CONTENT.into_response()
        };
        let counts = [
            ("x-prometheus-remote-write-samples-written", self.samples),
            (
                "x-prometheus-remote-write-histograms-written",
                self.histograms,
            ),
            (
                "x-prometheus-remote-write-exemplars-written",
                self.exemplars,
            ),
        ];
        for (name, count) in counts {
            response.headers_mut().insert(name, count.into());
        }
        response
    }
}

impl RemoteWrite {
    fn take(
        &self,
        body: &[u8],
        version: Version,
        latest: i64,
        unpacked: &mut Vec<u8>,
    ) -> Result<Written, RequestError> {
        unpack_into(body, MAX_BODY_BYTES, unpacked)?;
        let message = match version {
            Version::One => {
                version_1_known(unpacked, |written| self.known.find(&*self.store, written))?
            }
            Version::Two => version_2(unpacked)?,
        };
        Ok(self.write(&message, version, latest))
    }

    fn write(&self, message: &Message<'_>, version: Version, latest: i64) -> Written {
        let mut out = Written::default();
        let mut floats = Vec::with_capacity(message.points.len());
        let mut histograms = Vec::with_capacity(message.histograms.len());
        let mut families: BTreeMap<&str, &Metadata> = BTreeMap::new();
        for series in &message.series {
            let labels = &message.labels[series.labels.clone()];
            let Some(own) = self.resolve(labels, series, version, &mut out) else {
                continue;
            };
            if version == Version::Two && series.points.is_empty() && series.histograms.is_empty() {
                out.complain(format!(
                    "TimeSeries must contain at least one sample or histogram for series {}",
                    shown(labels)
                ));
                continue;
            }
            for point in &message.points[series.points.clone()] {
                floats.push(Sample {
                    series: own,
                    at: point.at,
                    value: Value::Float(point.value),
                    start: point.start,
                });
            }
            for point in &message.histograms[series.histograms.clone()] {
                match &point.value {
                    Ok(value) => histograms.push(Sample {
                        series: own,
                        at: point.at,
                        value: Value::Histogram(Arc::clone(value)),
                        start: point.start,
                    }),
                    Err(why) => out.complain(format!("{why} for series {}", self.name(own))),
                }
            }
            if let Some(metadata) = &series.metadata {
                let name = labels.iter().find(|(name, _)| *name == NAME);
                let name = name.map_or("", |(_, value)| value);
                families
                    .entry(family(name, &metadata.kind))
                    .or_insert(metadata);
            }
        }
        out.samples = self.append(floats, latest, &mut out);
        out.histograms = self.append(histograms, latest, &mut out);
        out.exemplars = self.exemplars(message, latest);
        families.extend(
            message
                .metadata
                .iter()
                .map(|(name, metadata)| (*name, metadata)),
        );
        for (name, metadata) in families {
            self.store.metadata(name, metadata.clone());
        }
        out
    }

    fn resolve(
        &self,
        labels: &[(&str, &str)],
        series: &Series<'_>,
        version: Version,
        out: &mut Written,
    ) -> Option<SeriesRef> {
        let resolved = match (&series.fault, series.known) {
            (Some(fault), _) => Err(Refused::Labels(format!(
                "parsing labels for series: {fault}"
            ))),
            (None, Some(known)) => Ok(known),
            (None, None) => self.known.resolve(&*self.store, labels, series.written),
        };
        match resolved {
            Ok(series) => return Some(series),
            Err(Refused::Limit(limit)) => out.limit = Some(limit),
            // The first version leaves such series out without a word to the sender.
            Err(refused) if version == Version::One => {
                tracing::warn!(%refused, "remote write: series left out");
            }
            Err(refused) => out.complain(refused.to_string()),
        }
        None
    }

    /// Appends and says how many were taken.
    fn append(&self, mut samples: Vec<Sample>, latest: i64, out: &mut Written) -> usize {
        samples.retain(|sample| {
            let ahead = sample.at > latest;
            if ahead {
                let series = self.name(sample.series);
                out.complain(format!(
                    "out of bounds: timestamp is too far in the future for series {series}"
                ));
            }
            !ahead
        });
        if samples.is_empty() || out.failed.is_some() {
            return 0;
        }
        let outcome = match self.store.append(&samples) {
            Ok(outcome) => outcome,
            Err(error) => {
                out.failed = Some(error);
                return 0;
            }
        };
        let Outcome {
            taken,
            refused,
            refused_count,
        } = outcome;
        let named = refused.len();
        for (at, refused) in refused {
            match (refused, samples.get(at)) {
                (Refused::Limit(limit), _) => out.limit = Some(limit),
                (refused, Some(sample)) => {
                    out.complain(format!("{refused} for series {}", self.name(sample.series)));
                }
                (refused, None) => out.complain(refused.to_string()),
            }
        }
        out.complained += refused_count.saturating_sub(named);
        taken
    }

    fn name(&self, series: SeriesRef) -> String {
        self.store.labels(series).unwrap_or_default().to_string()
    }

    fn exemplars(&self, message: &Message<'_>, latest: i64) -> usize {
        let mut taken = 0;
        for series in message
            .series
            .iter()
            .filter(|series| !series.examples.is_empty())
        {
            let labels = &message.labels[series.labels.clone()];
            let known = series.known.map(Ok);
            let resolve = || self.known.resolve(&*self.store, labels, series.written);
            let Ok(own) = known.unwrap_or_else(resolve) else {
                continue;
            };
            for example in &message.examples[series.examples.clone()] {
                if example.at > latest {
                    continue;
                }
                let labels = message.labels[example.labels.clone()]
                    .iter()
                    .copied()
                    .collect();
                let exemplar = Exemplar {
                    labels,
                    value: example.value,
                    at: example.at,
                };
                // One that is there already is no reason to send the request again.
                taken += usize::from(self.store.exemplar(own, exemplar).is_ok());
            }
        }
        taken
    }
}

fn shown(labels: &[(&str, &str)]) -> String {
    labels.iter().copied().collect::<Labels>().to_string()
}

/// The family that a series of this name and kind belongs to.
fn family<'a>(name: &'a str, kind: &str) -> &'a str {
    let suffixes: &[&str] = match kind {
        "histogram" | "gaugehistogram" => &["_bucket", "_sum", "_count"],
        "summary" => &["_sum", "_count"],
        _ => &[],
    };
    let base = suffixes.iter().find_map(|suffix| name.strip_suffix(suffix));
    base.unwrap_or(name)
}
