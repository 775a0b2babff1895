//! In which order objects are applied: phase, wave, kind, name; in reverse for deletion.
//!
//! Two repairs come after the sort: a namespace moves before its first user, a definition of a
//! kind before the first object of that kind, each taking that user's phase and wave.

use crate::object::Object;
use serde_json::Value as Json;

/// When, relative to the rest of a sync.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// Hooks before anything else.
    PreSync,
    /// Everything that is no hook, and hooks among it.
    #[default]
    Sync,
    /// Hooks after everything is healthy.
    PostSync,
    /// Hooks after a failure.
    SyncFail,
}

/// One object's turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Turn {
    /// Index of the object.
    pub object: usize,
    /// Phase.
    pub phase: Phase,
    /// Wave within the phase.
    pub wave: i64,
    /// Runs once per sync and is not part of the application.
    pub hook: bool,
}

/// Annotation that puts an object into a wave.
pub const WAVE: &str = "argocd.argoproj.io/sync-wave";
/// Annotation that makes an object a hook.
pub const HOOK: &str = "argocd.argoproj.io/hook";

const KINDS: &[&str] = &[
    "Namespace",
    "NetworkPolicy",
    "ResourceQuota",
    "LimitRange",
    "PodSecurityPolicy",
    "PodDisruptionBudget",
    "ServiceAccount",
    "Secret",
    "SecretList",
    "ConfigMap",
    "StorageClass",
    "PersistentVolume",
    "PersistentVolumeClaim",
    "CustomResourceDefinition",
    "ClusterRole",
    "ClusterRoleList",
    "ClusterRoleBinding",
    "ClusterRoleBindingList",
    "Role",
    "RoleList",
    "RoleBinding",
    "RoleBindingList",
    "Service",
    "DaemonSet",
    "Pod",
    "ReplicationController",
    "ReplicaSet",
    "Deployment",
    "HorizontalPodAutoscaler",
    "StatefulSet",
    "Job",
    "CronJob",
    "IngressClass",
    "Ingress",
    "APIService",
];

/// All objects in their order; those that say `hook: Skip` are left out.
pub fn turns(objects: &[Object]) -> Vec<Turn> {
    let mut turns: Vec<Turn> = objects
        .iter()
        .enumerate()
        .filter_map(|(at, object)| turn(at, object))
        .collect();
    let rank = |kind: &str| KINDS.iter().position(|k| *k == kind).unwrap_or(KINDS.len());
    turns.sort_by_cached_key(|t| {
        let id = &objects[t.object].id;
        (
            t.phase,
            t.wave,
            rank(&id.kind),
            id.group.clone(),
            id.kind.clone(),
            id.namespace.clone(),
            id.name.clone(),
        )
    });
    repair(objects, &mut turns);
    turns
}

fn turn(at: usize, object: &Object) -> Option<Turn> {
    let wave = object
        .annotation(WAVE)
        .and_then(|w| w.trim().parse().ok())
        .unwrap_or(0);
    let hook = object.annotation(HOOK);
    let phase = match hook
        .and_then(|hooks| hooks.split(',').next())
        .map(str::trim)
    {
        None | Some("Sync") => Phase::Sync,
        Some("PreSync") => Phase::PreSync,
        Some("PostSync") => Phase::PostSync,
        Some("SyncFail") => Phase::SyncFail,
        // PreDelete, PostDelete and Skip have no turn in a sync.
        Some(_) => return None,
    };
    Some(Turn {
        object: at,
        phase,
        wave,
        hook: hook.is_some(),
    })
}

fn repair(objects: &[Object], turns: &mut Vec<Turn>) {
    for provider in 0..turns.len() {
        let id = &objects[turns[provider].object].id;
        let needs: Box<dyn Fn(&Object) -> bool> = match id.kind.as_str() {
            "Namespace" => {
                let name = id.name.clone();
                Box::new(move |o| o.id.namespace == name)
            }
            "CustomResourceDefinition" => {
                let text = |pointer: &str| {
                    let manifest = &objects[turns[provider].object].manifest;
                    manifest
                        .pointer(pointer)
                        .and_then(Json::as_str)
                        .unwrap_or_default()
                        .to_string()
                };
                let (group, kind) = (text("/spec/group"), text("/spec/names/kind"));
                Box::new(move |o| o.id.group == group && o.id.kind == kind)
            }
            _ => continue,
        };
        if let Some(user) = turns[..provider]
            .iter()
            .position(|t| needs(&objects[t.object]))
        {
            let mut moved = turns.remove(provider);
            (moved.phase, moved.wave) = (turns[user].phase, turns[user].wave);
            turns.insert(user, moved);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::object::Id;
    use serde_json::json;

    fn object(kind: &str, name: &str, namespace: &str, annotations: Json) -> Object {
        let manifest = json!({"apiVersion": "v1", "kind": kind, "metadata": {"name": name, "namespace": namespace, "annotations": annotations}});
        Object {
            id: Id::of(&manifest),
            manifest,
            file: String::new(),
        }
    }

    #[test]
    fn phase_wave_kind_name_and_the_repair() {
        let objects = [
            object("Deployment", "b", "x", json!({})),
            object("ConfigMap", "late", "x", json!({WAVE: "5"})),
            object("Secret", "a", "x", json!({})),
            object("Job", "migrate", "x", json!({HOOK: "PreSync"})),
            object("Namespace", "x", "", json!({})),
            object("Job", "skipped", "x", json!({HOOK: "Skip"})),
        ];
        let names: Vec<&str> = turns(&objects)
            .iter()
            .map(|t| objects[t.object].id.name.as_str())
            .collect();
        assert_eq!(names, ["x", "migrate", "a", "b", "late"]);
    }
}
