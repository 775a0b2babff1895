//! From a push to new pods Ready, and what the whole platform holds while the sample runs.

use super::peer::resident;
use super::report::Row;
use super::server::{Server, cpu_share};
use super::stats::Times;
use anyhow::{Result, bail};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use xtask::{demo, step};

/// The sample with PostgreSQL and Redis in `dev`, beside it a service whose own compile and test
/// take no time, so that its pushes cost what Towpath costs.
pub fn bench(repeats: usize) -> Result<Vec<Row>> {
    let server = Server::start("push")?;
    server.towpath(&["apply", "-f", "examples/hello/towpath.yaml"])?;
    for (folder, tag) in demo::IMAGES {
        eprintln!("  image {tag}");
        server.towpath(&["build", &format!("examples/images/{folder}"), "--tag", tag])?;
    }
    let hello = Work::new(&server, "hello", "examples/hello")?;
    eprintln!("  the sample's first push");
    hello.push("dev")?;
    std::thread::sleep(Duration::from_secs(10));
    let share = cpu_share(server.pid, Duration::from_secs(20));
    let memory = resident(server.pid) as f64 / 1e6;
    let shims = shims(&server)?;
    let shim = shims.iter().copied().fold(0.0, f64::max);
    let mut rows = vec![
        Row::new(
            "resident memory at rest, everything on, the sample running",
            format!("{memory:.0} MB"),
            "",
            "≤ 200 MB",
            memory <= 200.0,
        ),
        Row::new(
            "… each container's shim, largest",
            format!("{shim:.1} MB of {}", shims.len()),
            "",
            "≤ 4 MB",
            shim <= 4.0,
        ),
        Row::new(
            "CPU at rest, of a core, the sample running",
            format!("{share:.2} %"),
            "",
            "< 1 %",
            share < 1.0,
        ),
    ];
    server.towpath(&["apply", "-f", "bench/little/towpath.yaml"])?;
    let little = Work::new(&server, "little", "bench/little")?;
    little.push("dev")?;
    let mut times = Vec::new();
    for round in 0..repeats.max(3) {
        let page = little.dir.join("www/index.html");
        std::fs::write(page, format!("round {round}\n"))?;
        let before = pods(&server)?;
        let begin = Instant::now();
        little.commit_and_push(&format!("Round {round}"))?;
        while !replaced(&pods(&server)?, &before) {
            if begin.elapsed() > Duration::from_secs(120) {
                bail!("the pods of round {round} did not get Ready");
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        times.push(begin.elapsed());
    }
    let times = Times::new(times);
    let (p50, worst) = (times.ms(0.5) / 1000.0, times.ms(1.0) / 1000.0);
    rows.push(Row::new(
        "push of a one-line change → new pods Ready, four jobs and a roll of three pods",
        format!("p50 {p50:.1} s, longest {worst:.1} s"),
        "",
        "≤ 5 s",
        p50 <= 5.0,
    ));
    Ok(rows)
}

/// A user's working copy.
struct Work<'a> {
    server: &'a Server,
    name: &'static str,
    dir: PathBuf,
}

impl<'a> Work<'a> {
    fn new(server: &'a Server, name: &'static str, from: &str) -> Result<Self> {
        let dir = server.dir().join(name);
        std::fs::create_dir_all(&dir)?;
        demo::copy(Path::new(from), &dir)?;
        let work = Self { server, name, dir };
        work.git(&["init", "--quiet", "--initial-branch", "main"])?;
        work.commit("First")?;
        Ok(work)
    }

    fn git(&self, arguments: &[&str]) -> Result<String> {
        step::output(
            step::program("git")
                .arg("-C")
                .arg(&self.dir)
                .args(["-c", "user.name=Bench"])
                .args(["-c", "user.email=bench@example.org"])
                .args(arguments),
        )
    }

    fn commit(&self, message: &str) -> Result<()> {
        self.git(&["add", "--all"])?;
        self.git(&["commit", "--quiet", "--message", message])
            .map(drop)
    }

    fn commit_and_push(&self, message: &str) -> Result<()> {
        self.commit(message)?;
        let dir = self.dir.to_string_lossy();
        self.server
            .towpath(&["push", "-C", &dir, "--repo", self.name])
            .map(drop)
    }

    fn push(&self, stage: &str) -> Result<()> {
        let dir = self.dir.to_string_lossy();
        let words = [
            "push", "-C", &dir, "--repo", self.name, "--to", stage, "--wait",
        ];
        self.server.towpath(&words).map(drop)
    }
}

/// Names of the pods of the little service that are Ready, and whether any other is there.
struct Pods {
    ready: Vec<String>,
    others: bool,
}

fn pods(server: &Server) -> Result<Pods> {
    let url = format!("{}/k8s/api/v1/namespaces/little-dev/pods", server.url);
    let header = format!("Authorization: Bearer {}", server.token);
    let text = step::output(step::program("curl").args(["-sf", "-H", &header, &url]))?;
    let list: Value = serde_json::from_str(&text)?;
    let (mut ready, mut others) = (Vec::new(), false);
    for pod in list["items"].as_array().into_iter().flatten() {
        let conditions = pod["status"]["conditions"].as_array();
        let is_ready = conditions
            .into_iter()
            .flatten()
            .any(|c| c["type"] == "Ready" && c["status"] == "True");
        if is_ready && pod["metadata"]["deletionTimestamp"].is_null() {
            ready.push(pod["metadata"]["name"].to_string());
        } else if pod["metadata"]["deletionTimestamp"].is_null() {
            others = true;
        }
    }
    Ok(Pods { ready, others })
}

fn replaced(now: &Pods, before: &Pods) -> bool {
    now.ready.len() == 3 && !now.others && now.ready.iter().all(|name| !before.ready.contains(name))
}

/// Resident megabytes of this server's shims.
fn shims(server: &Server) -> Result<Vec<f64>> {
    let mut found = Vec::new();
    let place = server.dir().to_string_lossy().into_owned();
    for process in std::fs::read_dir("/proc")?.flatten() {
        let Ok(pid) = process.file_name().to_string_lossy().parse::<u32>() else {
            continue;
        };
        let line = std::fs::read(process.path().join("cmdline")).unwrap_or_default();
        let line = String::from_utf8_lossy(&line);
        if line.split('\0').any(|word| word == "shim") && line.contains(&place) {
            found.push(resident(pid) as f64 / 1e6);
        }
    }
    if found.is_empty() {
        bail!("no shim is running");
    }
    Ok(found)
}
