//! What a job asks the server to look at: an image it pushed, known vulnerabilities.

use super::{Failure, own_run};
use crate::inspect::{attach_sbom, packages};
use crate::pipeline::Inner;
use axum::Json;
use axum::extract::{Path, State};
use http::{HeaderMap, StatusCode};
use serde::Deserialize;
use serde_json::{Value, json};
use std::sync::Arc;
use towpath_kit::kinds::{Finding, GateVerdict, Severity};
use towpath_scan::gates::{self, VulnerabilityPolicy};
use towpath_scan::lockfiles::{self, Distribution};
use towpath_scan::{Package, osv};

const LIMIT_FINDINGS: usize = 100;

#[derive(Deserialize)]
pub(super) struct Pushed {
    name: String,
    digest: String,
}

// A project's jobs see the images of their own project.
fn of_project(reference: &str, namespace: &str) -> bool {
    let first = reference.split('/').next().unwrap_or_default();
    let rest = if first.contains(['.', ':']) || first == "localhost" {
        reference.split_once('/').map_or("", |(_, rest)| rest)
    } else {
        reference
    };
    rest.split('/').next() == Some(namespace) && rest.contains('/')
}

/// `POST …/images`: makes the SBOM of a pushed image and keeps it as its referrer.
pub(super) async fn image(
    State(inner): State<Arc<Inner>>,
    Path((namespace, run)): Path<(String, String)>,
    headers: HeaderMap,
    Json(pushed): Json<Pushed>,
) -> Result<Json<Value>, Failure> {
    own_run(&inner, &headers, &namespace, &run).await?;
    if !of_project(&pushed.name, &namespace) {
        let message = format!("image {} is not one of project {namespace}", pushed.name);
        return Err(Failure(StatusCode::FORBIDDEN, message));
    }
    let made = attach_sbom(&inner.images, &pushed.name, &pushed.digest).await;
    let sbom = made.map_err(|e| Failure(StatusCode::UNPROCESSABLE_ENTITY, e))?;
    Ok(Json(json!({"sbom": sbom})))
}

#[derive(Deserialize)]
struct LockFile {
    path: String,
    content: String,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Question {
    files: Vec<LockFile>,
    image: String,
    fail_on: String,
    fixable_only: bool,
    require_database: bool,
}

/// `POST …/gates/vulnerabilities`: the verdict over lock files and, where named, an image.
pub(super) async fn vulnerabilities(
    State(inner): State<Arc<Inner>>,
    Path((namespace, run)): Path<(String, String)>,
    headers: HeaderMap,
    Json(question): Json<Question>,
) -> Result<Json<GateVerdict>, Failure> {
    own_run(&inner, &headers, &namespace, &run).await?;
    let bad = |message: String| Failure(StatusCode::UNPROCESSABLE_ENTITY, message);
    let policy = policy(&question).map_err(bad)?;
    if !question.image.is_empty() && !of_project(&question.image, &namespace) {
        let message = format!("image {} is not one of project {namespace}", question.image);
        return Err(Failure(StatusCode::FORBIDDEN, message));
    }
    let mut found: Vec<Package> = Vec::new();
    for file in &question.files {
        let read = lockfiles::read(
            &file.path,
            file.content.as_bytes(),
            &Distribution::default(),
        );
        found.extend(read.map_err(|e| bad(format!("{}: {e}", file.path)))?);
    }
    if !question.image.is_empty() {
        found.extend(
            packages(&inner.images, &question.image)
                .await
                .map_err(bad)?,
        );
    }
    let path = inner.config.osv_database.clone();
    let required = question.require_database;
    let work = move || judge(&path, &found, policy, required);
    let verdict = tokio::task::spawn_blocking(work)
        .await
        .map_err(super::internal)?
        .map_err(bad)?;
    Ok(Json(convert(verdict)))
}

fn policy(question: &Question) -> Result<VulnerabilityPolicy, String> {
    let mut policy = VulnerabilityPolicy {
        fixable_only: question.fixable_only,
        ..VulnerabilityPolicy::default()
    };
    if !question.fail_on.is_empty() {
        policy.fail_on = osv::Severity::parse(&question.fail_on).ok_or_else(|| {
            format!(
                "fail-on {:?}: low, medium, high or critical",
                question.fail_on
            )
        })?;
    }
    Ok(policy)
}

fn judge(
    path: &std::path::Path,
    found: &[Package],
    policy: VulnerabilityPolicy,
    required: bool,
) -> Result<gates::Verdict, String> {
    if !path.exists() {
        return Ok(gates::no_database(required));
    }
    let database = osv::Database::open(path).map_err(|e| e.to_string())?;
    let matches = osv::query(&database, found).map_err(|e| e.to_string())?;
    Ok(gates::vulnerabilities(&matches, found.len(), policy))
}

fn convert(verdict: gates::Verdict) -> GateVerdict {
    let finding = |f: gates::Finding| Finding {
        severity: if f.blocks {
            Severity::Error
        } else {
            Severity::Warning
        },
        rule: f.rule,
        message: f.message,
        file: f.file,
        line: f.line,
        column: f.column,
        hint: f.hint,
    };
    GateVerdict {
        gate: verdict.gate,
        passed: verdict.passed,
        message: verdict.message,
        findings: verdict
            .findings
            .into_iter()
            .take(LIMIT_FINDINGS)
            .map(finding)
            .collect(),
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn projects_keep_to_their_images() {
        for (reference, expected) in [
            ("demo/hello@sha256:x", true),
            ("host:5000/demo/hello", true),
            ("other/hello", false),
            ("demo", false),
            ("evil.example/other/demo", false),
        ] {
            assert_eq!(
                super::of_project(reference, "demo"),
                expected,
                "{reference}"
            );
        }
    }
}
