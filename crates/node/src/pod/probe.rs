//! Startup, liveness and readiness: each probe is a task beside its container. Liveness and
//! readiness begin when startup has succeeded.

use super::hook;
use super::http;
use crate::agent::{Agent, PodHandle};
use k8s_openapi::api::core::v1::{Container, Probe};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::{CancellationToken, DropGuard};

/// Ends its probes when dropped.
pub(crate) struct Probes {
    _guard: DropGuard,
    /// Receives why the container must be restarted, and the probe's own grace in seconds.
    pub(crate) kill: mpsc::Receiver<(String, Option<i64>)>,
}

struct Prober {
    agent: Arc<Agent>,
    handle: Arc<PodHandle>,
    container: Container,
    running: towpath_container::Container,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Startup,
    Liveness,
    Readiness,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Self::Startup => "Startup",
            Self::Liveness => "Liveness",
            Self::Readiness => "Readiness",
        }
    }
}

/// Whether the container counts as ready as soon as it runs.
pub(crate) fn ready_at_once(container: &Container) -> bool {
    container.readiness_probe.is_none() && container.startup_probe.is_none()
}

/// Starts the probes of a running container; without the startup probe where that has succeeded.
pub(crate) fn start(
    agent: &Arc<Agent>,
    handle: &Arc<PodHandle>,
    container: &Container,
    running: &towpath_container::Container,
    has_started: bool,
) -> Probes {
    let cancel = CancellationToken::new();
    let (kill_tx, kill) = mpsc::channel(4);
    let started = watch::Sender::new(has_started);
    let probes = [
        (Kind::Startup, &container.startup_probe),
        (Kind::Liveness, &container.liveness_probe),
        (Kind::Readiness, &container.readiness_probe),
    ];
    for (kind, probe) in probes {
        let Some(probe) = probe
            .clone()
            .filter(|_| kind != Kind::Startup || !has_started)
        else {
            continue;
        };
        let prober = Prober {
            agent: agent.clone(),
            handle: handle.clone(),
            container: container.clone(),
            running: running.clone(),
        };
        let (cancel, kill, started) = (cancel.clone(), kill_tx.clone(), started.clone());
        towpath_daemon::spawn(format!("{} probe", kind.name()), async move {
            tokio::select! {
                () = cancel.cancelled() => {}
                () = prober.run(kind, probe, kill, started) => {}
            }
        });
    }
    Probes {
        _guard: cancel.drop_guard(),
        kill,
    }
}

fn seconds(value: Option<i32>, default: u64) -> Duration {
    Duration::from_secs(value.filter(|v| *v > 0).map_or(default, |v| v as u64))
}

impl Prober {
    async fn run(
        self,
        kind: Kind,
        probe: Probe,
        kill: mpsc::Sender<(String, Option<i64>)>,
        started: watch::Sender<bool>,
    ) {
        if kind != Kind::Startup {
            let mut wait = started.subscribe();
            let _ = wait.wait_for(|started| *started).await;
        }
        tokio::time::sleep(seconds(probe.initial_delay_seconds, 0)).await;
        let period = seconds(probe.period_seconds, 10);
        let (good_at, bad_at) = (
            probe.success_threshold.unwrap_or(1).max(1),
            probe.failure_threshold.unwrap_or(3).max(1),
        );
        let (mut good, mut bad) = (0, 0);
        let name = &self.container.name;
        loop {
            match self.ask(&probe).await {
                Ok(()) => {
                    (good, bad) = (good + 1, 0);
                    if good >= good_at {
                        match kind {
                            Kind::Startup => {
                                let ready = self.container.readiness_probe.is_none();
                                self.handle.update(|model| {
                                    if let Some(container) = model.container(name) {
                                        container.started = true;
                                        container.ready |= ready;
                                    }
                                });
                                started.send_replace(true);
                                return;
                            }
                            Kind::Readiness => self.ready(true),
                            Kind::Liveness => {}
                        }
                    }
                }
                Err(cause) => {
                    (good, bad) = (0, bad + 1);
                    let note = format!("{} probe failed: {cause}", kind.name());
                    self.agent
                        .event(&self.handle.pod(), Some(name), true, "Unhealthy", note);
                    if bad >= bad_at {
                        match kind {
                            Kind::Readiness => self.ready(false),
                            _ => {
                                let why = format!(
                                    "Container {name} failed {} probe, will be restarted",
                                    kind.name().to_lowercase()
                                );
                                let _ = kill
                                    .send((why, probe.termination_grace_period_seconds))
                                    .await;
                                return;
                            }
                        }
                    }
                }
            }
            tokio::time::sleep(period).await;
        }
    }

    fn ready(&self, ready: bool) {
        self.handle.update(|model| {
            if let Some(container) = model.container(&self.container.name) {
                container.ready = ready;
            }
        });
    }

    async fn ask(&self, probe: &Probe) -> Result<(), String> {
        let limit = seconds(probe.timeout_seconds, 1);
        let ip = self.handle.ip();
        if let Some(action) = &probe.exec {
            let command = action.command.clone().unwrap_or_default();
            return hook::exec(&self.running, command, limit).await;
        }
        if let Some(action) = &probe.http_get {
            return http::get(action, &self.container, &ip, limit, "kube-probe/1.36").await;
        }
        if let Some(action) = &probe.tcp_socket {
            let port = http::port(&action.port, &self.container)?;
            let host = action
                .host
                .as_deref()
                .filter(|host| !host.is_empty())
                .unwrap_or(&ip);
            return http::connect(host, port, limit).await.map(drop);
        }
        Err(
            "probe is of a kind this node does not have: exec, httpGet and tcpSocket are supported"
                .into(),
        )
    }
}
