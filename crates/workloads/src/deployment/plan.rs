//! What a deployment needs next: a pure function of it, its replica sets, their pods and the
//! time. One step at a time; the changes that follow wake it again.

use super::sizes::{self, available, told, wanted};
use super::{revision, status};
use crate::ownership::controller_reference;
use crate::template_hash::{POD_TEMPLATE_HASH, hash, same_template};
use k8s_openapi::api::apps::v1::{Deployment, DeploymentStatus, ReplicaSet, ReplicaSetSpec};
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use k8s_openapi::jiff::Timestamp;
use std::sync::Arc;
use std::time::Duration;

/// What was seen.
pub(crate) struct Observed<'a> {
    pub(crate) deployment: &'a Deployment,
    /// Owned replica sets.
    pub(crate) sets: Vec<ReplicaSet>,
    /// Pods of all of them.
    pub(crate) pods: Vec<Arc<Pod>>,
    pub(crate) now: Timestamp,
}

/// One write.
#[derive(Debug)]
pub(crate) enum Action {
    /// Make the newest replica set.
    Create(Box<ReplicaSet>),
    /// Write a replica set back with new size or annotations.
    Update(Box<ReplicaSet>),
    /// Remove one that history no longer needs.
    Delete(Box<ObjectMeta>),
    /// Put the revision on the deployment.
    Revision(i64),
    /// Tell people, once the writes above are done.
    Event(String),
}

/// All writes in order, then the status.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) actions: Vec<Action>,
    pub(crate) status: DeploymentStatus,
    /// Look again then at the latest.
    pub(crate) after: Option<Duration>,
}

#[derive(PartialEq)]
enum Mark {
    Same,
    Changed,
    New,
    Gone,
}

struct Tracked {
    set: ReplicaSet,
    mark: Mark,
}

struct Work<'a> {
    deployment: &'a Deployment,
    pods: &'a [Arc<Pod>],
    now: Timestamp,
    sets: Vec<Tracked>,
    newest: Option<usize>,
    status: DeploymentStatus,
    revision: Option<i64>,
    events: Vec<String>,
}

/// Plans the next step.
pub(crate) fn plan(observed: Observed<'_>) -> Plan {
    let Observed {
        deployment,
        mut sets,
        pods,
        now,
    } = observed;
    sets.sort_by_cached_key(|s| {
        (
            s.metadata.creation_timestamp.clone(),
            s.metadata.name.clone(),
        )
    });
    let spec = deployment.spec.clone().unwrap_or_default();
    let newest = sets.iter().position(|s| {
        s.spec
            .as_ref()
            .and_then(|s| s.template.as_ref())
            .is_some_and(|t| same_template(t, &spec.template))
    });
    let before = deployment.status.clone().unwrap_or_default();
    let mut work = Work {
        deployment,
        pods: &pods,
        now,
        sets: sets
            .into_iter()
            .map(|set| Tracked {
                set,
                mark: Mark::Same,
            })
            .collect(),
        newest,
        status: before.clone(),
        revision: None,
        events: Vec::new(),
    };
    let in_rollout = if deployment.metadata.deletion_timestamp.is_some() {
        false
    } else {
        status::paused(deployment, &mut work.status, now);
        work.step(spec.paused.unwrap_or(false))
    };
    work.finish(&before, in_rollout)
}

impl Work<'_> {
    // Says whether the status is that of a rollout (with progress) or only counts.
    fn step(&mut self, paused: bool) -> bool {
        if paused || self.is_scaling() {
            self.adopt_newest(false);
            self.scale();
            if paused {
                self.clean();
            }
            return false;
        }
        if sizes::is_rolling(self.deployment) {
            self.roll()
        } else {
            self.recreate()
        }
        true
    }

    fn roll(&mut self) {
        self.adopt_newest(true);
        if self.grow_newest() || self.shrink_old() {
            return;
        }
        self.clean_when_complete();
    }

    fn recreate(&mut self) {
        self.adopt_newest(false);
        let old = self.old_active();
        if !old.is_empty() {
            old.into_iter().for_each(|at| self.resize(at, 0));
            return;
        }
        if self.old_pods_running() {
            return;
        }
        self.adopt_newest(true);
        self.grow_newest();
        self.clean_when_complete();
    }

    fn is_scaling(&self) -> bool {
        self.sets.iter().filter(|t| told(&t.set) > 0).any(|t| {
            revision::number(&t.set.metadata, revision::DESIRED_REPLICAS)
                .is_some_and(|n| n != i64::from(wanted(self.deployment)))
        })
    }

    fn old(&self) -> impl Iterator<Item = usize> + use<> {
        let newest = self.newest;
        (0..self.sets.len()).filter(move |at| Some(*at) != newest)
    }

    fn old_active(&self) -> Vec<usize> {
        self.old()
            .filter(|at| told(&self.sets[*at].set) > 0)
            .collect()
    }

    fn all_told(&self) -> i32 {
        self.sets.iter().map(|t| told(&t.set)).sum()
    }

    fn max_size(&self) -> i32 {
        wanted(self.deployment).saturating_add(sizes::max_surge(self.deployment))
    }

    // Marks the newest set with its revision, or makes it.
    fn adopt_newest(&mut self, may_create: bool) {
        let next = self
            .old()
            .map(|at| revision::of(&self.sets[at].set))
            .max()
            .unwrap_or(0)
            + 1;
        if let Some(at) = self.newest {
            let min_ready = self
                .deployment
                .spec
                .as_ref()
                .and_then(|s| s.min_ready_seconds);
            let tracked = &mut self.sets[at];
            let mut changed = revision::mark(self.deployment, &mut tracked.set, next);
            if let Some(spec) = &mut tracked.set.spec
                && spec.min_ready_seconds.unwrap_or(0) != min_ready.unwrap_or(0)
            {
                spec.min_ready_seconds = min_ready;
                changed = true;
            }
            if changed && tracked.mark == Mark::Same {
                tracked.mark = Mark::Changed;
            }
            self.revision = Some(revision::of(&self.sets[at].set));
            if status::deadline(self.deployment).is_some()
                && status::find(&self.status, status::PROGRESSING).is_none()
            {
                let message = format!("Found new replica set \"{}\"", name(&self.sets[at].set));
                let found = status::condition(
                    status::PROGRESSING,
                    "True",
                    "FoundNewReplicaSet",
                    message,
                    self.now,
                );
                status::set(&mut self.status, found);
            }
        } else if may_create {
            let set = self.make_newest(next);
            if told(&set) > 0 {
                self.events.push(format!(
                    "Scaled up replica set {} from 0 to {}",
                    name(&set),
                    told(&set)
                ));
            }
            if status::deadline(self.deployment).is_some() {
                let message = format!("Created new replica set \"{}\"", name(&set));
                let made = status::condition(
                    status::PROGRESSING,
                    "True",
                    "NewReplicaSetCreated",
                    message,
                    self.now,
                );
                status::set(&mut self.status, made);
            }
            self.revision = Some(next);
            self.newest = Some(self.sets.len());
            self.sets.push(Tracked {
                set,
                mark: Mark::New,
            });
        }
    }

    fn make_newest(&self, revision: i64) -> ReplicaSet {
        let spec = self.deployment.spec.clone().unwrap_or_default();
        let hash = hash(&spec.template, self.status.collision_count.unwrap_or(0));
        let mut template = spec.template;
        let mut selector = spec.selector;
        let labels = template
            .metadata
            .get_or_insert_default()
            .labels
            .get_or_insert_default();
        labels.insert(POD_TEMPLATE_HASH.into(), hash.clone());
        let labels = labels.clone();
        selector
            .match_labels
            .get_or_insert_default()
            .insert(POD_TEMPLATE_HASH.into(), hash.clone());
        let mut set = ReplicaSet {
            metadata: ObjectMeta {
                name: Some(format!(
                    "{}-{hash}",
                    self.deployment.metadata.name.as_deref().unwrap_or_default()
                )),
                namespace: self.deployment.metadata.namespace.clone(),
                labels: Some(labels),
                owner_references: Some(vec![controller_reference(self.deployment)]),
                ..ObjectMeta::default()
            },
            spec: Some(ReplicaSetSpec {
                replicas: Some(sizes::next_new_size(self.deployment, self.all_told(), 0)),
                min_ready_seconds: spec.min_ready_seconds,
                selector,
                template: Some(template),
            }),
            status: None,
        };
        revision::mark(self.deployment, &mut set, revision);
        revision::mark_size(&mut set, wanted(self.deployment), self.max_size());
        set
    }

    // Tells a set its size and writes down what it was scaled for.
    fn resize(&mut self, at: usize, to: i32) {
        let (desired, max) = (wanted(self.deployment), self.max_size());
        let tracked = &mut self.sets[at];
        let from = told(&tracked.set);
        let marked = revision::mark_size(&mut tracked.set, desired, max);
        if from == to && !marked {
            return;
        }
        if let Some(spec) = &mut tracked.set.spec {
            spec.replicas = Some(to);
        }
        if tracked.mark == Mark::Same {
            tracked.mark = Mark::Changed;
        }
        if from != to {
            let verb = if to > from { "up" } else { "down" };
            let name = name(&tracked.set).to_string();
            self.events.push(format!(
                "Scaled {verb} replica set {name} from {from} to {to}"
            ));
        }
    }

    fn grow_newest(&mut self) -> bool {
        let Some(at) = self.newest else { return false };
        let current = told(&self.sets[at].set);
        let wanted = wanted(self.deployment);
        if current == wanted {
            return false;
        }
        let next = if current > wanted {
            wanted
        } else {
            sizes::next_new_size(self.deployment, self.all_told(), current)
        };
        if next == current {
            return false;
        }
        self.resize(at, next);
        true
    }

    // Old sets give way: first what is unhealthy anyway, then what availability allows.
    fn shrink_old(&mut self) -> bool {
        let old = self.old_active();
        if old.is_empty() {
            return false;
        }
        let min_available = wanted(self.deployment) - sizes::max_unavailable(self.deployment);
        let new_unavailable = self.newest.map_or(0, |at| {
            told(&self.sets[at].set) - available(&self.sets[at].set)
        });
        let mut may_go = self.all_told() - min_available - new_unavailable;
        let mut moved = false;
        if may_go <= 0 {
            return false;
        }
        for at in &old {
            let set = &self.sets[*at].set;
            let unhealthy = (told(set) - available(set)).clamp(0, may_go);
            if unhealthy > 0 {
                let to = told(set) - unhealthy;
                self.resize(*at, to);
                may_go -= unhealthy;
                moved = true;
            }
        }
        let all_available: i32 = self.sets.iter().map(|t| available(&t.set)).sum();
        let mut spare = all_available - min_available;
        for at in old {
            let step = told(&self.sets[at].set).min(spare);
            if step > 0 {
                let to = told(&self.sets[at].set) - step;
                self.resize(at, to);
                spare -= step;
                moved = true;
            }
        }
        moved
    }

    // The deployment's size changed (or it is paused): sets keep their proportions.
    fn scale(&mut self) {
        let wanted = wanted(self.deployment);
        if let Some(at) = self.only_active_or_latest() {
            if told(&self.sets[at].set) != wanted || self.is_scaling() {
                self.resize(at, wanted);
            }
            return;
        }
        let newest = self.newest.map(|at| &self.sets[at].set);
        if sizes::is_saturated(self.deployment, newest) {
            self.old_active()
                .into_iter()
                .for_each(|at| self.resize(at, 0));
            return;
        }
        if !sizes::is_rolling(self.deployment) {
            return;
        }
        let mut active: Vec<usize> = (0..self.sets.len())
            .filter(|at| told(&self.sets[*at].set) > 0)
            .collect();
        let allowed = if wanted > 0 { self.max_size() } else { 0 };
        let to_add = allowed
            - active
                .iter()
                .map(|at| told(&self.sets[*at].set))
                .sum::<i32>();
        // Largest first; among equals the newer grows and the older shrinks first. Sets are in
        // order of age.
        active.sort_by_key(|at| {
            let age = *at as i64;
            (
                std::cmp::Reverse(told(&self.sets[*at].set)),
                if to_add > 0 { -age } else { age },
            )
        });
        let mut added = 0;
        let mut targets = Vec::new();
        for at in active {
            let set = &self.sets[at].set;
            let part = sizes::proportion(set, self.deployment, to_add, added);
            targets.push((at, told(set) + part));
            added += part;
        }
        if let Some(first) = targets.first_mut() {
            first.1 = (first.1 + to_add - added).max(0);
        }
        targets.into_iter().for_each(|(at, to)| self.resize(at, to));
    }

    fn only_active_or_latest(&self) -> Option<usize> {
        let active: Vec<usize> = (0..self.sets.len())
            .filter(|at| told(&self.sets[*at].set) > 0)
            .collect();
        match active.as_slice() {
            [] => self.newest.or_else(|| {
                self.old()
                    .max_by_key(|at| revision::of(&self.sets[*at].set))
            }),
            [only] => Some(*only),
            _ => None,
        }
    }

    fn old_pods_running(&self) -> bool {
        let newest = self
            .newest
            .and_then(|at| self.sets[at].set.metadata.uid.as_deref());
        let counted = self.old().any(|at| {
            self.sets[at]
                .set
                .status
                .as_ref()
                .is_some_and(|s| s.replicas > 0)
        });
        counted
            || self.pods.iter().any(|pod| {
                let owner = crate::ownership::controller_of(&pod.metadata).map(|r| r.uid.as_str());
                owner != newest && !crate::pods::is_terminal(pod)
            })
    }

    fn clean_when_complete(&mut self) {
        let status = self.counts();
        if status::is_complete(self.deployment, &status) {
            self.clean();
        }
    }

    fn clean(&mut self) {
        let limit = self
            .deployment
            .spec
            .as_ref()
            .and_then(|s| s.revision_history_limit)
            .unwrap_or(10);
        let mut old: Vec<usize> = self
            .old()
            .filter(|at| self.sets[*at].set.metadata.deletion_timestamp.is_none())
            .collect();
        let surplus = old
            .len()
            .saturating_sub(usize::try_from(limit).unwrap_or(0));
        old.sort_by_key(|at| revision::of(&self.sets[*at].set));
        for at in old.into_iter().take(surplus) {
            let tracked = &mut self.sets[at];
            let meta = &tracked.set.metadata;
            let status = tracked.set.status.clone().unwrap_or_default();
            let seen = status.observed_generation.unwrap_or(0) >= meta.generation.unwrap_or(0);
            if status.replicas == 0 && told(&tracked.set) == 0 && seen {
                tracked.mark = Mark::Gone;
            }
        }
    }

    fn counts(&self) -> DeploymentStatus {
        let sets: Vec<&ReplicaSet> = self.sets.iter().map(|t| &t.set).collect();
        let newest = self.newest.map(|at| &self.sets[at].set);
        status::calculate(self.deployment, &self.status, &sets, newest, self.now)
    }

    fn finish(self, before: &DeploymentStatus, in_rollout: bool) -> Plan {
        let mut status = self.counts();
        if in_rollout {
            let sets: Vec<&ReplicaSet> = self.sets.iter().map(|t| &t.set).collect();
            let newest = self.newest.map(|at| &self.sets[at].set);
            status::rollout(
                self.deployment,
                before,
                &mut status,
                &sets,
                newest,
                self.now,
            );
        }
        let after = if in_rollout {
            status::look_again(self.deployment, &status, self.now)
        } else {
            None
        };
        let mut actions = Vec::new();
        if let Some(revision) = self.revision
            && revision::number(&self.deployment.metadata, revision::REVISION) != Some(revision)
        {
            actions.push(Action::Revision(revision));
        }
        for tracked in self.sets {
            match tracked.mark {
                Mark::Same => {}
                Mark::Changed => actions.push(Action::Update(Box::new(tracked.set))),
                Mark::New => actions.push(Action::Create(Box::new(tracked.set))),
                Mark::Gone => actions.push(Action::Delete(Box::new(tracked.set.metadata))),
            }
        }
        actions.extend(self.events.into_iter().map(Action::Event));
        Plan {
            actions,
            status,
            after,
        }
    }
}

fn name(set: &ReplicaSet) -> &str {
    set.metadata.name.as_deref().unwrap_or_default()
}
