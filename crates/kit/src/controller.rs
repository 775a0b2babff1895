//! Level-triggered reconcilers: woken by changes and timers, told only which key to look at.

use crate::cache::Key;
use crate::queue::Queue;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// What a reconcile asks for when it ended well.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Nothing until something changes.
    Wait,
    /// Look again after this time, whatever happens.
    After(Duration),
}

/// Runs `workers` tasks that take keys from `queue` until `cancel`. A failed reconcile is
/// logged with its key and tried again with back-off; it must be idempotent.
pub async fn run<C, F, Fut, E>(
    name: &'static str,
    queue: Queue<Key>,
    workers: usize,
    context: Arc<C>,
    cancel: CancellationToken,
    reconcile: F,
) where
    C: Send + Sync + 'static,
    F: Fn(Arc<C>, Key) -> Fut + Clone + Send + Sync + 'static,
    Fut: Future<Output = Result<Next, E>> + Send + 'static,
    E: std::fmt::Display + Send + 'static,
{
    queue.measure(name);
    let mut tasks = Vec::new();
    for number in 0..workers {
        let (queue, context, cancel, reconcile) = (
            queue.clone(),
            context.clone(),
            cancel.clone(),
            reconcile.clone(),
        );
        tasks.push(towpath_daemon::spawn(format!("{name} {number}"), async move {
            loop {
                let key = tokio::select! {
                    () = cancel.cancelled() => return,
                    key = queue.next() => key,
                };
                match reconcile(context.clone(), key.clone()).await {
                    Ok(Next::Wait) => queue.done(&key),
                    Ok(Next::After(delay)) => {
                        queue.done(&key);
                        queue.add_after(key, delay);
                    }
                    Err(error) => {
                        let retry = queue.failed(&key);
                        tracing::warn!(controller = name, %key, error = format!("{error:#}"), ?retry, "reconcile failed");
                    }
                }
            }
        }));
    }
    for task in tasks {
        let _ = task.await;
    }
}
