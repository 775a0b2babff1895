//! Producers over the objects of the cluster and the parts of the house, under the names of the
//! programs that show them elsewhere.

use super::telemetry::Producer;
use kube::Client;
use std::sync::Arc;
use towpath_daemon::CancellationToken;
use towpath_kit::copies::Copies;
use towpath_telemetry::exporters::control::{ControlTarget, Part, SpineCaches, SpineTarget};
use towpath_telemetry::exporters::objects::{Allowed, ObjectCaches, ObjectTarget};
use towpath_telemetry::exporters::releases::ReleaseTarget;
use towpath_telemetry::family::Gather;

/// Scrape configurations of the producers and the paths they are told apart by.
pub(super) const POOLS: &[(&str, &str)] = &[
    ("kube-state-metrics", "/metrics"),
    ("apiserver", "/metrics"),
    ("kube-controller-manager", "/metrics"),
    ("kube-scheduler", "/metrics"),
    ("coredns", "/metrics"),
    ("towpath-parts", "/metrics/parts"),
    ("towpath-deliveries", "/metrics/deliveries"),
    ("towpath-releases", "/metrics/releases"),
];

/// Starts what the producers look at; it ends with `cancel`.
pub(super) fn start(client: &Client, copies: &Copies, cancel: &CancellationToken) -> Vec<Producer> {
    let pods = copies.pods.clone();
    let objects = ObjectCaches::start(client, pods.clone(), cancel);
    let spine = SpineCaches::start(client, cancel);
    let part = |part| -> Arc<dyn Gather> { Arc::new(ControlTarget::new(part)) };
    let own = |pool, job, gather: Arc<dyn Gather>| Producer { pool, job, gather };
    let one = |job, gather: Arc<dyn Gather>| Producer {
        pool: job,
        job,
        gather,
    };
    let objects = ObjectTarget::new(objects, Allowed::default());
    vec![
        one("kube-state-metrics", Arc::new(objects)),
        one("apiserver", part(Part::ApiServer)),
        one("kube-controller-manager", part(Part::Controllers)),
        one("kube-scheduler", part(Part::Scheduler)),
        one("coredns", part(Part::Dns)),
        own("towpath-parts", "towpath", part(Part::Towpath)),
        own(
            "towpath-deliveries",
            "towpath",
            Arc::new(SpineTarget::new(spine)),
        ),
        own(
            "towpath-releases",
            "towpath",
            Arc::new(ReleaseTarget::new(pods)),
        ),
    ]
}
