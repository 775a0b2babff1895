//! Producers over the objects of the cluster and the parts of the house, under the names of the
//! programs that show them elsewhere.

use super::telemetry::Producer;
use crate::config::Config;
use std::sync::Arc;
use towpath_kit::copies::{Copies, Spine};
use towpath_telemetry::exporters::certificates::CertificateTarget;
use towpath_telemetry::exporters::control::{ControlTarget, Part, SpineTarget};
use towpath_telemetry::exporters::objects::{Allowed, ObjectTarget};
use towpath_telemetry::exporters::releases::ReleaseTarget;
use towpath_telemetry::family::Gather;
use towpath_telemetry::ledger::Observed;

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
    ("towpath-certificates", "/metrics/certificates"),
];

/// Over what all components share.
pub(super) fn all(copies: &Copies, spine: &Spine) -> Vec<Producer> {
    let part = |part| -> Arc<dyn Gather> { Arc::new(ControlTarget::new(part)) };
    let own = |pool, job, gather: Arc<dyn Gather>| Producer { pool, job, gather };
    let one = |job, gather: Arc<dyn Gather>| Producer {
        pool: job,
        job,
        gather,
    };
    let objects = ObjectTarget::new(copies.clone(), Allowed::default());
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
            Arc::new(SpineTarget::new(spine.clone())),
        ),
        own(
            "towpath-releases",
            "towpath",
            Arc::new(ReleaseTarget::new(copies.pods.clone())),
        ),
    ]
}

/// Ends of certificates, those of the cluster and the server's own.
pub(super) fn certificates(config: &Config, observed: &Observed) -> Producer {
    let folder = config.data_dir.join("pki");
    Producer {
        pool: "towpath-certificates",
        job: "towpath",
        gather: Arc::new(CertificateTarget::new(observed.clone(), folder)),
    }
}
