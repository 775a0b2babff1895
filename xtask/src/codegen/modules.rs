//! Go modules on disk, through the Go tool's own download and cache.

use anyhow::{Context, Result};
use std::path::PathBuf;
use std::time::Duration;

/// Settings of the Go tool that a user may need for it to reach a proxy.
const PASSED: [&str; 12] = [
    "HOME",
    "GOPATH",
    "GOMODCACHE",
    "GOPROXY",
    "GONOSUMDB",
    "GONOSUMCHECK",
    "GOFLAGS",
    "GOSUMDB",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "NO_PROXY",
    "SSL_CERT_FILE",
];

/// The directory that holds `module` (`path@version`), downloaded when missing.
pub(super) fn directory(module: &str) -> Result<PathBuf> {
    let mut command = towpath_stdx::process::command("go");
    command.args(["mod", "download", "-json", module]);
    command.current_dir(std::env::temp_dir());
    for name in PASSED {
        if let Some(value) = std::env::var_os(name) {
            command.env(name, value);
        }
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let output = runtime
        .block_on(towpath_stdx::process::run(
            command,
            Duration::from_secs(300),
            1 << 20,
        ))
        .and_then(|output| output.success("go mod download"))
        .with_context(|| format!("download {module}"))?;
    let answer: serde_json::Value = serde_json::from_slice(&output).context("parse go's answer")?;
    answer["Dir"]
        .as_str()
        .map(PathBuf::from)
        .with_context(|| format!("{module}: no directory"))
}
