//! Pods that fill the disk are ended and named: those over their own limit for ephemeral
//! storage, and, when the disk itself runs full, the one that uses most.
//!
//! The kernel has no event for bytes used below a directory, so one timer looks, and only where
//! a pod has a limit or the disk is nearly full.

use crate::agent::{Agent, PodHandle};
use crate::disk::Disk;
use crate::{quantity, resources};
use k8s_openapi::api::core::v1::Pod;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

const LOOK: Duration = Duration::from_secs(5);

/// Looks until cancelled.
pub(crate) async fn run(agent: Arc<Agent>) {
    loop {
        tokio::time::sleep(LOOK).await;
        let full = Disk::of(&agent.config.data_dir).is_some_and(Disk::full);
        let handles: Vec<_> = agent.pods.lock().values().cloned().collect();
        let limited: Vec<_> = handles
            .iter()
            .map(|handle| (handle.clone(), limit(&handle.pod())))
            .filter(|(_, limit)| full || limit.is_some())
            .collect();
        if limited.is_empty() {
            continue;
        }
        let own = agent.clone();
        let measure = move || {
            limited
                .into_iter()
                .map(|(handle, limit)| (used(&own, &handle), handle, limit))
                .collect::<Vec<_>>()
        };
        let Ok(mut measured) = tokio::task::spawn_blocking(measure).await else {
            continue;
        };
        measured.sort_by_key(|(used, _, _)| std::cmp::Reverse(*used));
        for (used, handle, limit) in &measured {
            if let Some(limit) = limit.filter(|limit| used > limit) {
                evict(
                    &agent,
                    handle,
                    format!(
                        "Pod ephemeral local storage usage exceeds the total limit of containers {limit}: {used} bytes are in use. "
                    ),
                );
            }
        }
        if full && let Some((used, handle, _)) = measured.first() {
            evict(
                &agent,
                handle,
                format!(
                    "The node was low on resource: ephemeral-storage. The pod was using {used} bytes, more than any other. "
                ),
            );
        }
    }
}

/// Sum of the containers' limits, where all have one.
fn limit(pod: &Pod) -> Option<u64> {
    let spec = pod.spec.as_ref()?;
    let one = |container: &k8s_openapi::api::core::v1::Container| {
        let limit = resources::limit(&container.resources, "ephemeral-storage")?;
        quantity::whole(&limit).and_then(|bytes| u64::try_from(bytes).ok())
    };
    spec.containers.iter().map(one).sum()
}

fn used(agent: &Agent, handle: &PodHandle) -> u64 {
    bytes_below(&agent.pod_dir(&handle.uid)) + bytes_below(&agent.log_dir(&handle.uid))
}

// Bytes on this directory's own file system: what is mounted below, such as memory volumes, is
// not disk.
fn bytes_below(dir: &Path) -> u64 {
    let Ok(device) = std::fs::symlink_metadata(dir).map(|stat| stat.dev()) else {
        return 0;
    };
    let (mut open, mut sum) = (vec![dir.to_path_buf()], 0);
    while let Some(at) = open.pop() {
        for entry in std::fs::read_dir(at).into_iter().flatten().flatten() {
            let Ok(stat) = entry.metadata() else { continue };
            if stat.dev() != device {
                continue;
            }
            sum += stat.blocks() * 512;
            if stat.is_dir() {
                open.push(entry.path());
            }
        }
    }
    sum
}

fn evict(agent: &Agent, handle: &PodHandle, message: String) {
    let mut told = false;
    handle.update(|model| {
        if model.failed.is_none() && !model.finished {
            model.failed = Some(("Evicted".into(), message.clone()));
            told = true;
        }
    });
    if told {
        agent.event(&handle.pod(), None, true, "Evicted", message);
        handle.evict.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_pod_has_a_limit_where_all_its_containers_have() {
        let pod = |limits: &[Option<&str>]| -> Pod {
            let containers: Vec<_> = limits.iter().map(|l| json!({ "name": "c", "resources": { "limits": l.map(|l| json!({ "ephemeral-storage": l })) } })).collect();
            serde_json::from_value(json!({ "metadata": {}, "spec": { "containers": containers } }))
                .expect("pod")
        };
        assert_eq!(limit(&pod(&[Some("1Mi"), Some("1Mi")])), Some(2 << 20));
        assert_eq!(limit(&pod(&[Some("1Mi"), None])), None);
    }

    #[test]
    fn bytes_are_counted_below() {
        let dir = tempfile::tempdir().expect("temporary directory");
        std::fs::create_dir(dir.path().join("d")).expect("directory");
        std::fs::write(dir.path().join("d/f"), vec![1; 100_000]).expect("write");
        assert!((100_000..300_000).contains(&bytes_below(dir.path())));
    }
}
