//! What every controller works with, and how its reconciles are run.

use crate::caches::Caches;
use crate::{Error, WorkloadsConfig, time};
use k8s_openapi::jiff::Timestamp;
use kube::Client;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;
use towpath_kit::cache::Key;
use towpath_kit::controller::{self, Next};
use towpath_kit::queue::Queue;
use towpath_stdx::{Clock, Random};

/// Shared by all controllers.
pub(crate) struct Context {
    pub(crate) client: Client,
    pub(crate) caches: Caches,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) random: Arc<dyn Random>,
    pub(crate) config: WorkloadsConfig,
}

impl Context {
    pub(crate) fn now(&self) -> Timestamp {
        time::now(self.clock.as_ref())
    }
}

/// A delay to look again after, or none.
pub(crate) fn next(after: Option<Duration>) -> Next {
    after.map_or(Next::Wait, Next::After)
}

/// One that looks at objects of one kind and does what they ask for.
pub(crate) trait Reconciler: Send + Sync + 'static {
    /// For logs and figures.
    const NAME: &'static str;
    /// Objects that are looked at at the same time.
    const WORKERS: usize;

    /// Looks at one object; says when to look again.
    fn reconcile(&self, key: &Key) -> impl Future<Output = Result<Next, Error>> + Send;
}

/// Runs a reconciler until `cancel`.
pub(crate) async fn start<R: Reconciler>(
    reconciler: R,
    queue: Queue<Key>,
    cancel: CancellationToken,
) {
    let reconciler = Arc::new(reconciler);
    run(
        R::NAME,
        queue,
        R::WORKERS,
        reconciler,
        cancel,
        |r, key| async move { r.reconcile(&key).await },
    )
    .await;
}

/// Runs a controller. A conflict or a vanished object means that the copy was stale: the key is
/// looked at again shortly, without noise. A namespace that is ending needs no more work.
pub(crate) async fn run<C, F, Fut>(
    name: &'static str,
    queue: Queue<Key>,
    workers: usize,
    context: Arc<C>,
    cancel: CancellationToken,
    reconcile: F,
) where
    C: Send + Sync + 'static,
    F: Fn(Arc<C>, Key) -> Fut + Clone + Send + Sync + 'static,
    Fut: Future<Output = Result<Next, Error>> + Send + 'static,
{
    let settled = move |context: Arc<C>, key: Key| {
        let work = reconcile(context, key);
        async move {
            match work.await {
                Err(error)
                    if error.is_conflict() || error.is_not_found() || error.is_already_exists() =>
                {
                    tracing::debug!(error = error.chain(), "copy was stale");
                    Ok(Next::After(Duration::from_millis(100)))
                }
                Err(error) if error.is_namespace_ending() => Ok(Next::Wait),
                Err(error) => Err(error.chain()),
                Ok(next) => Ok(next),
            }
        }
    };
    controller::run(name, queue, workers, context, cancel, settled).await;
}
