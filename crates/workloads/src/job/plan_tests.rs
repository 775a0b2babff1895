//! Scripts: pods end as told, finalizers go as planned.

use super::*;
use serde_json::{Value, json};

struct World {
    job: Job,
    pods: Vec<Pod>,
    now: Timestamp,
    made: usize,
}

impl World {
    fn new(spec: Value) -> Self {
        let mut full = json!({"template": {"spec": {"containers": [], "restartPolicy": "Never"}}, "parallelism": 1, "completions": 1});
        for (key, value) in spec.as_object().expect("object") {
            full[key] = value.clone();
        }
        let job = json!({"metadata": {"name": "j", "namespace": "n", "uid": "j"}, "spec": full});
        Self {
            job: serde_json::from_value(job).expect("job"),
            pods: Vec::new(),
            now: "2026-01-01T01:00:00Z".parse().expect("time"),
            made: 0,
        }
    }

    fn pass(&mut self, seconds: u64) {
        self.now = self
            .now
            .checked_add(Duration::from_secs(seconds))
            .expect("time");
    }

    // One reconcile with all its writes; answers how many pods were made and deleted.
    fn step(&mut self) -> (usize, usize) {
        let owned: Vec<_> = self.pods.iter().cloned().map(Arc::new).collect();
        let plan = plan(&self.job, &owned, self.now);
        self.job.status = Some(plan.status);
        for gone in &plan.untrack {
            for pod in self
                .pods
                .iter_mut()
                .filter(|p| p.metadata.uid == gone.metadata.uid)
            {
                pod.metadata.finalizers = None;
            }
        }
        for gone in &plan.dismiss {
            self.pods.retain(|p| p.metadata.uid != gone.metadata.uid);
        }
        for gone in &plan.delete {
            for pod in self
                .pods
                .iter_mut()
                .filter(|p| p.metadata.uid == gone.metadata.uid)
            {
                pod.metadata.deletion_timestamp = Some(Time(self.now));
            }
        }
        self.pods
            .retain(|p| !(pods::is_deleting(p) && p.metadata.finalizers.is_none()));
        for index in &plan.create {
            self.made += 1;
            let uid = format!("p{}", self.made);
            let mut pod: Pod = serde_json::from_value(json!({
                "metadata": {"name": uid, "uid": uid, "finalizers": [TRACKING], "creationTimestamp": self.now.to_string()},
                "spec": {"containers": [{"name": "c"}]}, "status": {"phase": "Running"},
            }))
            .expect("pod");
            if let Some(index) = index {
                indexes::give(&mut pod, "j", *index);
            }
            self.pods.push(pod);
        }
        (plan.create.len(), plan.delete.len() + plan.dismiss.len())
    }

    fn end(&mut self, uid: &str, phase: &str) {
        let now = self.now.to_string();
        let pod = self
            .pods
            .iter_mut()
            .find(|p| p.metadata.uid.as_deref() == Some(uid))
            .expect(uid);
        pod.status = serde_json::from_value(json!({"phase": phase, "containerStatuses": [
            {"name": "c", "image": "", "imageID": "", "ready": false, "restartCount": 0, "state": {"terminated": {"exitCode": 0, "finishedAt": now}}}
        ]}))
        .expect("status");
    }

    fn settle(&mut self) {
        for _ in 0..5 {
            self.step();
        }
    }

    fn status(&self) -> &JobStatus {
        self.job.status.as_ref().expect("status")
    }
}

#[test]
fn a_pod_is_counted_once_and_its_finalizer_goes_in_between() {
    let mut world = World::new(json!({}));
    assert_eq!(world.step(), (1, 0));
    assert_eq!(world.step(), (0, 0));
    world.end("p1", "Succeeded");
    world.step();
    let uncounted = world
        .status()
        .uncounted_terminated_pods
        .clone()
        .expect("uncounted");
    assert_eq!(uncounted.succeeded, Some(vec!["p1".to_string()]));
    assert_eq!(world.status().succeeded, None);
    world.step();
    assert_eq!(world.status().succeeded, Some(1));
    assert!(has(Some(world.status()), "Complete"));
    assert!(world.status().completion_time.is_some());
    world.settle();
    assert_eq!(world.status().succeeded, Some(1));
    assert_eq!(world.made, 1);
}

#[test]
fn failures_back_off_and_end_at_the_limit() {
    let mut world = World::new(json!({"backoffLimit": 1}));
    world.step();
    world.end("p1", "Failed");
    assert_eq!(world.step(), (0, 0), "waits 10 s");
    world.pass(11);
    assert_eq!(world.step(), (1, 0));
    world.end("p2", "Failed");
    world.settle();
    let status = world.status();
    assert_eq!(status.failed, Some(2));
    let failed = status
        .conditions
        .iter()
        .flatten()
        .find(|c| c.type_ == "Failed")
        .expect("condition");
    assert_eq!(failed.reason.as_deref(), Some("BackoffLimitExceeded"));
    assert_eq!(
        failed.message.as_deref(),
        Some("Job has reached the specified backoff limit")
    );
}

#[test]
fn parallelism_and_completions_bound_the_active_pods() {
    let mut world = World::new(json!({"parallelism": 3, "completions": 4}));
    assert_eq!(world.step(), (3, 0));
    world.end("p1", "Succeeded");
    world.end("p2", "Succeeded");
    assert_eq!(world.step(), (1, 0), "two are left, one runs");
    world.end("p3", "Succeeded");
    world.end("p4", "Succeeded");
    world.settle();
    assert_eq!(world.status().succeeded, Some(4));
    assert!(has(Some(world.status()), "Complete"));
}

#[test]
fn the_deadline_deletes_what_runs_and_fails() {
    let mut world = World::new(json!({"activeDeadlineSeconds": 60}));
    world.step();
    world.pass(61);
    assert_eq!(world.step(), (0, 1));
    assert!(has(Some(world.status()), "FailureTarget") && !has(Some(world.status()), "Failed"));
    world.settle();
    assert!(has(Some(world.status()), "Failed"));
    assert_eq!(world.status().active, None);
}

#[test]
fn suspending_deletes_and_resuming_starts_anew() {
    let mut world = World::new(json!({}));
    world.step();
    world.job.spec.as_mut().expect("spec").suspend = Some(true);
    assert_eq!(world.step(), (0, 1));
    assert!(has(Some(world.status()), "Suspended"));
    assert!(world.status().start_time.is_none());
    world.settle();
    world.job.spec.as_mut().expect("spec").suspend = Some(false);
    assert_eq!(world.status().failed, None);
    assert_eq!(world.step(), (1, 0));
    assert!(!has(Some(world.status()), "Suspended"));
}

#[test]
fn each_index_succeeds_once() {
    let mut world =
        World::new(json!({"completionMode": "Indexed", "parallelism": 2, "completions": 3}));
    world.step();
    world.end("p1", "Succeeded");
    world.pass(1);
    world.end("p2", "Failed");
    world.step();
    world.settle();
    let of = |w: &World| {
        w.pods
            .iter()
            .filter(|p| pods::is_active(p))
            .filter_map(indexes::of)
            .collect::<Vec<_>>()
    };
    assert!(of(&world).is_empty(), "the failure delays");
    world.pass(11);
    world.step();
    assert_eq!(of(&world), [1, 2]);
    world.end("p3", "Succeeded");
    world.end("p4", "Succeeded");
    world.settle();
    assert_eq!(world.status().completed_indexes.as_deref(), Some("0-2"));
    assert!(has(Some(world.status()), "Complete"));
}
