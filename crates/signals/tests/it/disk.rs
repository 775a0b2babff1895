//! A disk without room: a small file system of its own, filled and emptied.

use std::path::Path;
use std::process::Command;
use std::sync::atomic::Ordering;

use towpath_query::promql::{Labels, Source};
use towpath_signals::metrics::Store;
use towpath_signals::{Append, Refused, Sample, Value};

use crate::{Set, all, folder, options, wait};

const NOW: i64 = 1_700_000_000_000;

pub(crate) struct Mounted(pub(crate) tempfile::TempDir);

impl Mounted {
    /// A file system of 12 MiB; none, said aloud, where that is not allowed.
    #[allow(clippy::disallowed_methods)] // a test's own child
    pub(crate) fn new() -> Option<Self> {
        let dir = folder();
        let done = Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=12m", "tmpfs"])
            .arg(dir.path())
            .status();
        if done.is_ok_and(|done| done.success()) {
            return Some(Self(dir));
        }
        towpath_testkit::skip("no file system can be mounted");
        None
    }
}

impl Drop for Mounted {
    #[allow(clippy::disallowed_methods)] // a test's own child
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.0.path()).status();
    }
}

pub(crate) fn fill(path: &Path, leave: usize) {
    use std::io::Write;
    let mut file = std::fs::File::create(path).unwrap();
    let mut total = 0u64;
    while let Ok(written) = file.write(&[1; 4096]) {
        if written == 0 {
            break;
        }
        total += written as u64;
    }
    file.set_len(total.saturating_sub(leave as u64)).unwrap();
}

/// Waits until it works again, now that there is room.
pub(crate) fn goes_on(mut works: impl FnMut() -> bool) {
    for round in 0.. {
        if works() {
            break;
        }
        assert!(round < 250, "goes on within 5 s");
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
}

#[test]
fn a_full_disk_refuses_by_name_and_goes_on_when_there_is_room() {
    let Some(mounted) = Mounted::new() else {
        return;
    };
    let dir = mounted.0.path().join("metrics");
    let clock = Set::new(NOW);
    let store = Store::open(&dir, options(&clock)).unwrap();
    let labels: Labels = [("__name__", "up"), ("job", "x")].into_iter().collect();
    let series = store.resolve(&labels).unwrap();
    let mut at = NOW;
    let mut append = |count: i64| {
        let samples: Vec<Sample> = (0..count)
            .map(|step| Sample {
                series,
                at: at + step,
                value: Value::Float((at + step) as f64),
                start: None,
            })
            .collect();
        at += count;
        clock.0.store(at, Ordering::SeqCst);
        store.append(&samples).unwrap()
    };
    let mut taken = append(1000).taken;
    wait(store.sync()).unwrap();
    let filler = mounted.0.path().join("filler");
    fill(&filler, 100_000);
    let mut refused = None;
    for _ in 0..200 {
        let outcome = append(1000);
        taken += outcome.taken;
        if let Some((_, why)) = outcome.refused.into_iter().next() {
            refused = Some(why);
            break;
        }
        // A group that cannot be written is told to who waits for it.
        let _ = wait(store.sync());
    }
    let refused = refused.unwrap();
    assert!(
        matches!(&refused, Refused::Limit(why) if why.contains("disk full")),
        "{refused}"
    );
    assert!(store.stats().trouble.is_some());
    assert!(store.maintain().is_ok() || store.stats().trouble.is_some());
    let hints = all(NOW, i64::MAX);
    let read = |store: &Store| {
        let mut all = store.select(&[], &hints).unwrap();
        all.next().unwrap().unwrap().floats.len()
    };
    assert_eq!(read(&store), taken, "reads go on");
    std::fs::remove_file(&filler).unwrap();
    goes_on(|| {
        let outcome = append(10);
        taken += outcome.taken;
        outcome.taken == 10
    });
    wait(store.sync()).unwrap();
    drop(store);
    let store = Store::open(&dir, options(&clock)).unwrap();
    assert_eq!(read(&store), taken, "nothing that was taken is lost");
    assert_eq!(store.stats().replayed.damage, []);
}
