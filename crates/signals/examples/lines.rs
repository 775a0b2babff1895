//! The store of lines at scale, by hand: what it takes of a processor and of the disk, and how
//! long one line is looked for.
//!
//! ```text
//! lines <folder> <corpus> <megabytes> [needles]
//! ```
//!
//! The corpus is `json` (an identifier in each line that no other has), `access` (as web servers
//! write them, without one) or `words` (logfmt of a service that says what it does).

#![allow(clippy::unwrap_used, clippy::disallowed_methods, clippy::print_stdout)] // a tool

use std::fmt::Write;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use towpath_query::logql::{Direction, LogSource, Needle, Row, Selection, Sink, parse_matchers};
use towpath_query::promql::Labels;
use towpath_signals::logs::{Line, LogStore, Options, Stream};
use towpath_stdx::Clock;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const STREAMS: usize = 100;
const LINES: usize = 250;

struct Now;

impl Clock for Now {
    fn since_epoch(&self) -> Duration {
        Duration::from_secs(1_780_272_000 + 3600)
    }

    fn monotonic(&self) -> Instant {
        Instant::now()
    }
}

/// Seconds of a processor of this process.
fn cpu() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split(' ').collect();
    (fields[12].parse::<f64>().unwrap() + fields[13].parse::<f64>().unwrap()) / 100.0
}

fn status(name: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with(name)).unwrap();
    line.split_whitespace()
        .nth(1)
        .unwrap()
        .parse::<u64>()
        .unwrap()
        >> 10
}

struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn of<'a>(&mut self, all: &[&'a str]) -> &'a str {
        all[self.next() as usize % all.len()]
    }

    /// Mostly small, sometimes large: as times are that something took.
    fn took(&mut self, middle: f64) -> f64 {
        let uniform = |bits: u64| (bits >> 11) as f64 / (1u64 << 53) as f64;
        let normal: f64 = (0..6).map(|_| uniform(self.next())).sum::<f64>() - 3.0;
        middle * (normal * 1.2).exp()
    }
}

fn line(corpus: &str, app: &str, at: i64, random: &mut Random, text: &mut String) -> Option<u64> {
    text.clear();
    let (second, micros) = (at / 1_000_000_000, at / 1000 % 1_000_000);
    let (minute, second) = (second / 60 % 60, second % 60);
    let path = random.of(&[
        "/api/v1/orders",
        "/api/v1/cart/items",
        "/api/v1/products",
        "/healthz",
        "/api/v1/users/me",
    ]);
    match corpus {
        "json" => {
            let trace = random.next();
            let status = [200, 200, 200, 200, 201, 204, 304, 404, 500][random.next() as usize % 9];
            let level = if status >= 500 { "error" } else { "info" };
            let message = random.of(&[
                "request served",
                "cache miss, asked upstream",
                "retry after timeout",
            ]);
            let (took, user) = (random.next() % 90_000, random.next() % 50_000);
            write!(text, "{{\"time\":\"2026-01-02T03:{minute:02}:{second:02}.{micros:06}Z\",\"level\":\"{level}\",\"msg\":\"{message}\",\"service\":\"{app}\",\"path\":\"{path}\",\"status\":{status},\"took_us\":{took},\"user\":{user},\"trace_id\":\"{trace:016x}\"}}").unwrap();
            Some(trace)
        }
        "access" => {
            let client = random.next() % 3000;
            let bytes = random.took(4000.0) as u64;
            let status = [200, 200, 200, 200, 200, 200, 304, 302, 404][random.next() as usize % 9];
            let agent = random.of(&[
                "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Safari/537.36",
                "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.5 Mobile/15E148 Safari/604.1",
                "kube-probe/1.30",
                "curl/8.5.0",
            ]);
            let page = random.next() % 400;
            let took = random.took(0.02);
            write!(text, "10.244.{}.{} - - [02/Jan/2026:03:{minute:02}:{second:02} +0000] \"GET {path}?page={page} HTTP/1.1\" {status} {bytes} \"-\" \"{agent}\" {took:.3}", client / 250, client % 250).unwrap();
            None
        }
        _ => {
            let order = 8_000_000 + at / 4_000_000 + random.next() as i64 % 50;
            let took = random.took(12.0);
            match random.next() % 4 {
                0 => write!(text, "ts=2026-01-02T03:{minute:02}:{second:02}.{:03}Z level=info caller=orders.go:118 msg=\"order placed\" order={order} items={} total={}.{:02} took={took:.3}ms", micros / 1000, random.next() % 9 + 1, random.next() % 300, random.next() % 100),
                1 => write!(text, "ts=2026-01-02T03:{minute:02}:{second:02}.{:03}Z level=info caller=stock.go:71 msg=\"stock reserved\" order={order} sku=SKU-{:05} left={}", micros / 1000, random.next() % 2000, random.next() % 500),
                2 => write!(text, "ts=2026-01-02T03:{minute:02}:{second:02}.{:03}Z level=debug caller=cache.go:40 msg=\"cache hit\" key=cart:{} age={}s", micros / 1000, random.next() % 20_000, random.next() % 300),
                _ => write!(text, "ts=2026-01-02T03:{minute:02}:{second:02}.{:03}Z level=warn caller=pay.go:203 msg=\"payment slow\" order={order} provider=acme attempt={} took={:.1}ms", micros / 1000, random.next() % 3 + 1, took * 40.0),
            }.unwrap();
            None
        }
    }
}

struct Found(usize);

impl Sink for Found {
    fn wants(&self, _first: i64, _last: i64) -> bool {
        true
    }

    fn row(&mut self, _stream: u64, _labels: &Labels, row: Row<'_>) -> ControlFlow<()> {
        std::hint::black_box(row.line);
        self.0 += 1;
        ControlFlow::Continue(())
    }
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (dir, corpus) = (Path::new(&arguments[0]), arguments[1].as_str());
    let total = arguments[2].parse::<usize>().unwrap() << 20;
    let looked: usize = arguments.get(3).map_or(20, |text| text.parse().unwrap());
    let clock = Arc::new(Now);
    let store = LogStore::open(dir, Options::default(), clock).unwrap();
    let mut random = Random(7);
    let begin = 1_780_272_000_000_000_000i64;
    let step = 3_300_000_000_000 / (total as i64 / 150);
    let (mut at, mut bytes, mut lines, mut traces) = (begin, 0usize, 0u64, Vec::new());
    let (mut pushing, mut keeping) = (0.0, 0.0);
    let mut text = String::new();
    while bytes < total {
        let mut requests = Vec::new();
        for number in 0..STREAMS {
            let app = ["checkout", "cart", "catalog", "users", "gateway"][number % 5];
            let pod = format!("{app}-7c9d5b6f4-{number:05}");
            let labels = [("namespace", "bench"), ("app", app), ("pod", &pod)]
                .into_iter()
                .collect();
            let mut own = Vec::with_capacity(LINES);
            for _ in 0..LINES {
                at += step;
                let trace = line(corpus, app, at, &mut random, &mut text);
                if lines % 65_537 == 0 {
                    traces.extend(trace);
                }
                let level = if text.contains("error") {
                    "error"
                } else {
                    "info"
                };
                bytes += text.len();
                lines += 1;
                own.push(Line {
                    at,
                    text: text.clone(),
                    metadata: vec![("detected_level".to_owned(), level.to_owned())],
                });
            }
            requests.push(Stream { labels, lines: own });
        }
        let before = cpu();
        store.push(requests).unwrap();
        let between = cpu();
        store.maintain().unwrap();
        pushing += between - before;
        keeping += cpu() - between;
    }
    let before = cpu();
    store.flush().unwrap();
    store.maintain().unwrap();
    keeping += cpu() - before;
    let health = store.health();
    let mb = bytes as f64 / 1e6;
    println!(
        "{corpus}: {lines} lines, {mb:.0} MB of {:.1} bytes; {:.2} bytes on disk; push {:.0} MB/s, upkeep {:.0} MB/s, both {:.0} MB/s of a processor; {} segments; resident {} MB, at most {}",
        bytes as f64 / lines as f64,
        health.disk_bytes as f64 / lines as f64,
        mb / pushing,
        mb / keeping,
        mb / (pushing + keeping),
        health.segments,
        status("VmRSS:"),
        status("VmHWM:"),
    );
    let matchers = parse_matchers("{namespace=\"bench\"}").unwrap();
    let find = |text: String| {
        let mut found = Found(0);
        let needles = [Needle { text, label: None }];
        let selection = Selection {
            matchers: &matchers,
            start: begin,
            end: at + 1,
            direction: Direction::Backward,
            needles: &needles,
        };
        let begin = Instant::now();
        let done = store.scan(&selection, &mut found).unwrap();
        (begin.elapsed(), done, found.0)
    };
    let mut times = Vec::new();
    for trace in traces.iter().take(looked) {
        let (time, done, found) = find(format!("{trace:016x}"));
        assert!(found > 0);
        if times.is_empty() {
            println!("{done:?}");
        }
        times.push(time);
    }
    times.sort();
    if let Some(last) = times.last() {
        println!("needle: p50 {:?}, longest {last:?}", times[times.len() / 2]);
    }
    let (time, done, found) = find("e".to_owned());
    println!("all {found} lines in {time:?}: {done:?}");
}
