//! Settings of the builder.

use std::path::PathBuf;
use std::time::Duration;
use towpath_oci::layer::Compression;

/// Settings.
#[derive(Clone, Debug)]
pub struct Config {
    /// The builder's own directory: unpacked layers, cache, scratch space. On a file system that
    /// can hold an overlay's upper directory.
    pub directory: PathBuf,
    /// Compression of new layers.
    pub compression: Compression,
    /// Memory of a `RUN` where the request names none, bytes.
    pub memory_bytes: u64,
    /// Processes and threads of a `RUN`.
    pub pids: i64,
    /// Time of one `RUN`.
    pub step_limit: Duration,
    /// Disk that one `RUN` may use, bytes.
    pub step_bytes: u64,
    /// Disk that must stay free, bytes.
    pub reserve_bytes: u64,
    /// Builds at the same time; others wait.
    pub parallel: usize,
    /// Largest context taken over HTTP, bytes unpacked.
    pub context_bytes: u64,
    /// Whether missing base images are made of the distribution's packages.
    pub make_bases: bool,
}

impl Config {
    /// Defaults for a directory.
    pub fn new(directory: impl Into<PathBuf>) -> Self {
        Self {
            directory: directory.into(),
            compression: Compression::Zstd,
            memory_bytes: 2 << 30,
            pids: 4096,
            step_limit: Duration::from_secs(3600),
            step_bytes: 20 << 30,
            reserve_bytes: 512 << 20,
            parallel: 2,
            context_bytes: 4 << 30,
            make_bases: true,
        }
    }
}
