//! What of a store is in the bucket, and what of it is only there.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use object_store::UpdateVersion;
use parking_lot::{Mutex, RwLock};
use towpath_stdx::{Clock, SystemRandom, id};

use super::bucket::{Bucket, BucketError};
use super::catalog::{Catalog, Stored};
use super::{Object, claim};
use crate::metrics::Bell;
use crate::segment::{Data, fetch_tail, tail_path};

/// The file with the catalog as it was written last.
pub(super) const NAME: &str = "OBJECTS";

/// So long segments are left alone after the bucket was away, in milliseconds.
const REST: i64 = 60_000;

/// The file with the number of the last segment that was taken up from the bucket.
const ADOPTED: &str = "ADOPTED";

/// Segments up to this number were taken up from a bucket: what they say of a log is about that of
/// another directory.
pub(crate) fn adopted_until(dir: &Path) -> io::Result<u64> {
    match fs::read_to_string(dir.join(ADOPTED)) {
        Ok(text) => text.trim().parse().map_err(io::Error::other),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(0),
        Err(error) => Err(error),
    }
}

/// How segments of a store are kept in a bucket.
#[derive(Clone, Debug)]
pub struct Objects {
    /// Which bucket.
    pub bucket: Arc<Bucket>,
    /// What local copies of segments may take on the disk, in bytes: beyond it those that are in
    /// the bucket go, the oldest first.
    pub local_bytes: u64,
    /// How long objects that count no longer are kept for queries that began before.
    pub grace: Duration,
    /// Whether an empty data directory takes over what another server still writes.
    pub take_over: bool,
    /// What people call this server.
    pub host: String,
    /// Whether segments are uploaded by themselves; else `upload` of the store has to be called.
    pub background: bool,
}

/// Why segments cannot be kept in a bucket.
#[derive(Debug, thiserror::Error)]
pub enum ObjectsError {
    /// The bucket fails.
    #[error(transparent)]
    Bucket(#[from] BucketError),
    /// The local disk fails.
    #[error("keep segments of {signal} in a bucket: {path}")]
    Io {
        /// Whose.
        signal: &'static str,
        /// Which file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The catalog is damaged.
    #[error("{0} is damaged or of another version")]
    Damaged(String),
    /// Somebody else writes there.
    #[error("{0}")]
    Taken(String),
}

/// What is in the bucket, and how it goes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ObjectsStats {
    /// Segments in the bucket.
    pub segments: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Bytes of segments that are in the bucket alone, but for their tails.
    pub away_bytes: u64,
    /// Segments that are not in the bucket yet.
    pub waiting: u64,
    /// Their bytes.
    pub waiting_bytes: u64,
    /// Bytes uploaded since the start.
    pub uploaded_bytes: u64,
    /// Rounds of uploading that failed since the start.
    pub failures: u64,
    /// Objects deleted since the start.
    pub deleted: u64,
    /// Why nothing is uploaded now, if so.
    pub trouble: Option<String>,
    /// Reads that queries made in the bucket since the start, of all signals.
    pub reads: u64,
    /// The bytes of them.
    pub read_bytes: u64,
}

/// A segment that counts.
pub(crate) struct Item {
    pub(crate) number: u64,
    /// None where it cannot be read: it stays in the bucket as it is.
    pub(crate) data: Option<Arc<Data>>,
    /// Where what is kept locally begins.
    pub(crate) tail_at: u64,
    /// In its order local copies go.
    pub(crate) age: i64,
    /// What the store has to know of it beside the file.
    pub(crate) note: String,
}

/// A store whose segments are in a bucket.
pub(crate) trait Local: Send + Sync {
    /// The segments that count, and what the store has to know beside them.
    fn items(&self) -> (Vec<Item>, Vec<String>);
}

/// What only who uploads looks at.
#[derive(Default)]
pub(super) struct State {
    pub(super) catalog: Catalog,
    /// The version of the catalog in the bucket; none as long as it was not asked for.
    pub(super) version: Option<UpdateVersion>,
    /// Objects that count no longer, and since when.
    pub(super) garbage: BTreeMap<String, i64>,
    /// When it was last looked for garbage that nobody knows of.
    pub(super) listed: Option<i64>,
    /// Why nothing is written there any more by this process.
    pub(super) fenced: Option<String>,
}

/// The segments of one store in a bucket.
pub(crate) struct Depot {
    pub(super) signal: &'static str,
    pub(super) dir: PathBuf,
    pub(crate) options: Objects,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) writer: String,
    pub(super) session: String,
    pub(super) state: Mutex<State>,
    /// What the catalog names, as the local disk has it.
    pub(super) kept: RwLock<BTreeMap<u64, Stored>>,
    pub(super) stats: Mutex<ObjectsStats>,
    pub(super) uploaded_bytes: AtomicU64,
    pub(super) deleted: AtomicU64,
    rest: AtomicI64,
    pub(super) bell: Arc<Bell>,
}

impl Drop for Depot {
    fn drop(&mut self) {
        self.bell.stop();
    }
}

/// What was found when it was opened.
pub(crate) struct Opened {
    pub(crate) depot: Arc<Depot>,
    /// What an empty directory takes up from the bucket.
    pub(crate) adopted: Option<Catalog>,
}

impl Depot {
    /// Looks what a store has in the bucket. A directory without segments (`empty`) asks the bucket
    /// for it, and then [`Depot::settle`] has to be called once it is taken up.
    pub(crate) fn open(
        signal: &'static str,
        dir: &Path,
        empty: bool,
        options: Objects,
        clock: Arc<dyn Clock>,
    ) -> Result<Opened, ObjectsError> {
        let place = options.bucket.place();
        let known = load(signal, dir)?;
        let random = SystemRandom;
        let session = id::suffix(&random, 12);
        let mut depot = Self {
            signal,
            dir: dir.to_path_buf(),
            options,
            clock,
            writer: id::suffix(&random, 12),
            session,
            state: Mutex::default(),
            kept: RwLock::default(),
            stats: Mutex::default(),
            uploaded_bytes: AtomicU64::new(0),
            deleted: AtomicU64::new(0),
            rest: AtomicI64::new(i64::MIN),
            bell: Arc::default(),
        };
        let fresh = known.is_none() && empty;
        if known.is_none() {
            // First, so that a second try after a crash is known to be the same server's.
            depot.writer =
                writer(dir, depot.writer.clone()).map_err(|source| ObjectsError::Io {
                    signal,
                    path: dir.to_path_buf(),
                    source,
                })?;
        }
        if let Some((own_place, catalog)) = known {
            depot.writer = catalog.writer.clone();
            if own_place == place {
                *depot.kept.write() = catalog.segments.clone();
                depot.state.lock().catalog = catalog;
            } else if has_tails(dir).map_err(|source| depot.io(dir, source))? {
                return Err(ObjectsError::Taken(format!(
                    "segments of {signal} are in the bucket \"{own_place}\" alone, and the \
                     settings name \"{place}\""
                )));
            }
        }
        let mut adopted = None;
        if fresh {
            let catalog = claim::claim(&depot, &mut depot.state.lock(), true)?;
            if !catalog.segments.is_empty() {
                let segments = catalog.segments.len();
                tracing::info!(signal, segments, "takes up what is in the bucket");
            }
            *depot.kept.write() = catalog.segments.clone();
            adopted = Some(catalog);
        }
        let depot = Arc::new(depot);
        Ok(Opened { depot, adopted })
    }

    /// What was taken up counts here from now on.
    pub(crate) fn settle(&self) -> Result<(), ObjectsError> {
        let state = self.state.lock();
        if let Some(last) = state.catalog.segments.keys().next_back() {
            let path = self.dir.join(ADOPTED);
            let written = File::create(&path).and_then(|mut file| {
                file.write_all(last.to_string().as_bytes())?;
                file.sync_all()
            });
            written.map_err(|source| self.io(&path, source))?;
        }
        self.save(&state.catalog)
    }

    pub(super) fn io(&self, path: &Path, source: io::Error) -> ObjectsError {
        ObjectsError::Io {
            signal: self.signal,
            path: path.to_path_buf(),
            source,
        }
    }

    pub(super) fn now(&self) -> i64 {
        i64::try_from(self.clock.since_epoch().as_millis()).unwrap_or(i64::MAX)
    }

    pub(super) fn key(&self, name: &str) -> String {
        format!("{}/segments/{name}", self.signal)
    }

    pub(super) fn catalog_key(&self) -> String {
        format!("{}/manifest/CURRENT", self.signal)
    }

    pub(super) fn object_of(&self, stored: &Stored) -> Object {
        Object {
            bucket: Arc::clone(&self.options.bucket),
            key: self.key(&stored.name),
            bytes: stored.bytes,
            tail_at: stored.tail_at,
        }
    }

    /// A segment in the bucket.
    pub(crate) fn object(&self, number: u64) -> Option<Object> {
        let kept = self.kept.read();
        kept.get(&number).map(|stored| self.object_of(stored))
    }

    /// Whether a segment is in the bucket.
    pub(crate) fn has(&self, number: u64) -> bool {
        self.kept.read().contains_key(&number)
    }

    /// The highest number of a segment in the bucket.
    pub(crate) fn last(&self) -> Option<u64> {
        self.kept.read().keys().next_back().copied()
    }

    /// Whether what could not be read may be fine and the bucket is away: then it is left alone for a
    /// while, see [`Depot::rests`].
    pub(crate) fn is_out_of_reach(&self) -> bool {
        let asked = self.options.bucket.length(&self.catalog_key());
        if asked.is_err() {
            self.rest
                .store(self.now().saturating_add(REST), Ordering::Relaxed);
        }
        asked.is_err()
    }

    /// Whether the bucket was away lately, so that nothing should be written anew of what is there.
    pub(crate) fn rests(&self) -> bool {
        self.now() < self.rest.load(Ordering::Relaxed)
    }

    /// There is something to upload, or to delete.
    pub(crate) fn ring(&self) {
        self.bell.ring();
    }

    /// How it goes.
    pub(crate) fn stats(&self) -> ObjectsStats {
        let (reads, read_bytes) = self.options.bucket.reads();
        ObjectsStats {
            uploaded_bytes: self.uploaded_bytes.load(Ordering::Relaxed),
            deleted: self.deleted.load(Ordering::Relaxed),
            reads,
            read_bytes,
            ..self.stats.lock().clone()
        }
    }

    /// Writes down what the bucket has.
    pub(super) fn save(&self, catalog: &Catalog) -> Result<(), ObjectsError> {
        let path = self.dir.join(NAME);
        let new = self.dir.join("OBJECTS.new");
        let text = format!("{}\n{}", self.options.bucket.place(), catalog.text());
        let written = || {
            let mut file = File::create(&new)?;
            file.write_all(text.as_bytes())?;
            file.sync_all()?;
            fs::rename(&new, &path)?;
            File::open(&self.dir)?.sync_all()
        };
        written().map_err(|source| self.io(&path, source))?;
        *self.kept.write() = catalog.segments.clone();
        Ok(())
    }
}

/// The name of a directory for all times.
fn writer(dir: &Path, new: String) -> io::Result<String> {
    let path = dir.join("WRITER");
    match fs::read_to_string(&path) {
        Ok(known) if !known.trim().is_empty() => return Ok(known.trim().to_owned()),
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = File::create(&path)?;
    file.write_all(new.as_bytes())?;
    file.sync_all()?;
    Ok(new)
}

/// What was written down: where, and the catalog.
fn load(signal: &'static str, dir: &Path) -> Result<Option<(String, Catalog)>, ObjectsError> {
    let path = dir.join(NAME);
    let text = match fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => {
            return Err(ObjectsError::Io {
                signal,
                path,
                source,
            });
        }
    };
    let parts = text.split_once('\n');
    let read = parts.and_then(|(place, text)| Some((place.to_owned(), Catalog::parse(text)?)));
    match read {
        Some(read) => Ok(Some(read)),
        None => Err(ObjectsError::Damaged(path.display().to_string())),
    }
}

fn has_tails(dir: &Path) -> io::Result<bool> {
    for entry in fs::read_dir(dir)? {
        if entry?.path().extension().is_some_and(|end| end == "tail") {
            return Ok(true);
        }
    }
    Ok(false)
}

/// So many tails are fetched at a time.
const AT_ONCE: usize = 8;

/// Makes the tails of what is taken up. One that cannot be had since its object is gone or cut is
/// left empty: its segment counts and is damaged.
pub(crate) fn make_tails(
    depot: &Depot,
    catalog: &Catalog,
    path: impl Fn(u64) -> PathBuf + Sync,
) -> Result<(), ObjectsError> {
    let next = Mutex::new(catalog.segments.iter());
    let work = || {
        loop {
            let Some((number, stored)) = next.lock().next() else {
                return Ok(());
            };
            depot.make_tail(&path(*number), stored)?;
        }
    };
    let most = AT_ONCE.min(catalog.segments.len());
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..most).map(|_| scope.spawn(work)).collect();
        threads
            .into_iter()
            .try_for_each(|thread| match thread.join() {
                Ok(done) => done,
                Err(panic) => std::panic::resume_unwind(panic),
            })
    })
}

impl Depot {
    fn make_tail(&self, path: &Path, stored: &Stored) -> Result<(), ObjectsError> {
        let object = self.object_of(stored);
        let Err(source) = fetch_tail(path, &object) else {
            return Ok(());
        };
        let length = object.bucket.length(&object.key)?;
        if length == Some(object.bytes) {
            return Err(self.io(path, source));
        }
        let object = object.bucket.named(&object.key);
        tracing::error!(object, error = %source, "a segment in the bucket is gone or cut");
        let empty = File::create(tail_path(path)).map(drop);
        empty.map_err(|source| self.io(path, source))
    }
}
