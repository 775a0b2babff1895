//! The builder: opens its directory, takes requests in turn, hands each to a [`Build`].

mod build;
mod cache;
mod copy;
mod image;
mod push;
mod step;

use crate::config::Config;
use crate::dockerfile::Place;
use crate::layers::Layers;
use async_trait::async_trait;
pub(crate) use build::Build;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use towpath_container::Runtime;
use towpath_kit::kinds::{Finding, Severity};
use towpath_kit::traits::{
    BuildError, BuildLog, BuildOutput, BuildRequest, Builder, Images, PodNetwork,
};
use towpath_oci::Digest;
use towpath_stdx::{Clock, SystemClock, SystemRandom, id};

/// The builder. Cheap to clone. It is also an [`Images`] that makes base images on first use.
#[derive(Clone)]
pub struct Engine(pub(crate) Arc<Inner>);

pub(crate) struct Inner {
    pub(crate) config: Config,
    /// Images that are here; never asks elsewhere.
    pub(crate) local: Arc<dyn Images>,
    /// The same with pull-through.
    pub(crate) remote: Arc<dyn Images>,
    pub(crate) runtime: Runtime,
    pub(crate) network: Option<Arc<dyn PodNetwork>>,
    pub(crate) layers: Layers,
    pub(crate) clock: Arc<dyn Clock>,
    /// One base image is made at a time.
    pub(crate) making: tokio::sync::Mutex<()>,
    permits: tokio::sync::Semaphore,
    /// Secrets of running steps, in memory where the machine has a memory file system.
    secrets: PathBuf,
}

/// What names of steps start with; those of pods are uids.
pub(crate) const STEP_PREFIX: &str = "build-";

/// Ends the steps that a killed server left, without a server; `runtime` is the builder's own.
pub async fn cleanup(runtime: &Runtime) -> Result<(), towpath_container::Error> {
    let mut left = runtime.list();
    left.extend(runtime.remnants());
    for id in left {
        runtime.remove(&id).await?;
    }
    Ok(())
}

impl Engine {
    /// Opens the directory and removes what a killed server left, steps included: the runtime
    /// must be the builder's own. `local` answers only for what is here, `remote` may pull.
    pub fn open(
        config: Config,
        local: Arc<dyn Images>,
        remote: Arc<dyn Images>,
        runtime: Runtime,
        network: Option<Arc<dyn PodNetwork>>,
    ) -> Result<Self, BuildError> {
        let fail = |e: std::io::Error| other(format!("open {}: {e}", config.directory.display()));
        std::fs::create_dir_all(&config.directory).map_err(fail)?;
        let layers = Layers::open(&config.directory).map_err(fail)?;
        let name = format!(
            "towpath-build-{}",
            &Digest::of(config.directory.as_os_str().as_encoded_bytes()).hex()[..16]
        );
        let memory = Path::new("/dev/shm");
        let secrets = if memory.is_dir() {
            memory.join(name)
        } else {
            config.directory.join("secrets")
        };
        let _ = std::fs::remove_dir_all(&secrets);
        let engine = Self(Arc::new(Inner {
            permits: tokio::sync::Semaphore::new(config.parallel.max(1)),
            config,
            local,
            remote,
            runtime,
            network,
            layers,
            clock: Arc::new(SystemClock),
            making: tokio::sync::Mutex::new(()),
            secrets,
        }));
        engine.clean();
        Ok(engine)
    }

    // Ends steps of a killed server and removes their files, beside the first builds: names are
    // never used twice.
    fn clean(&self) {
        let inner = self.0.clone();
        let mut left: Vec<String> = inner.runtime.list();
        left.extend(inner.runtime.remnants());
        // A server may be killed before a step's container is there, or after it is gone.
        let sandboxes = inner.network.as_ref().map(|network| network.sandboxes());
        let mut attached = sandboxes.unwrap_or_default();
        attached.retain(|id| id.starts_with(STEP_PREFIX));
        if left.is_empty() && attached.is_empty() && inner.layers.empty_trash().is_ok() {
            return;
        }
        towpath_daemon::spawn("build-clean", async move {
            for id in left {
                if let Err(error) = inner.runtime.remove(&id).await {
                    tracing::warn!(id, %error, "step of an earlier build not removed");
                }
            }
            for id in attached {
                if let Some(network) = &inner.network
                    && let Err(error) = network.detach(&id).await
                {
                    tracing::warn!(id, %error, "network of an earlier build not removed");
                }
            }
            if let Err(error) = inner.layers.empty_trash() {
                tracing::warn!(%error, "left of an earlier build, tried again at the next start");
            }
        });
    }

    /// Text for a step's `/etc/resolv.conf`: the host's own, unless it points at the host's
    /// loopback and steps have a network of their own.
    pub(crate) fn resolver(&self) -> String {
        let bytes = towpath_stdx::bounded::read_file(Path::new("/etc/resolv.conf"), 64 << 10)
            .unwrap_or_default();
        let host = String::from_utf8_lossy(&bytes).into_owned();
        let servers = host
            .lines()
            .filter_map(|line| line.trim().strip_prefix("nameserver"));
        let loopback = servers
            .map(str::trim)
            .all(|server| server.starts_with("127.") || server == "::1");
        match &self.0.network {
            Some(network) if loopback => network.resolv_conf(""),
            _ => host,
        }
    }

    pub(crate) async fn build_with(
        &self,
        request: BuildRequest,
        log: BuildLog<'_>,
    ) -> Result<BuildOutput, BuildError> {
        let id = id::suffix(&SystemRandom, 12);
        Build::new(self, id, &request, log).all().await
    }
}

#[async_trait]
impl Builder for Engine {
    async fn build(
        &self,
        request: BuildRequest,
        log: BuildLog<'_>,
    ) -> Result<BuildOutput, BuildError> {
        let permit = self.0.permits.try_acquire();
        let _permit = match permit {
            Ok(permit) => permit,
            Err(_) => {
                log("waiting for another build to end");
                self.0
                    .permits
                    .acquire()
                    .await
                    .map_err(|e| other(e.to_string()))?
            }
        };
        self.build_with(request, log).await
    }
}

/// A single finding as a build error.
pub(crate) fn input(file: &str, place: Place, rule: &str, message: String) -> BuildError {
    let finding = Finding {
        severity: Severity::Error,
        rule: format!("dockerfile/{rule}"),
        message,
        file: file.into(),
        line: place.line,
        column: place.column,
        hint: String::new(),
    };
    BuildError::Input {
        findings: vec![finding],
    }
}

pub(crate) fn other(message: String) -> BuildError {
    BuildError::Other(message)
}
