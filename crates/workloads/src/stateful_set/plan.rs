//! What a stateful set needs next. Under `OrderedReady` one pod at a time moves, in the order of
//! ordinals up and against it down; under `Parallel` all do.

use super::identity::{self, claim_names, claims, ordinal, revision_of, start};
use crate::pods;
use crate::revisions::{self, Revisions};
use k8s_openapi::api::apps::v1::{StatefulSet, StatefulSetStatus};
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod};
use k8s_openapi::jiff::Timestamp;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

/// What was seen.
pub(crate) struct Observed<'a> {
    pub(crate) set: &'a StatefulSet,
    pub(crate) revisions: &'a Revisions,
    /// Owned pods.
    pub(crate) pods: &'a [Arc<Pod>],
    /// Names of the claims in the namespace.
    pub(crate) claims: &'a BTreeSet<String>,
    pub(crate) now: Timestamp,
}

/// One write.
#[derive(Debug)]
pub(crate) enum Action {
    CreateClaim(Box<PersistentVolumeClaim>),
    CreatePod(Box<Pod>),
    DeletePod(Arc<Pod>),
    DeleteClaim(String),
}

/// All writes in order, then the status.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) actions: Vec<Action>,
    pub(crate) status: StatefulSetStatus,
    pub(crate) after: Option<Duration>,
}

struct Work<'a> {
    seen: &'a Observed<'a>,
    ordered: bool,
    min_ready: i32,
    actions: Vec<Action>,
}

/// Plans the next step.
pub(crate) fn plan(seen: &Observed<'_>) -> Plan {
    let spec = seen.set.spec.clone().unwrap_or_default();
    let min_ready = spec.min_ready_seconds.unwrap_or(0);
    let ordered = spec.pod_management_policy.as_deref() != Some("Parallel");
    let mut work = Work {
        seen,
        ordered,
        min_ready,
        actions: Vec::new(),
    };
    if seen.set.metadata.deletion_timestamp.is_none() {
        work.step();
    }
    let after = seen
        .pods
        .iter()
        .filter_map(|p| pods::available_in(p, min_ready, seen.now))
        .min();
    let status = status(seen, min_ready);
    Plan {
        actions: work.actions,
        status,
        after,
    }
}

impl Work<'_> {
    fn step(&mut self) {
        let set = self.seen.set;
        let from = start(set);
        let wanted = set
            .spec
            .as_ref()
            .and_then(|s| s.replicas)
            .unwrap_or(1)
            .max(0);
        let mut have: BTreeMap<i32, Arc<Pod>> = BTreeMap::new();
        let mut condemned: BTreeMap<i32, Arc<Pod>> = BTreeMap::new();
        for pod in self.seen.pods {
            match ordinal(set, pod) {
                Some(at) if at >= from && at < from.saturating_add(wanted) => {
                    drop(have.insert(at, pod.clone()))
                }
                Some(at) => drop(condemned.insert(at, pod.clone())),
                None => {}
            }
        }
        let all_up = self.keep(from, wanted, &have);
        if all_up && self.condemn(&condemned, &have) {
            self.update(from, &have);
        }
    }

    // Every wanted ordinal exists. Says whether the next stage may begin.
    fn keep(&mut self, from: i32, wanted: i32, have: &BTreeMap<i32, Arc<Pod>>) -> bool {
        for at in from..from.saturating_add(wanted) {
            let settled = match have.get(&at) {
                None => {
                    self.make(at);
                    false
                }
                Some(pod) if pods::is_terminal(pod) => {
                    if !pods::is_deleting(pod) {
                        self.actions.push(Action::DeletePod(pod.clone()));
                    }
                    false
                }
                Some(pod) => {
                    self.missing_claims(at);
                    !pods::is_deleting(pod) && self.is_available(pod)
                }
            };
            if !settled && self.ordered {
                return false;
            }
        }
        true
    }

    fn make(&mut self, at: i32) {
        self.missing_claims(at);
        let Revisions {
            current, update, ..
        } = self.seen.revisions;
        let revision = if self.keeps_current(at) {
            current
        } else {
            update
        };
        let spec = self.seen.set.spec.as_ref();
        let template = revisions::template(revision)
            .or_else(|| spec.map(|s| s.template.clone()))
            .unwrap_or_default();
        let pod = identity::pod(self.seen.set, &template, revisions::name(revision), at);
        self.actions.push(Action::CreatePod(Box::new(pod)));
    }

    fn missing_claims(&mut self, at: i32) {
        let wanted = claims(self.seen.set, at);
        let missing = wanted.into_iter().filter(|c| {
            !self
                .seen
                .claims
                .contains(c.metadata.name.as_deref().unwrap_or_default())
        });
        self.actions
            .extend(missing.map(|c| Action::CreateClaim(Box::new(c))));
    }

    // Ordinals below the partition stay on the current revision.
    fn keeps_current(&self, at: i32) -> bool {
        let strategy = self
            .seen
            .set
            .spec
            .as_ref()
            .and_then(|s| s.update_strategy.as_ref());
        if strategy.and_then(|s| s.type_.as_deref()) == Some("OnDelete") {
            return false;
        }
        let first = start(self.seen.set);
        match strategy.and_then(|s| s.rolling_update.as_ref()) {
            Some(rolling) => at < first.saturating_add(rolling.partition.unwrap_or(0)),
            None => {
                let current = self
                    .seen
                    .set
                    .status
                    .as_ref()
                    .and_then(|s| s.current_replicas)
                    .unwrap_or(0);
                at < first.saturating_add(current)
            }
        }
    }

    // Surplus ordinals go, the highest first; in order, only the lowest pod that is not well may
    // go before it is well again. Says whether updates may begin.
    fn condemn(
        &mut self,
        condemned: &BTreeMap<i32, Arc<Pod>>,
        have: &BTreeMap<i32, Arc<Pod>>,
    ) -> bool {
        let drop_claims = identity::drops_claims_when_scaled(self.seen.set);
        let unwell = |pod: &&Arc<Pod>| {
            pods::phase(pod) != "Running" || !pods::is_ready(pod) || pods::is_deleting(pod)
        };
        let first_unwell = have.values().chain(condemned.values()).find(unwell);
        let first_unwell = first_unwell.map(|pod| pod.metadata.uid.clone());
        for (at, pod) in condemned.iter().rev() {
            let is_first = first_unwell.as_ref() == Some(&pod.metadata.uid);
            if self.ordered && !self.is_available(pod) && !is_first {
                return false;
            }
            if !pods::is_deleting(pod) {
                self.actions.push(Action::DeletePod(pod.clone()));
                if drop_claims {
                    let gone = claim_names(self.seen.set, *at)
                        .into_iter()
                        .filter(|c| self.seen.claims.contains(c));
                    self.actions.extend(gone.map(Action::DeleteClaim));
                }
            }
            if self.ordered {
                return false;
            }
        }
        true
    }

    // Pods of older revisions are replaced from the highest ordinal down to the partition, the
    // next one only when all above are well.
    fn update(&mut self, from: i32, have: &BTreeMap<i32, Arc<Pod>>) {
        let strategy = self
            .seen
            .set
            .spec
            .as_ref()
            .and_then(|s| s.update_strategy.as_ref());
        if strategy.and_then(|s| s.type_.as_deref()) == Some("OnDelete") {
            return;
        }
        let partition = strategy
            .and_then(|s| s.rolling_update.as_ref())
            .and_then(|r| r.partition)
            .unwrap_or(0);
        let wanted = revisions::name(&self.seen.revisions.update);
        for pod in have
            .range(from.saturating_add(partition)..)
            .rev()
            .map(|(_, pod)| pod)
        {
            if pods::is_deleting(pod) {
                return;
            }
            if revision_of(pod) != wanted {
                self.actions.push(Action::DeletePod(pod.clone()));
                return;
            }
            if !self.is_available(pod) {
                return;
            }
        }
    }

    fn is_available(&self, pod: &Pod) -> bool {
        pods::phase(pod) == "Running" && pods::is_available(pod, self.min_ready, self.seen.now)
    }
}

fn status(seen: &Observed<'_>, min_ready: i32) -> StatefulSetStatus {
    let count = |test: &dyn Fn(&Pod) -> bool| {
        i32::try_from(seen.pods.iter().filter(|p| test(p)).count()).unwrap_or(i32::MAX)
    };
    let some = |n: i32| (n != 0).then_some(n);
    let of = |revision: &str| count(&|p| !pods::is_deleting(p) && revision_of(p) == revision);
    let (mut current, update) = (
        revisions::name(&seen.revisions.current),
        revisions::name(&seen.revisions.update),
    );
    let before = seen.set.status.clone().unwrap_or_default();
    let replicas = count(&|p| !pods::phase(p).is_empty());
    let running = |p: &Pod| pods::phase(p) == "Running" && pods::is_ready(p);
    let ready = count(&running);
    let updated = of(update);
    let mut current_replicas = of(current);
    let spec = seen.set.spec.clone().unwrap_or_default();
    let strategy = spec.update_strategy.unwrap_or_default();
    let partition = strategy
        .rolling_update
        .and_then(|r| r.partition)
        .unwrap_or(0);
    let rolled = strategy.type_.as_deref() != Some("OnDelete") && partition == 0;
    if rolled && updated == replicas && ready == replicas && replicas == spec.replicas.unwrap_or(1)
    {
        current = update;
        current_replicas = updated;
    }
    StatefulSetStatus {
        replicas,
        ready_replicas: some(ready),
        available_replicas: some(count(&|p| {
            running(p) && pods::is_available(p, min_ready, seen.now)
        })),
        current_replicas: some(current_replicas),
        updated_replicas: some(updated),
        current_revision: Some(current.to_string()),
        update_revision: Some(update.to_string()),
        observed_generation: seen.set.metadata.generation,
        collision_count: before.collision_count.or(Some(0)),
        conditions: before.conditions,
    }
}

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;
