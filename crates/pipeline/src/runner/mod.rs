//! The program inside a job's pod: reads `job.json`, runs the steps, writes one event per line.
//!
//! It is PID 1 of the pod's container and adopts what steps leave behind. On SIGTERM the running
//! step is interrupted, steps with `always()` or `cancelled()` still run, within the job's
//! cancel timeout.

mod artifact;
mod cache;
mod checkout;
mod disk;
mod files;
mod gates;
mod http;
mod image;
mod limits;
mod output;
mod pack;
mod patience;
mod process;
mod processes;
mod setup;
mod shell;
mod sink;
mod state;
mod step;
mod steps;
mod watch;

use crate::expr::{Scope, interpolate};
use crate::job::{Event, FORMAT, JobFile};
use crate::mask::Masker;
use sink::Sink;
use state::{Places, State};
use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;
use std::time::Duration;
use tokio::time::Instant;
use towpath_daemon::CancellationToken;
use towpath_kit::kinds::Phase;

const LIMIT_JOB_BYTES: u64 = 16 << 20;
// All outputs of a job together: they travel in the run's status and in other jobs' files.
const LIMIT_OUTPUT_BYTES: usize = 256 << 10;

/// What a step leaves to be done after all steps.
pub(super) enum Post {
    /// Save a cache under a key that was not found.
    SaveCache {
        /// Key.
        key: String,
        /// `path:` of the step.
        path: String,
    },
}

/// Runs the job in a file; the exit code is 0 where it succeeded. Work goes below
/// `TOWPATH_RUNNER_ROOT`, else `/home/runner/work`.
pub fn main(path: &Path) -> i32 {
    let runtime = match tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => return complain(&format!("start the runner: {error}")),
    };
    let text = match towpath_stdx::bounded::read_file(path, LIMIT_JOB_BYTES) {
        Ok(text) => text,
        Err(error) => return complain(&format!("read {}: {error}", path.display())),
    };
    let job: JobFile = match serde_json::from_slice(&text) {
        Ok(job) => job,
        Err(error) => return complain(&format!("read {}: {error}", path.display())),
    };
    if job.format != FORMAT {
        return complain(&format!(
            "{} has format {}, not {FORMAT}",
            path.display(),
            job.format
        ));
    }
    let root =
        std::env::var_os("TOWPATH_RUNNER_ROOT").unwrap_or_else(|| "/home/runner/work".into());
    runtime.block_on(async {
        let cancel = CancellationToken::new();
        listen(&cancel);
        process::adopt_orphans();
        towpath_daemon::spawn("reap", process::reap());
        let conclusion = run(job, Path::new(&root), Box::new(std::io::stdout()), cancel).await;
        // With PID 1 the kernel ends all that is left, faster than a fork bomb grows.
        if std::process::id() != 1 {
            process::end_orphans().await;
        }
        match conclusion {
            Phase::Succeeded => 0,
            Phase::Cancelled => 143,
            _ => 1,
        }
    })
}

fn complain(message: &str) -> i32 {
    let event = Event::Ended {
        conclusion: Phase::Failed,
        message: message.to_string(),
        outputs: BTreeMap::new(),
    };
    Sink::new(Box::new(std::io::stdout()), Masker::default()).event(event);
    2
}

fn listen(cancel: &CancellationToken) {
    use tokio::signal::unix::{SignalKind, signal};
    for kind in [SignalKind::terminate(), SignalKind::interrupt()] {
        let cancel = cancel.clone();
        if let Ok(mut signal) = signal(kind) {
            towpath_daemon::spawn("signal", async move {
                signal.recv().await;
                cancel.cancel();
            });
        }
    }
}

/// Runs a job below a directory; events go to `out`.
pub async fn run(
    job: JobFile,
    root: &Path,
    out: Box<dyn Write + Send>,
    cancel: CancellationToken,
) -> Phase {
    let secrets = job.contexts.get("secrets").and_then(|s| s.as_object());
    let secrets = secrets
        .into_iter()
        .flat_map(|s| s.values())
        .filter_map(|v| v.as_str());
    let texts = secrets
        .chain(job.masks.iter().map(String::as_str))
        .chain([job.token.as_str()]);
    let sink = Sink::new(out, Masker::new(texts));
    sink.event(Event::Started);
    let (conclusion, message, outputs) = match Job::prepare(job, root, sink.clone(), cancel) {
        Ok(mut job) => job.run().await,
        Err(message) => (Phase::Failed, sink.mask_text(&message), BTreeMap::new()),
    };
    sink.event(Event::Ended {
        conclusion,
        message,
        outputs,
    });
    conclusion
}

/// A job under way.
pub(super) struct Job {
    state: State,
    sink: Sink,
    server: http::Server,
    cancel: CancellationToken,
    deadline: Instant,
    cancel_deadline: Option<Instant>,
    timed_out: bool,
    first_failure: Option<String>,
    posts: Vec<(String, Post)>,
    watch: watch::Watch,
}

impl Job {
    fn prepare(
        job: JobFile,
        root: &Path,
        sink: Sink,
        cancel: CancellationToken,
    ) -> Result<Self, String> {
        let places = Places::below(root, &job.repository)
            .map_err(|e| format!("prepare {}: {e}", root.display()))?;
        let server = http::Server::new(&job.server, &job.token)?;
        let minutes = |m: f64| Duration::from_secs_f64((m * 60.0).clamp(0.1, 35.0 * 86_400.0));
        let deadline = Instant::now() + minutes(job.timeout_minutes);
        let watch = watch::Watch::start(root, job.disk_bytes, job.processes);
        let mut state = State {
            job,
            places,
            env: BTreeMap::new(),
            path: Vec::new(),
            steps: Vec::new(),
            failed: false,
            cancelled: false,
        };
        let event = state.job.event.to_string();
        std::fs::write(state.event_path(), event).map_err(|e| format!("write the event: {e}"))?;
        for pairs in [state.job.workflow_env.clone(), state.job.env.clone()] {
            let evaluated = state
                .evaluate(&pairs, &BTreeMap::new())
                .map_err(|e| format!("env {e}"))?;
            state.env.extend(evaluated);
        }
        Ok(Self {
            state,
            sink,
            server,
            cancel,
            deadline,
            cancel_deadline: None,
            timed_out: false,
            first_failure: None,
            posts: Vec::new(),
            watch,
        })
    }

    async fn run(&mut self) -> (Phase, String, BTreeMap<String, String>) {
        let steps = self.state.job.steps.clone();
        for (index, step) in steps.iter().enumerate() {
            self.step(index as u32 + 1, step).await;
        }
        let mut number = steps.len() as u32;
        while let Some((title, post)) = self.posts.pop() {
            number += 1;
            self.post(number, &title, post).await;
        }
        let (outputs, problem) = self.outputs();
        self.notice_cancel();
        if self.timed_out {
            let message = format!(
                "took longer than {} minutes",
                self.state.job.timeout_minutes
            );
            return (Phase::Failed, message, outputs);
        }
        if self.state.cancelled {
            return (Phase::Cancelled, "cancelled".into(), outputs);
        }
        let failure = self.first_failure.take().filter(|_| self.state.failed);
        match failure.or(problem) {
            Some(message) => (Phase::Failed, self.sink.mask_text(&message), outputs),
            None => (Phase::Succeeded, String::new(), outputs),
        }
    }

    // A cancel that came, or a job that took too long, is seen between steps.
    fn notice_cancel(&mut self) {
        let late = Instant::now() >= self.deadline;
        if !self.state.cancelled && (self.cancel.is_cancelled() || late) {
            self.state.cancelled = true;
            self.timed_out = late && !self.cancel.is_cancelled();
            let grace = Duration::from_secs_f64(
                (self.state.job.cancel_timeout_minutes * 60.0).clamp(1.0, 86_400.0),
            );
            self.cancel_deadline = Some(Instant::now() + grace);
        }
    }

    // `outputs:`; a value that would carry a secret to other jobs is dropped.
    fn outputs(&self) -> (BTreeMap<String, String>, Option<String>) {
        let contexts = self.state.contexts(&BTreeMap::new());
        let scope = Scope::new(&contexts, self.state.status());
        let mut outputs = BTreeMap::new();
        let mut problem = None;
        let mut bytes = 0;
        let masker = self.sink.masker();
        for (name, text) in &self.state.job.outputs {
            match interpolate(text, &scope) {
                Err(error) => problem = problem.or(Some(format!("output {name}: {error}"))),
                Ok(value) if bytes + value.len() > LIMIT_OUTPUT_BYTES => {
                    problem = problem.or(Some(format!(
                        "with output {name} the outputs are larger than {LIMIT_OUTPUT_BYTES} bytes"
                    )));
                }
                Ok(value) if masker.hits(&value) => {
                    let last = self.state.job.steps.len() as u32;
                    self.sink.warning(
                        last,
                        &format!("output {name} holds a secret and is dropped"),
                    );
                }
                Ok(value) => {
                    bytes += value.len();
                    outputs.insert(name.clone(), value);
                }
            }
        }
        (outputs, problem)
    }
}
