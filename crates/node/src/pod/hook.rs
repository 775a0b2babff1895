//! Commands in a running container for probes and hooks, and the hooks themselves.

use super::http;
use k8s_openapi::api::core::v1::{Container, LifecycleHandler};
use std::time::Duration;
use tokio::io::AsyncReadExt;
use towpath_container::ExecStdio;

const OUTPUT_BYTES: u64 = 10 << 10;

/// Runs a command in a container; an error carries what it said. Killed at the limit.
pub(crate) async fn exec(
    running: &towpath_container::Container,
    command: Vec<String>,
    limit: Duration,
) -> Result<(), String> {
    let words = |error: towpath_container::Error| crate::error::words(&error);
    let mut process = running.spec().map_err(words)?.process;
    process.args = command;
    process.terminal = false;
    let work = async {
        let stdio = ExecStdio {
            stdin: false,
            stdout: true,
            stderr: true,
        };
        let mut exec = running.exec(process, stdio).await.map_err(words)?;
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let (stdout, stderr) = (exec.stdout.take(), exec.stderr.take());
        let read = async |pipe: Option<towpath_container::Pipe>, into: &mut Vec<u8>| {
            if let Some(mut pipe) = pipe {
                let _ = (&mut pipe).take(OUTPUT_BYTES).read_to_end(into).await;
                let _ = tokio::io::copy(&mut pipe, &mut tokio::io::sink()).await;
            }
        };
        tokio::join!(read(stdout, &mut out), read(stderr, &mut err));
        let exit = exec.wait().await.map_err(words)?;
        if exit.code == 0 {
            return Ok(());
        }
        out.extend(err);
        let said = String::from_utf8_lossy(&out).trim().to_string();
        Err(if said.is_empty() {
            format!("command ended with {exit}")
        } else {
            said
        })
    };
    match tokio::time::timeout(limit, work).await {
        Ok(result) => result,
        Err(_) => Err(format!("command timed out after {limit:?}")),
    }
}

/// Runs a lifecycle hook within the limit.
pub(crate) async fn run(
    handler: &LifecycleHandler,
    container: &Container,
    running: &towpath_container::Container,
    ip: &str,
    limit: Duration,
) -> Result<(), String> {
    if let Some(action) = &handler.exec {
        return exec(running, action.command.clone().unwrap_or_default(), limit).await;
    }
    if let Some(action) = &handler.http_get {
        return http::get(action, container, ip, limit, "kube-lifecycle/1.36").await;
    }
    if let Some(action) = &handler.sleep {
        let wanted = Duration::from_secs(action.seconds.max(0) as u64);
        tokio::time::sleep(wanted.min(limit)).await;
        return Ok(());
    }
    Err("hook is of a kind this node does not have: exec, httpGet and sleep are supported".into())
}
