//! SPDY/3.1: many streams over one connection, as `kubectl port-forward` and older clients of
//! exec and attach speak it.

pub(crate) mod forward;
mod frame;
mod headers;
pub(crate) mod program;

use bytes::Bytes;
use frame::{Decoder, Encoder, Received, Sent};
use headers::Headers;
use std::collections::HashMap;
use std::io;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::mpsc;

/// Streams of one connection at a time; more are refused.
const STREAMS: usize = 512;
/// Frames that wait to be sent, and pieces that wait to be taken from one stream.
const QUEUE: usize = 16;

/// A stream that the client opened.
pub(crate) struct Stream {
    headers: Headers,
    /// Its number: odd, growing.
    pub(crate) id: u32,
    /// What the client sends; ends with the client's side of the stream.
    pub(crate) input: mpsc::Receiver<Bytes>,
    pub(crate) output: Output,
}

impl Stream {
    /// The value of a header; names are lower-case.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(n, _)| n == name);
        found.map(|(_, value)| value.as_str())
    }
}

/// The server's side of a stream.
#[derive(Clone)]
pub(crate) struct Output {
    id: u32,
    frames: mpsc::Sender<Sent>,
}

impl Output {
    /// Sends bytes; fails where the connection is gone.
    pub(crate) async fn send(&self, bytes: Bytes) -> io::Result<()> {
        self.frame(bytes, false).await
    }

    /// Nothing more will come on this stream.
    pub(crate) async fn finish(&self) {
        let _ = self.frame(Bytes::new(), true).await;
    }

    /// Gives the stream up.
    pub(crate) async fn reset(&self) {
        let _ = self.frames.send(Sent::Reset(self.id)).await;
    }

    async fn frame(&self, bytes: Bytes, last: bool) -> io::Result<()> {
        let id = self.id;
        let sent = self.frames.send(Sent::Data { id, bytes, last }).await;
        sent.map_err(|_| io::ErrorKind::BrokenPipe.into())
    }
}

/// Streams as the client opens them, until the connection ends.
pub(crate) fn serve<S>(connection: S) -> mpsc::Receiver<Stream>
where
    S: AsyncRead + AsyncWrite + Send + 'static,
{
    let (reader, writer) = tokio::io::split(connection);
    let (frames, queue) = mpsc::channel(QUEUE);
    let (accepted, streams) = mpsc::channel(QUEUE);
    towpath_daemon::spawn("spdy writer", async move {
        if let Err(error) = write(writer, queue).await {
            tracing::debug!(%error, "connection of streams ended");
        }
    });
    towpath_daemon::spawn("spdy reader", async move {
        read(reader, frames, accepted).await;
    });
    streams
}

async fn write(
    mut connection: impl AsyncWrite + Unpin,
    mut frames: mpsc::Receiver<Sent>,
) -> io::Result<()> {
    let mut encoder = Encoder::new();
    while let Some(frame) = frames.recv().await {
        let (head, body) = encoder.write(frame);
        connection.write_all(&head).await?;
        connection.write_all(&body).await?;
        if frames.is_empty() {
            connection.flush().await?;
        }
    }
    connection.shutdown().await
}

async fn read(
    mut connection: impl AsyncRead + Unpin,
    frames: mpsc::Sender<Sent>,
    accepted: mpsc::Sender<Stream>,
) {
    let mut decoder = Decoder::new();
    let mut inputs: HashMap<u32, mpsc::Sender<Bytes>> = HashMap::new();
    loop {
        let frame = match decoder.next() {
            Ok(Some(frame)) => frame,
            Ok(None) => {
                let buffer = decoder.buffer();
                buffer.reserve(16 << 10);
                match connection.read_buf(buffer).await {
                    Ok(0) | Err(_) => return,
                    Ok(_) => continue,
                }
            }
            Err(_) => return tracing::debug!("what came is no SPDY"),
        };
        match frame {
            Received::Stream { id, headers, last } => {
                inputs.retain(|_, input| !input.is_closed());
                let answer = match inputs.len() < STREAMS {
                    true => Sent::Reply(id),
                    false => Sent::Reset(id),
                };
                let refused = matches!(answer, Sent::Reset(_));
                if frames.send(answer).await.is_err() {
                    return;
                }
                if refused {
                    continue;
                }
                let (sender, input) = mpsc::channel(QUEUE);
                if !last {
                    inputs.insert(id, sender);
                }
                let output = Output {
                    id,
                    frames: frames.clone(),
                };
                let stream = Stream {
                    headers,
                    id,
                    input,
                    output,
                };
                if accepted.send(stream).await.is_err() {
                    return;
                }
            }
            Received::Data { id, bytes, last } => {
                if let Some(input) = inputs.get(&id)
                    && !bytes.is_empty()
                {
                    // One that is not read any more takes nothing.
                    let _ = input.send(bytes).await;
                }
                if last {
                    inputs.remove(&id);
                }
            }
            Received::Reset(id) => drop(inputs.remove(&id)),
            // Odd ones are the client's questions.
            Received::Ping(id) if id % 2 == 1 => {
                if frames.send(Sent::Ping(id)).await.is_err() {
                    return;
                }
            }
            Received::GoAway => return,
            Received::Ping(_) | Received::Other => {}
        }
    }
}
