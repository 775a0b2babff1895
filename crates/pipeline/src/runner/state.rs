//! What a job knows while it runs: contexts, environment, what steps said so far.

use crate::expr::{Scope, Status, Value, interpolate};
use crate::job::JobFile;
use crate::workflow::Pairs;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use towpath_kit::kinds::Phase;

/// Directories of a job.
#[derive(Clone, Debug)]
pub(super) struct Places {
    pub(super) workspace: PathBuf,
    pub(super) temp: PathBuf,
    pub(super) tools: PathBuf,
}

impl Places {
    pub(super) fn below(root: &Path, repository: &str) -> std::io::Result<Self> {
        let places = Self {
            workspace: root.join(repository).join(repository),
            temp: root.join("_temp"),
            tools: root.join("_tool"),
        };
        for dir in [&places.workspace, &places.temp, &places.tools] {
            std::fs::create_dir_all(dir)?;
        }
        Ok(places)
    }
}

/// Result of a step with an id.
#[derive(Clone, Debug, Default)]
pub(super) struct StepResult {
    pub(super) outputs: BTreeMap<String, String>,
    pub(super) outcome: &'static str,
    pub(super) conclusion: &'static str,
}

/// State of a job.
pub(super) struct State {
    pub(super) job: JobFile,
    pub(super) places: Places,
    /// Workflow and job `env:`, then what steps added.
    pub(super) env: BTreeMap<String, String>,
    /// What steps put in front of `PATH`, last first.
    pub(super) path: Vec<String>,
    /// By id.
    pub(super) steps: Vec<(String, StepResult)>,
    pub(super) failed: bool,
    pub(super) cancelled: bool,
}

/// Word that contexts use for a phase.
pub(super) fn word(phase: Phase) -> &'static str {
    match phase {
        Phase::Succeeded => "success",
        Phase::Cancelled => "cancelled",
        Phase::Skipped => "skipped",
        _ => "failure",
    }
}

impl State {
    pub(super) fn status(&self) -> Status {
        Status {
            failed: self.failed,
            cancelled: self.cancelled,
            incomplete: false,
        }
    }

    /// The contexts object, with `extra` over the job's environment.
    pub(super) fn contexts(&self, extra: &BTreeMap<String, String>) -> Value {
        let given = &self.job.contexts;
        let mut env = self.env.clone();
        env.extend(extra.clone());
        let steps = Value::object(self.steps.iter().map(|(id, result)| {
            let step = Value::object([
                ("outputs".to_string(), Value::texts(&result.outputs)),
                ("outcome".to_string(), Value::text(result.outcome)),
                ("conclusion".to_string(), Value::text(result.conclusion)),
            ]);
            (id.clone(), step)
        }));
        let status = match (self.cancelled, self.failed) {
            (true, _) => "cancelled",
            (_, true) => "failure",
            _ => "success",
        };
        let mut entries = vec![
            ("env".to_string(), Value::texts(&env)),
            ("steps".to_string(), steps),
            (
                "job".to_string(),
                Value::object([("status".to_string(), Value::text(status))]),
            ),
            ("runner".to_string(), self.runner()),
        ];
        for name in [
            "github", "needs", "strategy", "matrix", "inputs", "vars", "secrets",
        ] {
            let value = given.get(name).map_or(Value::Null, Value::from_json);
            entries.push((
                name.to_string(),
                if name == "github" {
                    self.github(value)
                } else {
                    value
                },
            ));
        }
        Value::object(entries)
    }

    fn github(&self, given: Value) -> Value {
        let Value::Object(entries) = &given else {
            return given;
        };
        let mut entries = entries.to_vec();
        entries.push((
            "workspace".into(),
            Value::text(self.places.workspace.to_string_lossy()),
        ));
        entries.push((
            "event_path".into(),
            Value::text(self.event_path().to_string_lossy()),
        ));
        entries.push(("token".into(), Value::text(&self.job.token)));
        Value::object(entries)
    }

    fn runner(&self) -> Value {
        let text = |key: &str, value: &str| (key.to_string(), Value::text(value));
        Value::object([
            text("os", "Linux"),
            text("arch", "X64"),
            text("name", &self.job.job),
            text("temp", &self.places.temp.to_string_lossy()),
            text("tool_cache", &self.places.tools.to_string_lossy()),
            text("environment", "self-hosted"),
            text("debug", ""),
        ])
    }

    pub(super) fn event_path(&self) -> PathBuf {
        self.places.temp.join("_event.json")
    }

    /// Evaluates an `env:` in order; later entries do not see earlier ones of the same map.
    pub(super) fn evaluate(
        &self,
        pairs: &Pairs,
        extra: &BTreeMap<String, String>,
    ) -> Result<Vec<(String, String)>, String> {
        let contexts = self.contexts(extra);
        let hash = |patterns: &[String]| super::files::hash(&self.places.workspace, patterns);
        let scope = Scope {
            contexts: &contexts,
            status: self.status(),
            hash_files: Some(&hash),
        };
        pairs
            .iter()
            .map(|(key, text)| {
                let value = interpolate(text, &scope).map_err(|e| format!("{key}: {e}"))?;
                Ok((key.clone(), value))
            })
            .collect()
    }

    /// Variables that every program gets.
    pub(super) fn base_environment(&self) -> BTreeMap<String, String> {
        let mut out = self.job.environment.clone();
        let github = self.job.contexts.get("github");
        let text = |key: &str| {
            github
                .and_then(|g| g.get(key))
                .map(|v| Value::from_json(v).to_text())
                .unwrap_or_default()
        };
        for key in [
            "actor",
            "base_ref",
            "event_name",
            "head_ref",
            "job",
            "ref",
            "ref_name",
            "ref_protected",
            "ref_type",
            "repository",
            "repository_owner",
            "run_attempt",
            "run_id",
            "run_number",
            "server_url",
            "api_url",
            "sha",
            "triggering_actor",
            "workflow",
            "workflow_ref",
            "workflow_sha",
        ] {
            out.insert(format!("GITHUB_{}", key.to_uppercase()), text(key));
        }
        let path = |p: &Path| p.to_string_lossy().into_owned();
        for (key, value) in [
            ("CI", "true".to_string()),
            ("GITHUB_ACTIONS", "true".into()),
            ("GITHUB_WORKSPACE", path(&self.places.workspace)),
            ("GITHUB_EVENT_PATH", path(&self.event_path())),
            ("RUNNER_OS", "Linux".into()),
            ("RUNNER_ARCH", "X64".into()),
            ("RUNNER_NAME", self.job.job.clone()),
            ("RUNNER_TEMP", path(&self.places.temp)),
            ("RUNNER_TOOL_CACHE", path(&self.places.tools)),
            ("RUNNER_ENVIRONMENT", "self-hosted".into()),
        ] {
            out.insert(key.into(), value);
        }
        out.extend(self.env.clone());
        if !self.path.is_empty() {
            let rest = out
                .get("PATH")
                .cloned()
                .unwrap_or_else(|| "/usr/sbin:/usr/bin:/sbin:/bin".into());
            let front: Vec<&str> = self.path.iter().rev().map(String::as_str).collect();
            out.insert("PATH".into(), format!("{}:{rest}", front.join(":")));
        }
        out
    }
}
