//! The life of a process: services with a start order, readiness, supervision and drain;
//! logging. Knows nothing of Kubernetes.

mod logging;
pub mod metrics;
mod service;

pub use logging::{LogFormat, init_logging};
pub use service::{Service, ServiceContext, Services, StartError};
pub use tokio_util::sync::CancellationToken;

use std::future::Future;
use tokio::task::JoinHandle;

/// Starts a task with a name. The only way to start one: services own what they start by
/// ending it through the [`CancellationToken`] they were given.
#[allow(clippy::disallowed_methods)] // the one bare spawn
pub fn spawn<F>(name: impl Into<String>, future: F) -> JoinHandle<F::Output>
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    let span = tracing::debug_span!("task", name = name.into());
    tokio::spawn(tracing::Instrument::instrument(future, span))
}
