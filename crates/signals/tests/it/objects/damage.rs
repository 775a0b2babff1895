//! Damage in the bucket: it is found and named, and costs what it hits.

use std::fs;

use super::metrics::{START, ask, files, fill, open};
use super::objects;
use super::peer::Peer;
use crate::{Set, folder};

#[test]
fn a_flipped_bit_and_a_cut_are_named() {
    let Some(peer) = Peer::start() else { return };
    let objects = objects(&peer, "damage");
    let dir = folder();
    let clock = Set::new(START);
    let store = open(dir.path(), &clock, &objects);
    fill(&store, &clock, 0..9);
    store.upload().unwrap();
    drop(store);
    let segments = peer.objects("damage/metrics/segments");
    assert!(segments.len() >= 3);
    let name = segments[0]
        .file_name()
        .unwrap()
        .to_str()
        .unwrap()
        .to_owned();
    let whole = fs::read(&segments[0]).unwrap();
    let mut flipped = whole.clone();
    flipped[40] ^= 4;
    fs::write(&segments[0], &flipped).unwrap();
    // A new process, with nothing in its memory.
    let fresh = |prefix: &str| super::objects(&peer, prefix);
    let store = open(dir.path(), &clock, &fresh("damage"));
    let error = ask(&store, &[], (0, 9)).unwrap_err();
    assert!(
        error.contains(&name) && error.contains("checksum"),
        "{error}"
    );
    assert!(
        error.contains("s3://kept/damage/metrics/segments/"),
        "{error}"
    );
    assert!(
        !ask(&store, &[], (4, 9)).unwrap().is_empty(),
        "the others answer"
    );
    drop(store);
    fs::write(&segments[0], &whole[..50]).unwrap();
    let store = open(dir.path(), &clock, &fresh("damage"));
    let error = ask(&store, &[], (0, 9)).unwrap_err();
    assert!(error.contains(&name), "{error}");
    assert!(
        !ask(&store, &[], (4, 9)).unwrap().is_empty(),
        "the others answer"
    );
    drop(store);
    // One that is gone.
    fs::remove_file(&segments[0]).unwrap();
    let store = open(dir.path(), &clock, &fresh("damage"));
    let error = ask(&store, &[], (0, 9)).unwrap_err();
    assert!(
        error.contains(&name) && error.contains("not found"),
        "{error}"
    );
    drop(store);
    // A tail that is damaged here is fetched again.
    fs::write(&segments[0], &whole).unwrap();
    for entry in fs::read_dir(dir.path()).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|ext| ext == "tail") {
            let mut bytes = fs::read(&path).unwrap();
            let last = bytes.len() - 30;
            bytes[last] ^= 1;
            fs::write(&path, bytes).unwrap();
        }
    }
    assert_eq!(files(dir.path(), "seg"), 0);
    let store = open(dir.path(), &clock, &fresh("damage"));
    assert!(store.stats().broken.is_empty());
    assert!(!ask(&store, &[], (0, 9)).unwrap().is_empty());
}

#[test]
fn a_damaged_catalog_is_named_and_left_alone() {
    let Some(peer) = Peer::start() else { return };
    let objects = objects(&peer, "catalog");
    let dir = folder();
    let clock = Set::new(START);
    let store = open(dir.path(), &clock, &objects);
    fill(&store, &clock, 0..5);
    store.upload().unwrap();
    store.close();
    drop(store);
    let catalog = peer.objects("catalog/metrics/manifest").pop().unwrap();
    let mut bytes = fs::read(&catalog).unwrap();
    bytes[30] ^= 1;
    fs::write(&catalog, &bytes).unwrap();
    let own = super::metrics::settings(&clock, &objects);
    let error = towpath_signals::metrics::Store::open(folder().path(), own).map(|_| ());
    let error = error.unwrap_err();
    let cause = std::error::Error::source(&error).unwrap().to_string();
    assert!(
        cause.contains("s3://kept/catalog/metrics/manifest/CURRENT"),
        "{cause}"
    );
    let store = open(dir.path(), &clock, &objects);
    assert!(store.upload().unwrap_err().to_string().contains("CURRENT"));
    assert!(!ask(&store, &[], (0, 5)).unwrap().is_empty());
    assert_eq!(fs::read(&catalog).unwrap(), bytes);
}

#[test]
fn a_fresh_start_names_what_is_gone_and_takes_up_the_rest() {
    let Some(peer) = Peer::start() else { return };
    let objects = objects(&peer, "fresh");
    let dir = folder();
    let clock = Set::new(START);
    let store = open(dir.path(), &clock, &objects);
    fill(&store, &clock, 0..9);
    store.upload().unwrap();
    let known = ask(&store, &[], (5, 7)).unwrap();
    store.close();
    drop(store);
    let segments = peer.objects("fresh/metrics/segments");
    let whole = fs::read(&segments[0]).unwrap();
    fs::remove_file(&segments[0]).unwrap();
    fs::write(&segments[1], &fs::read(&segments[1]).unwrap()[..100]).unwrap();
    let dir = folder();
    let store = open(dir.path(), &clock, &objects);
    assert_eq!(store.stats().broken.len(), 2);
    let error = ask(&store, &[], (0, 9)).unwrap_err();
    assert!(error.contains("fresh/metrics/segments/"), "{error}");
    assert_eq!(ask(&store, &[], (5, 7)).unwrap(), known);
    // They stay named, so that what comes back counts again.
    store.upload().unwrap();
    assert_eq!(
        store.stats().objects.unwrap().segments,
        segments.len() as u64
    );
    drop(store);
    fs::write(&segments[0], &whole).unwrap();
    let store = open(dir.path(), &clock, &objects);
    assert_eq!(store.stats().broken.len(), 1);
    assert!(!ask(&store, &[], (0, 1)).unwrap().is_empty());
}

/// A server that takes requests and never answers.
#[test]
fn a_server_that_does_not_answer_is_given_up() {
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = silent.local_addr().unwrap();
    let bucket = towpath_signals::objects::BucketSettings {
        bucket: "kept".to_owned(),
        prefix: "silent".to_owned(),
        region: "us-east-1".to_owned(),
        endpoint: Some(format!("http://{address}")),
        path_style: true,
        allow_http: true,
        keys: towpath_signals::objects::Keys::Given {
            id: "key".to_owned(),
            secret: "secret".to_owned().into(),
        },
    };
    let clock = Set::new(START);
    let own = super::metrics::settings(&clock, &super::of(bucket));
    let opened = towpath_signals::metrics::Store::open(folder().path(), own).map(|_| ());
    let cause = std::error::Error::source(&opened.unwrap_err())
        .unwrap()
        .to_string();
    assert!(
        cause.contains("bucket kept") && cause.contains("no answer within 20 s"),
        "{cause}"
    );
}
