//! From nodes to the model; called once the file has no findings that stop it, and best effort
//! before.

use super::model::{Concurrency, Defaults, Input, Job, Pairs, Step, Strategy, Trigger, Workflow};
use crate::expr::number_text;
use crate::yaml::{Kind, Node, Typed};
use serde_json::Value as Json;

/// The scalar as the language prints it: `1.10` is the number 1.1.
pub(super) fn text(node: &Node) -> String {
    match node.typed() {
        Some(Typed::Text(text)) => text,
        Some(Typed::Bool(value)) => value.to_string(),
        Some(Typed::Number(value)) => number_text(value),
        Some(Typed::Null) | None => String::new(),
    }
}

fn optional(node: &Node, key: &str) -> Option<String> {
    node.get(key).filter(|n| n.text().is_some()).map(text)
}

fn texts(node: Option<&Node>) -> Vec<String> {
    match node {
        Some(node) if matches!(node.kind, Kind::List(_)) => node.items().iter().map(text).collect(),
        Some(node) if node.text().is_some() && !node.is_null() => vec![text(node)],
        _ => Vec::new(),
    }
}

fn pairs(node: Option<&Node>) -> Pairs {
    node.map(Node::entries)
        .unwrap_or_default()
        .iter()
        .map(|(k, v)| (k.text.clone(), text(v)))
        .collect()
}

fn defaults(node: &Node) -> Defaults {
    let run = node.get("defaults").and_then(|d| d.get("run"));
    Defaults {
        shell: run.and_then(|r| optional(r, "shell")),
        working_directory: run.and_then(|r| optional(r, "working-directory")),
    }
}

fn concurrency(node: &Node) -> Option<Concurrency> {
    let node = node.get("concurrency")?;
    if node.text().is_some() {
        return Some(Concurrency {
            group: text(node),
            ..Concurrency::default()
        });
    }
    Some(Concurrency {
        group: optional(node, "group").unwrap_or_default(),
        cancel_in_progress: optional(node, "cancel-in-progress"),
        queue_all: optional(node, "queue").as_deref() == Some("max"),
    })
}

/// Node to JSON by the core schema.
pub(super) fn json(node: &Node) -> Json {
    match &node.kind {
        Kind::List(items) => Json::Array(items.iter().map(json).collect()),
        Kind::Map(entries) => Json::Object(
            entries
                .iter()
                .map(|(k, v)| (k.text.clone(), json(v)))
                .collect(),
        ),
        Kind::Scalar { .. } => match node.typed() {
            Some(Typed::Bool(value)) => Json::Bool(value),
            Some(Typed::Number(value)) => crate::expr::Value::Number(value).to_json(),
            Some(Typed::Text(text)) => Json::String(text),
            Some(Typed::Null) | None => Json::Null,
        },
    }
}

/// `on:`.
pub(super) fn triggers(node: Option<&Node>) -> Vec<Trigger> {
    let Some(node) = node else { return Vec::new() };
    match &node.kind {
        Kind::Map(entries) => entries.iter().map(|(k, v)| trigger(&k.text, v)).collect(),
        _ => texts(Some(node))
            .into_iter()
            .map(|event| Trigger {
                event,
                ..Trigger::default()
            })
            .collect(),
    }
}

fn trigger(event: &str, node: &Node) -> Trigger {
    let filters = node
        .entries()
        .iter()
        .filter(|(k, _)| super::grammar::FILTERS.contains(&k.text.as_str()))
        .map(|(k, v)| (k.text.clone(), texts(Some(v))))
        .collect();
    let inputs = node.get("inputs").map(Node::entries).unwrap_or_default();
    Trigger {
        event: event.to_string(),
        filters,
        types: texts(node.get("types")),
        inputs: inputs
            .iter()
            .map(|(name, input)| self::input(&name.text, input))
            .collect(),
    }
}

fn input(name: &str, node: &Node) -> Input {
    Input {
        name: name.to_string(),
        kind: optional(node, "type").unwrap_or_else(|| "string".into()),
        required: optional(node, "required").as_deref() == Some("true"),
        default: optional(node, "default"),
        options: texts(node.get("options")),
    }
}

fn step(node: &Node) -> Step {
    Step {
        id: optional(node, "id"),
        name: optional(node, "name"),
        condition: optional(node, "if"),
        uses: optional(node, "uses"),
        run: optional(node, "run"),
        with: pairs(node.get("with")),
        env: pairs(node.get("env")),
        working_directory: optional(node, "working-directory"),
        shell: optional(node, "shell"),
        continue_on_error: optional(node, "continue-on-error"),
        timeout_minutes: optional(node, "timeout-minutes"),
        line: node.at.line,
    }
}

fn job(id: &str, node: &Node) -> Job {
    let strategy = node.get("strategy").map(|s| Strategy {
        matrix: s.get("matrix").map_or(Json::Null, json),
        fail_fast: optional(s, "fail-fast"),
        max_parallel: optional(s, "max-parallel"),
    });
    Job {
        id: id.to_string(),
        name: optional(node, "name"),
        needs: texts(node.get("needs")),
        condition: optional(node, "if"),
        runs_on: texts(node.get("runs-on")),
        env: pairs(node.get("env")),
        defaults: defaults(node),
        concurrency: concurrency(node),
        outputs: pairs(node.get("outputs")),
        steps: node
            .get("steps")
            .map(Node::items)
            .unwrap_or_default()
            .iter()
            .map(step)
            .collect(),
        timeout_minutes: optional(node, "timeout-minutes"),
        cancel_timeout_minutes: optional(node, "cancel-timeout-minutes"),
        continue_on_error: optional(node, "continue-on-error"),
        strategy,
    }
}

/// The whole file.
pub(super) fn workflow(node: &Node) -> Workflow {
    let jobs = node.get("jobs").map(Node::entries).unwrap_or_default();
    Workflow {
        name: optional(node, "name"),
        run_name: optional(node, "run-name"),
        triggers: triggers(node.get("on")),
        env: pairs(node.get("env")),
        defaults: defaults(node),
        concurrency: concurrency(node),
        jobs: jobs.iter().map(|(k, v)| job(&k.text, v)).collect(),
    }
}
