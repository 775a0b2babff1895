//! Objects of the cluster as kube-state-metrics shows them: same names, same labels, straight from
//! the copies that all components share.
//!
//! A page is written kind by kind and family by family from what they hold at that moment;
//! nothing is kept between pages. Help texts are shorter than upstream's here and there; names,
//! kinds, labels and values are the same, which a test makes sure of beside the real program.

mod jobs;
mod network;
mod nodes;
mod pod_containers;
mod pods;
mod policy;
mod show;
mod storage;
mod workloads;

pub use show::Allowed;

use super::sink::Sink;
use crate::family::{Family, Gather, GatherError};
use async_trait::async_trait;
use k8s_openapi::api::apps::v1::{DaemonSet, Deployment, ReplicaSet, StatefulSet};
use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;
use k8s_openapi::api::batch::v1::{CronJob, Job};
use k8s_openapi::api::core::v1::{
    Namespace, Node, PersistentVolume, PersistentVolumeClaim, Pod, ResourceQuota, Service,
};
use k8s_openapi::api::networking::v1::Ingress;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use std::sync::Arc;
use towpath_kit::copies::Copies;

macro_rules! objects {
    ($($field:ident: $kind:ty, $singular:literal, $plural:literal, $base:path, $rows:expr;)*) => {
        /// What the copies held at one moment.
        #[derive(Clone, Default)]
        pub struct Objects {
            $(#[doc = $plural] pub $field: Vec<Arc<$kind>>,)*
        }

        impl Objects {
            /// What the copies hold now.
            pub fn of(copies: &Copies) -> Self {
                Self { $($field: copies.$field.all(),)* }
            }

            /// Writes every family.
            pub fn write(&self, allowed: &Allowed, sink: &mut Sink) {
                $(show::kind(
                    sink,
                    ($singular, $plural),
                    &self.$field,
                    $base,
                    $rows,
                    allowed,
                );)*
            }
        }
    };
}

objects! {
    pods: Pod, "pod", "pods", pods::base, &ALL_OF_PODS;
    deployments: Deployment, "deployment", "deployments", workloads::deployment, workloads::DEPLOYMENTS;
    replica_sets: ReplicaSet, "replicaset", "replicasets", workloads::replica_set, workloads::REPLICA_SETS;
    stateful_sets: StatefulSet, "statefulset", "statefulsets", workloads::stateful_set, workloads::STATEFUL_SETS;
    daemon_sets: DaemonSet, "daemonset", "daemonsets", workloads::daemon_set, workloads::DAEMON_SETS;
    jobs: Job, "job", "jobs", jobs::job, jobs::JOBS;
    cron_jobs: CronJob, "cronjob", "cronjobs", jobs::cron_job, jobs::CRON_JOBS;
    autoscalers: HorizontalPodAutoscaler, "horizontalpodautoscaler", "horizontalpodautoscalers", policy::autoscaler, policy::AUTOSCALERS;
    nodes: Node, "node", "nodes", nodes::node, nodes::NODES;
    namespaces: Namespace, "namespace", "namespaces", nodes::namespace, nodes::NAMESPACES;
    volumes: PersistentVolume, "persistentvolume", "persistentvolumes", storage::volume, storage::VOLUMES;
    claims: PersistentVolumeClaim, "persistentvolumeclaim", "persistentvolumeclaims", storage::claim, storage::CLAIMS;
    quotas: ResourceQuota, "resourcequota", "resourcequotas", policy::quota, policy::QUOTAS;
    budgets: PodDisruptionBudget, "poddisruptionbudget", "poddisruptionbudgets", policy::budget, policy::BUDGETS;
    services: Service, "service", "services", network::service, network::SERVICES;
    ingresses: Ingress, "ingress", "ingresses", network::ingress, network::INGRESSES;
}

static ALL_OF_PODS: std::sync::LazyLock<Vec<show::Row<Pod>>> =
    std::sync::LazyLock::new(|| [pods::ROWS, pod_containers::ROWS].concat());

/// The objects as a target inside this process.
pub struct ObjectTarget {
    copies: Copies,
    allowed: Allowed,
}

impl ObjectTarget {
    /// A target over copies that somebody feeds.
    pub fn new(copies: Copies, allowed: Allowed) -> Self {
        Self { copies, allowed }
    }
}

#[async_trait]
impl Gather for ObjectTarget {
    async fn gather(&self) -> Result<Vec<Family>, GatherError> {
        let (objects, allowed) = (Objects::of(&self.copies), self.allowed.clone());
        // Thousands of pods take a while.
        super::off_reactor("objects", move |sink| objects.write(&allowed, sink)).await
    }
}
