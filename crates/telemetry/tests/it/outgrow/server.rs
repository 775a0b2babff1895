//! Servers: the real one as a process, and routers here behind a port.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use super::until;

/// The real server; `None`, said loudly, where it is not built.
pub(crate) fn program() -> Option<PathBuf> {
    towpath_testkit::peer("prometheus")
}

/// A real Prometheus on a directory.
pub(crate) struct Prometheus {
    child: Child,
    pub(crate) base: String,
}

impl Prometheus {
    /// Starts it; the port stays the same for a directory.
    pub(crate) fn start(program: &Path, dir: &Path, config: &str, flags: &[&str]) -> Self {
        std::fs::write(dir.join("prometheus.yml"), config).unwrap();
        let kept = std::fs::read_to_string(dir.join("port")).ok();
        let port: u16 = match kept {
            Some(port) => port.parse().unwrap(),
            None => towpath_testkit::free_port(),
        };
        std::fs::write(dir.join("port"), port.to_string()).unwrap();
        let log = std::fs::File::options()
            .create(true)
            .append(true)
            .open(dir.join("log"))
            .unwrap();
        #[allow(clippy::disallowed_methods)] // the peer is a program of its own
        let child = Command::new(program)
            .arg(format!("--config.file={}/prometheus.yml", dir.display()))
            .arg(format!("--storage.tsdb.path={}/data", dir.display()))
            .arg(format!("--web.listen-address=127.0.0.1:{port}"))
            .args(flags)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("the peer runs");
        let own = Self {
            child,
            base: format!("http://127.0.0.1:{port}"),
        };
        until("the peer is ready", || {
            try_get(&own.base, "/-/ready", "").is_some_and(|(status, _)| status == 200)
        });
        own
    }

    /// Ends it without a warning.
    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Puts a router behind a port of its own.
pub(crate) async fn serve(router: axum::Router) -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    towpath_daemon::spawn("test server", async move {
        axum::serve(listener, router).await.unwrap();
    });
    base
}

/// Status and body of a GET.
pub(crate) fn get(base: &str, path: &str) -> (u16, String) {
    try_get(base, path, "").expect("an answer")
}

/// The same, with a token.
pub(crate) fn get_as(base: &str, path: &str, token: &str) -> (u16, String) {
    let header = format!("Authorization: Bearer {token}\r\n");
    try_get(base, path, &header).expect("an answer")
}

pub(crate) fn try_get(base: &str, path: &str, header: &str) -> Option<(u16, String)> {
    let (host, folder) = base.strip_prefix("http://")?.split_once('/').map_or_else(
        || {
            (
                base.strip_prefix("http://").unwrap_or_default(),
                String::new(),
            )
        },
        |(host, folder)| (host, format!("/{folder}")),
    );
    let mut stream = TcpStream::connect(host).ok()?;
    stream
        .set_read_timeout(Some(Duration::from_secs(60)))
        .ok()?;
    // Version 1.0: the answer ends with the connection.
    let request = format!("GET {folder}{path} HTTP/1.0\r\nHost: {host}\r\n{header}\r\n");
    stream.write_all(request.as_bytes()).ok()?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).ok()?;
    let answer = String::from_utf8_lossy(&answer).into_owned();
    let (head, body) = answer.split_once("\r\n\r\n")?;
    let status = head.split(' ').nth(1)?.parse().ok()?;
    Some((status, body.to_owned()))
}
