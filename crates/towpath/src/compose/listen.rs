//! Port 8080, on its own address and on the gateway's.

use anyhow::{Context, Result};
use axum::Router;
use std::net::SocketAddr;
use tokio::net::TcpListener;
use towpath_daemon::Service;
use towpath_kit::listen::{self, Limits};

const LIMITS: Limits = Limits {
    name: "http connection",
    connections: 4096,
    streams: 200,
    keep_alive: None,
};

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
                listen::accept(listener, routes, LIMITS, cancel),
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
