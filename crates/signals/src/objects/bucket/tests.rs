//! Reads by way of the cache.

use std::io::{Seek, Write};

use object_store::memory::InMemory;

use super::*;
use crate::objects::Keys;

fn bucket(memory_bytes: usize) -> Bucket {
    let settings = BucketSettings {
        bucket: "b".to_owned(),
        prefix: "p".to_owned(),
        region: "r".to_owned(),
        endpoint: None,
        path_style: true,
        allow_http: false,
        keys: Keys::Environment,
    };
    Bucket {
        store: Arc::new(InMemory::new()),
        settings,
        runtime: Some(Builder::new_multi_thread().enable_all().build().unwrap()),
        chunks: Cache::new(memory_bytes),
        next: AtomicU64::new(1),
        reads: AtomicU64::new(0),
        read_bytes: AtomicU64::new(0),
    }
}

fn file(bytes: &[u8]) -> File {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(bytes).unwrap();
    file.rewind().unwrap();
    file
}

#[test]
fn every_range_is_what_was_uploaded() {
    for (length, memory_bytes) in [(100, 0), (5_300_000, 3 << 20), (20_000_001, 64 << 20)] {
        let bytes: Vec<u8> = (0..length)
            .map(|n: u32| (n.wrapping_mul(2_654_435_761) >> 24) as u8)
            .collect();
        let bucket = bucket(memory_bytes);
        bucket
            .upload("x", file(&bytes), bytes.len() as u64)
            .unwrap();
        assert_eq!(bucket.length("x").unwrap(), Some(bytes.len() as u64));
        let (mut seed, all) = (1u64, bytes.len() as u64);
        for round in 0..60 {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let from = (seed >> 20) % all;
            let most = if round % 3 == 0 { all } else { 70_000 };
            let to = from + (seed >> 33) % (all - from + 1).min(most);
            let mut read = vec![0; (to - from) as usize];
            bucket.read((7, "x", all), &mut read, from).unwrap();
            assert!(
                read == bytes[from as usize..to as usize],
                "{from}..{to} of {all}"
            );
        }
        // Shorter than it should be.
        let mut read = [0; 10];
        let cut = bucket.read((8, "x", all + 100), &mut read, all + 50);
        assert!(cut.is_err());
        assert!(bucket.upload("y", file(&bytes), all + 1).is_err());
        assert!(bucket.get("y").unwrap().is_none());
    }
}

#[test]
fn writes_are_conditional() {
    let bucket = bucket(0);
    let first = bucket.put("c", b"1".to_vec(), None).unwrap();
    assert_eq!(
        bucket.put("c", b"2".to_vec(), None).unwrap_err().kind,
        Kind::Changed
    );
    let second = bucket.put("c", b"2".to_vec(), Some(first.clone())).unwrap();
    let late = bucket.put("c", b"3".to_vec(), Some(first)).unwrap_err();
    assert_eq!(late.kind, Kind::Changed);
    assert!(
        late.to_string().starts_with("bucket b: write p/c: "),
        "{late}"
    );
    assert_eq!(
        bucket.get("c").unwrap().map(|(bytes, _)| bytes.to_vec()),
        Some(b"2".to_vec())
    );
    bucket.put("c", b"4".to_vec(), Some(second)).unwrap();
    bucket.delete("c").unwrap();
    bucket.delete("c").unwrap();
    assert_eq!(bucket.list("").unwrap(), Vec::<String>::new());
}
