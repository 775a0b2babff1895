//! The two kinds that keep a number of pods of one template: replica sets, and the older
//! replication controllers, which are looked at as replica sets.

use crate::caches::Caches;
use crate::objects::Namespaced;
use k8s_openapi::api::apps::v1::{
    ReplicaSet, ReplicaSetCondition, ReplicaSetSpec, ReplicaSetStatus,
};
use k8s_openapi::api::core::v1::{
    ReplicationController, ReplicationControllerCondition, ReplicationControllerSpec,
    ReplicationControllerStatus,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use std::borrow::Cow;
use towpath_kit::cache::Cache;

/// A kind that owns replicas.
pub(crate) trait Owner: Namespaced {
    /// Name of its controller, for figures and logs.
    const CONTROLLER: &'static str;
    /// Who its events come from.
    const REPORTER: &'static str;

    /// The shared copies.
    fn cache(caches: &Caches) -> &Cache<Self>;

    /// The object as a replica set: same metadata, same meaning.
    fn as_set(&self) -> Cow<'_, ReplicaSet>;

    /// Which pods are its own; none where the object has no specification.
    fn selector(&self) -> Option<Cow<'_, LabelSelector>>;

    /// The object with this status; none where it has it already.
    fn with_status(&self, status: ReplicaSetStatus) -> Option<Self>;
}

impl Owner for ReplicaSet {
    const CONTROLLER: &'static str = "replicaset";
    const REPORTER: &'static str = "replicaset-controller";

    fn cache(caches: &Caches) -> &Cache<Self> {
        &caches.replica_sets
    }

    fn as_set(&self) -> Cow<'_, ReplicaSet> {
        Cow::Borrowed(self)
    }

    fn selector(&self) -> Option<Cow<'_, LabelSelector>> {
        Some(Cow::Borrowed(&self.spec.as_ref()?.selector))
    }

    fn with_status(&self, status: ReplicaSetStatus) -> Option<Self> {
        (self.status.as_ref() != Some(&status)).then(|| Self {
            status: Some(status),
            ..self.clone()
        })
    }
}

impl Owner for ReplicationController {
    const CONTROLLER: &'static str = "replicationcontroller";
    const REPORTER: &'static str = "replication-controller";

    fn cache(caches: &Caches) -> &Cache<Self> {
        &caches.replication_controllers
    }

    fn as_set(&self) -> Cow<'_, ReplicaSet> {
        let spec = self.spec.as_ref();
        Cow::Owned(ReplicaSet {
            metadata: self.metadata.clone(),
            spec: spec.map(|spec| ReplicaSetSpec {
                min_ready_seconds: spec.min_ready_seconds,
                replicas: spec.replicas,
                selector: label_selector(spec),
                template: spec.template.clone(),
            }),
            status: self.status.clone().map(set_status),
        })
    }

    fn selector(&self) -> Option<Cow<'_, LabelSelector>> {
        Some(Cow::Owned(label_selector(self.spec.as_ref()?)))
    }

    fn with_status(&self, status: ReplicaSetStatus) -> Option<Self> {
        let status = controller_status(status);
        (self.status.as_ref() != Some(&status)).then(|| Self {
            status: Some(status),
            ..self.clone()
        })
    }
}

fn label_selector(spec: &ReplicationControllerSpec) -> LabelSelector {
    LabelSelector {
        match_labels: spec.selector.clone(),
        match_expressions: None,
    }
}

fn set_status(status: ReplicationControllerStatus) -> ReplicaSetStatus {
    let condition = |c: ReplicationControllerCondition| ReplicaSetCondition {
        last_transition_time: c.last_transition_time,
        message: c.message,
        reason: c.reason,
        status: c.status,
        type_: c.type_,
    };
    ReplicaSetStatus {
        available_replicas: status.available_replicas,
        conditions: status
            .conditions
            .map(|all| all.into_iter().map(condition).collect()),
        fully_labeled_replicas: status.fully_labeled_replicas,
        observed_generation: status.observed_generation,
        ready_replicas: status.ready_replicas,
        replicas: status.replicas,
        terminating_replicas: None,
    }
}

fn controller_status(status: ReplicaSetStatus) -> ReplicationControllerStatus {
    let condition = |c: ReplicaSetCondition| ReplicationControllerCondition {
        last_transition_time: c.last_transition_time,
        message: c.message,
        reason: c.reason,
        status: c.status,
        type_: c.type_,
    };
    ReplicationControllerStatus {
        available_replicas: status.available_replicas,
        conditions: status
            .conditions
            .map(|all| all.into_iter().map(condition).collect()),
        fully_labeled_replicas: status.fully_labeled_replicas,
        observed_generation: status.observed_generation,
        ready_replicas: status.ready_replicas,
        replicas: status.replicas,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn controller() -> ReplicationController {
        serde_json::from_value(json!({
            "metadata": {"name": "c", "namespace": "n"},
            "spec": {"replicas": 3, "selector": {"app": "x"}, "minReadySeconds": 5,
                     "template": {"metadata": {"labels": {"app": "x"}}, "spec": {"containers": []}}},
            "status": {"replicas": 1, "conditions": [{"type": "ReplicaFailure", "status": "True"}]},
        }))
        .expect("replication controller")
    }

    #[test]
    fn a_replication_controller_reads_as_a_replica_set() {
        let controller = controller();
        let set = controller.as_set().into_owned();
        let spec = set.spec.expect("spec");
        assert_eq!(spec.replicas, Some(3));
        assert_eq!(spec.min_ready_seconds, Some(5));
        assert_eq!(
            spec.selector.match_labels,
            controller.spec.as_ref().and_then(|s| s.selector.clone())
        );
        assert_eq!(set.status.expect("status").replicas, 1);
    }

    #[test]
    fn pods_that_are_going_are_not_told_by_a_replication_controller() {
        let controller = controller();
        let mut status = controller.as_set().into_owned().status.expect("status");
        status.terminating_replicas = Some(2);
        assert!(controller.with_status(status.clone()).is_none());
        status.replicas = 2;
        let changed = controller.with_status(status).expect("changed");
        assert_eq!(changed.status.expect("status").replicas, 2);
    }
}
