//! Removes what an instance has put into the kernel, also after the server was killed.

use crate::config::Config;
use anyhow::{Context, Result};

/// Stops all containers of the instance and removes interfaces, rules, mounts and cgroups.
pub async fn cleanup(config: &Config) -> Result<()> {
    // The address plays no part in what is removed.
    let node = super::node_config(config, std::net::Ipv4Addr::UNSPECIFIED.into())?;
    towpath_node::cleanup(&node)
        .await
        .context("stop the containers")?;
    towpath_build::cleanup(&super::build_runtime(config)?)
        .await
        .context("stop the steps of builds")?;
    let net = super::net_config(config)?;
    towpath_net::cleanup(&net)
        .await
        .context("remove the pod network")?;
    groups(config);
    Ok(())
}

// The parents that builds and pods had below them. Another instance's containers keep theirs:
// the kernel removes only what is empty.
fn groups(config: &Config) {
    let own = format!("towpath-{}", config.instance);
    for controller in std::fs::read_dir("/sys/fs/cgroup")
        .into_iter()
        .flatten()
        .flatten()
    {
        for name in ["towpath/build", "towpath", &own] {
            let _ = std::fs::remove_dir(controller.path().join(name));
        }
    }
}
