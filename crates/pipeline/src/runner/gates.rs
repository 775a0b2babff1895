//! Gate steps: what is measured here or by the server becomes a verdict on the run; a verdict
//! against fails the step.

use super::step::Context;
use crate::job::Event;
use reqwest::Method;
use std::path::Path;
use towpath_kit::kinds::{Finding, GateVerdict, Severity};
use towpath_scan::{coverage, gates, lockfiles, secrets};

const LIMIT_REPORT_BYTES: u64 = 256 << 20;
const LIMIT_SECRET_FILE_BYTES: u64 = 5 << 20;
const LIMIT_LOCK_BYTES: u64 = 10 << 20;
const LIMIT_FINDINGS: usize = 100;

fn verdict(verdict: gates::Verdict) -> GateVerdict {
    let findings = verdict
        .findings
        .into_iter()
        .take(LIMIT_FINDINGS)
        .map(|f| Finding {
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
        })
        .collect();
    GateVerdict {
        gate: verdict.gate,
        passed: verdict.passed,
        message: verdict.message,
        findings,
    }
}

fn conclude(context: &Context<'_>, mut verdict: GateVerdict) -> Result<(), String> {
    for finding in &mut verdict.findings {
        finding.message = context.sink.mask_text(&finding.message);
        let word = if finding.severity == Severity::Error {
            "error"
        } else {
            "warning"
        };
        let place = match (finding.file.as_str(), finding.line) {
            ("", _) => String::new(),
            (file, 0) => format!("{file}: "),
            (file, line) => format!("{file}:{line}: "),
        };
        context.log(&format!(
            "##[{word}]{place}{} [{}]",
            finding.message, finding.rule
        ));
        if !finding.hint.is_empty() {
            context.log(&format!("  {}", finding.hint));
        }
        context.sink.annotate(context.number, finding.clone());
    }
    verdict.message = context.sink.mask_text(&verdict.message);
    context.log(&verdict.message);
    let failed = (!verdict.passed).then(|| format!("gate {}: {}", verdict.gate, verdict.message));
    context.sink.event(Event::Gate { verdict });
    failed.map_or(Ok(()), Err)
}

pub(super) async fn coverage(context: &mut Context<'_>) -> Result<(), String> {
    let name = context.input("file").to_string();
    let threshold = context.input("threshold").trim_end_matches('%').to_string();
    let threshold: f64 = threshold
        .parse()
        .map_err(|_| format!("threshold {threshold:?} is not a number"))?;
    if !(0.0..=100.0).contains(&threshold) {
        return Err(format!("threshold {threshold} is not between 0 and 100"));
    }
    let path = context.places.workspace.join(&name);
    let bytes = towpath_stdx::bounded::read_file(&path, LIMIT_REPORT_BYTES)
        .map_err(|e| format!("read {name}: {e}"))?;
    let report = coverage::read(&bytes).map_err(|e| format!("{name}: {e}"))?;
    context.output("percent", format!("{:.2}", report.percent()));
    conclude(context, verdict(gates::coverage(&report, threshold)))
}

pub(super) async fn secrets(context: &mut Context<'_>) -> Result<(), String> {
    let below = context.places.workspace.join(context.input("path"));
    let exclude = context.lines("exclude");
    let exclude = crate::glob::Patterns::new(exclude.iter().map(String::as_str))?;
    let workspace = context.places.workspace.clone();
    let work = move || -> std::io::Result<(Vec<secrets::Leak>, usize)> {
        let rules = secrets::Rules::builtin();
        let mut leaks = Vec::new();
        let mut files = 0;
        for (name, path) in sources(&below, &workspace) {
            if exclude.matches(&name) {
                continue;
            }
            let Ok(bytes) = towpath_stdx::bounded::read_file(&path, LIMIT_SECRET_FILE_BYTES) else {
                continue;
            };
            files += 1;
            leaks.extend(rules.scan(&name, &bytes));
        }
        Ok((leaks, files))
    };
    let (leaks, files) = super::pack::blocking(work)
        .await
        .map_err(|e| format!("scan: {e}"))?;
    conclude(context, verdict(gates::secrets(&leaks, files)))
}

// Regular files below a directory, without git's own, named from the workspace.
fn sources(below: &Path, workspace: &Path) -> Vec<(String, std::path::PathBuf)> {
    const SKIP: [&str; 3] = [".git", "node_modules", "target"];
    walkdir::WalkDir::new(below)
        .sort_by_file_name()
        .into_iter()
        .filter_entry(|e| {
            e.depth() == 0 || !e.file_type().is_dir() || !SKIP.iter().any(|s| e.file_name() == *s)
        })
        .filter_map(Result::ok)
        .filter(|e| e.file_type().is_file())
        .take(200_000)
        .filter_map(|e| {
            let name = e
                .path()
                .strip_prefix(workspace)
                .ok()?
                .to_string_lossy()
                .into_owned();
            Some((name, e.into_path()))
        })
        .collect()
}

/// Asks the server, which has the database and can see into images.
pub(super) async fn vulnerabilities(context: &mut Context<'_>) -> Result<(), String> {
    let image = context.input("image").to_string();
    let mut files = Vec::new();
    if image.is_empty() || !context.input("path").is_empty() {
        let below = context.places.workspace.join(context.input("path"));
        for (name, path) in sources(&below, &context.places.workspace) {
            if lockfiles::kind(&name).is_none() {
                continue;
            }
            let bytes = towpath_stdx::bounded::read_file(&path, LIMIT_LOCK_BYTES)
                .map_err(|e| format!("read {name}: {e}"))?;
            files.push(
                serde_json::json!({"path": name, "content": String::from_utf8_lossy(&bytes)}),
            );
        }
        context.log(&format!("{} lock files", files.len()));
    }
    let body = serde_json::json!({
        "files": files,
        "image": image,
        "failOn": context.input("fail-on"),
        "fixableOnly": context.flag("fixable-only", false),
        "requireDatabase": context.flag("require-database", false),
    });
    let path = format!(
        "/api/v1/runs/{}/{}/gates/vulnerabilities",
        context.job.namespace, context.job.run
    );
    let answer = context
        .server
        .json(Method::POST, &path, Some(&body))
        .await?;
    let answer = answer.ok_or("the server has no vulnerability gate")?;
    let verdict: GateVerdict =
        serde_json::from_value(answer).map_err(|e| format!("the server's verdict: {e}"))?;
    conclude(context, verdict)
}
