//! How the parts hang together: caches, queues, and which change wakes whom.

use crate::app::Apps;
use crate::cluster::Cluster;
use crate::config::GitOpsConfig;
use crate::environment::Environments;
use crate::heads::Heads;
use crate::live::Live;
use crate::promotion::Promotions;
use crate::release::Releases;
use k8s_openapi::api::core::v1::Pod;
use kube::{Client, Resource, ResourceExt};
use std::sync::Arc;
use tokio_util::sync::CancellationToken;
use towpath_kit::cache::{Cache, Key};
use towpath_kit::controller;
use towpath_kit::copies::{Copies, Spine};
use towpath_kit::events::Events;
use towpath_kit::kinds::{Application, Environment, Promotion, Release, Repository, Run};
use towpath_kit::queue::Queue;
use towpath_kit::traits::SourceTree;

/// Shared copies of the kinds that decisions are made from.
#[derive(Clone)]
pub(crate) struct Caches {
    pub(crate) applications: Cache<Application>,
    pub(crate) environments: Cache<Environment>,
    pub(crate) promotions: Cache<Promotion>,
    pub(crate) releases: Cache<Release>,
    pub(crate) runs: Cache<Run>,
    pub(crate) pods: Cache<Pod>,
    pub(crate) repositories: Cache<Repository>,
}

/// Keys to be worked on.
#[derive(Clone, Default)]
pub(crate) struct Queues {
    pub(crate) applications: Queue<Key>,
    pub(crate) environments: Queue<Key>,
    pub(crate) promotions: Queue<Key>,
    pub(crate) runs: Queue<Key>,
}

/// The running whole.
pub(crate) struct Parts {
    caches: Caches,
    queues: Queues,
    apps: Arc<Apps>,
    environments: Arc<Environments>,
    promotions: Arc<Promotions>,
    releases: Arc<Releases>,
    heads: Heads,
}

impl Parts {
    pub(crate) fn start(
        config: GitOpsConfig,
        client: Client,
        tree: Arc<dyn SourceTree>,
        (copies, spine): (Copies, Spine),
        cancel: CancellationToken,
    ) -> Self {
        let caches = Caches {
            applications: Cache::start(&client, cancel.clone()),
            environments: spine.environments,
            promotions: spine.promotions,
            releases: spine.releases,
            runs: spine.runs,
            pods: copies.pods,
            repositories: Cache::start(&client, cancel.clone()),
        };
        let queues = Queues::default();
        let cluster = Cluster::new(client.clone());
        let live = Live::new(queues.applications.clone(), cancel);
        let heads = Heads::new(tree.clone(), config.clock.clone(), config.resync);
        let events = Events::new(client.clone(), "towpath-gitops");
        let apps = Apps::new(
            cluster,
            live,
            caches.applications.clone(),
            tree.clone(),
            heads.clone(),
            config.clock.clone(),
            config.resync,
        );
        let parts = Self {
            apps: Arc::new(apps),
            environments: Arc::new(Environments {
                client: client.clone(),
                caches: caches.clone(),
                tree: tree.clone(),
                heads: heads.clone(),
                clock: config.clock.clone(),
                resync: config.resync,
            }),
            promotions: Arc::new(Promotions {
                client: client.clone(),
                caches: caches.clone(),
                queues: queues.clone(),
                tree: tree.clone(),
                heads: heads.clone(),
                clock: config.clock.clone(),
                deploy_limit: config.deploy_limit,
                events: events.clone(),
            }),
            releases: Arc::new(Releases {
                client,
                caches: caches.clone(),
                tree,
                events,
            }),
            caches,
            queues,
            heads,
        };
        parts.connect();
        parts
    }

    pub(crate) async fn ready(&self) {
        let caches = &self.caches;
        tokio::join!(
            caches.applications.ready(),
            caches.environments.ready(),
            caches.promotions.ready(),
            caches.releases.ready(),
            caches.runs.ready(),
            caches.pods.ready(),
            caches.repositories.ready(),
        );
    }

    /// Works until cancelled.
    pub(crate) async fn run(&self, cancel: CancellationToken) {
        let queues = &self.queues;
        tokio::join!(
            controller::run(
                "applications",
                queues.applications.clone(),
                4,
                self.apps.clone(),
                cancel.clone(),
                |c, key| c.reconcile(key)
            ),
            controller::run(
                "environments",
                queues.environments.clone(),
                1,
                self.environments.clone(),
                cancel.clone(),
                |c, key| c.reconcile(key)
            ),
            controller::run(
                "promotions",
                queues.promotions.clone(),
                2,
                self.promotions.clone(),
                cancel.clone(),
                |c, key| c.reconcile(key)
            ),
            controller::run(
                "releases",
                queues.runs.clone(),
                1,
                self.releases.clone(),
                cancel,
                |c, key| c.reconcile(key)
            ),
        );
    }

    // A branch moved: what follows it looks again.
    fn connect_branches(&self) {
        let (queues, heads, applications) = (
            self.queues.clone(),
            self.heads.clone(),
            self.caches.applications.clone(),
        );
        self.caches.repositories.on_change(move |change| {
            let refs = |r: &Arc<Repository>| r.status.as_ref().map(|s| s.refs.clone());
            if change.old.and_then(refs) == change.new.and_then(refs) {
                return;
            }
            heads.forget(&change.key.to_string());
            let url = format!("towpath://{}", change.key);
            for app in applications.filter(|app| app.spec.source.repo_url == url) {
                queues.applications.add(Key::of(app.as_ref()));
            }
        });
        let (heads, environments) = (self.heads.clone(), self.caches.environments.clone());
        self.caches.promotions.on_change(move |change| {
            let revision = |p: &Arc<Promotion>| p.status.as_ref().map(|s| s.revision.clone());
            let Some(new) = change
                .new
                .filter(|new| revision(new) != change.old.and_then(revision))
            else {
                return;
            };
            let namespace = change.key.namespace.clone();
            let environment = Key::new(namespace.clone(), new.spec.environment.clone());
            if let Some(environment) = environments.get(&environment) {
                heads.forget(&format!("{namespace}/{}", environment.spec.repository));
            }
        });
    }

    fn connect(&self) {
        self.connect_branches();
        let queues = self.queues.clone();
        self.caches.applications.on_change(move |change| {
            queues.applications.add(change.key.clone());
            // An environment's application has its name.
            queues.environments.add(change.key.clone());
        });
        let (queues, promotions) = (self.queues.clone(), self.caches.promotions.clone());
        self.caches.environments.on_change(move |change| {
            queues.environments.add(change.key.clone());
            wake_open(&promotions, &queues, &change.key.namespace);
        });
        let (queues, promotions) = (self.queues.clone(), self.caches.promotions.clone());
        self.caches.applications.on_change(move |change| {
            wake_open(&promotions, &queues, &change.key.namespace);
        });
        let (queues, promotions) = (self.queues.clone(), self.caches.promotions.clone());
        self.caches.promotions.on_change(move |change| {
            queues.promotions.add(change.key.clone());
            // One promotion's end may be what another waits for.
            wake_open(&promotions, &queues, &change.key.namespace);
            if let Some(promotion) = change.new.or(change.old) {
                queues.environments.add(Key::new(
                    change.key.namespace.clone(),
                    promotion.spec.environment.clone(),
                ));
            }
        });
        let (queues, promotions, environments) = (
            self.queues.clone(),
            self.caches.promotions.clone(),
            self.caches.environments.clone(),
        );
        self.caches.releases.on_change(move |change| {
            wake_open(&promotions, &queues, &change.key.namespace);
            for environment in environments.in_namespace(&change.key.namespace) {
                queues.environments.add(Key::of(environment.as_ref()));
            }
        });
        let queues = self.queues.clone();
        self.caches.runs.on_change(move |change| {
            if change
                .new
                .is_some_and(|run| run.status.as_ref().is_some_and(|s| s.phase.is_final()))
            {
                queues.runs.add(change.key.clone());
            }
        });
        // A pod in trouble decides a deployment early.
        let (queues, promotions, environments) = (
            self.queues.clone(),
            self.caches.promotions.clone(),
            self.caches.environments.clone(),
        );
        self.caches.pods.on_change(move |change| {
            for environment in environments.filter(|e| e.spec.namespace == change.key.namespace) {
                wake_open(
                    &promotions,
                    &queues,
                    &environment.namespace().unwrap_or_default(),
                );
            }
        });
    }
}

// Promotions that have not ended.
fn wake_open(promotions: &Cache<Promotion>, queues: &Queues, namespace: &str) {
    for promotion in promotions.in_namespace(namespace) {
        if !promotion
            .status
            .as_ref()
            .is_some_and(|s| s.phase.is_final())
        {
            queues.promotions.add(Key::of(promotion.as_ref()));
        }
    }
}

/// An event's subject.
pub(crate) fn reference<K: Resource<DynamicType = ()>>(
    object: &K,
) -> k8s_openapi::api::core::v1::ObjectReference {
    object.object_ref(&())
}
