//! Exec and attach over WebSocket: Kubernetes' channel protocol, versions 5 and 4.
//!
//! Each binary message begins with the number of its channel: 0 input, 1 output, 2 error
//! output, 3 the final status, 4 terminal sizes, and with version 5 255 to close one.

use crate::body::{Body, response};
use crate::core::Call;
use base64::Engine;
use bytes::{Bytes, BytesMut};
use futures::{SinkExt, StreamExt};
use http::header::{
    CONNECTION, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_PROTOCOL, UPGRADE,
};
use http::{HeaderValue, Response};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream};
use tokio::sync::mpsc;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Message, Role, WebSocketConfig};
use towpath_api::status::{self, Failure};
use towpath_kit::traits::{ExecStreams, PodStreamError, TerminalSize};

/// Versions of the channel protocol.
pub(crate) const CHANNELS: [&str; 6] = [
    "v5.channel.k8s.io",
    "v4.channel.k8s.io",
    "v4.base64.channel.k8s.io",
    "channel.k8s.io",
    "base64.channel.k8s.io",
    "",
];
const FRAME_BYTES: usize = 32 << 10;
const MESSAGE_BYTES: usize = 1 << 20;
const PING: Duration = Duration::from_secs(20);
const QUEUE: usize = 16;
const TUNNEL_BYTES: usize = 64 << 10;

/// An agreed handshake.
pub(crate) struct Accepted {
    key: String,
    protocol: &'static str,
}

impl Accepted {
    fn closes(&self) -> bool {
        self.protocol.starts_with("v5")
    }

    fn text(&self) -> bool {
        self.protocol.contains("base64")
    }

    fn status(&self) -> bool {
        self.protocol.starts_with('v')
    }
}

/// Checks that the request opens a WebSocket and picks the protocol.
pub(crate) fn accept(call: &Call, known: &'static [&'static str]) -> Result<Accepted, Failure> {
    if !call.header(UPGRADE).eq_ignore_ascii_case("websocket") {
        return Err(status::bad_request("Upgrade request required"));
    }
    let key = call.header(SEC_WEBSOCKET_KEY).to_string();
    if key.is_empty() {
        return Err(status::bad_request("Sec-WebSocket-Key is missing"));
    }
    let offered: Vec<String> = call
        .headers
        .get_all(SEC_WEBSOCKET_PROTOCOL)
        .iter()
        .filter_map(|v| v.to_str().ok())
        .flat_map(|v| v.split(','))
        .map(|v| v.trim().to_string())
        .collect();
    let protocol = if offered.is_empty() {
        Some("")
    } else {
        known
            .iter()
            .copied()
            .find(|p| !p.is_empty() && offered.iter().any(|o| o == p))
    };
    let protocol = protocol.ok_or_else(|| {
        status::bad_request(format!(
            "unable to upgrade: none of the offered protocols is supported: {}",
            offered.join(", ")
        ))
    })?;
    Ok(Accepted { key, protocol })
}

/// Answers the handshake and carries the streams once the connection is upgraded.
pub(crate) fn run(
    accepted: Accepted,
    upgrade: hyper::upgrade::OnUpgrade,
    streams: ExecStreams,
) -> Response<Body> {
    let answer = switch(&accepted);
    towpath_daemon::spawn("exec stream", async move {
        match upgrade.await {
            Ok(upgraded) => carry(accepted, TokioIo::new(upgraded), streams).await,
            Err(error) => tracing::debug!(%error, "connection was not upgraded"),
        }
    });
    answer
}

/// The answer that makes the connection a WebSocket.
pub(crate) fn switch(accepted: &Accepted) -> Response<Body> {
    let mut answer = response(101, "application/octet-stream", Vec::new());
    let headers = answer.headers_mut();
    headers.clear();
    headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
    if let Ok(value) = HeaderValue::from_str(&derive_accept_key(accepted.key.as_bytes())) {
        headers.insert(SEC_WEBSOCKET_ACCEPT, value);
    }
    if !accepted.protocol.is_empty() {
        headers.insert(
            SEC_WEBSOCKET_PROTOCOL,
            HeaderValue::from_static(accepted.protocol),
        );
    }
    answer
}

/// The bytes of a connection that is tunnelled through the binary messages of a WebSocket.
pub(crate) async fn tunnel<S>(connection: S) -> DuplexStream
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let socket = WebSocketStream::from_raw_socket(connection, Role::Server, Some(config())).await;
    let (mut sink, mut source) = socket.split();
    let (near, far) = tokio::io::duplex(TUNNEL_BYTES);
    let (mut from_here, mut to_here) = tokio::io::split(near);
    towpath_daemon::spawn("tunnel in", async move {
        while let Some(Ok(message)) = source.next().await {
            let sent = match message {
                Message::Binary(bytes) => to_here.write_all(&bytes).await,
                Message::Close(_) => break,
                _ => Ok(()),
            };
            if sent.is_err() {
                break;
            }
        }
        let _ = to_here.shutdown().await;
    });
    towpath_daemon::spawn("tunnel out", async move {
        let mut buffer = BytesMut::new();
        let mut ping = tokio::time::interval(PING);
        ping.tick().await;
        loop {
            buffer.reserve(FRAME_BYTES);
            let message = tokio::select! {
                read = from_here.read_buf(&mut buffer) => match read {
                    Ok(0) | Err(_) => break,
                    Ok(_) => Message::Binary(buffer.split().freeze()),
                },
                _ = ping.tick() => Message::Ping(Bytes::new()),
            };
            if sink.send(message).await.is_err() {
                return;
            }
        }
        let close = CloseFrame {
            code: CloseCode::Normal,
            reason: "".into(),
        };
        let _ = sink.send(Message::Close(Some(close))).await;
    });
    far
}

fn config() -> WebSocketConfig {
    WebSocketConfig::default()
        .max_message_size(Some(MESSAGE_BYTES))
        .max_frame_size(Some(MESSAGE_BYTES))
}

fn frame(accepted: &Accepted, channel: u8, bytes: &[u8]) -> Message {
    if accepted.text() {
        let data = base64::engine::general_purpose::STANDARD.encode(bytes);
        return Message::text(format!("{channel}{data}"));
    }
    let mut out = Vec::with_capacity(bytes.len() + 1);
    out.push(channel);
    out.extend_from_slice(bytes);
    Message::binary(out)
}

async fn carry<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(
    accepted: Accepted,
    stream: S,
    mut streams: ExecStreams,
) {
    let socket = WebSocketStream::from_raw_socket(stream, Role::Server, Some(config())).await;
    let (mut sink, mut source) = socket.split();
    let (out, mut frames) = mpsc::channel::<(u8, Bytes)>(QUEUE);
    for (channel, reader) in [(1, streams.stdout.take()), (2, streams.stderr.take())] {
        if let Some(reader) = reader {
            let out = out.clone();
            towpath_daemon::spawn("exec output", pump(channel, reader, out));
        }
    }
    drop(out);
    let (stdin, resize) = (streams.stdin.take(), streams.resize.take());
    let mut input = Input { stdin, resize };
    let mut exit = streams.exit;
    let mut code = None;
    let mut open = true;
    let mut ping = tokio::time::interval(PING);
    ping.tick().await;
    // The status goes last: after all output, and after the program's end.
    while open || code.is_none() {
        tokio::select! {
            frame_ = frames.recv(), if open => match frame_ {
                Some((channel, bytes)) => {
                    if sink.send(frame(&accepted, channel, &bytes)).await.is_err() {
                        return;
                    }
                }
                None => open = false,
            },
            ended = &mut exit, if code.is_none() => code = Some(ended),
            message = source.next() => match message {
                Some(Ok(message)) => {
                    if input.take(&accepted, message).await.is_break() {
                        return;
                    }
                }
                _ => return,
            },
            _ = ping.tick() => {
                if sink.send(Message::Ping(Bytes::new())).await.is_err() {
                    return;
                }
            }
        }
    }
    let Some(ended) = code else { return };
    let verdict = verdict(ended);
    if accepted.status() {
        let _ = sink
            .send(frame(&accepted, 3, verdict.to_string().as_bytes()))
            .await;
    }
    // Clients take a close without a code for a broken stream.
    let close = CloseFrame {
        code: CloseCode::Normal,
        reason: "".into(),
    };
    let _ = sink.send(Message::Close(Some(close))).await;
    // The client closes its side; a broken one is not waited for long.
    let _ = tokio::time::timeout(Duration::from_secs(2), async {
        while let Some(Ok(_)) = source.next().await {}
    })
    .await;
}

/// What a client sends, to the end of it.
#[cfg(test)]
pub(crate) async fn carry_bytes(protocol: &'static str, sent: &[u8]) {
    use tokio::io::AsyncWriteExt;
    let (mut near, far) = tokio::io::duplex(1 << 20);
    let (resize, mut sizes) = mpsc::channel(QUEUE);
    let streams = ExecStreams {
        stdin: Some(Box::new(tokio::io::sink())),
        stdout: None,
        stderr: None,
        resize: Some(resize),
        exit: Box::pin(std::future::pending()),
    };
    let accepted = Accepted {
        key: String::new(),
        protocol,
    };
    let client = async {
        let _ = near.write_all(sent).await;
        let _ = near.shutdown().await;
        while sizes.recv().await.is_some() {}
    };
    tokio::join!(carry(accepted, far, streams), client);
}

/// The status that tells a client how a program ended.
pub(crate) fn verdict(ended: Result<i32, PodStreamError>) -> Value {
    match ended {
        Ok(0) => json!({"metadata": {}, "status": "Success"}),
        Ok(code) => exit_status(code),
        Err(error) => status::internal(error).to_value(),
    }
}

/// The size of a terminal as clients send it.
pub(crate) fn terminal_size(size: &Value) -> Option<TerminalSize> {
    let side = |key: &str| size[key].as_u64().and_then(|n| u16::try_from(n).ok());
    Some(TerminalSize {
        width: side("Width")?,
        height: side("Height")?,
    })
}

fn exit_status(code: i32) -> Value {
    json!({
        "metadata": {}, "status": "Failure", "reason": "NonZeroExitCode",
        "message": format!("command terminated with non-zero exit code: exit code {code}"),
        "details": {"causes": [{"reason": "ExitCode", "message": code.to_string()}]},
    })
}

async fn pump(
    channel: u8,
    mut reader: Box<dyn AsyncRead + Send + Unpin>,
    out: mpsc::Sender<(u8, Bytes)>,
) {
    let mut buffer = vec![0u8; FRAME_BYTES];
    while let Ok(count) = reader.read(&mut buffer).await {
        if count == 0
            || out
                .send((channel, Bytes::copy_from_slice(&buffer[..count])))
                .await
                .is_err()
        {
            return;
        }
    }
}

struct Input {
    stdin: Option<Box<dyn AsyncWrite + Send + Unpin>>,
    resize: Option<mpsc::Sender<TerminalSize>>,
}

impl Input {
    async fn take(&mut self, accepted: &Accepted, message: Message) -> std::ops::ControlFlow<()> {
        use std::ops::ControlFlow::{Break, Continue};
        let data: Vec<u8> = match message {
            Message::Binary(bytes) => bytes.to_vec(),
            Message::Text(text) if accepted.text() => {
                let (channel, data) = text.split_at_checked(1).unwrap_or(("", ""));
                let Ok(channel) = channel.parse::<u8>() else {
                    return Continue(());
                };
                let Ok(mut data) = base64::engine::general_purpose::STANDARD.decode(data) else {
                    return Continue(());
                };
                data.insert(0, channel);
                data
            }
            Message::Close(_) => return Break(()),
            _ => return Continue(()),
        };
        let Some((channel, data)) = data.split_first() else {
            return Continue(());
        };
        match channel {
            0 => {
                if let Some(stdin) = &mut self.stdin
                    && (stdin.write_all(data).await.is_err() || stdin.flush().await.is_err())
                {
                    self.stdin = None;
                }
            }
            4 => {
                let size: Value = serde_json::from_slice(data).unwrap_or_default();
                if let (Some(size), Some(resize)) = (terminal_size(&size), &self.resize) {
                    let _ = resize.send(size).await;
                }
            }
            255 if accepted.closes() && data.first() == Some(&0) => {
                if let Some(mut stdin) = self.stdin.take() {
                    let _ = stdin.shutdown().await;
                }
            }
            _ => {}
        }
        Continue(())
    }
}
