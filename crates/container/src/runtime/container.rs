//! One container, running or ended.

use super::exec::{self, Attachment, ExecProcess, ExecStdio};
use super::{Runtime, remove_blocking};
use crate::cgroup::{self, Usage};
use crate::error::Error;
use crate::packet::Conversation;
use crate::protocol::{Reply, Request};
use crate::record::{Phase, Record};
use crate::shim::{CONFIG, Config};
use crate::spec::{ContainerSpec, Process};
use std::io;
use std::path::PathBuf;
use std::time::Duration;

const ANSWER: Duration = Duration::from_secs(30);

/// Handle to a container; dropping it changes nothing. Cheap to clone.
#[derive(Clone)]
pub struct Container {
    runtime: Runtime,
    id: String,
}

impl Container {
    pub(super) fn new(runtime: Runtime, id: &str) -> Self {
        Self {
            runtime,
            id: id.into(),
        }
    }

    /// Its id.
    pub fn id(&self) -> &str {
        &self.id
    }

    fn dir(&self) -> PathBuf {
        self.runtime.dir(&self.id)
    }

    /// What its shim recorded last.
    pub fn record(&self) -> Result<Record, Error> {
        Record::read(&self.dir())
            .map_err(Error::io(format!("read record of container {}", self.id)))
    }

    /// What it was started with.
    pub fn spec(&self) -> Result<ContainerSpec, Error> {
        let what = || format!("read description of container {}", self.id);
        let bytes = std::fs::read(self.dir().join(CONFIG)).map_err(Error::io(what()))?;
        let config: Config = serde_json::from_slice(&bytes)
            .map_err(io::Error::other)
            .map_err(Error::io(what()))?;
        Ok(config.spec)
    }

    /// Waits for its end and returns the last record. [`Error::Lost`] where the shim is gone
    /// without one: then how the container ended, or whether, is not known; what is left of it
    /// has been killed.
    pub async fn wait(&self) -> Result<Record, Error> {
        // A shim that is just starting or ending may not answer; its record or its process
        // tells which.
        for _ in 0..1000 {
            match self.record() {
                Ok(record) if record.phase >= Phase::Exited => return Ok(record),
                Ok(record) if !record.shim.alive() => break,
                Ok(_) => {}
                Err(_) if self.dir().exists() => {}
                Err(_) => return Err(Error::NotFound(self.id.clone())),
            }
            if let Ok(conversation) = Conversation::connect(&self.dir())
                && conversation.send(&Request::Wait, &[]).await.is_ok()
                && let Ok(Some((Reply::Record(record), _))) = conversation.receive().await
            {
                return Ok(*record);
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        self.lost().await
    }

    async fn lost(&self) -> Result<Record, Error> {
        // The last write may have come between the look at the record and the look at the shim.
        if let Ok(record) = self.record()
            && record.phase >= Phase::Exited
        {
            return Ok(record);
        }
        if let Ok(spec) = self.spec() {
            let _ = tokio::task::spawn_blocking(move || cgroup::remove(&spec.cgroup)).await;
        }
        Err(Error::Lost(self.id.clone()))
    }

    /// Sends a signal to the first process.
    pub async fn signal(&self, signal: i32) -> Result<(), Error> {
        self.ask(Request::Signal { signal, all: false }).await
    }

    /// Kills everything in it.
    pub async fn kill(&self) -> Result<(), Error> {
        self.ask(Request::Signal {
            signal: libc::SIGKILL,
            all: true,
        })
        .await
    }

    /// Sets the size of its own terminal.
    pub async fn resize(&self, columns: u16, rows: u16) -> Result<(), Error> {
        self.ask(Request::Resize { columns, rows }).await
    }

    async fn ask(&self, request: Request) -> Result<(), Error> {
        let conversation = self.talk()?;
        let answer = async {
            conversation.send(&request, &[]).await?;
            conversation.receive::<Reply>().await
        };
        match tokio::time::timeout(ANSWER, answer).await {
            Ok(Ok(Some((Reply::Done | Reply::Record(_), _)))) => Ok(()),
            Ok(Ok(Some((Reply::Refused { message, .. }, _)))) => Err(Error::Exec {
                id: self.id.clone(),
                cause: message,
            }),
            _ => Err(Error::NotRunning(self.id.clone())),
        }
    }

    pub(super) fn talk(&self) -> Result<Conversation, Error> {
        Conversation::connect(&self.dir()).map_err(|_| Error::NotRunning(self.id.clone()))
    }

    /// Adds a process. It is killed when the returned handle is dropped before it ended.
    pub async fn exec(&self, process: Process, stdio: ExecStdio) -> Result<ExecProcess, Error> {
        exec::exec(self, process, stdio).await
    }

    /// Connects to the container's own standard streams, until the handle is dropped.
    pub async fn attach(
        &self,
        stdin: bool,
        stdout: bool,
        stderr: bool,
    ) -> Result<Attachment, Error> {
        exec::attach(self, stdin, stdout, stderr).await
    }

    /// Figures of its control group; `None` once it ended.
    pub fn usage(&self) -> Option<Usage> {
        cgroup::usage(&self.spec().ok()?.cgroup)
    }

    /// Ends what is left of it and removes its state; its log stays.
    pub async fn remove(&self) -> Result<(), Error> {
        self.runtime.remove(&self.id).await
    }

    /// Like [`remove`](Self::remove), blocking, for a process without a reactor.
    pub fn remove_blocking(&self) -> io::Result<()> {
        remove_blocking(&self.dir())
    }
}
