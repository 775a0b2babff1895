//! The ports, and what their handlers share.

use super::access::Access;
use super::body::Memory;
use super::sink::Sinks;
use super::{grpc, http};
use axum::Router;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::net::TcpListener;
use towpath_daemon::Service;
use towpath_kit::listen::{self, Limits};

pub(super) const LIMITS: Limits = Limits {
    name: "otlp connection",
    connections: 1024,
    streams: 64,
    keep_alive: Some(Duration::from_secs(60)),
};

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
/// carry credentials, wherever they come from.
pub fn router(access: Access, sinks: Sinks, prefix: &str) -> Router {
    let access = Access {
        anonymous_senders: None,
        ..access
    };
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
                listen::accept(listener, routes, LIMITS, cancel),
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
