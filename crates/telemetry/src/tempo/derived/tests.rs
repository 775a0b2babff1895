//! Spans in, series out.

use super::*;

fn span(id: u8, parent: u8, service: &str, kind: Kind, ms: u64) -> Span {
    let mut span = Span {
        id: [id; 8],
        parent_id: [parent; 8],
        name: "work".into(),
        kind,
        duration_ns: ms * 1_000_000,
        ..Span::default()
    };
    span.resource = Arc::new(Resource {
        attributes: vec![("service.name".into(), Attribute::text(service))],
        ..Resource::default()
    });
    span
}

fn told(derived: &Derived) -> BTreeMap<String, f64> {
    let mut out = BTreeMap::new();
    let state = derived.state.lock();
    state.tell(&mut |labels, value| {
        out.insert(labels.to_string(), value);
    });
    out
}

#[test]
#[allow(clippy::disallowed_methods)] // a beginning, from which the test moves on
fn the_slowest_span_of_a_name_is_its_exemplar_once() {
    let start = Instant::now();
    let derived = Derived::new(move || start);
    let trace = |id: u8, ms: u64| Trace {
        id: [id; 16],
        spans: vec![span(1, 0, "shop", Kind::Server, ms)],
    };
    derived.observe(&[trace(1, 5), trace(2, 20), trace(3, 7)]);
    let found = derived.state.lock().sightings();
    let [(labels, exemplar)] = &found[..] else {
        panic!("{found:?}");
    };
    assert!(labels.to_string().contains("le=\"0.032\""), "{labels}");
    assert_eq!(exemplar.value, 0.02);
    assert!(exemplar.labels.to_string().contains(&"02".repeat(16)));
    assert!(derived.state.lock().sightings().is_empty());
    derived.observe(&[trace(4, 9_000)]);
    let found = derived.state.lock().sightings();
    assert!(found[0].0.to_string().contains("le=\"+Inf\""));
}

#[test]
#[allow(clippy::disallowed_methods)] // a beginning, from which the test moves on
fn calls_and_requests_are_counted() {
    let start = Instant::now();
    let passed = Arc::new(Mutex::new(Duration::ZERO));
    let clock = Arc::clone(&passed);
    let derived = Derived::new(move || start + *clock.lock());
    let trace = |spans: Vec<Span>| Trace { id: [1; 16], spans };
    let mut query = span(3, 2, "cart", Kind::Client, 7);
    query
        .attributes
        .push(("db.system".into(), Attribute::text("pg")));
    let mut away = span(4, 2, "cart", Kind::Client, 3);
    away.attributes
        .push(("peer.service".into(), Attribute::text("stripe")));
    let mut server = span(2, 1, "cart", Kind::Server, 90);
    server.status = Status::Error;
    derived.observe(&[trace(vec![server, query, away])]);
    derived.observe(&[trace(vec![span(1, 0, "shop", Kind::Client, 150)])]);
    let found = told(&derived);
    let edge =
        "{__name__=\"traces_service_graph_request_total\", client=\"shop\", server=\"cart\"}";
    assert_eq!(found[edge], 1.0, "{found:#?}");
    let failed = edge.replace("_total", "_failed_total");
    assert_eq!(found[&failed], 1.0);
    let bucket = edge
        .replace("_total\"", "_client_seconds_bucket\"")
        .replace("client=\"shop\"", "client=\"shop\", le=\"0.2\"");
    assert_eq!(found[&bucket], 1.0);
    let database = "{__name__=\"traces_service_graph_request_total\", client=\"cart\", \
        connection_type=\"database\", server=\"pg\"}";
    assert_eq!(found[database], 1.0);
    let calls = "{__name__=\"traces_spanmetrics_calls_total\", service=\"cart\", \
        span_kind=\"SPAN_KIND_SERVER\", span_name=\"work\", status_code=\"STATUS_CODE_ERROR\"}";
    assert_eq!(found[calls], 1.0);
    *passed.lock() = Duration::from_secs(11);
    derived.observe(&[]);
    let absent = "{__name__=\"traces_service_graph_request_total\", client=\"cart\", \
        connection_type=\"virtual_node\", server=\"stripe\"}";
    assert_eq!(told(&derived)[absent], 1.0);
    *passed.lock() = Duration::from_secs(1000);
    derived
        .state
        .lock()
        .forget(start + Duration::from_secs(1000));
    assert!(!told(&derived).contains_key(calls));
}
