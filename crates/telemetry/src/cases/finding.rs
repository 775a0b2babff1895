//! What the state of objects says is wrong.

use crate::ledger::Object;
use serde::{Deserialize, Serialize};

/// What is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Kind {
    /// A container ends again and again.
    CrashLoop,
    /// A container used more memory than it may.
    OutOfMemory,
    /// An image does not come.
    ImagePull,
    /// A ConfigMap, Secret or claim that is referred to is not there.
    MissingReference,
    /// A probe does not pass.
    ProbeFailing,
    /// No node takes the pod.
    Unschedulable,
    /// The node took the pod back.
    Evicted,
    /// A quota forbids new pods.
    Quota,
    /// A volume or disk has no room.
    DiskFull,
    /// A certificate has ended, or ends soon.
    Certificate,
    /// A name does not resolve.
    UnknownName,
    /// A policy or webhook refuses.
    Denied,
    /// A node is not ready.
    NodeDown,
    /// Pods take far more than they asked for on a node that is short.
    NoisyNeighbour,
    /// Pods of a service that others call are not ready.
    Unready,
}

impl Kind {
    /// How surely it hurts somebody: 0 to 1.
    pub(super) fn severity(self) -> f64 {
        match self {
            Self::CrashLoop | Self::MissingReference | Self::ImagePull => 1.0,
            Self::OutOfMemory | Self::DiskFull | Self::NodeDown | Self::Denied => 0.95,
            Self::ProbeFailing | Self::Evicted | Self::Quota | Self::Unschedulable => 0.9,
            Self::Certificate | Self::UnknownName => 0.85,
            Self::Unready => 0.6,
            Self::NoisyNeighbour => 0.5,
        }
    }
}

/// What to look at next. Reads only.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", tag = "look")]
pub enum Step {
    /// The last lines of a container, of its life before where it has begun another.
    Logs {
        /// Pod.
        pod: Object,
        /// Container.
        container: String,
        /// Of the life before.
        previous: bool,
    },
    /// What was told about an object.
    Events {
        /// Of what.
        of: Object,
    },
    /// An object as it is.
    Show {
        /// Which.
        object: Object,
    },
    /// A query for a chart.
    Query {
        /// What it shows.
        title: String,
        /// PromQL.
        query: String,
    },
}

/// One thing that is wrong, of one workload or object.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Finding {
    /// What is wrong.
    pub kind: Kind,
    /// Where it shows.
    pub about: Object,
    /// What it belongs to: the Deployment of a pod; itself otherwise.
    pub workload: Object,
    /// The container, where it is about one.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub container: String,
    /// Objects that the trouble names, such as the Secret that is not there.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub mentions: Vec<Object>,
    /// Since when, milliseconds since the epoch.
    pub since: i64,
    /// When the pods that show it were made, the earliest; 0 where it is about no pod.
    pub made: i64,
    /// How many pods show it.
    pub count: usize,
    /// Whether pods of the same workload are well.
    pub others_well: bool,
    /// In one sentence.
    pub words: String,
    /// What to look at next.
    pub steps: Vec<Step>,
}
