//! `jobs:` and `steps:`: ids, the graph of needs, matrices, and what a step may say.

use super::builtin;
use super::check::Checker;
use super::contexts::JOB;
use super::contexts::STRATEGY;
use super::{expressions, grammar};
use crate::yaml::{Kind, Node};
use std::collections::{HashMap, HashSet};

const LIMIT_JOBS: usize = 500;
const LIMIT_STEPS: usize = 1000;

fn is_id(text: &str) -> bool {
    let mut chars = text.chars();
    matches!(chars.next(), Some(c) if c.is_ascii_alphabetic() || c == '_')
        && chars.all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-')
        && text.len() <= 100
}

const ID_HINT: &str = "letters, digits, - and _, starting with a letter or _";

/// Checks `jobs:`.
pub(super) fn jobs(checker: &mut Checker<'_>, node: &Node) {
    if !checker.is_map(node, "\"jobs\"") {
        return;
    }
    if node.entries().is_empty() || node.entries().len() > LIMIT_JOBS {
        checker.error(
            node.at,
            "value",
            format!("\"jobs\" holds 1 to {LIMIT_JOBS} jobs"),
            "",
        );
    }
    let mut ids = HashMap::new();
    for (key, job) in node.entries() {
        if !is_id(&key.text) {
            checker.error(
                key.at,
                "id",
                format!("{:?} cannot be the id of a job", key.text),
                ID_HINT,
            );
        }
        if let Some(first) = ids.insert(key.text.to_lowercase(), key) {
            let message = format!(
                "job {:?} is already defined on line {}",
                key.text, first.at.line
            );
            checker.error(key.at, "id", message, "");
        }
        if job.get("uses").is_some() {
            let at = job
                .entries()
                .iter()
                .find(|(k, _)| k.text == "uses")
                .map_or(job.at, |(k, _)| k.at);
            let hint = "write the steps of the called workflow here";
            checker.error(
                at,
                "unsupported",
                "reusable workflows are not supported yet",
                hint,
            );
            continue;
        }
        checker.map(job, grammar::JOB, &format!("job {:?}", key.text));
    }
    needs(checker, node);
}

fn needs_of(job: &Node) -> Vec<&Node> {
    match job.get("needs") {
        Some(node) if matches!(node.kind, Kind::List(_)) => node.items().iter().collect(),
        Some(node) => vec![node],
        None => Vec::new(),
    }
}

// Every need names a job, and none waits for itself.
fn needs(checker: &mut Checker<'_>, node: &Node) {
    let ids: HashSet<&str> = node
        .entries()
        .iter()
        .map(|(k, _)| k.text.as_str())
        .collect();
    for (key, job) in node.entries() {
        for need in needs_of(job) {
            let Some(text) = need.text() else { continue };
            if !ids.contains(text) {
                let known: Vec<&str> = node
                    .entries()
                    .iter()
                    .map(|(k, _)| k.text.as_str())
                    .collect();
                let hint = match super::check::nearest(text, &known) {
                    Some(near) => format!("did you mean {near:?}?"),
                    None => format!("jobs: {}", known.join(", ")),
                };
                checker.error(
                    need.at,
                    "needs",
                    format!("job {:?} needs {text:?}, which does not exist", key.text),
                    &hint,
                );
            }
        }
    }
    let mut done: HashSet<&str> = HashSet::new();
    loop {
        let ready: Vec<&str> = node
            .entries()
            .iter()
            .filter(|(k, job)| {
                !done.contains(k.text.as_str())
                    && needs_of(job)
                        .iter()
                        .filter_map(|n| n.text())
                        .all(|n| done.contains(n) || !ids.contains(n))
            })
            .map(|(k, _)| k.text.as_str())
            .collect();
        if ready.is_empty() {
            break;
        }
        done.extend(ready);
    }
    if let Some((key, _)) = node
        .entries()
        .iter()
        .find(|(k, _)| !done.contains(k.text.as_str()))
    {
        let stuck: Vec<&str> = node
            .entries()
            .iter()
            .map(|(k, _)| k.text.as_str())
            .filter(|k| !done.contains(k))
            .collect();
        checker.error(
            key.at,
            "needs",
            format!("these jobs wait for each other: {}", stuck.join(", ")),
            "",
        );
    }
}

/// Checks `runs-on:`.
pub(super) fn runs_on(checker: &mut Checker<'_>, node: &Node) {
    match &node.kind {
        Kind::Scalar { text, .. } if text.is_empty() => {
            checker.error(
                node.at,
                "value",
                "\"runs-on\" names no runner",
                "ubuntu-latest",
            );
        }
        Kind::Scalar { .. } => checker.text(node, "runs-on", JOB),
        Kind::List(items) if !items.is_empty() => {
            items
                .iter()
                .for_each(|item| checker.text(item, "runs-on", JOB));
        }
        Kind::List(_) => checker.error(
            node.at,
            "value",
            "\"runs-on\" names no runner",
            "ubuntu-latest",
        ),
        Kind::Map(_) => {
            let hint = "name a runner label, e.g. ubuntu-latest";
            checker.error(
                node.at,
                "unsupported",
                "runner groups are not supported yet",
                hint,
            );
        }
    }
}

/// Checks `strategy.matrix`.
pub(super) fn matrix(checker: &mut Checker<'_>, node: &Node) {
    if node.text().is_some() {
        if node.text().is_some_and(super::check::is_one_expression) {
            expressions::template(checker, node, STRATEGY);
        } else {
            checker.error(
                node.at,
                "type",
                "\"matrix\" must be a map or one expression",
                "",
            );
        }
        return;
    }
    if !checker.is_map(node, "\"matrix\"") {
        return;
    }
    if node.entries().is_empty() {
        checker.error(node.at, "value", "\"matrix\" is empty", "");
    }
    for (key, value) in node.entries() {
        let one = value.text().is_some_and(super::check::is_one_expression);
        if !one && !matches!(value.kind, Kind::List(_)) {
            let message = format!(
                "{:?} of the matrix must be a list or one expression",
                key.text
            );
            checker.error(value.at, "type", message, "");
        }
        if matches!(&value.kind, Kind::List(items) if items.is_empty()) {
            checker.error(
                value.at,
                "value",
                format!("{:?} of the matrix is empty", key.text),
                "",
            );
        }
        if matches!(key.text.as_str(), "include" | "exclude") {
            for item in value.items() {
                checker.is_map(item, &format!("an entry of {:?}", key.text));
            }
        }
        tree(checker, value);
    }
}

fn tree(checker: &mut Checker<'_>, node: &Node) {
    expressions::template(checker, node, STRATEGY);
    node.items().iter().for_each(|item| tree(checker, item));
    node.entries()
        .iter()
        .for_each(|(_, value)| tree(checker, value));
}

/// Checks `steps:`.
pub(super) fn steps(checker: &mut Checker<'_>, node: &Node) {
    let Kind::List(items) = &node.kind else {
        return checker.error(
            node.at,
            "type",
            format!("\"steps\" must be a list, not {}", node.shape()),
            "",
        );
    };
    if items.is_empty() || items.len() > LIMIT_STEPS {
        checker.error(
            node.at,
            "value",
            format!("\"steps\" holds 1 to {LIMIT_STEPS} steps"),
            "",
        );
    }
    let mut ids = HashMap::new();
    for step in items {
        checker.map(step, grammar::STEP, "a step");
        if let Some(id) = step.get("id")
            && let Some(text) = id.text()
        {
            if !is_id(text) {
                checker.error(
                    id.at,
                    "id",
                    format!("{text:?} cannot be the id of a step"),
                    ID_HINT,
                );
            }
            if let Some(first) = ids.insert(text.to_lowercase(), id.at) {
                let message = format!("step {text:?} is already defined on line {}", first.line);
                checker.error(id.at, "id", message, "");
            }
        }
        match (step.get("run"), step.get("uses")) {
            (Some(_), None) => {
                if let Some((key, _)) = step.entries().iter().find(|(k, _)| k.text == "with") {
                    checker.error(
                        key.at,
                        "conflict",
                        "\"with\" belongs to \"uses\"",
                        "use env for commands",
                    );
                }
            }
            (None, Some(uses)) => {
                for (key, _) in step.entries() {
                    if matches!(key.text.as_str(), "shell" | "working-directory") {
                        checker.error(
                            key.at,
                            "conflict",
                            format!("{:?} belongs to \"run\"", key.text),
                            "",
                        );
                    }
                }
                action(checker, step, uses);
            }
            (Some(_), Some(uses)) => {
                checker.error(
                    uses.at,
                    "conflict",
                    "a step has either \"run\" or \"uses\"",
                    "make two steps",
                );
            }
            (None, None) => checker.error(
                step.at,
                "missing-key",
                "a step has neither \"run\" nor \"uses\"",
                "",
            ),
        }
    }
}

// Only steps that the runner does itself can be used so far.
fn action(checker: &mut Checker<'_>, step: &Node, uses: &Node) {
    let Some(text) = uses.text() else { return };
    let Some((builtin, version)) = builtin::find(text) else {
        let names: Vec<&str> = builtin::BUILTINS.iter().map(|b| b.name).collect();
        let name = text.split('@').next().unwrap_or(text);
        let hint = match super::check::nearest(name, &names) {
            Some(near) => format!("did you mean {near:?}?"),
            None => "write it as run, or use a built-in step: actions/checkout, actions/cache, actions/upload-artifact, docker/build-push-action, towpath/gate-coverage, …".into(),
        };
        let what = if text.starts_with("./") {
            "actions of the repository"
        } else if text.starts_with("docker://") {
            "container actions"
        } else {
            "actions from elsewhere"
        };
        let message = format!("{what} are not supported yet: {text:?}");
        return checker.error(uses.at, "unsupported", message, &hint);
    };
    if version.is_empty() && !builtin.name.starts_with("towpath/") {
        let hint = format!("e.g. {}@v4", builtin.name);
        checker.error(
            uses.at,
            "value",
            format!("{text:?} names no version"),
            &hint,
        );
    }
    let with = step.get("with");
    for (key, _) in with.map(Node::entries).unwrap_or_default() {
        let name = key.text.as_str();
        if builtin.later.iter().any(|i| i.eq_ignore_ascii_case(name)) {
            let message = format!("input {name:?} of {} is not supported yet", builtin.name);
            checker.error(key.at, "unsupported", message, "leave it out");
        } else if !builtin.inputs.iter().any(|i| i.eq_ignore_ascii_case(name)) {
            let hint = match super::check::nearest(name, builtin.inputs) {
                Some(near) => format!("did you mean {near:?}?"),
                None => format!("inputs: {}", builtin.inputs.join(", ")),
            };
            checker.error(
                key.at,
                "input",
                format!("{} has no input {name:?}", builtin.name),
                &hint,
            );
        }
    }
    for required in builtin.required {
        if !with.is_some_and(|w| {
            w.entries()
                .iter()
                .any(|(k, _)| k.text.eq_ignore_ascii_case(required))
        }) {
            checker.error(
                uses.at,
                "input",
                format!("{} needs input {required:?}", builtin.name),
                "",
            );
        }
    }
}
