//! `/stats/summary`: the same reading as JSON, for tools that never learnt the text format.
//!
//! Rates (`usageNanoCores`) are those of the figures that `metrics.k8s.io` serves.

use super::ContainerExporter;
use super::cgroup::Figures;
use super::reading::{ContainerReading, Link, PodReading};
use serde_json::{Value, json};
use towpath_kit::traits::{NodeFigures, PodFigures};
use towpath_stdx::clock::rfc3339;

impl ContainerExporter {
    /// The summary; `rates` and `machine` are the figures at hand. Blocks while files are read.
    pub fn summary(&self, rates: &[PodFigures], machine: Option<&NodeFigures>) -> Value {
        let now = rfc3339(self.time.since_epoch().as_secs());
        let readings = self.read();
        let pods: Vec<Value> = readings.iter().map(|pod| one(pod, rates, &now)).collect();
        let mut node = json!({ "nodeName": self.stats.node() });
        if let Some(figures) = self.machine() {
            node["cpu"] = cpu(&figures, machine.map(|m| m.cpu_nanocores), &now);
            node["memory"] = memory(&figures, &now);
        }
        json!({ "node": node, "pods": pods })
    }
}

fn one(pod: &PodReading, rates: &[PodFigures], now: &str) -> Value {
    let rates = rates
        .iter()
        .find(|rate| rate.pod == pod.pod.name && rate.namespace == pod.pod.namespace);
    let rate = |name: &str| {
        let containers = rates.iter().flat_map(|pod| &pod.containers);
        let mut found = containers.filter(|c| c.name == name);
        found.next().map(|c| c.cpu_nanocores)
    };
    let containers = pod.containers.iter();
    let containers: Vec<Value> = containers
        .map(|c| container(c, rate(&c.container.name), now))
        .collect();
    let mut object = json!({
        "podRef": {"name": pod.pod.name, "namespace": pod.pod.namespace, "uid": pod.pod.uid},
        "startTime": pod.pod.started.map(|at| rfc3339(at.as_secs())),
        "containers": containers,
    });
    if let Some(figures) = &pod.figures {
        let sum = rates.map(|pod| pod.containers.iter().map(|c| c.cpu_nanocores).sum());
        object["cpu"] = cpu(figures, sum, now);
        object["memory"] = memory(figures, now);
        object["process_stats"] = json!({"process_count": figures.processes.len()});
    }
    if let Some(first) = pod.links.first() {
        let mut network = link(first);
        network["time"] = now.into();
        network["interfaces"] = pod.links.iter().map(link).collect();
        object["network"] = network;
    }
    let volumes = pod.claims.iter().map(|(claim, volume)| {
        json!({
            "time": now,
            "name": claim.volume,
            "pvcRef": {"name": claim.claim, "namespace": pod.pod.namespace},
            "availableBytes": volume.available as u64,
            "capacityBytes": volume.capacity as u64,
            "usedBytes": volume.used as u64,
            "inodes": volume.inodes as u64,
            "inodesFree": volume.inodes_free as u64,
            "inodesUsed": volume.inodes_used as u64,
        })
    });
    object["volume"] = volumes.collect();
    object
}

fn container(reading: &ContainerReading, rate: Option<u64>, now: &str) -> Value {
    let mut object = json!({
        "name": reading.container.name,
        "startTime": rfc3339(reading.container.started.as_secs()),
        "cpu": cpu(&reading.figures, rate, now),
        "memory": memory(&reading.figures, now),
    });
    if let (Some(room), Some(disk)) = (&reading.room, &reading.disk) {
        object["rootfs"] = json!({
            "time": now,
            "availableBytes": disk.avail as u64,
            "capacityBytes": disk.size as u64,
            "usedBytes": room.bytes,
            "inodes": disk.files as u64,
            "inodesFree": disk.files_free as u64,
            "inodesUsed": room.files,
        });
    }
    object
}

fn cpu(figures: &Figures, rate: Option<u64>, now: &str) -> Value {
    let mut object = json!({"time": now});
    if let Some(rate) = rate {
        object["usageNanoCores"] = rate.into();
    }
    if let Some(seconds) = figures.cpu {
        object["usageCoreNanoSeconds"] = ((seconds * 1e9) as u64).into();
    }
    object
}

fn memory(figures: &Figures, now: &str) -> Value {
    let mut object = json!({"time": now});
    let mut put = |name: &str, value: Option<f64>| {
        if let Some(value) = value {
            object[name] = (value as u64).into();
        }
    };
    let working_set = figures.working_set();
    let available = figures.memory_limit.zip(working_set);
    put(
        "availableBytes",
        available.map(|(limit, used)| (limit - used).max(0.0)),
    );
    put("usageBytes", figures.memory);
    put("workingSetBytes", working_set);
    put("rssBytes", figures.rss);
    put("pageFaults", figures.faults);
    put("majorPageFaults", figures.major_faults);
    object
}

fn link(link: &Link) -> Value {
    json!({
        "name": link.name,
        "rxBytes": link.received[0] as u64,
        "rxErrors": link.received[2] as u64,
        "txBytes": link.sent[0] as u64,
        "txErrors": link.sent[2] as u64,
    })
}
