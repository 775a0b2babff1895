//! Spans from the doors of OpenTelemetry into the store.

use super::convert::incoming;
use super::derived::Derived;
use crate::otlp::message::ExportTraceServiceRequest;
use crate::otlp::{Accepted, Refusal, Sink};
use async_trait::async_trait;
use std::sync::Arc;
use std::time::Duration;
use towpath_signals::traces::{NotTaken, Store};

/// Takes spans.
pub struct TraceIntake {
    store: Store,
    derived: Arc<Derived>,
}

impl TraceIntake {
    /// Into this store, with metrics derived on the way.
    pub fn new(store: Store, derived: Arc<Derived>) -> Self {
        Self { store, derived }
    }
}

fn refusal(why: NotTaken) -> Refusal {
    match why {
        NotTaken::Busy(message) => Refusal::Busy {
            message,
            after: Duration::from_secs(1),
        },
        NotTaken::Failed(_) => Refusal::Unavailable(why.to_string()),
    }
}

#[async_trait]
impl Sink<ExportTraceServiceRequest> for TraceIntake {
    async fn accept(&self, request: ExportTraceServiceRequest) -> Result<Accepted, Refusal> {
        let (store, derived) = (self.store.clone(), Arc::clone(&self.derived));
        let work = move || {
            let sent = incoming(request.resource_spans);
            let taken = store.append(&sent.traces).map_err(refusal)?;
            derived.observe(&sent.traces);
            let mut accepted = Accepted {
                rejected: (sent.rejected + taken.too_large) as u64,
                message: sent.why,
            };
            if taken.too_large > 0 {
                accepted.message = "the trace is too large".into();
            }
            Ok(accepted)
        };
        let done = tokio::task::spawn_blocking(work).await;
        let accepted = done.map_err(|e| Refusal::Unavailable(e.to_string()))??;
        self.store.sync().await.map_err(refusal)?;
        Ok(accepted)
    }
}
