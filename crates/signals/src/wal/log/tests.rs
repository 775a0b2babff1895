//! A log on files that fail where the test says.

use std::sync::atomic::{AtomicU64, Ordering};

use super::super::replay;
use super::*;

/// Fails the n-th write or sync, counted from 1; 0 for never.
#[derive(Default)]
struct Faulty {
    writes: AtomicU64,
    syncs: AtomicU64,
    fail_write: AtomicU64,
    fail_sync: AtomicU64,
    /// So many files cannot be made.
    fail_create: AtomicU64,
}

struct FaultySink(Arc<Faulty>, Box<dyn Sink>);

struct FaultyFiles(Arc<Faulty>);

impl Files for FaultyFiles {
    fn create(&self, path: &Path) -> io::Result<Box<dyn Sink>> {
        let left = self.0.fail_create.load(Ordering::SeqCst);
        if left > 0 {
            self.0.fail_create.store(left - 1, Ordering::SeqCst);
            return Err(io::ErrorKind::StorageFull.into());
        }
        let sink = Disk.create(path)?;
        Ok(Box::new(FaultySink(Arc::clone(&self.0), sink)))
    }
}

impl Sink for FaultySink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        let number = self.0.writes.fetch_add(1, Ordering::SeqCst) + 1;
        if number == self.0.fail_write.load(Ordering::SeqCst) {
            // Half of it reaches the disk.
            self.1.write(&bytes[..bytes.len() / 2])?;
            return Err(io::ErrorKind::StorageFull.into());
        }
        self.1.write(bytes)
    }

    fn sync(&mut self) -> io::Result<()> {
        let number = self.0.syncs.fetch_add(1, Ordering::SeqCst) + 1;
        if number == self.0.fail_sync.load(Ordering::SeqCst) {
            return Err(io::Error::other("injected"));
        }
        self.1.sync()
    }

    fn cut(&mut self, length: u64) -> io::Result<()> {
        self.1.cut(length)
    }
}

fn wait<F: Future>(future: F) -> F::Output {
    let runtime = tokio::runtime::Builder::new_current_thread().build();
    runtime.unwrap().block_on(future)
}

fn read(dir: &Path) -> Vec<Vec<u8>> {
    let mut out = Vec::new();
    let done = replay(dir, 0, |record| out.push(record.to_vec())).unwrap();
    assert_eq!(done.damage, []);
    out
}

#[test]
fn what_was_synced_is_read_back_in_order() {
    let dir = tempfile::tempdir().unwrap();
    let log = Log::open(dir.path(), 1, Arc::new(Disk)).unwrap();
    for number in 0..100u32 {
        log.push(&number.to_le_bytes()).unwrap();
        if number == 50 {
            assert_eq!(log.rotate().unwrap(), 2);
        }
    }
    wait(log.sync()).unwrap();
    let wanted: Vec<Vec<u8>> = (0..100u32).map(|n| n.to_le_bytes().to_vec()).collect();
    assert_eq!(read(dir.path()), wanted);
    drop(log);
    let again = Log::open(dir.path(), 1, Arc::new(Disk)).unwrap();
    again.push(b"more").unwrap();
    drop(again);
    assert_eq!(read(dir.path()).len(), 101);
}

#[test]
fn after_a_failed_sync_nothing_is_acknowledged() {
    for fail in 1..6 {
        let dir = tempfile::tempdir().unwrap();
        let faulty = Arc::new(Faulty::default());
        faulty.fail_sync.store(fail, Ordering::SeqCst);
        let log = Log::open(dir.path(), 1, Arc::new(FaultyFiles(faulty))).unwrap();
        let mut acknowledged = 0;
        for number in 1..10u64 {
            let done = log.push(b"record").and_then(|()| wait(log.sync()));
            match done {
                Ok(()) => acknowledged = number,
                Err(why) => assert!(matches!(why, NotTaken::Failed(_)) && number >= fail),
            }
        }
        assert_eq!(acknowledged, fail - 1);
        assert!(read(dir.path()).len() as u64 >= acknowledged);
    }
}

fn recovers(log: &Log) {
    let mut waited = 0;
    while log.state().is_err() {
        std::thread::sleep(Duration::from_millis(20));
        waited += 1;
        assert!(waited < 250, "goes on when there is room");
    }
}

#[test]
fn a_disk_without_room_for_a_file_is_waited_for() {
    let dir = tempfile::tempdir().unwrap();
    let faulty = Arc::new(Faulty::default());
    faulty.fail_create.store(2, Ordering::SeqCst);
    let files = Arc::new(FaultyFiles(Arc::clone(&faulty)));
    let log = Log::open(dir.path(), 1, files).unwrap();
    assert!(matches!(log.push(b"refused"), Err(NotTaken::Full(_))));
    recovers(&log);
    log.push(b"first").unwrap();
    assert_eq!(log.rotate().unwrap(), 2);
    faulty.fail_create.store(1, Ordering::SeqCst);
    assert!(matches!(log.rotate(), Err(NotTaken::Full(_))));
    recovers(&log);
    log.push(b"second").unwrap();
    wait(log.sync()).unwrap();
    assert_eq!(read(dir.path()), [&b"first"[..], b"second"]);
}

#[test]
fn a_full_disk_refuses_and_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let faulty = Arc::new(Faulty::default());
    faulty.fail_write.store(2, Ordering::SeqCst);
    let log = Log::open(dir.path(), 1, Arc::new(FaultyFiles(faulty))).unwrap();
    log.push(b"first").unwrap();
    wait(log.sync()).unwrap();
    log.push(b"second").unwrap();
    assert!(matches!(wait(log.sync()), Err(NotTaken::Full(_))));
    assert!(matches!(log.push(b"refused"), Err(NotTaken::Full(_))));
    recovers(&log);
    log.push(b"third").unwrap();
    wait(log.sync()).unwrap();
    let wanted = [&b"first"[..], b"second", b"third"];
    assert_eq!(read(dir.path()), wanted);
}

#[test]
fn every_prefix_opens() {
    let dir = tempfile::tempdir().unwrap();
    let log = Log::open(dir.path(), 1, Arc::new(Disk)).unwrap();
    for number in 0..16u8 {
        log.push(&vec![number; usize::from(number)]).unwrap();
    }
    drop(log);
    let file = path(dir.path(), 1);
    let whole = std::fs::read(&file).unwrap();
    for length in (0..whole.len()).rev() {
        std::fs::write(&file, &whole[..length]).unwrap();
        let found = read(dir.path());
        for (number, record) in found.iter().enumerate() {
            assert_eq!(record.len(), number);
        }
        // A second look finds the same, and the end already cut.
        assert_eq!(read(dir.path()).len(), found.len());
    }
}
