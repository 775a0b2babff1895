//! Built-in exporters: the machine, its containers, the objects of the cluster and the house
//! itself, under the names that public dashboards, mixins and rules know. Each writes into a
//! [`Sink`]; none keeps anything per series, so that what is gone is gone with the next page.

pub mod certificates;
pub mod containers;
pub mod control;
pub mod node;
pub mod objects;
pub mod prometheus;
pub mod releases;
mod sink;

pub use sink::Sink;

use crate::family::{Family, GatherError};

/// Reads on a thread that may block. Whoever asks has a deadline; a reader that hangs holds one
/// thread and is not asked again by a target that is still waiting for it.
async fn off_reactor(
    what: &str,
    read: impl FnOnce(&mut Sink) + Send + 'static,
) -> Result<Vec<Family>, GatherError> {
    let reading = tokio::task::spawn_blocking(move || {
        let mut sink = Sink::default();
        read(&mut sink);
        sink.finish()
    });
    reading.await.map_err(|error| GatherError {
        what: what.into(),
        cause: error.to_string(),
    })
}
