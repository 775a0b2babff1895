//! One server that data is copied to.

use std::collections::HashMap;
use std::path::Path;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use parking_lot::{Mutex, RwLock};
use towpath_signals::Metadata;

use crate::outgrow::call::Remote;
use crate::outgrow::queue::{Queue, QueueError};
use crate::outgrow::settings::{self, Signal, Wrong};
use crate::scrape::relabel::Rule;

/// Why targets cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// A setting is impossible.
    #[error("mirror {name}: {wrong}")]
    Setting {
        /// Of which target.
        name: String,
        /// Which, and why.
        wrong: Wrong,
    },
    /// Two targets would share a queue.
    #[error("two mirrors are called {0}; give one a name of its own")]
    Twice(String),
    /// A queue cannot be opened.
    #[error("open the queue of mirror {name}")]
    Queue {
        /// Of which target.
        name: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
}

/// The most families whose description is remembered.
const MAX_FAMILIES: usize = 50_000;

/// What is said about metric families, as it was last heard.
#[derive(Default)]
pub(super) struct Families(pub(super) RwLock<HashMap<String, Metadata>>);

impl Families {
    pub(super) fn hear(&self, family: &str, said: &Metadata) {
        if self.0.read().get(family) == Some(said) {
            return;
        }
        let mut all = self.0.write();
        if all.len() >= MAX_FAMILIES {
            all.clear();
        }
        all.insert(family.to_owned(), said.clone());
    }
}

/// Figures since the start.
#[derive(Default)]
pub(super) struct Counts {
    /// Items that the other server took.
    pub(super) sent: AtomicU64,
    /// Items that it refused for good.
    pub(super) failed: AtomicU64,
    /// Items that were sent again.
    pub(super) retried: AtomicU64,
    /// Bytes of bodies that were taken.
    pub(super) bytes: AtomicU64,
    /// The newest time that was sent, milliseconds since the epoch.
    pub(super) highest: AtomicI64,
}

pub(super) fn add(counter: &AtomicU64, count: u64) {
    counter.fetch_add(count, Ordering::Relaxed);
}

/// A server with its queue.
pub(super) struct Target {
    pub(super) name: String,
    pub(super) settings: settings::Mirror,
    pub(super) rules: Vec<Rule>,
    pub(super) queue: Queue,
    pub(super) remote: Remote,
    pub(super) counts: Counts,
    /// What was last wrong with the queue.
    trouble: Mutex<Option<String>>,
}

impl Target {
    pub(super) fn open(dir: &Path, own: &settings::Mirror) -> Result<Self, OpenError> {
        let name = own.queue_name();
        let setting = |wrong| OpenError::Setting {
            name: name.clone(),
            wrong,
        };
        own.check().map_err(setting)?;
        let address = own.address().map_err(setting)?;
        let rules = own.rules().map_err(setting)?;
        let queue = Queue::open(&dir.join(&name), &name, own.queue_bytes(), own.when_full);
        let queue = queue.map_err(|source| OpenError::Queue {
            name: name.clone(),
            source,
        })?;
        Ok(Self {
            remote: Remote::new(address, own.access.clone(), own.timeout()),
            settings: own.clone(),
            rules,
            queue,
            counts: Counts::default(),
            trouble: Mutex::default(),
            name,
        })
    }

    pub(super) fn signal(&self) -> Signal {
        self.settings.signal
    }

    /// Puts a message into the queue, packed. What cannot be put there is counted and told once.
    pub(super) fn put(&self, message: &[u8], items: u32) {
        let packed = match snap::raw::Encoder::new().compress_vec(message) {
            Ok(packed) => packed,
            Err(error) => {
                tracing::error!(%error, target = self.name, "pack for a mirror");
                return;
            }
        };
        let told = match self.queue.push(&packed, items) {
            Ok(()) => None,
            Err(error @ QueueError::Full { .. }) => Some(error.to_string()),
            Err(QueueError::Io { name, source }) => {
                Some(format!("write the queue of {name}: {source}"))
            }
        };
        let mut trouble = self.trouble.lock();
        if *trouble != told {
            match &told {
                Some(why) => tracing::error!(why, "data is not copied"),
                None => tracing::info!(target = self.name, "data is copied again"),
            }
            *trouble = told;
        }
    }
}

/// Whether all of them take something now; else why not.
pub(super) fn room(targets: &[std::sync::Arc<Target>]) -> Result<(), String> {
    for target in targets {
        target.queue.room().map_err(|full| full.to_string())?;
    }
    Ok(())
}

/// Records as they were before they were packed, one behind the other.
pub(super) fn unpacked(records: &[Vec<u8>]) -> Vec<u8> {
    let mut out = Vec::new();
    for record in records {
        match snap::raw::Decoder::new().decompress_vec(record) {
            Ok(plain) => out.extend_from_slice(&plain),
            Err(error) => tracing::error!(%error, "a record of a queue cannot be unpacked"),
        }
    }
    out
}
