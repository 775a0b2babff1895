//! Two servers and one prefix, and who may use the bucket at all.

use std::error::Error;
use std::sync::atomic::Ordering;

use towpath_signals::metrics::Store;
use towpath_signals::objects::{BucketSettings, Keys};

use super::metrics::{START, ask, fill, open, settings};
use super::peer::Peer;
use super::{objects, of, with};
use crate::{Set, folder};

#[test]
fn of_two_servers_one_writes() {
    let Some(peer) = Peer::start() else { return };
    let objects = objects(&peer, "two");
    let clock = Set::new(START);
    let (one, two) = (folder(), folder());
    let first = open(one.path(), &clock, &objects);
    fill(&first, &clock, 0..5);
    first.upload().unwrap();
    // The first one is alive.
    let refused = |dir: &tempfile::TempDir| {
        let opened = Store::open(dir.path(), settings(&clock, &objects)).map(|_| ());
        opened.unwrap_err().source().unwrap().to_string()
    };
    let error = refused(&two);
    assert!(
        error.contains("s3://kept/two/metrics/manifest/CURRENT"),
        "{error}"
    );
    assert!(
        error.contains("here") && error.contains("take-over"),
        "{error}"
    );
    // One with segments of its own never takes over.
    let third = folder();
    let own = with(&objects, |own| own.take_over = true);
    let bare = Store::open(third.path(), crate::options(&clock)).unwrap();
    fill(&bare, &clock, 0..5);
    drop(bare);
    let store = open(third.path(), &clock, &own);
    let error = store.upload().unwrap_err().to_string();
    assert!(error.contains("another prefix"), "{error}");
    assert!(!ask(&store, &[], (0, 5)).unwrap().is_empty());
    drop(store);
    // An empty one does where it is told to, and the first writes there no more.
    let second = open(two.path(), &clock, &own);
    let known = ask(&first, &[], (0, 2)).unwrap();
    assert_eq!(ask(&second, &[], (0, 2)).unwrap(), known);
    fill(&first, &clock, 5..9);
    let error = first.upload().unwrap_err().to_string();
    assert!(error.contains("writes there no more"), "{error}");
    assert!(first.stats().objects.unwrap().waiting > 0);
    assert!(
        !ask(&first, &[], (6, 9)).unwrap().is_empty(),
        "it goes on here"
    );
    fill(&second, &clock, 9..14);
    second.upload().unwrap();
    let error = first.upload().unwrap_err().to_string();
    assert!(error.contains("writes there no more"), "{error}");
    assert_eq!(ask(&second, &[], (0, 2)).unwrap(), known);
}

#[test]
fn a_server_that_is_gone_is_replaced() {
    let Some(peer) = Peer::start() else { return };
    let objects = objects(&peer, "gone");
    let clock = Set::new(START);
    let (one, two, three) = (folder(), folder(), folder());
    let store = open(one.path(), &clock, &objects);
    fill(&store, &clock, 0..5);
    store.upload().unwrap();
    let known = ask(&store, &[], (0, 2)).unwrap();
    // Killed: it says nothing for a while.
    drop(store);
    clock.0.fetch_add(16 * 60_000, Ordering::SeqCst);
    let store = open(two.path(), &clock, &objects);
    assert_eq!(ask(&store, &[], (0, 2)).unwrap(), known);
    // Stopped: it says so.
    store.upload().unwrap();
    store.close();
    drop(store);
    let store = open(three.path(), &clock, &objects);
    assert_eq!(ask(&store, &[], (0, 2)).unwrap(), known);
}

#[test]
fn keys_come_from_a_file_and_are_not_told() {
    let Some(peer) = Peer::start() else { return };
    let clock = Set::new(START);
    let keys = folder();
    let path = keys.path().join("credentials");
    let bucket = BucketSettings {
        bucket: "kept".to_owned(),
        prefix: "keys".to_owned(),
        region: "us-east-1".to_owned(),
        endpoint: Some(peer.url()),
        path_style: true,
        allow_http: true,
        keys: Keys::File {
            path: path.clone(),
            profile: "default".to_owned(),
        },
    };
    let dir = folder();
    let open = |bucket: &BucketSettings| {
        let opened = Store::open(dir.path(), settings(&clock, &of(bucket.clone())));
        opened.map_err(|error| error.source().unwrap().to_string())
    };
    let error = open(&bucket).map(|_| ()).unwrap_err();
    assert!(error.contains("credentials"), "{error}");
    let section = |secret: &str| {
        format!("[default]\naws_access_key_id = key\naws_secret_access_key = {secret}\n")
    };
    std::fs::write(&path, section("another")).unwrap();
    let error = open(&bucket).map(|_| ()).unwrap_err();
    assert!(
        error.contains("bucket kept") && !error.contains("another"),
        "{error}"
    );
    std::fs::write(&path, section("secret")).unwrap();
    let store = open(&bucket).unwrap();
    fill(&store, &clock, 0..5);
    store.upload().unwrap();
    // Where it is not said, nothing goes without TLS.
    let plain = BucketSettings {
        allow_http: false,
        prefix: "plain".to_owned(),
        ..bucket.clone()
    };
    let dir = folder();
    let opened = Store::open(dir.path(), settings(&clock, &of(plain)));
    assert!(opened.is_err());
    // A bucket that is not there.
    let none = BucketSettings {
        bucket: "absent".to_owned(),
        ..bucket
    };
    let opened = Store::open(folder().path(), settings(&clock, &of(none)));
    let error = opened
        .map(|_| ())
        .unwrap_err()
        .source()
        .unwrap()
        .to_string();
    assert!(error.contains("bucket absent"), "{error}");
}
