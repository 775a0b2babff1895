//! The store against a list in memory, through blocks, restarts and damage.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use proptest::prelude::*;
use towpath_query::traceql::{
    AttributeScope, Budget, Event, Field, Intrinsic, Kind, Link, Resource, Scope, Search, Span,
    SpanSource, Status, Trace, TraceId, Value, Wanted, parse, search,
};
use towpath_stdx::Clock;

use super::{NotTaken, Options, Store};

struct Hand(Mutex<(Instant, Duration)>);

impl Hand {
    #[allow(clippy::disallowed_methods)] // a beginning, from which the test moves on
    fn new() -> Arc<Self> {
        let start = Instant::now() + Duration::from_secs(3600);
        Arc::new(Self(Mutex::new((start, Duration::from_secs(1_000_000)))))
    }

    fn pass(&self, time: Duration) {
        let mut now = self.0.lock();
        now.0 += time;
        now.1 += time;
    }
}

impl Clock for Hand {
    fn since_epoch(&self) -> Duration {
        self.0.lock().1
    }

    fn monotonic(&self) -> Instant {
        self.0.lock().0
    }
}

fn options(dir: &std::path::Path) -> Options {
    Options {
        flush_bytes: 1 << 20,
        ..Options::new(dir.to_path_buf())
    }
}

fn id(n: u8) -> TraceId {
    let mut id = [7; 16];
    id[0] = n.wrapping_mul(37);
    id[15] = n;
    id
}

/// A trace in which everything occurs that a span can have.
fn trace(n: u8, spans: u8) -> Trace {
    let resource = Arc::new(Resource {
        attributes: vec![(
            "service.name".into(),
            Value::text(format!("service-{}", n % 3)),
        )],
        dropped_attributes: 2,
    });
    let scope = Arc::new(Scope {
        name: "library".into(),
        version: "1.2".into(),
        attributes: vec![("scope.key".into(), Value::Int(1))],
    });
    let spans = (0..spans).map(|at| Span {
        id: [0, 0, 0, 0, 0, 0, n, at + 1],
        parent_id: if at == 0 {
            [0; 8]
        } else {
            [0, 0, 0, 0, 0, 0, n, at]
        },
        name: format!("operation {}", at % 4).into(),
        kind: Kind::ALL[usize::from(at) % 6],
        status: [Status::Unset, Status::Ok, Status::Error][usize::from(at) % 3],
        status_message: if at % 3 == 2 {
            "broken".into()
        } else {
            "".into()
        },
        start_ns: 999_990_000_000_000 + u64::from(n) * 1_000_000_000 + u64::from(at) * 1000,
        duration_ns: 5000 + u64::from(at),
        trace_state: "a=b".into(),
        attributes: vec![
            ("a.bool".into(), Value::Bool(at % 2 == 0)),
            ("bytes".into(), Value::Bytes([1, 2, at][..].into())),
            ("http.status_code".into(), Value::Int(200 + i64::from(at))),
            (
                "list".into(),
                Value::List([Value::Int(1), Value::text("x")].into()),
            ),
            ("map".into(), Value::Map([("k".into(), Value::Nil)].into())),
            ("ratio".into(), Value::Float(0.5 * f64::from(at))),
            ("url".into(), Value::text(format!("/path/{n}/{at}"))),
        ],
        events: vec![Event {
            time_ns: 999_990_000_000_100,
            name: "event".into(),
            attributes: vec![("e".into(), Value::Int(at.into()))],
            dropped_attributes: 1,
        }],
        links: vec![Link {
            trace_id: [at; 16],
            span_id: [at; 8],
            trace_state: "".into(),
            attributes: vec![("l".into(), Value::text("v"))],
        }],
        resource: Arc::clone(&resource),
        scope: Arc::clone(&scope),
    });
    Trace {
        id: id(n),
        spans: spans.collect(),
    }
}

fn sorted(mut trace: Trace) -> Trace {
    trace.spans.sort_by_key(|span| span.id);
    trace
}

fn check(store: &Store, expected: &BTreeMap<TraceId, Trace>) {
    for (id, trace) in expected {
        let found = store.trace(id).expect("readable").expect("there");
        assert_eq!(sorted(found), sorted(trace.clone()));
    }
    assert_eq!(store.trace(&[9; 16]), Ok(None));
    let all = store
        .traces(&Wanted::everything(0, u64::MAX))
        .expect("readable");
    let all: Vec<Trace> = all.map(|t| sorted(t.expect("readable"))).collect();
    let wanted: Vec<Trace> = expected.values().cloned().map(sorted).collect();
    assert_eq!(all, wanted);
}

#[tokio::test]
async fn spans_survive_blocks_restarts_and_merging() {
    let dir = tempfile::tempdir().expect("a directory");
    let clock = Hand::new();
    let open = || {
        Store::open(options(dir.path()), clock.clone())
            .expect("opens")
            .0
    };
    let mut expected = BTreeMap::new();
    let mut store = open();
    for round in 0..10u8 {
        let mut all: Vec<Trace> = (0..6).map(|n| trace(round * 6 + n, 5)).collect();
        expected.extend(all.iter().map(|t| (t.id, t.clone())));
        // The second halves come later, some of them in another block.
        let late: Vec<Trace> = all
            .iter_mut()
            .map(|t| Trace {
                id: t.id,
                spans: t.spans.split_off(3),
            })
            .collect();
        store.append(&all).expect("taken");
        check_parts(&store, &all);
        if round % 2 == 0 {
            clock.pass(Duration::from_secs(301));
            store.upkeep().expect("done");
            assert_eq!(store.statistics().live_traces, 0);
        }
        store.append(&late).expect("taken");
        store.sync().await.expect("durable");
        if round % 3 == 0 {
            drop(store);
            store = open();
        }
        check(&store, &expected);
        clock.pass(Duration::from_secs(301));
        store.upkeep().expect("done");
        check(&store, &expected);
    }
    assert!(store.statistics().blocks < 10, "{:?}", store.statistics());
    drop(store);
    let store = open();
    check(&store, &expected);
    assert_eq!(store.statistics().live_traces, 0);
}

fn check_parts(store: &Store, parts: &[Trace]) {
    for part in parts {
        let found = store.trace(&part.id).expect("readable").expect("there");
        assert!(part.spans.iter().all(|span| found.spans.contains(span)));
    }
}

#[tokio::test]
async fn what_is_still_growing_stays_in_memory_and_in_the_log() {
    let dir = tempfile::tempdir().expect("a directory");
    let clock = Hand::new();
    let (store, _) = Store::open(options(dir.path()), clock.clone()).expect("opens");
    store.append(&[trace(1, 3)]).expect("taken");
    clock.pass(Duration::from_secs(301));
    store.append(&[trace(2, 3)]).expect("taken");
    store.upkeep().expect("done");
    let statistics = store.statistics();
    assert_eq!((statistics.live_traces, statistics.blocks), (1, 1));
    drop(store);
    let (store, replayed) = Store::open(options(dir.path()), clock.clone()).expect("opens");
    assert_eq!((store.statistics().live_traces, replayed.records), (1, 1));
    let expected = [trace(1, 3), trace(2, 3)].map(|t| (t.id, t));
    check(&store, &expected.into());
}

#[test]
fn searches_see_the_same_in_memory_and_in_blocks() {
    let dir = tempfile::tempdir().expect("a directory");
    let (store, _) = Store::open(options(dir.path()), Hand::new()).expect("opens");
    let all: Vec<Trace> = (0..40).map(|n| trace(n, n % 7 + 1)).collect();
    store.append(&all).expect("taken");
    let queries = [
        "{ }",
        "{ .http.status_code = 203 }",
        "{ span.http.status_code = 203.0 && kind = client }",
        "{ resource.service.name = \"service-1\" && name = \"operation 2\" }",
        "{ .url = \"/path/9/1\" }",
        "{ .url =~ \"/path/1.*\" } | count() > 3",
        "{ .e = 4 }",
        "{ .l = \"v\" && status = error }",
        "{ .list = \"x\" && .a.bool = true }",
        "{ .scope.key = 1 && statusMessage = \"broken\" }",
        "{ name = \"operation 0\" } >> { status = error }",
        "{ event:name = \"event\" && link:spanID != \"\" } | by(resource.service.name)",
        "{ rootName = \"operation 0\" && childCount = 0 }",
        "{ .nothing = 1 }",
    ];
    let ask = |query: &str| {
        let options = Search {
            start_ns: 0,
            end_ns: u64::MAX,
            limit: 100,
            spans_per_set: 100,
            budget: Budget::default(),
        };
        let found = search(&store, &parse(query).expect(query), &options).expect("an answer");
        (found.traces, found.spans_seen)
    };
    let before: Vec<_> = queries.iter().map(|query| ask(query)).collect();
    let tags = store.tags(0, u64::MAX).expect("readable");
    assert!(tags[&AttributeScope::Span].contains("http.status_code"));
    assert!(tags[&AttributeScope::Event].contains("e"));
    let fields = [
        Field::Intrinsic(Intrinsic::Name),
        Field::Intrinsic(Intrinsic::Status),
        Field::Attribute {
            parent: false,
            scope: AttributeScope::Any,
            name: "http.status_code".into(),
        },
    ];
    let values = || {
        fields
            .each_ref()
            .map(|f| store.tag_values(f, 0, u64::MAX).expect("readable"))
    };
    let values_before = values();
    assert_eq!(values_before[2].0[0].text, "200");
    assert_eq!(values_before[2].0[0].kind, "int");
    store.flush().expect("written");
    assert_eq!(store.statistics().live_traces, 0);
    for (query, (found, _)) in queries.iter().zip(before) {
        assert_eq!(ask(query).0, found, "{query}");
        assert_eq!(found.is_empty(), query.contains("nothing"), "{query}");
    }
    assert_eq!(store.tags(0, u64::MAX).expect("readable"), tags);
    assert_eq!(values(), values_before);
    // What the index rules out is not read.
    assert_eq!(ask("{ span.nothing = 1 }").1, 0);
}

#[test]
fn limits_refuse_and_old_blocks_go() {
    let dir = tempfile::tempdir().expect("a directory");
    let clock = Hand::new();
    let small = Options {
        trace_max_bytes: 10_000,
        head_max_bytes: 40_000,
        retention: Duration::from_secs(86_400),
        ..options(dir.path())
    };
    let (store, _) = Store::open(small, clock.clone()).expect("opens");
    let taken = store.append(&[trace(1, 100), trace(2, 2)]).expect("taken");
    assert_eq!((taken.spans, taken.too_large), (2, 100));
    let many: Vec<Trace> = (0..100).map(|n| trace(n, 9)).collect();
    assert!(matches!(store.append(&many), Err(NotTaken::Busy(_))));
    store.flush().expect("written");
    assert!(store.trace(&id(2)).expect("readable").is_some());
    clock.pass(Duration::from_secs(2 * 86_400));
    store.upkeep().expect("done");
    assert_eq!(store.statistics().blocks, 0);
    assert_eq!(store.trace(&id(2)), Ok(None));
    let left = std::fs::read_dir(dir.path().join("blocks")).expect("a directory");
    assert_eq!(left.count(), 0);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn flipped_bits_are_told_and_never_panic(at: prop::sample::Index, bit in 0u8..8) {
        let dir = tempfile::tempdir().expect("a directory");
        let clock = Hand::new();
        let (store, _) = Store::open(options(dir.path()), clock.clone()).expect("opens");
        let all: Vec<Trace> = (0..3).map(|n| trace(n, 4)).collect();
        store.append(&all).expect("taken");
        store.flush().expect("written");
        drop(store);
        let blocks = dir.path().join("blocks");
        let file = std::fs::read_dir(&blocks).expect("a directory").next();
        let file = file.expect("a block").expect("readable").path();
        let mut bytes = std::fs::read(&file).expect("readable");
        let at = at.index(bytes.len());
        bytes[at] ^= 1 << bit;
        std::fs::write(&file, bytes).expect("written");
        let (store, _) = Store::open(options(dir.path()), clock).expect("opens");
        for trace in &all {
            // Told, or not there at all where the block could not be opened, or untouched.
            if let Ok(Some(found)) = store.trace(&trace.id) {
                prop_assert_eq!(sorted(found), sorted(trace.clone()));
            }
        }
    }

    #[test]
    fn any_bytes_can_be_read_as_spans(bytes: Vec<u8>) {
        let _ = super::codec::trace(&bytes);
    }
}
