//! Unpacked layers, shared by all builds, and the memory of what a step made.
//!
//! `layers/<diff id>` is a layer unpacked for overlay; it appears whole, by a rename. `cache/`
//! holds a small file per step, named by a digest of everything the step depends on.

use serde::{Deserialize, Serialize};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use towpath_oci::layer::{self, Options, Whiteouts};

/// A layer of an image.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Layer {
    pub(crate) diff_id: String,
    pub(crate) digest: String,
    pub(crate) bytes: u64,
    pub(crate) media_type: String,
}

/// What a step made: a layer, or nothing new.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Made {
    pub(crate) layer: Option<Layer>,
}

#[derive(Clone, Debug)]
pub(crate) struct Layers {
    root: PathBuf,
}

impl Layers {
    pub(crate) fn open(root: &Path) -> io::Result<Self> {
        let layers = Self {
            root: root.to_path_buf(),
        };
        for dir in ["layers", "cache", "work", "mounts"] {
            fs::create_dir_all(root.join(dir))?;
        }
        // Whatever a killed server left half done. Moved first: its last step may still write.
        let trash = root.join("trash");
        fs::create_dir_all(&trash)?;
        fs::rename(
            root.join("work"),
            trash.join(towpath_stdx::id::uuid(&towpath_stdx::SystemRandom)),
        )?;
        fs::create_dir(root.join("work"))?;
        fs::create_dir_all(layers.empty())?;
        fs::create_dir_all(layers.below())?;
        Ok(layers)
    }

    /// Removes what [`open`](Self::open) moved away; to be tried again where something in it
    /// still runs.
    pub(crate) fn empty_trash(&self) -> io::Result<()> {
        for entry in fs::read_dir(self.root.join("trash"))? {
            fs::remove_dir_all(entry?.path())?;
        }
        Ok(())
    }

    /// An empty directory.
    pub(crate) fn empty(&self) -> PathBuf {
        self.root.join("empty")
    }

    /// Another one: an overlay without an upper directory needs two layers.
    pub(crate) fn below(&self) -> PathBuf {
        self.root.join("below")
    }

    /// Root of all of it.
    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// Directory of an unpacked layer, there or not.
    pub(crate) fn path(&self, diff_id: &str) -> PathBuf {
        self.root.join("layers").join(diff_id.replace(':', "-"))
    }

    /// A directory for one step, removed with the handle.
    pub(crate) fn scratch(&self, id: &str) -> io::Result<Scratch> {
        use std::os::unix::fs::PermissionsExt;
        let path = self.root.join("work").join(id);
        for dir in ["upper", "work"] {
            fs::create_dir_all(path.join(dir))?;
        }
        // The uppermost directory's mode is that of `/`.
        fs::set_permissions(path.join("upper"), fs::Permissions::from_mode(0o755))?;
        Ok(Scratch { path })
    }

    /// Unpacks a layer unless it is there; fails where its content is not what its id says.
    pub(crate) fn unpack(&self, blob: fs::File, diff_id: &str, id: &str) -> Result<(), String> {
        use std::os::unix::fs::PermissionsExt;
        let target = self.path(diff_id);
        if target.exists() {
            return Ok(());
        }
        let scratch = self.root.join("work").join(format!("unpack-{id}"));
        let _done = Scratch {
            path: scratch.clone(),
        };
        fs::create_dir_all(&scratch).map_err(|e| e.to_string())?;
        fs::set_permissions(&scratch, fs::Permissions::from_mode(0o755))
            .map_err(|e| e.to_string())?;
        let options = Options {
            whiteouts: Whiteouts::Overlay,
            ..Options::default()
        };
        let applied = layer::apply(blob, &scratch, &options).map_err(|e| words(&e))?;
        if applied.diff_id.as_str() != diff_id {
            return Err(format!(
                "layer content is {}, the configuration says {diff_id}",
                applied.diff_id
            ));
        }
        self.publish(&scratch, &target)
    }

    /// Makes a step's upper directory the unpacked layer.
    pub(crate) fn adopt(&self, upper: &Path, diff_id: &str) -> Result<(), String> {
        self.publish(upper, &self.path(diff_id))
    }

    fn publish(&self, from: &Path, target: &Path) -> Result<(), String> {
        match fs::rename(from, target) {
            Ok(()) => Ok(()),
            // Another build was first; its content is the same.
            Err(_) if target.exists() => Ok(()),
            Err(error) => Err(format!("keep layer {}: {error}", target.display())),
        }
    }

    fn entry(&self, key: &str) -> PathBuf {
        self.root.join("cache").join(format!("{key}.json"))
    }

    /// What a step with this key made before. Anything unreadable is no answer.
    pub(crate) fn recall(&self, key: &str) -> Option<Made> {
        let bytes = towpath_stdx::bounded::read_file(&self.entry(key), 64 << 10).ok()?;
        let made: Made = serde_json::from_slice(&bytes).ok()?;
        Some(made)
    }

    /// Remembers it. Losing it costs time only.
    pub(crate) fn remember(&self, key: &str, made: &Made, id: &str) {
        let beside = self.root.join("work").join(format!("cache-{id}.json"));
        let written = serde_json::to_vec(made)
            .map_err(io::Error::other)
            .and_then(|bytes| fs::write(&beside, bytes));
        if let Err(error) = written.and_then(|()| fs::rename(&beside, self.entry(key))) {
            tracing::warn!(%error, "build cache entry not kept");
        }
    }

    /// Directory of a cache mount. `name` holds user text: only its digest becomes a path.
    pub(crate) fn cache_mount(&self, scope: &str, name: &str) -> PathBuf {
        let digest = towpath_oci::Digest::of(format!("{scope}\0{name}").as_bytes());
        self.root.join("mounts").join(digest.hex())
    }
}

/// A directory that goes with its handle.
pub(crate) struct Scratch {
    path: PathBuf,
}

impl Scratch {
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn upper(&self) -> PathBuf {
        self.path.join("upper")
    }

    pub(crate) fn work(&self) -> PathBuf {
        self.path.join("work")
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.path);
    }
}

/// An error with all its causes.
pub(crate) fn words(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}
