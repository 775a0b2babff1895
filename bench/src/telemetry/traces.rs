//! Spans over OpenTelemetry, and single traces asked for.

use super::process::{self, disk, settle};
use super::protobuf::Message;
use super::random::Random;
use super::send::{self, Kind};
use super::{QUIET, Side, grouped, now_ms};
use crate::api::runtime;
use crate::report::Row;
use crate::scaled;
use crate::server::Server;
use crate::stats::Times;
use anyhow::{Result, bail};
use bytes::Bytes;
use std::time::{Duration, Instant};

const BYTES: usize = 3 << 30;
const SPANS: usize = 8;
/// Traces in a request, and requests that are made before they are sent.
const TRACES: usize = 64;
const ROUND: usize = 64;
const ASKED: usize = 50;
/// How long spans stay in memory when nothing follows.
const FLUSH: Duration = Duration::from_secs(330);

const EXPORT: Kind = Kind {
    path: "/otlp/v1/traces",
    headers: &[("content-type", "application/x-protobuf")],
};

pub fn bench(_repeats: usize) -> Result<Vec<Row>> {
    let total = scaled(BYTES).max(10 << 20);
    let runtime = runtime()?;
    let server = Server::start_with("traces", QUIET)?;
    let side = Side::of("Towpath", server.url.clone(), &server.token);
    let (mut writer, before) = (Writer::default(), process::cpu(server.pid));
    let mut requests = Vec::new();
    while writer.bytes < total {
        let round: Vec<Bytes> = (0..ROUND).map(|_| writer.request()).collect();
        requests.extend(runtime.block_on(send::all(&side, EXPORT, &[round]))?);
    }
    let dir = server.dir().join("data/telemetry/traces");
    settle(Duration::from_secs(15), Duration::from_secs(60), || {
        disk(&dir)
    });
    let cpu = process::cpu(server.pid) - before;
    let (mb, times) = (writer.bytes as f64 / 1e6, Times::new(requests));
    let (speed, memory) = (mb / cpu, crate::peer::resident(server.pid) as f64 / 1e6);
    let before = process::cpu(server.pid);
    let asked = runtime.block_on(ask(&side, &writer.ids))?;
    let each = (process::cpu(server.pid) - before) * 1000.0 / ASKED as f64;
    let mut rows = vec![
        Row::new(
            "spans over OTLP, per second of a processor",
            format!(
                "{speed:.0} MB ({} spans/s; {mb:.0} MB in all, {} spans; a request of 512 spans, 16 at once, durable: p50 {:.0} ms, p99 {:.0} ms; resident {memory:.0} MB)",
                grouped(writer.spans as f64 / cpu),
                grouped(writer.spans as f64),
                times.ms(0.5),
                times.ms(0.99)
            ),
            "",
            "≥ 30 MB",
            speed >= 30.0,
        ),
        Row::new(
            "a trace by its id",
            format!(
                "p50 {:.1} ms, p95 {:.1} ms, of {} ({each:.1} ms of a processor each)",
                asked.ms(0.5),
                asked.ms(0.95),
                grouped((writer.spans / SPANS) as f64)
            ),
            "",
            "≤ 20 ms",
            asked.ms(0.95) <= 20.0,
        ),
    ];
    if scaled(1000) >= 50 {
        // Until the last spans have left the head: what is in the log only is not packed yet.
        std::thread::sleep(FLUSH);
        rows.push(Row::fact(
            "… bytes on disk of a span",
            format!(
                "{:.1} of {:.0}",
                disk(&dir.join("blocks")) as f64 / writer.spans as f64,
                mb * 1e6 / writer.spans as f64
            ),
        ));
    }
    Ok(rows)
}

async fn ask(side: &Side, ids: &[String]) -> Result<Times> {
    let mut times = Vec::new();
    for id in ids.iter().step_by((ids.len() / ASKED).max(1)).take(ASKED) {
        let begin = Instant::now();
        let answer = side.get(&format!("/tempo/api/traces/{id}"), &[]).await?;
        times.push(begin.elapsed());
        let spans = answer.to_string().matches("spanId").count();
        if spans < SPANS {
            bail!("trace {id} has {spans} spans");
        }
    }
    Ok(Times::new(times))
}

#[derive(Default)]
struct Writer {
    random: Option<Random>,
    bytes: usize,
    spans: usize,
    ids: Vec<String>,
}

fn attribute(key: &str, value: &str) -> Message {
    let (mut pair, mut any) = (Message::default(), Message::default());
    any.text(1, value);
    pair.text(1, key).message(2, &any);
    pair
}

impl Writer {
    fn request(&mut self) -> Bytes {
        let mut random = self.random.take().unwrap_or(Random::new(3));
        let services = ["gateway", "checkout", "cart", "catalog"];
        let mut scopes: Vec<Message> = services.iter().map(|_| Message::default()).collect();
        for number in 0..TRACES {
            let id = [random.next().to_be_bytes(), random.next().to_be_bytes()].concat();
            if number == 0 {
                let hex = id.iter().map(|byte| format!("{byte:02x}"));
                self.ids.push(hex.collect());
            }
            let (begin, mut parent) = (now_ms() as u64 * 1_000_000 - 2_000_000_000, [0; 8]);
            for depth in 0..SPANS as u64 {
                let own = random.next().to_be_bytes();
                let length = 1_000_000 + random.next() % 200_000_000 / (depth + 1);
                let service = depth as usize / 2;
                let path = ["/api/v1/orders", "/api/v1/cart", "/api/v1/products"][random.below(3)];
                let mut span = Message::default();
                span.bytes(1, &id).bytes(2, &own);
                if depth > 0 {
                    span.bytes(4, &parent);
                }
                span.text(
                    5,
                    if depth % 2 == 0 {
                        "HTTP POST"
                    } else {
                        "SELECT orders"
                    },
                );
                span.number(6, if depth % 2 == 0 { 2 } else { 3 });
                span.fixed(7, begin + depth * 100_000)
                    .fixed(8, begin + depth * 100_000 + length);
                for (key, value) in [
                    ("http.request.method", "POST"),
                    ("http.route", path),
                    (
                        "http.response.status_code",
                        ["200", "201", "500"][random.below(3)],
                    ),
                    ("server.address", "checkout.shop.svc.cluster.local"),
                    ("user.id", &random.below(50_000).to_string()),
                ] {
                    span.message(9, &attribute(key, value));
                }
                scopes[service].message(2, &span);
                parent = own;
                self.spans += 1;
            }
        }
        let mut request = Message::default();
        for (service, scope) in services.iter().zip(&scopes) {
            let (mut resource, mut of) = (Message::default(), Message::default());
            resource.message(1, &attribute("service.name", service));
            resource.message(1, &attribute("k8s.namespace.name", "bench"));
            resource.message(
                1,
                &attribute("k8s.pod.name", &format!("{service}-7c9d5b6f4-xk2lp")),
            );
            of.message(1, &resource).message(2, scope);
            request.message(1, &of);
        }
        self.random = Some(random);
        self.bytes += request.0.len();
        request.0.into()
    }
}
