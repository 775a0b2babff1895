//! The rules there are without any of one's own: nodes, pods, deployments, volumes, certificates,
//! requests, the burn of objectives, queues and the platform itself. Each alert says what to do first in `runbook`.

/// Files of rules by their names.
pub const STANDARD: &[(&str, &str)] = &[
    ("towpath/nodes.yml", include_str!("nodes.yml")),
    ("towpath/workloads.yml", include_str!("workloads.yml")),
    ("towpath/requests.yml", include_str!("requests.yml")),
    ("towpath/platform.yml", include_str!("platform.yml")),
];
