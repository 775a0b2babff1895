//! Removes everything an instance has put into the kernel.

use crate::config::NetConfig;
use crate::error::Error;
use crate::pods::{link, namespace};
use crate::{nft, sysctl};

/// Removes links, rules, namespace mounts and address records of the instance, and puts changed
/// kernel settings back. Works without a running instance and after a crash half-way; goes on
/// past a failure and returns the first.
pub async fn cleanup(config: &NetConfig) -> Result<(), Error> {
    let mut first = None;
    let mut note = |result: Result<(), Error>| {
        if let Err(error) = result {
            tracing::warn!(error = error.chain(), "network clean-up");
            first.get_or_insert(error);
        }
    };
    note(links(config).await);
    note(namespaces(config));
    note(nft::remove(&config.table()).await);
    note(sysctl::release(&config.bridge()));
    first.map_or(Ok(()), Err)
}

async fn links(config: &NetConfig) -> Result<(), Error> {
    let handle = link::connect()?;
    for (name, _) in link::with_prefix(&handle, &config.veth_prefix()).await? {
        link::remove(&handle, &name).await?;
    }
    link::remove(&handle, &config.bridge()).await
}

fn namespaces(config: &NetConfig) -> Result<(), Error> {
    for (dir, pinned) in [(config.netns_dir(), true), (config.address_dir(), false)] {
        let entries = match std::fs::read_dir(&dir) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
            entries => entries.map_err(Error::file("read", &dir))?,
        };
        for entry in entries {
            let path = entry.map_err(Error::file("read", &dir))?.path();
            if pinned {
                namespace::remove(&path)?;
            } else {
                std::fs::remove_file(&path).map_err(Error::file("remove", &path))?;
            }
        }
    }
    Ok(())
}
