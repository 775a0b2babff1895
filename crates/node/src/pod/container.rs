//! One container of a pod through all its instances: image, start, probes, end, restart.

use super::ending::elapsed;
use super::model::{Ended, State, instant};
use super::probe::{self, Probes};
use super::start::{container_id, parse_id, spec};
use super::{StopOrders, hook, ordered};
use crate::agent::{Agent, PodHandle, now};
use crate::error::words;
use crate::image::Ready;
use k8s_openapi::api::core::v1::Container;
use k8s_openapi::jiff::Timestamp;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;
use towpath_container::{Container as Instance, Phase, Record, log};

const BACKOFF: Duration = Duration::from_secs(10);
pub(super) const BACKOFF_MOST: Duration = Duration::from_secs(300);
/// A container that ran this long starts its back-off anew.
const STEADY: Duration = Duration::from_secs(600);

/// When it runs again after its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Restart {
    Always,
    OnFailure,
    Never,
}

impl Restart {
    pub(crate) fn of(policy: Option<&str>) -> Self {
        match policy {
            Some("Never") => Self::Never,
            Some("OnFailure") => Self::OnFailure,
            _ => Self::Always,
        }
    }

    fn again(self, code: i32) -> bool {
        match self {
            Self::Always => true,
            Self::OnFailure => code != 0,
            Self::Never => false,
        }
    }
}

/// Delay before restart number `restarts + 1`: none, then 10 s doubling to 5 min.
pub(crate) fn delay(crashes: u32) -> Duration {
    match crashes {
        0 => Duration::ZERO,
        n => BACKOFF
            .saturating_mul(1 << (n - 1).min(8))
            .min(BACKOFF_MOST),
    }
}

pub(crate) struct Task {
    pub(crate) agent: Arc<Agent>,
    pub(crate) handle: Arc<PodHandle>,
    pub(crate) container: Container,
    pub(crate) restart: Restart,
    pub(crate) stop: StopOrders,
}

// What became of one instance.
pub(super) struct Outcome {
    pub(super) ended: Ended,
    pub(super) ran: Duration,
    pub(super) attempt: u32,
}

impl Task {
    /// Runs the container until it ended for good; its last exit code, or `None` where it was
    /// told to stop before it ended by itself.
    pub(crate) async fn run(mut self) -> Option<i32> {
        let code = self.instances().await;
        self.handle.update(|model| {
            if let Some(container) = model.container(&self.container.name) {
                (container.done, container.ready, container.started) = (true, false, false);
            }
        });
        code
    }

    async fn instances(&mut self) -> Option<i32> {
        let mut attempt = 0;
        let mut crashes = 0;
        let mut outcome = None;
        if let Some(found) = self.newest() {
            (attempt, crashes) = (found, found);
            outcome = self.adopt(found).await;
            if outcome.is_none() {
                attempt += 1;
            }
        } else if let Some(lost) = self.lost() {
            (attempt, crashes) = (lost.attempt, lost.attempt);
            outcome = Some(lost);
        }
        loop {
            let last = match outcome.take() {
                Some(last) => last,
                None => self.instance(attempt).await?,
            };
            let code = last.ended.exit_code;
            if last.ran >= STEADY {
                crashes = 0;
            }
            let again = self.restart.again(code) && self.stop.borrow().is_none();
            self.show(last.ended.clone());
            if !again {
                let stopped = self.stop.borrow().is_some();
                return (!stopped || code == 0).then_some(code);
            }
            self.wait_for_restart(&last, crashes).await?;
            crashes += 1;
            attempt = last.attempt + 1;
            self.forget_before(attempt);
        }
    }

    pub(super) fn name(&self) -> &str {
        &self.container.name
    }

    pub(super) fn update(&self, change: impl FnOnce(&mut super::model::ContainerModel)) {
        self.handle.update(|model| {
            if let Some(container) = model.container(&self.container.name) {
                change(container);
            }
        });
    }

    pub(super) fn event(&self, warning: bool, reason: &'static str, note: String) {
        self.agent
            .event(&self.handle.pod(), Some(self.name()), warning, reason, note);
    }

    pub(super) fn waiting(&self, reason: &str, message: String) {
        self.update(|container| {
            if let State::Ended(ended) = &container.state {
                container.last = Some(ended.clone());
            }
            container.state = State::Waiting {
                reason: reason.into(),
                message,
            };
            (container.ready, container.started) = (false, false);
        });
    }

    fn show(&self, ended: Ended) {
        self.update(|container| {
            container.state = State::Ended(ended);
            (container.ready, container.started) = (false, false);
        });
    }

    fn newest(&self) -> Option<u32> {
        let ids = self.agent.runtime.list();
        let own = ids
            .iter()
            .filter_map(|id| parse_id(id))
            .filter(|(uid, name, _)| *uid == self.handle.uid && *name == self.name());
        own.map(|(_, _, attempt)| attempt).max()
    }

    // What the API knows to have run and the runtime knows nothing of: this machine lost it, as
    // after `down`. Init containers simply run again, as in a new sandbox.
    fn lost(&self) -> Option<Outcome> {
        let status = self.handle.first.status.clone()?;
        let known = status
            .container_statuses?
            .into_iter()
            .find(|status| status.name == self.container.name)?;
        known.container_id.filter(|id| !id.is_empty())?;
        let attempt = known.restart_count.max(0) as u32;
        let state = known.state.unwrap_or_default();
        if let Some(ended) = state.terminated {
            return Some(Outcome {
                ended: Ended::from_api(ended),
                ran: Duration::ZERO,
                attempt,
            });
        }
        let ended = Ended {
            exit_code: super::UNKNOWN_EXIT,
            signal: 0,
            reason: "ContainerStatusUnknown".into(),
            message: "The container could not be located when the node started".into(),
            started: state
                .running
                .and_then(|running| running.started_at)
                .map(|time| time.0),
            finished: Some(now()),
            id: container_id(&self.handle.uid, self.name(), attempt),
        };
        Some(Outcome {
            ended,
            ran: Duration::ZERO,
            attempt,
        })
    }

    // Takes an instance over that an earlier server started. `None`: start the next one.
    async fn adopt(&mut self, attempt: u32) -> Option<Outcome> {
        let id = container_id(&self.handle.uid, self.name(), attempt);
        let instance = self.agent.runtime.find(&id).ok()?;
        let record = instance.record().ok();
        let phase = record.as_ref().map(|record| record.phase);
        let image = self.container.image.clone().unwrap_or_default();
        let image_id = self
            .agent
            .images
            .present(&image)
            .map(|ready| ready.id())
            .unwrap_or(image);
        self.update(|container| {
            container.restarts = attempt as i32;
            container.id = id.clone();
            container.image_id = image_id;
        });
        match (phase, record) {
            (Some(Phase::Running), Some(record)) => Some(
                self.supervise(
                    instance,
                    attempt,
                    instant(record.started_at.as_ref()).unwrap_or_else(now),
                    None,
                )
                .await,
            ),
            (Some(Phase::Exited | Phase::Failed), Some(record)) => {
                Some(self.outcome(attempt, &record))
            }
            _ => {
                let _ = instance.remove().await;
                None
            }
        }
    }

    // One instance from image to end. `None` where an order to stop came first.
    async fn instance(&mut self, attempt: u32) -> Option<Outcome> {
        let mut tries = 0;
        loop {
            if self.stop.borrow().is_some() {
                return None;
            }
            let image = self.image().await?;
            let id = container_id(&self.handle.uid, self.name(), attempt);
            self.update(|container| {
                container.restarts = attempt as i32;
                container.image_id = image.id();
            });
            let (agent, handle, container) = (
                self.agent.clone(),
                self.handle.clone(),
                self.container.clone(),
            );
            let ready = image.clone();
            let spec = tokio::task::spawn_blocking(move || {
                spec(&agent, &handle, &container, &ready, attempt)
            })
            .await;
            let spec = match spec.unwrap_or_else(|_| Err("preparing the container panicked".into()))
            {
                Ok(spec) => spec,
                Err(cause) => {
                    self.event(true, "Failed", format!("Error: {cause}"));
                    self.waiting("CreateContainerConfigError", cause);
                    self.pause(&mut tries).await?;
                    continue;
                }
            };
            let began = Instant::now();
            let started = self.agent.runtime.start(&spec).await;
            tracing::debug!(container = spec.id, took = ?began.elapsed(), good = started.is_ok(), "started");
            match started {
                Ok(instance) => {
                    self.update(|container| container.id = id);
                    self.event(
                        false,
                        "Created",
                        format!("Created container: {}", self.name()),
                    );
                    self.event(
                        false,
                        "Started",
                        format!("Started container {}", self.name()),
                    );
                    let since = instance
                        .record()
                        .ok()
                        .and_then(|record| instant(record.started_at.as_ref()));
                    return Some(
                        self.supervise(instance, attempt, since.unwrap_or_else(now), Some(&image))
                            .await,
                    );
                }
                Err(towpath_container::Error::Program(cause)) => {
                    self.event(
                        true,
                        "Failed",
                        format!(
                            "Error: failed to start container {:?}: {cause}",
                            self.name()
                        ),
                    );
                    let at = Some(now());
                    let ended = Ended {
                        exit_code: 128,
                        signal: 0,
                        reason: "StartError".into(),
                        message: cause,
                        started: at,
                        finished: at,
                        id,
                    };
                    return Some(Outcome {
                        ended,
                        ran: Duration::ZERO,
                        attempt,
                    });
                }
                Err(error) => {
                    let cause = words(&error);
                    self.event(true, "Failed", format!("Error: {cause}"));
                    self.waiting("CreateContainerError", cause);
                    let _ = self.agent.runtime.remove(&id).await;
                    self.pause(&mut tries).await?;
                }
            }
        }
    }

    // Waits before another try; sooner where something the pod refers to changed.
    async fn pause(&mut self, tries: &mut u32) -> Option<()> {
        *tries += 1;
        let wait = Duration::from_secs(1 << (*tries).min(5));
        let mut refreshed = self.handle.changed_sources();
        tokio::select! {
            _ = ordered(&mut self.stop) => None,
            _ = refreshed.changed() => Some(()),
            () = tokio::time::sleep(wait) => Some(()),
        }
    }

    async fn supervise(
        &mut self,
        instance: Instance,
        attempt: u32,
        since: Timestamp,
        fresh: Option<&Ready>,
    ) -> Outcome {
        if let (Some(_), Some(hook)) = (
            fresh,
            self.container
                .lifecycle
                .as_ref()
                .and_then(|l| l.post_start.clone()),
        ) {
            let ip = self.handle.ip();
            if let Err(cause) =
                hook::run(&hook, &self.container, &instance, &ip, BACKOFF_MOST).await
            {
                self.event(
                    true,
                    "FailedPostStartHook",
                    format!("PostStartHook failed: {cause}"),
                );
                self.event(
                    false,
                    "Killing",
                    format!(
                        "FailedPostStartHook: container {} will be killed",
                        self.name()
                    ),
                );
                let grace = self.grace();
                self.terminate(&instance, grace, false).await;
            }
        }
        let fresh = fresh.is_some();
        if fresh {
            crate::meters::container_started(&self.handle.pod(), &self.container.name);
        }
        let ready = probe::ready_at_once(&self.container);
        let mut has_started = self.container.startup_probe.is_none();
        self.update(|container| {
            if let State::Ended(ended) = &container.state {
                container.last = Some(ended.clone());
            }
            container.state = State::Running { since };
            // What was taken over is what it was until a probe says otherwise.
            container.ready = ready || (!fresh && container.ready);
            container.started = has_started || (!fresh && container.started);
            has_started = container.started;
        });
        let mut probes = probe::start(
            &self.agent,
            &self.handle,
            &self.container,
            &instance,
            has_started,
        );
        let waited = self.until_end(&instance, &mut probes).await;
        drop(probes);
        match waited {
            Ok(record) => self.outcome(attempt, &record),
            Err(error) => Outcome {
                ended: Ended {
                    exit_code: 137,
                    signal: 0,
                    reason: "ContainerStatusUnknown".into(),
                    message: format!("how the container ended is not known: {error}"),
                    started: Some(since),
                    finished: Some(now()),
                    id: instance.id().into(),
                },
                ran: elapsed(Some(since), Some(now())),
                attempt,
            },
        }
    }

    async fn until_end(
        &mut self,
        instance: &Instance,
        probes: &mut Probes,
    ) -> Result<Record, towpath_container::Error> {
        let ended = instance.wait();
        tokio::pin!(ended);
        let mut stop = self.stop.clone();
        tokio::select! {
            record = &mut ended => return record,
            order = ordered(&mut stop) => {
                self.event(false, "Killing", format!("Stopping container {}", self.name()));
                self.terminate(instance, order.deadline, true).await;
            }
            Some((why, grace)) = probes.kill.recv() => {
                self.event(false, "Killing", why);
                let grace = grace.filter(|s| *s > 0).map(|s| Duration::from_secs(s as u64));
                let deadline = grace.map_or_else(|| self.grace(), |grace| Instant::now() + grace);
                self.terminate(instance, deadline, true).await;
            }
        }
        ended.await
    }

    async fn wait_for_restart(&mut self, last: &Outcome, crashes: u32) -> Option<()> {
        let wait = delay(crashes).saturating_sub(elapsed(last.ended.finished, Some(now())));
        if wait.is_zero() {
            return Some(());
        }
        let pod = format!(
            "{}_{}({})",
            self.handle.key.name, self.handle.key.namespace, self.handle.uid
        );
        let whole = delay(crashes).as_secs();
        let whole = if whole >= 60 {
            format!("{}m{}s", whole / 60, whole % 60)
        } else {
            format!("{whole}s")
        };
        self.waiting(
            "CrashLoopBackOff",
            format!(
                "back-off {whole} restarting failed container={} pod={pod}",
                self.name()
            ),
        );
        self.event(
            true,
            "BackOff",
            format!(
                "Back-off restarting failed container {} in pod {pod}",
                self.name()
            ),
        );
        tokio::select! {
            _ = ordered(&mut self.stop) => None,
            () = tokio::time::sleep(wait) => Some(()),
        }
    }

    // Instances before the one that ended last: their state, writable layer and log.
    fn forget_before(&self, next: u32) {
        let (agent, uid, name) = (
            self.agent.clone(),
            self.handle.uid.clone(),
            self.container.name.clone(),
        );
        towpath_daemon::spawn("forget instances", async move {
            let ids = agent.runtime.list();
            for id in ids {
                let Some((of, container, attempt)) = parse_id(&id) else {
                    continue;
                };
                if of == uid && container == name && attempt < next {
                    let _ = agent.runtime.remove(&id).await;
                }
            }
            let gone = super::start::instance_dir(&agent, &uid, &name, next.saturating_sub(1));
            let log = next
                .checked_sub(2)
                .map(|attempt| agent.log_file(&uid, &name, attempt));
            let _ = tokio::task::spawn_blocking(move || {
                let _ = std::fs::remove_dir_all(gone);
                if let Some(log) = log {
                    log::rotated(&log)
                        .into_iter()
                        .for_each(|(_, path)| drop(std::fs::remove_file(path)));
                    let _ = std::fs::remove_file(log);
                }
            })
            .await;
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn restarts_wait_longer_each_time() {
        let seconds: Vec<u64> = (0..8).map(|n| delay(n).as_secs()).collect();
        assert_eq!(seconds, [0, 10, 20, 40, 80, 160, 300, 300]);
        assert_eq!(delay(1000), BACKOFF_MOST);
        assert!(
            Restart::OnFailure.again(1) && !Restart::OnFailure.again(0) && !Restart::Never.again(1)
        );
    }
}
