//! `/metrics/cadvisor`: containers under the names and labels that kubelets use.
//!
//! A container's samples carry its name and image; a pod's own group carries neither; the network
//! belongs to the sandbox, which has an image and no container name. So `container!=""` selects
//! containers, `image!=""` never sums a pod twice.

use super::ContainerExporter;
use super::cgroup::{Figures, Io};
use super::reading::{ContainerReading, PodReading, devices};
use crate::exporters::Sink;
use crate::family::Kind;
use crate::family::Kind::{Counter, Gauge};

/// Image of what holds a pod's network. There is no such image; queries want one.
const SANDBOX: &str = "towpath.dev/sandbox";

type Get = fn(&Figures) -> Option<f64>;

/// Name, kind, help, one more label, figure.
type Plain = (
    &'static str,
    Kind,
    &'static str,
    Option<(&'static str, &'static str)>,
    Get,
);

const LIMITED: Get = |f| f.quota.and(f.periods);

const PLAIN: &[Plain] = &[
    (
        "container_cpu_usage_seconds_total",
        Counter,
        "Cumulative cpu time consumed in seconds.",
        Some(("cpu", "total")),
        |f| f.cpu,
    ),
    (
        "container_cpu_user_seconds_total",
        Counter,
        "Cumulative user cpu time consumed in seconds.",
        None,
        |f| f.user,
    ),
    (
        "container_cpu_system_seconds_total",
        Counter,
        "Cumulative system cpu time consumed in seconds.",
        None,
        |f| f.system,
    ),
    (
        "container_cpu_cfs_periods_total",
        Counter,
        "Number of elapsed enforcement period intervals.",
        None,
        LIMITED,
    ),
    (
        "container_cpu_cfs_throttled_periods_total",
        Counter,
        "Number of throttled period intervals.",
        None,
        |f| f.quota.and(f.throttled_periods),
    ),
    (
        "container_cpu_cfs_throttled_seconds_total",
        Counter,
        "Total time duration the container has been throttled.",
        None,
        |f| f.quota.and(f.throttled),
    ),
    (
        "container_memory_usage_bytes",
        Gauge,
        "Current memory usage in bytes, including all memory regardless of when it was accessed",
        None,
        |f| f.memory,
    ),
    (
        "container_memory_working_set_bytes",
        Gauge,
        "Current working set in bytes.",
        None,
        Figures::working_set,
    ),
    (
        "container_memory_rss",
        Gauge,
        "Size of RSS in bytes.",
        None,
        |f| f.rss,
    ),
    (
        "container_memory_cache",
        Gauge,
        "Number of bytes of page cache memory.",
        None,
        |f| f.cache,
    ),
    (
        "container_memory_swap",
        Gauge,
        "Container swap usage in bytes.",
        None,
        |f| f.swap,
    ),
    (
        "container_memory_mapped_file",
        Gauge,
        "Size of memory mapped files in bytes.",
        None,
        |f| f.mapped,
    ),
    (
        "container_memory_max_usage_bytes",
        Gauge,
        "Maximum memory usage recorded in bytes",
        None,
        |f| f.memory_max,
    ),
    (
        "container_memory_failcnt",
        Counter,
        "Number of memory usage hits limits",
        None,
        |f| f.failures,
    ),
    (
        "container_oom_events_total",
        Counter,
        "Count of out of memory events observed for the container",
        None,
        |f| f.out_of_memory,
    ),
    (
        "container_processes",
        Gauge,
        "Number of processes running inside the container.",
        None,
        |f| f.threads.map(|_| f.processes.len() as f64),
    ),
    (
        "container_threads",
        Gauge,
        "Number of threads running inside the container",
        None,
        |f| f.threads,
    ),
    (
        "container_threads_max",
        Gauge,
        "Maximum number of threads allowed inside the container, infinity if value is zero",
        None,
        |f| f.threads.map(|_| f.threads_max.unwrap_or(0.0)),
    ),
    (
        "container_spec_cpu_period",
        Gauge,
        "CPU period of the container.",
        None,
        |f| f.period,
    ),
    (
        "container_spec_cpu_quota",
        Gauge,
        "CPU quota of the container.",
        None,
        |f| f.quota,
    ),
    (
        "container_spec_cpu_shares",
        Gauge,
        "CPU share of the container.",
        None,
        |f| f.shares,
    ),
    (
        "container_spec_memory_limit_bytes",
        Gauge,
        "Memory limit for the container.",
        None,
        |f| Some(f.memory_limit.unwrap_or(0.0)),
    ),
];

type OfIo = fn(&Io) -> f64;

const TRANSFERS: [(&str, &str, OfIo); 4] = [
    (
        "container_fs_reads_bytes_total",
        "Cumulative count of bytes read",
        |io| io.read_bytes,
    ),
    (
        "container_fs_writes_bytes_total",
        "Cumulative count of bytes written",
        |io| io.written_bytes,
    ),
    (
        "container_fs_reads_total",
        "Cumulative count of reads completed",
        |io| io.reads,
    ),
    (
        "container_fs_writes_total",
        "Cumulative count of writes completed",
        |io| io.writes,
    ),
];

type Labels<'a> = Vec<(&'static str, &'a str)>;

fn labels<'a>(pod: &'a PodReading, container: Option<&'a ContainerReading>) -> Labels<'a> {
    let of = container.map(|reading| &reading.container);
    vec![
        ("container", of.map_or("", |c| &c.name)),
        ("id", of.map_or(&pod.pod.cgroup, |c| &c.cgroup)),
        ("image", of.map_or("", |c| &c.image)),
        ("name", of.map_or("", |c| &c.id)),
        ("namespace", &pod.pod.namespace),
        ("pod", &pod.pod.name),
    ]
}

fn with<'a>(labels: &Labels<'a>, name: &'static str, value: &'a str) -> Labels<'a> {
    let mut labels = labels.clone();
    labels.push((name, value));
    labels
}

impl ContainerExporter {
    /// Writes every metric of containers. Blocks while files are read.
    pub fn write(&self, sink: &mut Sink) {
        let pods = self.read();
        let machine = self.machine();
        // Every group once: the machine, pods, containers.
        let mut groups: Vec<(Labels<'_>, &Figures)> = Vec::new();
        if let Some(figures) = &machine {
            groups.push((vec![("id", "/")], figures));
        }
        for pod in &pods {
            groups.extend(
                pod.figures
                    .as_ref()
                    .map(|figures| (labels(pod, None), figures)),
            );
            let containers = pod.containers.iter();
            groups.extend(containers.map(|c| (labels(pod, Some(c)), &c.figures)));
        }
        for (name, kind, help, extra, get) in PLAIN {
            sink.family(*name, *kind, *help);
            for (labels, figures) in &groups {
                let Some(value) = get(figures) else { continue };
                match extra {
                    Some((name, own)) => sink.sample(&with(labels, name, own), value),
                    None => sink.sample(labels, value),
                }
            }
        }
        failures(sink, &groups);
        self.files(sink, &pods);
        network(sink, &pods);
        self.times(sink, &pods);
        self.size(sink);
    }

    fn files(&self, sink: &mut Sink, pods: &[PodReading]) {
        let devices = devices(&self.roots, pods);
        for (name, help, get) in TRANSFERS {
            sink.family(name, Counter, help);
            each(pods, |labels, container| {
                for (numbers, io) in &container.figures.io {
                    let device = devices.get(numbers).map_or("", String::as_str);
                    sink.sample(&with(&labels, "device", device), get(io));
                }
            });
        }
        sink.family(
            "container_fs_usage_bytes",
            Gauge,
            "Number of bytes that are consumed by the container on this filesystem.",
        );
        each(pods, |labels, container| {
            if let (Some(room), Some(disk)) = (&container.room, &container.disk) {
                sink.sample(&with(&labels, "device", &disk.device), room.bytes as f64);
            }
        });
        sink.family(
            "container_fs_limit_bytes",
            Gauge,
            "Number of bytes that can be consumed by the container on this filesystem.",
        );
        each(pods, |labels, container| {
            if let Some(disk) = &container.disk {
                sink.sample(&with(&labels, "device", &disk.device), disk.size);
            }
        });
        sink.family(
            "container_file_descriptors",
            Gauge,
            "Number of open file descriptors for the container.",
        );
        each(pods, |labels, container| {
            if let Some(count) = container.descriptors {
                sink.sample(&labels, count);
            }
        });
    }

    fn times(&self, sink: &mut Sink, pods: &[PodReading]) {
        let now = self.time.since_epoch().as_secs() as f64;
        sink.family(
            "container_last_seen",
            Gauge,
            "Last time a container was seen by the exporter",
        );
        each(pods, |labels, _| sink.sample(&labels, now));
        sink.family(
            "container_start_time_seconds",
            Gauge,
            "Start time of the container since unix epoch in seconds.",
        );
        for pod in pods {
            if let Some(started) = pod.pod.started {
                sink.sample(&labels(pod, None), started.as_secs_f64());
            }
        }
        each(pods, |labels, container| {
            sink.sample(&labels, container.container.started.as_secs_f64());
        });
    }
}

fn each<'a>(pods: &'a [PodReading], mut show: impl FnMut(Labels<'a>, &'a ContainerReading)) {
    for pod in pods {
        for container in &pod.containers {
            show(labels(pod, Some(container)), container);
        }
    }
}

fn failures(sink: &mut Sink, groups: &[(Labels<'_>, &Figures)]) {
    sink.family(
        "container_memory_failures_total",
        Counter,
        "Cumulative count of memory allocation failures.",
    );
    for (labels, figures) in groups {
        let kinds = [
            ("pgfault", figures.faults),
            ("pgmajfault", figures.major_faults),
        ];
        for (kind, count) in kinds {
            let Some(count) = count else { continue };
            for scope in ["container", "hierarchy"] {
                let labels = with(&with(labels, "failure_type", kind), "scope", scope);
                sink.sample(&labels, count);
            }
        }
    }
}

fn network(sink: &mut Sink, pods: &[PodReading]) {
    let columns = [
        ("bytes", "bytes", 0),
        ("packets", "packets", 1),
        ("errors", "errors encountered while", 2),
        ("packets_dropped", "packets dropped while", 3),
    ];
    for way in ["receive", "transmit"] {
        for (what, words, column) in columns {
            let verb = match (way, column) {
                ("receive", 0 | 1) => "received",
                ("receive", _) => "receiving",
                (_, 0 | 1) => "transmitted",
                _ => "transmitting",
            };
            sink.family(
                format!("container_network_{way}_{what}_total"),
                Counter,
                format!("Cumulative count of {words} {verb}"),
            );
            for pod in pods {
                for link in &pod.links {
                    let figures = if way == "receive" {
                        &link.received
                    } else {
                        &link.sent
                    };
                    let labels = [
                        ("container", ""),
                        ("id", &*pod.pod.cgroup),
                        ("image", SANDBOX),
                        ("interface", &link.name),
                        ("name", &pod.pod.uid),
                        ("namespace", &pod.pod.namespace),
                        ("pod", &pod.pod.name),
                    ];
                    sink.sample(&labels, figures[column]);
                }
            }
        }
    }
}
