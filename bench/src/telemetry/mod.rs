//! Telemetry beside the real Prometheus: the same samples, pages and questions for both, in turn.
//!
//! What is per core is taken from the processor time of the servers, so that other work on the
//! machine and the client's own do not count; times that a client sees are meant as ratios.

mod blocks;
mod fleet;
mod head;
mod idle;
mod logs;
mod process;
mod prometheus;
mod protobuf;
mod queries;
mod random;
mod record;
mod scrape;
mod send;
mod traces;

use super::report::Row;
use super::server::Server;
use anyhow::{Result, bail};
use prometheus::Prometheus;
use record::Line;
use serde_json::Value;
use std::sync::OnceLock;
use std::time::{SystemTime, UNIX_EPOCH};

const PEER: &str = "(Prometheus)";
/// What brings its own samples would hide what is measured: they are of now.
const QUIET: &str = "[telemetry]\nscrape-interval = \"1000d\"\nmemory = \"16Gi\"\notlp-grpc-port = 0\notlp-http-port = 0\n";

/// All parts, one after the other; one that fails is named in its row.
pub fn bench(repeats: usize) -> Result<Vec<Row>> {
    let parts: [(&str, super::Bench); 6] = [
        ("idle", idle::bench),
        ("scrape", scrape::bench),
        ("head", head::bench),
        ("blocks", blocks::bench),
        ("logs", logs::bench),
        ("traces", traces::bench),
    ];
    let mut rows = Vec::new();
    for (name, part) in parts.into_iter().filter(|(name, _)| super::wanted(name)) {
        eprintln!("bench telemetry {name}");
        match part(repeats) {
            Ok(found) => {
                eprint!("{}", super::report::table(&found));
                rows.extend(found);
            }
            Err(error) => {
                eprintln!("bench telemetry {name}: {error:#}");
                rows.push(Row::failed(&format!("telemetry {name}"), &error));
            }
        }
    }
    Ok(rows)
}

/// The recorded series, once in a run.
fn lines() -> Result<&'static [Line]> {
    static LINES: OnceLock<Vec<Line>> = OnceLock::new();
    if let Some(lines) = LINES.get() {
        return Ok(lines);
    }
    let seconds = if super::scaled(1000) < 50 { 2 } else { 15 };
    let lines = record::lines(seconds)?;
    Ok(LINES.get_or_init(|| lines))
}

/// One of two servers, as a client sees it.
struct Side {
    name: &'static str,
    /// Up to `/api/v1` and the like.
    url: String,
    client: reqwest::Client,
}

impl Side {
    fn ours(server: &Server) -> Self {
        Self::of(
            "Towpath",
            format!("{}/prometheus", server.url),
            &server.token,
        )
    }

    fn of(name: &'static str, url: String, token: &str) -> Self {
        let client = super::api::client(token).unwrap_or_default();
        Self { name, url, client }
    }

    /// Asks, by a form as Grafana does.
    async fn bytes(&self, path: &str, form: &[(&str, &str)]) -> Result<bytes::Bytes> {
        let url = reqwest::Url::parse_with_params(&format!("{}{path}", self.url), form)?;
        let answer = self.client.get(url).send().await?;
        let status = answer.status();
        let body = answer.bytes().await?;
        if !status.is_success() {
            let words: String = String::from_utf8_lossy(&body).chars().take(300).collect();
            bail!("{} answered {status}: {words}", self.name);
        }
        Ok(body)
    }

    async fn get(&self, path: &str, form: &[(&str, &str)]) -> Result<Value> {
        Ok(serde_json::from_slice(&self.bytes(path, form).await?)?)
    }

    /// The number that an instant query gives; 0 where it gives nothing.
    async fn number(&self, query: &str, at_ms: i64) -> Result<f64> {
        let time = format!("{:.3}", at_ms as f64 / 1000.0);
        let form = [("query", query), ("time", &time)];
        let answer = self.get("/api/v1/query", &form).await?;
        let value = answer["data"]["result"][0]["value"][1].as_str();
        Ok(value.and_then(|text| text.parse().ok()).unwrap_or(0.0))
    }
}

/// Both servers, empty.
struct Pair {
    ours: Server,
    theirs: Prometheus,
}

impl Pair {
    /// With these scrape configurations.
    fn start(name: &str, config: &str) -> Result<Self> {
        let ours = Server::start_with_files(name, QUIET, &[("telemetry/prometheus.yml", config)])?;
        let theirs = Prometheus::start(name, config)?;
        Ok(Self { ours, theirs })
    }

    fn sides(&self) -> [Side; 2] {
        let theirs = Side::of("Prometheus", self.theirs.url(), "none");
        [Side::ours(&self.ours), theirs]
    }

    fn pids(&self) -> [u32; 2] {
        [self.ours.pid, self.theirs.pid()]
    }

    /// Seconds of a processor of each.
    fn cpu(&self) -> [f64; 2] {
        self.pids().map(process::cpu)
    }

    /// Resident megabytes of each.
    fn resident(&self) -> [f64; 2] {
        self.pids()
            .map(|pid| super::peer::resident(pid) as f64 / 1e6)
    }
}

#[allow(clippy::disallowed_methods)] // the time of samples for programs that have no other clock
fn now_ms() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.map_or(0, |since| since.as_millis() as i64)
}

/// `1,234,567`.
fn grouped(number: f64) -> String {
    let digits = format!("{number:.0}");
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at) % 3 == 0 {
            text.push(',');
        }
        text.push(digit);
    }
    text
}
