//! Segments of the first version of the form, as they lie on disks of users, are read, and become
//! ones of the second when they are joined.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::{Duration, Instant};

use towpath_query::logql::{Direction, LogSource, Needle, Row, Selection, Sink, parse_matchers};
use towpath_query::promql::Labels;
use towpath_signals::logs::{Line, LogStore, Options, Stream};
use towpath_stdx::Clock;

/// Written by the code of the first version from [`streams`].
const SEGMENT: &[u8] = include_bytes!("../corpus/logs/first.seg");

struct Hands(AtomicU64);

impl Clock for Hands {
    fn since_epoch(&self) -> Duration {
        Duration::from_secs(self.0.load(std::sync::atomic::Ordering::SeqCst))
    }

    #[allow(clippy::disallowed_methods)] // never asked for here
    fn monotonic(&self) -> Instant {
        Instant::now()
    }
}

fn clock() -> Arc<dyn Clock> {
    Arc::new(Hands(AtomicU64::new(1_000_100)))
}

/// Lines of many kinds, the same ones at every call.
fn streams() -> Vec<Stream> {
    let mut out = Vec::new();
    for app in ["web", "jobs"] {
        let mut lines = Vec::new();
        for at in 0..300u64 {
            let spread = at.wrapping_mul(0x9e37_79b9_7f4a_7c15);
            let text = match at % 6 {
                0 => format!("{{\"status\":{},\"id\":\"{spread:016x}\"}}", 200 + at % 3),
                1 => format!(
                    "took {}.{:03}ms from 10.0.{}.{}",
                    at,
                    at * 7 % 1000,
                    at % 3,
                    at
                ),
                2 => "nothing that counts".to_owned(),
                3 => format!(
                    "2026-01-02T03:04:{:02}.{:06}Z order {}",
                    at % 60,
                    at * 31,
                    80_000 + at
                ),
                4 => format!("é{at} \0 ü"),
                _ => String::new(),
            };
            let metadata = match at % 4 {
                0 => Vec::new(),
                1 => vec![("detected_level".to_owned(), "info".to_owned())],
                _ => vec![
                    ("trace".to_owned(), format!("{spread:x}")),
                    ("user".to_owned(), format!("u{}", at % 7)),
                ],
            };
            let at = 1_000_000_000_000_000 + (at as i64) * 1_500_000 + (at as i64 % 7);
            lines.push(Line { at, text, metadata });
        }
        let labels: Labels = [("app", app)].into_iter().collect();
        out.push(Stream { labels, lines });
    }
    out
}

struct All(Vec<(Labels, Line)>);

impl Sink for All {
    fn wants(&self, _first: i64, _last: i64) -> bool {
        true
    }

    fn row(&mut self, _stream: u64, labels: &Labels, row: Row<'_>) -> ControlFlow<()> {
        let own = row.metadata.iter();
        let line = Line {
            at: row.at,
            text: row.line.to_owned(),
            metadata: own
                .map(|(n, v)| ((*n).to_owned(), (*v).to_owned()))
                .collect(),
        };
        self.0.push((labels.clone(), line));
        ControlFlow::Continue(())
    }
}

fn scan(store: &LogStore, app: &str, needles: &[Needle]) -> Vec<Line> {
    let matchers = parse_matchers(&format!("{{app=\"{app}\"}}")).expect("matchers");
    let selection = Selection {
        matchers: &matchers,
        start: i64::MIN,
        end: i64::MAX,
        direction: Direction::Forward,
        needles,
    };
    let mut all = All(Vec::new());
    store.scan(&selection, &mut all).expect("scanned");
    all.0.into_iter().map(|(_, line)| line).collect()
}

fn check(store: &LogStore) {
    for stream in streams() {
        let app = stream.labels.get("app");
        assert_eq!(scan(store, app, &[]), stream.lines);
        for line in stream
            .lines
            .iter()
            .filter(|line| line.text.contains("\"id\""))
        {
            let at = line.text.find("id\":\"").expect("an identifier") + 5;
            let text = line.text[at..at + 16].to_owned();
            let found = scan(store, app, &[Needle { text, label: None }]);
            assert!(found.contains(line), "{line:?}");
        }
    }
}

#[test]
fn segments_of_the_first_version_are_read_and_joined() {
    let dir = crate::folder();
    if let Some(path) = std::env::var_os("TOWPATH_WRITE_FIRST") {
        let store = LogStore::open(dir.path(), Options::default(), clock()).expect("a store");
        store.push(streams()).expect("pushed");
        store.flush().expect("flushed");
        std::fs::copy(dir.path().join("000000000001.seg"), path).expect("copied");
        return;
    }
    std::fs::write(dir.path().join("000000000001.seg"), SEGMENT).expect("a segment");
    let store = LogStore::open(dir.path(), Options::default(), clock()).expect("a store");
    assert_eq!(store.health().damaged, 0);
    check(&store);
    // Other segments of other streams make it one of many small ones.
    for at in 0..8 {
        let labels: Labels = [("app", "other")].into_iter().collect();
        let line = Line {
            at: 1_000_000_000_000_000 + at,
            text: format!("line {at}"),
            metadata: Vec::new(),
        };
        let pushed = store.push(vec![Stream {
            labels,
            lines: vec![line],
        }]);
        assert_eq!(pushed.expect("pushed").taken, 1);
        store.flush().expect("flushed");
    }
    let done = store.maintain().expect("looked after");
    assert_eq!(done.merged, 1);
    check(&store);
}
