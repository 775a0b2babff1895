//! Requests in lanes: within a lane one after the other, so that times stay in order.

use super::Side;
use anyhow::{Result, bail};
use bytes::Bytes;
use std::time::{Duration, Instant};

/// As many as senders have shards.
const LANES: usize = 16;
/// How long a server may say "later".
const PATIENCE: Duration = Duration::from_secs(120);

/// Path and headers of a kind of request.
#[derive(Clone, Copy)]
pub struct Kind {
    pub path: &'static str,
    pub headers: &'static [(&'static str, &'static str)],
}

/// Remote write 1.0.
pub const REMOTE_WRITE: Kind = Kind {
    path: "/api/v1/write",
    headers: &[
        ("content-type", "application/x-protobuf"),
        ("content-encoding", "snappy"),
        ("x-prometheus-remote-write-version", "0.1.0"),
    ],
};

/// Sends rounds of bodies; the n-th of each round goes down the same lane. Times of the requests.
pub async fn all(side: &Side, kind: Kind, rounds: &[Vec<Bytes>]) -> Result<Vec<Duration>> {
    let lanes = (0..LANES).map(|lane| async move {
        let mut times = Vec::new();
        for round in rounds {
            for body in round.iter().skip(lane).step_by(LANES) {
                times.push(one(side, kind, body).await?);
            }
        }
        anyhow::Ok(times)
    });
    let done = futures::future::try_join_all(lanes).await?;
    Ok(done.into_iter().flatten().collect())
}

async fn one(side: &Side, kind: Kind, body: &Bytes) -> Result<Duration> {
    let begin = Instant::now();
    loop {
        let mut request = side.client.post(format!("{}{}", side.url, kind.path));
        for (name, value) in kind.headers {
            request = request.header(*name, *value);
        }
        let answer = request.body(body.clone()).send().await?;
        let status = answer.status();
        if status.is_success() {
            let _ = answer.bytes().await?;
            return Ok(begin.elapsed());
        }
        let words: String = answer.text().await?.chars().take(300).collect();
        if status != reqwest::StatusCode::TOO_MANY_REQUESTS || begin.elapsed() > PATIENCE {
            bail!("{} answered {status}: {words}", side.name);
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}
