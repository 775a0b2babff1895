//! Deployments, their replica sets and endpoints, and garbage collection.

use crate::cluster::{Cluster, from, template, until};
use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet};
use k8s_openapi::api::core::v1::{Endpoints, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::ResourceExt;
use kube::api::{DeleteParams, ListParams};
use serde_json::{Value, json};
use std::time::Duration;

fn web(replicas: i32, image: &str) -> Value {
    json!({
        "metadata": {"name": "web"},
        "spec": {"replicas": replicas, "selector": {"matchLabels": {"app": "web"}}, "template": template("web", image)},
    })
}

// What `kubectl rollout status` waits for.
async fn rolled_out(cluster: &Cluster, replicas: i32) -> Deployment {
    until("rollout", || async {
        let d = cluster
            .api::<Deployment>()
            .get("web")
            .await
            .expect("deployment");
        let s = d.status.clone().unwrap_or_default();
        let done = s.observed_generation >= d.metadata.generation
            && [s.updated_replicas, s.replicas, s.available_replicas]
                .iter()
                .all(|n| n.unwrap_or(0) == replicas);
        done.then_some(d)
    })
    .await
}

async fn ready_addresses(cluster: &Cluster) -> usize {
    let list = ListParams::default().labels("kubernetes.io/service-name=web");
    let slices = cluster
        .api::<EndpointSlice>()
        .list(&list)
        .await
        .expect("slices")
        .items;
    let endpoints = slices.iter().flat_map(|s| s.endpoints.iter().flatten());
    endpoints
        .filter(|e| e.conditions.as_ref().is_some_and(|c| c.ready == Some(true)))
        .count()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deployment_rolls_out_back_and_away() {
    let cluster = Cluster::start().await;
    let service: Service = from(json!({
        "metadata": {"name": "web"},
        "spec": {"selector": {"app": "web"}, "ports": [{"port": 80, "targetPort": 8080}]},
    }));
    cluster
        .api::<Service>()
        .create(&Default::default(), &service)
        .await
        .expect("service");
    cluster.create::<Deployment>(web(3, "one")).await;
    let first = rolled_out(&cluster, 3).await;
    let annotations = first.annotations();
    assert_eq!(annotations["deployment.kubernetes.io/revision"], "1");
    let conditions = first
        .status
        .expect("status")
        .conditions
        .expect("conditions");
    let progressing = conditions
        .iter()
        .find(|c| c.type_ == "Progressing")
        .expect("Progressing");
    assert_eq!(
        progressing.reason.as_deref(),
        Some("NewReplicaSetAvailable")
    );
    until("three endpoints", || async {
        (ready_addresses(&cluster).await == 3).then_some(())
    })
    .await;
    until("older endpoints", || async {
        let found = cluster
            .api::<Endpoints>()
            .get_opt("web")
            .await
            .expect("endpoints")?;
        let ready = found
            .subsets?
            .iter()
            .flat_map(|s| s.addresses.iter().flatten())
            .count();
        (ready == 3).then_some(())
    })
    .await;

    let image = |image: &str| json!({"spec": {"template": template("web", image)}});
    cluster.patch::<Deployment>("web", image("two")).await;
    rolled_out(&cluster, 3).await;
    let pods = cluster.pods("app=web").await;
    assert!(pods.iter().all(|p| {
        p.spec.as_ref().expect("spec").containers[0]
            .image
            .as_deref()
            == Some("two")
    }));

    // Back to the first template: its replica set returns as revision 3.
    cluster.patch::<Deployment>("web", image("one")).await;
    rolled_out(&cluster, 3).await;
    let sets = cluster
        .api::<ReplicaSet>()
        .list(&ListParams::default())
        .await
        .expect("sets")
        .items;
    let mut revisions: Vec<_> = sets
        .iter()
        .map(|s| s.annotations()["deployment.kubernetes.io/revision"].clone())
        .collect();
    revisions.sort();
    assert_eq!(revisions, ["2", "3"]);

    cluster
        .patch::<Deployment>("web", json!({"spec": {"replicas": 1}}))
        .await;
    rolled_out(&cluster, 1).await;
    until("one endpoint", || async {
        (ready_addresses(&cluster).await == 1).then_some(())
    })
    .await;

    cluster
        .api::<Deployment>()
        .delete("web", &DeleteParams::background())
        .await
        .expect("delete");
    until("everything collected", || async {
        let sets = cluster
            .api::<ReplicaSet>()
            .list(&ListParams::default())
            .await
            .expect("sets")
            .items;
        (sets.is_empty() && cluster.pods("app=web").await.is_empty()).then_some(())
    })
    .await;
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broken_release_keeps_the_old_pods_serving() {
    let cluster = Cluster::start().await;
    let mut spec = web(2, "good");
    spec["spec"]["progressDeadlineSeconds"] = json!(2);
    cluster.create::<Deployment>(spec).await;
    rolled_out(&cluster, 2).await;
    let patch =
        json!({"spec": {"template": {"spec": {"containers": [{"name": "c", "image": "broken"}]}}}});
    cluster.patch::<Deployment>("web", patch).await;
    until("the deadline", || async {
        let d = cluster
            .api::<Deployment>()
            .get("web")
            .await
            .expect("deployment");
        let conditions = d.status?.conditions?;
        let missed = conditions.iter().any(|c| {
            c.type_ == "Progressing" && c.reason.as_deref() == Some("ProgressDeadlineExceeded")
        });
        missed.then_some(())
    })
    .await;
    let good = cluster.pods("app=web").await;
    let good = good.iter().filter(|p| {
        p.spec.as_ref().expect("spec").containers[0]
            .image
            .as_deref()
            == Some("good")
    });
    assert_eq!(good.count(), 2);
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn orphans_are_left_and_adopted_and_foreground_waits() {
    let cluster = Cluster::start().await;
    cluster.create::<Deployment>(web(2, "one")).await;
    rolled_out(&cluster, 2).await;
    let before: Vec<_> = cluster
        .pods("app=web")
        .await
        .iter()
        .map(|p| p.uid())
        .collect();
    cluster
        .api::<Deployment>()
        .delete("web", &DeleteParams::orphan())
        .await
        .expect("delete");
    until("the deployment alone is gone", || async {
        let gone = cluster
            .api::<Deployment>()
            .get_opt("web")
            .await
            .expect("get")
            .is_none();
        let sets = cluster
            .api::<ReplicaSet>()
            .list(&ListParams::default())
            .await
            .expect("sets")
            .items;
        (gone && sets.len() == 1 && sets[0].owner_references().is_empty()).then_some(())
    })
    .await;
    cluster.create::<Deployment>(web(2, "one")).await;
    rolled_out(&cluster, 2).await;
    let after: Vec<_> = cluster
        .pods("app=web")
        .await
        .iter()
        .map(|p| p.uid())
        .collect();
    assert_eq!(before, after, "the same pods under a new owner");
    cluster
        .api::<Deployment>()
        .delete("web", &DeleteParams::foreground())
        .await
        .expect("delete");
    until("the deployment goes last", || async {
        let gone = cluster
            .api::<Deployment>()
            .get_opt("web")
            .await
            .expect("get")
            .is_none();
        if gone {
            assert!(
                cluster
                    .api::<ReplicaSet>()
                    .list(&ListParams::default())
                    .await
                    .expect("sets")
                    .items
                    .is_empty()
            );
        }
        gone.then_some(())
    })
    .await;
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert!(cluster.pods("app=web").await.is_empty());
    cluster.stop().await;
}
