//! Segments in a bucket of a real S3 server.

mod damage;
mod healed;
mod lines;
mod metrics;
mod peer;
mod spans;
mod writers;

use std::time::Duration;

use towpath_signals::objects::{Bucket, BucketSettings, Keys, Objects};

use peer::Peer;

/// How segments are kept in the bucket of a peer: none stays on the disk.
fn objects(peer: &Peer, prefix: &str) -> Objects {
    let bucket = BucketSettings {
        bucket: "kept".to_owned(),
        prefix: prefix.to_owned(),
        region: "us-east-1".to_owned(),
        endpoint: Some(peer.url()),
        path_style: true,
        allow_http: true,
        keys: Keys::Given {
            id: "key".to_owned(),
            secret: "secret".to_owned().into(),
        },
    };
    of(bucket)
}

fn of(bucket: BucketSettings) -> Objects {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    Objects {
        bucket: Bucket::new(bucket, 8 << 20).unwrap(),
        local_bytes: 0,
        grace: Duration::from_secs(3600),
        take_over: false,
        host: "here".to_owned(),
        background: false,
    }
}

/// Waits until something is so.
fn until(what: &str, mut is: impl FnMut() -> bool) {
    for _ in 0..1200 {
        if is() {
            return;
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    panic!("waited in vain until {what}");
}

/// A store's own objects with something changed.
fn with(objects: &Objects, change: impl FnOnce(&mut Objects)) -> Objects {
    let mut changed = objects.clone();
    change(&mut changed);
    changed
}
