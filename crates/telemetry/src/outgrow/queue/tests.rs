//! What is there after a crash, at the bound, and after damage.

use super::*;

fn open(dir: &Path, limit: u64, when_full: WhenFull) -> Queue {
    Queue::open(dir, "test", limit, when_full).expect("opens")
}

fn take(queue: &Queue, items: u64) -> Vec<String> {
    let batch = queue.next(items, 1 << 20).expect("read");
    queue.done(&batch).expect("note");
    let text = |record: Vec<u8>| String::from_utf8_lossy(&record).into_owned();
    batch.records.into_iter().map(text).collect()
}

#[test]
fn what_was_not_sent_is_there_after_a_crash() {
    let dir = tempfile::tempdir().expect("dir");
    let queue = open(dir.path(), 1 << 20, WhenFull::DropOldest);
    for at in 0..10 {
        queue.push(format!("r{at}").as_bytes(), 2).expect("room");
    }
    assert_eq!(queue.waiting().items, 20);
    assert_eq!(take(&queue, 5), ["r0", "r1", "r2"]);
    // Read, and not done.
    assert_eq!(queue.next(2, 1 << 20).expect("read").records.len(), 1);
    // Nothing is closed: the process is killed.
    std::mem::forget(queue);
    let queue = open(dir.path(), 1 << 20, WhenFull::DropOldest);
    assert_eq!(queue.waiting().items, 14);
    queue.push(b"late", 1).expect("room");
    assert_eq!(
        take(&queue, 1000),
        ["r3", "r4", "r5", "r6", "r7", "r8", "r9", "late"]
    );
    let left = queue.waiting();
    assert_eq!((left.items, left.dropped, left.bytes), (0, 0, 0));
    assert!(take(&queue, 10).is_empty());
    queue.push(b"again", 1).expect("room");
    assert_eq!(take(&queue, 10), ["again"]);
}

#[test]
fn at_the_bound_the_oldest_goes_and_is_counted() {
    let dir = tempfile::tempdir().expect("dir");
    let queue = open(dir.path(), 1 << 20, WhenFull::DropOldest);
    let record = vec![b'x'; 10_000];
    for _ in 0..300 {
        queue.push(&record, 3).expect("room");
        assert!(queue.waiting().bytes <= 1 << 20);
    }
    let left = queue.waiting();
    assert_eq!(left.items + left.dropped, 900);
    assert!(left.dropped > 500 && left.items > 200, "{left:?}");
    let mut read = 0;
    loop {
        let batch = queue.next(50, 1 << 20).expect("read");
        if batch.records.is_empty() {
            break;
        }
        read += batch.items;
        queue.done(&batch).expect("note");
    }
    assert_eq!(read, left.items);
}

#[test]
fn what_is_dropped_while_it_is_sent_is_not_counted_twice() {
    let dir = tempfile::tempdir().expect("dir");
    let queue = open(dir.path(), 1 << 20, WhenFull::DropOldest);
    queue.push(b"first", 1).expect("room");
    let batch = queue.next(10, 1 << 20).expect("read");
    let record = vec![b'x'; 100_000];
    for _ in 0..30 {
        queue.push(&record, 1).expect("room");
    }
    queue.done(&batch).expect("note");
    let left = queue.waiting();
    assert_eq!(left.items + left.dropped, 31);
    assert!(!take(&queue, 1).contains(&"first".to_owned()));
}

#[test]
fn who_refuses_says_so() {
    let dir = tempfile::tempdir().expect("dir");
    let queue = open(dir.path(), 1 << 20, WhenFull::Refuse);
    let record = vec![b'x'; 100_000];
    while queue.room().is_ok() {
        queue.push(&record, 1).expect("taken");
    }
    let error = queue.room().expect_err("full").to_string();
    assert!(error.contains("queue of test is full"), "{error}");
    assert_eq!(queue.waiting().dropped, 0);
    take(&queue, 3);
}

#[test]
fn a_torn_end_is_cut_and_damage_is_counted() {
    let dir = tempfile::tempdir().expect("dir");
    let queue = open(dir.path(), 1 << 20, WhenFull::DropOldest);
    for at in 0..4 {
        queue.push(format!("r{at}").as_bytes(), 1).expect("room");
    }
    drop(queue);
    let number = numbers(dir.path()).expect("list")[0];
    let file = path(dir.path(), number);
    let mut bytes = std::fs::read(&file).expect("read");
    bytes.extend_from_slice(&[9, 0, 0, 0, 1]);
    std::fs::write(&file, &bytes).expect("write");
    let queue = open(dir.path(), 1 << 20, WhenFull::DropOldest);
    assert_eq!(queue.waiting().items, 4);
    queue.push(b"next", 1).expect("room");
    // A bit of the second record changes.
    let at = bytes.iter().position(|byte| *byte == b'1').expect("r1");
    bytes[at] ^= 1;
    std::fs::write(&file, &bytes[..bytes.len() - 5]).expect("write");
    assert_eq!(take(&queue, 100), ["r0", "next"]);
    let left = queue.waiting();
    assert_eq!((left.items, left.dropped), (0, 3));
}
