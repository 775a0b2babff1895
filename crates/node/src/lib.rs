//! The node agent: runs the pods bound to this machine.
//!
//! * [`Node`]: registers the machine, watches its pods, runs one task per pod.
//! * `pod`: a pod's life; its containers, probes, hooks; its status, computed by one pure
//!   function and written by one writer per pod.
//! * `volumes`, `image`, `env`, `security`, `resources`, `files`: what a container is made of.
//! * [`Streams`]: logs, exec, attach. [`Figures`]: use of processor and memory.
//! * [`cleanup`]: everything of this instance, removed.
//!
//! Invariants: a container that runs is never restarted because the server was; a status never
//! says more than is known; events, not timers, drive everything but back-off, probes, leases and
//! token renewal. Knows no controller; the network and the images come through `kit`'s traits.

#![allow(unsafe_code)] // descriptors registered with the reactor, each with its argument

mod agent;
mod caches;
mod cleanup;
mod config;
mod disk;
mod env;
mod error;
mod evict;
mod expand;
mod figures;
mod files;
mod follow;
mod image;
mod meters;
mod pod;
mod ports;
mod quantity;
mod register;
mod resources;
mod running;
mod security;
mod streams;
mod volumes;
mod watch;

pub use cleanup::cleanup;
pub use config::NodeConfig;
pub use error::Error;
pub use figures::Figures;
pub use image::HOST_ROOTFS;
pub use streams::Streams;

use agent::{Agent, Machine, PodEvent};
use kube::Client;
use parking_lot::Mutex;
use std::sync::{Arc, OnceLock};
use tokio::sync::mpsc;
use towpath_container::{Runtime, RuntimeConfig};
use towpath_daemon::Service;
use towpath_kit::traits::{ContainerStats, Images, PodNetwork, PodStreams, ResourceFigures};

/// Events that may wait to be written.
const EVENTS: usize = 1024;

/// The node agent of this machine.
pub struct Node {
    agent: Arc<Agent>,
    events: Mutex<Option<mpsc::Receiver<PodEvent>>>,
}

impl Node {
    /// Prepares the agent: opens its directories and seals the shim's program. Nothing runs yet.
    /// Blocks for a moment.
    pub fn new(
        config: NodeConfig,
        client: Client,
        images: Arc<dyn Images>,
        network: Arc<dyn PodNetwork>,
    ) -> Result<Self, Error> {
        std::fs::create_dir_all(&config.data_dir)
            .map_err(Error::io("make data directory of the node"))?;
        let runtime = Runtime::new(RuntimeConfig {
            state_dir: config.data_dir.join("containers"),
            shim_exe: config.server_exe.clone(),
            shim_args: config.shim_args.clone(),
            backend: config.backend.clone(),
        })?;
        let images = image::ImageStore::open(&config.data_dir.join("images"), images)?;
        let (sender, events) = mpsc::channel(EVENTS);
        let agent = Agent {
            config,
            client,
            runtime,
            images,
            network,
            caches: OnceLock::new(),
            pods: Mutex::default(),
            events: sender,
            machine: Machine::read(),
            figures: figures::Samples::default(),
            cancel: OnceLock::new(),
        };
        Ok(Self {
            agent: Arc::new(agent),
            events: Mutex::new(Some(events)),
        })
    }

    /// The service that runs it, once. It is ready when the node is registered and pods that were
    /// running are adopted. Stopping it leaves containers running.
    pub fn service(&self, after: &[&'static str]) -> Service {
        let agent = self.agent.clone();
        let events = self.events.lock().take();
        Service::new("node", after, move |context| {
            watch::run(agent, events, context)
        })
    }

    /// Logs, exec and attach.
    pub fn pod_streams(&self) -> Arc<dyn PodStreams> {
        Arc::new(Streams(self.agent.clone()))
    }

    /// Use of processor and memory.
    pub fn figures(&self) -> Arc<dyn ResourceFigures> {
        Arc::new(Figures(self.agent.clone()))
    }

    /// Which containers run, and where the kernel keeps their figures.
    pub fn container_stats(&self) -> Arc<dyn ContainerStats> {
        Arc::new(running::Runs(self.agent.clone()))
    }

    /// The runtime, shared with builds.
    pub fn runtime(&self) -> Runtime {
        self.agent.runtime.clone()
    }
}
