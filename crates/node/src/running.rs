//! What runs here, for who shows the kernel's figures of it.

use crate::agent::{Agent, PodHandle};
use crate::pod::model::State;
use crate::pod::start::{instance_dir, parse_id};
use crate::quantity;
use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim, PodSpec};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::jiff::Timestamp;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use towpath_kit::cache::Key;
use towpath_kit::traits::{ClockState, ContainerStats, RunningClaim, RunningContainer, RunningPod};

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
            claims: self.claims(handle, &spec),
            containers,
        })
    }

    // Claims of a pod and where they are mounted from.
    fn claims(&self, handle: &PodHandle, spec: &PodSpec) -> Vec<RunningClaim> {
        let caches = self.0.caches();
        let mounted = handle.volumes.lock();
        let volumes = spec.volumes.iter().flatten();
        let claimed = volumes.filter_map(|volume| {
            let name = match (&volume.persistent_volume_claim, &volume.ephemeral) {
                (Some(claim), _) => claim.claim_name.clone(),
                (None, Some(_)) => format!("{}-{}", handle.key.name, volume.name),
                (None, None) => return None,
            };
            let claim = caches.claims.get(&Key::new(&handle.key.namespace, &name));
            let bound = claim
                .as_ref()
                .and_then(|c| c.spec.as_ref()?.volume_name.clone());
            let object = bound.and_then(|bound| caches.volumes.get(&Key::new("", &bound)));
            Some(RunningClaim {
                dir: mounted.get(&volume.name)?.path.clone(),
                capacity: claim.and_then(|claim| capacity(&claim, object.as_deref())),
                volume: volume.name.clone(),
                claim: name,
            })
        });
        claimed.collect()
    }
}

/// What was promised: the claim's own figure, else its volume's.
fn capacity(claim: &PersistentVolumeClaim, volume: Option<&PersistentVolume>) -> Option<u64> {
    let of = |map: Option<&BTreeMap<String, Quantity>>| quantity::whole(map?.get("storage")?);
    let claimed = of(claim.status.as_ref().and_then(|s| s.capacity.as_ref()));
    let made = || of(volume?.spec.as_ref()?.capacity.as_ref());
    let bytes = claimed.or_else(made)?;
    u64::try_from(bytes).ok().filter(|bytes| *bytes > 0)
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
