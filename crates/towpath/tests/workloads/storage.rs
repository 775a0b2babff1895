//! Stateful sets with claims on local volumes.

use crate::cluster::{Cluster, template, until};
use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim};
use kube::ResourceExt;
use kube::api::{Api, DeleteParams, ListParams};
use serde_json::json;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stateful_set_comes_up_in_order_with_its_volumes() {
    let cluster = Cluster::start().await;
    let set = json!({
        "metadata": {"name": "db"},
        "spec": {
            "replicas": 2, "serviceName": "db", "selector": {"matchLabels": {"app": "db"}}, "template": template("db", "one"),
            "volumeClaimTemplates": [{"metadata": {"name": "data"}, "spec": {
                "accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}}],
        },
    });
    cluster.create::<StatefulSet>(set).await;
    let done = |image: &'static str| {
        let cluster = &cluster;
        move || async move {
            let set = cluster.api::<StatefulSet>().get("db").await.expect("set");
            let s = set.status.unwrap_or_default();
            let pods = cluster.pods("app=db").await;
            let all = pods.iter().all(|p| {
                p.spec
                    .as_ref()
                    .is_some_and(|s| s.containers[0].image.as_deref() == Some(image))
            });
            let settled =
                s.available_replicas == Some(2) && s.current_revision == s.update_revision;
            (settled && all && pods.len() == 2 && s.observed_generation == set.metadata.generation)
                .then_some(pods)
        }
    };
    let pods = until("two pods", done("one")).await;
    let names: Vec<_> = pods.iter().map(|p| p.name_any()).collect();
    assert_eq!(names, ["db-0", "db-1"]);
    assert!(pods[0].creation_timestamp() <= pods[1].creation_timestamp());
    let claims = cluster
        .api::<PersistentVolumeClaim>()
        .list(&ListParams::default())
        .await
        .expect("claims")
        .items;
    assert_eq!(claims.len(), 2);
    for claim in &claims {
        assert_eq!(
            claim.status.as_ref().and_then(|s| s.phase.as_deref()),
            Some("Bound")
        );
        let volume = claim
            .spec
            .as_ref()
            .and_then(|s| s.volume_name.clone())
            .expect("volume");
        assert!(cluster.volumes.join(volume).is_dir());
    }
    cluster.patch::<StatefulSet>("db", json!({"spec": {"template": {"spec": {"containers": [{"name": "c", "image": "two"}]}}}})).await;
    until("the update", done("two")).await;

    cluster
        .api::<StatefulSet>()
        .delete("db", &DeleteParams::background())
        .await
        .expect("delete");
    until("pods gone", || async {
        cluster.pods("app=db").await.is_empty().then_some(())
    })
    .await;
    let volumes: Api<PersistentVolume> = Api::all(cluster.client.clone());
    assert_eq!(
        volumes
            .list(&ListParams::default())
            .await
            .expect("volumes")
            .items
            .len(),
        2,
        "data stay"
    );
    for claim in claims {
        cluster
            .api::<PersistentVolumeClaim>()
            .delete(&claim.name_any(), &DeleteParams::default())
            .await
            .expect("delete");
    }
    until("volumes reclaimed", || async {
        let left = volumes
            .list(&ListParams::default())
            .await
            .expect("volumes")
            .items;
        left.is_empty().then_some(())
    })
    .await;
    assert_eq!(
        std::fs::read_dir(&cluster.volumes).expect("root").count(),
        0
    );
    cluster.stop().await;
}
