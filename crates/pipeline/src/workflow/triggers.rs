//! `on:`: which events, with which filters.

use super::check::Checker;
use super::contexts;
use super::grammar::{
    DISPATCH_INPUT, DISPATCH_TYPES, EVENTS, FILTERS, OTHER_EVENTS, PULL_REQUEST_TYPES,
};
use crate::glob::Patterns;
use crate::yaml::{Kind, Node, Place, Typed};

/// Checks `on:`.
pub(super) fn check(checker: &mut Checker<'_>, node: &Node, key_at: Place) {
    match &node.kind {
        Kind::Scalar { text, .. } => event(
            checker,
            text,
            if text.is_empty() { key_at } else { node.at },
            None,
        ),
        Kind::List(items) if items.is_empty() => {
            checker.error(node.at, "value", "\"on\" names no event", "");
        }
        Kind::List(items) => {
            for item in items {
                match item.text() {
                    Some(name) => event(checker, name, item.at, None),
                    None => checker.error(item.at, "type", "an event must be a name", ""),
                }
            }
        }
        Kind::Map(entries) => {
            for (key, value) in entries {
                event(checker, &key.text, key.at, Some(value));
            }
        }
    }
}

fn event(checker: &mut Checker<'_>, name: &str, at: Place, options: Option<&Node>) {
    if OTHER_EVENTS.contains(&name) {
        let hint = format!("events that start runs here: {}", EVENTS.join(", "));
        return checker.warn(
            at,
            "event",
            format!("event {name:?} never starts a run here"),
            &hint,
        );
    }
    if !EVENTS.contains(&name) {
        let hint = match super::check::nearest(name, &EVENTS) {
            Some(near) => format!("did you mean {near:?}?"),
            None => format!("events that start runs here: {}", EVENTS.join(", ")),
        };
        return checker.error(at, "event", format!("there is no event {name:?}"), &hint);
    }
    let Some(options) = options.filter(|o| !o.is_null()) else {
        return;
    };
    if !checker.is_map(options, &format!("event {name:?}")) {
        return;
    }
    for (key, value) in options.entries() {
        match (name, key.text.as_str()) {
            ("push" | "pull_request", filter) if FILTERS.contains(&filter) => {
                if name == "pull_request" && filter.starts_with("tags") {
                    checker.error(key.at, "unknown-key", "\"pull_request\" has no tags", "");
                }
                filter_patterns(checker, filter, value);
            }
            ("pull_request", "types") => types(checker, value),
            ("workflow_dispatch", "inputs") => inputs(checker, value),
            (_, other) => {
                let known: &[&str] = match name {
                    "push" => &FILTERS,
                    "pull_request" => &[
                        "types",
                        "branches",
                        "branches-ignore",
                        "paths",
                        "paths-ignore",
                    ],
                    _ => &["inputs"],
                };
                checker.unknown_key(other, key.at, known, &format!("event {name:?}"));
            }
        }
    }
    for filter in ["branches", "tags", "paths"] {
        let ignore = format!("{filter}-ignore");
        if options.get(filter).is_some()
            && let Some(both) = options.get(&ignore)
        {
            let hint = format!("use {filter:?} with ! in front of what is not wanted");
            checker.error(
                both.at,
                "conflict",
                format!("{filter:?} and {ignore:?} cannot stand together"),
                &hint,
            );
        }
    }
}

fn list(node: &Node) -> Vec<&Node> {
    match &node.kind {
        Kind::List(items) => items.iter().collect(),
        _ => vec![node],
    }
}

fn filter_patterns(checker: &mut Checker<'_>, filter: &str, node: &Node) {
    let items = list(node);
    let mut positive = false;
    for item in &items {
        let Some(text) = item.text().filter(|t| !t.is_empty()) else {
            checker.error(item.at, "type", format!("{filter:?} holds patterns"), "");
            continue;
        };
        positive |= !text.starts_with('!');
        if let Err(problem) = Patterns::new([text]) {
            checker.error(
                item.at,
                "pattern",
                problem,
                "* ? + [] ** and a leading ! are special",
            );
        }
    }
    if !items.is_empty() && !positive && !filter.ends_with("-ignore") {
        let hint = "put a pattern without ! before";
        checker.error(
            node.at,
            "pattern",
            format!("{filter:?} only takes back, so it never matches"),
            hint,
        );
    }
}

fn types(checker: &mut Checker<'_>, node: &Node) {
    for item in list(node) {
        match item.text() {
            Some(text) if PULL_REQUEST_TYPES.contains(&text) => {}
            Some(text) => {
                let hint = format!("types: {}", PULL_REQUEST_TYPES.join(", "));
                checker.error(
                    item.at,
                    "value",
                    format!("\"pull_request\" has no type {text:?}"),
                    &hint,
                );
            }
            None => checker.error(item.at, "type", "\"types\" holds names", ""),
        }
    }
}

fn inputs(checker: &mut Checker<'_>, node: &Node) {
    if node.is_null() || !checker.is_map(node, "\"inputs\"") {
        return;
    }
    for (name, input) in node.entries() {
        if input.is_null() || !checker.is_map(input, &format!("input {:?}", name.text)) {
            continue;
        }
        for (key, value) in input.entries() {
            match key.text.as_str() {
                "type" => {
                    if !value.text().is_some_and(|t| DISPATCH_TYPES.contains(&t)) {
                        let hint = DISPATCH_TYPES.join(", ");
                        checker.error(value.at, "value", "unknown type of input", &hint);
                    }
                }
                "required" => {
                    if !matches!(value.typed(), Some(Typed::Bool(_))) {
                        checker.error(value.at, "type", "\"required\" is true or false", "");
                    }
                }
                "options" => {
                    if value.items().is_empty() {
                        checker.error(
                            value.at,
                            "type",
                            "\"options\" is a list with at least one entry",
                            "",
                        );
                    }
                }
                "default" => checker.text(value, "default", contexts::ROOT),
                "description" | "deprecationMessage" => checker.plain(value, &key.text),
                other => checker.unknown_key(other, key.at, &DISPATCH_INPUT, "an input"),
            }
        }
        if input.get("type").and_then(Node::text) == Some("choice")
            && input.get("options").is_none()
        {
            checker.error(
                name.at,
                "missing-key",
                format!("choice {:?} has no \"options\"", name.text),
                "",
            );
        }
    }
}
