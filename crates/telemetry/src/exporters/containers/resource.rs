//! `/metrics/resource`: the few figures that a metrics server needs.

use super::ContainerExporter;
use super::cgroup::Figures;
use super::reading::PodReading;
use crate::exporters::Sink;
use crate::family::Kind::{Counter, Gauge};

type Get = fn(&Figures) -> Option<f64>;

const FIGURES: [(&str, &str, &str, Get); 3] = [
    (
        "cpu_usage_seconds_total",
        "Cumulative cpu time consumed by the",
        "in core-seconds",
        |f| f.cpu,
    ),
    (
        "memory_working_set_bytes",
        "Current working set of the",
        "in bytes",
        Figures::working_set,
    ),
    (
        "swap_usage_bytes",
        "Current amount of the",
        "swap usage in bytes. Reported only on non-windows systems",
        |f| f.swap,
    ),
];

impl ContainerExporter {
    /// Writes the page of resources. Blocks while files are read.
    pub fn write_resource(&self, sink: &mut Sink) {
        let pods = self.read();
        let machine = self.machine();
        for (name, words, unit, get) in FIGURES {
            let kind = if name.ends_with("_total") {
                Counter
            } else {
                Gauge
            };
            sink.family(
                format!("container_{name}"),
                kind,
                format!("{words} container {unit}"),
            );
            for pod in &pods {
                for container in &pod.containers {
                    if let Some(value) = get(&container.figures) {
                        let labels = of(pod, Some(&container.container.name));
                        sink.sample(&labels, value);
                    }
                }
            }
            sink.family(format!("node_{name}"), kind, format!("{words} node {unit}"));
            if let Some(value) = machine.as_ref().and_then(get) {
                sink.sample(&[], value);
            }
            sink.family(format!("pod_{name}"), kind, format!("{words} pod {unit}"));
            for pod in &pods {
                if let Some(value) = pod.figures.as_ref().and_then(get) {
                    sink.sample(&of(pod, None), value);
                }
            }
        }
        sink.family(
            "container_start_time_seconds",
            Gauge,
            "Start time of the container since unix epoch in seconds",
        );
        for pod in &pods {
            for container in &pod.containers {
                let started = container.container.started.as_secs_f64();
                sink.sample(&of(pod, Some(&container.container.name)), started);
            }
        }
        sink.single(
            "resource_scrape_error",
            Gauge,
            "1 if there was an error while getting container metrics, 0 otherwise",
            0.0,
        );
    }
}

fn of<'a>(pod: &'a PodReading, container: Option<&'a str>) -> Vec<(&'static str, &'a str)> {
    let mut labels = Vec::with_capacity(3);
    labels.extend(container.map(|name| ("container", name)));
    labels.push(("namespace", pod.pod.namespace.as_str()));
    labels.push(("pod", &pod.pod.name));
    labels
}
