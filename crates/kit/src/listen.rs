//! Plain HTTP/1.1 and HTTP/2 on a socket: so many connections at a time, answers that get a moment
//! when the server stops, and requests that know where they come from.

use http::{Request, Response};
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use std::error::Error;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tower::{Service, ServiceExt};
use towpath_daemon::CancellationToken;

/// Time that open requests get when the server stops.
const DRAIN: Duration = Duration::from_secs(5);
/// Time in which the head of a request must have come in.
const HEADERS: Duration = Duration::from_secs(30);

/// The address that a request came from, as an extension of the request. A request made inside
/// this process has none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer(pub IpAddr);

/// How much a socket takes at a time.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// What connections are called among tasks.
    pub name: &'static str,
    /// Connections at a time; more wait in the kernel.
    pub connections: usize,
    /// Requests at a time on one connection of HTTP/2.
    pub streams: u32,
    /// After how long a silent connection of HTTP/2 is asked whether it is still there.
    pub keep_alive: Option<Duration>,
}

/// Answers on a socket until told to stop. Connections may be upgraded.
pub async fn accept<S, B>(
    listener: TcpListener,
    service: S,
    limits: Limits,
    cancel: CancellationToken,
) where
    S: Service<Request<Incoming>, Response = Response<B>> + Clone + Send + 'static,
    S::Future: Send,
    S::Error: Into<Box<dyn Error + Send + Sync>>,
    B: http_body::Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    let slots = Arc::new(Semaphore::new(limits.connections));
    let graceful = GracefulShutdown::new();
    let mut builder = Builder::new(TokioExecutor::new());
    builder
        .http1()
        .header_read_timeout(HEADERS)
        .timer(TokioTimer::new());
    builder
        .http2()
        .max_concurrent_streams(limits.streams)
        .keep_alive_interval(limits.keep_alive)
        .timer(TokioTimer::new());
    loop {
        let Ok(slot) = slots.clone().acquire_owned().await else {
            return;
        };
        let (stream, address) = tokio::select! {
            () = cancel.cancelled() => break,
            accepted = listener.accept() => match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    // Out of descriptors: a moment later some are free again.
                    tracing::warn!(%error, "accept");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    continue;
                }
            },
        };
        let _ = stream.set_nodelay(true);
        let peer = Peer(address.ip());
        let named = move |mut request: Request<Incoming>| {
            request.extensions_mut().insert(peer);
            request
        };
        let service = TowerToHyperService::new(service.clone().map_request(named));
        let connection = builder
            .serve_connection_with_upgrades(TokioIo::new(stream), service)
            .into_owned();
        let watched = graceful.watch(connection);
        towpath_daemon::spawn(limits.name, async move {
            let _slot = slot;
            if let Err(error) = watched.await {
                tracing::debug!(%error, "connection ended");
            }
        });
    }
    let _ = tokio::time::timeout(DRAIN, graceful.shutdown()).await;
}
