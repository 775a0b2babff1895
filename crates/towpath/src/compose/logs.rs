//! Log lines: the store, the API of Loki over it, and the logs of this node's pods.

use super::outgrow::Outgrow;
use crate::config::Config;
use anyhow::{Context, Result};
use axum::Router;
use std::sync::Arc;
use towpath_apiserver::ApiServer;
use towpath_daemon::Service;
use towpath_kit::copies::Copies;
use towpath_signals::logs::{LogStore, Options, Rule};
use towpath_signals::objects::Objects;
use towpath_stdx::{Clock, SystemClock};
use towpath_telemetry::door::Door;
use towpath_telemetry::loki::{Loki, Settings};
use towpath_telemetry::podlogs::Collector;

/// What is started and what is served.
pub(super) struct Opened {
    pub(super) routes: Router,
    pub(super) services: Vec<Service>,
    pub(super) store: Arc<LogStore>,
}

/// Opens the store of lines and what stands on it.
pub(super) fn open(
    config: &Config,
    api: &ApiServer,
    copies: &Copies,
    outgrow: &Outgrow,
    objects: Option<Objects>,
) -> Result<Opened> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let dir = config.data_dir.join("telemetry/logs");
    let settings = &config.telemetry;
    let rules = settings.kept("logs").map(|keep| Rule {
        matchers: keep.matchers(),
        keep: keep.time(),
    });
    let options = Options {
        retention: settings.log_retention(),
        max_disk_bytes: settings.log_disk_bytes(),
        rules: rules.collect(),
        objects,
        ..Options::default()
    };
    let store = LogStore::open(&dir, options, clock.clone()).context("open the store of lines")?;
    let store = Arc::new(store);
    let begun = store.begin_uploads();
    begun.context("upload segments of lines")?;
    if let Some(tap) = outgrow.mirrors.lines() {
        store.tap(tap);
    }
    let loki = Loki::new(store.clone(), clock, Settings::default());
    loki.read_through(outgrow.through.lines.clone());
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
    let after = &["logs", Copies::SERVICE];
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
