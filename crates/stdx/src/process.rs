//! The one place that starts programs: a clean environment, no standard input, killed when
//! dropped, output and time bounded.
//!
//! No user text is ever passed as an option: callers put `--` or `--end-of-options` before the
//! first argument that came from outside, and validate it against its grammar first.

use std::ffi::OsStr;
use std::io;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::Command;

/// What a finished program said.
#[derive(Debug)]
pub struct Output {
    /// Exit code; `None` where a signal ended it.
    pub code: Option<i32>,
    /// Standard output, cut at the limit.
    pub stdout: Vec<u8>,
    /// Standard error, cut at 64 KiB.
    pub stderr: Vec<u8>,
}

impl Output {
    /// Standard output of a success, or an error with the program's last words.
    pub fn success(self, what: &str) -> io::Result<Vec<u8>> {
        if self.code == Some(0) {
            return Ok(self.stdout);
        }
        let words = String::from_utf8_lossy(&self.stderr);
        let status = self
            .code
            .map_or("a signal".to_string(), |code| format!("exit code {code}"));
        Err(io::Error::other(format!(
            "{what} ended with {status}: {}",
            words.trim()
        )))
    }
}

/// A command with nothing inherited but `PATH`; add what it needs.
#[allow(clippy::disallowed_methods)] // the one constructor
pub fn command(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(program);
    command
        .env_clear()
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    command.env(
        "PATH",
        std::env::var_os("PATH").unwrap_or_else(|| "/usr/sbin:/usr/bin:/sbin:/bin".into()),
    );
    command.env("LC_ALL", "C.UTF-8");
    command
}

/// Runs to the end within `limit`, with at most `stdout_bytes` of output kept.
pub async fn run(mut command: Command, limit: Duration, stdout_bytes: u64) -> io::Result<Output> {
    let mut child = command.spawn()?;
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    let work = async {
        let (stdout, stderr) = tokio::join!(drain(stdout, stdout_bytes), drain(stderr, 64 << 10));
        let status = child.wait().await?;
        Ok(Output {
            code: status.code(),
            stdout: stdout?,
            stderr: stderr?,
        })
    };
    match tokio::time::timeout(limit, work).await {
        Ok(result) => result,
        Err(_) => Err(io::Error::new(
            io::ErrorKind::TimedOut,
            format!("still running after {limit:?}"),
        )),
    }
}

// Keeps the first `limit` bytes and reads on, so that the program never blocks on a full pipe.
async fn drain(pipe: Option<impl AsyncRead + Unpin>, limit: u64) -> io::Result<Vec<u8>> {
    let mut kept = Vec::new();
    if let Some(mut pipe) = pipe {
        (&mut pipe).take(limit).read_to_end(&mut kept).await?;
        tokio::io::copy(&mut pipe, &mut tokio::io::sink()).await?;
    }
    Ok(kept)
}

/// Finds a program in `PATH`.
pub fn find(program: &str) -> Option<std::path::PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .map(|dir| dir.join(program))
        .find(|file| is_executable(file))
}

fn is_executable(file: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    file.metadata()
        .is_ok_and(|m| m.is_file() && m.permissions().mode() & 0o111 != 0)
}
