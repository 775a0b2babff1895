//! The Kubernetes API beside kube-apiserver and etcd: the same client, sides in turn, each side's
//! server started for this bench alone.

mod apply;
mod load;
mod objects;
mod pods;
mod start;
mod watchers;

pub use load::{client, fill, runtime};

use super::peer::{Control, TOKEN};
use super::report::Row;
use super::server::Server;
use anyhow::Result;
use load::Load;

const PEER: &str = "(kube-apiserver + etcd)";

/// Both servers.
struct Pair {
    ours: Server,
    theirs: Control,
}

impl Pair {
    fn start(name: &str) -> Result<Self> {
        Ok(Self {
            ours: Server::start_without_telemetry(name)?,
            theirs: Control::start()?,
        })
    }

    /// Address and token of each.
    fn sides(&self) -> [(String, String); 2] {
        [
            (self.ours.api_url.clone(), self.ours.token.clone()),
            (self.theirs.url.clone(), TOKEN.to_string()),
        ]
    }

    /// Resident megabytes of each.
    fn resident(&self) -> [f64; 2] {
        let ours = super::peer::resident(self.ours.pid);
        [ours as f64 / 1e6, self.theirs.resident() as f64 / 1e6]
    }
}

/// All measurements, one after the other; one that fails is named in its row.
pub fn bench(repeats: usize) -> Result<Vec<Row>> {
    let parts: [(&str, super::Bench); 5] = [
        ("objects", objects::bench),
        ("watchers", watchers::bench),
        ("pods", pods::bench),
        ("apply", apply::bench),
        ("start", start::bench),
    ];
    let mut rows = Vec::new();
    for (name, part) in parts.into_iter().filter(|(name, _)| super::wanted(name)) {
        eprintln!("bench api {name}");
        match part(repeats) {
            Ok(found) => rows.extend(found),
            Err(error) => {
                eprintln!("bench api {name}: {error:#}");
                rows.push(Row::failed(&format!("api {name}"), &error));
            }
        }
    }
    Ok(rows)
}

/// What a target asks of ours against theirs.
#[derive(Clone, Copy)]
struct Target {
    text: &'static str,
    /// Least ratio of rates.
    rate: f64,
    /// Largest ratio of the 99th percentiles.
    p99: f64,
}

fn row(what: &str, sides: &[Vec<Load>; 2], target: Target) -> Row {
    let (ours, theirs) = (load::summary(&sides[0]), load::summary(&sides[1]));
    let (rate, p99) = (ours.rate / theirs.rate, ours.p99 / theirs.p99);
    Row::new(
        what,
        format!("{} (**{rate:.1}×**, p99 {p99:.2}×)", ours.words()),
        format!("{} {PEER}", theirs.words()),
        target.text,
        rate >= target.rate && p99 <= target.p99,
    )
}
