//! From changes of objects to the pods they concern.

use crate::agent::{Agent, PodEvent, PodHandle};
use crate::caches::Caches;
use crate::disk::Disk;
use crate::pod::life;
use crate::{cleanup, evict, register, volumes};
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use towpath_daemon::ServiceContext;
use towpath_kit::cache::{Change, Key};
use towpath_kit::events::Events;

const COLLECT: Duration = Duration::from_secs(3600);

/// Runs the agent until cancelled.
pub(crate) async fn run(
    agent: Arc<Agent>,
    events: Option<mpsc::Receiver<PodEvent>>,
    mut context: ServiceContext,
) -> Result<(), String> {
    let cancel = context.cancel.clone();
    let _ = agent.cancel.set(cancel.clone());
    let words = |error: crate::Error| crate::error::words(&error);
    register::register(&agent).await.map_err(words)?;
    let caches = Caches::start(&agent.client, &agent.config.name, &cancel);
    caches.ready().await;
    let _ = agent.caches.set(caches.clone());
    let live: HashSet<String> = caches
        .pods
        .all()
        .iter()
        .filter_map(|pod| pod.uid())
        .collect();
    cleanup::sweep(&agent, &live).await;
    connect(&agent, &caches);
    context.ready();
    let work = async {
        tokio::join!(
            register::heartbeat(agent.clone()),
            record(&agent, events),
            collect(&agent),
            evict::run(agent.clone())
        );
    };
    tokio::select! {
        () = cancel.cancelled() => {}
        () = work => {}
    }
    Ok(())
}

fn connect(agent: &Arc<Agent>, caches: &Caches) {
    let own = agent.clone();
    caches
        .pods
        .on_change(move |change| pod_changed(&own, change));
    let own = agent.clone();
    caches
        .config_maps
        .on_change(move |change| source_changed(&own, change.key, Kind::ConfigMap));
    let own = agent.clone();
    caches
        .secrets
        .on_change(move |change| source_changed(&own, change.key, Kind::Secret));
    let own = agent.clone();
    caches
        .claims
        .on_change(move |change| source_changed(&own, change.key, Kind::Claim));
    let own = agent.clone();
    caches.volumes.on_change(move |_| all_sources_changed(&own));
}

fn pod_changed(agent: &Arc<Agent>, change: &Change<'_, Pod>) {
    // A pod made again under the same name is another pod.
    let gone = match (change.old, change.new) {
        (Some(old), None) => Some(old),
        (Some(old), Some(new)) if old.uid() != new.uid() => Some(old),
        _ => None,
    };
    if let Some(old) = gone
        && let Some(handle) = agent.pod(&old.uid().unwrap_or_default())
    {
        handle.object.send_replace((old.clone(), true));
    }
    let Some(pod) = change.new else { return };
    let Some(uid) = pod.uid() else { return };
    if let Some(handle) = agent.pod(&uid) {
        let (before, _) = handle.object.borrow().clone();
        handle.object.send_replace((pod.clone(), false));
        if before.metadata.labels != pod.metadata.labels
            || before.metadata.annotations != pod.metadata.annotations
        {
            handle.source_changed();
        }
        return;
    }
    let handle = Arc::new(PodHandle::new(pod.clone()));
    agent.pods.lock().insert(uid, handle.clone());
    towpath_daemon::spawn(
        format!("pod {}", handle.key),
        life::run(agent.clone(), handle),
    );
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    ConfigMap,
    Secret,
    Claim,
}

fn source_changed(agent: &Agent, key: &Key, kind: Kind) {
    let handles: Vec<_> = agent.pods.lock().values().cloned().collect();
    for handle in handles
        .iter()
        .filter(|handle| handle.key.namespace == key.namespace)
    {
        if kind == Kind::Claim || refers(&handle.pod(), key, kind) {
            handle.source_changed();
        }
    }
}

fn all_sources_changed(agent: &Agent) {
    let handles: Vec<_> = agent.pods.lock().values().cloned().collect();
    handles.iter().for_each(|handle| handle.source_changed());
}

// Whether a pod's volumes or environment read the object.
fn refers(pod: &Pod, key: &Key, kind: Kind) -> bool {
    let Some(spec) = &pod.spec else { return false };
    let in_volume = spec.volumes.iter().flatten().any(|volume| {
        let (maps, secrets) = volumes::projected::reads(volume);
        let names = if kind == Kind::ConfigMap {
            maps
        } else {
            secrets
        };
        names.contains(&key.name.as_str())
    });
    let containers = || {
        spec.containers
            .iter()
            .chain(spec.init_containers.iter().flatten())
    };
    let in_env = containers()
        .flat_map(|c| c.env.iter().flatten())
        .filter_map(|var| var.value_from.as_ref())
        .any(|from| match kind {
            Kind::ConfigMap => from
                .config_map_key_ref
                .as_ref()
                .is_some_and(|r| r.name == key.name),
            _ => from
                .secret_key_ref
                .as_ref()
                .is_some_and(|r| r.name == key.name),
        });
    let in_env_from =
        containers()
            .flat_map(|c| c.env_from.iter().flatten())
            .any(|from| match kind {
                Kind::ConfigMap => from
                    .config_map_ref
                    .as_ref()
                    .is_some_and(|r| r.name == key.name),
                _ => from.secret_ref.as_ref().is_some_and(|r| r.name == key.name),
            });
    in_volume || in_env || in_env_from
}

async fn record(agent: &Agent, events: Option<mpsc::Receiver<PodEvent>>) {
    let recorder = Events::new(agent.client.clone(), "kubelet");
    let Some(mut events) = events else {
        return std::future::pending().await;
    };
    while let Some(event) = events.recv().await {
        let PodEvent {
            about,
            warning,
            reason,
            note,
        } = event;
        if warning {
            recorder.warning(&about, reason, reason, note).await;
        } else {
            recorder.normal(&about, reason, reason, note).await;
        }
    }
}

// Removes layers nobody needs, hourly: images of pods that exist stay, and all images while the
// disk has room.
async fn collect(agent: &Arc<Agent>) {
    loop {
        tokio::time::sleep(COLLECT).await;
        let crowded = Disk::of(&agent.config.data_dir).is_some_and(Disk::crowded);
        let wanted: HashSet<String> = agent
            .caches()
            .pods
            .all()
            .iter()
            .flat_map(|pod| {
                pod.spec
                    .iter()
                    .flat_map(|s| {
                        s.containers
                            .iter()
                            .chain(s.init_containers.iter().flatten())
                    })
                    .filter_map(|c| c.image.clone())
                    .collect::<Vec<_>>()
            })
            .collect();
        let own = agent.clone();
        let work = move || {
            let used = cleanup::layers_in_use(&own.runtime);
            own.images.collect(
                &|ready| !crowded || wanted.contains(&ready.reference),
                &used,
            )
        };
        match tokio::task::spawn_blocking(work).await {
            Ok(0) | Err(_) => {}
            Ok(gone) => tracing::info!(layers = gone, "removed layers no image needs"),
        }
    }
}
