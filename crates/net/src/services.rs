//! What runs: the watches that feed the model, and the three that act on it.

use crate::config::NetConfig;
use crate::dns;
use crate::ingress;
use crate::model::{Model, ServiceView, SliceView};
use crate::rules::sync;
use k8s_openapi::api::core::v1::{Namespace, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use parking_lot::RwLock;
use std::sync::{Arc, OnceLock};
use tokio::sync::watch;
use towpath_daemon::{CancellationToken, ServiceContext};
use towpath_kit::cache::Cache;

/// The model behind its lock, and a counter that moves with every change of routing.
#[derive(Clone, Default)]
pub(crate) struct Shared {
    pub(crate) model: Arc<RwLock<Model>>,
    pub(crate) changed: Arc<watch::Sender<u64>>,
    /// Where DNS listens on the gateway, once it does.
    pub(crate) dns_port: Arc<OnceLock<u16>>,
}

impl Shared {
    fn bump(&self) {
        self.changed.send_modify(|count| *count += 1);
    }

    /// Takes one service in, or out.
    pub(crate) fn service(&self, key: &towpath_kit::cache::Key, view: Option<ServiceView>) {
        if self.model.write().set_service(key, view) {
            self.bump();
        }
    }

    /// Takes one slice in, or out.
    pub(crate) fn slice(&self, key: &towpath_kit::cache::Key, view: Option<SliceView>) {
        if self.model.write().set_slice(key, view) {
            self.bump();
        }
    }
}

/// All of them, in order: watches, DNS, rules (which know where DNS listens), objects, ingress.
pub(crate) fn services(config: &NetConfig, client: kube::Client) -> Vec<towpath_daemon::Service> {
    use towpath_daemon::Service;
    let shared = Shared::default();
    let mut all = Vec::new();
    let (own, api, settings) = (shared.clone(), client.clone(), config.clone());
    all.push(Service::new("net-model", &[], move |context| {
        feed(own, api, settings, context)
    }));
    let (own, settings) = (shared.clone(), config.clone());
    all.push(Service::new("net-dns", &["net-model"], move |context| {
        dns::serve(own, settings, context)
    }));
    let (own, settings) = (shared.clone(), config.clone());
    all.push(Service::new("net-rules", &["net-dns"], move |context| {
        sync::run(own, settings, context)
    }));
    let (own, api, settings) = (shared.clone(), client.clone(), config.clone());
    all.push(Service::new(
        "net-objects",
        &["net-rules"],
        move |context| crate::objects::keep(own, api, settings, context),
    ));
    if let Some(address) = config.ingress_addr {
        let gateway = config.pod_cidr.gateway();
        all.push(Service::new(
            "net-ingress",
            &["net-rules"],
            move |context| ingress::serve(shared, client, address, gateway, context),
        ));
    }
    all
}

async fn feed(
    shared: Shared,
    client: kube::Client,
    config: NetConfig,
    mut context: ServiceContext,
) -> Result<(), String> {
    let cancel: CancellationToken = context.cancel.clone();
    let services: Cache<Service> = Cache::start(&client, cancel.clone());
    let slices: Cache<EndpointSlice> = Cache::start(&client, cancel.clone());
    let namespaces: Cache<Namespace> = Cache::start(&client, cancel.clone());
    let own = shared.clone();
    let node_ports = config.node_ports.clone();
    services.on_change(move |change| {
        own.service(
            change.key,
            change
                .new
                .map(|object| ServiceView::of(object, &node_ports)),
        );
    });
    let own = shared.clone();
    slices.on_change(move |change| {
        own.slice(
            change.key,
            change.new.and_then(|object| SliceView::of(object)),
        );
    });
    let own = shared.clone();
    namespaces.on_change(move |change| {
        own.model
            .write()
            .set_namespace(&change.key.name, change.new.is_some());
    });
    tokio::select! {
        () = cancel.cancelled() => return Ok(()),
        _ = async { tokio::join!(services.ready(), slices.ready(), namespaces.ready()) } => {}
    }
    context.ready();
    cancel.cancelled().await;
    Ok(())
}
