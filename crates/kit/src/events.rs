//! Kubernetes events about objects, folded by the recorder: the same event again raises its
//! count instead of making a new object.

use k8s_openapi::api::core::v1::ObjectReference;
use kube::Client;
use kube::runtime::events::{Event, EventType, Recorder, Reporter};

/// Writes events in the name of one component.
#[derive(Clone)]
pub struct Events {
    recorder: Recorder,
}

impl Events {
    /// Recorder for a component, e.g. `deployment-controller`.
    pub fn new(client: Client, component: &str) -> Self {
        let reporter = Reporter {
            controller: component.into(),
            instance: None,
        };
        Self {
            recorder: Recorder::new(client, reporter),
        }
    }

    /// Records that something went as it should.
    pub async fn normal(&self, about: &ObjectReference, reason: &str, action: &str, note: String) {
        self.publish(about, EventType::Normal, reason, action, note)
            .await;
    }

    /// Records that something did not.
    pub async fn warning(&self, about: &ObjectReference, reason: &str, action: &str, note: String) {
        self.publish(about, EventType::Warning, reason, action, note)
            .await;
    }

    async fn publish(
        &self,
        about: &ObjectReference,
        type_: EventType,
        reason: &str,
        action: &str,
        mut note: String,
    ) {
        // The API refuses notes over 1,024 bytes.
        if note.len() > 1000 {
            let cut = (0..=1000)
                .rev()
                .find(|&i| note.is_char_boundary(i))
                .unwrap_or(0);
            note.truncate(cut);
        }
        let event = Event {
            type_,
            reason: reason.into(),
            note: Some(note),
            action: action.into(),
            secondary: None,
        };
        if let Err(error) = self.recorder.publish(&event, about).await {
            tracing::debug!(%error, reason, "event not recorded");
        }
    }
}
