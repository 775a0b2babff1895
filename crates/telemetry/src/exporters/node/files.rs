//! Reading the kernel's files: bounded, and with the file's name in what went wrong.

use std::path::{Path, PathBuf};
use towpath_stdx::bounded;

/// No file of procfs or sysfs that is read here is larger on a machine with a thousand cores.
const LIMIT_BYTES: u64 = 8 << 20;

/// Why a collector has nothing to say.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file is not there or does not let itself be read.
    #[error("read {file}")]
    Read {
        /// Which.
        file: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The file says something else than expected.
    #[error("{file}: {what}")]
    Malformed {
        /// Which.
        file: String,
        /// What is wrong.
        what: String,
    },
    /// A call failed.
    #[error("{0}")]
    Call(String),
}

impl Error {
    pub(super) fn malformed(path: &Path, what: impl Into<String>) -> Self {
        Self::Malformed {
            file: path.display().to_string(),
            what: what.into(),
        }
    }

    /// Whether the file is just not there: the kernel or the machine has no such thing.
    pub(super) fn absent(&self) -> bool {
        matches!(self, Self::Read { source, .. } if matches!(
            source.kind(),
            std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory
        ))
    }
}

/// Where the kernel's trees are.
#[derive(Clone, Debug)]
pub struct Roots {
    /// procfs.
    pub proc: PathBuf,
    /// sysfs.
    pub sys: PathBuf,
    /// The root file system.
    pub root: PathBuf,
}

impl Default for Roots {
    fn default() -> Self {
        Self::under(Path::new("/"))
    }
}

impl Roots {
    /// All below one directory.
    pub fn under(root: &Path) -> Self {
        Self {
            proc: root.join("proc"),
            sys: root.join("sys"),
            root: root.to_path_buf(),
        }
    }
}

pub(super) fn text(path: &Path) -> Result<String, Error> {
    let bytes = bounded::read_file(path, LIMIT_BYTES).map_err(|source| Error::Read {
        file: path.display().to_string(),
        source,
    })?;
    Ok(match String::from_utf8(bytes) {
        Ok(text) => text,
        Err(error) => String::from_utf8_lossy(error.as_bytes()).into_owned(),
    })
}

/// A file of one line.
pub(super) fn line(path: &Path) -> Result<String, Error> {
    Ok(text(path)?.trim().to_string())
}

/// A file of one number.
pub(super) fn number(path: &Path) -> Result<f64, Error> {
    let text = line(path)?;
    // Flags are written in base sixteen.
    let parsed = match text.strip_prefix("0x") {
        Some(digits) => u64::from_str_radix(digits, 16).ok().map(|n| n as f64),
        None => text.parse().ok(),
    };
    parsed
        .filter(|n: &f64| n.is_finite())
        .ok_or_else(|| Error::malformed(path, format!("{text:?} is no number")))
}

/// A number of a file's line, or why it is none.
pub(super) fn field(path: &Path, word: Option<&str>) -> Result<f64, Error> {
    let word = word.ok_or_else(|| Error::malformed(path, "a line ends too soon"))?;
    word.parse()
        .ok()
        .filter(|n: &f64| n.is_finite())
        .ok_or_else(|| Error::malformed(path, format!("{word:?} is no number")))
}

/// Names in a directory, sorted; none where there is no directory.
pub(super) fn names(dir: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    let mut names: Vec<String> = entries
        .filter_map(|entry| entry.file_name().into_string().ok())
        .collect();
    names.sort();
    names
}
