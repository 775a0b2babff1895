//! Namespaces: what they come with and how they end.

use crate::cluster::{Cluster, from, template, until};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, ServiceAccount};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::ResourceExt;
use kube::api::{Api, ApiResource, DeleteParams, DynamicObject, Patch, PatchParams, PostParams};
use kube::core::GroupVersionKind;
use serde_json::json;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn defaults_come_back_when_removed() {
    let cluster = Cluster::start().await;
    let (accounts, maps) = (cluster.api::<ServiceAccount>(), cluster.api::<ConfigMap>());
    until("defaults", || async {
        let account = accounts.get_opt("default").await.expect("account");
        account.and(maps.get_opt("kube-root-ca.crt").await.expect("map"))
    })
    .await;
    accounts
        .delete("default", &DeleteParams::default())
        .await
        .expect("delete");
    let patch = Patch::Merge(json!({"data": {"ca.crt": "tampered"}}));
    maps.patch("kube-root-ca.crt", &PatchParams::default(), &patch)
        .await
        .expect("patch");
    until("restored", || async {
        let account = accounts.get_opt("default").await.expect("account");
        let map = maps.get("kube-root-ca.crt").await.expect("map");
        (account.is_some() && map.data?["ca.crt"].starts_with("-----BEGIN")).then_some(())
    })
    .await;
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_namespace_goes_with_everything_in_it_custom_kinds_included() {
    let cluster = Cluster::start().await;
    let client = cluster.client.clone();
    let crd: CustomResourceDefinition = from(json!({
        "metadata": {"name": "boats.example.com"},
        "spec": {
            "group": "example.com", "scope": "Namespaced", "names": {"plural": "boats", "singular": "boat", "kind": "Boat"},
            "versions": [{"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": {"type": "object"}}}],
        },
    }));
    Api::<CustomResourceDefinition>::all(client.clone())
        .create(&PostParams::default(), &crd)
        .await
        .expect("definition");
    let namespaces: Api<Namespace> = Api::all(client.clone());
    let space: Namespace = from(json!({"metadata": {"name": "doomed"}}));
    namespaces
        .create(&PostParams::default(), &space)
        .await
        .expect("namespace");
    let kind = ApiResource::from_gvk_with_plural(
        &GroupVersionKind::gvk("example.com", "v1", "Boat"),
        "boats",
    );
    let boats: Api<DynamicObject> = Api::namespaced_with(client.clone(), "doomed", &kind);
    let boat = until("boats are served", || async {
        boats
            .create(&PostParams::default(), &DynamicObject::new("b", &kind))
            .await
            .ok()
    })
    .await;
    let maps: Api<ConfigMap> = Api::namespaced(client.clone(), "doomed");
    // One that belongs to a custom object, and one that holds on until we let go.
    let owned = json!({"metadata": {"name": "owned", "ownerReferences": [
        {"apiVersion": "example.com/v1", "kind": "Boat", "name": "b", "uid": boat.uid()}]}});
    maps.create(&PostParams::default(), &from(owned))
        .await
        .expect("map");
    let held = json!({"metadata": {"name": "held", "finalizers": ["example.com/hold"]}});
    maps.create(&PostParams::default(), &from(held))
        .await
        .expect("map");
    let web = json!({"metadata": {"name": "web"}, "spec": {
        "replicas": 2, "selector": {"matchLabels": {"app": "web"}}, "template": template("web", "one")}});
    let deployments: Api<Deployment> = Api::namespaced(client.clone(), "doomed");
    deployments
        .create(&PostParams::default(), &from(web))
        .await
        .expect("deployment");
    until("two pods", || async {
        let status = deployments.get("web").await.expect("deployment").status?;
        (status.available_replicas == Some(2)).then_some(())
    })
    .await;

    // The owner alone first: its dependent follows.
    boats
        .delete("b", &DeleteParams::default())
        .await
        .expect("delete");
    until("the dependent is collected", || async {
        maps.get_opt("owned")
            .await
            .expect("get")
            .is_none()
            .then_some(())
    })
    .await;
    boats
        .create(&PostParams::default(), &DynamicObject::new("c", &kind))
        .await
        .expect("boat");

    namespaces
        .delete("doomed", &DeleteParams::default())
        .await
        .expect("delete");
    until("what remains is named", || async {
        let space = namespaces
            .get_opt("doomed")
            .await
            .expect("get")
            .expect("still there");
        let conditions = space.status?.conditions?;
        let message = conditions
            .iter()
            .find(|c| c.type_ == "NamespaceContentRemaining")?
            .message
            .clone()?;
        message.contains("configmaps. has 1").then_some(())
    })
    .await;
    let free = Patch::Merge(json!({"metadata": {"finalizers": []}}));
    maps.patch("held", &PatchParams::default(), &free)
        .await
        .expect("patch");
    until("the namespace is gone", || async {
        namespaces
            .get_opt("doomed")
            .await
            .expect("get")
            .is_none()
            .then_some(())
    })
    .await;
    cluster.stop().await;
}
