//! Log lines: the store, the API of Loki over it, and the logs of this node's pods.

use crate::config::Config;
use anyhow::{Context, Result};
use axum::Router;
use std::sync::Arc;
use std::time::Duration;
use towpath_apiserver::ApiServer;
use towpath_daemon::Service;
use towpath_kit::copies::{self, Copies};
use towpath_signals::logs::{LogStore, Options};
use towpath_stdx::{Clock, SystemClock};
use towpath_telemetry::loki::{Loki, Settings};
use towpath_telemetry::podlogs::Collector;
use towpath_telemetry::prometheus::Door;

/// How long lines are kept.
const RETENTION: Duration = Duration::from_secs(14 * 24 * 3600);

/// What is started and what is served.
pub(super) struct Opened {
    pub(super) routes: Router,
    pub(super) services: Vec<Service>,
    pub(super) store: Arc<LogStore>,
}

/// Opens the store of lines and what stands on it.
pub(super) fn open(config: &Config, api: &ApiServer, copies: &Copies) -> Result<Opened> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let dir = config.data_dir.join("telemetry/logs");
    let options = Options {
        retention: RETENTION,
        ..Options::default()
    };
    let store = LogStore::open(&dir, options, clock.clone()).context("open the store of lines")?;
    let store = Arc::new(store);
    let loki = Loki::new(store.clone(), clock, Settings::default());
    let routes = loki.router(Some(Door {
        authenticator: api.authenticator(),
        authorizer: api.authorizer(),
    }));
    let kept = store.clone();
    let collector = Collector {
        logs: config.data_dir.join("node/logs"),
        positions: dir.join("positions"),
        node: config.node_name.clone(),
        pods: Arc::new(copies.pods.clone()),
        store,
    };
    let keeping = Service::new("logs", &["apiserver"], move |mut context| async move {
        context.ready();
        loki.run(context.cancel).await;
        Ok(())
    });
    let after = &["logs", copies::SERVICE];
    let collecting = Service::new("pod logs", after, move |mut context| async move {
        context.ready();
        collector.run(context.cancel).await;
        Ok(())
    });
    Ok(Opened {
        routes,
        store: kept,
        services: vec![keeping, collecting],
    })
}
