//! The parts put together: what the composition root makes, serves and runs.

use crate::archives::Archives;
use crate::config::PipelineConfig;
use crate::logs::Logs;
use crate::matching::WorkflowFiles;
use crate::run::follow::{Followed, Follower};
use crate::run::reconcile::reconcile;
use crate::workflow::Read;
use k8s_openapi::api::core::v1::Pod;
use kube::Client;
use kube::runtime::watcher;
use parking_lot::{Mutex, RwLock};
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use towpath_daemon::{CancellationToken, Service};
use towpath_kit::cache::{Cache, Key};
use towpath_kit::kinds::{Repository, Run, labels};
use towpath_kit::queue::Queue;
use towpath_kit::traits::{Authenticator, Authorizer, CommitInfo, Images, SourceTree, Workflows};
use towpath_stdx::{Clock, SystemClock};

/// The pipeline. Cheap to clone.
#[derive(Clone)]
pub struct Pipeline {
    inner: Arc<Inner>,
}

struct Caches {
    runs: Cache<Run>,
    pods: Cache<Pod>,
    repositories: Cache<Repository>,
}

pub(crate) struct Inner {
    pub(crate) config: PipelineConfig,
    pub(crate) client: Client,
    pub(crate) authenticator: Arc<dyn Authenticator>,
    pub(crate) authorizer: Arc<dyn Authorizer>,
    pub(crate) tree: Arc<dyn SourceTree>,
    pub(crate) images: Arc<dyn Images>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) queue: Queue<Key>,
    pub(crate) logs: Logs,
    pub(crate) archives: Archives,
    pub(crate) followers: Mutex<HashMap<Followed, Follower>>,
    pub(crate) workflows: Mutex<HashMap<(String, String, String), Arc<Read>>>,
    pub(crate) commits: Mutex<HashMap<(String, String), CommitInfo>>,
    pub(crate) accessible: Mutex<HashSet<String>>,
    pub(crate) cancel: CancellationToken,
    caches: RwLock<Caches>,
}

impl Inner {
    pub(crate) fn runs(&self) -> Cache<Run> {
        self.caches.read().runs.clone()
    }

    pub(crate) fn pods(&self) -> Cache<Pod> {
        self.caches.read().pods.clone()
    }

    pub(crate) fn repositories(&self) -> Cache<Repository> {
        self.caches.read().repositories.clone()
    }

    /// Ends all followers of a run.
    pub(crate) fn stop_following(&self, key: &Key) {
        let of_run =
            |f: &Followed| f.attempt.namespace == key.namespace && f.attempt.run == key.name;
        self.followers
            .lock()
            .retain(|followed, _| !of_run(followed));
    }

    /// Removes what is kept of a run that was deleted.
    pub(crate) fn forget(&self, key: &Key) {
        self.stop_following(key);
        self.logs.touch(&key.namespace, &key.name);
        for result in [
            self.logs.remove(&key.namespace, &key.name),
            self.archives.remove_run(&key.namespace, &key.name),
        ] {
            if let Err(error) = result {
                tracing::warn!(run = %key, %error, "files of a deleted run not removed");
            }
        }
    }
}

impl Pipeline {
    /// A pipeline; nothing runs before its services do.
    pub fn new(
        config: PipelineConfig,
        client: Client,
        authenticator: Arc<dyn Authenticator>,
        authorizer: Arc<dyn Authorizer>,
        tree: Arc<dyn SourceTree>,
        images: Arc<dyn Images>,
    ) -> Self {
        let logs = Logs::new(config.data_dir.join("logs"), config.log_bytes);
        let archives = Archives::new(config.data_dir.clone(), config.archive_bytes);
        let inner = Inner {
            config,
            client,
            authenticator,
            authorizer,
            tree,
            images,
            clock: Arc::new(SystemClock),
            queue: Queue::default(),
            logs,
            archives,
            followers: Mutex::default(),
            workflows: Mutex::default(),
            commits: Mutex::default(),
            accessible: Mutex::default(),
            cancel: CancellationToken::new(),
            caches: RwLock::new(Caches {
                runs: Cache::default(),
                pods: Cache::default(),
                repositories: Cache::default(),
            }),
        };
        Self {
            inner: Arc::new(inner),
        }
    }

    /// Which workflows an event starts.
    pub fn workflows() -> Arc<dyn Workflows> {
        Arc::new(WorkflowFiles)
    }

    /// HTTP below `/api/v1/runs` and `/api/v1/repositories/…/dispatches`.
    pub fn router(&self) -> axum::Router {
        crate::routes::router(self.inner.clone())
    }

    /// The reconciler of runs; it starts once the services named in `after` are ready.
    pub fn services(&self, after: &[&'static str]) -> Vec<Service> {
        let inner = self.inner.clone();
        let service = Service::new("pipeline", after, move |mut context| async move {
            let caches = start_caches(&inner, &context.cancel);
            caches.runs.ready().await;
            caches.pods.ready().await;
            caches.repositories.ready().await;
            *inner.caches.write() = caches;
            watch(&inner);
            context.ready();
            let queue = inner.queue.clone();
            // One worker: plans look at each other's runs and pods.
            towpath_kit::controller::run(
                "runs",
                queue,
                1,
                inner.clone(),
                context.cancel.clone(),
                reconcile,
            )
            .await;
            inner.cancel.cancel();
            Ok(())
        });
        vec![service]
    }
}

fn start_caches(inner: &Arc<Inner>, cancel: &CancellationToken) -> Caches {
    let of_runs = watcher::Config::default().labels(labels::RUN);
    Caches {
        runs: Cache::start(&inner.client, cancel.clone()),
        pods: Cache::start_filtered(&inner.client, of_runs, cancel.clone()),
        repositories: Cache::start(&inner.client, cancel.clone()),
    }
}

// A change of a run wakes it and, when it ends, those that wait for it; a change of a pod wakes
// its run.
fn watch(inner: &Arc<Inner>) {
    let queue = inner.queue.clone();
    let others = inner.runs();
    inner.runs().on_change(move |change| {
        queue.add(change.key.clone());
        let open = |run: Option<&Arc<Run>>| {
            run.and_then(|r| r.status.as_ref())
                .is_some_and(|s| !s.phase.is_final())
        };
        if open(change.old) && !open(change.new) {
            let ended = change.old.or(change.new);
            for run in ended
                .into_iter()
                .flat_map(|e| waiting(&others, &change.key.namespace, &e.spec.repository))
            {
                queue.add(run);
            }
        }
    });
    let queue = inner.queue.clone();
    let runs = inner.runs();
    inner.pods().on_change(move |change| {
        let Some(pod) = change.new.or(change.old) else {
            return;
        };
        let owner = pod
            .metadata
            .owner_references
            .iter()
            .flatten()
            .find(|o| o.kind == "Run");
        if let Some(owner) = owner {
            queue.add(Key::new(&change.key.namespace, &owner.name));
        }
        let labels = pod.metadata.labels.as_ref();
        if change.new.is_none()
            && labels.is_some_and(|l| l.contains_key(crate::run::pod::GROUP_LABEL))
        {
            let repository = labels
                .and_then(|l| l.get(labels::REPOSITORY))
                .cloned()
                .unwrap_or_default();
            waiting(&runs, &change.key.namespace, &repository)
                .into_iter()
                .for_each(|key| queue.add(key));
        }
    });
}

fn waiting(runs: &Cache<Run>, namespace: &str, repository: &str) -> Vec<Key> {
    runs.in_namespace(namespace)
        .iter()
        .filter(|r| r.spec.repository == repository)
        .filter(|r| !r.status.as_ref().is_some_and(|s| s.phase.is_final()))
        .map(|r| Key::of(r.as_ref()))
        .collect()
}
