//! Which contexts and special functions an expression may use, by its place in the file.

/// What is allowed in one place.
#[derive(Clone, Copy, Debug)]
pub(super) struct Allowed {
    /// Contexts.
    pub(super) contexts: &'static [&'static str],
    /// `success()` and its kin.
    pub(super) status: bool,
    /// `hashFiles()`.
    pub(super) hash_files: bool,
}

const fn only(contexts: &'static [&'static str]) -> Allowed {
    Allowed {
        contexts,
        status: false,
        hash_files: false,
    }
}

/// `run-name`, workflow `concurrency`.
pub(super) const ROOT: Allowed = only(&["github", "inputs", "vars"]);
/// Workflow `env`.
pub(super) const ROOT_ENV: Allowed = only(&["github", "secrets", "inputs", "vars"]);
/// Job `if`.
pub(super) const JOB_IF: Allowed = Allowed {
    contexts: &["github", "needs", "vars", "inputs"],
    status: true,
    hash_files: false,
};
/// `strategy`.
pub(super) const STRATEGY: Allowed = only(&["github", "needs", "vars", "inputs"]);
/// Job `name`, `runs-on`, `timeout-minutes`, `continue-on-error`, `concurrency`.
pub(super) const JOB: Allowed = only(&["github", "needs", "strategy", "matrix", "inputs", "vars"]);
/// Job `env`.
pub(super) const JOB_ENV: Allowed = only(&[
    "github", "needs", "strategy", "matrix", "inputs", "vars", "secrets",
]);
/// Job `defaults.run`.
pub(super) const DEFAULTS: Allowed = only(&[
    "github", "needs", "strategy", "matrix", "inputs", "vars", "env",
]);
/// Job `outputs`.
pub(super) const OUTPUTS: Allowed = only(&[
    "github", "needs", "strategy", "matrix", "job", "runner", "env", "vars", "secrets", "steps",
    "inputs",
]);
/// Everything of a step but `if`.
pub(super) const STEP: Allowed = Allowed {
    contexts: &[
        "github", "needs", "strategy", "matrix", "job", "runner", "env", "vars", "secrets",
        "steps", "inputs",
    ],
    status: false,
    hash_files: true,
};
/// Step `if`.
pub(super) const STEP_IF: Allowed = Allowed {
    contexts: &[
        "github", "needs", "strategy", "matrix", "job", "runner", "env", "vars", "steps", "inputs",
    ],
    status: true,
    hash_files: true,
};
