//! HTTP from outside to Services, by host and path.
//!
//! Serves Ingress objects of class `towpath`, or of none. Requests go straight to a ready
//! endpoint of the backend, bodies are streamed both ways, upgrades (websockets) are passed on.

mod proxy;
mod route;
mod status;

use crate::services::Shared;
use k8s_openapi::api::networking::v1::Ingress;
use parking_lot::{Mutex, RwLock};
use route::Routes;
use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use tokio::net::TcpListener;
use towpath_daemon::ServiceContext;
use towpath_kit::cache::{Cache, Key};
use towpath_kit::queue::Queue;

/// Name of the class.
pub(crate) const CLASS: &str = "towpath";

/// Runs until cancelled.
pub(crate) async fn serve(
    shared: Shared,
    client: kube::Client,
    address: SocketAddr,
    gateway: Ipv4Addr,
    mut context: ServiceContext,
) -> Result<(), String> {
    let cancel = context.cancel.clone();
    let listener = TcpListener::bind(address)
        .await
        .map_err(|error| format!("listen on {address} for ingress: {error}"))?;
    let ingresses: Cache<Ingress> = Cache::start(&client, cancel.clone());
    let routes = Arc::new(RwLock::new(Routes::default()));
    let queue = Queue::default();
    // A copy of our own: a handler must not ask the cache that is calling it.
    let ours: Mutex<BTreeMap<Key, Arc<Ingress>>> = Mutex::default();
    let (own, changed) = (routes.clone(), queue.clone());
    ingresses.on_change(move |change| {
        let mut ours = ours.lock();
        match change.new.filter(|ingress| route::is_ours(ingress)) {
            Some(ingress) => {
                ours.insert(change.key.clone(), ingress.clone());
                changed.add(change.key.clone());
            }
            None => drop(ours.remove(change.key)),
        }
        let all: Vec<_> = ours.values().cloned().collect();
        *own.write() = Routes::of(&all);
    });
    tokio::select! {
        () = cancel.cancelled() => return Ok(()),
        () = ingresses.ready() => {}
    }
    context.ready();
    let shown = if address.ip().is_unspecified() {
        gateway.into()
    } else {
        address.ip()
    };
    let proxy = proxy::Proxy::new(shared.model.clone(), routes);
    tokio::join!(
        proxy.run(listener, cancel.clone()),
        status::keep(client, ingresses, queue, shown, cancel),
    );
    Ok(())
}
