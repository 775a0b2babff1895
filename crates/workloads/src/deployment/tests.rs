//! Rollouts in a small world: a replica set's pods come up when told, and after every step the
//! promises about surge and availability must hold.

use super::plan::{Action, Observed, plan};
use super::{revision, sizes, status};
use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;
use serde_json::{Value, json};
use std::time::Duration;

struct World {
    deployment: Deployment,
    sets: Vec<ReplicaSet>,
    now: Timestamp,
    events: Vec<String>,
    after: Option<Duration>,
}

impl World {
    fn new(replicas: i32, strategy: Value) -> Self {
        let value = json!({
            "metadata": {"name": "web", "namespace": "n", "uid": "d", "generation": 1},
            "spec": {
                "replicas": replicas, "strategy": strategy, "progressDeadlineSeconds": 600, "revisionHistoryLimit": 2,
                "selector": {"matchLabels": {"app": "web"}},
                "template": {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [{"name": "c", "image": "i:1"}]}},
            },
        });
        Self {
            deployment: serde_json::from_value(value).expect("deployment"),
            sets: Vec::new(),
            now: "2026-01-01T00:00:00Z".parse().expect("time"),
            events: Vec::new(),
            after: None,
        }
    }

    fn edit(&mut self, change: impl FnOnce(&mut k8s_openapi::api::apps::v1::DeploymentSpec)) {
        change(self.deployment.spec.as_mut().expect("spec"));
        self.deployment.metadata.generation = self.deployment.metadata.generation.map(|g| g + 1);
    }

    fn image(&mut self, image: &str) {
        let image = image.to_string();
        self.edit(|s| {
            s.template.spec.as_mut().expect("pod spec").containers[0].image = Some(image)
        });
    }

    fn pass(&mut self, seconds: u64) {
        self.now = self
            .now
            .checked_add(Duration::from_secs(seconds))
            .expect("time");
    }

    // One reconcile; says whether anything but the status was written.
    fn step(&mut self) -> bool {
        let seen = Observed {
            deployment: &self.deployment,
            sets: self.sets.clone(),
            pods: Vec::new(),
            now: self.now,
        };
        let plan = plan(seen);
        let mut wrote = false;
        for action in plan.actions {
            match action {
                Action::Create(set) => {
                    let mut set = *set;
                    set.metadata.uid = set.metadata.name.clone();
                    set.metadata.creation_timestamp = Some(Time(self.now));
                    self.pass(1);
                    self.sets.push(set);
                    wrote = true;
                }
                Action::Update(set) => {
                    let old = self
                        .sets
                        .iter_mut()
                        .find(|s| s.metadata.name == set.metadata.name)
                        .expect("set");
                    *old = *set;
                    wrote = true;
                }
                Action::Delete(meta) => {
                    self.sets.retain(|s| s.metadata.name != meta.name);
                    wrote = true;
                }
                Action::Revision(number) => {
                    revision::annotate(
                        &mut self.deployment.metadata,
                        revision::REVISION,
                        &number.to_string(),
                    );
                }
                Action::Event(note) => self.events.push(note),
            }
        }
        self.deployment.status = Some(plan.status);
        self.after = plan.after;
        wrote
    }

    // Replica sets follow: pods are made and removed at once, and become available if `ready`.
    fn follow(&mut self, ready: bool) {
        for set in &mut self.sets {
            let told = sizes::told(set);
            let had = sizes::available(set).min(told);
            let available = if ready { told } else { had };
            set.status = serde_json::from_value(json!({
                "replicas": told, "availableReplicas": available, "readyReplicas": available, "observedGeneration": 0,
            }))
            .expect("status");
        }
    }

    fn check(&self) {
        let wanted = sizes::wanted(&self.deployment);
        let total: i32 = self.sets.iter().map(sizes::told).sum();
        let available: i32 = self
            .sets
            .iter()
            .map(|s| sizes::available(s).min(sizes::told(s)))
            .sum();
        let most = wanted + sizes::max_surge(&self.deployment);
        assert!(total <= most, "{total} pods, {most} allowed");
        let least = wanted - sizes::max_unavailable(&self.deployment);
        assert!(
            available >= least,
            "{available} available, {least} promised"
        );
    }

    // Runs until nothing changes any more.
    fn settle(&mut self) -> usize {
        for steps in 1..200 {
            let wrote = self.step();
            self.follow(true);
            if !wrote && self.is_complete() {
                self.step();
                return steps;
            }
        }
        panic!("does not settle: {:?}", self.sizes());
    }

    fn is_complete(&self) -> bool {
        self.deployment
            .status
            .as_ref()
            .is_some_and(|s| status::is_complete(&self.deployment, s))
    }

    fn sizes(&self) -> Vec<i32> {
        self.sets.iter().map(sizes::told).collect()
    }

    fn condition(&self, type_: &str) -> (String, String, String) {
        let found =
            status::find(self.deployment.status.as_ref().expect("status"), type_).expect(type_);
        (
            found.status.clone(),
            found.reason.clone().unwrap_or_default(),
            found.message.clone().unwrap_or_default(),
        )
    }

    fn reason(&self) -> String {
        self.condition("Progressing").1
    }
}

fn rolling(surge: Value, unavailable: Value) -> Value {
    json!({"type": "RollingUpdate", "rollingUpdate": {"maxSurge": surge, "maxUnavailable": unavailable}})
}

#[test]
fn rollouts_keep_their_promises_at_every_step() {
    for replicas in [1, 2, 3, 5, 10, 33] {
        for (surge, unavailable) in [
            (json!("25%"), json!("25%")),
            (json!(1), json!(0)),
            (json!(0), json!(1)),
            (json!("100%"), json!(0)),
            (json!(0), json!("50%")),
        ] {
            let mut world = World::new(replicas, rolling(surge, unavailable));
            world.settle();
            world.image("i:2");
            let mut steps = 0;
            while !(world.is_complete() && world.sizes()[0] == 0) {
                world.step();
                world.follow(false);
                world.check();
                world.follow(true);
                world.check();
                steps += 1;
                assert!(steps < 200, "{:?}", world.sizes());
            }
            world.step();
            assert_eq!(world.sizes(), [0, replicas]);
            assert_eq!(world.reason(), "NewReplicaSetAvailable");
        }
    }
}

#[test]
fn a_rollout_that_does_not_come_up_stops_and_then_misses_its_deadline() {
    let mut world = World::new(4, rolling(json!("25%"), json!("25%")));
    world.settle();
    assert_eq!(world.condition("Available").1, "MinimumReplicasAvailable");
    world.image("i:broken");
    for _ in 0..10 {
        world.step();
        world.follow(false);
    }
    world.step();
    assert_eq!(world.sizes(), [3, 2], "three serve on, two try");
    assert_eq!(world.reason(), "ReplicaSetUpdated");
    let after = world.after.expect("looks again");
    assert!(
        after > Duration::from_secs(590) && after < Duration::from_secs(602),
        "{after:?}"
    );
    world.pass(620);
    world.step();
    let (status, reason, message) = world.condition("Progressing");
    assert_eq!(
        (status.as_str(), reason.as_str()),
        ("False", "ProgressDeadlineExceeded")
    );
    assert!(
        message.starts_with("ReplicaSet \"web-") && message.ends_with("has timed out progressing."),
        "{message}"
    );
    // The user goes back: the first set returns with a new revision.
    world.image("i:1");
    world.settle();
    assert_eq!(world.sizes(), [4, 0]);
    assert_eq!(revision::of(&world.sets[0]), 3);
    assert_eq!(
        world
            .deployment
            .metadata
            .annotations
            .as_ref()
            .expect("annotations")[revision::REVISION],
        "3"
    );
}

#[test]
fn recreate_empties_the_old_before_it_makes_the_new() {
    let mut world = World::new(3, json!({"type": "Recreate"}));
    world.settle();
    world.image("i:2");
    world.step();
    assert_eq!(world.sizes(), [0]);
    world.step();
    assert_eq!(world.sets.len(), 1, "the old set still reports pods");
    world.follow(true);
    world.step();
    assert_eq!(world.sizes(), [0, 3]);
}

#[test]
fn scaling_in_the_middle_keeps_proportions() {
    let mut world = World::new(10, rolling(json!(3), json!(2)));
    world.settle();
    world.image("i:2");
    for _ in 0..2 {
        world.step();
        world.follow(false);
    }
    assert_eq!(world.sizes(), [8, 5]);
    world.edit(|s| s.replicas = Some(15));
    world.step();
    // 13 of 13 allowed become 18 of 18.
    assert_eq!(world.sizes(), [11, 7]);
    world.settle();
    assert_eq!(world.sizes(), [0, 15]);
}

#[test]
fn a_pause_stops_rolling_but_not_scaling() {
    let mut world = World::new(4, rolling(json!(1), json!(1)));
    world.settle();
    world.edit(|s| s.paused = Some(true));
    world.image("i:2");
    world.step();
    assert_eq!(world.sizes(), [4]);
    assert_eq!(world.condition("Progressing").1, "DeploymentPaused");
    world.edit(|s| s.replicas = Some(6));
    world.step();
    assert_eq!(world.sizes(), [6]);
    world.follow(true);
    world.edit(|s| s.paused = None);
    world.settle();
    assert_eq!(world.sizes(), [0, 6]);
}

#[test]
fn history_keeps_its_limit_and_events_tell_the_scaling() {
    let mut world = World::new(1, rolling(json!(1), json!(0)));
    for number in 1..=6 {
        world.image(&format!("i:{number}"));
        world.settle();
        world.step();
    }
    assert_eq!(world.sets.len(), 3, "two old and the new");
    assert!(
        world.events[0].starts_with("Scaled up replica set web-")
            && world.events[0].ends_with(" from 0 to 1")
    );
    assert!(
        world
            .events
            .iter()
            .any(|e| e.starts_with("Scaled down replica set web-") && e.ends_with(" from 1 to 0"))
    );
}

#[test]
fn zero_replicas_are_complete() {
    let mut world = World::new(0, rolling(json!("25%"), json!("25%")));
    world.settle();
    assert_eq!(world.condition("Available").0, "True");
    assert_eq!(world.reason(), "NewReplicaSetAvailable");
}
