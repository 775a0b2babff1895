//! One change: what, when, by whom, and where it came from.

use serde::{Deserialize, Serialize};

/// An object by name.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(default)]
pub struct Object {
    /// Its kind, as in a manifest.
    pub kind: String,
    /// Empty for cluster scope.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub namespace: String,
    /// Its name.
    pub name: String,
}

impl Object {
    /// An object from its parts.
    pub fn new(kind: &str, namespace: &str, name: &str) -> Self {
        Self {
            kind: kind.into(),
            namespace: namespace.into(),
            name: name.into(),
        }
    }
}

impl std::fmt::Display for Object {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} ", self.kind)?;
        if !self.namespace.is_empty() {
            write!(f, "{}/", self.namespace)?;
        }
        f.write_str(&self.name)
    }
}

/// What sort of change.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum ChangeKind {
    /// Another version of a workload: a promotion, a rollout, an apply.
    #[default]
    Deploy,
    /// A ConfigMap or Secret.
    Config,
    /// Another number of pods, or other amounts.
    Scale,
    /// Quotas, limits, admission and network policies, webhooks.
    Policy,
    /// Roles and to whom they are bound.
    Access,
    /// A namespace came, went or got other labels.
    Namespace,
    /// A run of a workflow ended.
    Run,
    /// Alerts were silenced, or are heard again.
    Silence,
    /// A node came, went or changed.
    Node,
    /// Something a person did by hand.
    Manual,
}

/// A change that somebody made.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Change {
    /// Names it in the ledger; the same change always has the same name.
    pub id: String,
    /// When, milliseconds since the epoch.
    pub at: i64,
    /// What sort.
    pub kind: ChangeKind,
    /// What was changed.
    pub object: Object,
    /// What else it touched: workloads of a promotion, workloads that mount a ConfigMap.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub touched: Vec<Object>,
    /// Who.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub by: String,
    /// The commit, where it came from one.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub commit: String,
    /// The release, where it came from one.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub release: String,
    /// The promotion (in the namespace of its project, `namespace/name`), where it came from one.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub promotion: String,
    /// In one sentence.
    #[serde(default)]
    pub words: String,
    /// A digest of what people set there before; empty where there was nothing.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub was: String,
    /// The same since. A later change that has it as `was`, and this one's `was` as its own, undoes
    /// this one.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub now: String,
}

impl Change {
    /// Whether this one takes back what an earlier one did.
    pub fn undoes(&self, other: &Self) -> bool {
        self.at > other.at
            && self.object == other.object
            && self.id != other.id
            && self.now == other.was
            && self.was != self.now
    }
}
