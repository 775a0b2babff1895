//! `workflow_dispatch`: a person starts a workflow by hand.

use super::{Failure, caller, internal, may, not_found};
use crate::pipeline::Inner;
use crate::run::contexts::short_ref;
use crate::workflow::{self, Trigger};
use axum::Json;
use axum::extract::{Path, State};
use http::{HeaderMap, StatusCode};
use kube::api::{Api, PostParams};
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;
use towpath_kit::cache::Key;
use towpath_kit::kinds::{Run, RunSpec, labels};
use towpath_kit::traits::SourceError;
use towpath_stdx::SystemRandom;

#[derive(Deserialize)]
pub(super) struct Dispatch {
    /// Path or file name of the workflow.
    workflow: String,
    /// Branch or tag; the default branch where empty.
    #[serde(default, rename = "ref")]
    ref_: String,
    #[serde(default)]
    inputs: BTreeMap<String, Value>,
}

/// `POST /api/v1/repositories/{namespace}/{repository}/dispatches`.
pub(super) async fn create(
    State(inner): State<Arc<Inner>>,
    Path((namespace, repository)): Path<(String, String)>,
    headers: HeaderMap,
    Json(dispatch): Json<Dispatch>,
) -> Result<(StatusCode, Json<Value>), Failure> {
    let principal = caller(&inner, &headers).await?;
    if !may(&inner, &principal, "create", "runs", &namespace, "") {
        return Err(Failure(
            StatusCode::FORBIDDEN,
            format!("not allowed to create runs in {namespace}"),
        ));
    }
    let found = inner.repositories().get(&Key::new(&namespace, &repository));
    let found = found.ok_or_else(|| not_found(format!("repository {namespace}/{repository}")))?;
    let asked = if dispatch.ref_.is_empty() {
        found.spec.default_branch.clone()
    } else {
        dispatch.ref_
    };
    let ref_ = if asked.starts_with("refs/") {
        asked
    } else {
        format!("refs/heads/{asked}")
    };
    let bad = |message: String| Failure(StatusCode::UNPROCESSABLE_ENTITY, message);
    let full = format!("{namespace}/{repository}");
    let lookup = |error: SourceError| match error {
        SourceError::NotFound(what) => not_found(what),
        other => internal(other),
    };
    let commit = inner.tree.resolve(&full, &ref_).await.map_err(lookup)?;
    let path = if dispatch.workflow.contains('/') {
        dispatch.workflow
    } else {
        format!("{}{}", crate::matching::DIRECTORY, dispatch.workflow)
    };
    let files = inner
        .tree
        .files(&full, &commit.sha, ".github/workflows")
        .await
        .map_err(lookup)?;
    let file = files
        .iter()
        .find(|f| f.path == path)
        .ok_or_else(|| not_found(format!("workflow {path}")))?;
    let read = workflow::read(&path, &file.content);
    let workflow = read
        .workflow
        .ok_or_else(|| bad(format!("workflow {path} cannot be read")))?;
    let trigger = workflow
        .triggers
        .iter()
        .find(|t| t.event == "workflow_dispatch");
    let trigger =
        trigger.ok_or_else(|| bad(format!("workflow {path} has no workflow_dispatch")))?;
    let inputs = inputs(trigger, &dispatch.inputs).map_err(bad)?;
    let suffix = towpath_stdx::id::suffix(&SystemRandom, 8);
    let short: String = repository.chars().take(40).collect();
    let spec = RunSpec {
        repository: repository.clone(),
        ref_: ref_.clone(),
        sha: commit.sha.clone(),
        before: "0".repeat(40),
        event: "workflow_dispatch".into(),
        workflow: path,
        actor: principal.name,
        inputs,
        attempt: 1,
        ..RunSpec::default()
    };
    let mut run = Run::new(&format!("{short}-{suffix}"), spec);
    run.metadata.labels = Some(BTreeMap::from([
        (labels::REPOSITORY.to_string(), repository),
        (labels::COMMIT.to_string(), commit.sha),
    ]));
    let api: Api<Run> = Api::namespaced(inner.client.clone(), &namespace);
    let made = api
        .create(&PostParams::default(), &run)
        .await
        .map_err(internal)?;
    let name = made.metadata.name.unwrap_or_default();
    Ok((
        StatusCode::CREATED,
        Json(json!({"run": name, "ref": short_ref(&ref_).0})),
    ))
}

// Given values with declared types; what is missing or not declared is named.
fn inputs(
    trigger: &Trigger,
    given: &BTreeMap<String, Value>,
) -> Result<BTreeMap<String, String>, String> {
    let mut out = BTreeMap::new();
    if let Some(unknown) = given
        .keys()
        .find(|k| !trigger.inputs.iter().any(|i| i.name == **k))
    {
        return Err(format!("the workflow has no input {unknown:?}"));
    }
    for input in &trigger.inputs {
        let text = match given.get(&input.name) {
            Some(Value::String(text)) => text.clone(),
            Some(Value::Bool(_) | Value::Number(_)) => given[&input.name].to_string(),
            Some(_) => return Err(format!("input {:?} must be a single value", input.name)),
            None if input.required && input.default.is_none() => {
                return Err(format!("input {:?} is required", input.name));
            }
            None => continue,
        };
        let valid = match input.kind.as_str() {
            "boolean" => matches!(text.as_str(), "true" | "false"),
            "number" => text.parse::<f64>().is_ok(),
            "choice" => input.options.contains(&text),
            _ => true,
        };
        if !valid {
            return Err(format!("input {:?} cannot be {text:?}", input.name));
        }
        out.insert(input.name.clone(), text);
    }
    Ok(out)
}
