//! The one set of shared copies that all controllers and the scheduler read.

use k8s_openapi::api::apps::v1::{
    ControllerRevision, DaemonSet, Deployment, ReplicaSet, StatefulSet,
};
use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;
use k8s_openapi::api::batch::v1::{CronJob, Job};
use k8s_openapi::api::core::v1::{
    ConfigMap, Endpoints, Namespace, Node, PersistentVolume, PersistentVolumeClaim, Pod,
    ReplicationController, ResourceQuota, Service, ServiceAccount,
};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use k8s_openapi::api::storage::v1::StorageClass;
use kube::Client;
use kube::runtime::watcher;
use tokio_util::sync::CancellationToken;
use towpath_kit::cache::Cache;
use towpath_kit::copies::Copies;

/// Name of the config map that every namespace gets.
pub(crate) const ROOT_CA_CONFIG_MAP: &str = "kube-root-ca.crt";

/// One cache per kind, started once.
pub(crate) struct Caches {
    pub(crate) namespaces: Cache<Namespace>,
    pub(crate) nodes: Cache<Node>,
    pub(crate) pods: Cache<Pod>,
    pub(crate) services: Cache<Service>,
    pub(crate) endpoints: Cache<Endpoints>,
    pub(crate) slices: Cache<EndpointSlice>,
    pub(crate) accounts: Cache<ServiceAccount>,
    pub(crate) root_cas: Cache<ConfigMap>,
    pub(crate) claims: Cache<PersistentVolumeClaim>,
    pub(crate) volumes: Cache<PersistentVolume>,
    pub(crate) classes: Cache<StorageClass>,
    pub(crate) deployments: Cache<Deployment>,
    pub(crate) replica_sets: Cache<ReplicaSet>,
    pub(crate) replication_controllers: Cache<ReplicationController>,
    pub(crate) stateful_sets: Cache<StatefulSet>,
    pub(crate) revisions: Cache<ControllerRevision>,
    pub(crate) daemon_sets: Cache<DaemonSet>,
    pub(crate) jobs: Cache<Job>,
    pub(crate) cron_jobs: Cache<CronJob>,
    pub(crate) quotas: Cache<ResourceQuota>,
    pub(crate) budgets: Cache<PodDisruptionBudget>,
    pub(crate) autoscalers: Cache<HorizontalPodAutoscaler>,
}

impl Caches {
    /// Starts all but those that others share; they end with `cancel`.
    pub(crate) fn start(client: &Client, copies: Copies, cancel: &CancellationToken) -> Self {
        let only_root_ca =
            watcher::Config::default().fields(&format!("metadata.name={ROOT_CA_CONFIG_MAP}"));
        Self {
            namespaces: copies.namespaces,
            nodes: copies.nodes,
            pods: copies.pods,
            services: copies.services,
            endpoints: copies.endpoints,
            slices: copies.slices,
            accounts: Cache::start(client, cancel.clone()),
            root_cas: Cache::start_filtered(client, only_root_ca, cancel.clone()),
            claims: copies.claims,
            volumes: copies.volumes,
            classes: Cache::start(client, cancel.clone()),
            deployments: copies.deployments,
            replica_sets: copies.replica_sets,
            replication_controllers: Cache::start(client, cancel.clone()),
            stateful_sets: copies.stateful_sets,
            revisions: Cache::start(client, cancel.clone()),
            daemon_sets: copies.daemon_sets,
            jobs: copies.jobs,
            cron_jobs: copies.cron_jobs,
            quotas: copies.quotas,
            budgets: copies.budgets,
            autoscalers: copies.autoscalers,
        }
    }

    /// Waits until every first listing is complete.
    pub(crate) async fn ready(&self) {
        tokio::join!(
            self.namespaces.ready(),
            self.nodes.ready(),
            self.pods.ready(),
            self.services.ready(),
            self.endpoints.ready(),
            self.slices.ready(),
            self.accounts.ready(),
            self.root_cas.ready(),
            self.claims.ready(),
            self.volumes.ready(),
            self.classes.ready(),
            self.deployments.ready(),
            self.replica_sets.ready(),
            self.replication_controllers.ready(),
            self.stateful_sets.ready(),
            self.revisions.ready(),
            self.daemon_sets.ready(),
            self.jobs.ready(),
            self.cron_jobs.ready(),
            self.quotas.ready(),
            self.budgets.ready(),
            self.autoscalers.ready(),
        );
    }
}
