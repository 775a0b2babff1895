//! The ledger of changes, and the explanations that rest on it.

use super::component;
use crate::config::Config;
use anyhow::{Context, Result};
use axum::Router;
use std::sync::Arc;
use std::time::Duration;
use towpath_apiserver::ApiServer;
use towpath_daemon::Service;
use towpath_kit::copies::Copies;
use towpath_stdx::{Clock, SystemClock};
use towpath_telemetry::cases::{self, Why};
use towpath_telemetry::ledger::{self, Ledger, Observed};
use towpath_telemetry::prometheus::Door;

/// How long changes are kept.
const KEPT: Duration = Duration::from_secs(90 * 86_400);

/// Opens the ledger; gives its routes and its service.
pub(super) fn open(config: &Config, api: &ApiServer, copies: &Copies) -> Result<(Router, Service)> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let directory = config.data_dir.join("telemetry/changes");
    let (ledger, writer) =
        Ledger::open(&directory, KEPT, clock.clone()).context("open the ledger of changes")?;
    let door = Door {
        authenticator: api.authenticator(),
        authorizer: api.authorizer(),
    };
    let observed = Observed::default();
    let client = component(api, "ledger");
    let why = Why {
        client: client.clone(),
        copies: copies.clone(),
        observed: observed.clone(),
        ledger: ledger.clone(),
        clock: clock.clone(),
    };
    let routes =
        ledger::router(ledger.clone(), door.clone(), clock.clone()).merge(cases::router(why, door));
    let authors = Some(api.authors());
    let service = ledger::service(
        ledger,
        writer,
        observed,
        client,
        authors,
        clock,
        // Pods are looked at in the copy that others share.
        &["apiserver", towpath_kit::copies::SERVICE],
    );
    Ok((routes, service))
}
