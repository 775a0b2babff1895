//! Copies of kinds that more than one component looks at, each fed once for all of them.
//!
//! A component takes the copies when it is made, and may register handlers at once; objects come
//! when the service feeds them. [`Copies`] are Kubernetes' own kinds, [`Spine`] those of the way
//! from a commit to an environment.

use crate::cache::Cache;
use crate::kinds::{Environment, Promotion, Release, Run};
use crate::slim;
use k8s_openapi::api::apps::v1::{DaemonSet, Deployment, ReplicaSet, StatefulSet};
use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;
use k8s_openapi::api::batch::v1::{CronJob, Job};
use k8s_openapi::api::core::v1::{
    Endpoints, Namespace, Node, PersistentVolume, PersistentVolumeClaim, Pod, ResourceQuota,
    Service as ServiceObject,
};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use k8s_openapi::api::networking::v1::Ingress;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use kube::Client;
use tokio_util::sync::CancellationToken;
use towpath_daemon::Service;

macro_rules! copies {
    ($(#[doc = $doc:literal])* $name:ident, $service:literal:
        $($(#[doc = $about:literal])* $field:ident: $kind:ty = $empty:expr;)*) => {
        $(#[doc = $doc])*
        #[derive(Clone)]
        pub struct $name {
            $($(#[doc = $about])* pub $field: Cache<$kind>,)*
        }

        impl Default for $name {
            fn default() -> Self {
                Self { $($field: $empty,)* }
            }
        }

        impl $name {
            /// Name of the service that feeds them.
            pub const SERVICE: &'static str = $service;

            /// Feeds them once the services named in `after` are ready.
            pub fn service(&self, client: Client, after: &[&'static str]) -> Service {
                let copies = self.clone();
                Service::new(Self::SERVICE, after, move |mut context| async move {
                    copies.feed(&client, &context.cancel);
                    tokio::select! {
                        () = copies.ready() => context.ready(),
                        () = context.cancel.cancelled() => {}
                    }
                    context.cancel.cancelled().await;
                    Ok(())
                })
            }

            fn feed(&self, client: &Client, cancel: &CancellationToken) {
                $(self.$field.feed_from(client, cancel.clone());)*
            }

            /// Waits until every first listing is complete.
            pub async fn ready(&self) {
                tokio::join!($(self.$field.ready(),)*);
            }
        }
    };
}

copies! {
    /// Objects of Kubernetes. Cheap to clone.
    Copies, "copies":
    /// As [`slim::pod`] leaves them.
    pods: Pod = Cache::slim(slim::pod);
    /// Namespaces.
    namespaces: Namespace = Cache::default();
    /// Nodes.
    nodes: Node = Cache::default();
    /// Services.
    services: ServiceObject = Cache::default();
    /// Endpoints.
    endpoints: Endpoints = Cache::default();
    /// Endpoint slices.
    slices: EndpointSlice = Cache::default();
    /// Claims of volumes.
    claims: PersistentVolumeClaim = Cache::default();
    /// Volumes.
    volumes: PersistentVolume = Cache::default();
    /// Deployments.
    deployments: Deployment = Cache::default();
    /// Replica sets.
    replica_sets: ReplicaSet = Cache::default();
    /// Stateful sets.
    stateful_sets: StatefulSet = Cache::default();
    /// Daemon sets.
    daemon_sets: DaemonSet = Cache::default();
    /// Jobs.
    jobs: Job = Cache::default();
    /// Cron jobs.
    cron_jobs: CronJob = Cache::default();
    /// Autoscalers.
    autoscalers: HorizontalPodAutoscaler = Cache::default();
    /// Quotas.
    quotas: ResourceQuota = Cache::default();
    /// Disruption budgets.
    budgets: PodDisruptionBudget = Cache::default();
    /// Ingresses.
    ingresses: Ingress = Cache::default();
}

copies! {
    /// What a commit becomes. Cheap to clone.
    Spine, "spine":
    /// Runs.
    runs: Run = Cache::default();
    /// Releases.
    releases: Release = Cache::default();
    /// Promotions.
    promotions: Promotion = Cache::default();
    /// Environments.
    environments: Environment = Cache::default();
}
