//! Torn and flipped bytes in every kind of file.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use towpath_query::promql::{Labels, Source};
use towpath_signals::metrics::Store;
use towpath_signals::{Append, Sample, Value};

use crate::{Set, all, copy, folder, options, wait};

const NOW: i64 = 1_700_000_000_000;

/// The value of a series at a time; any other that is read is corrupt.
fn value(number: usize, at: i64) -> f64 {
    (at / 1000 % 100_000) as f64 / 4.0 + number as f64
}

/// A store with segments, a checkpoint and a log, as a crash would leave it.
fn example() -> (tempfile::TempDir, Arc<Set>) {
    let dir = folder();
    let clock = Set::new(NOW);
    let store = Store::open(dir.path(), options(&clock)).unwrap();
    let all: Vec<_> = (0..5)
        .map(|number| {
            let pairs = [("__name__", "up".to_owned()), ("n", number.to_string())];
            let labels: Labels = pairs.into_iter().collect();
            store.resolve(&labels).unwrap()
        })
        .collect();
    for minute in 0..300 {
        let at = NOW + minute * 60_000;
        clock.0.store(at, Ordering::SeqCst);
        let samples: Vec<Sample> = all
            .iter()
            .enumerate()
            .map(|(number, series)| Sample {
                series: *series,
                at,
                value: Value::Float(value(number, at)),
                start: None,
            })
            .collect();
        store.append(&samples).unwrap();
        if minute < 290 {
            store.maintain().unwrap();
        }
    }
    wait(store.sync()).unwrap();
    let left = copy(dir.path());
    (left, clock)
}

fn files(dir: &Path, kind: &str) -> Vec<PathBuf> {
    let mut out = Vec::new();
    for folder in [dir.to_path_buf(), dir.join("wal")] {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let is = path.extension().is_some_and(|ext| ext == kind)
                || path.file_name().is_some_and(|name| name == kind);
            if is && path.is_file() {
                out.push(path);
            }
        }
    }
    out.sort();
    out
}

/// How many samples are read; an error where it is told that something is damaged.
fn read(dir: &Path, clock: &Arc<Set>) -> Result<usize, String> {
    let store = Store::open(dir, options(clock)).map_err(|error| error.to_string())?;
    let read = || {
        let mut count = 0;
        for series in store.select(&[], &all(0, i64::MAX))? {
            let series = series?;
            let number: usize = series.labels.get("n").parse().unwrap();
            for (at, got) in series.floats.iter() {
                assert_eq!(got, value(number, at), "a corrupt sample is served");
                count += 1;
            }
        }
        Ok(count)
    };
    let count = read().inspect_err(|why: &String| {
        let broken = store.stats().broken;
        assert!(
            !why.contains(".seg") || broken.len() == 1,
            "{why}: {broken:?}"
        );
    })?;
    if !store.stats().replayed.damage.is_empty() {
        return Err("told at opening".to_owned());
    }
    Ok(count)
}

#[test]
fn the_log_opens_at_every_length() {
    let (dir, clock) = example();
    let log = files(dir.path(), "wal").pop().unwrap();
    let whole = std::fs::read(&log).unwrap();
    let all = read(copy(dir.path()).path(), &clock).unwrap();
    assert_eq!(all, 1500);
    let mut last = all;
    let from = whole.len().saturating_sub(4096);
    for length in (from..whole.len()).rev() {
        let dir = copy(dir.path());
        let log = dir.path().join("wal").join(log.file_name().unwrap());
        std::fs::write(log, &whole[..length]).unwrap();
        let now = read(dir.path(), &clock).unwrap();
        assert!(now <= last, "{length}");
        last = now;
    }
    assert!(last < all);
}

#[test]
fn a_flipped_bit_is_found_in_every_file() {
    let (dir, clock) = example();
    let mut seed = 7u64;
    for kind in ["wal", "ckp", "opn", "seg", "MANIFEST"] {
        let all = files(dir.path(), kind);
        assert!(!all.is_empty(), "{kind}");
        let mut found = 0;
        for round in 0..60 {
            let dir = copy(dir.path());
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let file = &files(dir.path(), kind)[round % all.len()];
            let mut bytes = std::fs::read(file).unwrap();
            let at = (seed >> 33) as usize % bytes.len();
            bytes[at] ^= 1 << (seed >> 20 & 7);
            std::fs::write(file, &bytes).unwrap();
            match read(dir.path(), &clock) {
                Err(_) => found += 1,
                // In the last record of the log it looks like a torn end; the mark at a file's
                // front is not needed to read it.
                Ok(count) => assert!(
                    kind == "wal" && count <= 1500 || count == 1500,
                    "{kind} {at}"
                ),
            }
        }
        println!("{kind}: {found} of 60 told");
        assert!(found >= 40, "{kind}: {found}");
    }
}

#[test]
fn what_a_crash_left_over_is_removed() {
    let (dir, clock) = example();
    for name in ["9999999999.seg", "9999999998.ckp", "MANIFEST.new"] {
        std::fs::write(dir.path().join(name), b"half").unwrap();
    }
    assert_eq!(read(dir.path(), &clock), Ok(1500));
    assert!(!dir.path().join("9999999999.seg").exists());
    assert!(!dir.path().join("9999999998.ckp").exists());
}
