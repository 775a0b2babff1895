//! One pod: its life from sandbox to last deletion, its containers, its status.

pub(crate) mod container;
mod ending;
pub(crate) mod hook;
pub(crate) mod http;
pub(crate) mod life;
pub(crate) mod model;
pub(crate) mod probe;
pub(crate) mod publish;
mod pull;
pub(crate) mod start;
pub(crate) mod status;
mod terminate;
mod tls;

use tokio::sync::watch;
use tokio::time::Instant;

/// An order to end, and by when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stop {
    pub(crate) deadline: Instant,
}

pub(crate) type StopOrders = watch::Receiver<Option<Stop>>;

/// Waits for an order to end.
pub(crate) async fn ordered(stop: &mut StopOrders) -> Stop {
    match stop.wait_for(Option::is_some).await.map(|order| *order) {
        Ok(Some(order)) => order,
        // The pod's own task is gone: so is this future, soon.
        _ => std::future::pending().await,
    }
}

/// Exit code where how a container ended is not known.
pub(crate) const UNKNOWN_EXIT: i32 = 137;
