//! Damage on the local disk of what the bucket has as well: the bucket's copy is taken instead.

use std::fs;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use towpath_signals::metrics::Store;

use super::metrics::{START, ask, files, fill, open};
use super::peer::Peer;
use super::{lines, objects, spans, with};
use crate::{Set, folder, options};

fn segments(dir: &Path, kind: &str) -> Vec<PathBuf> {
    let all = fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let mut all: Vec<PathBuf> = all
        .filter(|path| path.extension().is_some_and(|ext| ext == kind))
        .collect();
    all.sort();
    all
}

/// Spoils every segment in one of three ways: a bit of the first block, a bit of the footer, half
/// of the file gone.
fn spoil(dir: &Path, kind: &str) {
    for (number, path) in segments(dir, kind).iter().enumerate() {
        let mut bytes = fs::read(path).unwrap();
        let footer = bytes.len() - 6;
        match number % 3 {
            0 => bytes[40] ^= 4,
            1 => bytes[footer] ^= 1,
            _ => bytes.truncate(bytes.len() / 2),
        }
        fs::write(path, bytes).unwrap();
    }
}

#[test]
fn samples_come_back() {
    let Some(mut peer) = Peer::start() else {
        return;
    };
    let objects = with(&objects(&peer, "healed"), |own| own.local_bytes = u64::MAX);
    let dir = folder();
    let clock = Set::new(START);
    let store = open(dir.path(), &clock, &objects);
    fill(&store, &clock, 0..9);
    store.upload().unwrap();
    let known = ask(&store, &[], (0, 9)).unwrap();
    let count = segments(dir.path(), "seg").len();
    assert!(count >= 3, "{count}");
    drop(store);
    spoil(dir.path(), "seg");
    // As long as the bucket is away the damage is named as ever, and nothing is thrown away.
    peer.stop();
    let store = open(dir.path(), &clock, &objects);
    let error = ask(&store, &[], (0, 9)).unwrap_err();
    assert!(error.contains("damaged"), "{error}");
    assert_eq!(segments(dir.path(), "seg").len(), count);
    drop(store);
    assert!(peer.run());
    let store = open(dir.path(), &clock, &objects);
    assert_eq!(ask(&store, &[], (0, 9)).unwrap(), known);
    assert!(store.stats().broken.is_empty());
    assert_eq!(files(dir.path(), "seg"), 0, "damaged files are gone");
    drop(store);
    let store = open(dir.path(), &clock, &objects);
    assert_eq!(ask(&store, &[], (0, 9)).unwrap(), known);
}

#[test]
fn a_copy_that_was_made_since_the_start_counts() {
    let Some(peer) = Peer::start() else { return };
    let objects = with(&objects(&peer, "since"), |own| own.local_bytes = u64::MAX);
    let (dir, beside) = (folder(), folder());
    let clock = Set::new(START);
    let store = open(dir.path(), &clock, &objects);
    fill(&store, &clock, 0..9);
    store.upload().unwrap();
    // Nothing was asked of it, so that nothing of it is in memory.
    for path in segments(dir.path(), "seg") {
        let mut bytes = fs::read(&path).unwrap();
        bytes[..60].fill(0);
        // In its place, as a disk does it.
        fs::File::options()
            .write(true)
            .open(&path)
            .unwrap()
            .write_all_at(&bytes, 0)
            .unwrap();
    }
    let whole = Store::open(beside.path(), options(&clock)).unwrap();
    fill(&whole, &clock, 0..9);
    let known = ask(&whole, &[], (0, 9)).unwrap();
    assert_eq!(ask(&store, &[], (0, 9)).unwrap(), known);
}

#[test]
fn lines_come_back() {
    let Some(peer) = Peer::start() else { return };
    let objects = with(&objects(&peer, "lines"), |own| own.local_bytes = u64::MAX);
    let dir = folder();
    let clock = Set::new(START);
    let store = lines::open(dir.path(), &clock, &objects);
    lines::fill(&store, &clock, 0..3);
    store.upload().unwrap();
    let known = lines::answers(&store);
    assert!(segments(dir.path(), "seg").len() >= 3);
    drop(store);
    spoil(dir.path(), "seg");
    let store = lines::open(dir.path(), &clock, &objects);
    assert_eq!(lines::answers(&store), known);
    assert_eq!(files(dir.path(), "seg"), 0);
}

#[test]
fn spans_come_back() {
    let Some(peer) = Peer::start() else { return };
    let objects = with(&objects(&peer, "spans"), |own| own.local_bytes = u64::MAX);
    let dir = folder();
    let clock = Set::new(START);
    let store = spans::open(dir.path(), &clock, &objects);
    spans::fill(&store, &clock, 0..3);
    store.upload().unwrap();
    let known = spans::answers(&store);
    drop(store);
    let blocks = dir.path().join("blocks");
    assert!(segments(&blocks, "traces").len() >= 2);
    spoil(&blocks, "traces");
    let store = spans::open(dir.path(), &clock, &objects);
    assert_eq!(spans::answers(&store), known);
    assert_eq!(files(&blocks, "traces"), 0);
}
