//! What all parts of the agent share.

use crate::caches::Caches;
use crate::config::NodeConfig;
use crate::image::ImageStore;
use crate::pod::model::PodModel;
use crate::volumes::Volumes;
use k8s_openapi::api::core::v1::{ObjectReference, Pod};
use k8s_openapi::jiff::Timestamp;
use kube::{Client, ResourceExt};
use parking_lot::Mutex;
use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use tokio::sync::{Notify, mpsc, watch};
use tokio_util::sync::CancellationToken;
use towpath_container::Runtime;
use towpath_kit::cache::Key;
use towpath_kit::traits::PodNetwork;

/// A pod event on its way to the API.
pub(crate) struct PodEvent {
    pub(crate) about: ObjectReference,
    pub(crate) warning: bool,
    pub(crate) reason: &'static str,
    pub(crate) note: String,
}

/// Shared state of a node.
pub(crate) struct Agent {
    pub(crate) config: NodeConfig,
    pub(crate) client: Client,
    pub(crate) runtime: Runtime,
    pub(crate) images: ImageStore,
    pub(crate) network: Arc<dyn PodNetwork>,
    pub(crate) caches: OnceLock<Caches>,
    pub(crate) pods: Mutex<HashMap<String, Arc<PodHandle>>>,
    pub(crate) events: mpsc::Sender<PodEvent>,
    pub(crate) machine: Machine,
    pub(crate) figures: crate::figures::Samples,
    /// Ends when the process stops; containers go on.
    pub(crate) cancel: OnceLock<CancellationToken>,
}

/// The machine's size.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Machine {
    pub(crate) cpu_milli: i64,
    pub(crate) memory_bytes: i64,
}

impl Machine {
    pub(crate) fn read() -> Self {
        let cpus = std::thread::available_parallelism().map_or(1, usize::from);
        let text = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
        let total = text.lines().find_map(|line| {
            line.strip_prefix("MemTotal:")?
                .trim()
                .strip_suffix(" kB")?
                .parse::<i64>()
                .ok()
        });
        Self {
            cpu_milli: cpus as i64 * 1000,
            memory_bytes: total.unwrap_or(0) * 1024,
        }
    }
}

impl Agent {
    pub(crate) fn caches(&self) -> Caches {
        self.caches.get().cloned().unwrap_or_else(Caches::empty)
    }

    pub(crate) fn cancel(&self) -> CancellationToken {
        self.cancel.get().cloned().unwrap_or_default()
    }

    pub(crate) fn pod_dir(&self, uid: &str) -> PathBuf {
        self.config.data_dir.join("pods").join(uid)
    }

    pub(crate) fn volume_dir(&self, uid: &str) -> PathBuf {
        self.pod_dir(uid).join("volumes")
    }

    pub(crate) fn log_dir(&self, uid: &str) -> PathBuf {
        self.config.data_dir.join("logs").join(uid)
    }

    /// Log of one instance of a container.
    pub(crate) fn log_file(&self, uid: &str, container: &str, attempt: u32) -> PathBuf {
        self.log_dir(uid)
            .join(container)
            .join(format!("{attempt}.log"))
    }

    pub(crate) fn pod_cgroup(&self, uid: &str) -> String {
        format!("{}/pod{uid}", self.config.cgroup_parent)
    }

    pub(crate) fn host_ip(&self) -> String {
        self.config.internal_ip.to_string()
    }

    /// Says what happened to a pod, or to one of its containers. Dropped where too many wait:
    /// events never hold up the work.
    pub(crate) fn event(
        &self,
        pod: &Pod,
        container: Option<&str>,
        warning: bool,
        reason: &'static str,
        note: String,
    ) {
        let field = container.map(|name| format!("spec.containers{{{name}}}"));
        let about = ObjectReference {
            api_version: Some("v1".into()),
            kind: Some("Pod".into()),
            name: pod.metadata.name.clone(),
            namespace: pod.metadata.namespace.clone(),
            uid: pod.metadata.uid.clone(),
            resource_version: pod.metadata.resource_version.clone(),
            field_path: field,
        };
        let _ = self.events.try_send(PodEvent {
            about,
            warning,
            reason,
            note,
        });
    }

    pub(crate) fn pod(&self, uid: &str) -> Option<Arc<PodHandle>> {
        self.pods.lock().get(uid).cloned()
    }
}

/// One pod on this node.
pub(crate) struct PodHandle {
    pub(crate) uid: String,
    pub(crate) key: Key,
    /// The object as last seen, and whether it is gone from the API.
    pub(crate) object: watch::Sender<(Arc<Pod>, bool)>,
    /// The object as it was when this agent first saw it: what an earlier agent had written.
    pub(crate) first: Arc<Pod>,
    model: Mutex<PodModel>,
    /// Counts changes of the model.
    pub(crate) changed: watch::Sender<u64>,
    /// Something a volume shows may have changed.
    pub(crate) refresh: Notify,
    /// The pod must end for a reason that its model tells.
    pub(crate) evict: Notify,
    /// Counts changes of what the pod refers to; wakes what waits for it.
    sources: watch::Sender<u64>,
    pub(crate) volumes: Mutex<Volumes>,
    /// Namespace file of its network, off the host network.
    pub(crate) netns: Mutex<Option<PathBuf>>,
}

impl PodHandle {
    pub(crate) fn new(pod: Arc<Pod>) -> Self {
        Self {
            uid: pod.uid().unwrap_or_default(),
            key: Key::of(&*pod),
            first: pod.clone(),
            object: watch::Sender::new((pod, false)),
            model: Mutex::default(),
            changed: watch::Sender::new(0),
            refresh: Notify::new(),
            evict: Notify::new(),
            sources: watch::Sender::new(0),
            volumes: Mutex::default(),
            netns: Mutex::default(),
        }
    }

    /// Wakes what waits for changes of objects the pod refers to.
    pub(crate) fn source_changed(&self) {
        self.refresh.notify_one();
        self.sources.send_modify(|count| *count += 1);
    }

    pub(crate) fn changed_sources(&self) -> watch::Receiver<u64> {
        self.sources.subscribe()
    }

    pub(crate) fn pod(&self) -> Arc<Pod> {
        self.object.borrow().0.clone()
    }

    pub(crate) fn model(&self) -> PodModel {
        self.model.lock().clone()
    }

    /// Changes the model and wakes who shows it.
    pub(crate) fn update(&self, change: impl FnOnce(&mut PodModel)) {
        let mut model = self.model.lock();
        let before = model.clone();
        change(&mut model);
        if *model != before {
            drop(model);
            self.changed.send_modify(|version| *version += 1);
        }
    }

    pub(crate) fn ip(&self) -> String {
        self.model.lock().ip.clone().unwrap_or_default()
    }
}

pub(crate) fn now() -> Timestamp {
    use towpath_stdx::Clock;
    let now = towpath_stdx::SystemClock.since_epoch();
    Timestamp::new(now.as_secs() as i64, now.subsec_nanos() as i32).unwrap_or_default()
}
