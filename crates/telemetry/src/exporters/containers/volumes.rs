//! How full claimed volumes are.
//!
//! A volume that is a file system of its own is told as the kernel tells it. Most are directories
//! of the machine's disk: of those only their own files count, against what was promised to the
//! claim, and never more is available than the disk has left.

use super::ContainerExporter;
use super::reading::{Disk, disk};
use super::usage::Room;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::Instant;
use towpath_kit::traits::RunningClaim;

/// Room of a volume.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Volume {
    pub(super) capacity: f64,
    pub(super) used: f64,
    pub(super) available: f64,
    pub(super) inodes: f64,
    pub(super) inodes_free: f64,
    pub(super) inodes_used: f64,
}

impl ContainerExporter {
    /// Room of a claimed volume; none where its directory is gone. Blocks.
    pub(super) fn volume(&self, claim: &RunningClaim, now: Instant) -> Option<Volume> {
        let disk = disk(&self.roots, &claim.dir)?;
        match claim.capacity {
            Some(promised) if !own(&claim.dir) => {
                let room = self.trees.room(&claim.dir, now);
                Some(shared(&disk, promised as f64, room))
            }
            _ => Some(whole(&disk)),
        }
    }
}

/// Whether a file system begins here.
fn own(dir: &Path) -> bool {
    let device = |dir: &Path| std::fs::metadata(dir).ok().map(|about| about.dev());
    device(dir) != device(&dir.join(".."))
}

fn whole(disk: &Disk) -> Volume {
    Volume {
        capacity: disk.size,
        used: disk.size - disk.free,
        available: disk.avail,
        inodes: disk.files,
        inodes_free: disk.files_free,
        inodes_used: disk.files - disk.files_free,
    }
}

fn shared(disk: &Disk, promised: f64, room: Room) -> Volume {
    let used = room.bytes as f64;
    Volume {
        capacity: promised,
        used,
        available: (promised - used).min(disk.avail).max(0.0),
        inodes: disk.files,
        inodes_free: disk.files_free,
        inodes_used: room.files as f64,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn a_disk() -> Disk {
        Disk {
            device: "/dev/sda".into(),
            size: 1000.0,
            free: 600.0,
            avail: 500.0,
            files: 100.0,
            files_free: 40.0,
        }
    }

    #[test]
    fn a_directory_counts_its_own_files_against_what_was_promised() {
        let room = Room {
            bytes: 150,
            files: 7,
        };
        let volume = shared(&a_disk(), 200.0, room);
        assert_eq!((volume.used, volume.available), (150.0, 50.0));
        assert_eq!((volume.capacity, volume.inodes_used), (200.0, 7.0));
        // Promised is more than the disk has left.
        assert_eq!(shared(&a_disk(), 9000.0, room).available, 500.0);
        // More is written than was promised.
        assert_eq!(shared(&a_disk(), 100.0, room).available, 0.0);
    }

    #[test]
    fn a_file_system_of_its_own_is_told_as_the_kernel_tells_it() {
        let volume = whole(&a_disk());
        assert_eq!((volume.capacity, volume.used), (1000.0, 400.0));
        assert_eq!((volume.available, volume.inodes_used), (500.0, 60.0));
        let dir = tempfile::tempdir().expect("directory");
        assert!(!own(dir.path()));
        assert!(own(Path::new("/proc")));
    }
}
