//! The contexts that the server knows before a job starts. Identity is the run's actor, who was
//! authenticated; author and committer of the commit are only shown.

use crate::expr::Value;
use serde_json::{Map, Value as Json, json};
use towpath_kit::kinds::{JobStatus, Phase, RunSpec};
use towpath_kit::traits::CommitInfo;
use towpath_stdx::clock::rfc3339;

/// Facts about a run that do not change while it runs.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    /// Namespace.
    pub namespace: String,
    /// Name of the run.
    pub name: String,
    /// What was asked for.
    pub spec: RunSpec,
    /// Seconds since 1970 when the run was made; also its number.
    pub created: u64,
    /// Commit.
    pub commit: CommitInfo,
    /// Default branch of the repository.
    pub default_branch: String,
    /// `name:` of the workflow or its path.
    pub workflow_name: String,
    /// Base URL of the server, as jobs reach it.
    pub server: String,
    /// `vars`.
    pub vars: Vec<(String, String)>,
    /// Inputs with their defaults.
    pub inputs: Map<String, Json>,
}

/// Short name and `branch` or `tag`.
pub fn short_ref(full: &str) -> (&str, &'static str) {
    if let Some(tag) = full.strip_prefix("refs/tags/") {
        return (tag, "tag");
    }
    (full.strip_prefix("refs/heads/").unwrap_or(full), "branch")
}

impl Facts {
    /// `github` without what differs by job.
    pub fn github(&self) -> Json {
        let (ref_name, ref_type) = short_ref(&self.spec.ref_);
        let repository = format!("{}/{}", self.namespace, self.spec.repository);
        json!({
            "sha": self.spec.sha,
            "ref": self.spec.ref_,
            "ref_name": ref_name,
            "ref_type": ref_type,
            "ref_protected": false,
            "base_ref": "",
            "head_ref": "",
            "repository": repository,
            "repository_owner": self.namespace,
            "repositoryUrl": format!("{}/git/{repository}.git", self.server),
            "actor": self.spec.actor,
            "triggering_actor": self.spec.actor,
            "event_name": self.spec.event,
            "event": self.event(),
            "workflow": self.workflow_name,
            "workflow_ref": format!("{repository}/{}@{}", self.spec.workflow, self.spec.ref_),
            "workflow_sha": self.spec.sha,
            "run_id": self.name,
            "run_number": self.created.to_string(),
            "run_attempt": self.spec.attempt.to_string(),
            "server_url": self.server,
            "api_url": format!("{}/api/v1", self.server),
            "retention_days": "0",
        })
    }

    /// The event's payload.
    pub fn event(&self) -> Json {
        let repository = json!({
            "name": self.spec.repository,
            "full_name": format!("{}/{}", self.namespace, self.spec.repository),
            "owner": {"name": self.namespace, "login": self.namespace},
            "default_branch": self.default_branch,
        });
        let sender = json!({"login": self.spec.actor});
        if self.spec.event == "workflow_dispatch" {
            return json!({
                "ref": self.spec.ref_,
                "workflow": self.spec.workflow,
                "inputs": self.inputs,
                "repository": repository,
                "sender": sender,
            });
        }
        let new = self.spec.before.is_empty() || self.spec.before.bytes().all(|b| b == b'0');
        let commit = json!({
            "id": self.spec.sha,
            "tree_id": self.commit.tree,
            "message": self.commit.message,
            "timestamp": rfc3339(self.commit.authored_at.max(0) as u64),
            "author": {"name": self.commit.author},
        });
        json!({
            "ref": self.spec.ref_,
            "before": self.spec.before,
            "after": self.spec.sha,
            "created": new,
            "deleted": false,
            "head_commit": commit,
            "commits": [commit],
            "repository": repository,
            "pusher": {"name": self.spec.actor},
            "sender": sender,
        })
    }

    /// Contexts of a workflow's own places: `github`, `inputs`, `vars`.
    pub fn root(&self) -> Map<String, Json> {
        let vars: Map<String, Json> = self
            .vars
            .iter()
            .map(|(k, v)| (k.clone(), json!(v)))
            .collect();
        let mut root = Map::new();
        root.insert("github".into(), self.github());
        root.insert("inputs".into(), Json::Object(self.inputs.clone()));
        root.insert("vars".into(), Json::Object(vars));
        root
    }
}

/// `result` word of a need.
pub fn result(phase: Phase, forgiven: bool) -> &'static str {
    match phase {
        Phase::Succeeded => "success",
        Phase::Failed if forgiven => "success",
        Phase::Failed => "failure",
        Phase::Cancelled => "cancelled",
        _ => "skipped",
    }
}

/// Worst result and merged outputs of a job's cells; later cells' outputs win where not empty.
pub fn need(cells: &[(&JobStatus, bool)]) -> Json {
    let rank = |word: &str| {
        ["success", "skipped", "cancelled", "failure"]
            .iter()
            .position(|w| *w == word)
            .unwrap_or(0)
    };
    let worst = cells
        .iter()
        .map(|(c, forgiven)| result(c.phase, *forgiven))
        .max_by_key(|w| rank(w))
        .unwrap_or("skipped");
    let mut outputs = Map::new();
    for (cell, _) in cells {
        for (name, value) in &cell.outputs {
            if !value.is_empty() || !outputs.contains_key(name) {
                outputs.insert(name.clone(), json!(value));
            }
        }
    }
    json!({"result": worst, "outputs": outputs})
}

/// A contexts object for expressions.
pub fn value(contexts: Map<String, Json>) -> Value {
    Value::from_json(&Json::Object(contexts))
}
