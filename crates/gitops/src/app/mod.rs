//! Argo CD's `Application`: a directory at a revision, kept true in a namespace.
//!
//! Observe (commit, render, live copies), decide ([`plan`]), act ([`sync`]), report
//! ([`status`]). Changes of managed objects wake the application at once; a timer is only the
//! safety net. Waiting for a wave is not done by waiting: the reconcile ends and the next change
//! continues it.

mod objects;
pub(crate) mod plan;
mod status;
mod sync;

use crate::Error;
use crate::cluster::Cluster;
use crate::heads::Heads;
use crate::live::Live;
use crate::provenance::Provenance;
use crate::render::Renderer;
use kube::ResourceExt;
use parking_lot::Mutex;
use serde_json::Value as Json;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use towpath_kit::cache::{Cache, Key};
use towpath_kit::controller::Next;
use towpath_kit::kinds::{Application, ApplicationCondition, ApplicationStatus, OperationState};
use towpath_kit::traits::{SourceError, SourceTree};
use towpath_render::{Id, Object};
use towpath_stdx::Clock;

/// Annotation that asks for a fresh look (`normal`) or a fresh render (`hard`); removed when done.
const REFRESH: &str = "argocd.argoproj.io/refresh";
/// Annotation that asks for one sync of an application that does not sync by itself.
const SYNC: &str = "towpath.dev/sync";
const FINALIZER: &str = "resources-finalizer.argocd.argoproj.io";

/// Everything the application controller works with.
pub(crate) struct Apps {
    pub(crate) cluster: Cluster,
    pub(crate) live: Live,
    pub(crate) cache: Cache<Application>,
    pub(crate) heads: Heads,
    pub(crate) renderer: Renderer,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) resync: Duration,
    progress: Mutex<HashMap<Key, Progress>>,
}

/// What need not survive a restart: doing it again is harmless.
#[derive(Clone, Debug, Default)]
pub(crate) struct Progress {
    /// Operation that `applied` belongs to: revision and start.
    pub(crate) operation: String,
    /// Objects applied in it.
    pub(crate) applied: Vec<Id>,
    /// Dry run done.
    pub(crate) checked: bool,
    /// Tries that failed for reasons that may pass.
    pub(crate) failures: u32,
    /// Self-heals without a calm time between them, and when the last one was.
    pub(crate) heals: u32,
    pub(crate) healed_at: Option<u64>,
    /// Status as last written: the cache may lag behind it.
    pub(crate) written: Option<ApplicationStatus>,
}

impl Apps {
    pub(crate) fn new(
        cluster: Cluster,
        live: Live,
        cache: Cache<Application>,
        tree: Arc<dyn SourceTree>,
        heads: Heads,
        clock: Arc<dyn Clock>,
        resync: Duration,
    ) -> Self {
        let renderer = Renderer::new(tree);
        Self {
            cluster,
            live,
            cache,
            heads,
            renderer,
            clock,
            resync,
            progress: Mutex::default(),
        }
    }

    pub(crate) async fn reconcile(self: Arc<Self>, key: Key) -> Result<Next, Error> {
        let Some(app) = self.cache.get(&key) else {
            self.progress.lock().remove(&key);
            return Ok(Next::Wait);
        };
        if app.metadata.deletion_timestamp.is_some() {
            return self.delete(&key, &app).await;
        }
        if app.annotations().contains_key(REFRESH)
            && let Some(repository) = app.spec.source.repo_url.strip_prefix("towpath://")
        {
            self.heads.forget(repository.trim_end_matches('/'));
        }
        let mut progress = self.progress.lock().get(&key).cloned().unwrap_or_default();
        let status = progress.written.clone().or_else(|| app.status.clone());
        let mut view = match self.observe(&key, &app, status.as_ref()).await? {
            Ok(view) => view,
            Err((revision, conditions)) => {
                self.report_conditions(&app, revision, conditions, &mut progress)
                    .await?;
                self.progress.lock().insert(key, progress);
                self.clear_requests(&app).await?;
                return Ok(Next::After(self.resync));
            }
        };
        let mut comparison = self.compare(&key, &view).await;
        let now = self.clock.since_epoch().as_secs();
        if progress
            .healed_at
            .is_some_and(|at| now.saturating_sub(at) > plan::CALM_S)
        {
            progress.heals = 0;
        }
        let decision = plan::decide(&plan::Facts {
            spec: &app.spec,
            status: status.as_ref(),
            revision: &view.revision,
            comparison: &comparison,
            requested: app
                .metadata
                .annotations
                .as_ref()
                .is_some_and(|a| a.contains_key(SYNC)),
            heals: progress.heals,
            healed_at: progress.healed_at,
            now,
        });
        let mut operation = status.as_ref().and_then(|s| s.operation_state.clone());
        let mut wait = self.resync;
        match decision {
            plan::Decision::Nothing => {}
            plan::Decision::HealAfter(delay) => wait = delay,
            plan::Decision::Heal => {
                progress.heals += 1;
                progress.healed_at = Some(now);
                self.heal(&key, &view, &comparison).await?;
                comparison = self.compare(&key, &view).await;
            }
            plan::Decision::Sync { fresh } => {
                let state = match operation.take().filter(|_| !fresh) {
                    Some(state) => state,
                    None => OperationState {
                        phase: "Running".into(),
                        revision: view.revision.clone(),
                        started_at: self.clock.rfc3339(),
                        ..OperationState::default()
                    },
                };
                let step = self.step(&key, &app, &mut view, state, &mut progress).await;
                comparison = self.compare(&key, &view).await;
                if step.phase == "Running" {
                    wait = sync::retry_delay(progress.failures);
                }
                operation = Some(step);
            }
        }
        let written = self
            .report(&app, &view, &comparison, operation, &mut progress)
            .await;
        self.progress.lock().insert(key.clone(), progress);
        written?;
        self.clear_requests(&app).await?;
        Ok(Next::After(wait))
    }

    // Everything decisions need, or the conditions that say why it cannot be had.
    async fn observe(
        &self,
        key: &Key,
        app: &Application,
        status: Option<&ApplicationStatus>,
    ) -> Result<Result<View, Blocked>, Error> {
        let invalid = |type_: &str, message: String| {
            (
                None,
                vec![ApplicationCondition {
                    type_: type_.into(),
                    message,
                    last_transition_time: None,
                }],
            )
        };
        let destination = &app.spec.destination;
        let here = matches!(
            destination.server.as_str(),
            "" | "https://kubernetes.default.svc"
        ) && matches!(destination.name.as_str(), "" | "in-cluster");
        if !here {
            let message = format!(
                "cluster {}{} is not known; only in-cluster is",
                destination.server, destination.name
            );
            return Ok(Err(invalid("InvalidSpecError", message)));
        }
        let source = &app.spec.source;
        let Some(repository) = source
            .repo_url
            .strip_prefix("towpath://")
            .map(|r| r.trim_end_matches('/'))
        else {
            let message = format!(
                "source {} is not hosted here; use towpath://<namespace>/<repository>",
                source.repo_url
            );
            return Ok(Err(invalid("InvalidSpecError", message)));
        };
        let revision = match source.target_revision.as_str() {
            "" => "HEAD",
            revision => revision,
        };
        let found = self.heads.resolve(repository, revision).await;
        let found = found.map_err(Error::source(format!("resolve {revision} of {repository}")))?;
        let known = status.is_some_and(|s| !s.sync.revision.is_empty());
        let commit = match found {
            Some(commit) => commit,
            // What was there before and is not now is looked for again before it is believed.
            None if known => {
                self.heads.forget(repository);
                let what = format!("resolve {revision} of {repository}");
                return Err(Error::source(what)(SourceError::NotFound(revision.into())));
            }
            None => {
                let sentence = format!("{revision} not found: nothing has been deployed yet");
                return Ok(Err(invalid("ComparisonError", sentence)));
            }
        };
        let outcome = self
            .renderer
            .render(repository, &commit.sha, &source.path)
            .await?;
        let rendered = match outcome.as_ref() {
            Ok(rendered) => rendered,
            Err(findings) => {
                let words: Vec<String> = findings.iter().map(ToString::to_string).collect();
                let (_, conditions) = invalid("ComparisonError", words.join("; "));
                return Ok(Err((Some(commit.sha), conditions)));
            }
        };
        let provenance = Provenance::of(app, repository, &commit);
        let (objects, unknown) = self
            .prepare(key, app, provenance.as_ref(), rendered.objects())
            .await?;
        self.watch_known(status).await?;
        let warnings = rendered
            .warnings
            .iter()
            .map(|finding| ApplicationCondition {
                type_: "RepeatedResourceWarning".into(),
                message: finding.to_string(),
                last_transition_time: None,
            });
        Ok(Ok(View {
            revision: commit.sha,
            objects,
            unknown,
            warnings: warnings.collect(),
        }))
    }

    // Kinds that were managed before: what is left of them may have to be pruned.
    async fn watch_known(&self, status: Option<&ApplicationStatus>) -> Result<(), Error> {
        let mut kinds: Vec<Id> = Vec::new();
        for resource in status.map(|s| s.resources.as_slice()).unwrap_or_default() {
            if !kinds
                .iter()
                .any(|k| k.group == resource.group && k.kind == resource.kind)
            {
                let (group, version, kind) = (
                    resource.group.clone(),
                    resource.version.clone(),
                    resource.kind.clone(),
                );
                kinds.push(Id {
                    group,
                    version,
                    kind,
                    ..Id::default()
                });
            }
        }
        for id in kinds {
            match self.cluster.kind(&id).await {
                Ok(kind) => self.live.watch(&self.cluster, &kind).await?,
                // Gone with its definition.
                Err(Error::UnknownKind { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    async fn compare(&self, key: &Key, view: &View) -> plan::Comparison {
        let live: Vec<Option<Arc<Json>>> =
            view.objects.iter().map(|o| self.live.get(&o.id)).collect();
        let owned = self.live.owned_by(key);
        let mut comparison = plan::compare(&view.objects, &live, &owned, &self.ignores(key));
        // What looks different may only be written differently: the server knows.
        for at in comparison.suspects() {
            let Some(object) = view.objects.get(at) else {
                continue;
            };
            let Some(live) = live.get(at).cloned().flatten() else {
                continue;
            };
            if let Ok(predicted) = self.cluster.apply(&object.id, &object.manifest, true).await {
                comparison.settle(at, &predicted, &live);
            }
        }
        comparison
    }

    fn ignores(&self, key: &Key) -> Vec<towpath_kit::kinds::IgnoreDifference> {
        self.cache
            .get(key)
            .map(|app| app.spec.ignore_differences.clone())
            .unwrap_or_default()
    }

    // Deleting an application with the finalizer deletes what it made; without, leaves it.
    async fn delete(&self, key: &Key, app: &Application) -> Result<Next, Error> {
        let mut finalizers = app.metadata.finalizers.clone().unwrap_or_default();
        if !finalizers.iter().any(|f| f == FINALIZER) {
            return Ok(Next::Wait);
        }
        self.watch_known(app.status.as_ref()).await?;
        let left = self.live.owned_by(key);
        for object in &left {
            let uid = object.pointer("/metadata/uid").and_then(Json::as_str);
            self.cluster.delete(&Id::of(object), uid).await?;
        }
        if !left.is_empty() {
            return Ok(Next::After(Duration::from_secs(2)));
        }
        finalizers.retain(|f| f != FINALIZER);
        self.patch(
            app,
            serde_json::json!({"metadata": {"finalizers": finalizers}}),
            false,
        )
        .await?;
        Ok(Next::Wait)
    }
}

/// Why nothing can be compared, and the commit it is about where that is known.
type Blocked = (Option<String>, Vec<ApplicationCondition>);

/// What is wanted, ready to be compared and applied.
pub(crate) struct View {
    /// Commit.
    pub(crate) revision: String,
    /// Namespaced and tracked.
    pub(crate) objects: Vec<Object>,
    /// Indices of objects whose kind the cluster does not know (yet).
    pub(crate) unknown: Vec<usize>,
    pub(crate) warnings: Vec<ApplicationCondition>,
}
