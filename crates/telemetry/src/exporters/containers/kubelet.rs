//! The kubelet's own page: how many pods and containers run, and how full claimed volumes are.

use super::ContainerExporter;
use super::volumes::Volume;
use crate::exporters::Sink;
use crate::family::Kind::Gauge;
use std::collections::BTreeMap;

type Get = fn(&Volume) -> f64;

const VOLUMES: [(&str, &str, Get); 6] = [
    (
        "available_bytes",
        "Number of available bytes in the volume",
        |v| v.available,
    ),
    ("capacity_bytes", "Capacity in bytes of the volume", |v| {
        v.capacity
    }),
    ("inodes", "Maximum number of inodes in the volume", |v| {
        v.inodes
    }),
    ("inodes_free", "Number of free inodes in the volume", |v| {
        v.inodes_free
    }),
    ("inodes_used", "Number of used inodes in the volume", |v| {
        v.inodes_used
    }),
    ("used_bytes", "Number of used bytes in the volume", |v| {
        v.used
    }),
];

impl ContainerExporter {
    /// Writes the kubelet's page. Blocks while files are read.
    pub fn write_kubelet(&self, sink: &mut Sink) {
        let pods = self.stats.running();
        sink.family(
            "kubelet_node_name",
            Gauge,
            "The node's name. The count is always 1.",
        );
        sink.sample(&[("node", &self.stats.node())], 1.0);
        sink.single(
            "kubelet_running_pods",
            Gauge,
            "Number of pods that have a running pod sandbox",
            pods.len() as f64,
        );
        sink.family(
            "kubelet_running_containers",
            Gauge,
            "Number of containers currently running",
        );
        let containers: usize = pods.iter().map(|pod| pod.containers.len()).sum();
        sink.sample(&[("container_state", "running")], containers as f64);
        crate::exporters::control::counted(sink, |name| name.starts_with("kubelet_"));
        // A claim that several pods mount is one volume.
        let now = self.time.monotonic();
        let mut volumes: BTreeMap<(&str, &str), Volume> = BTreeMap::new();
        for pod in &pods {
            for claim in &pod.claims {
                if let Some(volume) = self.volume(claim, now) {
                    volumes.insert((&pod.namespace, &claim.claim), volume);
                }
            }
        }
        for (name, help, get) in VOLUMES {
            sink.family(format!("kubelet_volume_stats_{name}"), Gauge, help);
            for ((namespace, claim), volume) in &volumes {
                let labels = [("namespace", *namespace), ("persistentvolumeclaim", *claim)];
                sink.sample(&labels, get(volume));
            }
        }
    }
}
