//! Revisions of a stateful set: each template it ever had, under a stable name.

use super::identity::set_name;
use crate::ownership::controller_reference;
use crate::template_hash::hash;
use k8s_openapi::api::apps::v1::{ControllerRevision, StatefulSet};
use k8s_openapi::api::core::v1::{Pod, PodTemplateSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use k8s_openapi::apimachinery::pkg::runtime::RawExtension;
use serde_json::{Value, json};
use std::sync::Arc;

const HASH: &str = "controller.kubernetes.io/hash";

/// The revisions that matter now and what must be written first.
#[derive(Debug)]
pub(crate) struct Revisions {
    /// What pods not to be updated are made from.
    pub(crate) current: ControllerRevision,
    /// What the template says now.
    pub(crate) update: ControllerRevision,
    /// The update revision does not exist yet.
    pub(crate) create: bool,
    /// The update revision exists with an old number (a rollback): it gets this one.
    pub(crate) renumber: Option<i64>,
}

/// Name of a revision.
pub(crate) fn name(revision: &ControllerRevision) -> &str {
    revision.metadata.name.as_deref().unwrap_or_default()
}

// The template as a patch that replaces it, which is what `kubectl rollout undo` applies.
fn data(template: &PodTemplateSpec) -> Value {
    let mut template = serde_json::to_value(template).unwrap_or_default();
    if let Some(map) = template.as_object_mut() {
        map.insert("$patch".into(), json!("replace"));
    }
    json!({"spec": {"template": template}})
}

/// The template a revision holds.
pub(crate) fn template(revision: &ControllerRevision) -> Option<PodTemplateSpec> {
    let mut template = revision
        .data
        .as_ref()?
        .0
        .get("spec")?
        .get("template")?
        .clone();
    template.as_object_mut()?.remove("$patch");
    serde_json::from_value(template).ok()
}

/// Finds or makes the update revision and finds the current one. `owned` in any order.
pub(crate) fn plan(set: &StatefulSet, owned: &[Arc<ControllerRevision>]) -> Revisions {
    let mut owned: Vec<&ControllerRevision> = owned.iter().map(Arc::as_ref).collect();
    owned.sort_by_key(|r| (r.revision, r.metadata.name.clone()));
    let wanted = set
        .spec
        .as_ref()
        .map(|s| s.template.clone())
        .unwrap_or_default();
    let next = owned.last().map_or(0, |r| r.revision) + 1;
    let same = |r: &&&ControllerRevision| template(r).is_some_and(|t| t == wanted);
    let (update, create, renumber) = match owned.iter().rev().find(same) {
        Some(found) => {
            let is_last = found.revision + 1 == next;
            ((*found).clone(), false, (!is_last).then_some(next))
        }
        None => (make(set, &wanted, next), true, None),
    };
    let current_name = set
        .status
        .as_ref()
        .and_then(|s| s.current_revision.as_deref());
    let current = owned
        .iter()
        .find(|r| Some(name(r)) == current_name)
        .map_or_else(|| update.clone(), |r| (*r).clone());
    Revisions {
        current,
        update,
        create,
        renumber,
    }
}

fn make(set: &StatefulSet, wanted: &PodTemplateSpec, revision: i64) -> ControllerRevision {
    let hash = hash(
        wanted,
        set.status
            .as_ref()
            .and_then(|s| s.collision_count)
            .unwrap_or(0),
    );
    let mut labels = set
        .spec
        .as_ref()
        .and_then(|s| s.selector.match_labels.clone())
        .unwrap_or_default();
    labels.insert(HASH.into(), hash.clone());
    ControllerRevision {
        metadata: ObjectMeta {
            name: Some(format!("{}-{hash}", set_name(set))),
            namespace: set.metadata.namespace.clone(),
            labels: Some(labels),
            annotations: set.metadata.annotations.clone(),
            owner_references: Some(vec![controller_reference(set)]),
            ..ObjectMeta::default()
        },
        data: Some(RawExtension(data(wanted))),
        revision,
    }
}

/// Revisions that nothing uses any more, beyond the history limit, oldest first.
pub(crate) fn surplus(
    set: &StatefulSet,
    owned: &[Arc<ControllerRevision>],
    pods: &[Arc<Pod>],
    used: &Revisions,
) -> Vec<Arc<ControllerRevision>> {
    let live = |r: &ControllerRevision| {
        name(r) == name(&used.current)
            || name(r) == name(&used.update)
            || pods
                .iter()
                .any(|p| super::identity::revision_of(p) == name(r))
    };
    let mut history: Vec<_> = owned.iter().filter(|r| !live(r)).cloned().collect();
    history.sort_by_key(|r| r.revision);
    let limit = set
        .spec
        .as_ref()
        .and_then(|s| s.revision_history_limit)
        .unwrap_or(10);
    let surplus = history
        .len()
        .saturating_sub(usize::try_from(limit).unwrap_or(0));
    history.truncate(surplus);
    history
}
