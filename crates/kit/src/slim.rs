//! What controllers look at of objects that there are many of.

use k8s_openapi::api::core::v1::Pod;

/// A pod without what only the node that runs it reads: commands, environment, probes, mounts,
/// and volumes that are no claims.
pub fn pod(pod: &mut Pod) {
    let Some(spec) = &mut pod.spec else { return };
    if let Some(volumes) = &mut spec.volumes {
        volumes.retain(|v| v.persistent_volume_claim.is_some() || v.ephemeral.is_some());
        volumes.shrink_to_fit();
    }
    let init = spec.init_containers.iter_mut().flatten();
    for container in spec.containers.iter_mut().chain(init) {
        container.command = None;
        container.args = None;
        container.env = None;
        container.env_from = None;
        container.lifecycle = None;
        container.liveness_probe = None;
        container.readiness_probe = None;
        container.startup_probe = None;
        container.volume_devices = None;
        container.volume_mounts = None;
    }
}
