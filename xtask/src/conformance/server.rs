//! A Towpath of the run's own, with directories, ports and networks beside any other's.

use crate::step;
use anyhow::{Context, Result};
use std::path::PathBuf;
use std::process::Command;

/// A running server; stopped when dropped.
pub(super) struct Server {
    binary: PathBuf,
    flags: Vec<String>,
    dir: PathBuf,
    keep: bool,
    /// Host and port of its registry.
    pub(super) registry: String,
    /// Administrator's token.
    pub(super) token: String,
}

impl Server {
    /// Builds where no binary is given, and starts on an empty directory.
    pub(super) fn start(binary: Option<PathBuf>, keep: bool) -> Result<Self> {
        let binary = match binary {
            Some(binary) => std::path::absolute(binary)?,
            None => {
                let build = ["build", "--locked", "--release", "--package", "towpath"];
                step::run(step::cargo().args(build))?;
                let target = std::env::var("CARGO_TARGET_DIR").unwrap_or_else(|_| "target".into());
                std::path::absolute(format!("{target}/release/towpath"))?
            }
        };
        let dir = std::env::temp_dir().join("towpath-conformance");
        let http = free_address();
        let flags = [
            ("--data-dir", dir.join("data").display().to_string()),
            ("--http", http.clone()),
            ("--api", free_address()),
            ("--ingress", free_address()),
            ("--instance", "conform".into()),
            ("--pod-cidr", "10.150.0.0/16".into()),
            ("--service-cidr", "10.151.0.0/16".into()),
        ];
        let flags = flags
            .into_iter()
            .flat_map(|(name, value)| [name.to_string(), value])
            .collect();
        let mut server = Self {
            binary,
            flags,
            dir,
            keep,
            registry: http,
            token: String::new(),
        };
        // What an earlier run left.
        let _ = server.towpath(&["down"]).output();
        if server.dir.exists() {
            std::fs::remove_dir_all(&server.dir)
                .with_context(|| server.dir.display().to_string())?;
        }
        std::fs::create_dir_all(&server.dir)?;
        step::run(&mut server.towpath(&["up", "--timeout", "60"]))?;
        let token = step::output(&mut server.towpath(&["token"]))?;
        server.token = token.trim().into();
        Ok(server)
    }

    fn towpath(&self, arguments: &[&str]) -> Command {
        let mut command = step::program(&self.binary.to_string_lossy());
        command.args(arguments).args(&self.flags);
        command.env_remove("TOWPATH_SERVER");
        command
    }

    /// The administrator's kubeconfig.
    pub(super) fn kubeconfig(&self) -> Result<PathBuf> {
        let path = step::output(&mut self.towpath(&["kubeconfig", "--path"]))?;
        Ok(path.trim().into())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if self.keep {
            eprintln!("left: towpath status {}", self.flags.join(" "));
            return;
        }
        if let Err(error) = step::run(&mut self.towpath(&["down"])) {
            eprintln!("{error:#}");
        }
    }
}

fn free_address() -> String {
    format!("127.0.0.1:{}", towpath_testkit::free_port())
}
