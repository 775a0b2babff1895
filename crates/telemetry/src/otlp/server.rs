//! The ports, and what their handlers share.

use super::access::{Access, Peer};
use super::body::Memory;
use super::sink::Sinks;
use super::{grpc, http};
use ::http::Request;
use axum::Router;
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::service::TowerToHyperService;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tower::ServiceExt;
use towpath_daemon::{CancellationToken, Service};

/// Connections at a time on one address; more wait in the kernel.
const CONNECTIONS_MAX: usize = 1024;
/// Requests at a time on one connection of HTTP/2.
const STREAMS_MAX: u32 = 64;
/// Time that open requests get when the server stops.
const DRAIN: Duration = Duration::from_secs(5);

/// What all handlers see.
#[derive(Clone)]
pub(super) struct Shared {
    pub(super) access: Access,
    pub(super) sinks: Sinks,
    pub(super) memory: Memory,
}

impl Shared {
    fn new(access: Access, sinks: Sinks) -> Self {
        Self {
            access,
            sinks,
            memory: Memory::default(),
        }
    }
}

/// Where the protocol is spoken.
#[derive(Clone, Debug, Default)]
pub struct Ports {
    /// gRPC, usually 4317.
    pub grpc: Vec<SocketAddr>,
    /// HTTP, usually 4318.
    pub http: Vec<SocketAddr>,
}

/// `POST <prefix>/v1/{traces,logs,metrics}` for the main port (prefix `/otlp`). Requests there
/// carry credentials, unless something in front sets a [`Peer`].
pub fn router(access: Access, sinks: Sinks, prefix: &str) -> Router {
    http::router(Shared::new(access, sinks), prefix)
}

/// The services of both ports. An address that cannot be bound, most often since another collector
/// has it, is told in the log and left out: all else works without.
pub fn services(
    ports: Ports,
    access: Access,
    sinks: Sinks,
    after: &[&'static str],
) -> Vec<Service> {
    let shared = Shared::new(access, sinks);
    let over_http = http::router(shared.clone(), "");
    // Senders probe either port with either protocol; gRPC's paths are its own.
    let over_grpc = grpc::router(shared);
    vec![
        listen("otlp-grpc", after, ports.grpc, over_grpc),
        listen("otlp-http", after, ports.http, over_http),
    ]
}

fn listen(
    name: &'static str,
    after: &[&'static str],
    addresses: Vec<SocketAddr>,
    routes: Router,
) -> Service {
    Service::new(name, after, move |mut context| async move {
        let mut tasks = Vec::new();
        for address in addresses {
            let listener = match TcpListener::bind(address).await {
                Ok(listener) => listener,
                Err(error) => {
                    tracing::error!(%error, %address, "{name} is not served here");
                    continue;
                }
            };
            let (routes, cancel) = (routes.clone(), context.cancel.child_token());
            tasks.push(towpath_daemon::spawn(
                format!("{name} {address}"),
                accept(listener, routes, cancel),
            ));
        }
        context.ready();
        context.cancel.cancelled().await;
        for task in tasks {
            let _ = task.await;
        }
        Ok(())
    })
}

/// Answers on a socket until told to stop.
pub(super) async fn accept(listener: TcpListener, routes: Router, cancel: CancellationToken) {
    let slots = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let graceful = hyper_util::server::graceful::GracefulShutdown::new();
    let mut builder = Builder::new(TokioExecutor::new());
    builder
        .http1()
        .header_read_timeout(Duration::from_secs(30))
        .timer(TokioTimer::new());
    builder
        .http2()
        .max_concurrent_streams(STREAMS_MAX)
        .keep_alive_interval(Duration::from_secs(60))
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
        let service = TowerToHyperService::new(routes.clone().map_request(named));
        let connection = builder
            .serve_connection(TokioIo::new(stream), service)
            .into_owned();
        let watched = graceful.watch(connection);
        towpath_daemon::spawn("otlp connection", async move {
            let _slot = slot;
            if let Err(error) = watched.await {
                tracing::debug!(%error, "connection ended");
            }
        });
    }
    let _ = tokio::time::timeout(DRAIN, graceful.shutdown()).await;
}
