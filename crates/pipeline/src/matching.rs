//! Which workflows an event starts.

use crate::glob::Patterns;
use crate::workflow::{self, Read, Trigger};
use towpath_kit::kinds::Severity;
use towpath_kit::traits::{PushEvent, TreeFile, WorkflowMatch, Workflows};

const SKIP_WORDS: [&str; 5] = [
    "[skip ci]",
    "[ci skip]",
    "[no ci]",
    "[skip actions]",
    "[actions skip]",
];

/// Directory of workflow files.
pub const DIRECTORY: &str = ".github/workflows/";

/// What happened, as filters see it.
#[derive(Clone, Debug, Default)]
pub struct Event<'a> {
    /// `push` or `pull_request`.
    pub name: &'a str,
    /// Full ref: what was pushed, or the base branch of a pull request.
    pub ref_name: &'a str,
    /// `opened`, … of a pull request.
    pub action: &'a str,
    /// Changed paths; `None` counts as a match.
    pub paths: Option<&'a [String]>,
}

/// Workflow files of this crate's language.
#[derive(Clone, Copy, Debug, Default)]
pub struct WorkflowFiles;

impl Workflows for WorkflowFiles {
    fn matching(&self, event: &PushEvent, files: &[TreeFile]) -> Vec<WorkflowMatch> {
        let deleted = event.after.bytes().all(|b| b == b'0');
        let quiet =
            deleted || skips(&event.message) || event.ref_name.starts_with("refs/heads/env/");
        let mut files: Vec<&TreeFile> = files.iter().filter(|f| is_workflow(&f.path)).collect();
        files.sort_by(|a, b| a.path.cmp(&b.path));
        let pushed = Event {
            name: "push",
            ref_name: &event.ref_name,
            action: "",
            paths: event.paths.as_deref(),
        };
        files
            .into_iter()
            .map(|file| answer(file, &pushed, quiet))
            .collect()
    }
}

fn answer(file: &TreeFile, event: &Event<'_>, quiet: bool) -> WorkflowMatch {
    let read = workflow::read(&file.path, &file.content);
    WorkflowMatch {
        path: file.path.clone(),
        name: name(&read, &file.path),
        starts: !quiet && starts(&read, event),
        findings: read.findings,
    }
}

/// `name:`, or the path.
pub fn name(read: &Read, path: &str) -> String {
    read.workflow
        .as_ref()
        .and_then(|w| w.name.clone())
        .filter(|n| !n.is_empty())
        .unwrap_or_else(|| path.to_string())
}

fn is_workflow(path: &str) -> bool {
    path.strip_prefix(DIRECTORY).is_some_and(|name| {
        !name.contains('/') && (name.ends_with(".yml") || name.ends_with(".yaml"))
    })
}

/// Whether a commit message asks for no runs.
pub fn skips(message: &str) -> bool {
    let lower = message.to_lowercase();
    let trailer = |line: &str| matches!(line.trim(), "skip-checks: true" | "skip-checks:true");
    SKIP_WORDS.iter().any(|word| lower.contains(word)) || lower.lines().last().is_some_and(trailer)
}

/// Whether a file starts for an event. One that cannot be read far enough to know starts too:
/// its run fails and shows why.
pub fn starts(read: &Read, event: &Event<'_>) -> bool {
    let Some(workflow) = &read.workflow else {
        return true;
    };
    let broken = |f: &towpath_kit::kinds::Finding| {
        f.severity == Severity::Error
            && matches!(f.rule.as_str(), "workflow/event" | "workflow/empty")
    };
    if workflow.triggers.is_empty() {
        return !read.runs();
    }
    if workflow
        .triggers
        .iter()
        .any(|t| t.event == event.name && matches(t, event))
    {
        return true;
    }
    // A misspelt event might have meant this one.
    read.findings.iter().any(broken) && !workflow.triggers.iter().any(|t| t.event == event.name)
}

/// Whether a trigger's filters let the event through. A filter that cannot be read lets it.
pub fn matches(trigger: &Trigger, event: &Event<'_>) -> bool {
    if event.name == "pull_request" {
        let known = ["opened", "synchronize", "reopened"];
        let wanted = if trigger.types.is_empty() {
            known.contains(&event.action)
        } else {
            trigger.types.iter().any(|t| t == event.action)
        };
        if !wanted {
            return false;
        }
    }
    let has = |kind: &str| {
        trigger.filter(kind).is_some() || trigger.filter(&format!("{kind}-ignore")).is_some()
    };
    let ref_matches = if let Some(branch) = event.ref_name.strip_prefix("refs/heads/") {
        if has("branches") {
            selected(trigger, "branches", branch)
        } else {
            !has("tags")
        }
    } else if let Some(tag) = event.ref_name.strip_prefix("refs/tags/") {
        if has("tags") {
            selected(trigger, "tags", tag)
        } else {
            !has("branches")
        }
    } else {
        false
    };
    // Paths are not evaluated for tags.
    let paths_count = has("paths") && !event.ref_name.starts_with("refs/tags/");
    ref_matches && (!paths_count || paths_match(trigger, event.paths))
}

fn read_patterns(patterns: &[String]) -> Option<Patterns> {
    Patterns::new(patterns.iter().map(String::as_str)).ok()
}

fn selected(trigger: &Trigger, kind: &str, name: &str) -> bool {
    if let Some(patterns) = trigger.filter(kind) {
        return read_patterns(patterns).is_none_or(|p| p.matches(name));
    }
    let ignored = trigger
        .filter(&format!("{kind}-ignore"))
        .unwrap_or_default();
    read_patterns(ignored).is_none_or(|p| !p.matches(name))
}

fn paths_match(trigger: &Trigger, paths: Option<&[String]>) -> bool {
    let Some(paths) = paths else { return true };
    if let Some(patterns) = trigger.filter("paths") {
        return read_patterns(patterns).is_none_or(|p| paths.iter().any(|path| p.matches(path)));
    }
    let ignored = trigger.filter("paths-ignore").unwrap_or_default();
    read_patterns(ignored).is_none_or(|p| paths.iter().any(|path| !p.matches(path)))
}
