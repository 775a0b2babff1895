//! A Towpath of a test's own.
//!
//! Ports and networks come from a counter shared by the tests of this process and the process
//! id, so that tests run side by side; dropping the server takes everything down.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

pub(crate) use towpath_testkit::{busybox, free_port};

static NEXT: AtomicU32 = AtomicU32::new(0);

/// A running server; stopped and removed when dropped.
pub(crate) struct Server {
    dir: PathBuf,
    flags: Vec<String>,
    /// `http://…`.
    pub(crate) url: String,
    /// Administrator's token.
    pub(crate) token: String,
}

#[allow(clippy::disallowed_methods)] // a test's own children
fn program(path: impl AsRef<std::ffi::OsStr>) -> Command {
    Command::new(path)
}

/// Whether this test may run here: root, and the peer that it needs. A full run (CI) fails
/// instead of skipping.
pub(crate) fn able(peer: Option<&str>) -> bool {
    let root = rustix::process::geteuid().is_root();
    let there = peer.is_none_or(|name| self::peer(name).exists());
    if root && there {
        return true;
    }
    let why = if root {
        format!("peer {} is absent", peer.unwrap_or_default())
    } else {
        "not root".into()
    };
    towpath_testkit::skip(&why);
    false
}

/// Path of a real peer, built by `cargo xtask peers`.
pub(crate) fn peer(name: &str) -> PathBuf {
    towpath_testkit::peer_directory().join(name)
}

impl Server {
    /// Starts one on an empty directory.
    pub(crate) fn start() -> Self {
        Self::start_with("", |_| {})
    }

    /// Starts one with settings beyond the flags (`towpath.toml`), once the data directory is
    /// prepared. What is mounted there goes with the server.
    pub(crate) fn start_with(settings: &str, prepare: impl FnOnce(&Path)) -> Self {
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let id = (std::process::id() % 5000) * 8 + number;
        let dir = std::env::temp_dir().join(format!("towpath-it-{id}"));
        let _ = std::fs::remove_dir_all(&dir);
        std::fs::create_dir_all(dir.join("data")).expect("directory");
        std::fs::write(dir.join("towpath.toml"), settings).expect("settings");
        prepare(&dir.join("data"));
        let (second, third) = (160 + (id / 64) % 60, (id % 64) * 4);
        let address = |port: u16| format!("127.0.0.1:{port}");
        let flags = [
            ("--config", dir.join("towpath.toml").display().to_string()),
            ("--data-dir", dir.join("data").display().to_string()),
            ("--http", address(free_port())),
            ("--api", address(free_port())),
            ("--ingress", address(free_port())),
            ("--instance", format!("t{id}")),
            ("--pod-cidr", format!("10.{second}.{third}.0/24")),
            ("--service-cidr", format!("10.{second}.{}.0/24", third + 1)),
        ];
        let flags: Vec<String> = flags
            .into_iter()
            .flat_map(|(name, value)| [name.to_string(), value])
            .collect();
        let mut server = Self {
            dir,
            flags,
            url: String::new(),
            token: String::new(),
        };
        server.url = server.ok(&["up", "--quiet"]).trim().to_string();
        server.token = server.ok(&["token"]).trim().to_string();
        server
    }

    /// Directory for the test's own files.
    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    /// The server's data directory.
    pub(crate) fn data(&self) -> PathBuf {
        self.dir.join("data")
    }

    /// What tells its interfaces, control groups and rules apart.
    pub(crate) fn instance(&self) -> &str {
        let at = self.flags.iter().position(|f| f == "--instance");
        at.map_or("", |at| &self.flags[at + 1])
    }

    /// Takes everything down, as a test's last act; the directory goes when dropped.
    pub(crate) fn down(&self) {
        self.ok(&["down"]);
    }

    /// Runs a command of the CLI.
    pub(crate) fn run(&self, arguments: &[&str]) -> Output {
        let mut command = program(env!("CARGO_BIN_EXE_towpath"));
        command
            .args(arguments)
            .args(&self.flags)
            .env_remove("TOWPATH_SERVER")
            .output()
            .expect("towpath starts")
    }

    /// Starts a command that goes on, and the file that it prints to. The test ends it.
    pub(crate) fn following(&self, arguments: &[&str]) -> (std::process::Child, PathBuf) {
        let output = self.dir.join("followed");
        let file = std::fs::File::create(&output).expect("file");
        let mut command = program(env!("CARGO_BIN_EXE_towpath"));
        command
            .args(arguments)
            .args(&self.flags)
            .env_remove("TOWPATH_SERVER")
            .stdout(file);
        (command.spawn().expect("towpath starts"), output)
    }

    /// Runs a command that must succeed; returns its standard output.
    pub(crate) fn ok(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        let words = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(
            output.status.success(),
            "towpath {arguments:?}: {}\n{words}\n{}",
            output.status,
            self.log()
        );
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// Last lines of the server's own log.
    pub(crate) fn log(&self) -> String {
        let text =
            std::fs::read_to_string(self.dir.join("data/log/server.log")).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(30)..].join("\n")
    }

    /// The real kubectl, as this server's administrator.
    pub(crate) fn kubectl(&self, arguments: &[&str]) -> Output {
        let mut command = self.kubectl_command(arguments);
        command.output().expect("kubectl starts")
    }

    /// kubectl that has yet to be started.
    pub(crate) fn kubectl_command(&self, arguments: &[&str]) -> Command {
        let mut command = program(peer("kubectl"));
        command
            .env("KUBECONFIG", self.dir.join("data/kubeconfig"))
            .env("HOME", &self.dir);
        command.args(arguments);
        command
    }

    /// kubectl that must succeed; returns its standard output.
    pub(crate) fn kubectl_ok(&self, arguments: &[&str]) -> String {
        let output = self.kubectl(arguments);
        let words = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(
            output.status.success(),
            "kubectl {arguments:?}: {words}\n{}",
            self.log()
        );
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// Another real program (helm), as this server's administrator.
    pub(crate) fn tool(&self, name: &str, arguments: &[&str]) -> Output {
        let mut command = program(peer(name));
        command
            .env("KUBECONFIG", self.dir.join("data/kubeconfig"))
            .env("HOME", &self.dir);
        command
            .args(arguments)
            .output()
            .expect("the program starts")
    }

    /// A line of shell in the test's directory, with the real programs in its path.
    fn line(&self, line: &str) -> Output {
        let path = std::env::var("PATH").unwrap_or_default();
        let peers = peer("").canonicalize().unwrap_or_default();
        let mut command = program("sh");
        command
            .args(["-c", line])
            .current_dir(&self.dir)
            .env("PATH", format!("{}:{path}", peers.display()))
            .env("KUBECONFIG", self.dir.join("data/kubeconfig"))
            .env("HOME", &self.dir);
        command.output().expect("sh")
    }

    /// The same; it must succeed. Returns its standard output.
    pub(crate) fn shell(&self, line: &str) -> String {
        let output = self.line(line);
        let words = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{line}: {words}\n{}", self.log());
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// Writes a file for the test and returns its path.
    pub(crate) fn file(&self, name: &str, text: &str) -> String {
        let path = self.dir.join(name);
        std::fs::write(&path, text).expect("write");
        path.display().to_string()
    }

    /// Kills the server as a crash would, and starts it again.
    pub(crate) fn kill_and_restart(&self) {
        self.kill();
        self.ok(&["up", "--quiet"]);
    }

    /// Process id of the server.
    pub(crate) fn pid(&self) -> i32 {
        let text = std::fs::read_to_string(self.dir.join("data/server.json")).expect("server.json");
        let state: serde_json::Value = serde_json::from_str(&text).expect("JSON");
        let pid = state["pid"].as_i64();
        pid.and_then(|p| i32::try_from(p).ok()).expect("pid")
    }

    /// SIGKILL.
    pub(crate) fn kill(&self) {
        let pid = rustix::process::Pid::from_raw(self.pid()).expect("pid");
        let descriptor =
            rustix::process::pidfd_open(pid, rustix::process::PidfdFlags::empty()).expect("pidfd");
        rustix::process::pidfd_send_signal(&descriptor, rustix::process::Signal::KILL)
            .expect("kill");
        // Readable once the process is gone and its ports are free.
        let mut ended = [rustix::event::PollFd::new(
            &descriptor,
            rustix::event::PollFlags::IN,
        )];
        rustix::event::poll(&mut ended, None).expect("poll");
    }
}

impl Server {
    /// What a pod may wait for, as the cluster says it: shown where a test fails.
    fn cluster(&self) -> String {
        let taints = "jsonpath={range .items[*]}{.metadata.name} {.spec.taints} \
                      {.status.conditions[?(@.status==\"True\")].message}{\"\\n\"}{end}";
        let questions: [&[&str]; 3] = [
            &["get", "nodes", "-o", taints],
            &["get", "pods", "-A", "-o", "wide"],
            &["get", "events", "-A", "--field-selector", "type=Warning"],
        ];
        let mut words = String::new();
        for question in questions {
            let mut command = self.kubectl_command(question);
            let Ok(output) = command.arg("--request-timeout=5s").output() else {
                continue;
            };
            let text = String::from_utf8_lossy(&output.stdout).into_owned();
            let lines: Vec<&str> = text.lines().collect();
            words += &lines[lines.len().saturating_sub(20)..].join("\n");
            words.push('\n');
        }
        words
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{}", self.cluster());
        }
        let output = self.run(&["down"]);
        if !output.status.success() {
            eprintln!("towpath down: {}", String::from_utf8_lossy(&output.stderr));
        }
        // Roles of components are complete, whatever a test does.
        let log = std::fs::read_to_string(self.data().join("log/server.log")).unwrap_or_default();
        let denied: Vec<&str> = log
            .lines()
            .filter(|line| line.contains("a component was denied"))
            .take(5)
            .collect();
        // A small disk that a test has put there.
        let _ = rustix::mount::unmount(self.data(), rustix::mount::UnmountFlags::DETACH);
        let _ = std::fs::remove_dir_all(&self.dir);
        assert!(
            denied.is_empty() || std::thread::panicking(),
            "components lack rights: {denied:#?}"
        );
    }
}

/// Waits until `probe` holds.
pub(crate) fn until(what: &str, limit: Duration, mut probe: impl FnMut() -> bool) {
    let begin = Instant::now();
    while !probe() {
        assert!(
            begin.elapsed() < limit,
            "{what} did not happen within {limit:?}"
        );
        std::thread::sleep(Duration::from_millis(100));
    }
}
