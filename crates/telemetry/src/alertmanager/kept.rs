//! What survives: one small file, replaced as a whole.

use std::io::Write;
use std::path::{Path, PathBuf};

use parking_lot::Mutex;
use towpath_alerting::alertmanager::Snapshot;

use super::Error;

/// No state is larger.
const MAX_BYTES: u64 = 256 << 20;
/// Before the state: what it is, and of which version.
const VERSION: u32 = 1;

#[derive(serde::Serialize, serde::Deserialize)]
struct File {
    version: u32,
    state: Snapshot,
}

pub(super) struct Kept {
    path: PathBuf,
    /// What is written before it takes the place of the other; no other server's.
    fresh: PathBuf,
    /// What is on disk, by its checksum: the same is not written again.
    last: Mutex<Option<u32>>,
}

impl Kept {
    pub(super) fn open(directory: &Path) -> Result<Self, Error> {
        std::fs::create_dir_all(directory)
            .map_err(|error| Error::Keep(directory.to_owned(), error.to_string()))?;
        // What one that ended was writing is of no use, and it shall not finish it.
        for entry in std::fs::read_dir(directory).into_iter().flatten().flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            if name.starts_with("alerts.") && name.ends_with(".new") {
                let _ = std::fs::remove_file(entry.path());
            }
        }
        let id = towpath_stdx::id::uuid(&towpath_stdx::SystemRandom);
        Ok(Self {
            path: directory.join("alerts.json"),
            fresh: directory.join(format!("alerts.{id}.new")),
            last: Mutex::default(),
        })
    }

    pub(super) fn load(&self) -> Result<Snapshot, Error> {
        let fail = |why: String| Error::Keep(self.path.clone(), why);
        if !self.path.exists() {
            return Ok(Snapshot::default());
        }
        let bytes = towpath_stdx::bounded::read_file(&self.path, MAX_BYTES)
            .map_err(|error| fail(error.to_string()))?;
        let split = bytes.iter().position(|byte| *byte == b'\n');
        let (sum, body) = bytes.split_at(split.ok_or_else(|| fail("it is cut off".to_owned()))?);
        let body = &body[1..];
        if std::str::from_utf8(sum).ok() != Some(&format!("{:08x}", crc32c::crc32c(body))) {
            return Err(fail("its checksum is wrong".to_owned()));
        }
        let file: File = serde_json::from_slice(body).map_err(|error| fail(error.to_string()))?;
        match file.version {
            VERSION => Ok(file.state),
            other => Err(fail(format!("version {other} is not known"))),
        }
    }

    /// Writes the state unless it is what is there. `state` is asked under the lock, so that a
    /// newer state is never overwritten by an older one.
    pub(super) fn save(&self, state: impl FnOnce() -> Snapshot) -> Result<(), Error> {
        let mut last = self.last.lock();
        let fail = |error: std::io::Error| Error::Keep(self.path.clone(), error.to_string());
        let file = File {
            version: VERSION,
            state: state(),
        };
        let body = serde_json::to_vec(&file)
            .map_err(|error| Error::Keep(self.path.clone(), error.to_string()))?;
        let sum = crc32c::crc32c(&body);
        if *last == Some(sum) {
            return Ok(());
        }
        let mut out = std::fs::File::create(&self.fresh).map_err(fail)?;
        out.write_all(format!("{sum:08x}\n").as_bytes())
            .and_then(|()| out.write_all(&body))
            .and_then(|()| out.sync_all())
            .map_err(fail)?;
        std::fs::rename(&self.fresh, &self.path).map_err(fail)?;
        if let Some(folder) = self.path.parent() {
            std::fs::File::open(folder)
                .and_then(|d| d.sync_all())
                .map_err(fail)?;
        }
        *last = Some(sum);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_damaged_is_refused() {
        let folder = tempfile::tempdir().expect("a folder");
        let kept = Kept::open(folder.path()).expect("opens");
        assert!(kept.load().expect("nothing").alerts.is_empty());
        kept.save(Snapshot::default).expect("saves");
        kept.load().expect("loads");
        let path = folder.path().join("alerts.json");
        let mut bytes = std::fs::read(&path).expect("bytes");
        let at = bytes.len() / 2;
        bytes[at] ^= 1;
        std::fs::write(&path, bytes).expect("written");
        assert!(kept.load().is_err());
    }
}
