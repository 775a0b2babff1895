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
    let net = super::net_config(config)?;
    towpath_net::cleanup(&net)
        .await
        .context("remove the pod network")?;
    Ok(())
}
