//! What people and other parts read: Argo CD's status shape.

use super::plan::Comparison;
use super::{Apps, Progress, REFRESH, SYNC, View};
use crate::Error;
use crate::cluster::within;
use kube::api::{Api, Patch, PatchParams};
use serde_json::{Value as Json, json};
use towpath_kit::kinds::{
    Application, ApplicationCondition, ApplicationStatus, HealthStatus, OperationState, SyncStatus,
};

impl Apps {
    /// Writes the status where it changed.
    pub(super) async fn report(
        &self,
        app: &Application,
        view: &View,
        comparison: &Comparison,
        operation: Option<OperationState>,
        progress: &mut Progress,
    ) -> Result<(), Error> {
        let mut conditions = view.warnings.clone();
        if let Some(failed) = operation.as_ref().filter(|o| o.phase == "Failed") {
            conditions.push(ApplicationCondition {
                type_: "SyncError".into(),
                message: failed.message.clone(),
                last_transition_time: None,
            });
        }
        // Objects of a commit that is still being applied say nothing about that commit.
        let settled = operation
            .as_ref()
            .is_none_or(|o| o.phase != "Running" && o.revision == view.revision);
        let synced = settled && comparison.synced();
        let status = ApplicationStatus {
            sync: SyncStatus {
                status: if synced { "Synced" } else { "OutOfSync" }.into(),
                revision: view.revision.clone(),
            },
            health: comparison.health(),
            resources: comparison.resources(),
            operation_state: operation,
            conditions,
            reconciled_at: None,
        };
        self.write(app, status, progress).await
    }

    /// Says why nothing can be said; what was known of the objects stays.
    pub(super) async fn report_conditions(
        &self,
        app: &Application,
        revision: Option<String>,
        conditions: Vec<ApplicationCondition>,
        progress: &mut Progress,
    ) -> Result<(), Error> {
        let mut status = progress
            .written
            .clone()
            .or_else(|| app.status.clone())
            .unwrap_or_default();
        status.sync.status = "Unknown".into();
        if let Some(revision) = revision {
            status.sync.revision = revision;
        }
        if status.resources.is_empty() {
            let message = conditions
                .first()
                .map(|c| c.message.clone())
                .unwrap_or_default();
            status.health = HealthStatus {
                status: "Missing".into(),
                message,
            };
        }
        status.conditions = conditions;
        self.write(app, status, progress).await
    }

    async fn write(
        &self,
        app: &Application,
        mut status: ApplicationStatus,
        progress: &mut Progress,
    ) -> Result<(), Error> {
        let before = progress.written.clone().or_else(|| app.status.clone());
        let old = before.clone().unwrap_or_default();
        let now = self.clock.rfc3339();
        for condition in &mut status.conditions {
            let before = old
                .conditions
                .iter()
                .find(|c| c.type_ == condition.type_ && c.message == condition.message);
            condition.last_transition_time = before
                .and_then(|c| c.last_transition_time.clone())
                .or_else(|| Some(now.clone()));
        }
        status.reconciled_at.clone_from(&old.reconciled_at);
        if before.is_some() && status == old {
            return Ok(());
        }
        status.reconciled_at = Some(now);
        // Absent parts must go, so they are named.
        let mut body = serde_json::to_value(&status).unwrap_or(Json::Null);
        if let Some(map) = body.as_object_mut() {
            map.entry("operationState").or_insert(Json::Null);
        }
        self.patch(app, json!({"status": body}), true).await?;
        progress.written = Some(status);
        Ok(())
    }

    /// Takes away the annotations whose wish is fulfilled.
    pub(super) async fn clear_requests(&self, app: &Application) -> Result<(), Error> {
        let annotations = app.metadata.annotations.clone().unwrap_or_default();
        if !annotations.contains_key(REFRESH) && !annotations.contains_key(SYNC) {
            return Ok(());
        }
        self.patch(
            app,
            json!({"metadata": {"annotations": {REFRESH: null, SYNC: null}}}),
            false,
        )
        .await
    }

    pub(super) async fn patch(
        &self,
        app: &Application,
        body: Json,
        status: bool,
    ) -> Result<(), Error> {
        let namespace = app.metadata.namespace.clone().unwrap_or_default();
        let name = app.metadata.name.clone().unwrap_or_default();
        let api: Api<Application> = Api::namespaced(self.cluster.client().clone(), &namespace);
        let what = format!("update application {namespace}/{name}");
        let patch = Patch::Merge(body);
        let params = PatchParams::default();
        let result = if status {
            within(&what, api.patch_status(&name, &params, &patch)).await?
        } else {
            within(&what, api.patch(&name, &params, &patch)).await?
        };
        match result {
            Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
            other => other.map(drop).map_err(Error::cluster(what)),
        }
    }
}
