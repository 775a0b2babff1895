//! Other servers: where new data is copied to, and where old data is asked.

use crate::config::Config;
use anyhow::{Context, Result};
use axum::Router;
use std::sync::Arc;
use towpath_daemon::Service;
use towpath_signals::metrics::Store;
use towpath_signals::{Append, Read};
use towpath_stdx::Clock;
use towpath_telemetry::door::Door;
use towpath_telemetry::family::Gather;
use towpath_telemetry::outgrow::mirror::Mirrors;
use towpath_telemetry::outgrow::serve::{Limits, RemoteRead};
use towpath_telemetry::outgrow::through::{Both, Through};

/// What stands between the stores and those that write and ask.
pub(super) struct Outgrow {
    pub(super) mirrors: Arc<Mirrors>,
    pub(super) through: Through,
}

impl Outgrow {
    /// Opens the queues, and names the servers that know what was before.
    pub(super) fn open(config: &Config, clock: &Arc<dyn Clock>) -> Result<Self> {
        let settings = &config.telemetry;
        let dir = config.data_dir.join("telemetry/mirror");
        let mirrors = Mirrors::open(&dir, &settings.mirror, clock.clone())
            .context("open the queues of telemetry.mirror")?;
        let through = Through::new(&settings.read_through, clock)
            .context("read the settings of telemetry.read-through")?;
        Ok(Self {
            mirrors: Arc::new(mirrors),
            through,
        })
    }

    /// What takes samples.
    pub(super) fn append(&self, store: &Arc<Store>) -> Arc<dyn Append> {
        self.mirrors.samples(store.clone())
    }

    /// What is asked for samples.
    pub(super) fn read(&self, store: &Arc<Store>) -> Arc<dyn Read> {
        match self.through.samples.is_empty() {
            true => store.clone(),
            false => Arc::new(Both::new(store.clone(), self.through.samples.clone())),
        }
    }

    /// What others read samples by: those of here alone, so that two servers that ask each other
    /// come to an end.
    pub(super) fn routes(store: &Arc<Store>, clock: &Arc<dyn Clock>, door: Door) -> Router {
        let limits = Limits {
            samples: super::telemetry::most_samples(),
            ..Limits::default()
        };
        RemoteRead::new(store.clone(), clock.clone(), limits).router(Some(door))
    }

    /// What this server says about itself, with how copying goes.
    pub(super) fn told(&self, own: Arc<dyn Gather>) -> Arc<dyn Gather> {
        Arc::new(self.mirrors.figures().beside(own))
    }

    /// What copies.
    pub(super) fn service(&self) -> Option<Service> {
        self.mirrors.service(&["apiserver"])
    }
}
