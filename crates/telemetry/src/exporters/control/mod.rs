//! The house itself: what its parts count (API server, queues, scheduler, DNS) under the names of
//! the programs they stand for, the process, and the state of deliveries.

mod process;
mod spine;

pub use spine::SpineTarget;

use super::Sink;
use crate::family::{Family, Gather, GatherError, Kind};
use async_trait::async_trait;
use towpath_daemon::metrics::{self, Number};

/// Which program's page a target is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// `apiserver_*`.
    ApiServer,
    /// `workqueue_*`.
    Controllers,
    /// `scheduler_*`.
    Scheduler,
    /// `coredns_*`.
    Dns,
    /// What is under no other program's name; the process is shown with the house itself.
    Towpath,
}

impl Part {
    fn takes(self, name: &str) -> bool {
        let of = |start: &str| name.starts_with(start);
        match self {
            Self::ApiServer => of("apiserver_"),
            Self::Controllers => of("workqueue_"),
            Self::Scheduler => of("scheduler_"),
            Self::Dns => of("coredns_"),
            Self::Towpath => {
                let others = [
                    "apiserver_",
                    "workqueue_",
                    "scheduler_",
                    "coredns_",
                    "kubelet_",
                ];
                !others.iter().any(|start| of(start))
            }
        }
    }
}

/// What the process counts of one part, as a target inside this process.
#[derive(Clone, Copy)]
pub struct ControlTarget {
    part: Part,
}

impl ControlTarget {
    /// A target of a part.
    pub fn new(part: Part) -> Self {
        Self { part }
    }

    /// Writes the page. Blocks while files of `/proc/self` are read.
    pub fn write(&self, sink: &mut Sink) {
        counted(sink, |name| self.part.takes(name));
        if self.part != Part::Towpath {
            process::write(sink);
        }
    }
}

/// Writes what the process counts under names that a test accepts.
pub(in crate::exporters) fn counted(sink: &mut Sink, wanted: impl Fn(&str) -> bool) {
    for family in metrics::read(wanted) {
        let kind = match family.series.first() {
            Some((_, Number::Counter(_))) => Kind::Counter,
            Some((_, Number::Gauge(_))) => Kind::Gauge,
            Some((_, Number::Histogram { .. })) => Kind::Histogram,
            None => continue,
        };
        sink.family(family.name, kind, family.help);
        for (labels, number) in &family.series {
            let labels: Vec<(&'static str, &str)> = labels
                .iter()
                .map(|(name, value)| (*name, value.as_str()))
                .collect();
            match number {
                Number::Counter(value) => sink.sample(&labels, *value as f64),
                Number::Gauge(value) => sink.sample(&labels, *value as f64),
                Number::Histogram {
                    buckets,
                    sum,
                    count,
                } => sink.histogram(&labels, buckets.iter().copied(), *sum, *count),
            }
        }
    }
}

#[async_trait]
impl Gather for ControlTarget {
    async fn gather(&self) -> Result<Vec<Family>, GatherError> {
        let target = *self;
        super::off_reactor("own metrics", move |sink| target.write(sink)).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_share_nothing_but_the_process() {
        metrics::counter("workqueue_adds_total", "Adds.", &[("name", "t")]).inc();
        metrics::counter("towpath_t_total", "T.", &[]).inc();
        let wait = metrics::histogram("workqueue_t_seconds", "Wait.", &[0.5], &[]);
        wait.observe(std::time::Duration::from_secs(1));
        let page = |part| {
            let mut sink = Sink::default();
            ControlTarget::new(part).write(&mut sink);
            crate::family::text(&sink.finish())
        };
        let queues = page(Part::Controllers);
        assert!(
            queues.contains("workqueue_adds_total{name=\"t\"} 1\n"),
            "{queues}"
        );
        assert!(
            queues.contains("workqueue_t_seconds_bucket{le=\"+Inf\"} 1\n"),
            "{queues}"
        );
        assert!(!queues.contains("towpath_"));
        assert!(
            queues.contains("process_resident_memory_bytes "),
            "{queues}"
        );
        let own = page(Part::Towpath);
        assert!(own.contains("towpath_t_total 1\n") && !own.contains("workqueue_"));
    }
}
