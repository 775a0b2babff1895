//! What the query says about a write.

use crate::core::Call;
use crate::model::Strictness;
use serde_json::{Value, json};
use towpath_api::field::FieldError;
use towpath_api::status::{self, Failure};

const MANAGER_BYTES: usize = 128;

/// What the query says about a write.
pub(crate) struct Options {
    pub(crate) dry_run: bool,
    pub(crate) manager: String,
    pub(crate) strictness: Strictness,
    pub(crate) force: bool,
    /// The new state carries its owners already (server-side apply).
    pub(crate) owned: bool,
    /// The write is one of the scale to those who own fields.
    pub(crate) scale: bool,
    /// The same as the object that admission is shown.
    pub(crate) shown: Value,
}

impl Options {
    pub(crate) fn read(call: &Call) -> Result<Self, Failure> {
        let kind = match call.method {
            http::Method::PUT => "UpdateOptions",
            http::Method::PATCH => "PatchOptions",
            _ => "CreateOptions",
        };
        let refused = |error: FieldError| status::invalid("meta.k8s.io", kind, "", &[error]);
        let asked: Vec<&str> = call
            .query
            .all("dryRun")
            .filter(|value| !value.is_empty())
            .collect();
        if asked.iter().any(|value| *value != "All") {
            return Err(refused(FieldError::unsupported(
                "dryRun",
                json!(asked),
                &["All"],
            )));
        }
        let apply = call.content_type() == "application/apply-patch+yaml";
        if apply && call.query.get("fieldManager").is_none_or(str::is_empty) {
            return Err(refused(FieldError::required(
                "fieldManager",
                "is required for apply patch",
            )));
        }
        if call
            .query
            .get("fieldManager")
            .is_some_and(|name| name.len() > MANAGER_BYTES)
        {
            return Err(refused(FieldError::too_long("fieldManager", MANAGER_BYTES)));
        }
        if kind == "PatchOptions" && !apply && call.query.get("force").is_some() {
            let why = "may not be specified for non-apply patch";
            return Err(refused(FieldError::forbidden("force", why)));
        }
        let given = call.query.get("fieldValidation");
        let strictness = Strictness::parse(given).ok_or_else(|| {
            let known = ["", "Ignore", "Strict", "Warn"];
            refused(FieldError::unsupported(
                "fieldValidation",
                given.unwrap_or_default(),
                &known,
            ))
        })?;
        Ok(Self {
            dry_run: !asked.is_empty(),
            manager: call.manager(),
            strictness,
            force: call.query.is("force"),
            owned: false,
            scale: false,
            // A patch is shown to admission as the write that it becomes.
            shown: match kind {
                "PatchOptions" => shown(call, "UpdateOptions", &asked),
                kind => shown(call, kind, &asked),
            },
        })
    }
}

// What the client said, not what was made of it.
fn shown(call: &Call, kind: &str, dry_run: &[&str]) -> Value {
    let mut options = json!({"kind": kind, "apiVersion": "meta.k8s.io/v1"});
    for key in ["fieldManager", "fieldValidation"] {
        if let Some(value) = call.query.get(key).filter(|value| !value.is_empty()) {
            options[key] = value.into();
        }
    }
    if !dry_run.is_empty() {
        options["dryRun"] = json!(dry_run);
    }
    options
}
