//! How much room files take: the kernel does not count per directory, so they are looked at one
//! by one, at most so many and not more often than every minute.

use parking_lot::Mutex;
use std::collections::HashMap;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// A tree of more files is told as it was up to here.
const FILES: usize = 100_000;
const AGE: Duration = Duration::from_secs(60);

/// Room a tree takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Room {
    pub(super) bytes: u64,
    pub(super) files: u64,
}

/// The trees looked at lately.
#[derive(Default)]
pub(super) struct Trees(Mutex<HashMap<PathBuf, (Instant, Room)>>);

impl Trees {
    /// Room of a tree; looked at again once the last look is old. Blocks.
    pub(super) fn room(&self, dir: &Path, now: Instant) -> Room {
        if let Some((at, room)) = self.0.lock().get(dir)
            && now.duration_since(*at) < AGE
        {
            return *room;
        }
        let room = look(dir);
        self.0.lock().insert(dir.to_path_buf(), (now, room));
        room
    }

    /// Forgets trees that are gone.
    pub(super) fn keep(&self, wanted: impl Fn(&Path) -> bool) {
        self.0.lock().retain(|dir, _| wanted(dir));
    }
}

fn look(dir: &Path) -> Room {
    let mut room = Room::default();
    let mut open = vec![dir.to_path_buf()];
    let mut seen = 0;
    while let Some(dir) = open.pop() {
        for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
            seen += 1;
            if seen > FILES {
                return room;
            }
            // Of the link itself, never of what it points to.
            let Ok(about) = entry.metadata() else {
                continue;
            };
            room.files += 1;
            // A file with several names is shared among them.
            let names = if about.is_dir() {
                1
            } else {
                about.nlink().max(1)
            };
            room.bytes += about.blocks() * 512 / names;
            if about.is_dir() {
                open.push(entry.path());
            }
        }
    }
    room
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn looks_are_kept_for_a_minute_and_links_are_not_followed() {
        let dir = tempfile::tempdir().expect("directory");
        let below = dir.path().join("below");
        std::fs::create_dir(&below).expect("make");
        std::fs::write(below.join("file"), vec![1; 64 << 10]).expect("write");
        std::os::unix::fs::symlink("/", dir.path().join("link")).expect("link");
        let trees = Trees::default();
        let start = Instant::now();
        let room = trees.room(dir.path(), start);
        assert!(room.bytes >= 64 << 10 && room.bytes < 1 << 20, "{room:?}");
        assert_eq!(room.files, 3);
        std::fs::write(below.join("more"), vec![1; 64 << 10]).expect("write");
        assert_eq!(trees.room(dir.path(), start + AGE / 2), room);
        assert!(trees.room(dir.path(), start + AGE).bytes > room.bytes);
        trees.keep(|_| false);
        assert!(trees.0.lock().is_empty());
    }
}
