//! The first objects: our kinds, and the services by which pods reach this server.

use anyhow::{Context, Result};
use kube::api::{Api, DynamicObject, Patch, PatchParams};
use kube::core::GroupVersionKind;
use kube::discovery::ApiResource;
use kube::{Client, ResourceExt};
use serde_json::json;
use std::net::IpAddr;

/// Installs the CRDs of our kinds and waits until they are served.
pub(super) async fn kinds(client: &Client) -> Result<()> {
    use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
    let api: Api<CustomResourceDefinition> = Api::all(client.clone());
    // What others know how to write; the server runs without it.
    for definition in towpath_telemetry::operator::definitions() {
        match serde_json::from_value::<CustomResourceDefinition>(definition) {
            Ok(crd) => {
                let name = crd.name_any();
                if let Err(error) = put(&api, &name, &crd).await {
                    tracing::error!("install kind {name}: {error:#}");
                }
            }
            Err(error) => tracing::error!("definition of a kind of others: {error}"),
        }
    }
    for crd in towpath_kit::kinds::crds() {
        let name = crd.name_any();
        put(&api, &name, &crd)
            .await
            .with_context(|| format!("install kind {name}"))?;
    }
    for crd in towpath_kit::kinds::crds() {
        let established = kube::runtime::conditions::is_crd_established();
        let name = crd.name_any();
        let wait = kube::runtime::wait::await_condition(api.clone(), &name, established);
        tokio::time::timeout(std::time::Duration::from_secs(10), wait)
            .await
            .with_context(|| format!("kind {name} is not established"))??;
    }
    Ok(())
}

/// Publishes `kubernetes` (the API), `towpath` (port 8080) and `otlp`, `otlp-grpc` (telemetry) to pods, at the
/// gateway. A port of 0 is not served and not published.
pub(super) async fn services(
    client: &Client,
    gateway: IpAddr,
    api: u16,
    http: u16,
    otlp: (u16, u16),
) -> Result<()> {
    for (namespace, name, port_name, port, target) in [
        ("default", "kubernetes", "https", 443, api),
        ("towpath-system", "towpath", "http", 80, http),
        ("towpath-system", "otlp-grpc", "grpc", 4317, otlp.0),
        ("towpath-system", "otlp", "http", 4318, otlp.1),
    ] {
        if target == 0 {
            continue;
        }
        let service = json!({
            "apiVersion": "v1", "kind": "Service", "metadata": {"name": name},
            "spec": {"ports": [{"name": port_name, "port": port, "targetPort": target, "protocol": "TCP"}]},
        });
        apply(client, namespace, service).await?;
        let slice = json!({
            "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
            "metadata": {"name": name, "labels": {
                "kubernetes.io/service-name": name,
                "endpointslice.kubernetes.io/managed-by": "towpath",
            }},
            "addressType": "IPv4",
            "endpoints": [{"addresses": [gateway.to_string()], "conditions": {"ready": true}}],
            "ports": [{"name": port_name, "port": target, "protocol": "TCP"}],
        });
        apply(client, namespace, slice).await?;
        // For clients that know no slices; the slice above is its mirror already.
        let endpoints = json!({
            "apiVersion": "v1", "kind": "Endpoints",
            "metadata": {"name": name, "labels": {"endpointslice.kubernetes.io/skip-mirror": "true"}},
            "subsets": [{
                "addresses": [{"ip": gateway.to_string()}],
                "ports": [{"name": port_name, "port": target, "protocol": "TCP"}],
            }],
        });
        apply(client, namespace, endpoints).await?;
    }
    Ok(())
}

async fn apply(client: &Client, namespace: &str, value: serde_json::Value) -> Result<()> {
    let object: DynamicObject = serde_json::from_value(value)?;
    let types = object.types.clone().unwrap_or_default();
    let resource = ApiResource::from_gvk(&GroupVersionKind::try_from(&types)?);
    let api: Api<DynamicObject> = Api::namespaced_with(client.clone(), namespace, &resource);
    let name = object.name_any();
    put(&api, &name, &object)
        .await
        .with_context(|| format!("publish {} {namespace}/{name}", types.kind))
}

// A full disk does not keep a server from starting: reads and deletes are what is needed then,
// and what an earlier start has put there does for now.
async fn put<K>(api: &Api<K>, name: &str, object: &K) -> Result<(), kube::Error>
where
    K: Clone + std::fmt::Debug + serde::Serialize + serde::de::DeserializeOwned,
{
    let params = PatchParams::apply("towpath").force();
    match api.patch(name, &params, &Patch::Apply(object)).await {
        Err(kube::Error::Api(status)) if status.code == 507 => match api.get_opt(name).await? {
            Some(_) => {
                tracing::warn!(name, "kept as it was: {}", status.message);
                Ok(())
            }
            None => Err(kube::Error::Api(status)),
        },
        other => other.map(drop),
    }
}
