//! A stateful set as one of the kinds whose templates are kept.

use crate::revisions::{self, Revised};
use crate::selector::Labels;
use k8s_openapi::api::apps::v1::{ControllerRevision, StatefulSet};
use k8s_openapi::api::core::v1::PodTemplateSpec;

impl Revised for StatefulSet {
    const HASH: &'static str = "controller.kubernetes.io/hash";

    fn template(&self) -> PodTemplateSpec {
        let spec = self.spec.as_ref();
        spec.map(|s| s.template.clone()).unwrap_or_default()
    }

    fn revision_labels(&self) -> Labels {
        let spec = self.spec.as_ref();
        spec.and_then(|s| s.selector.match_labels.clone())
            .unwrap_or_default()
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
        self.status.as_ref()?.current_revision.as_deref()
    }

    fn history_limit(&self) -> Option<i32> {
        self.spec.as_ref()?.revision_history_limit
    }

    fn mark(revision: &ControllerRevision) -> &str {
        revisions::name(revision)
    }
}
