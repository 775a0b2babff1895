//! The real Prometheus of this run, on a port and a directory of its own.

use anyhow::{Context, Result, bail};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};
use xtask::{peers, step};

/// A running Prometheus; ended when dropped.
pub struct Prometheus {
    child: Option<Child>,
    dir: PathBuf,
    port: u16,
}

impl Prometheus {
    /// Starts on an empty directory with this configuration and waits until ready.
    pub fn start(name: &str, config: &str) -> Result<Self> {
        let id = std::process::id();
        let dir = std::env::temp_dir().join(format!("prometheus-bench-{name}-{id}"));
        std::fs::create_dir_all(&dir)?;
        std::fs::write(dir.join("prometheus.yml"), config)?;
        let port = 20_000 + (id % 10_000) as u16;
        let mut server = Self {
            child: None,
            dir,
            port,
        };
        server.up()?;
        Ok(server)
    }

    /// Starts (again) and waits until ready; how long that took.
    pub fn up(&mut self) -> Result<Duration> {
        let path = peers::dir().join("prometheus");
        if !path.exists() {
            bail!("peer prometheus is absent; build it with cargo xtask peers");
        }
        let begin = Instant::now();
        let log = std::fs::File::create(self.dir.join("log"))?;
        let data = self.data();
        let mut command = step::program(&path.to_string_lossy());
        command
            .arg(format!(
                "--config.file={}",
                self.dir.join("prometheus.yml").display()
            ))
            .arg(format!("--storage.tsdb.path={}", data.display()))
            .args([
                "--storage.tsdb.retention.time=30d",
                "--web.enable-remote-write-receiver",
            ])
            .arg(format!("--web.listen-address=127.0.0.1:{}", self.port))
            .stdout(Stdio::null())
            .stderr(log);
        self.child = Some(command.spawn().context("prometheus")?);
        let url = format!("{}/-/ready", self.url());
        while begin.elapsed() < Duration::from_secs(600) {
            let mut curl = step::program("curl");
            curl.args(["-s", "-o", "/dev/null", "-w", "%{http_code}", &url]);
            if curl.output()?.stdout == b"200" {
                return Ok(begin.elapsed());
            }
            if let Some(child) = &mut self.child
                && let Some(status) = child.try_wait()?
            {
                bail!("prometheus ended with {status}; see {}", self.dir.display());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        bail!("prometheus did not get ready; see {}", self.dir.display());
    }

    /// `http://…`.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Where its blocks are.
    pub fn data(&self) -> PathBuf {
        self.dir.join("data")
    }

    /// Process id.
    pub fn pid(&self) -> u32 {
        self.child.as_ref().map_or(0, Child::id)
    }

    /// As a crash would.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        self.kill();
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}

/// Bytes of all blocks and the samples in them, as the blocks themselves say.
pub fn blocks(data: &Path) -> Result<(u64, u64)> {
    let (mut bytes, mut samples) = (0, 0);
    for entry in std::fs::read_dir(data)? {
        let path = entry?.path();
        let Ok(text) = std::fs::read_to_string(path.join("meta.json")) else {
            continue;
        };
        let meta: serde_json::Value = serde_json::from_str(&text)?;
        samples += meta["stats"]["numSamples"].as_u64().unwrap_or(0);
        bytes += super::process::disk(&path);
    }
    Ok((bytes, samples))
}
