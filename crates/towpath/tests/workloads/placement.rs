//! The scheduler's queue, and the autoscaler.

use crate::cluster::{Cluster, pod, template, until};
use async_trait::async_trait;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;
use k8s_openapi::api::core::v1::{Node, Pod};
use kube::api::{Api, Patch, PatchParams};
use serde_json::json;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use towpath_kit::traits::{ContainerFigures, PodFigures, ResourceFigures};
use towpath_stdx::{Clock, SystemClock};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pod_waits_with_a_reason_until_there_is_room() {
    let cluster = Cluster::start().await;
    cluster.create::<Pod>(pod("big", "6")).await;
    // A node begins with the taint that says it is not ready.
    let message = until("the reason", || async {
        let status = cluster.api::<Pod>().get("big").await.expect("pod").status?;
        let found = status
            .conditions?
            .into_iter()
            .find(|c| c.type_ == "PodScheduled" && c.status == "False")?;
        let message = found.message.filter(|text| !text.contains("not-ready"))?;
        (found.reason.as_deref() == Some("Unschedulable")).then_some(message)
    })
    .await;
    assert_eq!(message, "0/1 nodes are available: 1 Insufficient cpu.");
    let nodes: Api<Node> = Api::all(cluster.client.clone());
    let room = json!({"status": {"allocatable": {"cpu": "8", "memory": "8Gi", "pods": "110"}}});
    nodes
        .patch_status("one", &PatchParams::default(), &Patch::Merge(room))
        .await
        .expect("node");
    cluster.scheduled("big").await;

    // Gates hold a pod back; cordons taint the node.
    let mut gated = pod("gated", "100m");
    gated["spec"]["schedulingGates"] = json!([{"name": "example.com/g"}]);
    cluster.create::<Pod>(gated).await;
    cluster
        .patch::<Pod>("gated", json!({"spec": {"schedulingGates": []}}))
        .await;
    cluster.scheduled("gated").await;
    let cordon = Patch::Merge(json!({"spec": {"unschedulable": true}}));
    nodes
        .patch("one", &PatchParams::default(), &cordon)
        .await
        .expect("cordon");
    until("the taint", || async {
        let taints = nodes.get("one").await.expect("node").spec?.taints?;
        taints
            .iter()
            .any(|t| t.key == "node.kubernetes.io/unschedulable")
            .then_some(())
    })
    .await;
    cluster.stop().await;
}

// Every pod that the test names uses 150 thousandths of a core.
#[derive(Default)]
struct Busy(Mutex<Vec<String>>);

#[async_trait]
impl ResourceFigures for Busy {
    async fn pods(&self, namespace: &str) -> Vec<PodFigures> {
        let figures = |name: &String| PodFigures {
            namespace: namespace.into(),
            pod: name.clone(),
            at: SystemClock.since_epoch(),
            window: Duration::from_secs(15),
            containers: vec![ContainerFigures {
                name: "c".into(),
                cpu_nanocores: 150_000_000,
                memory_working_set_bytes: 1 << 20,
            }],
        };
        self.0.lock().expect("lock").iter().map(figures).collect()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn busy_pods_get_company() {
    let busy = Arc::new(Busy::default());
    let cluster = Cluster::start_with(Some(busy.clone())).await;
    let web = json!({"metadata": {"name": "web"}, "spec": {
        "replicas": 2, "selector": {"matchLabels": {"app": "web"}}, "template": template("web", "one")}});
    cluster.create::<Deployment>(web).await;
    cluster.available("web", 2).await;
    let names = cluster
        .pods("app=web")
        .await
        .into_iter()
        .filter_map(|p| p.metadata.name)
        .collect();
    *busy.0.lock().expect("lock") = names;
    let autoscaler = json!({"metadata": {"name": "web"}, "spec": {
        "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"}, "minReplicas": 1, "maxReplicas": 5,
        "metrics": [{"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 75}}}]}});
    cluster.create::<HorizontalPodAutoscaler>(autoscaler).await;
    // 150 % of requests against 75 %: twice as many.
    cluster.available("web", 4).await;
    let status = until("the autoscaler's status", || async {
        let status = cluster
            .api::<HorizontalPodAutoscaler>()
            .get("web")
            .await
            .expect("autoscaler")
            .status?;
        (status.desired_replicas == 4).then_some(status)
    })
    .await;
    let active = status
        .conditions
        .iter()
        .flatten()
        .find(|c| c.type_ == "ScalingActive")
        .expect("condition");
    assert_eq!(
        (active.status.as_str(), active.reason.as_deref()),
        ("True", Some("ValidMetricFound"))
    );
    cluster.stop().await;
}
