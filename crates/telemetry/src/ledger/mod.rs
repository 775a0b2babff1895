//! The ledger of changes: every change that the platform makes or sees, on one timeline, kept
//! like a signal.
//!
//! What changed comes from watches and so is the same on any cluster; who did it comes from the
//! API server where that is ours ([`towpath_kit::traits::Authors`]). Values of Secrets and
//! ConfigMaps are never held: a digest tells whether they changed.

mod annotations;
mod change;
mod difference;
mod guards;
mod known;
mod observe;
mod references;
mod routes;

pub use change::{Change, ChangeKind, Object};
pub use known::Place;
pub(crate) use observe::not_after;
pub use observe::{Observed, service};
pub use routes::router;

use bytes::Bytes;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Notify, mpsc};
use tokio_util::sync::CancellationToken;
use towpath_stdx::Clock;
use towpath_store::{Record, RecordError, Records};

const KIND: &str = "change";
/// Changes that wait for the disk; more than these are counted and left out.
const WAITING: usize = 4_096;
/// Changes of one namespace that are kept, whatever their age.
const KEPT: usize = 20_000;
/// The most that one question gets.
const MOST: usize = 10_000;
const PRUNE: Duration = Duration::from_secs(3_600);

/// The ledger. Cheap to clone.
#[derive(Clone)]
pub struct Ledger {
    records: Records,
    queue: mpsc::Sender<Change>,
    lost: Arc<std::sync::atomic::AtomicU64>,
    noted: Arc<Notify>,
}

/// What the writer of a ledger works with; [`service`] runs it.
pub struct Writer {
    records: Records,
    queue: mpsc::Receiver<Change>,
    noted: Arc<Notify>,
    retention: Duration,
    clock: Arc<dyn Clock>,
}

impl Ledger {
    /// Opens or makes the ledger in a directory of its own.
    ///
    /// # Errors
    /// The directory or the database in it cannot be used.
    pub fn open(
        directory: &Path,
        retention: Duration,
        clock: Arc<dyn Clock>,
    ) -> Result<(Self, Writer), RecordError> {
        let records = Records::open(directory)?;
        let (send, receive) = mpsc::channel(WAITING);
        let noted: Arc<Notify> = Arc::default();
        let ledger = Self {
            records: records.clone(),
            queue: send,
            lost: Arc::default(),
            noted: noted.clone(),
        };
        let writer = Writer {
            records,
            queue: receive,
            noted,
            retention,
            clock,
        };
        Ok((ledger, writer))
    }

    /// Notes a change; it is written soon. Never waits.
    pub fn note(&self, change: Change) {
        if self.queue.try_send(change).is_err() {
            self.lost.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        }
    }

    /// Wakes one who waits whenever a change was written.
    pub fn noted(&self) -> Arc<Notify> {
        self.noted.clone()
    }

    /// Where it is kept, for what is kept beside it.
    pub fn records(&self) -> &Records {
        &self.records
    }

    /// How many changes were left out because the disk was too slow.
    pub fn lost(&self) -> u64 {
        self.lost.load(std::sync::atomic::Ordering::Relaxed)
    }

    /// Changes from `from` to `to` (milliseconds since the epoch, both included), newest first,
    /// at most `limit`; of all namespaces where `namespace` is empty. Objects of the cluster
    /// belong to every namespace.
    ///
    /// # Errors
    /// The database cannot be read.
    pub async fn between(
        &self,
        from: i64,
        to: i64,
        namespace: &str,
        limit: usize,
    ) -> Result<Vec<Change>, RecordError> {
        let before = u64::try_from(to.div_euclid(1_000) + 1).unwrap_or(0);
        let mut all = self
            .records
            .list(KIND, namespace, Some(before), MOST)
            .await?;
        if !namespace.is_empty() {
            all.extend(self.records.list(KIND, CLUSTER, Some(before), MOST).await?);
        }
        let mut changes: Vec<Change> = all
            .iter()
            .filter_map(|record| serde_json::from_slice(&record.bytes).ok())
            .filter(|change: &Change| change.at >= from && change.at <= to)
            .collect();
        changes.sort_by(|a, b| b.at.cmp(&a.at).then_with(|| b.id.cmp(&a.id)));
        changes.truncate(limit.min(MOST));
        Ok(changes)
    }
}

/// Where changes of objects without a namespace are kept.
const CLUSTER: &str = "-";

impl Writer {
    /// Writes what is noted, until cancelled; what was noted before is still written.
    pub async fn run(mut self, cancel: CancellationToken) {
        let mut pruning = tokio::time::interval(PRUNE);
        loop {
            let change = tokio::select! {
                change = self.queue.recv() => change,
                _ = pruning.tick() => {
                    self.prune().await;
                    continue;
                }
                () = cancel.cancelled() => break,
            };
            let Some(change) = change else { return };
            self.write(&change).await;
        }
        // What was seen before the end is kept.
        while let Ok(change) = self.queue.try_recv() {
            self.write(&change).await;
        }
    }

    async fn write(&self, change: &Change) {
        let Ok(bytes) = serde_json::to_vec(change) else {
            return;
        };
        let namespace = match change.object.namespace.as_str() {
            "" => CLUSTER,
            namespace => namespace,
        };
        let record = Record {
            namespace: namespace.into(),
            key: change.id.clone(),
            at: u64::try_from(change.at.div_euclid(1_000)).unwrap_or(0),
            bytes: Bytes::from(bytes),
        };
        if let Err(error) = self.records.put(KIND, record).await {
            tracing::warn!(%error, change = %change.id, "a change is missing in the ledger");
        }
        self.noted.notify_one();
    }

    async fn prune(&self) {
        let oldest = self.clock.since_epoch().saturating_sub(self.retention);
        if let Err(error) = self.records.prune(KIND, oldest.as_secs(), KEPT).await {
            tracing::warn!(%error, "old changes stay in the ledger");
        }
    }
}
