//! Walks a file along the grammar's tables and collects findings. Nothing is skipped: a key
//! that no table lists, an expression that cannot be parsed or uses what its place does not
//! offer, a step nobody can run.

use super::contexts::Allowed;
use super::grammar::{self, Field, Rule};
use super::{expressions, jobs, triggers};
use crate::expr;
use crate::yaml::{Kind, Node, Place, Typed};
use towpath_kit::kinds::{Finding, Severity};

/// Most findings that one file reports.
const LIMIT_FINDINGS: usize = 100;

/// Findings of a file, in the order of their places.
pub(super) fn check(path: &str, source: &str, root: &Node) -> Vec<Finding> {
    let mut checker = Checker {
        path,
        source,
        findings: Vec::new(),
    };
    if root.is_null() {
        checker.error(
            root.at,
            "empty",
            "the workflow file is empty",
            "start with `on:` and `jobs:`",
        );
    } else {
        checker.map(root, grammar::ROOT, "the workflow");
    }
    checker.findings.sort_by_key(|f| (f.line, f.column));
    checker.findings.dedup();
    checker.findings.truncate(LIMIT_FINDINGS);
    checker.findings
}

/// A finding about a workflow file.
pub(super) fn finding(
    severity: Severity,
    path: &str,
    at: Place,
    rule: &str,
    message: String,
    hint: &str,
) -> Finding {
    Finding {
        severity,
        rule: format!("workflow/{rule}"),
        message,
        file: path.into(),
        line: at.line,
        column: at.column,
        hint: hint.into(),
    }
}

pub(super) struct Checker<'a> {
    pub(super) path: &'a str,
    pub(super) source: &'a str,
    findings: Vec<Finding>,
}

impl Checker<'_> {
    pub(super) fn error(&mut self, at: Place, rule: &str, message: impl Into<String>, hint: &str) {
        self.findings.push(finding(
            Severity::Error,
            self.path,
            at,
            rule,
            message.into(),
            hint,
        ));
    }

    pub(super) fn warn(&mut self, at: Place, rule: &str, message: impl Into<String>, hint: &str) {
        self.findings.push(finding(
            Severity::Warning,
            self.path,
            at,
            rule,
            message.into(),
            hint,
        ));
    }

    /// Whether the node is a map; says so where it is not.
    pub(super) fn is_map(&mut self, node: &Node, what: &str) -> bool {
        let found = matches!(node.kind, Kind::Map(_));
        if !found {
            self.error(
                node.at,
                "type",
                format!("{what} must be a map, not {}", node.shape()),
                "",
            );
        }
        found
    }

    /// Checks a map with known keys.
    pub(super) fn map(&mut self, node: &Node, fields: &'static [Field], what: &str) {
        if !self.is_map(node, what) {
            return;
        }
        for (key, value) in node.entries() {
            match fields.iter().find(|f| f.key == key.text) {
                Some(field) => self.rule(field.key, key.at, value, field.rule),
                None => {
                    let known: Vec<&str> = fields.iter().map(|f| f.key).collect();
                    self.unknown_key(&key.text, key.at, &known, what);
                }
            }
        }
        for field in fields
            .iter()
            .filter(|f| f.required && node.get(f.key).is_none())
        {
            self.error(
                node.at,
                "missing-key",
                format!("{what} has no {:?}", field.key),
                "",
            );
        }
    }

    pub(super) fn unknown_key(&mut self, key: &str, at: Place, known: &[&str], what: &str) {
        let hint = match nearest(key, known) {
            Some(near) => format!("did you mean {near:?}?"),
            None => format!("known here: {}", known.join(", ")),
        };
        self.error(
            at,
            "unknown-key",
            format!("{what} has no key {key:?}"),
            &hint,
        );
    }

    fn rule(&mut self, key: &'static str, key_at: Place, node: &Node, rule: Rule) {
        match rule {
            Rule::Text(allowed) => self.text(node, key, allowed),
            Rule::Plain => self.plain(node, key),
            Rule::Flag(allowed) => self.flag(node, key, allowed),
            Rule::Number(allowed) => self.number(node, key, allowed),
            Rule::If(allowed) => expressions::condition(self, node, allowed),
            Rule::Env(allowed) => self.env(node, key, allowed),
            Rule::Texts(allowed) => self.texts(node, key, allowed),
            Rule::Map(fields) => self.map(node, fields, &format!("{key:?}")),
            Rule::Concurrency(allowed) => self.concurrency(node, allowed),
            Rule::Matrix => jobs::matrix(self, node),
            Rule::RunsOn => jobs::runs_on(self, node),
            Rule::On => triggers::check(self, node, key_at),
            Rule::Permissions => self.permissions(node),
            Rule::Jobs => jobs::jobs(self, node),
            Rule::Steps => jobs::steps(self, node),
            Rule::Later(hint) => {
                self.error(
                    key_at,
                    "unsupported",
                    format!("{key:?} is not supported yet"),
                    hint,
                );
            }
        }
    }

    /// A single value with expressions.
    pub(super) fn text(&mut self, node: &Node, what: &str, allowed: Allowed) {
        if node.text().is_none() {
            let message = format!("{what:?} must be a single value, not {}", node.shape());
            self.error(node.at, "type", message, "");
            return;
        }
        expressions::template(self, node, allowed);
    }

    /// A single value without expressions.
    pub(super) fn plain(&mut self, node: &Node, what: &str) {
        match node.text() {
            None => {
                let message = format!("{what:?} must be a single value, not {}", node.shape());
                self.error(node.at, "type", message, "");
            }
            Some(text) if text.contains("${{") => {
                let message = format!("{what:?} cannot hold an expression");
                self.error(node.at, "expression", message, "write the value itself");
            }
            Some(_) => {}
        }
    }

    pub(super) fn flag(&mut self, node: &Node, what: &str, allowed: Allowed) {
        match node.typed() {
            Some(Typed::Bool(_)) => {}
            Some(Typed::Text(text)) if is_one_expression(&text) => {
                expressions::template(self, node, allowed)
            }
            _ => self.error(
                node.at,
                "type",
                format!("{what:?} must be true, false or one expression"),
                "",
            ),
        }
    }

    fn number(&mut self, node: &Node, what: &str, allowed: Allowed) {
        match node.typed() {
            Some(Typed::Number(number)) if number > 0.0 => {}
            Some(Typed::Text(text)) if is_one_expression(&text) => {
                expressions::template(self, node, allowed)
            }
            _ => {
                let message = format!("{what:?} must be a number above 0 or one expression");
                self.error(node.at, "type", message, "");
            }
        }
    }

    pub(super) fn env(&mut self, node: &Node, what: &str, allowed: Allowed) {
        if node.is_null() || !self.is_map(node, &format!("{what:?}")) {
            return;
        }
        for (key, value) in node.entries() {
            if key.text.is_empty() || key.text.contains(['=', '\0']) {
                self.error(
                    key.at,
                    "name",
                    format!("{:?} cannot be a name in {what:?}", key.text),
                    "",
                );
            }
            self.text(value, &key.text, allowed);
        }
    }

    fn texts(&mut self, node: &Node, what: &str, allowed: Allowed) {
        match &node.kind {
            Kind::Scalar { .. } => self.text(node, what, allowed),
            Kind::List(items) => items.iter().for_each(|item| self.text(item, what, allowed)),
            Kind::Map(_) => {
                self.error(
                    node.at,
                    "type",
                    format!("{what:?} must be a text or a list of texts"),
                    "",
                );
            }
        }
    }

    fn concurrency(&mut self, node: &Node, allowed: Allowed) {
        if node.text().is_some() {
            return self.text(node, "concurrency", allowed);
        }
        if !self.is_map(node, "\"concurrency\"") {
            return;
        }
        let cancels = node.get("cancel-in-progress");
        for (key, value) in node.entries() {
            match key.text.as_str() {
                "group" => self.text(value, "group", allowed),
                "cancel-in-progress" => self.flag(value, "cancel-in-progress", allowed),
                "queue" => match value.text() {
                    Some("single") => {}
                    Some("max")
                        if cancels.is_some_and(|c| c.typed() == Some(Typed::Bool(true))) =>
                    {
                        let hint = "drop one of the two";
                        self.error(
                            value.at,
                            "conflict",
                            "\"queue: max\" cannot cancel what is in progress",
                            hint,
                        );
                    }
                    Some("max") => {}
                    _ => self.error(value.at, "value", "\"queue\" is single or max", ""),
                },
                other => self.unknown_key(other, key.at, &grammar::CONCURRENCY, "\"concurrency\""),
            }
        }
        if node.get("group").is_none() {
            self.error(
                node.at,
                "missing-key",
                "\"concurrency\" has no \"group\"",
                "",
            );
        }
    }

    // Job tokens read the repository and push images of their own project, whatever is asked:
    // less is refused, more is named.
    fn permissions(&mut self, node: &Node) {
        const HINT: &str = "job tokens may read the repository, and push images and artifacts of their own project";
        if node.is_null() {
            return;
        }
        if let Some(text) = node.text() {
            if !matches!(text, "read-all" | "write-all" | "{}") {
                self.error(
                    node.at,
                    "value",
                    format!("{text:?} is not a permission"),
                    "read-all, write-all or a map",
                );
            } else if text == "write-all" {
                self.warn(
                    node.at,
                    "permissions",
                    "\"write-all\" gives no more than the usual rights here",
                    HINT,
                );
            }
            return;
        }
        if !self.is_map(node, "\"permissions\"") {
            return;
        }
        for (key, value) in node.entries() {
            if !grammar::PERMISSIONS.contains(&key.text.as_str()) {
                self.unknown_key(&key.text, key.at, &grammar::PERMISSIONS, "\"permissions\"");
                continue;
            }
            match value.text() {
                Some("read" | "none") => {}
                Some("write") if key.text == "packages" => {}
                Some("write") => {
                    let message = format!("the job token gets no \"{}: write\"", key.text);
                    self.warn(value.at, "permissions", message, HINT);
                }
                _ => self.error(
                    value.at,
                    "value",
                    format!("{:?} is read, write or none", key.text),
                    "",
                ),
            }
        }
    }
}

/// Whether the text is one `${{ … }}` and nothing else.
pub(super) fn is_one_expression(text: &str) -> bool {
    let text = text.trim();
    text.starts_with("${{")
        && text.ends_with("}}")
        && !matches!(expr::parts(text), Ok(parts) if parts.len() != 1)
}

/// The known word with the least edits, if at most 2 (3 for long words).
pub(super) fn nearest<'k>(word: &str, known: &[&'k str]) -> Option<&'k str> {
    if word.len() > 64 {
        return None;
    }
    let lower = word.to_lowercase().replace('_', "-");
    let limit = if word.len() > 10 { 3 } else { 2 };
    known
        .iter()
        .map(|k| (edits(&lower, &k.to_lowercase()), *k))
        .filter(|(d, _)| *d <= limit)
        .min()
        .map(|(_, k)| k)
}

fn edits(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, ca) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, cb) in b.iter().enumerate() {
            let next = (diagonal + usize::from(ca != *cb))
                .min(row[j] + 1)
                .min(row[j + 1] + 1);
            diagonal = row[j + 1];
            row[j + 1] = next;
        }
    }
    row[b.len()]
}
