//! Which pods a daemon set makes and deletes on which nodes, and its status.

use super::placement::{Wanted, node_of, wanted};
use crate::objects::name;
use crate::pods;
use crate::revisions::{Revised, mark_of};
use k8s_openapi::api::apps::v1::{ControllerRevision, DaemonSet, DaemonSetSpec, DaemonSetStatus};
use k8s_openapi::api::core::v1::{Node, Pod};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use k8s_openapi::jiff::Timestamp;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

/// What is there.
pub(super) struct Observed<'a> {
    pub(super) set: &'a DaemonSet,
    pub(super) update: &'a ControllerRevision,
    pub(super) nodes: &'a [Arc<Node>],
    /// All pods that it controls.
    pub(super) pods: &'a [Arc<Pod>],
    pub(super) now: Timestamp,
}

/// What to do.
#[derive(Debug, Default)]
pub(super) struct Plan {
    /// Nodes that get a pod.
    pub(super) create: BTreeSet<String>,
    /// Pods to delete, by name, each once.
    pub(super) delete: BTreeMap<String, Arc<Pod>>,
    /// Those among them that ended by themselves: they come back with growing delays.
    pub(super) failed: Vec<Arc<Pod>>,
    pub(super) status: DaemonSetStatus,
    pub(super) after: Option<Duration>,
}

/// A node with the pods of the set there, the oldest first.
struct Place<'a> {
    name: &'a str,
    wanted: Wanted,
    pods: Vec<&'a Arc<Pod>>,
}

/// Plans the next step.
pub(super) fn plan(seen: &Observed<'_>) -> Plan {
    let spec = seen.set.spec.clone().unwrap_or_default();
    let look = Look {
        hash: DaemonSet::mark(seen.update),
        min_ready: spec.min_ready_seconds.unwrap_or(0),
        now: seen.now,
    };
    let places = places(seen, &spec);
    let mut plan = Plan {
        status: status(seen, &places, &look),
        ..Plan::default()
    };
    plan.after = seen
        .pods
        .iter()
        .filter(|p| pods::is_active(p))
        .filter_map(|p| pods::available_in(p, look.min_ready, look.now))
        .min();
    if seen.set.metadata.deletion_timestamp.is_some() {
        return plan;
    }
    let surge = surge(&spec, plan.status.desired_number_scheduled);
    for place in &places {
        manage(&mut plan, place, &look, surge > 0);
    }
    without_a_node(&mut plan, seen, &places);
    if is_rolling(&spec) && plan.create.is_empty() && plan.delete.is_empty() {
        let desired = plan.status.desired_number_scheduled;
        if surge > 0 {
            roll_with_surge(&mut plan, &places, &look, surge);
        } else {
            roll(&mut plan, &places, &look, unavailable(&spec, desired));
        }
    }
    plan
}

struct Look<'a> {
    hash: &'a str,
    min_ready: i32,
    now: Timestamp,
}

impl Look<'_> {
    fn is_new(&self, pod: &Pod) -> bool {
        mark_of(pod) == Some(self.hash)
    }

    fn is_available(&self, pod: &Pod) -> bool {
        pods::is_available(pod, self.min_ready, self.now)
    }
}

fn places<'a>(seen: &Observed<'a>, spec: &DaemonSetSpec) -> Vec<Place<'a>> {
    let pod_spec = spec.template.spec.clone().unwrap_or_default();
    let mut by_node: BTreeMap<&str, Vec<&Arc<Pod>>> = BTreeMap::new();
    for pod in seen.pods {
        if let Some(node) = node_of(pod) {
            by_node.entry(node).or_default().push(pod);
        }
    }
    let place = |node: &'a Arc<Node>| {
        let name = name(&node.metadata);
        let mut pods = by_node.remove(name).unwrap_or_default();
        pods.sort_by_key(|p| {
            let bound = pods::node(p).is_some();
            (
                !bound,
                p.metadata.creation_timestamp.clone(),
                p.metadata.name.clone(),
            )
        });
        Place {
            name,
            wanted: wanted(&pod_spec, node),
            pods,
        }
    };
    seen.nodes.iter().map(place).collect()
}

fn is_rolling(spec: &DaemonSetSpec) -> bool {
    let strategy = spec.update_strategy.as_ref();
    strategy.and_then(|s| s.type_.as_deref()) != Some("OnDelete")
}

fn surge(spec: &DaemonSetSpec, desired: i32) -> i32 {
    let rolling = spec
        .update_strategy
        .as_ref()
        .filter(|_| is_rolling(spec))
        .and_then(|s| s.rolling_update.as_ref());
    scaled(rolling.and_then(|r| r.max_surge.as_ref()), desired).unwrap_or(0)
}

// At least one, or nothing would ever be updated.
fn unavailable(spec: &DaemonSetSpec, desired: i32) -> i32 {
    let strategy = spec.update_strategy.as_ref();
    let rolling = strategy.and_then(|s| s.rolling_update.as_ref());
    let asked = rolling.and_then(|r| r.max_unavailable.as_ref());
    scaled(asked, desired).unwrap_or(1).max(1)
}

// A share is rounded up.
fn scaled(value: Option<&IntOrString>, total: i32) -> Option<i32> {
    match value? {
        IntOrString::Int(number) => Some((*number).max(0)),
        IntOrString::String(text) => {
            let percent: i64 = text.strip_suffix('%')?.parse().ok()?;
            let share = (percent.max(0) * i64::from(total) + 99) / 100;
            i32::try_from(share).ok()
        }
    }
}

// One pod on each node that wants one, none elsewhere.
fn manage(plan: &mut Plan, place: &Place<'_>, look: &Look<'_>, surging: bool) {
    if place.wanted.run && place.pods.is_empty() {
        plan.create.insert(place.name.to_string());
        return;
    }
    let staying = place.pods.iter().filter(|p| !pods::is_deleting(p));
    if !place.wanted.stay {
        staying.for_each(|pod| delete(plan, pod));
        return;
    }
    let mut running = Vec::new();
    for pod in staying {
        if pods::is_terminal(pod) {
            delete(plan, pod);
            plan.failed.push(Arc::clone(pod));
        } else {
            running.push(*pod);
        }
    }
    if running.len() <= 1 {
        return;
    }
    if !surging {
        running[1..].iter().for_each(|pod| delete(plan, pod));
        return;
    }
    // While surging there may be one of each revision.
    let (new, old): (Vec<_>, Vec<_>) = running.into_iter().partition(|p| look.is_new(p));
    for pod in new.iter().skip(1).chain(old.iter().skip(1)) {
        delete(plan, pod);
    }
    if let (Some(new), Some(old)) = (new.first(), old.first())
        && (!pods::is_ready(old) || look.is_available(new))
    {
        delete(plan, old);
    }
}

fn delete(plan: &mut Plan, pod: &Arc<Pod>) {
    plan.delete
        .insert(name(&pod.metadata).to_string(), Arc::clone(pod));
}

// Pods of nodes that are gone, which nothing could bind any more.
fn without_a_node(plan: &mut Plan, seen: &Observed<'_>, places: &[Place<'_>]) {
    let known: BTreeSet<&str> = places.iter().map(|p| p.name).collect();
    for pod in seen.pods {
        let lost = node_of(pod).is_none_or(|node| !known.contains(node));
        if lost && pods::node(pod).is_none() && !pods::is_deleting(pod) {
            delete(plan, pod);
        }
    }
}

struct Pair<'a> {
    new: Option<&'a Arc<Pod>>,
    old: Option<&'a Arc<Pod>>,
}

// The pods of a node where they are at most one of each revision; none while more are there.
fn pair<'a>(place: &Place<'a>, look: &Look<'_>) -> Option<Pair<'a>> {
    let staying = place.pods.iter().filter(|p| !pods::is_deleting(p)).copied();
    let (new, old): (Vec<_>, Vec<_>) = staying.partition(|p| look.is_new(p));
    (new.len() <= 1 && old.len() <= 1).then(|| Pair {
        new: new.first().copied(),
        old: old.first().copied(),
    })
}

// Old pods are deleted while no more than so many nodes are without an available one.
fn roll(plan: &mut Plan, places: &[Place<'_>], look: &Look<'_>, most: i32) {
    let most = usize::try_from(most).unwrap_or(0);
    let mut missing = 0;
    let mut candidates = Vec::new();
    for place in places.iter().filter(|p| p.wanted.run) {
        match pair(place, look) {
            Some(Pair {
                new: Some(new),
                old: None,
            }) => {
                missing += usize::from(!look.is_available(new));
            }
            Some(Pair {
                new: None,
                old: Some(old),
            }) => {
                if look.is_available(old) {
                    candidates.push(old);
                } else {
                    // It gives nothing; replacing it costs nothing.
                    missing += 1;
                    delete(plan, old);
                }
            }
            _ => missing += 1,
        }
    }
    for old in candidates.into_iter().take(most.saturating_sub(missing)) {
        delete(plan, old);
    }
}

// New pods are made beside old ones, on no more than so many nodes at a time.
fn roll_with_surge(plan: &mut Plan, places: &[Place<'_>], look: &Look<'_>, most: i32) {
    let most = usize::try_from(most).unwrap_or(0);
    let mut surging = 0;
    let mut candidates = Vec::new();
    for place in places.iter().filter(|p| p.wanted.run) {
        match pair(place, look) {
            None => surging += 1,
            Some(Pair {
                new: Some(new),
                old: Some(old),
            }) => {
                if look.is_available(new) {
                    delete(plan, old);
                } else {
                    surging += 1;
                }
            }
            Some(Pair {
                new: None,
                old: Some(old),
            }) => {
                if look.is_available(old) {
                    candidates.push(place.name);
                } else {
                    plan.create.insert(place.name.to_string());
                }
            }
            Some(_) => {}
        }
    }
    for node in candidates.into_iter().take(most.saturating_sub(surging)) {
        plan.create.insert(node.to_string());
    }
}

fn status(seen: &Observed<'_>, places: &[Place<'_>], look: &Look<'_>) -> DaemonSetStatus {
    let count = |test: &dyn Fn(&Place<'_>) -> bool| {
        i32::try_from(places.iter().filter(|p| test(p)).count()).unwrap_or(i32::MAX)
    };
    // Where two are there, the one that is ready speaks for the node.
    let speaks = |place: &Place<'_>, test: &dyn Fn(&Pod) -> bool| {
        place.wanted.run && place.pods.iter().any(|p| test(p))
    };
    let some = |n: i32| (n != 0).then_some(n);
    let was = seen.set.status.as_ref();
    let desired = count(&|p| p.wanted.run);
    let available = count(&|p| speaks(p, &|pod| look.is_available(pod)));
    DaemonSetStatus {
        collision_count: was.and_then(|s| s.collision_count),
        conditions: was.and_then(|s| s.conditions.clone()),
        current_number_scheduled: count(&|p| p.wanted.run && !p.pods.is_empty()),
        desired_number_scheduled: desired,
        number_available: some(available),
        number_misscheduled: count(&|p| !p.wanted.run && !p.pods.is_empty()),
        number_ready: count(&|p| speaks(p, &pods::is_ready)),
        number_unavailable: some((desired - available).max(0)),
        observed_generation: seen.set.metadata.generation,
        updated_number_scheduled: some(count(&|p| speaks(p, &|pod| look.is_new(pod)))),
    }
}

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;
