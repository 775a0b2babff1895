//! Scripts against a simulated node: pods become ready when told, deletions finish at once.

use super::*;
use serde_json::{Value, json};

struct World {
    set: StatefulSet,
    revisions: Vec<Arc<k8s_openapi::api::apps::v1::ControllerRevision>>,
    pods: BTreeMap<String, Pod>,
    claims: BTreeSet<String>,
}

fn now() -> Timestamp {
    "2026-01-01T01:00:00Z".parse().expect("time")
}

impl World {
    fn new(spec: Value) -> Self {
        let mut full = json!({
            "replicas": 3, "serviceName": "db", "selector": {"matchLabels": {"app": "db"}},
            "template": {"metadata": {"labels": {"app": "db"}}, "spec": {"containers": [{"name": "c", "image": "i:1"}]}},
            "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"partition": 0}},
        });
        for (key, value) in spec.as_object().expect("object") {
            full[key] = value.clone();
        }
        let set = json!({"metadata": {"name": "db", "namespace": "n", "uid": "u", "generation": 1}, "spec": full});
        let set = serde_json::from_value(set).expect("set");
        Self {
            set,
            revisions: Vec::new(),
            pods: BTreeMap::new(),
            claims: BTreeSet::new(),
        }
    }

    fn image(&mut self, image: &str) {
        let spec = self.set.spec.as_mut().expect("spec");
        spec.template.spec.as_mut().expect("pod spec").containers[0].image = Some(image.into());
    }

    fn ready(&mut self, name: &str) {
        let pod = self.pods.get_mut(name).expect(name);
        pod.status = serde_json::from_value(json!({
            "phase": "Running",
            "conditions": [{"type": "Ready", "status": "True", "lastTransitionTime": "2026-01-01T00:00:00Z"}],
        }))
        .expect("status");
    }

    fn step(&mut self) -> Vec<String> {
        let revisions = revisions::plan(&self.set, &self.revisions);
        if revisions.create {
            self.revisions.push(Arc::new(revisions.update.clone()));
        }
        let pods: Vec<_> = self.pods.values().cloned().map(Arc::new).collect();
        let seen = Observed {
            set: &self.set,
            revisions: &revisions,
            pods: &pods,
            claims: &self.claims,
            now: now(),
        };
        let plan = plan(&seen);
        self.set.status = Some(plan.status);
        let mut told = Vec::new();
        for action in plan.actions {
            match action {
                Action::CreateClaim(claim) => {
                    let name = claim.metadata.name.expect("name");
                    told.push(format!("+claim {name}"));
                    self.claims.insert(name);
                }
                Action::CreatePod(mut pod) => {
                    let name = pod.metadata.name.clone().expect("name");
                    let image = pod
                        .spec
                        .as_ref()
                        .and_then(|s| s.containers[0].image.clone())
                        .expect("image");
                    told.push(format!("+{name} {image}"));
                    pod.status =
                        serde_json::from_value(json!({"phase": "Pending"})).expect("status");
                    self.pods.insert(name, *pod);
                }
                Action::DeletePod(pod) => {
                    let name = pod.metadata.name.clone().expect("name");
                    self.pods.remove(&name);
                    told.push(format!("-{name}"));
                }
                Action::DeleteClaim(name) => {
                    self.claims.remove(&name);
                    told.push(format!("-claim {name}"));
                }
            }
        }
        told
    }

    fn run_up(&mut self) {
        for _ in 0..20 {
            self.step();
            let names: Vec<_> = self.pods.keys().cloned().collect();
            names.iter().for_each(|n| self.ready(n));
        }
    }

    fn status(&self) -> &StatefulSetStatus {
        self.set.status.as_ref().expect("status")
    }
}

#[test]
fn ordered_start_waits_for_each_pod() {
    let mut world =
        World::new(json!({"volumeClaimTemplates": [{"metadata": {"name": "data"}, "spec": {}}]}));
    assert_eq!(world.step(), ["+claim data-db-0", "+db-0 i:1"]);
    assert!(world.step().is_empty());
    world.ready("db-0");
    assert_eq!(world.step(), ["+claim data-db-1", "+db-1 i:1"]);
    let pod = &world.pods["db-1"];
    let labels = pod.metadata.labels.as_ref().expect("labels");
    assert_eq!(labels["statefulset.kubernetes.io/pod-name"], "db-1");
    assert_eq!(labels["apps.kubernetes.io/pod-index"], "1");
    let spec = pod.spec.as_ref().expect("spec");
    assert_eq!(
        (spec.hostname.as_deref(), spec.subdomain.as_deref()),
        (Some("db-1"), Some("db"))
    );
    let volume = &spec.volumes.as_ref().expect("volumes")[0];
    assert_eq!(
        volume
            .persistent_volume_claim
            .as_ref()
            .expect("claim")
            .claim_name,
        "data-db-1"
    );
}

#[test]
fn parallel_start_makes_all_at_once() {
    let mut world =
        World::new(json!({"podManagementPolicy": "Parallel", "ordinals": {"start": 5}}));
    assert_eq!(world.step(), ["+db-5 i:1", "+db-6 i:1", "+db-7 i:1"]);
}

#[test]
fn rolling_update_goes_down_one_by_one_and_ends_with_one_revision() {
    let mut world = World::new(json!({}));
    world.run_up();
    let first = world.status().current_revision.clone();
    world.image("i:2");
    assert_eq!(world.step(), ["-db-2"]);
    assert_eq!(world.step(), ["+db-2 i:2"]);
    assert!(world.step().is_empty(), "waits until db-2 is ready");
    assert_eq!(world.status().current_revision, first);
    assert_eq!(world.status().updated_replicas, Some(1));
    world.ready("db-2");
    assert_eq!(world.step(), ["-db-1"]);
    world.run_up();
    let status = world.status();
    assert_ne!(status.current_revision, first);
    assert_eq!(status.current_revision, status.update_revision);
    assert_eq!(
        (status.current_replicas, status.updated_replicas),
        (Some(3), Some(3))
    );
}

#[test]
fn a_partition_keeps_lower_ordinals_even_when_they_are_made_anew() {
    let mut world = World::new(json!({}));
    world.run_up();
    world.set.spec.as_mut().expect("spec").update_strategy =
        serde_json::from_value(json!({"type": "RollingUpdate", "rollingUpdate": {"partition": 2}}))
            .expect("strategy");
    world.image("i:2");
    assert_eq!(world.step(), ["-db-2"]);
    world.run_up();
    world.pods.remove("db-0");
    assert_eq!(world.step(), ["+db-0 i:1"]);
}

#[test]
fn scaling_down_takes_the_highest_first_and_keeps_claims_unless_told() {
    let mut world =
        World::new(json!({"volumeClaimTemplates": [{"metadata": {"name": "d"}, "spec": {}}]}));
    world.run_up();
    world.set.spec.as_mut().expect("spec").replicas = Some(1);
    assert_eq!(world.step(), ["-db-2"]);
    assert_eq!(world.step(), ["-db-1"]);
    assert!(world.step().is_empty());
    assert_eq!(world.claims.len(), 3);
    world.set.spec.as_mut().expect("spec").replicas = Some(0);
    world
        .set
        .spec
        .as_mut()
        .expect("spec")
        .persistent_volume_claim_retention_policy =
        serde_json::from_value(json!({"whenScaled": "Delete"})).expect("policy");
    assert_eq!(world.step(), ["-db-0", "-claim d-db-0"]);
}

#[test]
fn failed_pods_come_back_and_on_delete_never_replaces() {
    let mut world = World::new(json!({"updateStrategy": {"type": "OnDelete"}}));
    world.run_up();
    world.image("i:2");
    assert!(world.step().is_empty());
    world.pods.get_mut("db-1").expect("pod").status =
        serde_json::from_value(json!({"phase": "Failed"})).expect("status");
    assert_eq!(world.step(), ["-db-1"]);
    assert_eq!(world.step(), ["+db-1 i:2"]);
}

#[test]
fn going_back_to_an_old_template_renumbers_its_revision() {
    let mut world = World::new(json!({}));
    world.run_up();
    world.image("i:2");
    world.run_up();
    world.image("i:1");
    let plan = revisions::plan(&world.set, &world.revisions);
    assert!(!plan.create);
    assert_eq!(plan.renumber, Some(3));
}

#[test]
fn scaling_down_waits_for_pods_that_are_not_well() {
    let mut world = World::new(json!({}));
    world.run_up();
    for pod in world.pods.values_mut() {
        let uid = pod.metadata.name.clone();
        pod.metadata.uid = uid;
        pod.status = serde_json::from_value(json!({"phase": "Running"})).expect("status");
    }
    world.set.spec.as_mut().expect("spec").replicas = Some(0);
    assert!(
        world.step().is_empty(),
        "db-2 is not well, nor the first of those"
    );
    world.ready("db-2");
    assert_eq!(world.step(), ["-db-2"]);
    world.ready("db-0");
    assert_eq!(world.step(), ["-db-1"], "the first that is not well may go");
}
