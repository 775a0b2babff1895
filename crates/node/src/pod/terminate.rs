//! Ending a container: hook, polite signal, kill.

use super::container::Task;
use super::{Stop, hook};
use std::time::Duration;
use tokio::time::Instant;
use towpath_container::Container as Instance;

/// Time a container has after its hook used up the grace.
const LEAST_GRACE: Duration = Duration::from_secs(2);

impl Task {
    /// When the pod's own grace ends, counted from now.
    pub(super) fn grace(&self) -> Instant {
        let seconds = self
            .handle
            .pod()
            .spec
            .as_ref()
            .and_then(|s| s.termination_grace_period_seconds)
            .unwrap_or(30);
        Instant::now() + Duration::from_secs(seconds.clamp(0, 86_400 * 365) as u64)
    }

    // Hook, polite signal, kill. On return the container has ended or is about to.
    pub(super) async fn terminate(
        &mut self,
        instance: &Instance,
        deadline: Instant,
        with_hook: bool,
    ) {
        let mut deadline = deadline;
        let left = |deadline: Instant| deadline.saturating_duration_since(Instant::now());
        let hook = self
            .container
            .lifecycle
            .as_ref()
            .and_then(|l| l.pre_stop.clone())
            .filter(|_| with_hook);
        if let Some(hook) = hook
            && !left(deadline).is_zero()
        {
            let ip = self.handle.ip();
            let ran = hook::run(&hook, &self.container, instance, &ip, left(deadline)).await;
            if let Err(cause) = ran {
                self.event(
                    true,
                    "FailedPreStopHook",
                    format!("PreStopHook failed: {cause}"),
                );
            }
            if !left(deadline).is_zero() {
                deadline = deadline.max(Instant::now() + LEAST_GRACE);
            }
        }
        if !left(deadline).is_zero() {
            let _ = instance.signal(self.stop_signal()).await;
            let mut stop = self.stop.clone();
            let mut ended = std::pin::pin!(instance.wait());
            loop {
                let shorter = async {
                    loop {
                        if let Some(Stop { deadline: sooner }) = *stop.borrow_and_update()
                            && sooner < deadline
                        {
                            return sooner;
                        }
                        if stop.changed().await.is_err() {
                            std::future::pending::<()>().await;
                        }
                    }
                };
                tokio::select! {
                    _ = &mut ended => return,
                    () = tokio::time::sleep_until(deadline) => break,
                    sooner = shorter => deadline = sooner,
                }
            }
        }
        let _ = instance.kill().await;
    }

    fn stop_signal(&self) -> i32 {
        let own = self
            .container
            .lifecycle
            .as_ref()
            .and_then(|l| l.stop_signal.clone());
        let image = self
            .container
            .image
            .as_deref()
            .and_then(|image| self.agent.images.present(image));
        let name = own
            .or_else(|| image.and_then(|ready| ready.config.stop_signal))
            .unwrap_or_default();
        signal_number(&name).unwrap_or(libc::SIGTERM)
    }
}

/// `SIGTERM`, `TERM` or `15` as a number.
fn signal_number(name: &str) -> Option<i32> {
    if let Ok(number) = name.parse::<i32>() {
        return (1..=64).contains(&number).then_some(number);
    }
    let full = if name.starts_with("SIG") {
        name.to_string()
    } else {
        format!("SIG{name}")
    };
    full.parse::<nix::sys::signal::Signal>()
        .ok()
        .map(|signal| signal as i32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signals_by_name_and_number() {
        for (name, number) in [
            ("SIGINT", Some(2)),
            ("QUIT", Some(3)),
            ("15", Some(15)),
            ("99", None),
            ("", None),
        ] {
            assert_eq!(signal_number(name), number, "{name}");
        }
    }
}
