//! A Towpath of the bench's own, and what its start and its idling cost.

use super::peer::resident;
use super::report::Row;
use super::stats::median;
use anyhow::{Context, Result};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};
use xtask::step;

/// A running server with its own directory, ports and networks; stopped when dropped.
pub struct Server {
    flags: Vec<String>,
    dir: PathBuf,
    /// `https://…` of the Kubernetes API.
    pub api_url: String,
    /// `http://…`.
    pub url: String,
    /// Administrator's token.
    pub token: String,
    /// Milliseconds from start to ready, by its own clock.
    pub ready_ms: f64,
    /// Process id.
    pub pid: u32,
}

impl Server {
    /// Starts on an empty directory.
    pub fn start(name: &str) -> Result<Self> {
        Self::start_with(name, "")
    }

    /// Starts without what its peer does not do either: to collect and keep metrics.
    pub fn start_without_telemetry(name: &str) -> Result<Self> {
        Self::start_with(name, "[telemetry]\nenabled = false\n")
    }

    /// Starts with these settings.
    pub fn start_with(name: &str, settings: &str) -> Result<Self> {
        Self::start_with_files(name, settings, &[])
    }

    /// Starts with these settings and these files in its data.
    pub fn start_with_files(name: &str, settings: &str, files: &[(&str, &str)]) -> Result<Self> {
        // Several may run side by side.
        static STARTED: AtomicU32 = AtomicU32::new(0);
        let number = STARTED.fetch_add(1, Ordering::Relaxed);
        let id = (std::process::id() + number * 37) % 1000;
        let net = 240 + number % 6 * 2;
        let dir = std::env::temp_dir().join(format!("towpath-bench-{name}-{id}"));
        let port = 31_000 + (id as u16) * 3;
        let data = dir.join("data").to_string_lossy().into_owned();
        std::fs::create_dir_all(&dir).context("directory of the bench")?;
        for (path, text) in files {
            let path = dir.join("data").join(path);
            std::fs::create_dir_all(path.parent().unwrap_or(&dir))?;
            std::fs::write(&path, text).context("a file of the bench")?;
        }
        let config = dir.join("towpath.toml");
        std::fs::write(&config, settings).context("settings of the bench")?;
        let config = config.to_string_lossy().into_owned();
        let flags = [
            "--config",
            &config,
            "--data-dir",
            &data,
            "--instance",
            &format!("b{id}"),
            "--http",
            &format!("127.0.0.1:{port}"),
            "--api",
            &format!("127.0.0.1:{}", port + 1),
            "--ingress",
            &format!("127.0.0.1:{}", port + 2),
            "--pod-cidr",
            &format!("10.{net}.0.0/16"),
            "--service-cidr",
            &format!("10.{}.0.0/16", net + 1),
        ];
        let mut server = Self {
            flags: flags.iter().map(|f| f.to_string()).collect(),
            dir,
            api_url: String::new(),
            url: String::new(),
            token: String::new(),
            ready_ms: 0.0,
            pid: 0,
        };
        server.up()?;
        Ok(server)
    }

    /// Starts (again).
    pub fn up(&mut self) -> Result<()> {
        let begin = Instant::now();
        let text = self.towpath(&["up", "-o", "json"])?;
        self.ready_ms = begin.elapsed().as_secs_f64() * 1000.0;
        let state: serde_json::Value =
            serde_json::from_str(text.trim()).context("towpath up -o json")?;
        self.api_url = state["apiUrl"].as_str().unwrap_or_default().into();
        self.url = state["url"].as_str().unwrap_or_default().into();
        self.pid = state["pid"].as_u64().unwrap_or_default() as u32;
        self.token = self.towpath(&["token"])?.trim().into();
        Ok(())
    }

    /// As a crash would; returns when nothing of it runs any more.
    pub fn kill(&self) -> Result<()> {
        step::run(step::program("kill").args(["-9", &self.pid.to_string()]))?;
        while !is_dead(self.pid) {
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(())
    }

    /// Runs a command against it.
    pub fn towpath(&self, arguments: &[&str]) -> Result<String> {
        step::output(
            step::program(&super::binary())
                .args(arguments)
                .args(&self.flags),
        )
    }

    /// Directory for the bench's own files.
    pub fn dir(&self) -> &Path {
        &self.dir
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.towpath(&["down"]);
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}

/// Whether a process has ended with all its threads. How soon the first process of the machine
/// takes note of that is not its doing.
fn is_dead(pid: u32) -> bool {
    let stat = stat(pid);
    stat.is_empty() || stat[0] == "Z" && stat.get(17).is_some_and(|threads| threads == "1")
}

/// Hundredths of a second of a processor that a process has used.
pub fn cpu_ticks(pid: u32) -> u64 {
    let stat = stat(pid);
    let number = |at: usize| stat.get(at).and_then(|f| f.parse().ok()).unwrap_or(0);
    number(11) + number(12)
}

/// What the kernel tells of a process, from its state on; nothing once it is gone.
fn stat(pid: u32) -> Vec<String> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let told = stat.rsplit_once(") ").map_or("", |(_, told)| told);
    told.split_whitespace().map(str::to_owned).collect()
}

/// Percent of a core that a process uses over a while.
pub fn cpu_share(pid: u32, over: Duration) -> f64 {
    let (ticks, begin) = (cpu_ticks(pid), Instant::now());
    std::thread::sleep(over);
    (cpu_ticks(pid) - ticks) as f64 / 100.0 / begin.elapsed().as_secs_f64() * 100.0
}

/// Start empty, start with 10,000 objects, resident memory and CPU at rest.
pub fn bench(repeats: usize) -> Result<Vec<Row>> {
    let mut server = Server::start("start")?;
    let mut empty = vec![server.ready_ms];
    for _ in 1..repeats {
        server.towpath(&["down"])?;
        server.up()?;
        empty.push(server.ready_ms);
    }
    std::thread::sleep(Duration::from_secs(5));
    let share = cpu_share(server.pid, Duration::from_secs(20));
    let idle = resident(server.pid) as f64 / 1e6;
    super::api::fill(&server.api_url, &server.token, 10_000)?;
    let mut full = Vec::new();
    for _ in 0..repeats {
        server.towpath(&["down"])?;
        server.up()?;
        full.push(server.ready_ms);
    }
    let (empty, full) = (median(empty), median(full));
    Ok(vec![
        Row::new(
            "`towpath up` to ready, empty",
            format!("{empty:.0} ms"),
            "",
            "≤ 500 ms",
            empty <= 500.0,
        ),
        Row::new(
            "… with 10,000 objects",
            format!("{full:.0} ms"),
            "",
            "≤ 2,000 ms",
            full <= 2000.0,
        ),
        Row::new(
            "resident memory at rest, empty",
            format!("{idle:.0} MB"),
            "",
            "≤ 200 MB",
            idle <= 200.0,
        ),
        Row::new(
            "CPU at rest, of a core, empty",
            format!("{share:.2} %"),
            "",
            "< 1 %",
            share < 1.0,
        ),
    ])
}
