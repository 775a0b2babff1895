//! An API server with controllers in a directory of its own, and the stand-in for a node.

use futures::StreamExt;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{Node, Pod};
use kube::api::{Api, DeleteParams, Patch, PatchParams, PostParams};
use kube::runtime::watcher::{self, Event};
use kube::{Client, Resource, ResourceExt};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use std::fmt::Debug;
use std::future::Future;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;
use towpath_apiserver::{ApiServer, Config};
use towpath_daemon::{CancellationToken, Services};
use towpath_kit::copies::Copies;
use towpath_kit::traits::{Principal, ResourceFigures};
use towpath_workloads::WorkloadsConfig;

/// Everything of one test; ends with it.
pub(crate) struct Cluster {
    pub(crate) client: Client,
    pub(crate) volumes: PathBuf,
    server: ApiServer,
    services: Option<Services>,
    cancel: CancellationToken,
    _directory: tempfile::TempDir,
}

impl Cluster {
    /// With node `one` of 4 cores and 8 GiB.
    pub(crate) async fn start() -> Self {
        Self::start_with(None).await
    }

    pub(crate) async fn start_with(figures: Option<Arc<dyn ResourceFigures>>) -> Self {
        let directory = tempfile::tempdir().expect("temporary directory");
        let mut config = Config::new(directory.path());
        config.listen = Vec::new();
        let server = ApiServer::open(config).await.expect("API server");
        let volumes = directory.path().join("volumes");
        let workloads = WorkloadsConfig {
            local_volumes_root: volumes.clone(),
            root_ca_pem: server.ca_pem().to_string(),
            node_name: "one".into(),
            after: Vec::new(),
        };
        let component =
            towpath_kit::client::in_process(server.service(Principal::component("workloads")));
        let copies = Copies::default();
        let mut services = vec![copies.service(component.clone(), &[])];
        services.extend(towpath_workloads::services(
            workloads, component, copies, figures,
        ));
        let services = Services::start(services, Duration::from_secs(20))
            .await
            .expect("controllers");
        let admin = Principal {
            name: "admin".into(),
            groups: vec!["system:masters".into()],
            ..Principal::default()
        };
        let client = towpath_kit::client::in_process(server.service(admin));
        let cancel = CancellationToken::new();
        let cluster = Self {
            client,
            volumes,
            server,
            services: Some(services),
            cancel,
            _directory: directory,
        };
        cluster
            .add_node("one", json!({"cpu": "4", "memory": "8Gi", "pods": "110"}))
            .await;
        towpath_daemon::spawn(
            "node",
            run_pods(cluster.client.clone(), cluster.cancel.clone()),
        );
        cluster
    }

    pub(crate) async fn add_node(&self, name: &str, room: Value) {
        let node: Node =
            from(json!({"metadata": {"name": name, "labels": {"kubernetes.io/hostname": name}}}));
        let api: Api<Node> = Api::all(self.client.clone());
        api.create(&PostParams::default(), &node)
            .await
            .expect("node");
        let status = json!({"status": {"allocatable": room, "capacity": room, "conditions": [{"type": "Ready", "status": "True"}]}});
        api.patch_status(name, &PatchParams::default(), &Patch::Merge(status))
            .await
            .expect("node status");
        // A new node is tainted until its controller has seen that it is ready.
        until("a node without taints", || async {
            let spec = api.get(name).await.expect("node").spec;
            let taints = spec.and_then(|s| s.taints).unwrap_or_default();
            taints.is_empty().then_some(())
        })
        .await;
    }

    /// The typed API of namespace `default`.
    pub(crate) fn api<K>(&self) -> Api<K>
    where
        K: Resource<DynamicType = (), Scope = k8s_openapi::NamespaceResourceScope>,
    {
        Api::namespaced(self.client.clone(), "default")
    }

    pub(crate) async fn create<K>(&self, value: Value) -> K
    where
        K: Resource<DynamicType = (), Scope = k8s_openapi::NamespaceResourceScope>
            + Clone
            + Debug
            + Serialize
            + DeserializeOwned,
    {
        self.api::<K>()
            .create(&PostParams::default(), &from(value))
            .await
            .expect("create")
    }

    pub(crate) async fn patch<K>(&self, name: &str, patch: Value) -> K
    where
        K: Resource<DynamicType = (), Scope = k8s_openapi::NamespaceResourceScope>
            + Clone
            + Debug
            + DeserializeOwned,
    {
        self.api::<K>()
            .patch(name, &PatchParams::default(), &Patch::Merge(patch))
            .await
            .expect("patch")
    }

    /// All pods of namespace `default` with a label.
    pub(crate) async fn pods(&self, labels: &str) -> Vec<Pod> {
        let list = kube::api::ListParams::default().labels(labels);
        self.api::<Pod>().list(&list).await.expect("pods").items
    }

    /// Waits until a pod has its node.
    pub(crate) async fn scheduled(&self, pod: &str) {
        until(&format!("{pod} has a node"), || async {
            self.api::<Pod>()
                .get(pod)
                .await
                .expect("pod")
                .spec?
                .node_name
        })
        .await;
    }

    /// Waits until a deployment has this many pods that serve.
    pub(crate) async fn available(&self, deployment: &str, count: i32) {
        until(&format!("{count} pods of {deployment}"), || async {
            let found = self.api::<Deployment>().get(deployment).await;
            let status = found.expect("deployment").status?;
            (status.available_replicas == Some(count)).then_some(())
        })
        .await;
    }

    pub(crate) async fn stop(mut self) {
        self.cancel.cancel();
        if let Some(services) = self.services.take() {
            services.stop(Duration::from_secs(5)).await;
        }
        self.server.stop().await;
    }
}

pub(crate) fn from<K: DeserializeOwned>(value: Value) -> K {
    serde_json::from_value(value).expect("object")
}

/// Waits until a check answers; panics with `what` after 20 s.
pub(crate) async fn until<T, F, Fut>(what: &str, check: F) -> T
where
    F: Fn() -> Fut,
    Fut: Future<Output = Option<T>>,
{
    for _ in 0..1000 {
        if let Some(found) = check().await {
            return found;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("did not happen: {what}");
}

/// A pod of one container that asks for this much of the processor.
pub(crate) fn pod(name: &str, cpu: &str) -> Value {
    let container = json!({"name": "c", "image": "i", "resources": {"requests": {"cpu": cpu}}});
    json!({"metadata": {"name": name}, "spec": {"containers": [container]}})
}

pub(crate) fn template(app: &str, image: &str) -> Value {
    json!({
        "metadata": {"labels": {"app": app}},
        "spec": {"containers": [{"name": "c", "image": image, "resources": {"requests": {"cpu": "100m"}}}]},
    })
}

static ADDRESS: AtomicU32 = AtomicU32::new(0x0a2a_0001);

// Bound pods run at once: images called `broken` never get ready, `true` and `false` end.
async fn run_pods(client: Client, cancel: CancellationToken) {
    let all: Api<Pod> = Api::all(client.clone());
    let mut events = Box::pin(watcher::watcher(all, watcher::Config::default()));
    loop {
        let event = tokio::select! {
            () = cancel.cancelled() => return,
            event = events.next() => event,
        };
        let Some(Ok(Event::Apply(pod) | Event::InitApply(pod))) = event else {
            continue;
        };
        let spec = pod.spec.clone().unwrap_or_default();
        let api: Api<Pod> = Api::namespaced(client.clone(), &pod.namespace().unwrap_or_default());
        if spec.node_name.is_none() {
            continue;
        }
        if pod.metadata.deletion_timestamp.is_some() {
            let _ = api
                .delete(&pod.name_any(), &DeleteParams::default().grace_period(0))
                .await;
            continue;
        }
        let phase = pod
            .status
            .as_ref()
            .and_then(|s| s.phase.clone())
            .unwrap_or_default();
        if phase != "Pending" {
            continue;
        }
        let image = spec.containers[0].image.clone().unwrap_or_default();
        let (phase, ready) = match image.as_str() {
            "true" => ("Succeeded", "False"),
            "false" => ("Failed", "False"),
            "broken" => ("Running", "False"),
            _ => ("Running", "True"),
        };
        let ip = std::net::Ipv4Addr::from(ADDRESS.fetch_add(1, Ordering::Relaxed)).to_string();
        let status = json!({"status": {
            "phase": phase, "podIP": ip, "podIPs": [{"ip": ip}], "startTime": "2026-01-01T00:00:00Z",
            "conditions": [{"type": "PodScheduled", "status": "True"},
                           {"type": "Ready", "status": ready, "lastTransitionTime": "2026-01-01T00:00:05Z"}],
        }});
        let _ = api
            .patch_status(
                &pod.name_any(),
                &PatchParams::default(),
                &Patch::Merge(status),
            )
            .await;
    }
}
