//! The real control plane: etcd and kube-apiserver of this run, on ports of their own.

use anyhow::{Context, Result, bail};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};
use xtask::{peers, step};

/// A running etcd and kube-apiserver; ended when dropped.
pub struct Control {
    children: Vec<Child>,
    programs: Vec<(&'static str, Vec<String>)>,
    dir: PathBuf,
    /// `https://…`.
    pub url: String,
}

/// Token of the peer's administrator.
pub const TOKEN: &str = "bench-admin";

impl Control {
    /// Starts both and waits until ready.
    pub fn start() -> Result<Self> {
        let dir = std::env::temp_dir().join(format!("towpath-peer-{}", std::process::id()));
        std::fs::create_dir_all(&dir)?;
        let port = |offset: u16| 20_000 + (std::process::id() % 10_000) as u16 + offset;
        let mut control = Self {
            children: Vec::new(),
            programs: Vec::new(),
            dir: dir.clone(),
            url: format!("https://127.0.0.1:{}", port(2)),
        };
        std::fs::write(
            dir.join("tokens.csv"),
            format!("{TOKEN},admin,1,system:masters\n"),
        )?;
        let key = dir.join("sa.key");
        step::output(
            step::program("openssl")
                .args(["genrsa", "-out"])
                .arg(&key)
                .arg("2048"),
        )?;
        let client = format!("http://127.0.0.1:{}", port(0));
        let peer = format!("http://127.0.0.1:{}", port(1));
        let data = dir.join("etcd").to_string_lossy().into_owned();
        control.spawn(
            "etcd",
            &[
                "--data-dir",
                &data,
                "--listen-client-urls",
                &client,
                "--advertise-client-urls",
                &client,
                "--listen-peer-urls",
                &peer,
                "--initial-advertise-peer-urls",
                &peer,
                "--initial-cluster",
                &format!("default={peer}"),
            ],
        )?;
        let text = |name: &str| dir.join(name).to_string_lossy().into_owned();
        control.spawn(
            "kube-apiserver",
            &[
                &format!("--etcd-servers={client}"),
                &format!("--cert-dir={}", text("certs")),
                "--service-account-issuer=https://kubernetes.default.svc",
                &format!("--service-account-signing-key-file={}", text("sa.key")),
                &format!("--service-account-key-file={}", text("sa.key")),
                &format!("--token-auth-file={}", text("tokens.csv")),
                "--authorization-mode=RBAC",
                "--bind-address=127.0.0.1",
                &format!("--secure-port={}", port(2)),
                "--service-cluster-ip-range=10.96.0.0/16",
            ],
        )?;
        control.wait()?;
        Ok(control)
    }

    /// Stops both and starts them again on their data; how long they took to get ready.
    pub fn restart(&mut self) -> Result<Duration> {
        self.stop();
        let begin = Instant::now();
        for (program, arguments) in std::mem::take(&mut self.programs) {
            let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
            self.spawn(program, &arguments)?;
        }
        self.wait()?;
        Ok(begin.elapsed())
    }

    fn stop(&mut self) {
        for mut child in self.children.drain(..).rev() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    fn spawn(&mut self, program: &'static str, arguments: &[&str]) -> Result<()> {
        let path = peers::dir().join(program);
        if !path.exists() {
            bail!("peer {program} is absent; build it with cargo xtask peers");
        }
        let log = std::fs::File::create(self.dir.join(format!("{program}.log")))?;
        let mut command = step::program(&path.to_string_lossy());
        command.args(arguments).stdout(Stdio::null()).stderr(log);
        self.children
            .push(command.spawn().with_context(|| program.to_string())?);
        let arguments = arguments.iter().map(|a| a.to_string()).collect();
        self.programs.push((program, arguments));
        Ok(())
    }

    fn wait(&self) -> Result<()> {
        let begin = Instant::now();
        let port = self.url.rsplit(':').next().unwrap_or_default();
        while begin.elapsed() < Duration::from_secs(60) {
            let mut curl = step::program("curl");
            curl.args([
                "-sk",
                "-H",
                &format!("Authorization: Bearer {TOKEN}"),
                &format!("https://127.0.0.1:{port}/readyz"),
            ]);
            if curl.output()?.stdout == b"ok" {
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        bail!("the peer did not get ready; see {}", self.dir.display());
    }

    /// Resident bytes of both.
    pub fn resident(&self) -> u64 {
        self.children.iter().map(|c| resident(c.id())).sum()
    }
}

impl Drop for Control {
    fn drop(&mut self) {
        self.stop();
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}

/// Resident bytes of a process.
pub fn resident(pid: u32) -> u64 {
    let status = std::fs::read_to_string(Path::new("/proc").join(pid.to_string()).join("status"))
        .unwrap_or_default();
    let line = status
        .lines()
        .find(|l| l.starts_with("VmRSS:"))
        .unwrap_or_default();
    line.split_whitespace()
        .nth(1)
        .and_then(|n| n.parse::<u64>().ok())
        .unwrap_or(0)
        << 10
}
