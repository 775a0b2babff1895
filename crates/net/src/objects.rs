//! Objects that others expect of a cluster's network: Service `kube-system/kube-dns` with its
//! EndpointSlice, and IngressClass `towpath`.

use crate::config::NetConfig;
use crate::services::Shared;
use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use k8s_openapi::api::networking::v1::IngressClass;
use kube::api::{Api, Patch, PatchParams};
use serde_json::{Value, json};
use towpath_daemon::ServiceContext;

const FIELD_MANAGER: &str = "towpath-net";

/// Applies them at start, again with growing delays until the API takes them, and stays.
pub(crate) async fn keep(
    shared: Shared,
    client: kube::Client,
    config: NetConfig,
    mut context: ServiceContext,
) -> Result<(), String> {
    context.ready();
    let cancel = context.cancel.clone();
    let mut failures = 0;
    while let Err(error) = apply(&shared, &client, &config).await {
        failures += 1;
        let wait = towpath_kit::queue::backoff(failures);
        if failures == 4 {
            tracing::warn!(%error, "kube-dns and the ingress class could not be applied");
        }
        tokio::select! {
            () = cancel.cancelled() => return Ok(()),
            () = tokio::time::sleep(wait) => {}
        }
    }
    cancel.cancelled().await;
    Ok(())
}

async fn apply(shared: &Shared, client: &kube::Client, config: &NetConfig) -> kube::Result<()> {
    let ours = PatchParams::apply(FIELD_MANAGER).force();
    let port = shared.dns_port.get().copied().unwrap_or(53);
    let services: Api<Service> = Api::namespaced(client.clone(), "kube-system");
    services
        .patch("kube-dns", &ours, &Patch::Apply(service(config)))
        .await?;
    let slices: Api<EndpointSlice> = Api::namespaced(client.clone(), "kube-system");
    slices
        .patch("kube-dns-host", &ours, &Patch::Apply(slice(config, port)))
        .await?;
    if config.ingress_addr.is_some() {
        let classes: Api<IngressClass> = Api::all(client.clone());
        let class = json!({
            "apiVersion": "networking.k8s.io/v1",
            "kind": "IngressClass",
            "metadata": { "name": crate::ingress::CLASS },
            "spec": { "controller": "towpath.dev/ingress" },
        });
        classes
            .patch(crate::ingress::CLASS, &ours, &Patch::Apply(class))
            .await?;
    }
    Ok(())
}

fn service(config: &NetConfig) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": { "name": "kube-dns", "labels": { "k8s-app": "kube-dns" } },
        "spec": {
            "clusterIP": config.dns_cluster_ip().to_string(),
            "ports": [
                { "name": "dns", "protocol": "UDP", "port": 53 },
                { "name": "dns-tcp", "protocol": "TCP", "port": 53 },
            ],
        },
    })
}

fn slice(config: &NetConfig, port: u16) -> Value {
    json!({
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {
            "name": "kube-dns-host",
            "labels": {
                "kubernetes.io/service-name": "kube-dns",
                "endpointslice.kubernetes.io/managed-by": "towpath-net",
            },
        },
        "addressType": "IPv4",
        "endpoints": [{
            "addresses": [config.pod_cidr.gateway().to_string()],
            "conditions": { "ready": true, "serving": true },
        }],
        "ports": [
            { "name": "dns", "protocol": "UDP", "port": port },
            { "name": "dns-tcp", "protocol": "TCP", "port": port },
        ],
    })
}
