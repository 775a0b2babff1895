//! Pages of many targets, scraped by both servers at once as often as configured.

use super::record::Line;
use super::{PEER, Pair, grouped, now_ms};
use crate::api::runtime;
use crate::report::Row;
use crate::scaled;
use anyhow::{Result, bail};
use std::fmt::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// Series in a page.
const PAGE: usize = 1000;
/// Targets at full size.
const TARGETS: usize = 1000;
/// Pages that follow one another, so that values move.
const PAGES: usize = 13;
const SECONDS: u64 = 40;

/// What the targets have shown to each side.
#[derive(Default)]
struct Shown([AtomicU64; 2]);

pub fn bench(_repeats: usize) -> Result<Vec<Row>> {
    let lines = super::lines()?;
    let pages = Arc::new(pages(lines));
    let targets = scaled(TARGETS).max(5);
    let runtime = runtime()?;
    let shown = Arc::new(Shown::default());
    let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0"))?;
    let port = listener.local_addr()?.port();
    runtime.spawn(serve(listener, pages.clone(), shown.clone()));
    let mut config = String::from(
        "global: {scrape_interval: 2s, scrape_timeout: 2s}\nscrape_configs:\n- job_name: bench\n  static_configs:\n",
    );
    for number in 0..targets {
        let labels = format!("{{__metrics_path__: /{number}, instance: node-{number}}}");
        let _ = writeln!(
            config,
            "  - {{targets: ['127.0.0.1:{port}'], labels: {labels}}}"
        );
    }
    let pair = Pair::start("scrape", &config)?;
    std::thread::sleep(Duration::from_secs(6));
    let read = || [0, 1].map(|side: usize| shown.0[side].load(Ordering::Relaxed) as f64);
    let (cpu, count) = (pair.cpu(), read());
    std::thread::sleep(Duration::from_secs(SECONDS));
    let (cpu_after, count_after) = (pair.cpu(), read());
    let up = pair.sides().map(|side| {
        runtime
            .block_on(side.number("sum(up{job=\"bench\"})", now_ms()))
            .unwrap_or(0.0)
    });
    if up.iter().any(|up| *up < targets as f64 * 0.95) {
        bail!("of {targets} targets {} and {} are up", up[0], up[1]);
    }
    let samples = PAGE.min(lines.len()) as f64;
    let [ours, theirs] = [0, 1].map(|side| {
        let scraped = (count_after[side] - count[side]) * samples;
        scraped / (cpu_after[side] - cpu[side])
    });
    let ratio = ours / theirs;
    let bytes = pages.iter().map(Vec::len).sum::<usize>() as f64 / pages.len() as f64;
    Ok(vec![Row::new(
        "scrape, samples per second of a processor",
        format!(
            "{} (**{ratio:.1}×**; {targets} targets of {samples:.0} series every 2 s, {:.0} MB/s of text per core)",
            grouped(ours),
            ours / samples * bytes / 1e6
        ),
        format!("{} {PEER}", grouped(theirs)),
        "≥ 3×",
        ratio >= 3.0,
    )])
}

/// The recorded series as an exporter would show them, one page for each time.
fn pages(lines: &[Line]) -> Vec<Vec<u8>> {
    let set = ["job", "instance", "__name__"];
    let stride = (lines.len() / PAGE).max(1);
    (0..PAGES)
        .map(|turn| {
            let (mut text, mut last) = (String::new(), "");
            for line in lines.iter().step_by(stride).take(PAGE) {
                if line.name() != last {
                    last = line.name();
                    let kind = if last.ends_with("_total") {
                        "counter"
                    } else {
                        "gauge"
                    };
                    let _ = writeln!(text, "# HELP {last} What it counts.\n# TYPE {last} {kind}");
                }
                text.push_str(last);
                let own = line
                    .labels
                    .iter()
                    .filter(|(name, _)| !set.contains(&name.as_str()));
                for (at, (name, value)) in own.enumerate() {
                    let value = value
                        .replace('\\', "\\\\")
                        .replace('"', "\\\"")
                        .replace('\n', "\\n");
                    let _ = write!(
                        text,
                        "{}{name}=\"{value}\"",
                        if at == 0 { "{" } else { "," }
                    );
                }
                if line.labels.len() > set.len() || !text.ends_with(last) {
                    text.push('}');
                }
                let value = line.values[turn % line.values.len()];
                let _ = writeln!(text, " {value}");
            }
            text.into_bytes()
        })
        .collect()
}

#[allow(clippy::disallowed_methods)] // a client of the bench, not a part of a server
async fn serve(listener: TcpListener, pages: Arc<Vec<Vec<u8>>>, shown: Arc<Shown>) {
    while let Ok((stream, _)) = listener.accept().await {
        let (pages, shown) = (pages.clone(), shown.clone());
        tokio::spawn(async move {
            let _ = connection(stream, &pages, &shown).await;
        });
    }
}

/// Answers requests one after the other, in the barest HTTP.
async fn connection(mut stream: TcpStream, pages: &[Vec<u8>], shown: &Shown) -> Result<()> {
    let (mut buffer, mut turn) = (Vec::new(), 0);
    loop {
        while memchr::memmem::find(&buffer, b"\r\n\r\n").is_none() {
            if stream.read_buf(&mut buffer).await? == 0 || buffer.len() > 1 << 16 {
                return Ok(());
            }
        }
        let theirs = memchr::memmem::find(&buffer, b"Prometheus/").is_some();
        buffer.clear();
        let page = &pages[turn % pages.len()];
        turn += 1;
        let head = format!(
            "HTTP/1.1 200 OK\r\ncontent-type: text/plain; version=0.0.4; charset=utf-8\r\ncontent-length: {}\r\n\r\n",
            page.len()
        );
        stream.write_all(head.as_bytes()).await?;
        stream.write_all(page).await?;
        shown.0[usize::from(theirs)].fetch_add(1, Ordering::Relaxed);
    }
}
