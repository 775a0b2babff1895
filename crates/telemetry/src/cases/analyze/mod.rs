//! Deterministic analyzers: each looks at one kind of object and says what is wrong with it, in
//! the words of who decided it (the node, the scheduler, admission).

mod cluster;
mod pod;

pub(crate) use cluster::mounts;
pub(crate) use pod::workload;

use super::finding::Finding;
use crate::ledger::Object;
use k8s_openapi::api::core::v1::{Event, Node, PersistentVolumeClaim, Pod, ResourceQuota};
use std::collections::BTreeMap;
use std::sync::Arc;

/// What is looked at. Empty lists are looked at as nothing there.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    /// Milliseconds since the epoch.
    pub now: i64,
    /// Pods of the namespaces in question and of those they call.
    pub pods: Vec<Arc<Pod>>,
    /// Events of the last hour.
    pub events: Vec<Arc<Event>>,
    /// Claims.
    pub claims: Vec<Arc<PersistentVolumeClaim>>,
    /// Quotas.
    pub quotas: Vec<Arc<ResourceQuota>>,
    /// Nodes.
    pub nodes: Vec<Arc<Node>>,
    /// Ends of the certificates in Secrets of type `kubernetes.io/tls`, milliseconds since the
    /// epoch.
    pub certificates: Vec<(Object, i64)>,
    /// Used and total bytes of volumes and disks.
    pub disks: Vec<(Object, u64, u64)>,
    /// Processor use and request of pods on nodes that are short, in cores.
    pub hungry: Vec<(Object, f64, f64)>,
}

/// Everything that is wrong, gravest first; what several pods of a workload show is one finding.
pub fn analyze(snapshot: &Snapshot) -> Vec<Finding> {
    let mut all: Vec<Finding> = snapshot
        .pods
        .iter()
        .flat_map(|pod| pod::findings(pod, snapshot))
        .collect();
    all.extend(cluster::findings(snapshot));
    let mut merged: BTreeMap<_, Finding> = BTreeMap::new();
    for finding in all {
        let key = (
            finding.kind,
            finding.workload.clone(),
            finding.container.clone(),
            finding.mentions.clone(),
        );
        match merged.get_mut(&key) {
            None => {
                merged.insert(key, finding);
            }
            Some(first) => {
                first.count += finding.count;
                first.since = first.since.min(finding.since);
                first.made = first.made.min(finding.made);
            }
        }
    }
    let mut found: Vec<Finding> = merged.into_values().collect();
    for finding in &mut found {
        finding.others_well = snapshot
            .pods
            .iter()
            .any(|pod| pod::is_ready(pod) && pod::workload(pod) == finding.workload);
    }
    found.sort_by(|a, b| {
        b.kind
            .severity()
            .total_cmp(&a.kind.severity())
            .then_with(|| a.since.cmp(&b.since))
    });
    found
}
