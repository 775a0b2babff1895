//! Pure decisions of the application controller: what differs, how healthy it is, what to do.

use serde_json::Value as Json;
use std::sync::Arc;
use std::time::Duration;
use towpath_kit::kinds::{
    ApplicationSpec, ApplicationStatus, HealthStatus, IgnoreDifference, ResourceStatus,
};
use towpath_render::diff::{self, Difference, Ignores};
use towpath_render::{Id, Object, health, order};

/// One object, wanted or only live.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) id: Id,
    /// Index into the wanted objects; `None` = to be pruned.
    pub(crate) wanted: Option<usize>,
    pub(crate) live: bool,
    pub(crate) differences: Vec<Difference>,
    pub(crate) health: Option<health::Health>,
    pub(crate) ignores: Ignores,
    pub(crate) uid: String,
    /// It says of itself that it is not to be pruned.
    pub(crate) keep: bool,
    /// It is being deleted, and still there.
    pub(crate) leaving: bool,
}

impl Entry {
    pub(crate) fn synced(&self) -> bool {
        self.wanted.is_some() && self.live && self.differences.is_empty()
    }
}

/// Wanted against live.
#[derive(Clone, Debug, Default)]
pub(crate) struct Comparison {
    pub(crate) entries: Vec<Entry>,
}

/// Compares every wanted object with its live one, and finds what is no longer wanted. Hooks are
/// no part of it.
pub(crate) fn compare(
    wanted: &[Object],
    live: &[Option<Arc<Json>>],
    owned: &[Arc<Json>],
    ignored: &[IgnoreDifference],
) -> Comparison {
    let mut entries = Vec::with_capacity(wanted.len());
    for (at, object) in wanted.iter().enumerate() {
        if object.annotation(order::HOOK).is_some() {
            continue;
        }
        let ignores = ignores_for(object, wanted, ignored);
        let found = live.get(at).and_then(Option::as_deref);
        let differences = found
            .map(|live| diff::three_way(&object.manifest, None, live, &ignores))
            .unwrap_or_default();
        let health = match found {
            Some(live) => health::assess(live),
            None => Some(health::Health {
                status: health::Status::Missing,
                message: "it is not there".into(),
            }),
        };
        entries.push(Entry {
            id: object.id.clone(),
            wanted: Some(at),
            live: found.is_some(),
            differences,
            health,
            ignores,
            uid: String::new(),
            keep: false,
            leaving: false,
        });
    }
    for object in owned {
        let id = Id::of(object);
        if wanted.iter().any(|w| w.id.same_object(&id)) {
            continue;
        }
        let option = |name: &str| option(object, name);
        entries.push(Entry {
            id,
            wanted: None,
            live: true,
            differences: Vec::new(),
            health: health::assess(object),
            ignores: Ignores::default(),
            uid: object
                .pointer("/metadata/uid")
                .and_then(Json::as_str)
                .unwrap_or_default()
                .into(),
            keep: option("Prune=false"),
            leaving: object.pointer("/metadata/deletionTimestamp").is_some(),
        });
    }
    Comparison { entries }
}

/// Whether an object carries a sync option.
pub(crate) fn option(object: &Json, name: &str) -> bool {
    let options = object
        .pointer("/metadata/annotations/argocd.argoproj.io~1sync-options")
        .and_then(Json::as_str);
    options.is_some_and(|options| options.split(',').any(|option| option.trim() == name))
}

/// Whether an autoscaler of the same set owns the object's replicas.
pub(crate) fn is_scaled(object: &Object, wanted: &[Object]) -> bool {
    wanted.iter().any(|other| {
        other.id.kind == "HorizontalPodAutoscaler"
            && other.id.namespace == object.id.namespace
            && other
                .manifest
                .pointer("/spec/scaleTargetRef/kind")
                .and_then(Json::as_str)
                == Some(&object.id.kind)
            && other
                .manifest
                .pointer("/spec/scaleTargetRef/name")
                .and_then(Json::as_str)
                == Some(&object.id.name)
    })
}

// What the application says, and replicas that an autoscaler owns.
fn ignores_for(object: &Object, wanted: &[Object], ignored: &[IgnoreDifference]) -> Ignores {
    let fits = |i: &&IgnoreDifference| {
        (i.kind.is_empty() || i.kind == "*" || i.kind == object.id.kind)
            && (i.group == "*" || i.group == object.id.group)
            && (i.name.is_empty() || i.name == object.id.name)
    };
    let mut pointers: Vec<String> = ignored
        .iter()
        .filter(fits)
        .flat_map(|i| i.json_pointers.clone())
        .collect();
    let scaled = is_scaled(object, wanted);
    if scaled {
        pointers.push("/spec/replicas".into());
    }
    // The API server writes these itself.
    pointers.extend(
        [
            "/metadata/generation",
            "/metadata/resourceVersion",
            "/metadata/uid",
        ]
        .map(String::from),
    );
    Ignores { pointers }
}

impl Comparison {
    /// Wanted objects that look different from their live ones.
    pub(crate) fn suspects(&self) -> Vec<usize> {
        self.entries
            .iter()
            .filter(|e| e.live && !e.differences.is_empty())
            .filter_map(|e| e.wanted)
            .collect()
    }

    /// Takes the server's word for it: what it would make of the wanted object.
    pub(crate) fn settle(&mut self, wanted: usize, predicted: &Json, live: &Json) {
        if let Some(entry) = self.entries.iter_mut().find(|e| e.wanted == Some(wanted)) {
            entry.differences = diff::predicted(predicted, live, &entry.ignores);
        }
    }

    /// Whether the cluster is as the source says. What is only marked as deleted is still there:
    /// its dependents or a finalizer may hold it for long.
    pub(crate) fn synced(&self) -> bool {
        self.entries
            .iter()
            .all(|e| e.synced() || (e.wanted.is_none() && e.keep))
    }

    /// Wanted objects that must be applied to heal drift.
    pub(crate) fn drifted(&self) -> Vec<usize> {
        self.entries
            .iter()
            .filter(|e| !e.synced())
            .filter_map(|e| e.wanted)
            .collect()
    }

    /// Live objects to delete.
    pub(crate) fn surplus(&self) -> Vec<&Entry> {
        self.entries
            .iter()
            .filter(|e| e.wanted.is_none() && !e.keep && !e.leaving)
            .collect()
    }

    /// Worst health, and the first object that has it.
    pub(crate) fn health(&self) -> HealthStatus {
        let wanted = self.entries.iter().filter(|e| e.wanted.is_some());
        let worst = wanted
            .filter_map(|e| e.health.as_ref().map(|h| (h, &e.id)))
            .max_by_key(|(h, _)| (h.status, 0));
        match worst {
            Some((worst, _)) if worst.status == health::Status::Healthy => healthy(),
            Some((worst, _)) => {
                let words: Vec<String> = self
                    .entries
                    .iter()
                    .filter(|e| e.wanted.is_some())
                    .filter_map(|e| {
                        e.health
                            .as_ref()
                            .filter(|h| h.status == worst.status)
                            .map(|h| format!("{}: {}", e.id, h.message))
                    })
                    .take(3)
                    .collect();
                HealthStatus {
                    status: worst.status.as_str().into(),
                    message: words.join("; "),
                }
            }
            None => healthy(),
        }
    }

    /// Status per object, in the order of the source.
    pub(crate) fn resources(&self) -> Vec<ResourceStatus> {
        self.entries
            .iter()
            .map(|e| ResourceStatus {
                group: e.id.group.clone(),
                version: e.id.version.clone(),
                kind: e.id.kind.clone(),
                namespace: e.id.namespace.clone(),
                name: e.id.name.clone(),
                status: if e.synced() { "Synced" } else { "OutOfSync" }.into(),
                health: e.health.as_ref().map(|h| HealthStatus {
                    status: h.status.as_str().into(),
                    message: h.message.clone(),
                }),
                requires_pruning: e.wanted.is_none(),
            })
            .collect()
    }
}

fn healthy() -> HealthStatus {
    HealthStatus {
        status: "Healthy".into(),
        message: String::new(),
    }
}

/// What decisions are made from.
pub(crate) struct Facts<'a> {
    pub(crate) spec: &'a ApplicationSpec,
    pub(crate) status: Option<&'a ApplicationStatus>,
    pub(crate) revision: &'a str,
    pub(crate) comparison: &'a Comparison,
    pub(crate) requested: bool,
    pub(crate) heals: u32,
    pub(crate) healed_at: Option<u64>,
    pub(crate) now: u64,
}

/// What to do next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Decision {
    Nothing,
    /// Start (`fresh`) or continue an operation.
    Sync {
        fresh: bool,
    },
    /// Apply what drifted.
    Heal,
    /// The same, later: it has drifted again and again.
    HealAfter(Duration),
}

/// Decides. A revision is synced automatically once; what changes afterwards is drift.
pub(crate) fn decide(facts: &Facts<'_>) -> Decision {
    let operation = facts.status.and_then(|s| s.operation_state.as_ref());
    if let Some(running) = operation.filter(|o| o.phase == "Running") {
        // A new commit ends the wait for an old one.
        return Decision::Sync {
            fresh: running.revision != facts.revision,
        };
    }
    if facts.requested {
        return Decision::Sync { fresh: true };
    }
    let Some(automated) = facts
        .spec
        .sync_policy
        .as_ref()
        .and_then(|p| p.automated.as_ref())
    else {
        return Decision::Nothing;
    };
    let Some(last) = operation.filter(|o| o.revision == facts.revision) else {
        return Decision::Sync { fresh: true };
    };
    let surplus = !facts.comparison.surplus().is_empty() && automated.prune;
    let drifted = !facts.comparison.drifted().is_empty() || surplus;
    if last.phase != "Succeeded" || !automated.self_heal || !drifted {
        return Decision::Nothing;
    }
    // First at once; then 2 s, 6 s, 18 s, … up to 5 minutes, until there was calm.
    let Some(healed_at) = facts.healed_at.filter(|_| facts.heals > 0) else {
        return Decision::Heal;
    };
    let calm = facts.now.saturating_sub(healed_at);
    let pause = if facts.heals < 3 {
        0
    } else {
        2u64.saturating_mul(3u64.saturating_pow(facts.heals - 3))
            .min(300)
    };
    if calm >= pause {
        Decision::Heal
    } else {
        Decision::HealAfter(Duration::from_secs(pause - calm))
    }
}

/// After this many quiet seconds earlier self-heals are forgotten.
pub(crate) const CALM_S: u64 = 60;

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use towpath_kit::kinds::{Automated, OperationState, SyncPolicy};

    fn object(kind: &str, name: &str, spec: Json) -> Object {
        let manifest = json!({"apiVersion": "apps/v1", "kind": kind, "metadata": {"name": name, "namespace": "x"}, "spec": spec});
        Object {
            id: Id::of(&manifest),
            manifest,
            file: String::new(),
        }
    }

    fn facts<'a>(
        spec: &'a ApplicationSpec,
        status: Option<&'a ApplicationStatus>,
        comparison: &'a Comparison,
    ) -> Facts<'a> {
        Facts {
            spec,
            status,
            revision: "r1",
            comparison,
            requested: false,
            heals: 0,
            healed_at: None,
            now: 100,
        }
    }

    fn automated() -> ApplicationSpec {
        let automated = Automated {
            prune: true,
            self_heal: true,
            allow_empty: false,
        };
        ApplicationSpec {
            sync_policy: Some(SyncPolicy {
                automated: Some(automated),
                sync_options: Vec::new(),
            }),
            ..ApplicationSpec::default()
        }
    }

    fn after(phase: &str, revision: &str) -> ApplicationStatus {
        let state = OperationState {
            phase: phase.into(),
            revision: revision.into(),
            ..OperationState::default()
        };
        ApplicationStatus {
            operation_state: Some(state),
            ..ApplicationStatus::default()
        }
    }

    #[test]
    fn a_revision_is_synced_once_and_then_healed() {
        let spec = automated();
        let wanted = [object("Deployment", "a", json!({"replicas": 1}))];
        let same = Some(Arc::new(wanted[0].manifest.clone()));
        let synced = compare(&wanted, &[same], &[], &[]);
        let drifted = compare(
            &wanted,
            &[Some(Arc::new(
                object("Deployment", "a", json!({"replicas": 2})).manifest,
            ))],
            &[],
            &[],
        );
        assert_eq!(
            decide(&facts(&spec, None, &synced)),
            Decision::Sync { fresh: true }
        );
        let done = after("Succeeded", "r1");
        assert_eq!(
            decide(&facts(&spec, Some(&done), &synced)),
            Decision::Nothing
        );
        assert_eq!(decide(&facts(&spec, Some(&done), &drifted)), Decision::Heal);
        let old = after("Succeeded", "r0");
        assert_eq!(
            decide(&facts(&spec, Some(&old), &synced)),
            Decision::Sync { fresh: true }
        );
        let running = after("Running", "r0");
        assert_eq!(
            decide(&facts(&spec, Some(&running), &synced)),
            Decision::Sync { fresh: true }
        );
        let failed = after("Failed", "r1");
        assert_eq!(
            decide(&facts(&spec, Some(&failed), &drifted)),
            Decision::Nothing
        );
        let manual = ApplicationSpec::default();
        assert_eq!(decide(&facts(&manual, None, &drifted)), Decision::Nothing);
    }

    #[test]
    fn healing_again_and_again_slows_down() {
        let spec = automated();
        let wanted = [object("Deployment", "a", json!({"replicas": 1}))];
        let drifted = compare(&wanted, &[None], &[], &[]);
        let done = after("Succeeded", "r1");
        let mut facts = facts(&spec, Some(&done), &drifted);
        (facts.heals, facts.healed_at) = (4, Some(99));
        assert_eq!(decide(&facts), Decision::HealAfter(Duration::from_secs(5)));
        facts.healed_at = Some(90);
        assert_eq!(decide(&facts), Decision::Heal);
    }

    #[test]
    fn an_autoscaler_owns_replicas() {
        let wanted = [
            object("Deployment", "a", json!({"replicas": 1})),
            object(
                "HorizontalPodAutoscaler",
                "a",
                json!({"scaleTargetRef": {"kind": "Deployment", "name": "a"}}),
            ),
        ];
        let live = [
            Some(Arc::new(
                object("Deployment", "a", json!({"replicas": 4})).manifest,
            )),
            Some(Arc::new(wanted[1].manifest.clone())),
        ];
        assert!(compare(&wanted, &live, &[], &[]).synced());
    }

    #[test]
    fn what_is_no_longer_wanted_is_surplus_unless_it_says_otherwise() {
        let gone = object("Deployment", "old", json!({})).manifest;
        let mut kept = object("Deployment", "kept", json!({})).manifest;
        kept["metadata"]["annotations"] = json!({"argocd.argoproj.io/sync-options": "Prune=false"});
        let comparison = compare(&[], &[], &[Arc::new(gone), Arc::new(kept.clone())], &[]);
        let names: Vec<&str> = comparison
            .surplus()
            .iter()
            .map(|e| e.id.name.as_str())
            .collect();
        assert_eq!(names, ["old"]);
        assert!(!comparison.synced());
        assert!(compare(&[], &[], &[Arc::new(kept)], &[]).synced());
    }

    #[test]
    fn what_is_being_deleted_is_not_deleted_again_and_still_there() {
        let mut leaving = object("Deployment", "old", json!({})).manifest;
        leaving["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
        let comparison = compare(&[], &[], &[Arc::new(leaving)], &[]);
        assert!(comparison.surplus().is_empty());
        assert!(!comparison.synced());
    }
}
