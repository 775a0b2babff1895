//! Flipped bits are found when loading, and named; a torn log costs only its tail.

use crate::support::{Dice, RESOURCE, one, open, put, value};
use std::path::Path;
use towpath_store::{Error, Expect, Options, Store};

fn filled(dir: &Path, count: usize) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("runtime");
    let store = open(dir);
    for number in 0..count {
        let done = runtime.block_on(one(
            &store,
            put(
                &format!("a/k{number:04}"),
                &format!("marker-{number:04}"),
                Expect::any(),
            ),
        ));
        done.expect("write");
    }
    store.close();
}

#[test]
fn a_flipped_byte_is_found_and_named() {
    let dir = tempfile::tempdir().expect("directory");
    filled(dir.path(), 50);
    let file = dir.path().join("objects.db");
    let clean = std::fs::read(&file).expect("read");
    for number in [0, 17, 49] {
        let mut bytes = clean.clone();
        let marker = format!("marker-{number:04}");
        // Pages that were split keep old copies in their free space: all of them are hit.
        for at in 0..bytes.len() - marker.len() {
            if &clean[at..at + marker.len()] == marker.as_bytes() {
                bytes[at] ^= 1;
            }
        }
        std::fs::write(&file, &bytes).expect("write");
        match Store::open(dir.path(), Options::default()) {
            Err(Error::Damaged(what)) => {
                assert!(what.contains(&format!("a/k{number:04}")), "{what}")
            }
            other => panic!("damage was not found: {other:?}"),
        }
    }
    std::fs::write(&file, &clean).expect("write");
    assert_eq!(open(dir.path()).snapshot().count(RESOURCE), 50);
}

#[test]
fn random_flips_never_serve_wrong_bytes() {
    let dir = tempfile::tempdir().expect("directory");
    filled(dir.path(), 80);
    let file = dir.path().join("objects.db");
    let clean = std::fs::read(&file).expect("read");
    let mut dice = Dice(42);
    for _ in 0..120 {
        let mut bytes = clean.clone();
        let at = dice.roll(bytes.len() as u64) as usize;
        bytes[at] ^= 1 << dice.roll(8);
        std::fs::write(&file, &bytes).expect("write");
        for log in ["objects.db-wal", "objects.db-shm"] {
            let _ = std::fs::remove_file(dir.path().join(log));
        }
        // Refused, or not one object differs: a flip in unused space hurts nobody.
        if let Ok(store) = Store::open(dir.path(), Options::default()) {
            let state = store.snapshot();
            assert_eq!(
                state.count(RESOURCE),
                80,
                "an object vanished with the flip at {at}"
            );
            for (number, rec) in state.range(RESOURCE, "", None).enumerate() {
                assert_eq!(value(&rec.json()).1, format!("marker-{number:04}"));
            }
        }
    }
}

#[test]
fn every_torn_log_opens_with_a_prefix() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("runtime");
    let dir = tempfile::tempdir().expect("directory");
    let store = open(dir.path());
    for number in 0..20 {
        runtime
            .block_on(one(
                &store,
                put("/counter", &number.to_string(), Expect::any()),
            ))
            .expect("write");
    }
    // As the disk is now, in the middle of its life.
    let read = |name: &str| std::fs::read(dir.path().join(name)).expect("read");
    let (main, log) = (read("objects.db"), read("objects.db-wal"));
    store.close();
    let mut last = 0;
    let step = (log.len() / 60).max(1);
    for cut in (0..=log.len()).step_by(step).chain([log.len()]) {
        let torn = tempfile::tempdir().expect("directory");
        std::fs::write(torn.path().join("objects.db"), &main).expect("write");
        std::fs::write(torn.path().join("objects.db-wal"), &log[..cut]).expect("write");
        let store = open(torn.path());
        let found = store
            .snapshot()
            .get(RESOURCE, "/counter")
            .map(|rec| value(&rec.json()).1);
        let found: i64 = found.map_or(-1, |text| text.parse().expect("number"));
        assert!(
            found >= last - 1,
            "more of the log shows less: {found} after {last}"
        );
        last = last.max(found);
    }
    assert_eq!(last, 19);
}
