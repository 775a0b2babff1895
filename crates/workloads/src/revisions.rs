//! Revisions of stateful sets and daemon sets: each template one ever had, under a stable name.

use crate::Error;
use crate::objects::{self, Namespaced, uid};
use crate::ownership::{self, controller_reference};
use crate::selector::Labels;
use crate::template_hash::hash;
use k8s_openapi::api::apps::v1::ControllerRevision;
use k8s_openapi::api::core::v1::{Pod, PodTemplateSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use k8s_openapi::apimachinery::pkg::runtime::RawExtension;
use kube::Client;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::sync::Arc;

/// Label of pods that tells their revision.
pub(crate) const REVISION: &str = "controller-revision-hash";

/// A kind whose templates are kept.
pub(crate) trait Revised: Namespaced {
    /// Label of a revision that holds the hash of its template.
    const HASH: &'static str;

    /// What its pods are made from now.
    fn template(&self) -> PodTemplateSpec;

    /// Labels of its revisions beside the hash.
    fn revision_labels(&self) -> Labels;

    /// How often two of its templates had the same hash.
    fn collision_count(&self) -> i32;

    /// Itself after one more such collision.
    fn with_collision(&self) -> Self;

    /// Name of the revision whose pods are not to be updated; none where the kind has no such.
    fn current(&self) -> Option<&str>;

    /// Revisions to keep beside those in use.
    fn history_limit(&self) -> Option<i32>;

    /// What pods of a revision carry in [`REVISION`].
    fn mark(revision: &ControllerRevision) -> &str;
}

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
pub(crate) fn plan<K: Revised>(set: &K, owned: &[Arc<ControllerRevision>]) -> Revisions {
    let mut owned: Vec<&ControllerRevision> = owned.iter().map(Arc::as_ref).collect();
    owned.sort_by_key(|r| (r.revision, r.metadata.name.clone()));
    let wanted = set.template();
    let next = owned.last().map_or(0, |r| r.revision) + 1;
    let same = |r: &&&ControllerRevision| template(r).is_some_and(|t| t == wanted);
    let (update, create, renumber) = match owned.iter().rev().find(same) {
        Some(found) => {
            let is_last = found.revision + 1 == next;
            ((*found).clone(), false, (!is_last).then_some(next))
        }
        None => (make(set, &wanted, next), true, None),
    };
    let current_name = set.current();
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

fn make<K: Revised>(set: &K, wanted: &PodTemplateSpec, revision: i64) -> ControllerRevision {
    let hash = hash(wanted, set.collision_count());
    let mut labels = set.revision_labels();
    labels.insert(K::HASH.into(), hash.clone());
    let meta = set.meta();
    ControllerRevision {
        metadata: ObjectMeta {
            name: Some(format!("{}-{hash}", objects::name(meta))),
            namespace: meta.namespace.clone(),
            labels: Some(labels),
            annotations: meta.annotations.clone(),
            owner_references: Some(vec![controller_reference(set)]),
            ..ObjectMeta::default()
        },
        data: Some(RawExtension(data(wanted))),
        revision,
    }
}

/// Writes what the plan wants written. Where another template has the same hash, the next pass
/// takes another name.
pub(crate) async fn write<K: Revised>(
    client: &Client,
    set: &K,
    revisions: &Revisions,
) -> Result<(), Error> {
    let update = &revisions.update;
    if let Some(number) = revisions.renumber {
        let patch = json!({"metadata": {"resourceVersion": update.metadata.resource_version}, "revision": number});
        objects::merge::<ControllerRevision>(client, &update.metadata, patch).await?;
    }
    if !revisions.create {
        return Ok(());
    }
    let error = match objects::create(client, update).await {
        Ok(_) => return Ok(()),
        Err(error) if error.is_already_exists() => error,
        Err(error) => return Err(error),
    };
    let meta = &update.metadata;
    let api = objects::api::<ControllerRevision>(client, meta);
    let found = api
        .get_opt(name(update))
        .await
        .map_err(objects::failed::<ControllerRevision>("get", meta))?;
    let ours = found.is_some_and(|f| {
        ownership::is_controlled_by(&f.metadata, uid(set.meta()))
            && template(&f) == template(update)
    });
    if ours {
        return Ok(());
    }
    objects::replace_status(client, &set.with_collision()).await?;
    Err(error)
}

/// Deletes revisions that nothing uses any more, beyond the history limit, oldest first.
pub(crate) async fn prune<K: Revised>(
    client: &Client,
    set: &K,
    owned: &[Arc<ControllerRevision>],
    pods: &[Arc<Pod>],
    used: &Revisions,
) -> Result<(), Error> {
    for old in surplus(set, owned, pods, used) {
        let exactly = objects::exactly(&old.metadata);
        objects::delete::<ControllerRevision>(client, &old.metadata, exactly).await?;
    }
    Ok(())
}

fn surplus<K: Revised>(
    set: &K,
    owned: &[Arc<ControllerRevision>],
    pods: &[Arc<Pod>],
    used: &Revisions,
) -> Vec<Arc<ControllerRevision>> {
    let marks: BTreeSet<&str> = pods.iter().filter_map(|p| mark_of(p)).collect();
    let live = |r: &ControllerRevision| {
        name(r) == name(&used.current)
            || name(r) == name(&used.update)
            || marks.contains(K::mark(r))
    };
    let mut history: Vec<_> = owned.iter().filter(|r| !live(r)).cloned().collect();
    history.sort_by_key(|r| r.revision);
    let limit = set.history_limit().unwrap_or(10);
    let surplus = history
        .len()
        .saturating_sub(usize::try_from(limit).unwrap_or(0));
    history.truncate(surplus);
    history
}

/// The revision a pod says it is of.
pub(crate) fn mark_of(pod: &Pod) -> Option<&str> {
    let labels = pod.metadata.labels.as_ref()?;
    labels.get(REVISION).map(String::as_str)
}
