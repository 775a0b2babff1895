//! One program of a step: its own process group, both outputs through one pipe in order, ended
//! by interrupt, terminate, kill.

use parking_lot::Mutex;
use rustix::process::{Pid, Signal, kill_process_group};
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;
use tokio::io::AsyncReadExt;
use tokio::time::Instant;
use towpath_daemon::CancellationToken;
use towpath_stdx::process;

/// How a program ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ended {
    /// With an exit code.
    Code(i32),
    /// By a signal.
    Signal(i32),
    /// The job was cancelled.
    Cancelled,
    /// It took too long.
    TimedOut,
}

/// What to start.
pub(super) struct Program<'a> {
    pub(super) program: &'a str,
    pub(super) args: &'a [String],
    pub(super) env: &'a BTreeMap<String, String>,
    pub(super) dir: &'a Path,
}

/// When to end it early.
#[derive(Clone)]
pub(super) struct Limits {
    pub(super) cancel: CancellationToken,
    pub(super) deadline: Option<Instant>,
}

// After each signal, this long until the next.
const SEQUENCE: [(Signal, Duration); 3] = [
    (Signal::INT, Duration::from_millis(7500)),
    (Signal::TERM, Duration::from_millis(2500)),
    (Signal::KILL, Duration::from_secs(10)),
];
// How long output may still come after the program itself ended.
const REAP_INTERVAL: Duration = Duration::from_millis(200);
const DRAIN: Duration = Duration::from_secs(1);

/// Runs a program; `output` gets its bytes as they come.
pub(super) async fn run(
    program: Program<'_>,
    limits: &Limits,
    output: &mut (dyn FnMut(&[u8]) + Send),
) -> io::Result<Ended> {
    let (reader, writer) = io::pipe()?;
    let mut command = process::command(program.program);
    command
        .args(program.args)
        .env_clear()
        .envs(program.env)
        .current_dir(program.dir)
        .stdout(Stdio::from(writer.try_clone()?))
        .stderr(Stdio::from(writer))
        .process_group(0);
    let mut child = command.spawn()?;
    // The command holds the pipe's writing end; without this the end would never be seen.
    drop(command);
    let group = child.id().and_then(|id| Pid::from_raw(id as i32));
    let _own = Own::new(group);
    let mut pipe = tokio::net::unix::pipe::Receiver::from_owned_fd(reader.into())?;
    let mut buffer = vec![0u8; 64 << 10];
    let mut open = true;
    let mut why = None;
    let mut signals = SEQUENCE.iter();
    let mut next_signal: Option<Instant> = None;
    let mut status = None;
    let mut drain_until: Option<Instant> = None;
    loop {
        if status.is_some() && !open {
            break;
        }
        let timer = [
            limits.deadline.filter(|_| why.is_none()),
            next_signal,
            drain_until,
        ]
        .into_iter()
        .flatten()
        .min();
        let far = Instant::now() + Duration::from_secs(86_400);
        tokio::select! {
            biased;
            read = pipe.read(&mut buffer), if open => match read {
                Ok(0) | Err(_) => open = false,
                Ok(n) => output(&buffer[..n]),
            },
            ended = child.wait(), if status.is_none() => {
                status = Some(ended?);
                next_signal = None;
                drain_until = Some(Instant::now() + DRAIN);
            }
            () = limits.cancel.cancelled(), if why.is_none() && status.is_none() => {
                why = Some(Ended::Cancelled);
                next_signal = Some(Instant::now());
            }
            () = tokio::time::sleep_until(timer.unwrap_or(far)) => {
                let now = Instant::now();
                if drain_until.is_some_and(|t| t <= now) {
                    break;
                }
                if status.is_none() && why.is_none() && limits.deadline.is_some_and(|t| t <= now) {
                    why = Some(Ended::TimedOut);
                    next_signal = Some(now);
                }
                if status.is_none() && next_signal.is_some_and(|t| t <= now) {
                    match (signals.next(), group) {
                        (Some((signal, wait)), Some(group)) => {
                            let _ = kill_process_group(group, *signal);
                            next_signal = Some(now + *wait);
                        }
                        _ => break,
                    }
                }
            }
        }
    }
    if open {
        // Something in the background still holds the pipe: let it write on, unheard.
        towpath_daemon::spawn("background output", async move {
            let mut pipe = pipe;
            while matches!(pipe.read(&mut buffer).await, Ok(n) if n > 0) {}
        });
    }
    if let Some(why) = why {
        if let Some(group) = group {
            let _ = kill_process_group(group, Signal::KILL);
        }
        return Ok(why);
    }
    use std::os::unix::process::ExitStatusExt;
    Ok(match status {
        Some(status) => match (status.code(), status.signal()) {
            (Some(code), _) => Ended::Code(code),
            (None, signal) => Ended::Signal(signal.unwrap_or(0)),
        },
        None => Ended::Signal(9),
    })
}

// Processes that somebody here waits for; all others that end are orphans of steps.
static OWN: Mutex<BTreeSet<i32>> = Mutex::new(BTreeSet::new());

struct Own(Option<i32>);

impl Own {
    fn new(pid: Option<Pid>) -> Self {
        let pid = pid.map(|p| p.as_raw_nonzero().get());
        OWN.lock().extend(pid);
        Self(pid)
    }
}

impl Drop for Own {
    fn drop(&mut self) {
        if let Some(pid) = self.0 {
            OWN.lock().remove(&pid);
        }
    }
}

/// Takes in what orphans leave behind when they end: it would count against the job's limit of
/// processes. Ends never; for the runner's own process only.
pub(super) async fn reap() {
    use tokio::signal::unix::{SignalKind, signal};
    let Ok(mut ended) = signal(SignalKind::child()) else {
        return;
    };
    while ended.recv().await.is_some() {
        for (pid, state) in children() {
            if state == 'Z' && !OWN.lock().contains(&pid.as_raw_nonzero().get()) {
                let _ = rustix::process::waitpid(Some(pid), rustix::process::WaitOptions::NOHANG);
            }
        }
        // Many end together; looking once for all of them is enough.
        tokio::time::sleep(REAP_INTERVAL).await;
    }
}

/// Makes this process the parent of everything that loses its own, as PID 1 is by nature.
pub(super) fn adopt_orphans() {
    let _ = rustix::process::set_child_subreaper(Some(rustix::process::getpid()));
}

/// Ends what steps left running, until nothing below this process is alive.
pub(super) async fn end_orphans() {
    for _ in 0..50 {
        let left = children();
        if left.is_empty() {
            return;
        }
        for (pid, _) in left {
            let _ = rustix::process::kill_process(pid, Signal::KILL);
        }
        while let Ok(Some(_)) = rustix::process::waitpid(None, rustix::process::WaitOptions::NOHANG)
        {
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

// Children of this process with their state.
fn children() -> Vec<(Pid, char)> {
    let own = rustix::process::getpid().as_raw_nonzero().get();
    let Ok(entries) = std::fs::read_dir("/proc") else {
        return Vec::new();
    };
    let look = |pid: i32| -> Option<(Pid, char)> {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // The name in parentheses may hold anything; state and parent are the words after it.
        let mut words = stat.rsplit_once(')')?.1.split_whitespace();
        let state = words.next()?.chars().next()?;
        let parent: i32 = words.next()?.parse().ok()?;
        (parent == own).then_some((Pid::from_raw(pid)?, state))
    };
    entries
        .filter_map(|e| e.ok()?.file_name().to_str()?.parse::<i32>().ok())
        .filter_map(look)
        .collect()
}
