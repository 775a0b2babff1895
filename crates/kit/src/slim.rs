//! What controllers look at of objects that there are many of.

use k8s_openapi::api::core::v1::Pod;

/// A pod without what only the node that runs it reads: commands, environment, probes, mounts.
pub fn pod(pod: &mut Pod) {
    let Some(spec) = &mut pod.spec else { return };
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
