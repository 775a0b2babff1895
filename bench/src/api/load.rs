//! Requests by 64 clients at once, each with a connection of its own.

use crate::stats::{Times, median};
use anyhow::{Result, bail};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

pub const CLIENTS: usize = 64;

/// One measured run.
pub struct Load {
    /// Requests a second.
    pub per_second: f64,
    /// Bytes of answers a second.
    pub bytes_per_second: f64,
    pub times: Times,
}

/// Medians of several runs.
pub struct Summary {
    pub rate: f64,
    pub p50: f64,
    pub p99: f64,
}

impl Summary {
    pub fn words(&self) -> String {
        let (rate, p50, p99) = (self.rate, self.p50, self.p99);
        format!("{rate:.0}/s, p50 {p50:.1} ms, p99 {p99:.1} ms")
    }
}

pub fn summary(runs: &[Load]) -> Summary {
    let of = |value: &dyn Fn(&Load) -> f64| median(runs.iter().map(value).collect());
    Summary {
        rate: of(&|run| run.per_second),
        p50: of(&|run| run.times.ms(0.5)),
        p99: of(&|run| run.times.ms(0.99)),
    }
}

pub fn client(token: &str) -> Result<reqwest::Client> {
    let mut headers = reqwest::header::HeaderMap::new();
    headers.insert("authorization", format!("Bearer {token}").parse()?);
    headers.insert("content-type", "application/json".parse()?);
    let builder = reqwest::Client::builder()
        .default_headers(headers)
        .no_proxy();
    // Both servers sign their own certificates; what is measured is loopback.
    Ok(builder
        .tls_danger_accept_invalid_certs(true)
        .timeout(Duration::from_secs(60))
        .build()?)
}

pub fn runtime() -> Result<tokio::runtime::Runtime> {
    Ok(tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?)
}

/// `count` requests by `clients` at once. The connections are there before the clock starts.
pub async fn load(
    (url, token): &(String, String),
    (clients, count): (usize, usize),
    request: impl Fn(&reqwest::Client, &str, usize) -> reqwest::RequestBuilder + Send + Sync + 'static,
) -> Result<Load> {
    let mut ready = Vec::new();
    for _ in 0..clients {
        ready.push(client(token)?);
    }
    let hello = ready.iter().map(|client| async {
        let answer = client.get(format!("{url}/version")).send().await?;
        anyhow::Ok(answer.bytes().await?)
    });
    futures::future::try_join_all(hello).await?;
    let (request, next) = (Arc::new(request), Arc::new(AtomicUsize::new(0)));
    let begin = Instant::now();
    let tasks = ready.into_iter().map(|client| {
        let (next, request) = (next.clone(), request.clone());
        async move {
            let (mut times, mut bytes) = (Vec::new(), 0);
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= count {
                    return anyhow::Ok((times, bytes));
                }
                let begin = Instant::now();
                let response = request(&client, url, number).send().await?;
                let status = response.status();
                let body = response.bytes().await?;
                if !status.is_success() {
                    let words = String::from_utf8_lossy(&body).into_owned();
                    bail!("request {number} was answered by {status}: {words}");
                }
                bytes += body.len();
                times.push(begin.elapsed());
            }
        }
    });
    let done = futures::future::try_join_all(tasks).await?;
    let seconds = begin.elapsed().as_secs_f64();
    let bytes: usize = done.iter().map(|(_, bytes)| bytes).sum();
    Ok(Load {
        per_second: count as f64 / seconds,
        bytes_per_second: bytes as f64 / seconds,
        times: Times::new(done.into_iter().flat_map(|(times, _)| times).collect()),
    })
}

/// A ConfigMap with 256 bytes of data.
pub fn body(name: &str, data: &str) -> String {
    let data = data.repeat(256 / data.len().max(1));
    format!(
        r#"{{"apiVersion":"v1","kind":"ConfigMap","metadata":{{"name":"{name}"}},"data":{{"k":"{data}"}}}}"#
    )
}

pub const MAPS: &str = "/api/v1/namespaces/default/configmaps";

/// Creates `count` ConfigMaps.
pub fn fill(url: &str, token: &str, count: usize) -> Result<()> {
    let create = |client: &reqwest::Client, url: &str, number: usize| {
        client
            .post(format!("{url}{MAPS}"))
            .body(body(&format!("fill-{number}"), "x"))
    };
    let side = (url.to_string(), token.to_string());
    runtime()?
        .block_on(load(&side, (CLIENTS, count), create))
        .map(drop)
}
