//! The Node object and its heartbeat.

use crate::agent::{Agent, now};
use crate::disk::Disk;
use crate::error::Error;
use crate::pod::model::time;
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::api::core::v1::{Namespace, Node};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use kube::Api;
use kube::api::{ObjectMeta, Patch, PatchParams, PostParams};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;

const LEASES: &str = "kube-node-lease";
const LEASE_SECONDS: i32 = 40;
/// Lease renewal; a sixth of it would be enough to notice, four of them are the lease.
const RENEW: Duration = Duration::from_secs(10);
/// How often the whole status is written where nothing changed.
const REPORT: Duration = Duration::from_secs(300);

/// Makes or updates the Node object.
pub(crate) async fn register(agent: &Agent) -> Result<(), Error> {
    let api: Api<Node> = Api::all(agent.client.clone());
    let name = &agent.config.name;
    match put(agent, &api).await {
        // On a full disk nothing can be written, and pods run on all the same: the node as an
        // earlier start has left it does until its next report.
        Err(error) if error.is_full() => match api.get_opt(name).await {
            Ok(Some(_)) => {
                tracing::warn!(node = name, "kept as it was: the disk is full");
                Ok(())
            }
            _ => Err(error),
        },
        other => other,
    }
}

async fn put(agent: &Agent, api: &Api<Node>) -> Result<(), Error> {
    let name = &agent.config.name;
    let what = || format!("register node {name}");
    let mut labels = json!({
        "kubernetes.io/hostname": name,
        "kubernetes.io/os": "linux",
        "kubernetes.io/arch": towpath_oci::manifest::architecture(),
        "beta.kubernetes.io/os": "linux",
        "beta.kubernetes.io/arch": towpath_oci::manifest::architecture(),
        "node-role.kubernetes.io/control-plane": "",
    });
    for (key, value) in &agent.config.labels {
        labels[key] = json!(value);
    }
    let mut object = json!({ "metadata": { "name": name, "labels": labels }, "spec": {} });
    if let Some(cidr) = &agent.config.pod_cidr {
        object["spec"] = json!({ "podCIDR": cidr, "podCIDRs": [cidr] });
    }
    let node: Node = serde_json::from_value(object.clone())
        .map_err(|e| Error::api(what())(kube::Error::SerdeError(e)))?;
    match api.create(&PostParams::default(), &node).await {
        Ok(_) => {}
        Err(kube::Error::Api(error)) if error.code == 409 => {
            let patch = Patch::Merge(json!({ "metadata": { "labels": labels } }));
            api.patch(name, &PatchParams::default(), &patch)
                .await
                .map_err(Error::api(what()))?;
        }
        Err(error) => return Err(Error::api(what())(error)),
    }
    report(agent, api).await
}

async fn report(agent: &Agent, api: &Api<Node>) -> Result<(), Error> {
    let name = &agent.config.name;
    let before = api
        .get_opt(name)
        .await
        .map_err(Error::api(format!("read node {name}")))?;
    let status = status(agent, before.as_ref());
    let patch = Patch::Strategic(json!({ "status": status }));
    let written = api
        .patch_status(name, &PatchParams::default(), &patch)
        .await;
    written
        .map(drop)
        .map_err(Error::api(format!("write status of node {name}")))
}

fn status(agent: &Agent, before: Option<&Node>) -> Value {
    let machine = agent.machine;
    let disk = Disk::of(&agent.config.data_dir);
    let disk_bytes = disk.map_or(0, |disk| disk.total);
    let amounts = |memory: i64| {
        json!({
            "cpu": format!("{}m", machine.cpu_milli),
            "memory": format!("{}Ki", memory / 1024),
            "ephemeral-storage": format!("{}Ki", disk_bytes / 1024),
            "pods": agent.config.max_pods.to_string(),
            "hugepages-2Mi": "0",
        })
    };
    let at = json!(time(now()));
    let conditions: Vec<Value> = conditions(disk.is_some_and(Disk::pressed))
        .into_iter()
        .map(|(kind, status, reason, message)| {
            let old = before.and_then(|node| {
                node.status
                    .as_ref()?
                    .conditions
                    .as_ref()?
                    .iter()
                    .find(|c| c.type_ == kind && c.status == status)
            });
            let since = old
                .and_then(|c| c.last_transition_time.clone())
                .map_or(at.clone(), |t| json!(t));
            json!({ "type": kind, "status": status, "reason": reason, "message": message,
                    "lastHeartbeatTime": at, "lastTransitionTime": since })
        })
        .collect();
    let images: Vec<Value> = agent
        .images
        .all()
        .iter()
        .take(50)
        .map(|image| json!({ "names": [image.reference, image.id()], "sizeBytes": image.bytes }))
        .collect();
    // A tenth, at most half a gibibyte, is the machine's own.
    let reserved = (machine.memory_bytes / 10).min(512 << 20);
    json!({
        "capacity": amounts(machine.memory_bytes),
        "allocatable": amounts(machine.memory_bytes - reserved),
        "conditions": conditions,
        "addresses": [
            { "type": "InternalIP", "address": agent.host_ip() },
            { "type": "Hostname", "address": agent.config.name },
        ],
        "images": images,
        "nodeInfo": node_info(),
    })
}

type Condition = (&'static str, &'static str, &'static str, &'static str);

fn conditions(disk_pressure: bool) -> [Condition; 4] {
    let disk = if disk_pressure {
        (
            "DiskPressure",
            "True",
            "KubeletHasDiskPressure",
            "less than 5 % of the disk and less than 2 GiB are free",
        )
    } else {
        (
            "DiskPressure",
            "False",
            "KubeletHasNoDiskPressure",
            "kubelet has no disk pressure",
        )
    };
    [
        (
            "MemoryPressure",
            "False",
            "KubeletHasSufficientMemory",
            "kubelet has sufficient memory available",
        ),
        disk,
        (
            "PIDPressure",
            "False",
            "KubeletHasSufficientPID",
            "kubelet has sufficient PID available",
        ),
        (
            "Ready",
            "True",
            "KubeletReady",
            "kubelet is posting ready status",
        ),
    ]
}

fn node_info() -> Value {
    let read = |path: &str| {
        std::fs::read_to_string(path)
            .unwrap_or_default()
            .trim()
            .to_string()
    };
    let release = read("/etc/os-release");
    let pretty = release
        .lines()
        .find_map(|line| line.strip_prefix("PRETTY_NAME="))
        .unwrap_or("Linux")
        .trim_matches('"');
    json!({
        "machineID": read("/etc/machine-id"),
        "systemUUID": read("/sys/class/dmi/id/product_uuid"),
        "bootID": read("/proc/sys/kernel/random/boot_id"),
        "kernelVersion": read("/proc/sys/kernel/osrelease"),
        "osImage": pretty,
        "containerRuntimeVersion": concat!("towpath://", env!("CARGO_PKG_VERSION")),
        "kubeletVersion": "v1.36.3+towpath",
        "kubeProxyVersion": "",
        "operatingSystem": "linux",
        "architecture": towpath_oci::manifest::architecture(),
    })
}

/// Renews the lease and the status until cancelled.
pub(crate) async fn heartbeat(agent: Arc<Agent>) {
    let nodes: Api<Node> = Api::all(agent.client.clone());
    let mut last = tokio::time::Instant::now();
    loop {
        if let Err(error) = renew(&agent).await {
            tracing::warn!(error = crate::error::words(&error), "lease not renewed");
        }
        if last.elapsed() >= REPORT {
            last = tokio::time::Instant::now();
            // A Node somebody deleted is made again.
            let there = nodes.get_opt(&agent.config.name).await;
            let reported = if matches!(there, Ok(None)) {
                register(&agent).await
            } else {
                report(&agent, &nodes).await
            };
            if let Err(error) = reported {
                tracing::warn!(
                    error = crate::error::words(&error),
                    "node status not written"
                );
            }
        }
        tokio::time::sleep(RENEW).await;
    }
}

async fn renew(agent: &Agent) -> Result<(), Error> {
    let api: Api<Lease> = Api::namespaced(agent.client.clone(), LEASES);
    let name = &agent.config.name;
    let what = || format!("renew lease of node {name}");
    let patch = Patch::Merge(json!({ "spec": { "renewTime": MicroTime(now()) } }));
    match api.patch(name, &PatchParams::default(), &patch).await {
        Ok(_) => return Ok(()),
        Err(kube::Error::Api(error)) if error.code == 404 => {}
        Err(error) => return Err(Error::api(what())(error)),
    }
    let namespaces: Api<Namespace> = Api::all(agent.client.clone());
    if namespaces
        .get_opt(LEASES)
        .await
        .map_err(Error::api(what()))?
        .is_none()
    {
        let namespace = Namespace {
            metadata: ObjectMeta {
                name: Some(LEASES.into()),
                ..ObjectMeta::default()
            },
            ..Namespace::default()
        };
        let _ = namespaces.create(&PostParams::default(), &namespace).await;
    }
    let lease = Lease {
        metadata: ObjectMeta {
            name: Some(name.clone()),
            ..ObjectMeta::default()
        },
        spec: Some(LeaseSpec {
            holder_identity: Some(name.clone()),
            lease_duration_seconds: Some(LEASE_SECONDS),
            renew_time: Some(MicroTime(now())),
            ..LeaseSpec::default()
        }),
    };
    api.create(&PostParams::default(), &lease)
        .await
        .map(drop)
        .map_err(Error::api(what()))
}
