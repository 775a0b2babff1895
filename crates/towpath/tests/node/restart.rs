//! The agent goes and comes back; containers do not notice.

use crate::cluster::{Cluster, first, forever, kept, once, shell, statuses};
use kube::ResourceExt;
use kube::api::DeleteParams;
use serde_json::json;
use std::time::Duration;

#[tokio::test(flavor = "multi_thread")]
async fn containers_outlive_the_agent() {
    let Some(mut cluster) = Cluster::start().await else {
        return;
    };
    cluster.create("stays", kept(forever("main"))).await;
    cluster
        .create("ends", once(shell("main", "sleep 1.5; echo done; exit 7")))
        .await;
    cluster
        .create(
            "goes",
            json!({ "containers": [forever("main")], "terminationGracePeriodSeconds": 1 }),
        )
        .await;
    let before = cluster.ready("stays").await;
    cluster.ready("ends").await;
    let goes = cluster.ready("goes").await;
    let id = format!("{}.main.0", before.uid().expect("uid"));
    let record = |cluster: &Cluster, id: &str| {
        cluster
            .node
            .runtime()
            .find(id)
            .expect("container")
            .record()
            .expect("record")
    };
    let pid = record(&cluster, &id).process;
    cluster.stop_node().await;
    let now = DeleteParams {
        grace_period_seconds: Some(0),
        ..DeleteParams::default()
    };
    cluster.pods().delete("goes", &now).await.expect("delete");
    tokio::time::sleep(Duration::from_secs(2)).await;
    cluster.restart_node().await;
    assert_eq!(record(&cluster, &id).process, pid, "the same process");
    // Nothing that is ready is told to be unready on the way.
    for _ in 0..20 {
        assert!(crate::cluster::condition(
            &cluster.pods().get("stays").await.expect("pod"),
            "Ready"
        ));
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let pod = cluster.ready("stays").await;
    let status = pod.status.clone().expect("status");
    assert_eq!(first(&pod).restart_count, 0);
    assert_eq!(status.pod_ip, before.status.expect("status").pod_ip);
    assert_eq!(
        cluster.sh(&pod, "main", "exit 3").await.0,
        3,
        "exec after adoption"
    );
    // What ended meanwhile ended as it did, not again.
    let ended = cluster.phase("ends", "Failed").await;
    let terminated = first(&ended)
        .state
        .expect("state")
        .terminated
        .expect("terminated");
    assert_eq!(terminated.exit_code, 7);
    assert_eq!(cluster.log(&ended, "main", |_| {}).await, "done\n");
    // What was deleted meanwhile is gone.
    let uid = goes.uid().expect("uid");
    assert!(
        !cluster
            .node
            .runtime()
            .list()
            .iter()
            .any(|id| id.starts_with(&uid))
    );
    assert!(!towpath_container::cgroup::exists(&format!(
        "{}/pod{uid}",
        cluster.config.cgroup_parent
    )));
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_shim_restarts_the_container_honestly() {
    let Some(cluster) = Cluster::start().await else {
        return;
    };
    let created = cluster.create("web", kept(forever("main"))).await;
    cluster.ready("web").await;
    let id = format!("{}.main.0", created.uid().expect("uid"));
    let shim = cluster
        .node
        .runtime()
        .find(&id)
        .expect("container")
        .record()
        .expect("record")
        .shim
        .pid;
    let pid = rustix::process::Pid::from_raw(shim).expect("pid");
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).expect("kill");
    let pod = cluster
        .until("web", "restarted", |pod| {
            statuses(pod).any(|s| s.restart_count == 1 && s.ready)
        })
        .await;
    let last = first(&pod)
        .last_state
        .expect("last")
        .terminated
        .expect("terminated");
    assert_eq!(last.reason.as_deref(), Some("ContainerStatusUnknown"));
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn after_down_nothing_is_run_twice_by_mistake() {
    let Some(mut cluster) = Cluster::start().await else {
        return;
    };
    cluster.create("again", kept(forever("main"))).await;
    cluster
        .create("once", once(shell("main", "sleep 1000")))
        .await;
    cluster.ready("again").await;
    cluster.ready("once").await;
    cluster.stop_node().await;
    towpath_node::cleanup(&cluster.config).await.expect("down");
    cluster.restart_node().await;
    let pod = cluster
        .until("again", "restarted", |pod| {
            statuses(pod).any(|s| s.restart_count == 1 && s.ready)
        })
        .await;
    assert_eq!(cluster.sh(&pod, "main", "exit 0").await.0, 0);
    let pod = cluster.phase("once", "Failed").await;
    let ended = first(&pod)
        .state
        .expect("state")
        .terminated
        .expect("terminated");
    assert_eq!(ended.reason.as_deref(), Some("ContainerStatusUnknown"));
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_removal_that_was_cut_off_ends_with_the_next_start() {
    let Some(mut cluster) = Cluster::start().await else {
        return;
    };
    cluster.stop_node().await;
    // Its description goes first, the rest was not reached.
    let containers = cluster.config.data_dir.join("containers");
    let left = containers.join("41610c07-ff02-4924-b40e-509e730ddbf6.job.0");
    std::fs::create_dir_all(left.join("work")).expect("directory");
    std::fs::write(left.join("work/file"), "left").expect("file");
    cluster.restart_node().await;
    assert!(!left.exists());
    cluster.stop().await;
}
