//! Spans: the same answers wherever blocks are.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use towpath_query::traceql::{Resource, Span, SpanSource, Trace, TraceId, Value, Wanted};
use towpath_signals::objects::Objects;
use towpath_signals::traces::{Options, Store};
use towpath_stdx::Clock;

use super::metrics::{START, files};
use super::objects;
use super::peer::Peer;
use crate::{Set, folder, wait};

pub(super) fn open(dir: &Path, clock: &Arc<Set>, objects: &Objects) -> Store {
    let options = Options {
        objects: Some(objects.clone()),
        ..Options::new(dir.to_path_buf())
    };
    let clock = Arc::clone(clock) as Arc<dyn Clock>;
    Store::open(options, clock).unwrap().0
}

fn id(number: u64) -> TraceId {
    let mut id = [7; 16];
    id[..8].copy_from_slice(&number.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes());
    id
}

pub(super) fn fill(store: &Store, clock: &Arc<Set>, rounds: std::ops::Range<u64>) {
    let resource = Arc::new(Resource {
        attributes: vec![("service.name".into(), Value::text("shop"))],
        ..Resource::default()
    });
    for round in rounds {
        let at = START as u64 + round * 60_000;
        clock.0.store(at as i64, Ordering::SeqCst);
        let traces = (0..50).map(|n| Trace {
            id: id(round * 100 + n),
            spans: (0..4u8)
                .map(|span| Span {
                    id: [span + 1; 8],
                    parent_id: [span; 8],
                    name: format!("operation {n}").into(),
                    start_ns: at * 1_000_000 + u64::from(span),
                    duration_ns: 1000,
                    attributes: vec![("url".into(), Value::text(format!("/{n:x}/{span}")))],
                    resource: Arc::clone(&resource),
                    ..Span::default()
                })
                .collect(),
        });
        store.append(&traces.collect::<Vec<_>>()).unwrap();
        store.flush().unwrap();
        store.upkeep().unwrap();
    }
    wait(store.sync()).unwrap();
}

pub(super) fn answers(store: &Store) -> (Vec<(TraceId, usize)>, Option<Trace>, Option<Trace>) {
    let all = store.traces(&Wanted::everything(0, u64::MAX)).unwrap();
    let all = all
        .map(Result::unwrap)
        .map(|trace| (trace.id, trace.spans.len()));
    let one = |number| store.trace(&id(number)).unwrap();
    (all.collect(), one(207), one(99))
}

#[test]
fn the_same_questions_have_the_same_answers() {
    let Some(mut peer) = Peer::start() else {
        return;
    };
    let objects = objects(&peer, "spans");
    let dir = folder();
    let clock = Set::new(START);
    let store = open(dir.path(), &clock, &objects);
    fill(&store, &clock, 0..5);
    let before = answers(&store);
    assert!(before.0.len() == 250 && before.1.is_some() && before.2.is_none());
    store.upload().unwrap();
    let blocks = dir.path().join("blocks");
    assert_eq!(files(&blocks, "traces"), 0);
    assert_eq!(answers(&store), before);
    drop(store);
    let store = open(dir.path(), &clock, &objects);
    assert_eq!(answers(&store), before);
    fill(&store, &clock, 5..20);
    let merged = answers(&store);
    assert!(store.statistics().blocks < 8);
    store.upload().unwrap();
    assert_eq!(answers(&store), merged);
    let kept = store.statistics().blocks;
    store.close();
    drop(store);
    let store = open(dir.path(), &clock, &objects);
    assert_eq!(
        (answers(&store), store.statistics().blocks),
        (merged.clone(), kept)
    );
    store.upload().unwrap();
    store.close();
    drop(store);
    // From the bucket alone, and on from there.
    let fresh = folder();
    let store = open(fresh.path(), &clock, &objects);
    assert_eq!(answers(&store), merged);
    fill(&store, &clock, 20..30);
    let grown = answers(&store);
    store.upload().unwrap();
    drop(store);
    let store = open(fresh.path(), &clock, &objects);
    assert_eq!(answers(&store), grown);
    drop(store);
    peer.stop();
    let store = open(fresh.path(), &clock, &objects);
    let error = store.trace(&id(207)).unwrap_err();
    assert!(
        error.contains("s3://kept/spans/traces/segments/"),
        "{error}"
    );
    peer.again();
    assert_eq!(answers(&store), grown);
}
