//! The store against a list in memory, through blocks, restarts and damage.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use proptest::prelude::*;
use towpath_query::promql::Matcher;
use towpath_query::traceql::{
    AttributeScope, Budget, Event, Field, Intrinsic, Kind, Link, Resource, Scope, Search, Span,
    SpanSource, Status, Trace, TraceId, Value, Wanted, parse, search,
};
use towpath_stdx::Clock;

use super::upkeep::FAN_IN;
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
    trace.spans.sort_by_key(|span| (span.id, span.kind.code()));
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
    for round in 0..12u8 {
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
    let blocks = store.statistics().blocks;
    assert!(blocks < FAN_IN, "{blocks} blocks of 18");
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

/// Numbers that are the same in every run.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(1);
        (self.0 >> 33) % end
    }
}

/// A span that has some of what spans can have; whole values come again, and so do whole spans.
fn some_span(of: u8, numbers: &mut Numbers) -> Span {
    let at = numbers.below(9) as u8;
    let mut again = Numbers(u64::from(of) << 8 | u64::from(at));
    let whole = trace(of, at + 1);
    let mut span = whole.spans[usize::from(at)].clone();
    span.attributes.retain(|_| again.below(3) > 0);
    // A name that hardly any other span has.
    let own = (format!("own.{of}.{at}").into(), Value::Int(at.into()));
    span.attributes.push(own);
    span.attributes.sort_by(|(a, _), (b, _)| a.cmp(b));
    if again.below(2) == 0 {
        span.events.clear();
    }
    if again.below(2) == 0 {
        span.links.clear();
        span.trace_state = "".into();
    }
    span
}

/// Blocks with parts of the same traces become one: nothing is lost, nothing is there twice, and
/// only what is kept no longer is gone.
#[test]
fn joined_blocks_have_what_their_parts_had() {
    let dir = tempfile::tempdir().expect("a directory");
    let clock = Hand::new();
    let keep = |days: u64| Duration::from_secs(days * 86_400);
    let long = || Options {
        retention: keep(1),
        rules: vec![super::Rule {
            matchers: vec![Matcher::equal("service", "service-1")],
            keep: keep(10),
        }],
        ..options(dir.path())
    };
    let (store, _) = Store::open(long(), clock.clone()).expect("opens");
    let mut expected: BTreeMap<TraceId, Trace> = BTreeMap::new();
    let mut numbers = Numbers(7);
    for block in 0..FAN_IN as u64 {
        let all: Vec<Trace> = (0..400)
            .map(|_| {
                // Some ids are in every block, most in one or two.
                let n = numbers.below(60) as u8;
                let mut id = id(n);
                id[1] = if n < 30 { numbers.below(70) as u8 } else { 0 };
                id[2] = if n < 30 { block as u8 } else { 0 };
                let spans = (0..numbers.below(4) + 1).map(|_| some_span(n, &mut numbers));
                Trace {
                    id,
                    spans: spans.collect(),
                }
            })
            .collect();
        for part in &all {
            let own = expected.entry(part.id).or_insert_with(|| Trace {
                id: part.id,
                spans: Vec::new(),
            });
            own.merge(part.spans.clone());
        }
        store.append(&all).expect("taken");
        store.flush().expect("written");
    }
    check(&store, &expected);
    let spans = store.statistics().block_spans;
    store.upkeep().expect("done");
    check(&store, &expected);
    let kept: usize = expected.values().map(|trace| trace.spans.len()).sum();
    let statistics = store.statistics();
    assert_eq!(
        (statistics.blocks, statistics.block_spans),
        (1, kept as u64)
    );
    assert!(kept as u64 * 10 < spans * 9 && kept > 2 * super::group::SPANS);
    clock.pass(keep(3));
    store.upkeep().expect("done");
    expected.retain(|_, trace| {
        let first = trace.spans.iter().find(|span| span.is_root());
        let first = first.or_else(|| trace.spans.iter().min_by_key(|span| span.start_ns));
        first.is_some_and(|span| span.resource.service() == "service-1")
    });
    assert!(expected.len() > 100 && expected.len() < statistics.block_spans as usize / 5);
    check(&store, &expected);
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
        let _ = super::raw::spans(&bytes, |_| {});
    }

    /// What only goes over values takes the same for spans as what reads them.
    #[test]
    fn spans_are_gone_over_as_they_are_read(
        n: u8,
        spans in 0u8..4,
        at: prop::sample::Index,
        byte: u8,
        whole: bool,
    ) {
        let mut bytes = Vec::new();
        super::codec::put_trace(&mut bytes, &trace(n, spans));
        if !whole {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        let mut rows = Vec::new();
        let over = super::raw::spans(&bytes, |span| {
            rows.push((span.row.id, span.row.end_ns(), span.attributes.len(), span.name.to_vec()));
        });
        match super::codec::trace(&bytes) {
            Some(read) => {
                let told = |s: &Span| {
                    (s.id, s.end_ns(), s.attributes.len(), s.name.as_bytes().to_vec())
                };
                prop_assert_eq!(over, Some(()));
                prop_assert_eq!(rows, read.spans.iter().map(told).collect::<Vec<_>>());
            }
            // Texts are not looked at here.
            None => prop_assert!(!whole),
        }
    }
}
