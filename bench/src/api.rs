//! Object writes and reads by 64 clients, beside kube-apiserver and etcd.

use super::peer::{Control, TOKEN};
use super::report::Row;
use super::server::Server;
use super::stats::{Times, median};
use anyhow::{Result, bail};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

const CLIENTS: usize = 64;
const WRITES: usize = 4000;

struct Load {
    per_second: f64,
    times: Times,
}

fn client(token: &str) -> Result<reqwest::Client> {
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

async fn load(
    url: &str,
    token: &str,
    count: usize,
    request: impl Fn(&reqwest::Client, &str, usize) -> reqwest::RequestBuilder + Send + Sync + 'static,
) -> Result<Load> {
    let request = Arc::new(request);
    let next = Arc::new(AtomicUsize::new(0));
    let begin = Instant::now();
    let mut tasks = Vec::new();
    for _ in 0..CLIENTS {
        let (client, next, request, url) = (
            client(token)?,
            next.clone(),
            request.clone(),
            url.to_string(),
        );
        tasks.push(async move {
            let mut times = Vec::new();
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= count {
                    return anyhow::Ok(times);
                }
                let begin = Instant::now();
                let response = request(&client, &url, number).send().await?;
                let status = response.status();
                response.bytes().await?;
                if !status.is_success() {
                    bail!("request {number} was answered by {status}");
                }
                times.push(begin.elapsed());
            }
        });
    }
    let done = futures::future::try_join_all(tasks).await?;
    let seconds = begin.elapsed().as_secs_f64();
    Ok(Load {
        per_second: count as f64 / seconds,
        times: Times::new(done.into_iter().flatten().collect()),
    })
}

fn body(name: &str) -> String {
    let data = "x".repeat(256);
    format!(
        r#"{{"apiVersion":"v1","kind":"ConfigMap","metadata":{{"name":"{name}"}},"data":{{"k":"{data}"}}}}"#
    )
}

fn runtime() -> Result<tokio::runtime::Runtime> {
    Ok(tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?)
}

/// Creates `count` ConfigMaps.
pub fn fill(url: &str, token: &str, count: usize) -> Result<()> {
    let create = |client: &reqwest::Client, url: &str, number: usize| {
        client
            .post(format!("{url}/api/v1/namespaces/default/configmaps"))
            .body(body(&format!("fill-{number}")))
    };
    runtime()?
        .block_on(load(url, token, count, create))
        .map(drop)
}

/// Creates, gets and lists on both, interleaved.
pub fn bench(repeats: usize) -> Result<Vec<Row>> {
    let runtime = runtime()?;
    let ours = Server::start("api")?;
    let peer = Control::start()?;
    let sides = [
        (ours.api_url.clone(), ours.token.clone()),
        (peer.url.clone(), TOKEN.to_string()),
    ];
    let mut writes: [Vec<Load>; 2] = Default::default();
    let mut reads: [Vec<Load>; 2] = Default::default();
    let mut lists: [Vec<Load>; 2] = Default::default();
    let fsync = super::disk::rate()?;
    for round in 0..repeats.min(3) {
        for (side, (url, token)) in sides.iter().enumerate() {
            let create = move |client: &reqwest::Client, url: &str, number: usize| {
                let name = format!("w{round}-{number}");
                client
                    .post(format!("{url}/api/v1/namespaces/default/configmaps"))
                    .body(body(&name))
            };
            writes[side].push(runtime.block_on(load(url, token, WRITES, create))?);
            let get = move |client: &reqwest::Client, url: &str, number: usize| {
                client.get(format!(
                    "{url}/api/v1/namespaces/default/configmaps/w{round}-{}",
                    number % WRITES
                ))
            };
            reads[side].push(runtime.block_on(load(url, token, WRITES * 2, get))?);
            let list = |client: &reqwest::Client, url: &str, _: usize| {
                client.get(format!(
                    "{url}/api/v1/namespaces/default/configmaps?limit=500"
                ))
            };
            lists[side].push(runtime.block_on(load(url, token, 300, list))?);
        }
    }
    let mut rows = vec![row("durable creates by 64 clients", &writes, "≥ 2×", 2.0)];
    let rate = median(writes[0].iter().map(|l| l.per_second).collect());
    let multiple = rate / fsync;
    rows.push(Row::new(
        "… against the disk's own rate with one writer",
        format!("{multiple:.1}× of {fsync:.0}/s"),
        "",
        "≥ 10×",
        multiple >= 10.0,
    ));
    rows.push(row("gets by 64 clients", &reads, "", 0.0));
    rows.push(row("lists of 500 by 64 clients", &lists, "", 0.0));
    let memory = [
        super::peer::resident(ours.pid) as f64 / 1e6,
        peer.resident() as f64 / 1e6,
    ];
    rows.push(Row::new(
        "resident memory after that",
        format!("{:.0} MB (whole platform)", memory[0]),
        format!("{:.0} MB (kube-apiserver + etcd)", memory[1]),
        "",
        true,
    ));
    Ok(rows)
}

fn row(what: &str, sides: &[Vec<Load>; 2], target: &str, least: f64) -> Row {
    let words = |side: &[Load]| {
        let rate = median(side.iter().map(|l| l.per_second).collect());
        let p50 = median(side.iter().map(|l| l.times.ms(0.5)).collect());
        let p99 = median(side.iter().map(|l| l.times.ms(0.99)).collect());
        (
            rate,
            format!("{rate:.0}/s, p50 {p50:.1} ms, p99 {p99:.1} ms"),
        )
    };
    let ((ours, our_words), (peer, peer_words)) = (words(&sides[0]), words(&sides[1]));
    let ratio = ours / peer;
    Row::new(
        what,
        format!("{our_words} (**{ratio:.1}×**)"),
        format!("{peer_words} (kube-apiserver + etcd)"),
        target,
        ratio >= least,
    )
}
