//! Use of processor and memory per container and of the machine.
//!
//! Processor time is a counter; a rate needs two readings. They are taken when somebody asks, so
//! that an idle machine is not polled: the rate is that since the reading before, when that is
//! old enough, or since the container's start.

use crate::agent::{Agent, now};
use crate::pod::model::State;
use async_trait::async_trait;
use k8s_openapi::jiff::Timestamp;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use towpath_container::cgroup;
use towpath_kit::traits::{ContainerFigures, NodeFigures, PodFigures, ResourceFigures};
use towpath_stdx::{Clock, SystemClock};

/// Shortest time a rate is averaged over.
const WINDOW: Duration = Duration::from_secs(10);

#[derive(Clone, Copy)]
struct Reading {
    at: Timestamp,
    cpu_ns: u64,
}

/// Readings kept per control group: the one rates start at, and the newest.
#[derive(Default)]
pub(crate) struct Samples(Mutex<HashMap<String, (Reading, Reading)>>);

impl Samples {
    // Rate and its window after a new reading; `start` is when the counter was zero.
    fn rate(&self, group: &str, start: Timestamp, reading: Reading) -> (u64, Duration) {
        let mut samples = self.0.lock();
        let zero = Reading {
            at: start,
            cpu_ns: 0,
        };
        let (base, newest) = samples.entry(group.to_string()).or_insert((zero, zero));
        if since(newest.at, reading.at) >= WINDOW {
            (*base, *newest) = (*newest, reading);
        }
        let window = since(base.at, reading.at).max(Duration::from_millis(1));
        let used = u128::from(reading.cpu_ns.saturating_sub(base.cpu_ns));
        (
            (used * 1_000_000_000 / window.as_nanos().max(1)) as u64,
            window,
        )
    }

    fn forget(&self, gone: impl Fn(&str) -> bool) {
        self.0.lock().retain(|group, _| !gone(group));
    }
}

fn since(from: Timestamp, to: Timestamp) -> Duration {
    Duration::try_from(to.duration_since(from)).unwrap_or_default()
}

/// Use of every running container of a node.
pub struct Figures(pub(crate) Arc<Agent>);

impl Figures {
    fn read(&self, namespace: &str) -> Vec<PodFigures> {
        let agent = &self.0;
        let handles: Vec<_> = agent.pods.lock().values().cloned().collect();
        let wanted = handles
            .iter()
            .filter(|handle| namespace.is_empty() || handle.key.namespace == namespace);
        let mut list = Vec::new();
        for handle in wanted {
            let mut pod = PodFigures {
                namespace: handle.key.namespace.clone(),
                pod: handle.key.name.clone(),
                at: SystemClock.since_epoch(),
                window: WINDOW,
                containers: Vec::new(),
            };
            for container in handle.model().containers {
                let State::Running { since } = container.state else {
                    continue;
                };
                let group = format!("{}/{}", agent.pod_cgroup(&handle.uid), container.id);
                let Some(usage) = cgroup::usage(&group) else {
                    continue;
                };
                let reading = Reading {
                    at: now(),
                    cpu_ns: usage.cpu_ns,
                };
                let (cpu_nanocores, window) = agent.figures.rate(&group, since, reading);
                pod.window = window;
                pod.containers.push(ContainerFigures {
                    name: container.name,
                    cpu_nanocores,
                    memory_working_set_bytes: usage.working_set_bytes,
                });
            }
            if !pod.containers.is_empty() {
                list.push(pod);
            }
        }
        let live: Vec<String> = handles
            .iter()
            .map(|handle| agent.pod_cgroup(&handle.uid))
            .collect();
        agent
            .figures
            .forget(|group| group != MACHINE && !live.iter().any(|pod| group.starts_with(pod)));
        list.sort_by(|a, b| (&a.namespace, &a.pod).cmp(&(&b.namespace, &b.pod)));
        list
    }

    fn machine(&self) -> NodeFigures {
        let agent = &self.0;
        let (cpu_ns, boot) = machine_cpu();
        let (cpu_nanocores, window) =
            agent
                .figures
                .rate(MACHINE, boot, Reading { at: now(), cpu_ns });
        let text = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
        let kib = |name: &str| {
            let line = text
                .lines()
                .find_map(|line| line.strip_prefix(name)?.trim().strip_suffix(" kB"));
            line.and_then(|number| number.parse::<u64>().ok())
                .unwrap_or(0)
        };
        NodeFigures {
            node: agent.config.name.clone(),
            at: SystemClock.since_epoch(),
            window,
            cpu_nanocores,
            memory_bytes: kib("MemTotal:").saturating_sub(kib("MemAvailable:")) * 1024,
        }
    }
}

#[async_trait]
impl ResourceFigures for Figures {
    async fn pods(&self, namespace: &str) -> Vec<PodFigures> {
        self.read(namespace)
    }

    async fn node(&self) -> Option<NodeFigures> {
        Some(self.machine())
    }
}

const MACHINE: &str = "machine";

// Busy time of all processors since boot, and the time of boot.
fn machine_cpu() -> (u64, Timestamp) {
    const TICK_NS: u64 = 10_000_000;
    let text = std::fs::read_to_string("/proc/stat").unwrap_or_default();
    let fields: Vec<u64> = text
        .lines()
        .next()
        .map(|line| {
            line.split_whitespace()
                .skip(1)
                .filter_map(|n| n.parse().ok())
                .collect()
        })
        .unwrap_or_default();
    // user nice system idle iowait irq softirq steal; guest time is part of user time.
    let busy = fields
        .iter()
        .take(8)
        .enumerate()
        .filter(|(at, _)| !matches!(at, 3 | 4))
        .map(|(_, n)| n)
        .sum::<u64>();
    let boot = text
        .lines()
        .find_map(|line| line.strip_prefix("btime ")?.parse::<i64>().ok())
        .unwrap_or(0);
    (
        busy * TICK_NS,
        Timestamp::from_second(boot).unwrap_or_default(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_averages_over_a_window() {
        let at = |ms: i64| Timestamp::from_millisecond(ms).expect("time");
        let samples = Samples::default();
        let rate = |ms, cpu_ms: u64| {
            samples
                .rate(
                    "g",
                    at(0),
                    Reading {
                        at: at(ms),
                        cpu_ns: cpu_ms * 1_000_000,
                    },
                )
                .0
        };
        assert_eq!(rate(2_000, 1_000), 500_000_000);
        assert_eq!(rate(20_000, 10_000), 500_000_000);
        // Idle since: the window moves on.
        assert_eq!(rate(40_000, 10_000), 0);
    }
}
