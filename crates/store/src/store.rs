//! The handle: reads from the published root, writes through the one writer, watches.

use crate::backend::Backend;
use crate::error::{Error, Refused};
use crate::index::Snapshot;
use crate::ring::{Event, Gone, Ring, Watch};
use crate::space::Space;
use crate::sqlite::Sqlite;
use crate::txn::{Done, Txn};
use crate::writer::{Job, Shared, Writer, chain};
use parking_lot::Mutex;
use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;
use tokio::sync::oneshot;

/// Revisions skipped after an unclean end: more than can ever have been published without
/// having been synced.
const JUMP: u64 = 100_000;

/// Bounds of the event ring.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Events kept.
    pub ring_events: usize,
    /// Bytes kept.
    pub ring_bytes: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            ring_events: 20_000,
            ring_bytes: 24 << 20,
        }
    }
}

struct Handle {
    shared: Arc<Shared>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.close();
    }
}

impl Handle {
    fn close(&self) {
        self.shared.stop();
        if let Some(thread) = self.thread.lock().take() {
            let _ = thread.join();
        }
    }
}

/// All live objects. Cheap to clone; closed when the last clone goes.
#[derive(Clone)]
pub struct Store(Arc<Handle>);

impl Store {
    /// Opens the store in a directory (SQLite back end).
    pub fn open(directory: &Path, options: Options) -> Result<Self, Error> {
        let backend = Sqlite::open(directory)?;
        Self::with_backend(Box::new(backend), directory, options)
    }

    /// Opens a store over a back end that keeps its files in `directory`.
    pub fn with_backend(
        mut backend: Box<dyn Backend>,
        directory: &Path,
        options: Options,
    ) -> Result<Self, Error> {
        let mut space = Space::new(directory);
        let loaded = match backend.load() {
            Err(Error::Full) => {
                space.release();
                backend.load()?
            }
            other => other?,
        };
        let mut root = Snapshot {
            revision: loaded.revision,
            ..Snapshot::default()
        };
        if !loaded.clean {
            root.revision += JUMP;
        }
        let mut next_row = 0;
        for row in loaded.rows {
            next_row = next_row.max(row.rec.row);
            if root.get(&row.resource, &row.rec.key).is_some() {
                return Err(Error::Damaged(format!(
                    "{} {} is there twice",
                    row.resource, row.rec.key
                )));
            }
            root.put(&row.resource, row.rec);
        }
        // Revision 0 means "unset" on the wire.
        root.revision = root.revision.max(1);
        let ring = Ring::new(root.revision, options.ring_events, options.ring_bytes);
        let shared = Arc::new(Shared::new(root, ring));
        let writer = Writer {
            shared: shared.clone(),
            backend,
            space,
            next_row,
        };
        let thread = std::thread::Builder::new()
            .name("store writer".into())
            .spawn(move || {
                let shared = writer.shared.clone();
                writer.run();
                shared.stop();
            })
            .map_err(|source| Error::Backend {
                what: "start the writer thread",
                source: source.into(),
            })?;
        Ok(Self(Arc::new(Handle {
            shared,
            thread: Mutex::new(Some(thread)),
        })))
    }

    /// The published state.
    pub fn snapshot(&self) -> Arc<Snapshot> {
        self.0.shared.root.load_full()
    }

    /// Revision of the published state.
    pub fn revision(&self) -> u64 {
        self.0.shared.root.load().revision
    }

    /// Does a transaction; returns when it is durable (see [`crate::Class`]) and published.
    pub async fn commit(&self, txn: Txn) -> Result<Done, Refused> {
        let shared = &self.0.shared;
        let slot = shared.slots.acquire().await.map_err(|_| Refused::Closed)?;
        slot.forget();
        let (ack, answer) = oneshot::channel();
        shared.push(Job { txn, ack })?;
        answer.await.map_err(|_| Refused::Closed)?
    }

    /// A cursor over a resource's events after revision `from`.
    pub fn watch(&self, resource: &str, from: u64) -> Watch {
        self.0.shared.ring.watch(resource, from)
    }

    /// The state with the objects of one resource as they were at a revision that is not of the
    /// future: the events since then are taken back, as far as the ring still has them.
    pub fn past(&self, resource: &str, revision: u64) -> Result<Snapshot, Gone> {
        let mut state = Snapshot::clone(&self.snapshot());
        let present = state.revision;
        let events = self.watch(resource, revision).ready(usize::MAX)?;
        let mut table = state.table(resource);
        let undone = |event: &&Arc<Event>| event.revision <= present;
        for event in events.iter().rev().filter(undone) {
            event.undo(&mut table);
        }
        state.tables.insert(Arc::from(resource), table);
        state.revision = revision.min(present);
        Ok(state)
    }

    /// Why nothing can be written any more, if so.
    pub fn fault(&self) -> Option<Arc<str>> {
        self.0.shared.fault()
    }

    /// Finishes queued writes, syncs, and marks a clean end. Later writes are refused.
    pub fn close(&self) {
        self.0.close();
    }
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Store")
            .field("revision", &self.revision())
            .finish()
    }
}

impl Error {
    /// The error with all its causes in one line.
    pub fn chain(&self) -> String {
        chain(self)
    }
}
