//! Answers as frames: chunks of one series each.

use axum::body::Body;
use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot};
use towpath_query::promql::{Labels, Series};
use towpath_signals::metrics::float_chunks;

use super::{Fault, Work};
use crate::outgrow::wire::histogram;
use crate::outgrow::wire::put::Put;
use crate::outgrow::wire::read::{Query, chunk, chunked, framed};

pub(super) const CONTENT: &str =
    "application/x-streamed-protobuf; proto=prometheus.ChunkedReadResponse";

/// Frames that a slow client may be behind.
const FRAMES: usize = 4;
/// `prometheus.Chunk.Encoding`
const XOR: u64 = 1;
const FLOAT_HISTOGRAM: u64 = 3;

type Frames = mpsc::Sender<Result<Bytes, std::io::Error>>;

/// A series, packed.
struct Packed {
    labels: Labels,
    chunks: Vec<Put>,
}

fn packed(series: &Series) -> Vec<Put> {
    let floats = float_chunks(&series.floats);
    let mut all: Vec<(i64, Put)> = Vec::with_capacity(floats.len() + series.histograms.len());
    for one in &floats {
        all.push((one.first, chunk(one.first, one.last, XOR, &one.data)));
    }
    if !series.histograms.is_empty() {
        for (at, value) in &series.histograms {
            let data = histogram::chunk(value, *at);
            all.push((*at, chunk(*at, *at, FLOAT_HISTOGRAM, &data)));
        }
        all.sort_by_key(|(first, _)| *first);
    }
    all.into_iter().map(|(_, chunk)| chunk).collect()
}

/// Begins the answer; the rest is written while it is sent. What fails before the first frame is
/// told, what fails later breaks the stream.
pub(super) async fn start(
    work: Work,
    queries: Vec<Query>,
    place: OwnedSemaphorePermit,
) -> Result<Body, Fault> {
    let (begun, begins) = oneshot::channel();
    let (frames, mut sent) = mpsc::channel(FRAMES);
    tokio::task::spawn_blocking(move || {
        let mut begun = Some(begun);
        let done = write(&work, &queries, &frames, &mut begun);
        match (done, begun) {
            (Ok(()), Some(begun)) => drop(begun.send(Ok(()))),
            (Err(fault), Some(begun)) => drop(begun.send(Err(fault))),
            (Err(Fault::Bad(why) | Fault::Failed(why)), None) => {
                drop(frames.blocking_send(Err(std::io::Error::other(why))));
            }
            (Ok(()), None) => {}
        }
        drop(place);
    });
    match begins.await {
        Ok(Ok(())) => {
            let frames = futures::stream::poll_fn(move |context| sent.poll_recv(context));
            Ok(Body::from_stream(frames))
        }
        Ok(Err(fault)) => Err(fault),
        Err(_) => Err(Fault::Failed("the answer could not be written".to_owned())),
    }
}

fn write(
    work: &Work,
    queries: &[Query],
    frames: &Frames,
    begun: &mut Option<oneshot::Sender<Result<(), Fault>>>,
) -> Result<(), Fault> {
    let limits = work.server.limits;
    for (number, query) in queries.iter().enumerate() {
        let (mut found, mut bytes) = (Vec::new(), 0);
        work.select(query, |series| {
            let chunks = packed(&series);
            bytes += chunks.iter().map(Put::len).sum::<usize>();
            if bytes > limits.chunk_bytes {
                let limit = limits.chunk_bytes;
                let why = format!("the query reads more than {limit} bytes of chunks");
                return Err(Fault::Bad(why));
            }
            found.push(Packed {
                labels: series.labels,
                chunks,
            });
            Ok(())
        })?;
        found.sort_by(|a, b| a.labels.cmp(&b.labels));
        for series in found {
            work.over()?;
            if let Some(begun) = begun.take() {
                let _ = begun.send(Ok(()));
            }
            for part in parts(&series.chunks, limits.frame_bytes) {
                let frame = framed(&chunked(&series.labels, part, number as u64));
                let gone = |_| Fault::Failed("the client is gone".to_owned());
                frames.blocking_send(Ok(frame.into())).map_err(gone)?;
            }
        }
    }
    Ok(())
}

/// Chunks cut into lists of about so many bytes.
fn parts(chunks: &[Put], bytes: usize) -> Vec<&[Put]> {
    let mut out = Vec::new();
    let (mut from, mut size) = (0, 0);
    for (at, chunk) in chunks.iter().enumerate() {
        size += chunk.len();
        if size >= bytes {
            out.push(&chunks[from..=at]);
            (from, size) = (at + 1, 0);
        }
    }
    if from < chunks.len() {
        out.push(&chunks[from..]);
    }
    out
}
