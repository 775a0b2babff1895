//! Doing it: the set is checked whole, then applied wave by wave, then pruned.

use super::plan::{self, Comparison};
use super::{Apps, Progress, View};
use crate::Error;
use crate::cluster::Cluster;
use futures::StreamExt;
use serde_json::Value as Json;
use std::time::Duration;
use towpath_kit::cache::Key;
use towpath_kit::kinds::{Application, OperationState};
use towpath_render::health::{Status, assess};
use towpath_render::{Object, order};

const PARALLEL: usize = 8;
const MAX_FAILURES: u32 = 8;

/// When a running operation is looked at again, should no change come.
pub(super) fn retry_delay(failures: u32) -> Duration {
    match failures {
        0 => Duration::from_secs(5),
        n => Duration::from_secs(5u64.saturating_mul(2u64.saturating_pow(n - 1)).min(180)),
    }
}

enum Step {
    Done,
    /// Still waiting for what the sentence names.
    Waiting(String),
}

impl Apps {
    /// Takes an operation as far as it gets now.
    pub(super) async fn step(
        &self,
        key: &Key,
        app: &Application,
        view: &mut View,
        mut state: OperationState,
        progress: &mut Progress,
    ) -> OperationState {
        let name = format!("{} {}", state.revision, state.started_at);
        if progress.operation != name {
            *progress = Progress {
                operation: name,
                written: progress.written.take(),
                ..Progress::default()
            };
        }
        match self.advance(key, app, view, progress).await {
            Ok(Step::Done) => {
                state.phase = "Succeeded".into();
                state.message = "successfully synced (all tasks run)".into();
            }
            Ok(Step::Waiting(sentence)) => {
                progress.failures = 0;
                state.message = sentence;
            }
            Err(error) => {
                let sentence = error.sentence();
                progress.failures += 1;
                if error.is_definite() || progress.failures > MAX_FAILURES {
                    state.phase = "Failed".into();
                    state.message = sentence;
                } else {
                    state.message = format!("{sentence}; trying again");
                }
            }
        }
        if state.phase != "Running" {
            state.finished_at = Some(self.clock.rfc3339());
        }
        state
    }

    async fn advance(
        &self,
        key: &Key,
        app: &Application,
        view: &mut View,
        progress: &mut Progress,
    ) -> Result<Step, Error> {
        let policy = app.spec.sync_policy.clone().unwrap_or_default();
        let has = |option: &str| policy.sync_options.iter().any(|o| o == option);
        let namespace = &app.spec.destination.namespace;
        if has("CreateNamespace=true") && !namespace.is_empty() {
            self.cluster.ensure_namespace(namespace).await?;
        }
        if !progress.checked {
            check(&self.cluster, view).await?;
            progress.checked = true;
        }
        let turns = order::turns(&view.objects);
        let mut groups: Vec<&[order::Turn]> = turns
            .chunk_by(|l, r| (l.phase, l.wave) == (r.phase, r.wave))
            .collect();
        groups.retain(|group| group.iter().all(|t| t.phase != order::Phase::SyncFail));
        let several = groups.len() > 1;
        for group in groups {
            for turn in group {
                let object = &view.objects[turn.object];
                if !progress.applied.contains(&object.id) {
                    self.apply_one(object, turn.hook).await?;
                    progress.applied.push(object.id.clone());
                }
            }
            if several && let Some(sentence) = self.unfinished(view, group).await? {
                return Ok(Step::Waiting(sentence));
            }
        }
        let automated = policy.automated.unwrap_or_default();
        if automated.prune {
            let comparison = self.compare(key, view).await;
            self.prune(view, &comparison, automated.allow_empty).await?;
        }
        Ok(Step::Done)
    }

    async fn apply_one(&self, object: &Object, hook: bool) -> Result<(), Error> {
        if hook {
            // A hook runs anew each time.
            if let Some(old) = self.cluster.get(&object.id).await? {
                let uid = old.pointer("/metadata/uid").and_then(Json::as_str);
                self.cluster.delete(&object.id, uid).await?;
            }
        }
        let applied = self
            .cluster
            .apply(&object.id, &object.manifest, false)
            .await;
        let live = match applied {
            // Some fields cannot change; the object may say that it would rather be replaced.
            Err(error) if error.is_definite() && replaceable(&object.manifest) => {
                self.cluster.delete(&object.id, None).await?;
                self.cluster
                    .apply(&object.id, &object.manifest, false)
                    .await?
            }
            other => other?,
        };
        self.live.note(&live);
        Ok(())
    }

    // What of a group is not healthy yet; an error where it never will be.
    async fn unfinished(
        &self,
        view: &View,
        group: &[order::Turn],
    ) -> Result<Option<String>, Error> {
        let mut waiting = Vec::new();
        for turn in group {
            let object = &view.objects[turn.object];
            let live = match self.live.get(&object.id) {
                Some(live) => Some(live.as_ref().clone()),
                None => self.cluster.get(&object.id).await?,
            };
            let Some(live) = live else {
                waiting.push(format!("{} is not there yet", object.id));
                continue;
            };
            let Some(health) = assess(&live) else {
                continue;
            };
            match health.status {
                Status::Healthy | Status::Suspended => {}
                // A claim may wait for a pod of a later wave.
                Status::Progressing if object.id.kind == "PersistentVolumeClaim" => {}
                _ => waiting.push(format!("{}: {}", object.id, health.message)),
            }
        }
        Ok((!waiting.is_empty()).then(|| format!("waiting for {}", waiting.join("; "))))
    }

    /// Applies what drifted and deletes what is surplus.
    pub(super) async fn heal(
        &self,
        key: &Key,
        view: &View,
        comparison: &Comparison,
    ) -> Result<(), Error> {
        for at in comparison.drifted() {
            let object = &view.objects[at];
            let fields: Vec<&str> = comparison
                .entries
                .iter()
                .filter(|e| e.wanted == Some(at))
                .flat_map(|e| e.differences.iter().map(|d| d.path.as_str()))
                .take(5)
                .collect();
            tracing::info!(app = %key, object = %object.id, ?fields, "undoing a manual change");
            self.apply_one(object, false).await?;
        }
        let app = self.cache.get(key);
        let automated = app
            .and_then(|app| app.spec.sync_policy.as_ref()?.automated.clone())
            .unwrap_or_default();
        if automated.prune {
            self.prune(view, comparison, automated.allow_empty).await?;
        }
        Ok(())
    }

    async fn prune(
        &self,
        view: &View,
        comparison: &Comparison,
        allow_empty: bool,
    ) -> Result<(), Error> {
        if view.objects.is_empty() && !allow_empty {
            return Ok(());
        }
        let surplus = comparison.surplus();
        let as_objects: Vec<Object> = surplus
            .iter()
            .map(|e| Object {
                id: e.id.clone(),
                manifest: Json::Null,
                file: String::new(),
            })
            .collect();
        for turn in order::turns(&as_objects).iter().rev() {
            let entry = surplus[turn.object];
            tracing::info!(object = %entry.id, "pruning what the source no longer has");
            self.cluster
                .delete(
                    &entry.id,
                    Some(&entry.uid)
                        .filter(|u| !u.is_empty())
                        .map(String::as_str),
                )
                .await?;
        }
        Ok(())
    }
}

fn replaceable(manifest: &Json) -> bool {
    ["Replace=true", "Force=true"]
        .iter()
        .any(|option| plan::option(manifest, option))
}

// The server's word on every object before any is written. Kinds and namespaces that the set
// itself brings cannot be asked about yet.
async fn check(cluster: &Cluster, view: &View) -> Result<(), Error> {
    let defined: Vec<String> = view
        .objects
        .iter()
        .filter(|o| o.id.kind == "CustomResourceDefinition")
        .filter_map(|o| {
            o.manifest
                .pointer("/spec/names/kind")
                .and_then(Json::as_str)
                .map(str::to_string)
        })
        .collect();
    let namespaces: Vec<&str> = view
        .objects
        .iter()
        .filter(|o| o.id.kind == "Namespace")
        .map(|o| o.id.name.as_str())
        .collect();
    let mut asked = Vec::new();
    for (at, object) in view.objects.iter().enumerate() {
        if view.unknown.contains(&at) {
            if !defined.contains(&object.id.kind) {
                return Err(Error::UnknownKind {
                    api_version: object.id.api_version(),
                    kind: object.id.kind.clone(),
                });
            }
        } else if !namespaces.contains(&object.id.namespace.as_str()) {
            asked.push(object);
        }
    }
    let calls: Vec<_> = asked
        .into_iter()
        .map(|object| {
            let (cluster, id, manifest) =
                (cluster.clone(), object.id.clone(), object.manifest.clone());
            async move { cluster.apply(&id, &manifest, true).await }
        })
        .collect();
    let mut calls = futures::stream::iter(calls).buffered(PARALLEL);
    while let Some(result) = calls.next().await {
        result.map(drop)?;
    }
    Ok(())
}
