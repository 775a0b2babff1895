//! Follows the event stream of a job's pod: writes step logs, keeps the progress, wakes the run.
//!
//! The stream is the pod's log. It is read from its start after every interruption; events that
//! were taken before, and log lines that are on disk, change nothing.

use super::observed::Progress;
use super::pod::CONTAINER;
use crate::job::{Event, Line};
use crate::logs::{AttemptKey, Logs, Writer};
use futures::{AsyncBufReadExt, AsyncReadExt};
use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, LogParams};
use parking_lot::Mutex;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use towpath_daemon::CancellationToken;
use towpath_kit::cache::Key;
use towpath_kit::kinds::StepStatus;
use towpath_kit::queue::Queue;

const LIMIT_LINE_BYTES: u64 = 2 << 20;
// Status writes for steps that follow each other closely are taken together.
const COALESCE: Duration = Duration::from_millis(100);
const TRIES: u32 = 8;
const LONGEST_WAIT: Duration = Duration::from_secs(2);

/// Which job of which attempt.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Followed {
    pub(crate) attempt: AttemptKey,
    pub(crate) row: String,
}

/// A follower under way, or one that is over and keeps its progress.
pub(crate) struct Follower {
    pub(crate) progress: Arc<Mutex<Progress>>,
    cancel: CancellationToken,
}

impl Drop for Follower {
    fn drop(&mut self) {
        self.cancel.cancel();
    }
}

/// What a follower needs.
pub(crate) struct Follow {
    pub(crate) api: Api<Pod>,
    pub(crate) pod: String,
    pub(crate) followed: Followed,
    pub(crate) logs: Logs,
    pub(crate) queue: Queue<Key>,
    pub(crate) steps: Vec<StepStatus>,
}

/// Starts to follow.
pub(crate) fn start(follow: Follow, parent: &CancellationToken) -> Follower {
    let progress = Arc::new(Mutex::new(Progress::resume(&follow.steps)));
    let cancel = parent.child_token();
    let follower = Follower {
        progress: progress.clone(),
        cancel: cancel.clone(),
    };
    towpath_daemon::spawn(format!("follow {}", follow.pod), async move {
        tokio::select! {
            () = cancel.cancelled() => {}
            () = run(follow, progress) => {}
        }
    });
    follower
}

async fn run(follow: Follow, progress: Arc<Mutex<Progress>>) {
    let key = Key::new(
        &follow.followed.attempt.namespace,
        &follow.followed.attempt.run,
    );
    let mut writers: HashMap<u32, Writer> = HashMap::new();
    let mut failures = 0;
    loop {
        let before = progress.lock().last;
        let result = read(&follow, &progress, &mut writers, &key).await;
        if progress.lock().ended.is_some() {
            break;
        }
        let ended = match follow.api.get_opt(&follow.pod).await {
            Ok(None) => true,
            Ok(Some(pod)) => super::observed::PodState::of(&pod).ended,
            Err(_) => false,
        };
        // One more reading after the pod's end finds what came last.
        failures = if progress.lock().last > before {
            0
        } else {
            failures + 1
        };
        if ended && failures > 0 && (result.is_ok() || failures >= TRIES) {
            break;
        }
        if let Err(error) = result {
            tracing::debug!(pod = follow.pod, error, "log of a job interrupted");
        }
        tokio::time::sleep(towpath_kit::queue::backoff(failures.max(1)).min(LONGEST_WAIT)).await;
    }
    progress.lock().stream_over = true;
    follow.queue.add(key);
}

async fn read(
    follow: &Follow,
    progress: &Mutex<Progress>,
    writers: &mut HashMap<u32, Writer>,
    key: &Key,
) -> Result<(), String> {
    let parameters = LogParams {
        container: Some(CONTAINER.into()),
        follow: true,
        ..LogParams::default()
    };
    let stream = follow
        .api
        .log_stream(&follow.pod, &parameters)
        .await
        .map_err(|e| e.to_string())?;
    let mut stream = Box::pin(stream);
    let mut line = Vec::new();
    loop {
        line.clear();
        let n = (&mut stream)
            .take(LIMIT_LINE_BYTES)
            .read_until(b'\n', &mut line)
            .await
            .map_err(|e| e.to_string())?;
        if n == 0 {
            return Ok(());
        }
        // What is no event was not written by the runner.
        let Ok(event) = serde_json::from_slice::<Line>(&line) else {
            continue;
        };
        take(follow, progress, writers, key, &event);
        if matches!(event.event, Event::Ended { .. }) {
            return Ok(());
        }
    }
}

fn take(
    follow: &Follow,
    progress: &Mutex<Progress>,
    writers: &mut HashMap<u32, Writer>,
    key: &Key,
    line: &Line,
) {
    if let Event::Log {
        step,
        line: number,
        text,
    } = &line.event
    {
        if let Err(error) = write(follow, writers, *step, *number, text) {
            tracing::warn!(pod = follow.pod, step, %error, "step log not written");
        }
        follow.logs.touch(&key.namespace, &key.name);
    }
    if let Event::StepEnded { step, .. } = &line.event {
        writers.remove(step);
    }
    if progress.lock().take(line.n, &line.t, &line.event) {
        if matches!(line.event, Event::Ended { .. }) {
            follow.queue.add(key.clone());
        } else {
            follow.queue.add_after(key.clone(), COALESCE);
        }
    }
}

fn write(
    follow: &Follow,
    writers: &mut HashMap<u32, Writer>,
    step: u32,
    number: u64,
    text: &str,
) -> std::io::Result<()> {
    let writer = match writers.entry(step) {
        std::collections::hash_map::Entry::Occupied(entry) => entry.into_mut(),
        std::collections::hash_map::Entry::Vacant(entry) => entry.insert(follow.logs.writer(
            &follow.followed.attempt,
            &follow.followed.row,
            step,
        )?),
    };
    writer.write(number, text)
}
