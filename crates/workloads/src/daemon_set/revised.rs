//! A daemon set as one of the kinds whose templates are kept.

use crate::revisions::{REVISION, Revised};
use crate::selector::Labels;
use k8s_openapi::api::apps::v1::{ControllerRevision, DaemonSet};
use k8s_openapi::api::core::v1::PodTemplateSpec;

impl Revised for DaemonSet {
    const HASH: &'static str = REVISION;

    fn template(&self) -> PodTemplateSpec {
        let spec = self.spec.as_ref();
        spec.map(|s| s.template.clone()).unwrap_or_default()
    }

    fn revision_labels(&self) -> Labels {
        let labels = self.template().metadata.and_then(|m| m.labels);
        labels.unwrap_or_default()
    }

    fn collision_count(&self) -> i32 {
        let status = self.status.as_ref();
        status.and_then(|s| s.collision_count).unwrap_or(0)
    }

    fn with_collision(&self) -> Self {
        let mut set = self.clone();
        let count = self.collision_count() + 1;
        set.status.get_or_insert_default().collision_count = Some(count);
        set
    }

    fn current(&self) -> Option<&str> {
        None
    }

    fn history_limit(&self) -> Option<i32> {
        self.spec.as_ref()?.revision_history_limit
    }

    fn mark(revision: &ControllerRevision) -> &str {
        let labels = revision.metadata.labels.as_ref();
        let hash = labels.and_then(|l| l.get(REVISION));
        hash.map(String::as_str).unwrap_or_default()
    }
}
