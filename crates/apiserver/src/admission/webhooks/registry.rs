//! The hooks that are configured now, read once per change of their configurations.

use super::conditions::{self, Condition};
use crate::record;
use parking_lot::Mutex;
use serde_json::Value;
use std::sync::Arc;
use std::time::Duration;
use towpath_api::selector::Label;
use towpath_store::{Snapshot, Table};

const MUTATING: &str = "admissionregistration.k8s.io/mutatingwebhookconfigurations";
const VALIDATING: &str = "admissionregistration.k8s.io/validatingwebhookconfigurations";
const TIMEOUT_SECONDS: u64 = 10;
const LONGEST_SECONDS: u64 = 30;

/// One rule of a hook; `*` stands for anything.
pub(super) struct Rule {
    pub(super) operations: Vec<String>,
    pub(super) groups: Vec<String>,
    pub(super) versions: Vec<String>,
    pub(super) resources: Vec<String>,
    pub(super) scope: String,
}

/// One webhook of a configuration.
pub(super) struct Hook {
    pub(super) configuration: String,
    pub(super) name: String,
    pub(super) rules: Vec<Rule>,
    /// `failurePolicy: Ignore`.
    pub(super) fails_open: bool,
    /// `matchPolicy: Exact`.
    pub(super) exact: bool,
    pub(super) namespaces: Label,
    pub(super) objects: Label,
    pub(super) conditions: Vec<Condition>,
    pub(super) timeout: Duration,
    pub(super) no_side_effects: bool,
    /// `reinvocationPolicy: IfNeeded`.
    pub(super) reinvoke: bool,
    pub(super) client: Value,
    /// Whether it reads `AdmissionReview` of v1.
    pub(super) reads_v1: bool,
}

impl Hook {
    pub(super) fn id(&self) -> String {
        format!("{}/{}", self.configuration, self.name)
    }
}

/// All of them, in the order in which they run.
#[derive(Default)]
pub(super) struct Hooks {
    pub(super) mutating: Vec<Arc<Hook>>,
    pub(super) validating: Vec<Arc<Hook>>,
}

struct Known {
    mutating: Table,
    validating: Table,
    hooks: Arc<Hooks>,
}

/// Remembers what was read last.
#[derive(Default)]
pub(crate) struct Registry(Mutex<Option<Known>>);

impl Registry {
    /// The hooks of a state of the store.
    pub(super) fn present(&self, state: &Snapshot) -> Arc<Hooks> {
        if state.count(MUTATING) == 0 && state.count(VALIDATING) == 0 {
            return Arc::default();
        }
        let (mutating, validating) = (state.table(MUTATING), state.table(VALIDATING));
        let mut known = self.0.lock();
        if let Some(known) = known.as_ref()
            && known.mutating.ptr_eq(&mutating)
            && known.validating.ptr_eq(&validating)
        {
            return known.hooks.clone();
        }
        let hooks = Arc::new(Hooks {
            mutating: read(&mutating),
            validating: read(&validating),
        });
        *known = Some(Known {
            mutating,
            validating,
            hooks: hooks.clone(),
        });
        hooks
    }
}

// Tables are in the order of names.
fn read(table: &Table) -> Vec<Arc<Hook>> {
    let mut all = Vec::new();
    for rec in table.values() {
        let object = record::decode(rec);
        for hook in object["webhooks"].as_array().into_iter().flatten() {
            all.push(Arc::new(hook_of(rec.name(), hook)));
        }
    }
    all
}

fn texts(value: &Value) -> Vec<String> {
    let all = value.as_array().into_iter().flatten();
    all.filter_map(|text| text.as_str().map(str::to_string))
        .collect()
}

fn selector(value: &Value) -> Label {
    match value.is_object() {
        // Validation has seen it; what cannot be read selects nothing less than everything.
        true => Label::from_object(value).unwrap_or_default(),
        false => Label::default(),
    }
}

fn hook_of(configuration: &str, hook: &Value) -> Hook {
    let text = |key: &str| hook[key].as_str().unwrap_or_default();
    let seconds = hook["timeoutSeconds"].as_u64().unwrap_or(TIMEOUT_SECONDS);
    let rules = hook["rules"].as_array().into_iter().flatten();
    Hook {
        configuration: configuration.into(),
        name: text("name").into(),
        rules: rules
            .map(|rule| Rule {
                operations: texts(&rule["operations"]),
                groups: texts(&rule["apiGroups"]),
                versions: texts(&rule["apiVersions"]),
                resources: texts(&rule["resources"]),
                scope: rule["scope"].as_str().unwrap_or("*").into(),
            })
            .collect(),
        fails_open: text("failurePolicy") == "Ignore",
        exact: text("matchPolicy") == "Exact",
        namespaces: selector(&hook["namespaceSelector"]),
        objects: selector(&hook["objectSelector"]),
        conditions: conditions::read(hook),
        timeout: Duration::from_secs(seconds.clamp(1, LONGEST_SECONDS)),
        no_side_effects: matches!(text("sideEffects"), "None" | "NoneOnDryRun"),
        reinvoke: text("reinvocationPolicy") == "IfNeeded",
        client: hook["clientConfig"].clone(),
        reads_v1: texts(&hook["admissionReviewVersions"])
            .iter()
            .any(|v| v == "v1"),
    }
}
