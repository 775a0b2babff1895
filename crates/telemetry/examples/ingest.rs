//! What taking samples in costs, by hand, in processor time of everything but the senders:
//!
//! ```text
//! ingest scrape <targets> <seconds>   pages of 1000 series over HTTP, every second
//! ingest write <series> <rounds>      remote write 1.0 in requests of 2000 samples
//! ```

#![allow(clippy::unwrap_used, clippy::disallowed_methods, clippy::print_stdout)] // a tool

use std::fmt::Write as _;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use axum::body::Body;
use http::Request;
use tower::ServiceExt;
use towpath_daemon::CancellationToken;
use towpath_kit::traits::{Action, AuthError, Authenticator, Authorizer, Credential, Principal};
use towpath_signals::metrics::{Options, Store};
use towpath_stdx::{Clock, Secret, SystemClock};
use towpath_telemetry::door::Door;
use towpath_telemetry::receive::{RemoteWrite, router};
use towpath_telemetry::scrape::{Group, Pools, config};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

struct Doors;

#[async_trait]
impl Authenticator for Doors {
    async fn authenticate(&self, _: &Credential) -> Result<Principal, AuthError> {
        Ok(Principal::default())
    }

    fn mint(&self, _: &Principal, _: Duration) -> Secret {
        Secret::from(String::new())
    }
}

impl Authorizer for Doors {
    fn allowed(&self, _: &Principal, _: &Action) -> bool {
        true
    }
}

/// Seconds of a processor of all threads but those of this name.
fn cpu(but: &str) -> f64 {
    let mut ticks = 0;
    for task in std::fs::read_dir("/proc/self/task").unwrap() {
        let path = task.unwrap().path();
        let Ok(stat) = std::fs::read_to_string(path.join("schedstat")) else {
            continue;
        };
        let name = std::fs::read_to_string(path.join("comm")).unwrap_or_default();
        if name.trim() != but {
            ticks += stat.split(' ').next().unwrap().parse::<u64>().unwrap();
        }
    }
    ticks as f64 / 1e9
}

/// What a label of the series with a number is, and its value in a round: one in eleven moves.
fn series(at: usize, round: usize) -> (String, [(&'static str, String); 5], f64) {
    let name = format!("container_cpu_usage_{}_seconds_total", at / 12);
    let labels = [
        ("container", format!("server-{}", at % 3)),
        ("cpu", "total".to_owned()),
        ("id", format!("/kubepods/burstable/pod{:08x}", at * 7919)),
        ("namespace", format!("prod-{}", at % 7)),
        ("pod", format!("api-7f9c6d5b4-{:05}", at % 400)),
    ];
    let moving = if at.is_multiple_of(11) { round } else { 0 };
    (name, labels, (at * 100 + moving) as f64 / 100.0)
}

fn page(round: usize) -> String {
    let mut out = String::new();
    for at in 0..1000 {
        let (name, labels, value) = series(at, round);
        if at.is_multiple_of(12) {
            let _ = writeln!(out, "# HELP {name} Cumulative time.\n# TYPE {name} counter");
        }
        let pairs: Vec<String> = labels.iter().map(|(n, v)| format!("{n}=\"{v}\"")).collect();
        let _ = writeln!(out, "{name}{{{}}} {value}", pairs.join(","));
    }
    out
}

/// Answers with one page after the other.
fn pages(listener: &TcpListener, shown: &Arc<AtomicU64>) {
    let pages: Arc<Vec<String>> = Arc::new((0..13).map(page).collect());
    println!("{} bytes a page", pages[0].len());
    for stream in listener.incoming() {
        let (mut stream, pages, shown) = (stream.unwrap(), pages.clone(), shown.clone());
        let thread = std::thread::Builder::new().name("pages".to_owned());
        let answer = move || {
            let (mut buffer, mut turn) = (vec![0; 1 << 16], 0);
            while stream.read(&mut buffer).is_ok_and(|read| read > 0) {
                let page = &pages[turn % pages.len()];
                turn += 1;
                let length = page.len();
                let head = format!(
                    "HTTP/1.1 200 OK\r\ncontent-type: text/plain; version=0.0.4\r\n\
                     content-length: {length}\r\n\r\n"
                );
                let sent = stream.write_all(head.as_bytes());
                if sent
                    .and_then(|()| stream.write_all(page.as_bytes()))
                    .is_err()
                {
                    return;
                }
                shown.fetch_add(1, Ordering::Relaxed);
            }
        };
        thread.spawn(answer).unwrap();
    }
}

async fn scrape(store: Arc<Store>, clock: Arc<dyn Clock>, targets: usize, seconds: u64) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let shown = Arc::new(AtomicU64::new(0));
    let counted = shown.clone();
    let thread = std::thread::Builder::new().name("pages".to_owned());
    thread.spawn(move || pages(&listener, &shown)).unwrap();
    let text = "scrape_configs:\n- job_name: j\n  scrape_interval: 1s\n  scrape_timeout: 1s\n";
    let job = Arc::new(config::parse(text, Path::new(".")).unwrap().remove(0));
    let target = |number: usize| {
        let path = ("__metrics_path__".to_owned(), format!("/{number}"));
        let instance = ("instance".to_owned(), format!("node-{number}"));
        [("__address__".to_owned(), address.clone()), path, instance].into()
    };
    let group = Group {
        source: "tool".to_owned(),
        targets: (0..targets).map(target).collect(),
        labels: Default::default(),
    };
    let pools = Pools::new(store, clock, CancellationToken::new());
    pools.sync(&job, &[group]);
    tokio::time::sleep(Duration::from_secs(4)).await;
    let (used, before) = (cpu("pages"), counted.load(Ordering::Relaxed));
    tokio::time::sleep(Duration::from_secs(seconds)).await;
    let (used, after) = (cpu("pages") - used, counted.load(Ordering::Relaxed));
    let samples = (after - before) as f64 * 1000.0;
    println!("{:.0} samples a second of a processor", samples / used);
}

fn field(out: &mut Vec<u8>, number: u8, bytes: &[u8]) {
    out.push(number << 3 | 2);
    let mut length = bytes.len();
    while length >= 0x80 {
        out.push(length as u8 | 0x80);
        length >>= 7;
    }
    out.push(length as u8);
    out.extend_from_slice(bytes);
}

fn body(from: usize, count: usize, round: usize, at: i64) -> Vec<u8> {
    let mut out = Vec::new();
    for number in from..from + count {
        let (name, own, value) = series(number % 1000, round);
        let mut all = vec![("__name__", name)];
        all.extend(own);
        all.push(("instance", format!("node-{}", number / 1000)));
        all.push(("job", "bench".to_owned()));
        all.sort();
        let mut one = Vec::new();
        for (name, value) in all {
            let mut label = Vec::new();
            field(&mut label, 1, name.as_bytes());
            field(&mut label, 2, value.as_bytes());
            field(&mut one, 1, &label);
        }
        let mut sample = vec![9];
        sample.extend_from_slice(&value.to_le_bytes());
        sample.push(16);
        let mut time = at as u64;
        while time >= 0x80 {
            sample.push(time as u8 | 0x80);
            time >>= 7;
        }
        sample.push(time as u8);
        field(&mut one, 2, &sample);
        field(&mut out, 1, &one);
    }
    snap::raw::Encoder::new().compress_vec(&out).unwrap()
}

async fn write(store: Arc<Store>, clock: Arc<dyn Clock>, series: usize, rounds: usize) {
    let now = clock.since_epoch().as_millis() as i64;
    let doors = Arc::new(Doors);
    let door = Door {
        authenticator: doors.clone(),
        authorizer: doors,
    };
    let router = router(Arc::new(RemoteWrite::new(store, door, clock)));
    let mut used = 0.0;
    for round in 0..rounds {
        let at = now + (round as i64 - rounds as i64) * 15_000;
        let bodies: Vec<Vec<u8>> = (0..series / 2000)
            .map(|number| body(number * 2000, 2000, round, at))
            .collect();
        let begun = cpu("pages");
        let sent = bodies.into_iter().map(|body| {
            let request = Request::post("/prometheus/api/v1/write")
                .header("authorization", "Bearer x")
                .header("content-encoding", "snappy")
                .body(Body::from(body))
                .unwrap();
            router.clone().oneshot(request)
        });
        for answer in futures::future::join_all(sent).await {
            assert!(answer.unwrap().status().is_success());
        }
        if round > 0 {
            used += cpu("pages") - begun;
        }
    }
    let samples = (series / 2000 * 2000 * (rounds - 1)) as f64;
    println!("{:.0} samples a second of a processor", samples / used);
    println!(
        "{}",
        std::fs::read_to_string("/proc/self/status")
            .unwrap()
            .lines()
            .filter(|line| line.starts_with("VmRSS") || line.starts_with("VmHWM"))
            .collect::<Vec<_>>()
            .join(" ")
    );
}

#[tokio::main]
async fn main() {
    let args: Vec<String> = std::env::args().collect();
    let number = |at: usize| args[at].parse::<usize>().unwrap();
    let dir = tempfile::tempdir().unwrap();
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let options = Options {
        memory_bytes: 16 << 30,
        out_of_order_ms: 7_200_000,
        ..Options::new(clock.clone())
    };
    let store = Store::open(dir.path(), options).unwrap();
    match args[1].as_str() {
        "scrape" => scrape(store, clock, number(2), number(3) as u64).await,
        "write" => write(store, clock, number(2), number(3)).await,
        other => panic!("what is {other}?"),
    }
}
