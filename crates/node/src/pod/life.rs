//! A pod from its first sight to its last deletion.

use super::container::{Restart, Task};
use super::model::{ContainerModel, PodModel};
use super::{Stop, StopOrders, publish, start};
use crate::agent::{Agent, PodHandle, now};
use crate::error::words;
use crate::files;
use crate::volumes;
use k8s_openapi::api::core::v1::{Container, ContainerStatus, Pod, PodSpec};
use kube::Api;
use kube::api::{DeleteParams, Preconditions};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::Instant;
use towpath_container::cgroup;

/// Runs a pod. Returns when it is gone from the API, or when the agent stops: then its
/// containers go on.
pub(crate) async fn run(agent: Arc<Agent>, handle: Arc<PodHandle>) {
    let (written, is_written) = watch::channel(0);
    let cancel = agent.cancel();
    tokio::select! {
        () = cancel.cancelled() => {}
        () = life(&agent, &handle, written, is_written) => {
            agent.pods.lock().remove(&handle.uid);
        }
    }
}

async fn life(
    agent: &Arc<Agent>,
    handle: &Arc<PodHandle>,
    written: watch::Sender<u64>,
    mut is_written: watch::Receiver<u64>,
) {
    let pod = handle.pod();
    let phase = pod
        .status
        .as_ref()
        .and_then(|status| status.phase.clone())
        .unwrap_or_default();
    if phase == "Succeeded" || phase == "Failed" {
        // Ended before this agent knew it: nothing to run, nothing to say.
        teardown(agent, handle).await;
        deleted(handle).await;
        end(agent, handle).await;
        return;
    }
    handle.update(|model| *model = first_model(&pod));
    let writer = towpath_daemon::spawn(
        "pod status",
        publish::run(agent.clone(), handle.clone(), written),
    );
    let _writer = AbortOnDrop(writer);
    let (stop_tx, stop) = watch::channel(None);
    let orders = give_orders(handle, &stop_tx);
    let work = async {
        if prepare(agent, handle, stop.clone()).await.is_none() {
            return;
        }
        tokio::select! {
            () = containers(agent, handle, stop.clone()) => {}
            () = keep_fresh(agent, handle) => {}
        }
    };
    tokio::select! {
        () = work => {}
        () = orders => {}
    }
    let overdue = overdue(&handle.pod());
    handle.update(|model| {
        model.finished = model.containers.iter().all(|container| container.done);
        if overdue && handle.pod().metadata.deletion_timestamp.is_none() {
            let message =
                "Pod was active on the node longer than the specified deadline".to_string();
            model.failed = Some(("DeadlineExceeded".into(), message));
        }
    });
    teardown(agent, handle).await;
    deleted(handle).await;
    // The last states are told before the object goes.
    let version = *handle.changed.borrow();
    if !handle.object.borrow().1 {
        let told = is_written.wait_for(|written| *written >= version);
        let _ = tokio::time::timeout(Duration::from_secs(2), told).await;
    }
    end(agent, handle).await;
}

struct AbortOnDrop(tokio::task::JoinHandle<()>);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

fn is_sidecar(container: &Container) -> bool {
    container.restart_policy.as_deref() == Some("Always")
}

fn first_model(pod: &Pod) -> PodModel {
    let Some(spec) = &pod.spec else {
        return PodModel::default();
    };
    let status = pod.status.clone().unwrap_or_default();
    let init_told = status.init_container_statuses.unwrap_or_default();
    let told = status.container_statuses.unwrap_or_default();
    let initializes = spec.init_containers.as_ref().is_some_and(|i| !i.is_empty());
    let model = |container: &Container, init: bool, told: &[ContainerStatus]| {
        let image = container.image.clone().unwrap_or_default();
        let mut model =
            ContainerModel::new(&container.name, &image, init, init && is_sidecar(container));
        // Those that wait for init containers say so.
        if let (true, super::model::State::Waiting { reason, .. }) = (initializes, &mut model.state)
        {
            *reason = "PodInitializing".into();
        }
        match told.iter().find(|told| told.name == container.name) {
            Some(told) => model.resume(told),
            None => model,
        }
    };
    let init = spec
        .init_containers
        .iter()
        .flatten()
        .map(|container| model(container, true, &init_told));
    let app = spec
        .containers
        .iter()
        .map(|container| model(container, false, &told));
    let conditions = status.conditions.unwrap_or_default();
    let was = |name: &str| {
        conditions
            .iter()
            .any(|c| c.type_ == name && c.status == "True")
    };
    PodModel {
        containers: init.chain(app).collect(),
        started: Some(status.start_time.map_or_else(now, |time| time.0)),
        ip: status.pod_ip,
        sandbox: was("PodReadyToStartContainers"),
        initialized: was("Initialized")
            || spec
                .init_containers
                .as_ref()
                .is_none_or(|list| list.is_empty()),
        ..PodModel::default()
    }
}

fn overdue(pod: &Pod) -> bool {
    deadline(pod).is_some_and(|left| left.is_zero())
}

// Time left of the pod's active deadline.
fn deadline(pod: &Pod) -> Option<Duration> {
    let seconds = pod.spec.as_ref()?.active_deadline_seconds?;
    let started = pod.status.as_ref().and_then(|s| s.start_time.as_ref())?.0;
    let ran = Duration::try_from(now().duration_since(started)).unwrap_or_default();
    Some(Duration::from_secs(seconds.max(0) as u64).saturating_sub(ran))
}

// Turns deletion, disappearance and the deadline into orders to stop. Never returns.
async fn give_orders(handle: &PodHandle, stop: &watch::Sender<Option<Stop>>) {
    let mut object = handle.object.subscribe();
    let order = |deadline: Instant| {
        stop.send_if_modified(|current| {
            let sooner = current.is_none_or(|stop| deadline < stop.deadline);
            if sooner {
                *current = Some(Stop { deadline });
            }
            sooner
        });
    };
    loop {
        let (pod, gone) = object.borrow_and_update().clone();
        let grace = if gone {
            Some(0)
        } else {
            pod.metadata
                .deletion_timestamp
                .as_ref()
                .map(|_| grace_seconds(&pod))
        };
        if let Some(seconds) = grace {
            order(Instant::now() + Duration::from_secs(seconds));
        }
        let left = deadline(&pod);
        tokio::select! {
            () = handle.evict.notified() => order(Instant::now()),
            changed = object.changed() => if changed.is_err() { std::future::pending::<()>().await },
            () = async {
                match left {
                    Some(left) if stop.borrow().is_none() => tokio::time::sleep(left).await,
                    _ => std::future::pending().await,
                }
            } => order(Instant::now() + Duration::from_secs(grace_seconds(&pod))),
        }
    }
}

fn grace_seconds(pod: &Pod) -> u64 {
    let of_spec = pod
        .spec
        .as_ref()
        .and_then(|spec| spec.termination_grace_period_seconds);
    pod.metadata
        .deletion_grace_period_seconds
        .or(of_spec)
        .unwrap_or(30)
        .max(0) as u64
}

async fn deleted(handle: &PodHandle) {
    let mut object = handle.object.subscribe();
    let _ = object
        .wait_for(|(pod, gone)| *gone || pod.metadata.deletion_timestamp.is_some())
        .await;
}

// Network, files and volumes; tried again until they are there. `None` on an order to stop.
async fn prepare(agent: &Arc<Agent>, handle: &Arc<PodHandle>, mut stop: StopOrders) -> Option<()> {
    let mut tries = 0u32;
    warn_of_host_ports(agent, &handle.pod());
    loop {
        if stop.borrow().is_some() {
            return None;
        }
        let began = Instant::now();
        match sandbox(agent, handle).await {
            Ok(()) => {
                tracing::debug!(pod = %handle.key, took = ?began.elapsed(), "sandbox is there");
                return Some(());
            }
            Err((reason, cause)) => {
                agent.event(&handle.pod(), None, true, reason, cause.clone());
                tracing::debug!(pod = %handle.key, cause, "not prepared");
            }
        }
        tries += 1;
        let wait = Duration::from_millis(500 << tries.min(6));
        let mut sources = handle.changed_sources();
        tokio::select! {
            _ = super::ordered(&mut stop) => return None,
            _ = sources.changed() => {}
            () = tokio::time::sleep(wait) => {}
        }
    }
}

// A pod that asks for a port of the host is told that it does not get one.
fn warn_of_host_ports(agent: &Agent, pod: &Pod) {
    let Some(spec) = pod
        .spec
        .as_ref()
        .filter(|spec| spec.host_network != Some(true))
    else {
        return;
    };
    for container in &spec.containers {
        let ports = container
            .ports
            .iter()
            .flatten()
            .filter_map(|port| port.host_port);
        for port in ports.filter(|port| *port > 0) {
            let note = format!("hostPort {port} is not opened: use a Service of type NodePort");
            agent.event(
                pod,
                Some(&container.name),
                true,
                "HostPortNotSupported",
                note,
            );
        }
    }
}

async fn sandbox(
    agent: &Arc<Agent>,
    handle: &Arc<PodHandle>,
) -> Result<(), (&'static str, String)> {
    let pod = handle.pod();
    let spec = pod.spec.clone().unwrap_or_default();
    let failed = |cause: String| {
        (
            "FailedCreatePodSandBox",
            format!("Failed to create pod sandbox: {cause}"),
        )
    };
    let ip = if spec.host_network == Some(true) {
        agent.host_ip()
    } else {
        let began = Instant::now();
        let address = agent
            .network
            .attach(&handle.uid)
            .await
            .map_err(|error| failed(words(&error)))?;
        tracing::debug!(pod = %handle.key, took = ?began.elapsed(), "network is there");
        *handle.netns.lock() = Some(address.netns);
        address.ip.to_string()
    };
    handle.update(|model| model.ip = Some(ip.clone()));
    let (etc, wants_ipc) = (
        agent.pod_dir(&handle.uid).join("etc"),
        spec.containers.len() > 1 && spec.host_ipc != Some(true),
    );
    let ipc = agent.pod_dir(&handle.uid).join("ipc");
    let texts = texts(agent, &pod, &spec, &ip);
    let cgroup = agent.pod_cgroup(&handle.uid);
    let files = move || -> std::io::Result<()> {
        std::fs::create_dir_all(&etc)?;
        for (name, text) in texts {
            // Written in place: running containers see it through their bind mount.
            if std::fs::read_to_string(etc.join(name)).ok().as_deref() != Some(&text) {
                std::fs::write(etc.join(name), text)?;
            }
        }
        if wants_ipc {
            towpath_container::pin_ipc_namespace(&ipc)?;
        }
        cgroup::make(&cgroup, &towpath_container::Resources::default())
    };
    let made = tokio::task::spawn_blocking(files).await;
    made.unwrap_or_else(|_| Err(std::io::Error::other("panicked")))
        .map_err(|error| failed(error.to_string()))?;
    let host_ip = agent.host_ip();
    let facts = start::facts(agent, &pod, &ip, &host_ip);
    let volumes = volumes::prepare(
        &agent.volume_dir(&handle.uid),
        &facts,
        &agent.caches(),
        &agent.client,
    )
    .await;
    *handle.volumes.lock() = volumes.map_err(|cause| ("FailedMount", cause))?;
    handle.update(|model| model.sandbox = true);
    Ok(())
}

fn texts(agent: &Agent, pod: &Pod, spec: &PodSpec, ip: &str) -> [(&'static str, String); 3] {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let hostname = files::hostname(pod, &start::host_name());
    let namespace = pod.metadata.namespace.as_deref().unwrap_or("default");
    let hosts = files::hosts(
        pod,
        ip,
        &hostname,
        &agent.config.cluster_domain,
        &read("/etc/hosts"),
    );
    let resolv = files::resolv_conf(
        spec,
        &agent.network.resolv_conf(namespace),
        &read("/etc/resolv.conf"),
    );
    [
        ("hosts", hosts),
        ("hostname", format!("{hostname}\n")),
        ("resolv.conf", resolv),
    ]
}

// Init containers one after the other, then all others, until all have ended for good.
async fn containers(agent: &Arc<Agent>, handle: &Arc<PodHandle>, stop: StopOrders) {
    let pod = handle.pod();
    let spec = pod.spec.clone().unwrap_or_default();
    let policy = Restart::of(spec.restart_policy.as_deref());
    let task = |container: &Container, restart: Restart, stop: StopOrders| Task {
        agent: agent.clone(),
        handle: handle.clone(),
        container: container.clone(),
        restart,
        stop,
    };
    let (side_stop_tx, side_stop) = watch::channel(None);
    let mut sidecars = Vec::new();
    let mut good = true;
    for container in spec.init_containers.iter().flatten() {
        if is_sidecar(container) {
            let running = task(container, Restart::Always, side_stop.clone()).run();
            let running = AbortOnDropValue(towpath_daemon::spawn("sidecar", running));
            has_started(handle, &container.name, stop.clone()).await;
            sidecars.push(running);
            continue;
        }
        // Always means "until it succeeds" for an init container.
        let restart = if policy == Restart::Never {
            Restart::Never
        } else {
            Restart::OnFailure
        };
        good = task(container, restart, stop.clone()).run().await == Some(0);
        if !good {
            break;
        }
    }
    if good && stop.borrow().is_none() {
        handle.update(|model| {
            model.initialized = true;
            for container in model.containers.iter_mut().filter(|c| !c.init) {
                if let super::model::State::Waiting { reason, .. } = &mut container.state {
                    *reason = "ContainerCreating".into();
                }
            }
        });
        let running = spec
            .containers
            .iter()
            .map(|container| task(container, policy, stop.clone()).run());
        futures::future::join_all(running).await;
    }
    let order = *stop.borrow();
    side_stop_tx.send_replace(Some(order.unwrap_or(Stop {
        deadline: Instant::now() + Duration::from_secs(grace_seconds(&pod)),
    })));
    for sidecar in &mut sidecars {
        let _ = (&mut sidecar.0).await;
    }
    handle.update(|model| {
        model
            .containers
            .iter_mut()
            .for_each(|container| container.done = true)
    });
}

struct AbortOnDropValue<T>(tokio::task::JoinHandle<T>);

impl<T> Drop for AbortOnDropValue<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

async fn has_started(handle: &PodHandle, name: &str, mut stop: StopOrders) {
    let mut changed = handle.changed.subscribe();
    loop {
        changed.borrow_and_update();
        if handle
            .model()
            .container(name)
            .is_none_or(|container| container.started)
        {
            return;
        }
        tokio::select! {
            _ = super::ordered(&mut stop) => return,
            result = changed.changed() => if result.is_err() { return },
        }
    }
}

// A volume that could not be brought up to date is tried again after this long.
const REFRESH_AGAIN: Duration = Duration::from_secs(10);

// Brings projected volumes up to date at once (an earlier agent may have missed changes),
// whenever something they show may have changed, and before tokens run out. Never returns.
async fn keep_fresh(agent: &Arc<Agent>, handle: &Arc<PodHandle>) {
    loop {
        let next = refresh(agent, handle).await;
        let timer = async {
            match next {
                Some(wait) => tokio::time::sleep(wait).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = handle.refresh.notified() => {}
            () = timer => {}
        }
    }
}

// One round over the pod's volumes; returns when the next is due whatever happens.
async fn refresh(agent: &Arc<Agent>, handle: &Arc<PodHandle>) -> Option<Duration> {
    let pod = handle.pod();
    let (ip, host_ip) = (handle.ip(), agent.host_ip());
    let facts = start::facts(agent, &pod, &ip, &host_ip);
    let volumes = pod
        .spec
        .iter()
        .flat_map(|spec| spec.volumes.iter().flatten());
    let mut next: Option<Duration> = None;
    for volume in volumes.filter(|volume| volumes::projected::is_projected(volume)) {
        let path = agent.volume_dir(&handle.uid).join(&volume.name);
        let done = volumes::refresh(volume, &path, &facts, &agent.caches(), &agent.client).await;
        let due = done.unwrap_or_else(|cause| {
            tracing::warn!(pod = %handle.key, volume = volume.name, cause, "volume not refreshed");
            Some(REFRESH_AGAIN)
        });
        next = match (next, due) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        };
    }
    next
}

/// Removes what a pod has on the machine while it may still be seen in the API: network, control
/// group, volumes, writable layers. Its logs and the records of its containers stay.
pub(crate) async fn teardown(agent: &Arc<Agent>, handle: &PodHandle) {
    teardown_uid(agent, &handle.uid).await;
}

pub(crate) async fn teardown_uid(agent: &Arc<Agent>, uid: &str) {
    if let Err(error) = agent.network.detach(uid).await {
        tracing::warn!(uid, %error, "network not removed");
    }
    let (cgroup, dir, volumes) = (
        agent.pod_cgroup(uid),
        agent.pod_dir(uid),
        agent.volume_dir(uid),
    );
    let work = move || -> std::io::Result<()> {
        cgroup::remove(&cgroup)?;
        towpath_container::unpin_namespace(&dir.join("ipc"))?;
        volumes::remove(&volumes)?;
        towpath_container::remove_tree(&dir.join("containers"))
    };
    match tokio::task::spawn_blocking(work).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::warn!(uid, %error, "pod not fully removed"),
        Err(_) => tracing::warn!(uid, "removing a pod panicked"),
    }
}

/// Removes the rest: records and logs.
pub(crate) async fn forget(agent: &Arc<Agent>, uid: &str) {
    for id in agent.runtime.list() {
        if start::parse_id(&id).is_some_and(|(of, _, _)| of == uid)
            && let Err(error) = agent.runtime.remove(&id).await
        {
            tracing::warn!(id, %error, "container not removed");
        }
    }
    let dirs = [agent.pod_dir(uid), agent.log_dir(uid)];
    let _ = tokio::task::spawn_blocking(move || {
        dirs.iter()
            .for_each(|dir| drop(std::fs::remove_dir_all(dir)))
    })
    .await;
}

async fn end(agent: &Arc<Agent>, handle: &PodHandle) {
    forget(agent, &handle.uid).await;
    let api: Api<Pod> = Api::namespaced(agent.client.clone(), &handle.key.namespace);
    let parameters = DeleteParams {
        grace_period_seconds: Some(0),
        preconditions: Some(Preconditions {
            uid: Some(handle.uid.clone()),
            resource_version: None,
        }),
        ..DeleteParams::default()
    };
    let mut failures = 0;
    while !handle.object.borrow().1 {
        match api.delete(&handle.key.name, &parameters).await {
            Ok(_) => return,
            Err(kube::Error::Api(error)) if error.code == 404 || error.code == 409 => return,
            Err(error) => {
                failures += 1;
                tracing::warn!(pod = %handle.key, %error, "pod not deleted");
                tokio::time::sleep(towpath_kit::queue::backoff(failures)).await;
            }
        }
    }
}
