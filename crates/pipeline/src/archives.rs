//! Artifacts of runs and caches of repositories: opaque archives on disk.
//!
//! An archive is written beside its place and moved there when it is complete, so a crash leaves
//! nothing half. Caches belong to a scope (repository and ref): a run reads its own scope and the
//! default branch's, and writes only its own.

use crate::logs::is_component;
use futures::{Stream, StreamExt};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::io::AsyncWriteExt;

const LIMIT_CACHES_PER_SCOPE: usize = 50;

/// An artifact, for people and for jobs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Artifact {
    pub(crate) name: String,
    pub(crate) bytes: u64,
    pub(crate) digest: String,
}

/// A saved cache.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct CacheEntry {
    pub(crate) key: String,
    pub(crate) version: String,
    /// Seconds since 1970.
    pub(crate) saved: u64,
    pub(crate) bytes: u64,
}

/// Why an archive was not taken.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Refused {
    #[error("{0} is there already")]
    Exists(String),
    #[error("larger than {0} bytes")]
    TooLarge(u64),
    #[error("invalid name {0:?}")]
    Name(String),
    #[error("the upload was interrupted: {0}")]
    Interrupted(String),
    #[error("{what}: {source}")]
    Io { what: String, source: io::Error },
}

fn io_error(what: &str) -> impl FnOnce(io::Error) -> Refused {
    move |source| Refused::Io {
        what: what.to_string(),
        source,
    }
}

/// All archives below a directory. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Archives {
    root: PathBuf,
    limit_bytes: u64,
    counter: Arc<AtomicU64>,
}

impl Archives {
    pub(crate) fn new(root: PathBuf, limit_bytes: u64) -> Self {
        // What a killed process was receiving has no owner any more.
        let _ = std::fs::remove_dir_all(root.join("uploads"));
        Self {
            root,
            limit_bytes,
            counter: Arc::default(),
        }
    }

    fn run_dir(&self, namespace: &str, run: &str) -> Result<PathBuf, Refused> {
        match [namespace, run].iter().find(|n| !is_component(n)) {
            Some(bad) => Err(Refused::Name(bad.to_string())),
            None => Ok(self.root.join("artifacts").join(namespace).join(run)),
        }
    }

    /// Removes all artifacts of a run.
    pub(crate) fn remove_run(&self, namespace: &str, run: &str) -> io::Result<()> {
        let Ok(dir) = self.run_dir(namespace, run) else {
            return Ok(());
        };
        match std::fs::remove_dir_all(dir) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    // Writes a stream to a file of its own; returns its path, size and digest.
    async fn receive<E: std::fmt::Display>(
        &self,
        stream: impl Stream<Item = Result<bytes::Bytes, E>>,
    ) -> Result<(PathBuf, u64, String), Refused> {
        let dir = self.root.join("uploads");
        std::fs::create_dir_all(&dir).map_err(io_error("make room for the upload"))?;
        let number = self.counter.fetch_add(1, Ordering::Relaxed);
        let path = dir.join(format!("{}-{number}", std::process::id()));
        let result = self.receive_to(stream, &path).await;
        if result.is_err() {
            let _ = std::fs::remove_file(&path);
        }
        result.map(|(bytes, digest)| (path, bytes, digest))
    }

    async fn receive_to<E: std::fmt::Display>(
        &self,
        stream: impl Stream<Item = Result<bytes::Bytes, E>>,
        path: &Path,
    ) -> Result<(u64, String), Refused> {
        let mut file = tokio::fs::File::create(path)
            .await
            .map_err(io_error("make the upload's file"))?;
        let mut hash = Sha256::new();
        let mut bytes = 0u64;
        let mut stream = std::pin::pin!(stream);
        while let Some(chunk) = stream.next().await {
            let chunk = chunk.map_err(|e| Refused::Interrupted(e.to_string()))?;
            bytes += chunk.len() as u64;
            if bytes > self.limit_bytes {
                return Err(Refused::TooLarge(self.limit_bytes));
            }
            hash.update(&chunk);
            file.write_all(&chunk)
                .await
                .map_err(io_error("write the upload"))?;
        }
        file.sync_all()
            .await
            .map_err(io_error("write the upload"))?;
        Ok((
            bytes,
            format!("sha256:{}", towpath_stdx::id::hex(&hash.finalize())),
        ))
    }

    /// Takes an artifact.
    pub(crate) async fn put_artifact<E: std::fmt::Display>(
        &self,
        (namespace, run, name): (&str, &str, &str),
        overwrite: bool,
        stream: impl Stream<Item = Result<bytes::Bytes, E>>,
    ) -> Result<Artifact, Refused> {
        let dir = self.run_dir(namespace, run)?;
        if !is_component(name) || name.starts_with('.') {
            return Err(Refused::Name(name.to_string()));
        }
        let place = dir.join(name);
        if place.exists() && !overwrite {
            return Err(Refused::Exists(format!("artifact {name}")));
        }
        let (file, bytes, digest) = self.receive(stream).await?;
        let artifact = Artifact {
            name: name.to_string(),
            bytes,
            digest,
        };
        let moved = (|| {
            std::fs::create_dir_all(dir.join(".about"))?;
            std::fs::write(
                dir.join(".about").join(name),
                serde_json::to_vec(&artifact)?,
            )?;
            std::fs::rename(&file, &place)
        })();
        moved.map_err(io_error("keep the artifact"))?;
        Ok(artifact)
    }

    /// Artifacts of a run, by name.
    pub(crate) fn artifacts(&self, namespace: &str, run: &str) -> Result<Vec<Artifact>, Refused> {
        let dir = self.run_dir(namespace, run)?;
        let Ok(entries) = std::fs::read_dir(&dir) else {
            return Ok(Vec::new());
        };
        let mut found: Vec<Artifact> = entries
            .filter_map(|e| e.ok()?.file_name().into_string().ok())
            .filter(|name| !name.starts_with('.'))
            .filter_map(|name| {
                serde_json::from_slice(&std::fs::read(dir.join(".about").join(name)).ok()?).ok()
            })
            .collect();
        found.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(found)
    }

    /// File of an artifact.
    pub(crate) fn artifact(
        &self,
        namespace: &str,
        run: &str,
        name: &str,
    ) -> Result<PathBuf, Refused> {
        if !is_component(name) || name.starts_with('.') {
            return Err(Refused::Name(name.to_string()));
        }
        Ok(self.run_dir(namespace, run)?.join(name))
    }

    fn scope_dir(
        &self,
        namespace: &str,
        repository: &str,
        scope: &str,
    ) -> Result<PathBuf, Refused> {
        match [namespace, repository].iter().find(|n| !is_component(n)) {
            Some(bad) => Err(Refused::Name(bad.to_string())),
            None => {
                let hash = towpath_stdx::id::hex(&Sha256::digest(scope.as_bytes()));
                Ok(self
                    .root
                    .join("caches")
                    .join(namespace)
                    .join(repository)
                    .join(&hash[..32]))
            }
        }
    }

    fn entries(&self, dir: &Path) -> Vec<(String, CacheEntry)> {
        let Ok(entries) = std::fs::read_dir(dir) else {
            return Vec::new();
        };
        let mut found: Vec<(String, CacheEntry)> = entries
            .filter_map(|e| e.ok()?.file_name().into_string().ok())
            .filter_map(|name| Some((name.strip_suffix(".json")?.to_string(), name)))
            .filter_map(|(id, name)| {
                Some((
                    id,
                    serde_json::from_slice(&std::fs::read(dir.join(name)).ok()?).ok()?,
                ))
            })
            .collect();
        found.sort_by_key(|(id, e)| (std::cmp::Reverse(e.saved), id.clone()));
        found
    }

    /// Finds a cache: per scope in order, the key itself, else the newest that starts with it or
    /// with one of the prefixes, in order.
    pub(crate) fn find_cache(
        &self,
        (namespace, repository): (&str, &str),
        scopes: &[String],
        (key, version): (&str, &str),
        prefixes: &[String],
    ) -> Result<Option<(String, CacheEntry)>, Refused> {
        for scope in scopes {
            let dir = self.scope_dir(namespace, repository, scope)?;
            let found: Vec<(String, CacheEntry)> = self
                .entries(&dir)
                .into_iter()
                .filter(|(_, e)| e.version == version)
                .collect();
            let exact = found.iter().find(|(_, e)| e.key.eq_ignore_ascii_case(key));
            let by_prefix = |p: &String| {
                found
                    .iter()
                    .find(|(_, e)| e.key.to_lowercase().starts_with(&p.to_lowercase()))
            };
            if let Some((id, entry)) = exact.or_else(|| prefixes.iter().find_map(by_prefix)) {
                let hash = dir
                    .file_name()
                    .map(|n| n.to_string_lossy().into_owned())
                    .unwrap_or_default();
                return Ok(Some((format!("{hash}.{id}"), entry.clone())));
            }
        }
        Ok(None)
    }

    /// File of a cache that one of the scopes holds.
    pub(crate) fn cache(
        &self,
        (namespace, repository): (&str, &str),
        scopes: &[String],
        id: &str,
    ) -> Result<PathBuf, Refused> {
        let (scope, id) = id
            .split_once('.')
            .ok_or_else(|| Refused::Name(id.to_string()))?;
        for own in scopes {
            let dir = self.scope_dir(namespace, repository, own)?;
            if dir.file_name().is_some_and(|n| n == scope)
                && id.bytes().all(|b| b.is_ascii_hexdigit())
            {
                return Ok(dir.join(id));
            }
        }
        Err(Refused::Name(id.to_string()))
    }

    /// Takes a cache; the oldest of a full scope go.
    pub(crate) async fn put_cache<E: std::fmt::Display>(
        &self,
        (namespace, repository, scope): (&str, &str, &str),
        (key, version): (&str, &str),
        now: u64,
        stream: impl Stream<Item = Result<bytes::Bytes, E>>,
    ) -> Result<CacheEntry, Refused> {
        if key.is_empty() || key.len() > 512 || key.contains(',') || version.len() > 128 {
            return Err(Refused::Name(key.to_string()));
        }
        let dir = self.scope_dir(namespace, repository, scope)?;
        let id = towpath_stdx::id::hex(&Sha256::digest(
            format!("{version}\0{}", key.to_lowercase()).as_bytes(),
        ))[..32]
            .to_string();
        if dir.join(format!("{id}.json")).exists() {
            return Err(Refused::Exists(format!("cache {key}")));
        }
        let (file, bytes, _) = self.receive(stream).await?;
        let entry = CacheEntry {
            key: key.into(),
            version: version.into(),
            saved: now,
            bytes,
        };
        let kept = (|| {
            std::fs::create_dir_all(&dir)?;
            std::fs::rename(&file, dir.join(&id))?;
            // Only with its description is a cache there.
            let about = dir.join(format!("{id}.partial"));
            std::fs::write(&about, serde_json::to_vec(&entry)?)?;
            std::fs::rename(about, dir.join(format!("{id}.json")))
        })();
        kept.map_err(io_error("keep the cache"))?;
        for (old, _) in self.entries(&dir).into_iter().skip(LIMIT_CACHES_PER_SCOPE) {
            let _ = std::fs::remove_file(dir.join(format!("{old}.json")));
            let _ = std::fs::remove_file(dir.join(old));
        }
        Ok(entry)
    }
}
