//! Jobs to their end and beyond.

use crate::cluster::{Cluster, template, until};
use k8s_openapi::api::batch::v1::{Job, JobStatus};
use serde_json::{Value, json};

fn job(image: &str, extra: Value) -> Value {
    let mut spec = json!({"template": template("job", image), "backoffLimit": 0});
    spec["template"]["spec"]["restartPolicy"] = json!("Never");
    for (key, value) in extra.as_object().expect("object") {
        spec[key] = value.clone();
    }
    json!({"metadata": {"name": "work"}, "spec": spec})
}

async fn ended(cluster: &Cluster, condition: &'static str) -> JobStatus {
    until(condition, || async {
        let status = cluster
            .api::<Job>()
            .get("work")
            .await
            .expect("job")
            .status?;
        let on = status
            .conditions
            .iter()
            .flatten()
            .any(|c| c.type_ == condition && c.status == "True");
        on.then_some(status)
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_completes_and_goes_when_its_time_has_come() {
    let cluster = Cluster::start().await;
    let spec = json!({"completions": 3, "parallelism": 2, "ttlSecondsAfterFinished": 1});
    cluster.create::<Job>(job("true", spec)).await;
    let status = ended(&cluster, "Complete").await;
    assert_eq!((status.succeeded, status.failed), (Some(3), None));
    assert!(status.completion_time.is_some());
    until("gone with its pods", || async {
        let gone = cluster
            .api::<Job>()
            .get_opt("work")
            .await
            .expect("get")
            .is_none();
        (gone && cluster.pods("app=job").await.is_empty()).then_some(())
    })
    .await;
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failing_job_says_why_and_leaves_no_finalizer() {
    let cluster = Cluster::start().await;
    cluster.create::<Job>(job("false", json!({}))).await;
    let status = ended(&cluster, "Failed").await;
    assert_eq!(status.failed, Some(1));
    let failed = status
        .conditions
        .iter()
        .flatten()
        .find(|c| c.type_ == "Failed")
        .expect("condition");
    assert_eq!(failed.reason.as_deref(), Some("BackoffLimitExceeded"));
    let pods = cluster.pods("job-name=work").await;
    assert!(
        pods.iter()
            .all(|p| p.metadata.finalizers.as_ref().is_none_or(Vec::is_empty)),
        "{pods:?}"
    );
    cluster.stop().await;
}
