//! A full disk refuses writes with a clear reason; reads and deletes go on; when there is room
//! again, writes do too.

use crate::support::{RESOURCE, delete, one, open, put};
use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};
use std::path::PathBuf;
use towpath_store::{Expect, Refused};

struct SmallDisk(PathBuf);

impl SmallDisk {
    fn new(path: PathBuf) -> Option<Self> {
        let mounted = mount(
            "tmpfs",
            &path,
            "tmpfs",
            MountFlags::empty(),
            Some(c"size=24m"),
        );
        match mounted {
            Ok(()) => Some(Self(path)),
            Err(error) => {
                towpath_testkit::skip(&format!(
                    "a small disk cannot be mounted here ({error}); root is needed"
                ));
                None
            }
        }
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = unmount(&self.0, UnmountFlags::DETACH);
    }
}

#[test]
fn writes_stop_and_deletes_go_on() {
    let dir = tempfile::tempdir().expect("directory");
    let Some(disk) = SmallDisk::new(dir.path().to_path_buf()) else {
        return;
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("runtime");
    runtime.block_on(async {
        let store = open(&disk.0.join("objects"));
        let large = "x".repeat(100_000);
        let mut written = 0;
        let refused = loop {
            match one(
                &store,
                put(
                    &format!("/k{written}"),
                    &format!("{written}{large}"),
                    Expect::any(),
                ),
            )
            .await
            {
                Ok(_) => written += 1,
                Err(refused) => break refused,
            }
            assert!(written < 1000, "the disk never filled");
        };
        assert!(matches!(refused, Refused::Full(_)), "{refused}");
        assert!(refused.to_string().contains("no space left"), "{refused}");
        // Now really nothing is left for anyone.
        let filler = disk.0.join("filler");
        let _ = std::fs::write(&filler, vec![0u8; 32 << 20]);
        assert!(matches!(
            one(&store, put("/more", "x", Expect::any())).await,
            Err(Refused::Full(_))
        ));
        assert_eq!(store.snapshot().count(RESOURCE), written);
        for number in 0..5 {
            one(&store, delete(&format!("/k{number}"), Expect::any()))
                .await
                .expect("delete on a full disk");
        }
        assert!(store.fault().is_none());
        std::fs::remove_file(&filler).expect("make room");
        for number in 5..written {
            one(&store, delete(&format!("/k{number}"), Expect::any()))
                .await
                .expect("delete");
        }
        one(&store, put("/again", "x", Expect::any()))
            .await
            .expect("there is room again");
        store.close();
        let store = open(&disk.0.join("objects"));
        assert_eq!(store.snapshot().count(RESOURCE), 1);
        store.close();
    });
}
