//! Ports of pods: each connection that a client forwards is a pair of streams, one for its bytes
//! and one for what went wrong.

use super::Stream;
use bytes::{Bytes, BytesMut};
use std::collections::HashMap;
use std::sync::Arc;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use towpath_kit::traits::{PodStreams, PortRequest};

const READ_BYTES: usize = 32 << 10;

/// Carries connections until the client's own ends.
pub(crate) async fn forward(
    mut streams: mpsc::Receiver<Stream>,
    node: Arc<dyn PodStreams>,
    pod: PortRequest,
) {
    // Halves of pairs, by the name that the client gave the pair.
    let mut halves: HashMap<String, Stream> = HashMap::new();
    let mut connections = JoinSet::new();
    while let Some(stream) = streams.recv().await {
        while connections.try_join_next().is_some() {}
        let kind = stream.header("streamtype").unwrap_or_default();
        // Older clients give no name; their data stream is the next one after the error stream.
        let number = match kind {
            "data" => stream.id.saturating_sub(2),
            _ => stream.id,
        };
        let name = match stream.header("requestid") {
            Some(name) => name.to_string(),
            None => number.to_string(),
        };
        let port: Option<u16> = stream.header("port").and_then(|port| port.parse().ok());
        let (true, Some(port)) = (matches!(kind, "data" | "error"), port.filter(|p| *p > 0)) else {
            stream.output.reset().await;
            continue;
        };
        let Some(other) = halves.remove(&name) else {
            halves.insert(name, stream);
            continue;
        };
        let (data, error) = match kind {
            "data" => (stream, other),
            _ => (other, stream),
        };
        let (node, request) = (
            node.clone(),
            PortRequest {
                port,
                ..pod.clone()
            },
        );
        connections.spawn(carry(node, request, data, error));
    }
    // Dropping the set ends what still runs: nobody is there to read it.
}

async fn carry(node: Arc<dyn PodStreams>, request: PortRequest, data: Stream, error: Stream) {
    let Stream {
        mut input, output, ..
    } = data;
    let (port, uid) = (request.port, request.uid.clone());
    match node.connect(request).await {
        Ok(socket) => {
            let (mut from_pod, mut to_pod) = tokio::io::split(socket);
            let sending = async {
                while let Some(bytes) = input.recv().await {
                    if to_pod.write_all(&bytes).await.is_err() {
                        return;
                    }
                }
                let _ = to_pod.shutdown().await;
            };
            let receiving = async {
                let mut buffer = BytesMut::new();
                loop {
                    buffer.reserve(READ_BYTES);
                    match from_pod.read_buf(&mut buffer).await {
                        Ok(0) | Err(_) => break,
                        Ok(_) if output.send(buffer.split().freeze()).await.is_err() => break,
                        Ok(_) => {}
                    }
                }
                output.finish().await;
            };
            // The pod's side decides: a client may close its half and still read.
            tokio::pin!(sending);
            tokio::pin!(receiving);
            tokio::select! {
                () = &mut receiving => {}
                () = &mut sending => receiving.await,
            }
        }
        Err(why) => {
            let text = format!("error forwarding port {port} to pod {uid}: {why}");
            let _ = error.output.send(Bytes::from(text)).await;
            output.reset().await;
        }
    }
    error.output.finish().await;
}
