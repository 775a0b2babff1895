//! Services: started in dependency order, each after those it names are ready; stopped in
//! reverse order, each within the grace limit.

use crate::spawn;
use futures::future::BoxFuture;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// What a service gets to work with.
pub struct ServiceContext {
    /// Ends when the service is asked to stop; it then drains and returns.
    pub cancel: CancellationToken,
    ready: Option<oneshot::Sender<()>>,
}

impl ServiceContext {
    /// Says that others may now rely on the service. A second call does nothing.
    pub fn ready(&mut self) {
        if let Some(ready) = self.ready.take() {
            let _ = ready.send(());
        }
    }
}

type Run = Box<dyn FnOnce(ServiceContext) -> BoxFuture<'static, Result<(), String>> + Send>;

/// One long-running part of the process.
pub struct Service {
    name: &'static str,
    after: Vec<&'static str>,
    run: Run,
}

impl Service {
    /// A service that starts once those named in `after` are ready.
    pub fn new<F, Fut>(name: &'static str, after: &[&'static str], run: F) -> Self
    where
        F: FnOnce(ServiceContext) -> Fut + Send + 'static,
        Fut: Future<Output = Result<(), String>> + Send + 'static,
    {
        Self {
            name,
            after: after.to_vec(),
            run: Box::new(|context| Box::pin(run(context))),
        }
    }

    /// Its name.
    pub fn name(&self) -> &'static str {
        self.name
    }
}

/// Why the process did not come up.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A service names one that does not exist, or they wait for each other.
    #[error("service {0} waits for {1}, which is not started before it")]
    Order(&'static str, String),
    /// A service ended before it was ready.
    #[error("service {name} did not start: {cause}")]
    Failed {
        /// Service.
        name: &'static str,
        /// Its words.
        cause: String,
    },
    /// A service took too long.
    #[error("service {0} was not ready within {1:?}")]
    Timeout(&'static str, Duration),
}

struct Running {
    name: &'static str,
    cancel: CancellationToken,
    task: JoinHandle<()>,
}

/// The started services.
pub struct Services {
    running: Vec<Running>,
    ended: mpsc::Receiver<(&'static str, Result<(), String>)>,
}

impl Services {
    /// Starts all, in an order that respects `after` (else as given). On failure stops what runs.
    pub async fn start(services: Vec<Service>, limit: Duration) -> Result<Self, StartError> {
        let ordered = order(services)?;
        let (report, ended) = mpsc::channel(ordered.len().max(1));
        let mut all = Self {
            running: Vec::new(),
            ended,
        };
        for service in ordered {
            let name = service.name;
            let (ready, is_ready) = oneshot::channel();
            let cancel = CancellationToken::new();
            let context = ServiceContext {
                cancel: cancel.clone(),
                ready: Some(ready),
            };
            let report = report.clone();
            let task = spawn(name, async move {
                let result = (service.run)(context).await;
                let _ = report.send((name, result)).await;
            });
            all.running.push(Running { name, cancel, task });
            let outcome = tokio::time::timeout(limit, is_ready).await;
            let error = match outcome {
                Ok(Ok(())) => {
                    tracing::debug!(service = name, "ready");
                    continue;
                }
                Ok(Err(_)) => all.cause(name).await,
                Err(_) => StartError::Timeout(name, limit),
            };
            all.stop(Duration::from_secs(10)).await;
            return Err(error);
        }
        Ok(all)
    }

    async fn cause(&mut self, name: &'static str) -> StartError {
        let cause = match self.ended.recv().await {
            Some((ended, Err(cause))) if ended == name => cause,
            Some((ended, result)) => format!("{ended} ended: {result:?}"),
            None => "ended without a word".into(),
        };
        StartError::Failed { name, cause }
    }

    /// Waits until a service ends by itself; that is a fault of the process.
    pub async fn failed(&mut self) -> (&'static str, String) {
        match self.ended.recv().await {
            Some((name, Ok(()))) => (name, "ended".into()),
            Some((name, Err(cause))) => (name, cause),
            None => std::future::pending().await,
        }
    }

    /// Stops all in reverse order, each within `grace`; then it is aborted and named in the log.
    pub async fn stop(mut self, grace: Duration) {
        while let Some(mut service) = self.running.pop() {
            service.cancel.cancel();
            if tokio::time::timeout(grace, &mut service.task)
                .await
                .is_err()
            {
                tracing::warn!(service = service.name, ?grace, "did not stop in time");
                service.task.abort();
            }
        }
    }
}

fn order(mut waiting: Vec<Service>) -> Result<Vec<Service>, StartError> {
    let mut ordered: Vec<Service> = Vec::with_capacity(waiting.len());
    while !waiting.is_empty() {
        let started = |name: &&str| ordered.iter().any(|s| s.name == *name);
        let Some(next) = waiting.iter().position(|s| s.after.iter().all(&started)) else {
            let stuck = &waiting[0];
            let missing = stuck
                .after
                .iter()
                .filter(|a| !started(a))
                .copied()
                .collect::<Vec<_>>();
            return Err(StartError::Order(stuck.name, missing.join(", ")));
        };
        ordered.push(waiting.remove(next));
    }
    Ok(ordered)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::{Arc, Mutex};

    fn logged(
        name: &'static str,
        after: &[&'static str],
        log: &Arc<Mutex<Vec<String>>>,
    ) -> Service {
        let log = log.clone();
        Service::new(name, after, move |mut context| async move {
            log.lock().expect("lock").push(format!("+{name}"));
            context.ready();
            context.cancel.cancelled().await;
            log.lock().expect("lock").push(format!("-{name}"));
            Ok(())
        })
    }

    #[tokio::test]
    async fn starts_in_order_and_stops_in_reverse() {
        let log = Arc::default();
        let services = vec![
            logged("c", &["b"], &log),
            logged("b", &["a"], &log),
            logged("a", &[], &log),
        ];
        let services = Services::start(services, Duration::from_secs(1))
            .await
            .expect("start");
        services.stop(Duration::from_secs(1)).await;
        assert_eq!(
            *log.lock().expect("lock"),
            ["+a", "+b", "+c", "-c", "-b", "-a"]
        );
    }

    #[tokio::test]
    async fn a_failing_start_names_the_service_and_its_words() {
        let bad = Service::new("bad", &[], |_| async { Err("no port".to_string()) });
        let error = Services::start(vec![bad], Duration::from_secs(1))
            .await
            .err()
            .expect("error");
        assert_eq!(error.to_string(), "service bad did not start: no port");
    }

    #[tokio::test]
    async fn a_cycle_is_named() {
        let log = Arc::default();
        let error = Services::start(
            vec![logged("a", &["b"], &log), logged("b", &["a"], &log)],
            Duration::from_secs(1),
        )
        .await
        .err()
        .expect("error");
        assert!(error.to_string().contains("waits for b"), "{error}");
    }
}
