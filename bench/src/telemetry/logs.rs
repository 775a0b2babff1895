//! Lines of a hundred pods, pushed as agents do; what they take on the disk; one needle in them.

use super::process::{self, disk, settle};
use super::protobuf::{Message, snappy};
use super::random::Random;
use super::send::{self, Kind};
use super::{QUIET, Side, grouped, now_ms};
use crate::api::runtime;
use crate::report::Row;
use crate::scaled;
use crate::server::Server;
use crate::stats::Times;
use anyhow::{Result, bail};
use std::time::{Duration, Instant};

const BYTES: usize = 10 << 30;
const STREAMS: usize = 100;
/// Lines of a stream in one request, and streams in it.
const LINES: usize = 250;
const TOGETHER: usize = 10;
/// Requests that are made before they are sent.
const ROUND: usize = 8;
const NEEDLES: usize = 20;
/// How long lines stay in memory when nothing follows.
const FLUSH: Duration = Duration::from_secs(330);

const PUSH: Kind = Kind {
    path: "/loki/api/v1/push",
    headers: &[
        ("content-type", "application/x-protobuf"),
        ("content-encoding", "snappy"),
    ],
};

/// What lines are like.
#[derive(Clone, Copy, PartialEq)]
enum Corpus {
    /// JSON with an identifier that no other line has.
    Json,
    /// As web servers write them: nothing in a line is its own.
    Access,
}

pub fn bench(_repeats: usize) -> Result<Vec<Row>> {
    let total = scaled(BYTES).max(20 << 20);
    let runtime = runtime()?;
    let server = Server::start_with("logs", QUIET)?;
    let side = Side::of("Towpath", server.url.clone(), &server.token);
    let mut writer = Writer::new(Corpus::Json, now_ms() - 3_600_000, total);
    let before = process::cpu(server.pid);
    let mut requests = Vec::new();
    while writer.bytes < total {
        let rounds = (0..ROUND)
            .map(|_| writer.round())
            .collect::<Result<Vec<_>>>()?;
        requests.extend(runtime.block_on(send::all(&side, PUSH, &rounds))?);
    }
    let dir = server.dir().join("data/telemetry/logs");
    settle(Duration::from_secs(5), Duration::from_secs(60), || {
        disk(&dir)
    });
    let cpu = process::cpu(server.pid) - before;
    let mb = writer.bytes as f64 / 1e6;
    let speed = mb / cpu;
    let (times, memory) = (
        Times::new(requests),
        crate::peer::resident(server.pid) as f64 / 1e6,
    );
    let mut rows = vec![Row::new(
        "log lines pushed, per second of a processor",
        format!(
            "{speed:.0} MB ({} lines/s; {mb:.0} MB in all; a request of 2,500 lines, 16 at once, durable: p50 {:.0} ms, p99 {:.0} ms; resident {memory:.0} MB)",
            grouped(writer.lines as f64 / cpu),
            times.ms(0.5),
            times.ms(0.99)
        ),
        "",
        "≥ 60 MB",
        speed >= 60.0,
    )];
    let before = process::cpu(server.pid);
    let needles = runtime.block_on(needles(&side, &writer))?;
    let each = (process::cpu(server.pid) - before) * 1000.0 / writer.needles.len() as f64;
    rows.push(Row::new(
        format!("a needle in all lines ({NEEDLES} of them)"),
        format!(
            "p50 {:.0} ms, p95 {:.0} ms, in {mb:.0} MB ({each:.0} ms of a processor each)",
            needles.ms(0.5),
            needles.ms(0.95)
        ),
        "",
        "≤ 300 ms in 10 GB",
        needles.ms(0.95) <= 300.0 && total >= BYTES,
    ));
    if scaled(1000) >= 50 {
        let web = Server::start_with("weblogs", QUIET)?;
        let side = Side::of("Towpath", web.url.clone(), &web.token);
        let mut access = Writer::new(Corpus::Access, now_ms() - 3_600_000, total / 4);
        while access.bytes < total / 4 {
            let rounds = (0..ROUND)
                .map(|_| access.round())
                .collect::<Result<Vec<_>>>()?;
            runtime.block_on(send::all(&side, PUSH, &rounds))?;
        }
        // Until the last lines have left the head.
        std::thread::sleep(FLUSH);
        let web = web.dir().join("data/telemetry/logs");
        for (what, dir, writer, target) in [
            ("bytes on disk of a line of JSON", &dir, &writer, true),
            ("… of a line of a web server", &web, &access, false),
        ] {
            let bytes = segments(dir) as f64 / writer.lines as f64;
            let long = writer.bytes as f64 / writer.lines as f64;
            let lines = grouped(writer.lines as f64);
            let found = format!("{bytes:.1} of {long:.0} ({lines} lines)");
            rows.push(if target {
                let met = bytes / long <= 14.0 / 200.0;
                Row::new(what, found, "", "≤ 14 of 200", met)
            } else {
                Row::fact(what, found)
            });
        }
    }
    Ok(rows)
}

fn segments(dir: &std::path::Path) -> u64 {
    let files = std::fs::read_dir(dir).into_iter().flatten().flatten();
    let mut bytes = 0;
    for file in files {
        let path = file.path();
        if path.is_dir() {
            bytes += segments(&path);
        } else if path.extension().is_some_and(|end| end == "seg") {
            bytes += file.metadata().map_or(0, |meta| meta.len());
        }
    }
    bytes
}

/// Looks for single lines over the whole time; each is there once.
async fn needles(side: &Side, writer: &Writer) -> Result<Times> {
    let (start, end) = (
        writer.begin.to_string(),
        (writer.at + 1_000_000_000).to_string(),
    );
    let mut times = Vec::new();
    for id in &writer.needles {
        let query = format!("{{namespace=\"bench\"}} |= \"{id}\"");
        let form = [
            ("query", query.as_str()),
            ("start", &start),
            ("end", &end),
            ("limit", "10"),
        ];
        let begin = Instant::now();
        let answer = side.get("/loki/api/v1/query_range", &form).await?;
        times.push(begin.elapsed());
        let found = answer["data"]["result"].as_array().map_or(0, Vec::len);
        if found != 1 {
            bail!("{found} streams have the line of {id}");
        }
    }
    Ok(Times::new(times))
}

struct Writer {
    corpus: Corpus,
    random: Random,
    /// Nanoseconds.
    begin: i64,
    at: i64,
    step: i64,
    bytes: usize,
    lines: usize,
    every: usize,
    needles: Vec<String>,
}

impl Writer {
    /// All lines lie within the hour after `begin`.
    fn new(corpus: Corpus, begin_ms: i64, total: usize) -> Self {
        // The last requests go beyond what is asked for; no line is much shorter.
        let lines = total / 150 + ROUND * STREAMS * LINES;
        Self {
            corpus,
            random: Random::new(9),
            begin: begin_ms * 1_000_000,
            at: begin_ms * 1_000_000,
            step: 3_300_000_000_000 / lines as i64,
            bytes: 0,
            lines: 0,
            every: (total / 256 / NEEDLES).max(1),
            needles: Vec::new(),
        }
    }

    /// A request for every ten streams.
    fn round(&mut self) -> Result<Vec<bytes::Bytes>> {
        let mut bodies = Vec::new();
        for group in 0..STREAMS / TOGETHER {
            let mut request = Message::default();
            for within in 0..TOGETHER {
                request.message(1, &self.stream(group * TOGETHER + within));
            }
            bodies.push(snappy(&request.0)?);
        }
        Ok(bodies)
    }

    fn stream(&mut self, number: usize) -> Message {
        let mut stream = Message::default();
        let app = ["checkout", "cart", "catalog", "users", "gateway"][number % 5];
        stream.text(
            1,
            &format!("{{namespace=\"bench\", app=\"{app}\", pod=\"{app}-7c9d5b6f4-{number:05}\", container=\"main\"}}"),
        );
        for _ in 0..LINES {
            let line = match self.corpus {
                Corpus::Json => self.line(app),
                Corpus::Access => self.access(),
            };
            let (mut entry, mut time) = (Message::default(), Message::default());
            time.number(1, (self.at / 1_000_000_000) as u64);
            time.number(2, (self.at % 1_000_000_000) as u64);
            entry.message(1, &time).text(2, &line);
            stream.message(2, &entry);
            self.bytes += line.len();
        }
        stream
    }

    /// About 170 bytes, as web servers write them.
    fn access(&mut self) -> String {
        self.at += self.step;
        self.lines += 1;
        let mut below = |most: usize| self.random.next() as usize % most;
        let seconds = self.at / 1_000_000_000;
        let (minute, second) = (seconds / 60 % 60, seconds % 60);
        let path = ["/", "/cart", "/products", "/static/app.js", "/login"][below(5)];
        let status = [200, 200, 200, 200, 200, 200, 304, 302, 404][below(9)];
        let agent = [
            "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Safari/537.36",
            "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.5 Mobile/15E148 Safari/604.1",
            "kube-probe/1.30",
            "curl/8.5.0",
        ][below(4)];
        // Mostly small, sometimes large, as sizes and times are.
        let (size, took) = (300 << below(9), 1 << below(12));
        let (bytes, took) = (size + below(size), took + below(took));
        let (client, page) = (below(3000), below(400));
        format!(
            "10.244.{}.{} - - [02/Jan/2026:03:{minute:02}:{second:02} +0000] \"GET {path}?page={page} HTTP/1.1\" {status} {bytes} \"-\" \"{agent}\" {}.{:03}",
            client / 250,
            client % 250,
            took / 1000,
            took % 1000
        )
    }

    /// About 200 bytes, with an identifier that no other line has.
    fn line(&mut self, app: &str) -> String {
        self.at += self.step;
        let (trace, random) = (self.random.next(), self.random.next());
        let seconds = self.at / 1_000_000_000;
        let (minute, second) = (seconds / 60 % 60, seconds % 60);
        let micros = self.at / 1000 % 1_000_000;
        let path = [
            "/api/v1/orders",
            "/api/v1/cart/items",
            "/api/v1/products",
            "/healthz",
            "/api/v1/users/me",
        ][random as usize % 5];
        let status = [200, 200, 200, 200, 201, 204, 304, 404, 500][(random >> 8) as usize % 9];
        let level = if status >= 500 { "error" } else { "info" };
        let message = [
            "request served",
            "cache miss, asked upstream",
            "retry after timeout",
        ][(random >> 16) as usize % 3];
        let (took, user) = ((random >> 24) % 90_000, (random >> 44) % 50_000);
        let line = format!(
            "{{\"time\":\"2026-01-02T03:{minute:02}:{second:02}.{micros:06}Z\",\"level\":\"{level}\",\"msg\":\"{message}\",\"service\":\"{app}\",\"path\":\"{path}\",\"status\":{status},\"took_us\":{took},\"user\":{user},\"trace_id\":\"{trace:016x}\"}}"
        );
        if self.lines % self.every == self.every / 2 && self.needles.len() < NEEDLES {
            self.needles.push(format!("{trace:016x}"));
        }
        self.lines += 1;
        line
    }
}
