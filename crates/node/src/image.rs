//! Images on this node: layers unpacked once each to directories named by the digest of their
//! uncompressed stream, shared by all containers as overlay lower directories.
//!
//! `host.towpath.dev/rootfs` is the host's own root file system.

use crate::error::Error;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use towpath_kit::traits::{ImageError, Images};
use towpath_oci::config::{Config, Image};
use towpath_oci::manifest::Manifest;

/// Reference of the host's root file system.
pub const HOST_ROOTFS: &str = "host.towpath.dev/rootfs";

/// An image that is ready to run.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Ready {
    /// As asked for.
    pub(crate) reference: String,
    /// `sha256:…`; empty for the host's root.
    pub(crate) digest: String,
    /// Lower directories, uppermost first.
    pub(crate) lower: Vec<PathBuf>,
    /// How it starts.
    pub(crate) config: Config,
    /// Sum of its layers as stored, bytes.
    pub(crate) bytes: u64,
}

impl Ready {
    pub(crate) fn is_host(&self) -> bool {
        self.digest.is_empty()
    }

    /// `name@sha256:…`, as statuses show it.
    pub(crate) fn id(&self) -> String {
        if self.is_host() {
            return self.reference.clone();
        }
        let name = self.reference.split('@').next().unwrap_or_default();
        let last = name.rfind('/').map_or(0, |at| at + 1);
        let name = name[last..].find(':').map_or(name, |at| &name[..last + at]);
        format!("{name}@{}", self.digest)
    }
}

/// When to ask the registry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Policy {
    Always,
    IfNotPresent,
    Never,
}

impl Policy {
    /// The policy of a container: named, or by whether its tag may move.
    pub(crate) fn of(named: Option<&str>, image: &str) -> Self {
        let last = image.rsplit('/').next().unwrap_or(image);
        match named {
            Some("Always") => Self::Always,
            Some("Never") => Self::Never,
            Some(_) => Self::IfNotPresent,
            None if image.contains('@') => Self::IfNotPresent,
            None if !last.contains(':') || last.ends_with(":latest") => Self::Always,
            None => Self::IfNotPresent,
        }
    }
}

/// The node's images.
pub(crate) struct ImageStore {
    dir: PathBuf,
    images: Arc<dyn Images>,
    known: Mutex<BTreeMap<String, Ready>>,
    unpacking: Mutex<BTreeMap<String, Arc<tokio::sync::Mutex<()>>>>,
    cpu: tokio::sync::Semaphore,
}

const KNOWN: &str = "images.json";

impl ImageStore {
    /// Opens the store; what an earlier process left half done is removed.
    pub(crate) fn open(dir: &Path, images: Arc<dyn Images>) -> Result<Self, Error> {
        let layers = dir.join("layers");
        std::fs::create_dir_all(&layers).map_err(Error::io("make layer directory"))?;
        for entry in std::fs::read_dir(&layers)
            .map_err(Error::io("list layers"))?
            .flatten()
        {
            if entry.file_name().to_string_lossy().starts_with(".new-") {
                let _ = std::fs::remove_dir_all(entry.path());
            }
        }
        let known = std::fs::read(dir.join(KNOWN))
            .ok()
            .and_then(|bytes| serde_json::from_slice(&bytes).ok());
        Ok(Self {
            dir: dir.into(),
            images,
            known: Mutex::new(known.unwrap_or_default()),
            unpacking: Mutex::default(),
            cpu: tokio::sync::Semaphore::new(2),
        })
    }

    /// Whether the image is here already.
    pub(crate) fn present(&self, reference: &str) -> Option<Ready> {
        if reference == HOST_ROOTFS {
            return Some(Ready {
                reference: reference.into(),
                digest: String::new(),
                lower: vec!["/".into()],
                config: Config::default(),
                bytes: 0,
            });
        }
        let ready = self.known.lock().get(reference).cloned()?;
        ready.lower.iter().all(|dir| dir.exists()).then_some(ready)
    }

    /// Finds the image, pulls and unpacks it where needed.
    pub(crate) async fn ensure(&self, reference: &str, policy: Policy) -> Result<Ready, Error> {
        if let Some(ready) = self.present(reference)
            && (policy != Policy::Always || ready.is_host())
        {
            return Ok(ready);
        }
        if policy == Policy::Never {
            return Err(ImageError::NotFound(reference.into()).into());
        }
        let image = self.images.resolve(reference).await?;
        if let Some(ready) = self
            .present(reference)
            .filter(|ready| ready.digest == image.digest)
        {
            return Ok(ready);
        }
        let malformed = |cause: String| Error::Layer {
            layer: image.digest.clone(),
            cause,
        };
        let manifest = Manifest::parse(&image.manifest, "")
            .or_else(|_| Manifest::parse(&image.manifest, towpath_oci::manifest::IMAGE))
            .map_err(|error| malformed(error.to_string()))?;
        let config = Image::parse(&image.config).map_err(|error| malformed(error.to_string()))?;
        let diff_ids = config
            .diff_ids()
            .map_err(|error| malformed(error.to_string()))?;
        if diff_ids.len() != manifest.layers.len() {
            return Err(malformed(format!(
                "{} layers but {} diff ids",
                manifest.layers.len(),
                diff_ids.len()
            )));
        }
        let work = manifest
            .layers
            .iter()
            .zip(&diff_ids)
            .map(|(layer, diff_id)| self.layer(&layer.digest, diff_id.to_string()));
        let mut lower = futures::future::try_join_all(work).await?;
        lower.reverse();
        let bytes = manifest.layers.iter().map(|layer| layer.size).sum();
        let ready = Ready {
            reference: reference.into(),
            digest: image.digest.clone(),
            lower,
            config: config.config,
            bytes,
        };
        self.remember(ready.clone());
        Ok(ready)
    }

    fn remember(&self, ready: Ready) {
        let mut known = self.known.lock();
        known.insert(ready.reference.clone(), ready);
        self.save(&known);
    }

    fn save(&self, known: &BTreeMap<String, Ready>) {
        let write = || -> std::io::Result<()> {
            let beside = self.dir.join("images.new");
            std::fs::write(&beside, serde_json::to_vec(known)?)?;
            std::fs::rename(beside, self.dir.join(KNOWN))
        };
        if let Err(error) = write() {
            tracing::warn!(%error, "list of images not written");
        }
    }

    // The directory of a layer, unpacked at most once at a time.
    async fn layer(&self, digest: &str, diff_id: String) -> Result<PathBuf, Error> {
        let name = diff_id.rsplit(':').next().unwrap_or_default().to_string();
        let dir = self.dir.join("layers").join(&name);
        let lock = self
            .unpacking
            .lock()
            .entry(name.clone())
            .or_default()
            .clone();
        let _one = lock.lock().await;
        if dir.exists() {
            return Ok(dir);
        }
        let _slot = self.cpu.acquire().await;
        let blob = self.images.open_blob(digest).await?;
        let new = self.dir.join("layers").join(format!(".new-{name}"));
        let (target, wanted, layer) = (dir.clone(), diff_id, digest.to_string());
        let work = move || {
            unpack(blob, &new, &target, &wanted).map_err(|cause| Error::Layer { layer, cause })
        };
        let done = tokio::task::spawn_blocking(work).await;
        self.unpacking.lock().remove(&name);
        done.map_err(|_| Error::Layer {
            layer: digest.into(),
            cause: "unpacking panicked".into(),
        })??;
        Ok(dir)
    }

    /// All images that are here.
    pub(crate) fn all(&self) -> Vec<Ready> {
        self.known.lock().values().cloned().collect()
    }

    /// Forgets the images that `keep` does not name and removes layers that neither an image nor
    /// `used` needs. Returns how many layers went. Blocks.
    pub(crate) fn collect(&self, keep: &dyn Fn(&Ready) -> bool, used: &HashSet<PathBuf>) -> usize {
        let busy: HashSet<String> = self.unpacking.lock().keys().cloned().collect();
        let mut known = self.known.lock();
        known.retain(|_, ready| keep(ready));
        self.save(&known);
        let mut needed: HashSet<PathBuf> = used.clone();
        needed.extend(known.values().flat_map(|ready| ready.lower.iter().cloned()));
        let Ok(entries) = std::fs::read_dir(self.dir.join("layers")) else {
            return 0;
        };
        let mut gone = 0;
        for entry in entries.flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            let kept =
                needed.contains(&entry.path()) || name.starts_with('.') || busy.contains(&name);
            if !kept && std::fs::remove_dir_all(entry.path()).is_ok() {
                gone += 1;
            }
        }
        gone
    }
}

fn unpack(blob: std::fs::File, new: &Path, target: &Path, diff_id: &str) -> Result<(), String> {
    use towpath_oci::layer::{Options, Whiteouts, apply};
    let _ = std::fs::remove_dir_all(new);
    std::fs::create_dir_all(new).map_err(|error| error.to_string())?;
    let options = Options {
        whiteouts: Whiteouts::Overlay,
        ..Options::default()
    };
    let result = apply(blob, new, &options)
        .map_err(|error| crate::error::words(&error))
        .and_then(|applied| {
            if applied.diff_id.to_string() == diff_id {
                return Ok(());
            }
            Err(format!("content is {}, not {diff_id}", applied.diff_id))
        });
    let named = result.and_then(|()| {
        // A directory with its final name must hold the whole layer also after a power loss.
        let opened = std::fs::File::open(new).map_err(|error| error.to_string())?;
        rustix::fs::syncfs(&opened).map_err(|error| error.to_string())?;
        std::fs::rename(new, target).map_err(|error| error.to_string())
    });
    if named.is_err() {
        let _ = std::fs::remove_dir_all(new);
    }
    named
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn policies() {
        for (named, image, expected) in [
            (None, "debian", Policy::Always),
            (None, "debian:latest", Policy::Always),
            (None, "debian:12", Policy::IfNotPresent),
            (None, "host:5000/debian", Policy::Always),
            (None, "demo/x@sha256:00", Policy::IfNotPresent),
            (Some("Always"), "debian:12", Policy::Always),
            (Some("Never"), "debian", Policy::Never),
        ] {
            assert_eq!(Policy::of(named, image), expected, "{image}");
        }
    }

    #[test]
    fn ids_name_the_repository_and_the_digest() {
        let ready = |reference: &str| Ready {
            reference: reference.into(),
            digest: "sha256:1".into(),
            lower: vec![],
            config: Config::default(),
            bytes: 0,
        };
        assert_eq!(ready("demo/hello:1").id(), "demo/hello@sha256:1");
        assert_eq!(ready("h:5000/x").id(), "h:5000/x@sha256:1");
        assert_eq!(ready("x@sha256:9").id(), "x@sha256:1");
    }
}
