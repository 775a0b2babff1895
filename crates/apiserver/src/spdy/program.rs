//! Exec and attach over SPDY: a stream for each of input, output, error output, terminal sizes
//! and the final status.

use super::{Output, Stream};
use crate::ws;
use bytes::{Bytes, BytesMut};
use futures::future::join;
use serde_json::Value;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::mpsc;
use towpath_kit::traits::{ExecRequest, ExecStreams, TerminalSize};

/// Clients open all streams at once.
const STREAMS: Duration = Duration::from_secs(30);
const READ_BYTES: usize = 32 << 10;

#[derive(Default)]
struct Opened {
    stdin: Option<Stream>,
    stdout: Option<Stream>,
    stderr: Option<Stream>,
    resize: Option<Stream>,
    error: Option<Stream>,
}

impl Opened {
    fn is_whole(&self, request: &ExecRequest) -> bool {
        self.error.is_some()
            && self.stdin.is_some() == request.stdin
            && self.stdout.is_some() == request.stdout
            && self.stderr.is_some() == request.stderr
            && self.resize.is_some() == request.tty
    }

    async fn take(&mut self, stream: Stream) {
        let place = match stream.header("streamtype") {
            Some("stdin") => &mut self.stdin,
            Some("stdout") => &mut self.stdout,
            Some("stderr") => &mut self.stderr,
            Some("resize") => &mut self.resize,
            Some("error") => &mut self.error,
            _ => return stream.output.reset().await,
        };
        *place = Some(stream);
    }
}

/// Carries a program's streams to its end, or until the client is gone.
pub(crate) async fn run(
    mut streams: mpsc::Receiver<Stream>,
    request: ExecRequest,
    program: ExecStreams,
) {
    let mut opened = Opened::default();
    let all = async {
        while !opened.is_whole(&request) {
            opened.take(streams.recv().await?).await;
        }
        Some(())
    };
    if !matches!(tokio::time::timeout(STREAMS, all).await, Ok(Some(()))) {
        return tracing::debug!("the client did not open the streams it asked for");
    }
    let gone = async { while streams.recv().await.is_some() {} };
    tokio::select! {
        () = carry(opened, program) => {}
        () = gone => {}
    }
}

async fn carry(opened: Opened, program: ExecStreams) {
    let ExecStreams {
        stdin,
        stdout,
        stderr,
        resize,
        exit,
    } = program;
    let input = async {
        if let (Some(stream), Some(stdin)) = (opened.stdin, stdin) {
            feed(stream, stdin).await;
        }
        std::future::pending::<()>().await;
    };
    let sizes = async {
        if let (Some(stream), Some(resize)) = (opened.resize, resize) {
            terminal(stream, resize).await;
        }
        std::future::pending::<()>().await;
    };
    let output = join(
        pump(stdout, opened.stdout.as_ref().map(|s| &s.output)),
        pump(stderr, opened.stderr.as_ref().map(|s| &s.output)),
    );
    // The status goes last: after all output, and after the program's end.
    let done = async { join(output, exit).await.1 };
    let ended = tokio::select! {
        ended = done => ended,
        () = input => return,
        () = sizes => return,
    };
    if let Some(error) = opened.error {
        let verdict = ws::verdict(ended);
        let _ = error.output.send(Bytes::from(verdict.to_string())).await;
        error.output.finish().await;
    }
}

async fn feed(mut stream: Stream, mut stdin: Box<dyn AsyncWrite + Send + Unpin>) {
    while let Some(bytes) = stream.input.recv().await {
        if stdin.write_all(&bytes).await.is_err() || stdin.flush().await.is_err() {
            return;
        }
    }
    let _ = stdin.shutdown().await;
}

async fn pump(reader: Option<Box<dyn AsyncRead + Send + Unpin>>, output: Option<&Output>) {
    let Some(output) = output else { return };
    if let Some(mut reader) = reader {
        let mut buffer = BytesMut::new();
        loop {
            buffer.reserve(READ_BYTES);
            match reader.read_buf(&mut buffer).await {
                Ok(0) | Err(_) => break,
                Ok(_) if output.send(buffer.split().freeze()).await.is_err() => break,
                Ok(_) => {}
            }
        }
    }
    output.finish().await;
}

// Sizes are JSON objects one after the other, each in a piece of its own.
async fn terminal(mut stream: Stream, resize: mpsc::Sender<TerminalSize>) {
    while let Some(bytes) = stream.input.recv().await {
        let sizes = serde_json::Deserializer::from_slice(&bytes).into_iter::<Value>();
        for size in sizes.map_while(Result::ok) {
            if let Some(size) = ws::terminal_size(&size)
                && resize.send(size).await.is_err()
            {
                return;
            }
        }
    }
}
