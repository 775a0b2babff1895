//! `towpath_release_info`: which pod runs what, down to the commit.
//!
//! One sample of 1 per pod that came from a release, with the causal key as labels: pod, rollout,
//! digest, build, commit, version. Queries join it (`* on (namespace, pod) group_left (commit)`),
//! so that no other series carries a commit and none churns with a deployment.

use super::Sink;
use crate::family::{Family, Gather, GatherError, Kind};
use async_trait::async_trait;
use k8s_openapi::api::core::v1::Pod;
use std::sync::Arc;
use towpath_kit::cache::Cache;
use towpath_kit::kinds::labels;

/// The causal key of a pod.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PodRelease {
    /// Namespace of the pod.
    pub namespace: String,
    /// Name of the pod.
    pub pod: String,
    /// UID of the pod.
    pub uid: String,
    /// What made the pod, most often a ReplicaSet.
    pub rollout: String,
    /// Digest of its first image that has one.
    pub digest: String,
    /// Name of the `Run` that built it, where the pod says so.
    pub build: String,
    /// Full commit id.
    pub commit: String,
    /// Name of the `Release`, else the version the pod says it is.
    pub version: String,
}

impl PodRelease {
    /// The key of a pod; `None` where the pod came from no release.
    pub fn of(pod: &Pod) -> Option<Self> {
        let meta = &pod.metadata;
        let own = meta.labels.as_ref()?;
        let label = |key: &str| own.get(key).cloned().unwrap_or_default();
        let commit = label(labels::COMMIT);
        // A job's pod is made for a commit, not from it.
        if commit.is_empty() || own.contains_key(labels::JOB) {
            return None;
        }
        let mut owners = meta.owner_references.iter().flatten();
        let owner = owners.find(|owner| owner.controller == Some(true));
        let version = [labels::RELEASE, "app.kubernetes.io/version"]
            .into_iter()
            .map(label)
            .find(|text| !text.is_empty());
        Some(Self {
            namespace: meta.namespace.clone().unwrap_or_default(),
            pod: meta.name.clone().unwrap_or_default(),
            uid: meta.uid.clone().unwrap_or_default(),
            rollout: owner.map(|owner| owner.name.clone()).unwrap_or_default(),
            digest: digest(pod).unwrap_or_default(),
            build: label(labels::RUN),
            commit,
            version: version.unwrap_or_default(),
        })
    }
}

// Of what runs, else of what is asked for.
fn digest(pod: &Pod) -> Option<String> {
    let told = pod
        .status
        .iter()
        .flat_map(|status| status.container_statuses.iter().flatten())
        .map(|status| status.image_id.as_str());
    let wanted = pod
        .spec
        .iter()
        .flat_map(|spec| &spec.containers)
        .filter_map(|container| container.image.as_deref());
    told.chain(wanted).find_map(|image| {
        let at = image.rfind("sha256:")?;
        Some(image[at..].to_string())
    })
}

/// Pods and their releases as a target inside this process.
pub struct ReleaseTarget {
    pods: Cache<Pod>,
}

impl ReleaseTarget {
    /// A target over copies of pods that somebody feeds; [`towpath_kit::slim::pod`] leaves enough.
    pub fn new(pods: Cache<Pod>) -> Self {
        Self { pods }
    }
}

/// Writes the series of pods.
pub fn write(pods: &[Arc<Pod>], sink: &mut Sink) {
    sink.family(
        "towpath_release_info",
        Kind::Gauge,
        "Which pod runs which build of which commit.",
    );
    for key in pods.iter().filter_map(|pod| PodRelease::of(pod)) {
        sink.sample(
            &[
                ("namespace", &key.namespace),
                ("pod", &key.pod),
                ("uid", &key.uid),
                ("rollout", &key.rollout),
                ("digest", &key.digest),
                ("build", &key.build),
                ("commit", &key.commit),
                ("version", &key.version),
            ],
            1.0,
        );
    }
}

#[async_trait]
impl Gather for ReleaseTarget {
    async fn gather(&self) -> Result<Vec<Family>, GatherError> {
        let pods = self.pods.all();
        super::off_reactor("releases", move |sink| write(&pods, sink)).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pod_of_a_release_tells_its_commit_and_a_job_does_not() {
        let pod = |labels: serde_json::Value| -> Pod {
            serde_json::from_value(serde_json::json!({
                "metadata": {
                    "name": "web-1-x", "namespace": "shop", "uid": "u", "labels": labels,
                    "ownerReferences": [{"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "web-1", "uid": "o", "controller": true}],
                },
                "spec": {"containers": [{"name": "web", "image": "demo/web@sha256:aa"}]},
            }))
            .expect("pod")
        };
        let of_release = pod(serde_json::json!({
            "towpath.dev/commit": "c0ffee", "towpath.dev/release": "web-c0ffee",
        }));
        let mut sink = Sink::default();
        let job = serde_json::json!({"towpath.dev/commit": "c0ffee", "towpath.dev/job": "test"});
        let pods = [of_release, pod(job), pod(serde_json::json!({}))];
        write(&pods.map(Arc::new), &mut sink);
        assert_eq!(
            crate::family::text(&sink.finish()).lines().last(),
            Some(
                "towpath_release_info{namespace=\"shop\",pod=\"web-1-x\",uid=\"u\",\
                 rollout=\"web-1\",digest=\"sha256:aa\",build=\"\",commit=\"c0ffee\",\
                 version=\"web-c0ffee\"} 1"
            )
        );
    }
}
