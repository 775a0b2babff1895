//! The grammar as tables: every place lists its keys and what each may hold.

use super::contexts::{self as c, Allowed};

/// What a place may hold.
#[derive(Clone, Copy)]
pub(super) enum Rule {
    /// One value, expressions allowed.
    Text(Allowed),
    /// One value without expressions.
    Plain,
    /// `true`, `false` or one expression.
    Flag(Allowed),
    /// A number or one expression.
    Number(Allowed),
    /// A condition.
    If(Allowed),
    /// A map of names to texts.
    Env(Allowed),
    /// One text or a list of texts.
    Texts(Allowed),
    /// A map with known keys.
    Map(&'static [Field]),
    /// `concurrency`.
    Concurrency(Allowed),
    /// `strategy.matrix`.
    Matrix,
    /// `runs-on`.
    RunsOn,
    /// `on`.
    On,
    /// `permissions`.
    Permissions,
    /// `jobs`.
    Jobs,
    /// `steps`.
    Steps,
    /// Part of the language that this server does not do: why, and what to do instead.
    Later(&'static str),
}

/// One key of a map.
pub(super) struct Field {
    pub(super) key: &'static str,
    pub(super) rule: Rule,
    pub(super) required: bool,
}

const fn f(key: &'static str, rule: Rule) -> Field {
    Field {
        key,
        rule,
        required: false,
    }
}

const fn must(key: &'static str, rule: Rule) -> Field {
    Field {
        key,
        rule,
        required: true,
    }
}

pub(super) const ROOT: &[Field] = &[
    f("name", Rule::Plain),
    f("run-name", Rule::Text(c::ROOT)),
    must("on", Rule::On),
    f("permissions", Rule::Permissions),
    f("env", Rule::Env(c::ROOT_ENV)),
    f("defaults", Rule::Map(ROOT_DEFAULTS)),
    f("concurrency", Rule::Concurrency(c::ROOT)),
    must("jobs", Rule::Jobs),
];

const ROOT_DEFAULTS: &[Field] = &[f("run", Rule::Map(ROOT_DEFAULTS_RUN))];
const ROOT_DEFAULTS_RUN: &[Field] = &[f("shell", Rule::Plain), f("working-directory", Rule::Plain)];
const JOB_DEFAULTS: &[Field] = &[f("run", Rule::Map(JOB_DEFAULTS_RUN))];
const JOB_DEFAULTS_RUN: &[Field] = &[
    f("shell", Rule::Text(c::DEFAULTS)),
    f("working-directory", Rule::Text(c::DEFAULTS)),
];

pub(super) const JOB: &[Field] = &[
    f("name", Rule::Text(c::JOB)),
    f("needs", Rule::Texts(NO_CONTEXT)),
    f("if", Rule::If(c::JOB_IF)),
    f("permissions", Rule::Permissions),
    must("runs-on", Rule::RunsOn),
    f(
        "environment",
        Rule::Later("deploy with an Environment object and its promotion policy instead"),
    ),
    f("concurrency", Rule::Concurrency(c::JOB)),
    f("outputs", Rule::Env(c::OUTPUTS)),
    f("env", Rule::Env(c::JOB_ENV)),
    f("defaults", Rule::Map(JOB_DEFAULTS)),
    must("steps", Rule::Steps),
    f("timeout-minutes", Rule::Number(c::JOB)),
    f("cancel-timeout-minutes", Rule::Number(c::JOB)),
    f("continue-on-error", Rule::Flag(c::JOB)),
    f("strategy", Rule::Map(STRATEGY)),
    f(
        "container",
        Rule::Later("jobs run on the runner image that runs-on names"),
    ),
    f(
        "services",
        Rule::Later("start what the steps need in a step"),
    ),
    f("snapshot", Rule::Later("leave it out")),
    f(
        "uses",
        Rule::Later("reusable workflows: write the steps here"),
    ),
    f(
        "with",
        Rule::Later("reusable workflows: write the steps here"),
    ),
    f(
        "secrets",
        Rule::Later("reusable workflows: write the steps here"),
    ),
];

pub(super) const NO_CONTEXT: Allowed = Allowed {
    contexts: &[],
    status: false,
    hash_files: false,
};

const STRATEGY: &[Field] = &[
    f("matrix", Rule::Matrix),
    f("fail-fast", Rule::Flag(c::STRATEGY)),
    f("max-parallel", Rule::Number(c::STRATEGY)),
];

pub(super) const STEP: &[Field] = &[
    f("id", Rule::Plain),
    f("name", Rule::Text(c::STEP)),
    f("if", Rule::If(c::STEP_IF)),
    f("uses", Rule::Plain),
    f("run", Rule::Text(c::STEP)),
    f("with", Rule::Env(c::STEP)),
    f("env", Rule::Env(c::STEP)),
    f("working-directory", Rule::Text(c::STEP)),
    f("shell", Rule::Text(c::STEP)),
    f("continue-on-error", Rule::Flag(c::STEP)),
    f("timeout-minutes", Rule::Number(c::STEP)),
    f("background", Rule::Later("end the command with & instead")),
];

pub(super) const CONCURRENCY: [&str; 3] = ["group", "cancel-in-progress", "queue"];

pub(super) const FILTERS: [&str; 6] = [
    "branches",
    "branches-ignore",
    "tags",
    "tags-ignore",
    "paths",
    "paths-ignore",
];

pub(super) const DISPATCH_INPUT: [&str; 6] = [
    "description",
    "required",
    "default",
    "type",
    "options",
    "deprecationMessage",
];

pub(super) const DISPATCH_TYPES: [&str; 5] =
    ["string", "boolean", "number", "choice", "environment"];

/// Events that start runs here.
pub(super) const EVENTS: [&str; 3] = ["push", "pull_request", "workflow_dispatch"];

/// Events of the language that start nothing here.
pub(super) const OTHER_EVENTS: [&str; 33] = [
    "branch_protection_rule",
    "check_run",
    "check_suite",
    "create",
    "delete",
    "deployment",
    "deployment_status",
    "discussion",
    "discussion_comment",
    "fork",
    "gollum",
    "image_version",
    "issue_comment",
    "issues",
    "label",
    "merge_group",
    "milestone",
    "page_build",
    "project",
    "project_card",
    "project_column",
    "public",
    "pull_request_review",
    "pull_request_review_comment",
    "pull_request_target",
    "registry_package",
    "release",
    "repository_dispatch",
    "schedule",
    "status",
    "watch",
    "workflow_call",
    "workflow_run",
];

pub(super) const PULL_REQUEST_TYPES: [&str; 20] = [
    "assigned",
    "auto_merge_disabled",
    "auto_merge_enabled",
    "closed",
    "converted_to_draft",
    "demilestoned",
    "dequeued",
    "edited",
    "enqueued",
    "labeled",
    "locked",
    "milestoned",
    "opened",
    "ready_for_review",
    "reopened",
    "review_request_removed",
    "review_requested",
    "synchronize",
    "unassigned",
    "unlabeled",
];

pub(super) const PERMISSIONS: [&str; 15] = [
    "actions",
    "artifact-metadata",
    "attestations",
    "checks",
    "contents",
    "deployments",
    "discussions",
    "id-token",
    "issues",
    "models",
    "packages",
    "pages",
    "pull-requests",
    "security-events",
    "statuses",
];
