//! The door on the network: TLS, HTTP/1.1 and HTTP/2, deadlines, and the in-process service
//! beside it, which takes the same way.

use crate::body::{self, Body, Incoming};
use crate::core::{Core, serve};
use crate::pki;
use bytes::Bytes;
use futures::future::BoxFuture;
use http::{Request, Response};
use http_body_util::BodyExt;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use towpath_daemon::CancellationToken;
use towpath_kit::listen::Peer;
use towpath_kit::traits::Principal;

const HANDSHAKE: Duration = Duration::from_secs(10);
const HEADERS: Duration = Duration::from_secs(30);
const DRAIN: Duration = Duration::from_secs(3);
const CONNECTIONS: usize = 4096;
/// Headers of a request with its path, which is at most 64 KiB long.
const HEADER_BYTES: u32 = 128 << 10;

/// Serves a bound listener until cancelled; then lets requests end for a while.
pub(crate) async fn run(
    core: Arc<Core>,
    listener: TcpListener,
    tls: rustls::ServerConfig,
    cancel: CancellationToken,
) {
    let acceptor = TlsAcceptor::from(Arc::new(tls));
    let graceful = GracefulShutdown::new();
    let slots = Arc::new(tokio::sync::Semaphore::new(CONNECTIONS));
    loop {
        let slot = tokio::select! {
            () = cancel.cancelled() => break,
            slot = slots.clone().acquire_owned() => slot,
        };
        let accepted = tokio::select! {
            () = cancel.cancelled() => break,
            accepted = listener.accept() => accepted,
        };
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                // Out of descriptors, for instance: others may end soon.
                tracing::warn!(%error, "accept failed");
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            }
        };
        let (core, acceptor, watcher) = (core.clone(), acceptor.clone(), graceful.watcher());
        towpath_daemon::spawn("apiserver connection", async move {
            let _slot = slot;
            connection(core, acceptor, watcher, stream, peer).await;
        });
    }
    drop(listener);
    // Watches end by themselves when the server closes; what takes longer is cut off.
    let _ = tokio::time::timeout(DRAIN, graceful.shutdown()).await;
}

async fn connection(
    core: Arc<Core>,
    acceptor: TlsAcceptor,
    watcher: Watcher,
    stream: TcpStream,
    peer: SocketAddr,
) {
    let _ = stream.set_nodelay(true);
    let stream = match tokio::time::timeout(HANDSHAKE, acceptor.accept(stream)).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => return tracing::debug!(%peer, %error, "TLS handshake failed"),
        Err(_) => return tracing::debug!(%peer, "TLS handshake took too long"),
    };
    let certificate = stream
        .get_ref()
        .1
        .peer_certificates()
        .and_then(|chain| chain.first());
    let principal = certificate
        .and_then(pki::subject)
        .map(|(name, mut groups)| {
            groups.push("system:authenticated".into());
            Principal {
                name,
                groups,
                ..Principal::default()
            }
        });
    let service = service_fn(move |request: Request<hyper::body::Incoming>| {
        let core = core.clone();
        // A token, where sent, says more than the certificate of the connection.
        let given = principal
            .clone()
            .filter(|_| !request.headers().contains_key(http::header::AUTHORIZATION));
        async move {
            let mut request = request.map(body::incoming);
            request.extensions_mut().insert(Peer(peer.ip()));
            Ok::<_, Infallible>(serve(core, request, given).await)
        }
    });
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADERS);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(1000)
        .max_header_list_size(HEADER_BYTES)
        .initial_stream_window_size(1 << 20)
        .initial_connection_window_size(4 << 20)
        .keep_alive_interval(Some(Duration::from_secs(30)));
    let served = builder
        .serve_connection_with_upgrades(TokioIo::new(stream), service)
        .into_owned();
    let _ = watcher.watch(served).await;
}

/// The API as a service for one principal in this process: no socket, no TLS, the same pipeline.
#[derive(Clone)]
pub struct InProcess {
    core: Arc<Core>,
    principal: Principal,
}

impl InProcess {
    pub(crate) fn new(core: Arc<Core>, principal: Principal) -> Self {
        Self { core, principal }
    }
}

impl<B> tower_service::Service<Request<B>> for InProcess
where
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    type Response = Response<Body>;
    type Error = io::Error;
    type Future = BoxFuture<'static, io::Result<Response<Body>>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let (core, principal) = (self.core.clone(), self.principal.clone());
        let request: Request<Incoming> = request.map(body::incoming);
        if request.headers().contains_key(http::header::UPGRADE) {
            return Box::pin(upgraded(core, request, principal));
        }
        Box::pin(async move { Ok(serve(core, request, Some(principal)).await) })
    }
}

// A request that wants another protocol runs over a pipe between two ends of a connection, as
// only a connection can be upgraded.
async fn upgraded(
    core: Arc<Core>,
    request: Request<Incoming>,
    principal: Principal,
) -> io::Result<Response<Body>> {
    let (near, far) = tokio::io::duplex(64 << 10);
    let service = service_fn(move |request: Request<hyper::body::Incoming>| {
        let (core, principal) = (core.clone(), principal.clone());
        async move {
            let request = request.map(body::incoming);
            Ok::<_, Infallible>(serve(core, request, Some(principal)).await)
        }
    });
    towpath_daemon::spawn("in-process stream, server", async move {
        let server = hyper::server::conn::http1::Builder::new();
        let _ = server
            .serve_connection(TokioIo::new(far), service)
            .with_upgrades()
            .await;
    });
    let (mut sender, client) = hyper::client::conn::http1::handshake(TokioIo::new(near))
        .await
        .map_err(io::Error::other)?;
    towpath_daemon::spawn("in-process stream, client", async move {
        let _ = client.with_upgrades().await;
    });
    let (mut parts, body) = request.into_parts();
    // A connection wants a path, not an address.
    let path = parts
        .uri
        .path_and_query()
        .map_or("/", |p| p.as_str())
        .to_string();
    parts.uri = path.parse().map_err(io::Error::other)?;
    parts
        .headers
        .entry(http::header::HOST)
        .or_insert(http::HeaderValue::from_static("in-process"));
    let response = sender
        .send_request(Request::from_parts(parts, body))
        .await
        .map_err(io::Error::other)?;
    Ok(response.map(|body| Body::stream(body_stream(body))))
}

/// A body that came in, as one that goes out.
pub(crate) fn body_stream(
    body: hyper::body::Incoming,
) -> impl futures::Stream<Item = io::Result<Bytes>> + Send {
    futures::stream::unfold(body, |mut body| async move {
        loop {
            match body.frame().await? {
                Ok(frame) => {
                    if let Ok(data) = frame.into_data() {
                        return Some((Ok(data), body));
                    }
                }
                Err(error) => return Some((Err(io::Error::other(error)), body)),
            }
        }
    })
}
