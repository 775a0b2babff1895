//! Logs, exec and attach of running containers, for the API server.

use crate::agent::{Agent, PodHandle};
use crate::error::words;
use crate::pod::model::State;
use crate::pod::start::{container_id, parse_id};
use crate::{follow, pod, ports};
use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;
use std::io;
use std::sync::Arc;
use tokio::io::AsyncRead;
use tokio::sync::mpsc;
use towpath_container::{Error as RuntimeError, ExecStdio, Phase};
use towpath_kit::traits::{
    ContainerRef, Duplex, ExecRequest, ExecStreams, LogRequest, PodStreamError, PodStreams,
    PortRequest, TerminalSize,
};

/// Streams of the containers on a node.
pub struct Streams(pub(crate) Arc<Agent>);

impl Streams {
    // The instance that runs or ran last.
    fn newest(&self, of: &ContainerRef) -> Option<u32> {
        let ids = self.0.runtime.list();
        let own = ids
            .iter()
            .filter_map(|id| parse_id(id))
            .filter(|(uid, name, _)| *uid == of.uid && *name == of.container);
        own.map(|(_, _, attempt)| attempt).max()
    }

    fn handle(&self, of: &ContainerRef) -> Option<Arc<PodHandle>> {
        self.0.pod(&of.uid)
    }

    fn running(&self, of: &ContainerRef) -> Result<towpath_container::Container, PodStreamError> {
        let id = self
            .newest(of)
            .map(|attempt| container_id(&of.uid, &of.container, attempt));
        let instance = id.and_then(|id| self.0.runtime.find(&id).ok());
        // The runtime's own record: right after a start of the server the agent may not have
        // looked at the container yet.
        let runs = |instance: &towpath_container::Container| {
            let record = instance.record();
            record.is_ok_and(|record| record.phase == Phase::Running && record.shim.alive())
        };
        instance.filter(runs).ok_or_else(|| {
            let what = format!(
                "container {:?} in pod {:?} is not running",
                of.container, of.pod
            );
            PodStreamError::NotFound(what)
        })
    }
}

fn failed(what: &str, error: &dyn std::error::Error) -> PodStreamError {
    PodStreamError::Failed {
        what: what.into(),
        cause: words(error),
    }
}

#[async_trait]
impl PodStreams for Streams {
    async fn log(
        &self,
        request: LogRequest,
    ) -> Result<BoxStream<'static, io::Result<Bytes>>, PodStreamError> {
        let of = &request.of;
        let newest = self.newest(of);
        let waiting = || {
            let reason = self.handle(of).and_then(|handle| {
                match &handle.model().container(&of.container)?.state {
                    State::Waiting { reason, message } if message.is_empty() => {
                        Some(reason.clone())
                    }
                    State::Waiting { reason, message } => Some(format!("{reason}: {message}")),
                    _ => None,
                }
            });
            let reason = reason.unwrap_or_else(|| "ContainerCreating".into());
            PodStreamError::BadRequest(format!(
                "container {:?} in pod {:?} is waiting to start: {reason}",
                of.container, of.pod
            ))
        };
        let attempt = match (newest, request.previous) {
            (Some(newest), false) => newest,
            (Some(newest), true)
                if newest > 0 && self.0.log_file(&of.uid, &of.container, newest - 1).exists() =>
            {
                newest - 1
            }
            (_, true) => {
                return Err(PodStreamError::BadRequest(format!(
                    "previous terminated container {:?} in pod {:?} not found",
                    of.container, of.pod
                )));
            }
            (None, false) => return Err(waiting()),
        };
        let file = self.0.log_file(&of.uid, &of.container, attempt);
        if !file.exists() {
            return Err(waiting());
        }
        let id = container_id(&of.uid, &of.container, attempt);
        let ended: follow::Ended = match (request.follow, self.0.runtime.find(&id)) {
            (true, Ok(instance)) => Box::pin(async move { drop(instance.wait().await) }),
            _ => Box::pin(async {}),
        };
        let options = follow::Options {
            follow: request.follow,
            timestamps: request.timestamps,
            since: request.since.map(towpath_stdx::clock::rfc3339),
            tail_lines: request.tail_lines,
            limit_bytes: request.limit_bytes,
        };
        Ok(follow::read(file, options, ended))
    }

    async fn exec(&self, request: ExecRequest) -> Result<ExecStreams, PodStreamError> {
        let running = self.running(&request.of)?;
        if request.command.is_empty() {
            return attach(running, &request).await;
        }
        let mut process = running
            .spec()
            .map_err(|error| failed("read container", &error))?
            .process;
        process.args = request.command.clone();
        process.terminal = request.tty;
        if request.tty && !process.env.iter().any(|entry| entry.starts_with("TERM=")) {
            process.env.push("TERM=xterm".into());
        }
        let stdio = ExecStdio {
            stdin: request.stdin,
            stdout: request.stdout,
            stderr: request.stderr && !request.tty,
        };
        let mut exec = running
            .exec(process, stdio)
            .await
            .map_err(|error| match error {
                RuntimeError::Program(cause) => PodStreamError::BadRequest(cause),
                RuntimeError::NotRunning(_) => PodStreamError::NotFound(error.to_string()),
                other => failed("exec", &other),
            })?;
        let resize = request.tty.then(|| resizer(exec.resizer()));
        let boxed =
            |pipe: towpath_container::Pipe| Box::new(pipe) as Box<dyn AsyncRead + Send + Unpin>;
        Ok(ExecStreams {
            stdin: exec.stdin.take().map(|pipe| Box::new(pipe) as _),
            stdout: exec.stdout.take().filter(|_| request.stdout).map(boxed),
            stderr: exec.stderr.take().map(boxed),
            resize,
            exit: Box::pin(async move {
                let exit = exec
                    .wait()
                    .await
                    .map_err(|error| failed("wait for command", &error))?;
                Ok(exit.code)
            }),
        })
    }

    async fn connect(&self, request: PortRequest) -> Result<Box<dyn Duplex>, PodStreamError> {
        let not_running = || {
            let what = format!("pod {:?} is not running", request.pod);
            PodStreamError::NotFound(what)
        };
        let handle = self.0.pod(&request.uid).ok_or_else(not_running)?;
        let pod = handle.pod();
        let on_host = pod.spec.as_ref().and_then(|s| s.host_network) == Some(true);
        let netns = handle.netns.lock().clone();
        if netns.is_none() && !on_host {
            return Err(not_running());
        }
        let socket = ports::connect(netns, request.port)
            .await
            .map_err(|error| failed(&format!("connect to port {}", request.port), &error))?;
        Ok(Box::new(socket))
    }
}

// Sizes go to the terminal as they come, until the sender is dropped.
fn resizer(
    apply: impl Fn(towpath_container::TerminalSize) + Send + Sync + 'static,
) -> mpsc::Sender<TerminalSize> {
    let (sender, mut sizes) = mpsc::channel::<TerminalSize>(4);
    towpath_daemon::spawn("terminal size", async move {
        while let Some(size) = sizes.recv().await {
            apply(towpath_container::TerminalSize {
                columns: size.width,
                rows: size.height,
            });
        }
    });
    sender
}

async fn attach(
    running: towpath_container::Container,
    request: &ExecRequest,
) -> Result<ExecStreams, PodStreamError> {
    let spec = running
        .spec()
        .map_err(|error| failed("read container", &error))?;
    let has_input = matches!(&spec.stdio, towpath_container::Stdio::Log(log) if log.stdin);
    let terminal = spec.process.terminal;
    let attached = running
        .attach(
            request.stdin && has_input,
            request.stdout,
            request.stderr && !terminal,
        )
        .await;
    let (stdin, stdout, stderr, open) = attached.map_err(|error| failed("attach", &error))?.split();
    let resize = (request.tty && terminal).then(|| {
        let (sender, mut sizes) = mpsc::channel::<TerminalSize>(4);
        let running = running.clone();
        towpath_daemon::spawn("terminal size", async move {
            while let Some(size) = sizes.recv().await {
                let _ = running.resize(size.width, size.height).await;
            }
        });
        sender
    });
    Ok(ExecStreams {
        stdin: stdin.map(|pipe| Box::new(pipe) as _),
        stdout: stdout.map(|pipe| Box::new(pipe) as _),
        stderr: stderr.map(|pipe| Box::new(pipe) as _),
        resize,
        exit: Box::pin(async move {
            let _open = open;
            let record = running
                .wait()
                .await
                .map_err(|error| failed("wait for container", &error))?;
            Ok(record.exit.map_or(pod::UNKNOWN_EXIT, |exit| exit.code))
        }),
    })
}
