//! Small pieces all tests need.

use bytes::Bytes;
use std::path::Path;
use std::sync::Arc;
use towpath_store::{Class, Done, Expect, Meta, NewRec, Op, Options, Refused, Store, Txn};

pub(crate) const RESOURCE: &str = "things";

pub(crate) fn body(value: &str) -> NewRec {
    let text = format!("{{\"rv\":\"\",\"value\":\"{value}\"}}");
    NewRec {
        body: Bytes::from(text),
        hole: 7,
        meta: Meta {
            uid: "u".into(),
            ..Meta::default()
        },
    }
}

pub(crate) fn value(json: &[u8]) -> (u64, String) {
    let parsed: serde_json::Value = serde_json::from_slice(json).expect("JSON");
    let revision = parsed["rv"]
        .as_str()
        .and_then(|t| t.parse().ok())
        .expect("revision");
    (
        revision,
        parsed["value"].as_str().expect("value").to_string(),
    )
}

pub(crate) fn put(key: &str, new: &str, expect: Expect) -> Op {
    Op::Put {
        resource: RESOURCE.into(),
        key: Arc::from(key),
        expect,
        new: body(new),
    }
}

pub(crate) fn delete(key: &str, expect: Expect) -> Op {
    Op::Delete {
        resource: RESOURCE.into(),
        key: Arc::from(key),
        expect,
        last: None,
    }
}

pub(crate) async fn one(store: &Store, op: Op) -> Result<Done, Refused> {
    store
        .commit(Txn {
            ops: vec![op],
            class: Class::Normal,
        })
        .await
}

pub(crate) fn open(path: &Path) -> Store {
    Store::open(path, Options::default()).expect("store")
}

/// A small generator, so that a failing run can be repeated from its seed.
pub(crate) struct Dice(pub(crate) u64);

impl Dice {
    pub(crate) fn roll(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % sides
    }
}
