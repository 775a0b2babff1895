//! Quotas and disruption budgets with the controllers behind them: what is there is counted, what
//! goes is given back.

use crate::cluster::{Cluster, from, template, until};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{ConfigMap, Pod, ResourceQuota};
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use kube::api::{DeleteParams, EvictParams, Patch, PatchParams, PostParams};
use serde_json::json;

fn used(quota: &ResourceQuota, name: &str) -> Option<String> {
    let used = quota.status.as_ref()?.used.as_ref()?;
    used.get(name).map(|amount| amount.0.clone())
}

async fn until_used(cluster: &Cluster, name: &str, wanted: &str) {
    let quotas = cluster.api::<ResourceQuota>();
    until("the quota's status", || async {
        let quota = quotas.get("room").await.expect("quota");
        (used(&quota, name).as_deref() == Some(wanted)).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_there_is_counted_and_what_goes_is_given_back() {
    let cluster = Cluster::start().await;
    let _: ConfigMap = cluster.create(json!({"metadata": {"name": "first"}})).await;
    let _: ResourceQuota = cluster
        .create(json!({"metadata": {"name": "room"}, "spec": {"hard": {
            "count/configmaps": "3", "pods": "2", "count/deployments.apps": "1", "requests.cpu": "1"}}}))
        .await;
    // Namespaces come with the authority's certificate, so there are two.
    until_used(&cluster, "count/configmaps", "2").await;
    until_used(&cluster, "pods", "0").await;
    let _: ConfigMap = cluster
        .create(json!({"metadata": {"name": "second"}}))
        .await;
    let third: ConfigMap = from(json!({"metadata": {"name": "third"}}));
    let maps = cluster.api::<ConfigMap>();
    let refused = maps.create(&PostParams::default(), &third).await;
    let refused = refused.expect_err("no room").to_string();
    assert!(refused.contains("exceeded quota: room"), "{refused}");
    maps.delete("first", &DeleteParams::default())
        .await
        .expect("delete");
    until_used(&cluster, "count/configmaps", "2").await;
    maps.create(&PostParams::default(), &third)
        .await
        .expect("room again");

    // A deployment gets as many pods as there is room for, and the rest when there is more.
    let template = template("web", "i");
    let _: Deployment = cluster
        .create(json!({"metadata": {"name": "web"}, "spec": {
            "replicas": 3, "selector": {"matchLabels": {"app": "web"}}, "template": template}}))
        .await;
    until_used(&cluster, "pods", "2").await;
    until_used(&cluster, "requests.cpu", "200m").await;
    assert_eq!(cluster.pods("app=web").await.len(), 2);
    let _: ResourceQuota = cluster
        .patch("room", json!({"spec": {"hard": {"pods": "4"}}}))
        .await;
    until_used(&cluster, "pods", "3").await;
    // Who has ended uses nothing.
    let pods = cluster.pods("app=web").await;
    let name = pods[0].metadata.name.clone().expect("name");
    let _: Deployment = cluster
        .patch("web", json!({"spec": {"paused": true}}))
        .await;
    let failed = Patch::Merge(json!({"status": {"phase": "Failed"}}));
    cluster
        .api::<Pod>()
        .patch_status(&name, &PatchParams::default(), &failed)
        .await
        .expect("status");
    // Its place is taken by another at once.
    until("another pod", || async {
        (cluster.pods("app=web").await.len() == 4).then_some(())
    })
    .await;
    until_used(&cluster, "pods", "3").await;
    cluster
        .api::<Deployment>()
        .delete("web", &DeleteParams::default())
        .await
        .expect("delete");
    until_used(&cluster, "pods", "0").await;
    until_used(&cluster, "count/deployments.apps", "0").await;
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn evictions_wait_for_the_budget() {
    let cluster = Cluster::start().await;
    let _: Deployment = cluster
        .create(json!({"metadata": {"name": "kept"}, "spec": {
            "replicas": 3, "selector": {"matchLabels": {"app": "kept"}}, "template": template("kept", "i")}}))
        .await;
    let _: PodDisruptionBudget = cluster
        .create(json!({"metadata": {"name": "kept"}, "spec": {
            "maxUnavailable": 1, "selector": {"matchLabels": {"app": "kept"}}}}))
        .await;
    let budgets = cluster.api::<PodDisruptionBudget>();
    let until_allowed = async |wanted: i32| {
        until("the budget's status", || async {
            let budget = budgets.get("kept").await.expect("budget");
            let status = budget.status?;
            let known = (status.expected_pods, status.disruptions_allowed);
            (known == (Some(3), Some(wanted))).then_some(())
        })
        .await;
    };
    until_allowed(1).await;
    let names: Vec<String> = cluster
        .pods("app=kept")
        .await
        .into_iter()
        .filter_map(|pod| pod.metadata.name)
        .collect();
    let pods = cluster.api::<Pod>();
    let how = EvictParams::default();
    // All at once: one goes, the others are told to wait.
    let all = names.iter().map(|name| pods.evict(name, &how));
    let all = futures::future::join_all(all).await;
    let gone = all.iter().filter(|answer| answer.is_ok()).count();
    assert_eq!(gone, 1, "{all:?}");
    let refused = all.into_iter().find_map(Result::err).expect("a refusal");
    assert!(
        refused.to_string().contains("disruption budget"),
        "{refused}"
    );
    // Its place is taken, and the next may go.
    until_allowed(1).await;
    let names = cluster.pods("app=kept").await;
    let name = names[0].metadata.name.clone().expect("name");
    pods.evict(&name, &EvictParams::default())
        .await
        .expect("eviction");
    cluster.stop().await;
}
