//! What runs here, for who shows the kernel's figures of it.

use crate::agent::{Agent, PodHandle};
use crate::pod::model::State;
use crate::pod::start::{instance_dir, parse_id};
use k8s_openapi::api::core::v1::PodSpec;
use k8s_openapi::jiff::Timestamp;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use towpath_kit::traits::{ClockState, ContainerStats, RunningContainer, RunningPod};

/// The running containers of a node.
pub(crate) struct Runs(pub(crate) Arc<Agent>);

impl Runs {
    fn pod(&self, handle: &PodHandle) -> Option<RunningPod> {
        let agent = &self.0;
        let model = handle.model();
        let cgroup = agent.pod_cgroup(&handle.uid);
        let running = model.containers.into_iter().filter_map(|container| {
            let State::Running { since } = container.state else {
                return None;
            };
            let attempt = parse_id(&container.id).map(|(_, _, attempt)| attempt);
            let dir = attempt.map(|n| instance_dir(agent, &handle.uid, &container.name, n));
            Some(RunningContainer {
                cgroup: format!("{cgroup}/{}", container.id),
                written: dir.map(|dir| dir.join("upper")),
                log: attempt.map(|n| agent.log_file(&handle.uid, &container.name, n)),
                started: epoch(since),
                name: container.name,
                id: container.id,
                image: container.image,
                image_id: container.image_id,
            })
        });
        let containers: Vec<_> = running.collect();
        let spec = handle.pod().spec.clone().unwrap_or_default();
        (!containers.is_empty()).then(|| RunningPod {
            namespace: handle.key.namespace.clone(),
            name: handle.key.name.clone(),
            uid: handle.uid.clone(),
            started: model.started.map(epoch),
            cgroup,
            own_network: spec.host_network != Some(true),
            claims: claims(handle, &spec),
            containers,
        })
    }
}

// Claims of a pod and where they are mounted from.
fn claims(handle: &PodHandle, spec: &PodSpec) -> Vec<(String, PathBuf)> {
    let mounted = handle.volumes.lock();
    let volumes = spec.volumes.iter().flatten();
    let claimed = volumes.filter_map(|volume| {
        let name = match (&volume.persistent_volume_claim, &volume.ephemeral) {
            (Some(claim), _) => claim.claim_name.clone(),
            (None, Some(_)) => format!("{}-{}", handle.key.name, volume.name),
            (None, None) => return None,
        };
        Some((name, mounted.get(&volume.name)?.path.clone()))
    });
    claimed.collect()
}

fn epoch(at: Timestamp) -> Duration {
    Duration::from_millis(u64::try_from(at.as_millisecond()).unwrap_or(0))
}

impl ContainerStats for Runs {
    fn node(&self) -> String {
        self.0.config.name.clone()
    }

    fn running(&self) -> Vec<RunningPod> {
        let handles: Vec<_> = self.0.pods.lock().values().cloned().collect();
        let mut pods: Vec<_> = handles.iter().filter_map(|h| self.pod(h)).collect();
        pods.sort_by(|a, b| (&a.namespace, &a.name).cmp(&(&b.namespace, &b.name)));
        pods
    }

    fn clock(&self) -> Option<ClockState> {
        // SAFETY: the structure is plain numbers, for which zero is a value; with no mode set the
        // call changes nothing and fills the structure, which outlives it.
        let (answer, timex) = unsafe {
            let mut timex: libc::timex = std::mem::zeroed();
            (libc::adjtimex(&mut timex), timex)
        };
        (answer >= 0).then_some(ClockState {
            answer,
            status: timex.status,
            offset: timex.offset,
            frequency: timex.freq,
            maximum_error_us: timex.maxerror,
            estimated_error_us: timex.esterror,
            loop_constant: timex.constant,
            tick_us: timex.tick,
            tai_seconds: timex.tai,
        })
    }
}
