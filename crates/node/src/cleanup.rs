//! What is left behind when it should not be: pods that are gone from the API, and everything of
//! this instance on `down`.

use crate::agent::Agent;
use crate::config::NodeConfig;
use crate::error::Error;
use crate::pod::life;
use crate::pod::start::parse_id;
use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::Arc;
use towpath_container::{Runtime, RuntimeConfig, cgroup};

/// Removes what belongs to pods that are not in the API any more, at start.
pub(crate) async fn sweep(agent: &Arc<Agent>, live: &HashSet<String>) {
    // A kill in the middle of a start or a removal leaves a directory that is no container. Nothing
    // is started yet, so that none of them is one to be.
    for id in agent.runtime.remnants() {
        tracing::info!(id, "removing what is left of a container");
        if let Err(error) = agent.runtime.remove(&id).await {
            tracing::warn!(id, %error, "what is left of a container is not removed");
        }
    }
    let mut found: HashSet<String> = HashSet::new();
    found.extend(
        agent
            .runtime
            .list()
            .iter()
            .filter_map(|id| parse_id(id))
            .map(|(uid, _, _)| uid.to_string()),
    );
    for dir in ["pods", "logs"] {
        let entries = std::fs::read_dir(agent.config.data_dir.join(dir));
        found.extend(
            entries
                .into_iter()
                .flatten()
                .flatten()
                .filter_map(|e| e.file_name().into_string().ok()),
        );
    }
    let groups = cgroup::list(&agent.config.cgroup_parent);
    found.extend(
        groups
            .iter()
            .filter_map(|name| name.strip_prefix("pod"))
            .map(String::from),
    );
    for uid in found.difference(live) {
        tracing::info!(uid, "removing what a deleted pod left behind");
        life::teardown_uid(agent, uid).await;
        life::forget(agent, uid).await;
    }
}

/// Layers that containers on this node use.
pub(crate) fn layers_in_use(runtime: &Runtime) -> HashSet<PathBuf> {
    let specs = runtime
        .list()
        .into_iter()
        .filter_map(|id| runtime.find(&id).ok()?.spec().ok());
    specs.flat_map(|spec| spec.rootfs.lower).collect()
}

/// Ends every container of the instance with this configuration and removes its mounts, control
/// groups and pod files. Images and local volumes stay. Works without a server. Networks are the
/// pod network's to remove. Idempotent.
pub async fn cleanup(config: &NodeConfig) -> Result<(), Error> {
    let config = config.clone();
    let work = move || cleanup_blocking(&config);
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or_else(|_| Err(std::io::Error::other("panicked")))
        .map_err(Error::io("clean up node"))
}

// Goes on after a failure, so that as much as possible is gone; the first failure is told.
fn cleanup_blocking(config: &NodeConfig) -> std::io::Result<()> {
    let mut failed = Ok(());
    let mut tried = |result: std::io::Result<()>| {
        if failed.is_ok() {
            failed = result;
        }
    };
    let state_dir = config.data_dir.join("containers");
    if state_dir.exists() {
        // The program is not started: any file will do.
        let runtime = Runtime::new(RuntimeConfig {
            state_dir: state_dir.clone(),
            shim_exe: "/dev/null".into(),
            shim_args: Vec::new(),
            backend: config.backend.clone(),
        })
        .map_err(std::io::Error::other)?;
        for id in runtime.list() {
            if let Ok(container) = runtime.find(&id) {
                tried(container.remove_blocking());
            }
        }
    }
    tried(cgroup::remove(&config.cgroup_parent));
    let pods = config.data_dir.join("pods");
    for pod in std::fs::read_dir(&pods).into_iter().flatten().flatten() {
        tried(towpath_container::unpin_namespace(&pod.path().join("ipc")));
        tried(crate::volumes::remove(&pod.path().join("volumes")));
    }
    for dir in [pods, config.data_dir.join("logs"), state_dir] {
        tried(towpath_container::remove_tree(&dir));
    }
    failed
}
