//! The domain: what is where, and how it changes durably.

use crate::index::{Change, Index, Repository};
use crate::journal::Journal;
use crate::origin::{Origin, Upstream};
use crate::uploads::Uploads;
use crate::{Error, wire::Code, wire::Refusal};
use parking_lot::{Mutex, RwLock};
use std::path::PathBuf;
use std::sync::Arc;
use towpath_oci::reference::{is_repository, is_tag};
use towpath_stdx::{Clock, SystemClock};
use towpath_store::{BlobId, Blobs};

/// Settings.
#[derive(Clone, Debug)]
pub struct Config {
    /// The registry's own directory, for its index.
    pub directory: PathBuf,
    /// Hosts (with port) under which this registry is reached itself; stripped from references.
    pub own_hosts: Vec<String>,
    /// Where images come from that are not here; the first that fits a host is used.
    pub upstreams: Vec<Upstream>,
    /// Whether missing images are pulled from their origin.
    pub pull_through: bool,
    /// Largest blob accepted, bytes.
    pub blob_bytes: u64,
    /// Whether an index may name manifests that are not here.
    pub sparse_indexes: bool,
}

impl Config {
    /// Defaults for a directory.
    pub fn new(directory: impl Into<PathBuf>) -> Self {
        Self {
            directory: directory.into(),
            own_hosts: Vec::new(),
            upstreams: Vec::new(),
            pull_through: true,
            blob_bytes: 20 << 30,
            sparse_indexes: false,
        }
    }
}

/// The registry. Cheap to clone.
#[derive(Clone)]
pub struct Registry(pub(crate) Arc<Inner>);

pub(crate) struct Inner {
    pub(crate) config: Config,
    pub(crate) blobs: Blobs,
    index: RwLock<Index>,
    journal: Mutex<Journal>,
    pub(crate) uploads: Uploads,
    pub(crate) origin: Origin,
    pub(crate) clock: Arc<dyn Clock>,
    /// Held shared from the check that content is there to the record that names it, and alone
    /// by the collector while it decides and deletes.
    pub(crate) naming: tokio::sync::RwLock<()>,
}

impl Registry {
    /// Opens the index; content goes to `blobs`, which must be the registry's own: what is in it
    /// and not listed is collected.
    pub fn open(config: Config, blobs: Blobs) -> Result<Self, Error> {
        Self::with_clock(config, blobs, Arc::new(SystemClock))
    }

    /// The same with another clock.
    pub fn with_clock(config: Config, blobs: Blobs, clock: Arc<dyn Clock>) -> Result<Self, Error> {
        let (journal, mut index) = Journal::open(&config.directory)?;
        index.touch_all(clock.since_epoch().as_secs());
        Ok(Self(Arc::new(Inner {
            origin: Origin::new(config.upstreams.clone())?,
            uploads: Uploads::new(blobs.clone()),
            config,
            blobs,
            index: RwLock::new(index),
            journal: Mutex::new(journal),
            clock,
            naming: tokio::sync::RwLock::new(()),
        })))
    }

    /// Reads the index. Never held across an await.
    pub(crate) fn read<T>(&self, reader: impl FnOnce(&Index) -> T) -> T {
        reader(&self.0.index.read())
    }

    pub(crate) fn repository<T>(
        &self,
        name: &str,
        reader: impl FnOnce(&Repository) -> T,
    ) -> Option<T> {
        self.0.index.read().repository(name).map(reader)
    }

    /// Makes changes durable, then visible; all of them or none.
    pub(crate) async fn commit(&self, changes: Vec<Change>) -> Result<(), Error> {
        let inner = self.0.clone();
        let work = move || {
            let mut journal = inner.journal.lock();
            journal.append(&changes)?;
            let now = inner.now();
            let mut index = inner.index.write();
            for change in changes {
                index.apply(change, now);
            }
            Ok(())
        };
        let joined = tokio::task::spawn_blocking(work).await;
        joined.unwrap_or_else(|error| {
            Err(Error::Index {
                what: "write",
                source: std::io::Error::other(error),
            })
        })
    }

    /// Says that a blob of a repository is wanted, so that the collector waits. False where the
    /// repository has no such blob.
    pub(crate) fn touch(&self, repository: &str, digest: &str) -> bool {
        let now = self.0.now();
        self.0.index.write().touch(repository, digest, now)
    }
}

impl Inner {
    pub(crate) fn now(&self) -> u64 {
        self.clock.since_epoch().as_secs()
    }
}

pub(crate) fn check_name(repository: &str) -> Result<(), Refusal> {
    if is_repository(repository) {
        return Ok(());
    }
    let shown: String = repository.chars().take(100).collect();
    Err(Refusal::new(
        Code::NameInvalid,
        format!("{shown:?} is not a repository name"),
    ))
}

pub(crate) fn check_tag(tag: &str) -> Result<(), Refusal> {
    if is_tag(tag) {
        return Ok(());
    }
    let shown: String = tag.chars().take(150).collect();
    Err(Refusal::new(
        Code::ManifestInvalid,
        format!("{shown:?} is neither a tag nor a digest"),
    ))
}

pub(crate) fn check_digest(digest: &str) -> Result<BlobId, Refusal> {
    BlobId::parse(digest).map_err(|_| {
        let shown: String = digest.chars().take(150).collect();
        let reason = if digest.starts_with("sha512:") {
            "sha512 is not kept here"
        } else {
            "not a digest"
        };
        Refusal::new(Code::DigestInvalid, format!("{shown:?}: {reason}"))
    })
}
