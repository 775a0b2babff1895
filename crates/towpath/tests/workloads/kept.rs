//! Replication controllers, daemon sets and cron jobs.

use crate::cluster::{Cluster, template, until};
use k8s_openapi::api::apps::v1::{ControllerRevision, DaemonSet};
use k8s_openapi::api::batch::v1::{CronJob, Job};
use k8s_openapi::api::core::v1::{Node, Pod, ReplicationController};
use kube::ResourceExt;
use kube::api::{Api, DeleteParams, ListParams, Patch, PatchParams};
use serde_json::{Value, json};

async fn active(cluster: &Cluster, labels: &str) -> Vec<Pod> {
    let mut pods = cluster.pods(labels).await;
    pods.retain(|p| p.metadata.deletion_timestamp.is_none());
    pods
}

async fn so_many(cluster: &Cluster, labels: &str, count: usize) -> Vec<Pod> {
    until(&format!("{count} pods of {labels}"), || async {
        let pods = active(cluster, labels).await;
        (pods.len() == count).then_some(pods)
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replication_controller_keeps_its_number_and_takes_orphans_back() {
    let cluster = Cluster::start().await;
    let old = json!({"metadata": {"name": "old"}, "spec": {
        "replicas": 2, "selector": {"app": "old"}, "template": template("old", "one")}});
    cluster.create::<ReplicationController>(old.clone()).await;
    so_many(&cluster, "app=old", 2).await;
    cluster
        .patch::<ReplicationController>("old", json!({"spec": {"replicas": 3}}))
        .await;
    let pods = so_many(&cluster, "app=old", 3).await;
    let controllers = cluster.api::<ReplicationController>();
    until("the status", || async {
        let status = controllers.get("old").await.expect("controller").status?;
        (status.available_replicas == Some(3) && status.observed_generation == Some(2))
            .then_some(())
    })
    .await;
    controllers
        .delete("old", &DeleteParams::orphan())
        .await
        .expect("delete");
    until("orphans", || async {
        let gone = controllers.get_opt("old").await.expect("get").is_none();
        let pods = active(&cluster, "app=old").await;
        let free = pods.iter().all(|p| p.owner_references().is_empty());
        (gone && pods.len() == 3 && free).then_some(())
    })
    .await;
    cluster.create::<ReplicationController>(old).await;
    let kept = so_many(&cluster, "app=old", 2).await;
    let known: Vec<_> = pods.iter().map(ResourceExt::uid).collect();
    assert!(kept.iter().all(|p| known.contains(&p.uid())));
    until("adopted", || async {
        let pods = active(&cluster, "app=old").await;
        let owned = |p: &Pod| {
            p.owner_references()
                .iter()
                .any(|r| r.kind == "ReplicationController")
        };
        pods.iter().all(owned).then_some(())
    })
    .await;
    cluster.stop().await;
}

fn nodes_of(pods: &[Pod]) -> Vec<String> {
    let mut nodes: Vec<String> = pods
        .iter()
        .filter_map(|p| p.spec.as_ref()?.node_name.clone())
        .collect();
    nodes.sort();
    nodes
}

async fn rolled_out(cluster: &Cluster, nodes: i32) {
    let sets = cluster.api::<DaemonSet>();
    until("the daemon set is rolled out", || async {
        let set = sets.get("every").await.expect("set");
        let status = set.status?;
        let seen = status.observed_generation == set.metadata.generation;
        let all = [
            status.desired_number_scheduled,
            status.current_number_scheduled,
            status.updated_number_scheduled.unwrap_or(0),
            status.number_available.unwrap_or(0),
        ];
        (seen && all.iter().all(|n| *n == nodes)).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_daemon_set_follows_the_nodes_and_its_template() {
    let cluster = Cluster::start().await;
    let room = json!({"cpu": "4", "memory": "8Gi", "pods": "110"});
    let every = json!({"metadata": {"name": "every"}, "spec": {
        "selector": {"matchLabels": {"app": "every"}}, "template": template("every", "one")}});
    cluster.create::<DaemonSet>(every).await;
    rolled_out(&cluster, 1).await;
    cluster.add_node("two", room).await;
    rolled_out(&cluster, 2).await;
    assert_eq!(
        nodes_of(&active(&cluster, "app=every").await),
        ["one", "two"]
    );

    // A new template, and the old one again: the same revision with a new number.
    let sets = cluster.api::<DaemonSet>();
    let first = sets.get("every").await.expect("set");
    let container = first
        .spec
        .and_then(|s| s.template.spec)
        .expect("spec")
        .containers[0]
        .name
        .clone();
    for image in ["two", "one"] {
        let change = json!({"spec": {"template": {"spec": {
            "containers": [{"name": container, "image": image}]}}}});
        sets.patch("every", &PatchParams::default(), &Patch::Strategic(change))
            .await
            .expect("patch");
        rolled_out(&cluster, 2).await;
    }
    let revisions = cluster.api::<ControllerRevision>();
    let all = revisions
        .list(&ListParams::default())
        .await
        .expect("revisions");
    let mut numbers: Vec<i64> = all.items.iter().map(|r| r.revision).collect();
    numbers.sort_unstable();
    assert_eq!(numbers, [2, 3]);

    // A taint that ends what runs there sends the pod away; tolerating it brings it back.
    let nodes: Api<Node> = Api::all(cluster.client.clone());
    let taint = json!({"spec": {"taints": [{"key": "broken", "effect": "NoExecute"}]}});
    nodes
        .patch("two", &PatchParams::default(), &Patch::Merge(taint))
        .await
        .expect("taint");
    rolled_out(&cluster, 1).await;
    let tolerate =
        json!({"spec": {"template": {"spec": {"tolerations": [{"operator": "Exists"}]}}}});
    cluster.patch::<DaemonSet>("every", tolerate).await;
    rolled_out(&cluster, 2).await;
    cluster.stop().await;
}

fn cron(name: &str, extra: &Value) -> Value {
    let mut job = template("cron", "true");
    job["spec"]["restartPolicy"] = json!("Never");
    let mut spec = json!({"schedule": "0 * * * *", "jobTemplate": {"spec": {"template": job}}});
    for (key, value) in extra.as_object().expect("object") {
        spec[key] = value.clone();
    }
    json!({"metadata": {"name": name}, "spec": spec})
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cron_job_that_missed_its_time_starts_once() {
    let cluster = Cluster::start().await;
    cluster
        .create::<CronJob>(cron("late", &json!({"suspend": true})))
        .await;
    let crons = cluster.api::<CronJob>();
    let long_ago = json!({"status": {"lastScheduleTime": "2026-01-01T00:00:00Z"}});
    crons
        .patch_status("late", &PatchParams::default(), &Patch::Merge(long_ago))
        .await
        .expect("status");
    cluster
        .patch::<CronJob>("late", json!({"spec": {"suspend": false}}))
        .await;
    let status = until("its success", || async {
        let status = crons.get("late").await.expect("cron job").status?;
        status.last_successful_time.is_some().then_some(status)
    })
    .await;
    let jobs = cluster
        .api::<Job>()
        .list(&ListParams::default())
        .await
        .expect("jobs");
    let [job] = jobs.items.as_slice() else {
        panic!(
            "{:?}",
            jobs.items
                .iter()
                .map(ResourceExt::name_any)
                .collect::<Vec<_>>()
        );
    };
    let at = status.last_schedule_time.expect("time").0;
    assert_eq!(job.name_any(), format!("late-{}", at.as_second() / 60));
    assert_eq!(at.as_second() % 3600, 0);
    assert_eq!(
        job.annotations()["batch.kubernetes.io/cronjob-scheduled-timestamp"],
        at.to_string()
    );
    assert_eq!(job.owner_references()[0].kind, "CronJob");
    cluster.stop().await;
}
