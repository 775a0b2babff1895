//! Port 8080, on its own address and on the gateway's.

use anyhow::{Context, Result};
use axum::Router;
use axum::http::Request;
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use hyper_util::service::TowerToHyperService;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::net::TcpListener;
use tower::ServiceExt;
use towpath_apiserver::Peer;
use towpath_daemon::{CancellationToken, Service};

/// Connections at a time on one address; more wait in the kernel.
const CONNECTIONS_MAX: usize = 4096;
/// Time that open requests get when the server stops.
const DRAIN: Duration = Duration::from_secs(5);

/// A service that answers on all addresses.
pub(super) fn service(
    name: &'static str,
    after: &[&'static str],
    addresses: Vec<SocketAddr>,
    routes: Router,
) -> Service {
    Service::new(name, after, move |mut context| async move {
        let mut tasks = Vec::new();
        for address in addresses {
            let listener = bind(address).await.map_err(|e| format!("{e:#}"))?;
            let (routes, cancel) = (routes.clone(), context.cancel.child_token());
            tasks.push(towpath_daemon::spawn(
                format!("http {address}"),
                accept(listener, routes, cancel),
            ));
        }
        context.ready();
        for task in tasks {
            let _ = task.await;
        }
        Ok(())
    })
}

async fn bind(address: SocketAddr) -> Result<TcpListener> {
    TcpListener::bind(address)
        .await
        .with_context(|| format!("listen on {address}"))
}

async fn accept(listener: TcpListener, routes: Router, cancel: CancellationToken) {
    let slots = std::sync::Arc::new(tokio::sync::Semaphore::new(CONNECTIONS_MAX));
    let graceful = hyper_util::server::graceful::GracefulShutdown::new();
    let mut builder = Builder::new(TokioExecutor::new());
    builder
        .http1()
        .header_read_timeout(Duration::from_secs(30))
        .timer(hyper_util::rt::TokioTimer::new());
    builder.http2().timer(hyper_util::rt::TokioTimer::new());
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
            .serve_connection_with_upgrades(TokioIo::new(stream), service)
            .into_owned();
        let watched = graceful.watch(connection);
        towpath_daemon::spawn("http connection", async move {
            let _slot = slot;
            if let Err(error) = watched.await {
                tracing::debug!(error = %error, "connection ended");
            }
        });
    }
    let _ = tokio::time::timeout(DRAIN, graceful.shutdown()).await;
}
