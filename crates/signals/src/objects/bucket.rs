//! A bucket for code that waits: every call has a deadline and says what it was about.

use std::fs::File;
use std::future::Future;
use std::io::Read;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::sync_channel;
use std::time::Duration;

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt};
use object_store::path::Path;
use object_store::{
    Error, ObjectStore, ObjectStoreExt, PutMode, PutOptions, PutPayload, UpdateVersion,
    WriteMultipart,
};
use tokio::runtime::{Builder, Runtime};

use super::BucketSettings;
use crate::segment::Cache;

/// The longest wait for something small.
const SMALL: Duration = Duration::from_secs(20);
/// What an upload carries at least in a second, in bytes.
const SLOWEST: u64 = 128 << 10;
/// Parts of an upload, in bytes; what is shorter goes as a whole.
const PART: usize = 8 << 20;
/// What is read for a query at once, in bytes.
const CHUNK: u64 = 1 << 20;
/// The longest object that is read as a whole.
const MAX_WHOLE: u64 = 64 << 20;
/// The most names in one listing.
const MAX_NAMES: usize = 1_000_000;

/// Why something in a bucket failed.
#[derive(Clone, Debug, thiserror::Error)]
#[error("bucket {bucket}: {what}: {why}")]
pub struct BucketError {
    bucket: String,
    what: String,
    why: String,
    /// What the others do about it.
    pub(super) kind: Kind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// There is no such object.
    Missing,
    /// It was changed by somebody else.
    Changed,
    Other,
}

/// A bucket, or what is below a prefix of it.
pub struct Bucket {
    store: Arc<dyn ObjectStore>,
    settings: BucketSettings,
    /// Ends with the bucket; `Option` only to be taken then.
    runtime: Option<Runtime>,
    /// What was read lately.
    chunks: Cache,
    next: AtomicU64,
    reads: AtomicU64,
    read_bytes: AtomicU64,
}

impl std::fmt::Debug for Bucket {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Bucket").field(&self.settings).finish()
    }
}

impl Drop for Bucket {
    fn drop(&mut self) {
        // It may be dropped where nobody may wait.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl Bucket {
    /// A bucket of which so many bytes that were read lately are kept in memory. Nothing is asked
    /// of it yet.
    ///
    /// # Errors
    /// The settings make no sense.
    pub fn new(settings: BucketSettings, memory_bytes: usize) -> Result<Arc<Self>, BucketError> {
        let failed = |why: String| BucketError {
            bucket: settings.bucket.clone(),
            what: "settings".to_owned(),
            why,
            kind: Kind::Other,
        };
        let store = settings.connect().map_err(|e| failed(e.to_string()))?;
        let runtime = Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("signals-bucket")
            .enable_all()
            .build()
            .map_err(|e| failed(e.to_string()))?;
        Ok(Arc::new(Self {
            store,
            settings,
            runtime: Some(runtime),
            chunks: Cache::new(memory_bytes),
            next: AtomicU64::new(1),
            reads: AtomicU64::new(0),
            read_bytes: AtomicU64::new(0),
        }))
    }

    /// Where it is, in a word.
    pub(super) fn place(&self) -> String {
        self.settings.place()
    }

    /// An object as it is named in messages.
    pub(crate) fn named(&self, key: &str) -> String {
        format!("s3://{}/{}", self.settings.bucket, self.path(key))
    }

    /// Reads of queries, and their bytes.
    pub(super) fn reads(&self) -> (u64, u64) {
        let told = |number: &AtomicU64| number.load(Ordering::Relaxed);
        (told(&self.reads), told(&self.read_bytes))
    }

    /// A number that tells one object from others in the cache.
    pub(crate) fn number(&self) -> u64 {
        self.next.fetch_add(1, Ordering::Relaxed)
    }

    fn path(&self, key: &str) -> Path {
        Path::from(format!("{}/{key}", self.settings.prefix))
    }

    fn error(&self, what: &str, kind: Kind, why: String) -> BucketError {
        BucketError {
            bucket: self.settings.bucket.clone(),
            what: what.to_owned(),
            why,
            kind,
        }
    }

    /// Waits for something, on a thread that may wait.
    fn wait<T: Send + 'static>(
        &self,
        what: &str,
        longest: Duration,
        future: impl Future<Output = Result<T, Error>> + Send + 'static,
    ) -> Result<T, BucketError> {
        let (tell, told) = sync_channel(1);
        let Some(runtime) = &self.runtime else {
            return Err(self.error(what, Kind::Other, "closed".to_owned()));
        };
        runtime.spawn(async move {
            let done = tokio::time::timeout(longest, future).await;
            // Who asked is there until it is told.
            let _ = tell.send(done);
        });
        match told.recv() {
            Ok(Ok(Ok(value))) => Ok(value),
            Ok(Ok(Err(error))) => {
                let kind = match &error {
                    Error::NotFound { .. } => Kind::Missing,
                    Error::Precondition { .. } | Error::AlreadyExists { .. } => Kind::Changed,
                    _ => Kind::Other,
                };
                Err(self.error(what, kind, told_whole(&error)))
            }
            Ok(Err(_)) => {
                let why = format!("no answer within {} s", longest.as_secs());
                Err(self.error(what, Kind::Other, why))
            }
            Err(_) => Err(self.error(what, Kind::Other, "interrupted".to_owned())),
        }
    }

    /// An object and its version; none if there is none.
    pub(super) fn get(&self, key: &str) -> Result<Option<(Bytes, UpdateVersion)>, BucketError> {
        let (store, path) = (Arc::clone(&self.store), self.path(key));
        let found = self.wait(&format!("read {path}"), SMALL, async move {
            let found = store.get(&path).await?;
            let version = UpdateVersion {
                e_tag: found.meta.e_tag.clone(),
                version: found.meta.version.clone(),
            };
            if found.meta.size > MAX_WHOLE {
                return Err(Error::Generic {
                    store: "S3",
                    source: format!("{} bytes are too many", found.meta.size).into(),
                });
            }
            Ok((found.bytes().await?, version))
        });
        match found {
            Ok(found) => Ok(Some(found)),
            Err(error) if error.kind == Kind::Missing => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Writes an object that is not there yet, or is as it was; its version then.
    pub(super) fn put(
        &self,
        key: &str,
        bytes: Vec<u8>,
        before: Option<UpdateVersion>,
    ) -> Result<UpdateVersion, BucketError> {
        let (store, path) = (Arc::clone(&self.store), self.path(key));
        let mode = before.map_or(PutMode::Create, PutMode::Update);
        self.wait(&format!("write {path}"), SMALL, async move {
            let options = PutOptions::from(mode);
            let put = store.put_opts(&path, bytes.into(), options).await?;
            Ok(UpdateVersion {
                e_tag: put.e_tag,
                version: put.version,
            })
        })
    }

    /// Uploads a file of so many bytes.
    pub(super) fn upload(&self, key: &str, mut file: File, bytes: u64) -> Result<(), BucketError> {
        let (store, path) = (Arc::clone(&self.store), self.path(key));
        let longest = SMALL + Duration::from_secs(bytes / SLOWEST);
        let what = format!("upload {path}");
        let short = |path: &Path| Error::Generic {
            store: "file",
            source: format!("{path} has another length than it had").into(),
        };
        self.wait(&what, longest, async move {
            let mut read = move |most: usize| {
                let mut part = Vec::with_capacity(most);
                let read = Read::by_ref(&mut file).take(most as u64);
                { read }
                    .read_to_end(&mut part)
                    .map(|_| part)
                    .map_err(|source| Error::Generic {
                        store: "file",
                        source: Box::new(source),
                    })
            };
            if bytes <= PART as u64 {
                let whole = read(PART + 1)?;
                if whole.len() as u64 != bytes {
                    return Err(short(&path));
                }
                return store.put(&path, PutPayload::from(whole)).await.map(drop);
            }
            let upload = store.put_multipart(&path).await?;
            let mut parts = WriteMultipart::new_with_chunk_size(upload, PART);
            let mut written = 0;
            let failed = loop {
                match read(PART) {
                    Err(error) => break Some(error),
                    Ok(part) if part.is_empty() => break None,
                    Ok(part) => {
                        written += part.len() as u64;
                        if let Err(error) = parts.wait_for_capacity(1).await {
                            break Some(error);
                        }
                        parts.put(part.into());
                    }
                }
            };
            match failed {
                None if written == bytes => parts.finish().await.map(drop),
                failed => {
                    // What is left behind is not visible; why it failed is what counts.
                    let _ = parts.abort().await;
                    Err(failed.unwrap_or_else(|| short(&path)))
                }
            }
        })
    }

    /// A range of an object; it may be shorter if the object is.
    pub(super) fn range(&self, key: &str, range: Range<u64>) -> Result<Bytes, BucketError> {
        let (store, path) = (Arc::clone(&self.store), self.path(key));
        let what = format!("read {path}");
        let longest = SMALL + Duration::from_secs((range.end - range.start) / SLOWEST);
        let found = self.wait(&what, longest, async move {
            store.get_range(&path, range).await
        })?;
        self.reads.fetch_add(1, Ordering::Relaxed);
        let bytes = found.len() as u64;
        self.read_bytes.fetch_add(bytes, Ordering::Relaxed);
        Ok(found)
    }

    /// Fills a buffer from an object of so many bytes, by way of the cache. `number` is the
    /// object's own.
    pub(crate) fn read(
        &self,
        (number, key, length): (u64, &str, u64),
        buffer: &mut [u8],
        offset: u64,
    ) -> Result<(), BucketError> {
        let end = offset.saturating_add(buffer.len() as u64);
        let (first, behind) = (offset / CHUNK, end.div_ceil(CHUNK));
        let mut at = first;
        while at < behind {
            let held = self.chunks.get((number, at));
            let chunk = match held {
                Some(chunk) => chunk,
                None => {
                    // All that is missing in a row comes at once.
                    let missing = (at + 1..behind)
                        .take_while(|next| self.chunks.get((number, *next)).is_none());
                    let until = at + 1 + missing.count() as u64;
                    self.fetch((number, key, length), at..until)?
                }
            };
            let from = at * CHUNK;
            let part = offset.max(from)..end.min(from + CHUNK);
            // A row that was fetched is longer than a chunk.
            let part = match chunk.len() as u64 > CHUNK {
                true => part.start..end.min(from + chunk.len() as u64),
                false => part,
            };
            let source = chunk.get((part.start - from) as usize..(part.end - from) as usize);
            let target = (part.start - offset) as usize..(part.end - offset) as usize;
            match source {
                Some(source) => buffer[target].copy_from_slice(source),
                None => {
                    let what = format!("read {}", self.path(key));
                    let why = "the object is shorter than it was written".to_owned();
                    return Err(self.error(&what, Kind::Other, why));
                }
            }
            at = part.end.div_ceil(CHUNK).max(at + 1);
        }
        Ok(())
    }

    fn fetch(
        &self,
        (number, key, length): (u64, &str, u64),
        row: Range<u64>,
    ) -> Result<Arc<[u8]>, BucketError> {
        let range = row.start * CHUNK..(row.end * CHUNK).min(length);
        let expected = range.end.saturating_sub(range.start);
        let bytes = self.range(key, range)?;
        if bytes.len() as u64 != expected {
            let what = format!("read {}", self.path(key));
            let why = "the object is shorter than it was written".to_owned();
            return Err(self.error(&what, Kind::Other, why));
        }
        for (at, chunk) in row.clone().zip(bytes.chunks(CHUNK as usize)) {
            self.chunks.put((number, at), chunk.into());
        }
        Ok(bytes.as_ref().into())
    }

    /// How long an object is; none if there is none.
    pub(super) fn length(&self, key: &str) -> Result<Option<u64>, BucketError> {
        let (store, path) = (Arc::clone(&self.store), self.path(key));
        let found = self.wait(&format!("look at {path}"), SMALL, async move {
            store.head(&path).await.map(|meta| meta.size)
        });
        match found {
            Ok(length) => Ok(Some(length)),
            Err(error) if error.kind == Kind::Missing => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The names below a folder, without the prefix and it.
    pub(super) fn list(&self, folder: &str) -> Result<Vec<String>, BucketError> {
        let (store, path) = (Arc::clone(&self.store), self.path(folder));
        let what = format!("list {path}");
        let found = self.wait(&what, SMALL * 15, async move {
            let all = store.list(Some(&path)).take(MAX_NAMES);
            let names = all.try_filter_map(|meta| {
                let name = meta.location.filename().map(str::to_owned);
                async move { Ok(name) }
            });
            names.try_collect::<Vec<String>>().await
        })?;
        Ok(found)
    }

    /// Deletes an object, if it is there.
    pub(super) fn delete(&self, key: &str) -> Result<(), BucketError> {
        let (store, path) = (Arc::clone(&self.store), self.path(key));
        let deleted = self.wait(&format!("delete {path}"), SMALL, async move {
            store.delete(&path).await
        });
        match deleted {
            Err(error) if error.kind != Kind::Missing => Err(error),
            _ => Ok(()),
        }
    }
}

/// An error with its causes, each once.
fn told_whole(error: &dyn std::error::Error) -> String {
    let mut out = error.to_string();
    let mut next = error.source();
    while let Some(error) = next {
        let text = error.to_string();
        if !out.contains(&text) {
            out = format!("{out}: {text}");
        }
        next = error.source();
    }
    out
}

#[cfg(test)]
mod tests;
