//! Bytes named by their SHA-256.
//!
//! An [`Upload`] collects bytes in `staging/`; only when its digest is what was promised and
//! the bytes are synced does it get its name, by a rename within one file system. So a blob
//! that exists is whole. Uploads have names and survive a restart at the length that reached
//! the disk. Reading, listing and deleting go through `object_store`; writing is local, as an
//! upload must be resumable whatever keeps the finished blob.

use bytes::Bytes;
use futures::stream::{BoxStream, StreamExt, TryStreamExt};
use object_store::{
    GetOptions, GetRange, ObjectStore, ObjectStoreExt, local::LocalFileSystem,
    path::Path as ObjectPath,
};
use sha2::{Digest, Sha256};
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Why a blob was not read or written.
#[derive(Debug, thiserror::Error)]
pub enum BlobError {
    /// Not `sha256:` and 64 lower-case hex digits.
    #[error("{0:?} is not a sha256 digest")]
    Digest(String),
    /// Not a plain name.
    #[error("{0:?} is not an upload name")]
    Name(String),
    /// No such blob or upload.
    #[error("{0} does not exist")]
    Missing(String),
    /// The bytes are not what was promised; nothing was kept under the name.
    #[error("content is {found}, not {promised}")]
    Mismatch {
        /// Asked for.
        promised: BlobId,
        /// What the bytes hash to.
        found: BlobId,
    },
    /// No room.
    #[error("no space left for {0}")]
    Full(String),
    /// The file system failed.
    #[error("{what} {subject}")]
    Io {
        /// Operation.
        what: &'static str,
        /// Blob or upload.
        subject: String,
        /// Cause.
        #[source]
        source: io::Error,
    },
    /// The object store failed.
    #[error("{what} {subject}")]
    Remote {
        /// Operation.
        what: &'static str,
        /// Blob.
        subject: String,
        /// Cause.
        #[source]
        source: object_store::Error,
    },
}

/// Name of a blob: `sha256:` and 64 lower-case hex digits.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct BlobId([u8; 32]);

impl BlobId {
    /// Reads `sha256:<hex>`.
    pub fn parse(text: &str) -> Result<Self, BlobError> {
        let bad = || BlobError::Digest(text.chars().take(100).collect());
        let hex = text
            .strip_prefix("sha256:")
            .filter(|hex| hex.len() == 64)
            .ok_or_else(bad)?;
        let mut id = [0u8; 32];
        for (byte, pair) in id.iter_mut().zip(hex.as_bytes().chunks_exact(2)) {
            let digit = |c: u8| match c {
                b'0'..=b'9' => Some(c - b'0'),
                b'a'..=b'f' => Some(c - b'a' + 10),
                _ => None,
            };
            *byte = digit(pair[0])
                .zip(digit(pair[1]))
                .map(|(h, l)| h << 4 | l)
                .ok_or_else(bad)?;
        }
        Ok(Self(id))
    }

    /// Name of some bytes.
    pub fn of(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }

    /// The 64 hex digits.
    pub fn hex(&self) -> String {
        towpath_stdx::id::hex(&self.0)
    }

    fn object(&self) -> ObjectPath {
        let hex = self.hex();
        ObjectPath::from(format!("{}/{hex}", &hex[..2]))
    }
}

impl std::fmt::Display for BlobId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "sha256:{}", self.hex())
    }
}

impl std::fmt::Debug for BlobId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{self}")
    }
}

impl std::str::FromStr for BlobId {
    type Err = BlobError;

    fn from_str(text: &str) -> Result<Self, BlobError> {
        Self::parse(text)
    }
}

struct Inner {
    files: LocalFileSystem,
    sha256: PathBuf,
    staging: PathBuf,
}

/// Content-addressed storage under one directory. Cheap to clone.
#[derive(Clone)]
pub struct Blobs(Arc<Inner>);

fn io_error(what: &'static str, subject: impl ToString) -> impl FnOnce(io::Error) -> BlobError {
    let subject = subject.to_string();
    move |source| match source.kind() {
        io::ErrorKind::NotFound => BlobError::Missing(subject),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => BlobError::Full(subject),
        _ => BlobError::Io {
            what,
            subject,
            source,
        },
    }
}

fn remote(
    what: &'static str,
    id: &BlobId,
) -> impl FnOnce(object_store::Error) -> BlobError + use<> {
    let subject = id.to_string();
    move |source| match source {
        object_store::Error::NotFound { .. } => BlobError::Missing(subject),
        source => BlobError::Remote {
            what,
            subject,
            source,
        },
    }
}

async fn off_reactor<T: Send + 'static>(
    what: &'static str,
    work: impl FnOnce() -> Result<T, BlobError> + Send + 'static,
) -> Result<T, BlobError> {
    let joined = tokio::task::spawn_blocking(work).await;
    joined.unwrap_or_else(|error| {
        Err(BlobError::Io {
            what,
            subject: "on a worker thread".into(),
            source: io::Error::other(error),
        })
    })
}

impl Blobs {
    /// Opens or makes the storage.
    pub fn open(directory: &Path) -> Result<Self, BlobError> {
        let (sha256, staging) = (directory.join("sha256"), directory.join("staging"));
        for made in [&sha256, &staging] {
            std::fs::create_dir_all(made).map_err(io_error("make directory", made.display()))?;
        }
        let files =
            LocalFileSystem::new_with_prefix(&sha256).map_err(|source| BlobError::Remote {
                what: "open",
                subject: sha256.display().to_string(),
                source,
            })?;
        Ok(Self(Arc::new(Inner {
            files,
            sha256,
            staging,
        })))
    }

    /// Path of a blob's file, there or not; for hard links and mounts on this machine.
    pub fn path(&self, id: &BlobId) -> PathBuf {
        let hex = id.hex();
        self.0.sha256.join(&hex[..2]).join(hex)
    }

    /// Length in bytes; `None` where there is no such blob.
    pub async fn size(&self, id: &BlobId) -> Result<Option<u64>, BlobError> {
        match self.0.files.head(&id.object()).await {
            Ok(meta) => Ok(Some(meta.size)),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(remote("look up", id)(error)),
        }
    }

    /// Opens a blob on this machine.
    pub fn open_file(&self, id: &BlobId) -> Result<File, BlobError> {
        File::open(self.path(id)).map_err(io_error("open", id))
    }

    /// Streams a blob or a range of it. Ends early never silently: a short read is an error.
    pub async fn read(
        &self,
        id: &BlobId,
        range: Option<Range<u64>>,
    ) -> Result<BoxStream<'static, io::Result<Bytes>>, BlobError> {
        let options = GetOptions {
            range: range.map(GetRange::Bounded),
            ..GetOptions::default()
        };
        let found = self
            .0
            .files
            .get_opts(&id.object(), options)
            .await
            .map_err(remote("read", id))?;
        Ok(found.into_stream().map_err(io::Error::other).boxed())
    }

    /// A whole blob of at most `limit_bytes`.
    pub async fn read_all(&self, id: &BlobId, limit_bytes: u64) -> Result<Bytes, BlobError> {
        let size = self
            .size(id)
            .await?
            .ok_or_else(|| BlobError::Missing(id.to_string()))?;
        if size > limit_bytes {
            let source = io::Error::new(
                io::ErrorKind::InvalidData,
                format!("{size} bytes, more than {limit_bytes}"),
            );
            return Err(BlobError::Io {
                what: "read",
                subject: id.to_string(),
                source,
            });
        }
        let found = self
            .0
            .files
            .get(&id.object())
            .await
            .map_err(remote("read", id))?;
        found.bytes().await.map_err(remote("read", id))
    }

    /// Keeps some bytes.
    pub async fn put(&self, bytes: impl Into<Bytes>) -> Result<BlobId, BlobError> {
        let bytes = bytes.into();
        let mut upload = self
            .upload(&towpath_stdx::id::uuid(&towpath_stdx::SystemRandom))
            .await?;
        upload.write(bytes).await?;
        upload.finish(None).await
    }

    /// Removes a blob; a missing one is no error.
    pub async fn delete(&self, id: &BlobId) -> Result<(), BlobError> {
        match self.0.files.delete(&id.object()).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(remote("delete", id)(error)),
        }
    }

    /// All blobs with their sizes.
    pub fn list(&self) -> BoxStream<'static, Result<(BlobId, u64), BlobError>> {
        let listed = self.0.files.list(None);
        listed
            .filter_map(|entry| async move {
                match entry {
                    Ok(meta) => {
                        let hex = meta.location.filename()?;
                        BlobId::parse(&format!("sha256:{hex}"))
                            .ok()
                            .map(|id| Ok((id, meta.size)))
                    }
                    Err(source) => Some(Err(BlobError::Remote {
                        what: "list",
                        subject: "blobs".into(),
                        source,
                    })),
                }
            })
            .boxed()
    }

    fn staged(&self, name: &str) -> Result<PathBuf, BlobError> {
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        if name.is_empty() || name.len() > 200 || name.starts_with('.') || !name.chars().all(plain)
        {
            return Err(BlobError::Name(name.chars().take(100).collect()));
        }
        Ok(self.0.staging.join(name))
    }

    /// Starts an upload, or goes on with the one of that name.
    pub async fn upload(&self, name: &str) -> Result<Upload, BlobError> {
        self.start(name, true).await
    }

    /// Goes on with an upload; [`BlobError::Missing`] where there is none of that name.
    pub async fn resume(&self, name: &str) -> Result<Upload, BlobError> {
        self.start(name, false).await
    }

    async fn start(&self, name: &str, create: bool) -> Result<Upload, BlobError> {
        let (path, blobs, name) = (self.staged(name)?, self.clone(), name.to_string());
        off_reactor("open upload", move || {
            let mut file = OpenOptions::new()
                .read(true)
                .append(true)
                .create(create)
                .open(&path)
                .map_err(io_error("open upload", &name))?;
            let mut hasher = Sha256::new();
            let length_bytes =
                hash(&mut file, &mut hasher).map_err(io_error("read upload", &name))?;
            Ok(Upload {
                blobs,
                name,
                path,
                state: Some((file, hasher)),
                length_bytes,
            })
        })
        .await
    }

    /// The bytes of an unfinished upload so far, e.g. a log that still grows.
    pub fn open_upload(&self, name: &str) -> Result<File, BlobError> {
        File::open(self.staged(name)?).map_err(io_error("open upload", name))
    }

    /// Drops an unfinished upload; a missing one is no error.
    pub fn abandon(&self, name: &str) -> Result<(), BlobError> {
        match std::fs::remove_file(self.staged(name)?) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(io_error("remove upload", name)(error))
            }
            _ => Ok(()),
        }
    }

    /// Names of unfinished uploads with the seconds since each was last written.
    pub fn uploads(&self) -> Result<Vec<(String, u64)>, BlobError> {
        let fail = || io_error("list", "uploads");
        let mut found = Vec::new();
        for entry in std::fs::read_dir(&self.0.staging).map_err(fail())? {
            let entry = entry.map_err(fail())?;
            let idle = entry
                .metadata()
                .and_then(|m| m.modified())
                .ok()
                .and_then(|at| at.elapsed().ok());
            if let Ok(name) = entry.file_name().into_string() {
                found.push((name, idle.map_or(0, |idle| idle.as_secs())));
            }
        }
        Ok(found)
    }
}

fn hash(file: &mut File, hasher: &mut Sha256) -> io::Result<u64> {
    let mut buffer = vec![0u8; 64 << 10];
    let mut total = 0;
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(total),
            n => {
                hasher.update(&buffer[..n]);
                total += n as u64;
            }
        }
    }
}

/// Bytes on their way to a name. Dropping it leaves them for [`Blobs::resume`].
pub struct Upload {
    blobs: Blobs,
    name: String,
    path: PathBuf,
    state: Option<(File, Sha256)>,
    length_bytes: u64,
}

impl Upload {
    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Bytes so far.
    pub fn len(&self) -> u64 {
        self.length_bytes
    }

    /// Whether nothing was written yet.
    pub fn is_empty(&self) -> bool {
        self.length_bytes == 0
    }

    // The state leaves for the worker thread and comes back; it is lost only with an error,
    // after which the upload must be resumed from the file.
    async fn with<T: Send + 'static>(
        &mut self,
        what: &'static str,
        work: impl FnOnce(&mut File, &mut Sha256) -> io::Result<T> + Send + 'static,
    ) -> Result<T, BlobError> {
        let name = self.name.clone();
        let (mut file, mut hasher) = self
            .state
            .take()
            .ok_or_else(|| BlobError::Missing(name.clone()))?;
        let (result, state) = off_reactor(what, move || {
            let result = work(&mut file, &mut hasher).map_err(io_error(what, name))?;
            Ok((result, (file, hasher)))
        })
        .await?;
        self.state = Some(state);
        Ok(result)
    }

    /// Appends bytes.
    pub async fn write(&mut self, bytes: Bytes) -> Result<(), BlobError> {
        let length = bytes.len() as u64;
        self.with("write upload", move |file, hasher| {
            file.write_all(&bytes)?;
            hasher.update(&bytes);
            Ok(())
        })
        .await?;
        self.length_bytes += length;
        Ok(())
    }

    /// Makes what was written so far durable.
    pub async fn sync(&mut self) -> Result<(), BlobError> {
        self.with("sync upload", |file, _| file.sync_data()).await
    }

    /// Gives the bytes their name: checked against `promised`, synced, renamed, directory
    /// synced. On a mismatch they are removed.
    pub async fn finish(mut self, promised: Option<&BlobId>) -> Result<BlobId, BlobError> {
        let (file, hasher) = self
            .state
            .take()
            .ok_or_else(|| BlobError::Missing(self.name.clone()))?;
        let found = BlobId(hasher.finalize().into());
        let (from, to, name) = (
            self.path.clone(),
            self.blobs.path(&found),
            self.name.clone(),
        );
        if let Some(promised) = promised.filter(|p| **p != found) {
            self.blobs.abandon(&name)?;
            return Err(BlobError::Mismatch {
                promised: promised.clone(),
                found,
            });
        }
        off_reactor("finish upload", move || {
            let keep = || -> io::Result<()> {
                file.sync_all()?;
                let directory = to.parent().unwrap_or(Path::new("."));
                if let Err(error) = std::fs::create_dir(directory) {
                    if error.kind() != io::ErrorKind::AlreadyExists {
                        return Err(error);
                    }
                } else if let Some(above) = directory.parent() {
                    File::open(above)?.sync_all()?;
                }
                std::fs::rename(&from, &to)?;
                File::open(directory)?.sync_all()
            };
            keep().map_err(io_error("finish upload", &name))?;
            Ok(found)
        })
        .await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn runtime() -> tokio::runtime::Runtime {
        tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("runtime")
    }

    #[test]
    fn a_name_appears_only_with_the_right_bytes() {
        let dir = tempfile::tempdir().expect("directory");
        runtime().block_on(async {
            let blobs = Blobs::open(dir.path()).expect("open");
            let id = BlobId::of(b"hello world");
            let mut upload = blobs.upload("u1").await.expect("upload");
            upload
                .write(Bytes::from_static(b"hello "))
                .await
                .expect("write");
            drop(upload);
            let mut upload = blobs.resume("u1").await.expect("resume");
            assert_eq!(upload.len(), 6);
            upload
                .write(Bytes::from_static(b"world"))
                .await
                .expect("write");
            assert_eq!(blobs.size(&id).await.expect("size"), None);
            assert_eq!(upload.finish(Some(&id)).await.expect("finish"), id);
            assert_eq!(blobs.size(&id).await.expect("size"), Some(11));
            let part: Vec<Bytes> = blobs
                .read(&id, Some(6..11))
                .await
                .expect("read")
                .try_collect()
                .await
                .expect("all");
            assert_eq!(part.concat(), b"world");
            assert!(matches!(
                blobs.resume("u1").await,
                Err(BlobError::Missing(_))
            ));

            let mut upload = blobs.upload("u2").await.expect("upload");
            upload
                .write(Bytes::from_static(b"other"))
                .await
                .expect("write");
            assert!(matches!(
                upload.finish(Some(&id)).await,
                Err(BlobError::Mismatch { .. })
            ));
            assert!(blobs.uploads().expect("uploads").is_empty());
            let all: Vec<_> = blobs.list().try_collect().await.expect("list");
            assert_eq!(all, [(id.clone(), 11)]);
            blobs.delete(&id).await.expect("delete");
            blobs.delete(&id).await.expect("again");
            assert!(matches!(blobs.open_file(&id), Err(BlobError::Missing(_))));
        });
    }

    #[test]
    fn tricky_names_are_refused() {
        let dir = tempfile::tempdir().expect("directory");
        let blobs = Blobs::open(dir.path()).expect("open");
        for name in ["", "..", "../x", "a/b", ".hidden", "a\0b", "ä"] {
            assert!(
                matches!(blobs.open_upload(name), Err(BlobError::Name(_))),
                "{name:?}"
            );
        }
        let upper = format!("sha256:{}", "A".repeat(64));
        for digest in [
            "",
            "sha256:",
            "sha512:00",
            "sha256:../../etc/passwd",
            upper.as_str(),
        ] {
            assert!(BlobId::parse(digest).is_err(), "{digest}");
        }
    }
}
