//! The store of lines: what goes in comes out, whatever happens in between.

use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use towpath_query::logql::{
    self, Direction, LogSource, Needle, Row, Scanned, Selection, Settings, Sink,
};
use towpath_query::promql::Labels;
use towpath_signals::logs::{Line, LogStore, Options, Stream};
use towpath_stdx::Clock;

const SECOND: i64 = 1_000_000_000;

/// A clock that is set.
struct Hands(AtomicU64);

impl Clock for Hands {
    fn since_epoch(&self) -> Duration {
        Duration::from_secs(self.0.load(Ordering::SeqCst))
    }

    #[allow(clippy::disallowed_methods)] // never asked for here
    fn monotonic(&self) -> Instant {
        Instant::now()
    }
}

const NOW: u64 = 1_000_000;

fn clock() -> Arc<Hands> {
    Arc::new(Hands(AtomicU64::new(NOW)))
}

fn labels(app: &str) -> Labels {
    [("app", app), ("env", "prd")].into_iter().collect()
}

fn line(at: i64, text: &str) -> Line {
    Line {
        at: at * SECOND,
        text: text.to_owned(),
        metadata: Vec::new(),
    }
}

fn options() -> Options {
    Options {
        block_bytes: 2000,
        flush_after: Duration::from_secs(60),
        ..Options::default()
    }
}

fn open(dir: &Path, clock: &Arc<Hands>) -> LogStore {
    LogStore::open(dir, options(), Arc::clone(clock) as Arc<dyn Clock>).expect("a store")
}

fn push(store: &LogStore, app: &str, lines: Vec<Line>) {
    let stream = Stream {
        labels: labels(app),
        lines,
    };
    let pushed = store.push(vec![stream]).expect("pushed");
    assert_eq!(pushed.refused, []);
}

fn sync(store: &LogStore) {
    let runtime = tokio::runtime::Builder::new_current_thread().build();
    runtime
        .expect("a runtime")
        .block_on(store.sync())
        .expect("durable");
}

/// All lines that a query finds, oldest first, as `seconds app line`.
fn query(store: &LogStore, query: &str) -> Vec<String> {
    try_query(store, query).expect("an answer")
}

fn try_query(store: &LogStore, query: &str) -> Result<Vec<String>, String> {
    let query = logql::parse_log(query).expect("a query");
    let settings = Settings {
        max_entries: 1_000_000,
        ..Settings::default()
    };
    let all = (0, i64::MAX);
    let answer = logql::logs(&query, all, Direction::Forward, 1_000_000, store, &settings);
    let entries = answer.map_err(|error| error.to_string())?.entries;
    let entries = entries.into_iter();
    Ok(entries
        .map(|one| format!("{} {} {}", one.at / SECOND, one.stream.get("app"), one.line))
        .collect())
}

fn many(from: i64, count: i64) -> Vec<Line> {
    (from..from + count)
        .map(|at| {
            line(
                at,
                &format!("request {at} took {}ms code={}", at % 97, 200 + at % 3),
            )
        })
        .collect()
}

fn wanted(app: &str, lines: &[Line]) -> Vec<String> {
    let mut lines = lines.to_vec();
    lines.sort_by_key(|line| line.at);
    lines
        .iter()
        .map(|line| format!("{} {app} {}", line.at / SECOND, line.text))
        .collect()
}

#[test]
fn lines_survive_flush_and_restart() {
    let dir = tempfile::tempdir().expect("a directory");
    let clock = clock();
    let first = many(NOW as i64 - 1000, 300);
    let second = many(NOW as i64 - 500, 200);
    {
        let store = open(dir.path(), &clock);
        push(&store, "a", first.clone());
        assert_eq!(query(&store, "{app=\"a\"}"), wanted("a", &first));
        assert_eq!(store.flush().expect("flushed"), 300);
        assert_eq!(store.health().segments, 1);
        assert_eq!(query(&store, "{app=\"a\"}"), wanted("a", &first));
        push(&store, "a", second.clone());
        sync(&store);
    }
    let all: Vec<Line> = first.iter().chain(&second).cloned().collect();
    let store = open(dir.path(), &clock);
    assert_eq!(query(&store, "{app=\"a\"}"), wanted("a", &all));
    assert_eq!(store.flush().expect("flushed"), 200);
    drop(store);
    let store = open(dir.path(), &clock);
    assert_eq!(store.health().head_bytes, 0, "nothing is replayed twice");
    assert_eq!(query(&store, "{env=\"prd\"}"), wanted("a", &all));
    let one = query(&store, "{app=\"a\"} |= \"request 999042 \"");
    assert_eq!(one.len(), 1);
}

#[test]
fn order_and_metadata_are_kept() {
    let dir = tempfile::tempdir().expect("a directory");
    let store = open(dir.path(), &clock());
    let mut lines = many(NOW as i64 - 200, 50);
    lines.reverse();
    lines[7].metadata = vec![(
        "trace_id".to_owned(),
        "4bf92f3577b34da6a3ce929d0e0e4736".to_owned(),
    )];
    let marked = wanted("a", &lines[7..8]);
    push(&store, "a", lines.clone());
    let trace = "{app=\"a\"} | trace_id=\"4bf92f3577b34da6a3ce929d0e0e4736\"";
    for _ in 0..2 {
        assert_eq!(query(&store, "{app=\"a\"}"), wanted("a", &lines));
        assert_eq!(query(&store, trace), marked);
        store.flush().expect("flushed");
    }
}

#[test]
fn needles_skip_blocks() {
    struct Count(u64);
    impl Sink for Count {
        fn wants(&self, _: i64, _: i64) -> bool {
            true
        }
        fn row(&mut self, _: u64, _: &Labels, row: Row<'_>) -> ControlFlow<()> {
            self.0 += u64::from(row.line.contains("id=0000000000000777deadbeef"));
            ControlFlow::Continue(())
        }
    }
    let dir = tempfile::tempdir().expect("a directory");
    let store = open(dir.path(), &clock());
    let lines = (0..4000)
        .map(|n: u64| {
            let id = n.wrapping_mul(0x9e37_79b9_7f4a_7c15);
            let text = if n == 777 {
                "one id=0000000000000777deadbeef".to_owned()
            } else {
                format!("one id={id:016x}deadbeef")
            };
            line(NOW as i64 - 5000 + n as i64, &text)
        })
        .collect();
    push(&store, "a", lines);
    store.flush().expect("flushed");
    let needles = [Needle {
        text: "0000000000000777deadbeef".to_owned(),
        label: None,
    }];
    let selection = Selection {
        matchers: &[],
        start: 0,
        end: i64::MAX,
        direction: Direction::Backward,
        needles: &needles,
    };
    let mut count = Count(0);
    let Scanned {
        blocks,
        blocks_skipped,
        ..
    } = store.scan(&selection, &mut count).expect("scanned");
    assert_eq!(count.0, 1);
    assert!(
        blocks <= 2 && blocks_skipped > 50,
        "{blocks} of {}",
        blocks + blocks_skipped
    );
}

#[test]
fn small_segments_become_one_and_old_ones_go() {
    let dir = tempfile::tempdir().expect("a directory");
    let clock = clock();
    let store = open(dir.path(), &clock);
    let mut all = Vec::new();
    for round in 0..8 {
        let lines = many(NOW as i64 - 4000 + round * 100, 60);
        push(&store, "a", lines.clone());
        all.extend(lines);
        store.flush().expect("flushed");
    }
    assert_eq!(store.health().segments, 8);
    let done = store.maintain().expect("maintained");
    assert_eq!((done.merged, store.health().segments), (1, 1));
    assert_eq!(query(&store, "{app=\"a\"}"), wanted("a", &all));
    drop(store);
    let store = open(dir.path(), &clock);
    assert_eq!(query(&store, "{app=\"a\"}"), wanted("a", &all));
    clock.0.store(NOW + 15 * 24 * 3600, Ordering::SeqCst);
    push(&store, "b", many(NOW as i64 + 15 * 24 * 3600, 5));
    store.flush().expect("flushed");
    let done = store.maintain().expect("maintained");
    assert_eq!(done.removed, 1);
    assert!(done.freed_bytes > 0);
    assert_eq!(query(&store, "{app=~\"a|b\"}").len(), 5);
}

#[test]
fn the_head_is_written_when_it_is_old() {
    let dir = tempfile::tempdir().expect("a directory");
    let clock = clock();
    let store = open(dir.path(), &clock);
    push(&store, "a", many(NOW as i64, 5));
    assert_eq!(store.maintain().expect("maintained").flushed_lines, 0);
    clock.0.store(NOW + 61, Ordering::SeqCst);
    assert_eq!(store.maintain().expect("maintained").flushed_lines, 5);
}

#[test]
fn what_is_deleted_is_gone() {
    let dir = tempfile::tempdir().expect("a directory");
    let clock = clock();
    let store = open(dir.path(), &clock);
    push(&store, "a", many(NOW as i64 - 400, 100));
    push(&store, "b", many(NOW as i64 - 400, 100));
    store.flush().expect("flushed");
    push(&store, "a", many(NOW as i64 - 300, 100));
    let before = store.health().disk_bytes;
    let deletion = store
        .delete("{app=\"a\"} |= \"code=201\"", 0, NOW as i64 * SECOND)
        .expect("deleted");
    for _ in 0..2 {
        assert!(query(&store, "{app=\"a\"} |= \"code=201\"").is_empty());
        assert_eq!(query(&store, "{app=\"b\"}").len(), 100);
        store.maintain().expect("maintained");
    }
    assert!(
        store
            .deletions()
            .iter()
            .all(|one| one.done && one.id == deletion.id)
    );
    assert!(store.health().disk_bytes < before * 2);
    drop(store);
    let store = open(dir.path(), &clock);
    assert!(query(&store, "{app=\"a\"} |= \"code=201\"").is_empty());
    assert_eq!(query(&store, "{app=\"a\"} != \"code=201\"").len(), 133);
    assert!(store.delete("nonsense", 0, 1).is_err());
}

#[test]
fn limits_refuse_by_name() {
    let dir = tempfile::tempdir().expect("a directory");
    let options = Options {
        max_streams: 1,
        max_line_bytes: 10,
        ..options()
    };
    let store = LogStore::open(dir.path(), options, clock()).expect("a store");
    let now = NOW as i64;
    let stream = |app: &str, lines| Stream {
        labels: labels(app),
        lines,
    };
    let old = now - 15 * 24 * 3600;
    let lines = vec![
        line(now, "fine"),
        line(now, "much too long"),
        line(old, "x"),
        line(now + 3600, "y"),
    ];
    let pushed = store
        .push(vec![
            stream("a", lines),
            stream("b", vec![line(now, "x")]),
            Stream {
                labels: Labels::default(),
                lines: vec![line(now, "x")],
            },
        ])
        .expect("pushed");
    assert_eq!((pushed.taken, pushed.refused_count), (1, 5));
    let texts: Vec<String> = pushed.refused.iter().map(ToString::to_string).collect();
    for part in [
        "max entry size",
        "too old",
        "too new",
        "stream limit",
        "at least one label",
    ] {
        assert!(
            texts.iter().any(|text| text.contains(part)),
            "{part}: {texts:?}"
        );
    }
}

#[test]
fn damage_is_told_and_costs_one_segment() {
    let dir = tempfile::tempdir().expect("a directory");
    let clock = clock();
    let store = open(dir.path(), &clock);
    push(&store, "a", many(NOW as i64 - 400, 100));
    store.flush().expect("flushed");
    push(&store, "a", many(NOW as i64 - 300, 100));
    store.flush().expect("flushed");
    drop(store);
    let file = dir.path().join("000000000001.seg");
    let mut bytes = std::fs::read(&file).expect("a segment");
    let last = bytes.len() - 30;
    bytes[last] ^= 1;
    std::fs::write(&file, bytes).expect("written");
    let store = open(dir.path(), &clock);
    assert_eq!(store.health().damaged, 1);
    assert_eq!(query(&store, "{app=\"a\"}").len(), 100);
}

/// Whatever byte the disk loses: the lines are found, or it is told that something is damaged.
#[test]
fn no_damage_hides_lines_in_silence() {
    let dir = tempfile::tempdir().expect("a directory");
    let clock = clock();
    let store = open(dir.path(), &clock);
    push(&store, "a", many(NOW as i64 - 400, 150));
    store.flush().expect("flushed");
    drop(store);
    let needle = "{app=\"a\"} |= \"request 999677 took\"";
    let file = dir.path().join("000000000001.seg");
    let whole = std::fs::read(&file).expect("a segment");
    let (mut found, mut told) = (0, 0);
    for at in 0..whole.len() {
        let mut bytes = whole.clone();
        bytes[at] = if bytes[at] == 0 { 0xff } else { 0 };
        std::fs::write(&file, bytes).expect("written");
        let store = open(dir.path(), &clock);
        match try_query(&store, needle) {
            Ok(lines) if lines.len() == 1 => found += 1,
            Ok(lines) => {
                assert_eq!((lines.len(), store.health().damaged), (0, 1), "byte {at}");
                told += 1;
            }
            Err(why) => {
                assert!(why.contains("000000000001.seg"), "byte {at}: {why}");
                assert_eq!(store.health().damaged, 1, "byte {at}: {why}");
                told += 1;
            }
        }
    }
    assert!(found > 100 && told > 100, "{found} {told}");
}

#[test]
fn volumes_are_counted() {
    let dir = tempfile::tempdir().expect("a directory");
    let store = open(dir.path(), &clock());
    push(&store, "a", many(NOW as i64 - 400, 100));
    push(&store, "b", many(NOW as i64 - 100, 10));
    store.flush().expect("flushed");
    push(&store, "b", many(NOW as i64 - 50, 10));
    let volumes = store.volumes(&[], 0, i64::MAX);
    let rows: Vec<u64> = volumes.iter().map(|volume| volume.lines).collect();
    assert_eq!(rows, [100, 20]);
    let late = store.streams(&[], (NOW as i64 - 60) * SECOND, i64::MAX);
    assert_eq!(late, [labels("b")]);
}

/// What a line of JSON takes on the disk.
#[test]
fn lines_are_small_on_the_disk() {
    let megabytes = std::env::var("TOWPATH_LOG_MEGABYTES").ok();
    let megabytes: u64 = megabytes.and_then(|text| text.parse().ok()).unwrap_or(4);
    let dir = tempfile::tempdir().expect("a directory");
    let options = Options {
        max_head_bytes: 1 << 30,
        ..Options::default()
    };
    let store = LogStore::open(dir.path(), options, clock()).expect("a store");
    let paths = ["/api/orders", "/api/users", "/healthz", "/api/cart/items"];
    let levels = ["info", "info", "info", "warn", "error"];
    let mut state = 42u64;
    let mut random = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    let lines = megabytes * 5000;
    let mut at = (NOW - 3000) * 1_000_000;
    let (mut raw, mut spent) = (0u64, Duration::ZERO);
    for chunk in 0..lines / 1000 {
        let batch: Vec<Line> = (0..1000)
            .map(|_| {
                at += random() % 300;
                let text = format!(
                    "{{\"time\":\"2026-11-22T01:{:02}:{:02}.{:06}Z\",\"level\":\"{}\",\"logger\":\"http.server\",\"msg\":\"request served\",\"method\":\"GET\",\"path\":\"{}\",\"status\":{},\"took_ms\":{},\"user\":{},\"bytes\":{}}}",
                    at / 60_000_000 % 60, at / 1_000_000 % 60, at % 1_000_000,
                    levels[random() as usize % 5], paths[random() as usize % 4],
                    [200, 200, 204, 404, 500][random() as usize % 5],
                    random() % 200, random() % 5000, random() % 20_000,
                );
                raw += text.len() as u64;
                Line { at: at as i64 * 1000, text, metadata: Vec::new() }
            })
            .collect();
        let begin = clock_now();
        let app = ["a", "b"][chunk as usize % 2];
        let stream = Stream {
            labels: labels(app),
            lines: batch,
        };
        let pushed = store.push(vec![stream]).expect("pushed");
        assert_eq!(pushed.refused, []);
        if store.health().head_bytes > 64 << 20 {
            store.flush().expect("flushed");
        }
        spent += begin.elapsed();
    }
    let begin = clock_now();
    store.flush().expect("flushed");
    spent += begin.elapsed();
    let disk = store.health().disk_bytes;
    let begin = clock_now();
    let found = query(
        &store,
        "{env=\"prd\"} |= \"4bf92f3577b34da6a3ce929d0e0e4736\"",
    );
    let needle = begin.elapsed();
    assert!(found.is_empty());
    let begin = clock_now();
    let scanned = query(&store, "{env=\"prd\"} |= \"zzz\"");
    assert!(scanned.is_empty());
    let (full, each) = (begin.elapsed(), disk as f64 / lines as f64);
    let rate = |took: Duration| raw as f64 / 1e6 / took.as_secs_f64();
    println!(
        "{:.0} B a line, {each:.1} B on the disk; {:.0} MB/s in, needle {needle:?}, full scan {:.0} MB/s",
        raw as f64 / lines as f64,
        rate(spent),
        rate(full),
    );
    assert!(each <= 16.0, "{each} bytes a line");
}

#[allow(clippy::disallowed_methods)] // how long it took, for people to read
fn clock_now() -> Instant {
    Instant::now()
}
