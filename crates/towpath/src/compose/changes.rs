//! The ledger of changes, the explanations that rest on it, and the cases that alerts become.

use super::component;
use crate::config::Config;
use anyhow::{Context, Result};
use axum::Router;
use std::sync::Arc;
use towpath_apiserver::ApiServer;
use towpath_daemon::Service;
use towpath_kit::copies::{Copies, Spine};
use towpath_signals::logs::LogStore;
use towpath_signals::metrics::Store;
use towpath_stdx::{Clock, SystemClock};
use towpath_telemetry::alertmanager::Alertmanager;
use towpath_telemetry::cases::{self, Figures, Inbox, Lines, Shelf, Spans, Why};
use towpath_telemetry::door::Door;
use towpath_telemetry::ledger::{self, Ledger, Observed};
use towpath_telemetry::own::Beside;

/// What explanations look at beside objects and changes.
pub(super) struct Signals {
    pub(super) samples: Option<Arc<Store>>,
    pub(super) lines: Option<Arc<LogStore>>,
    /// Holds the store of traces once it is open.
    pub(super) beside: Option<Arc<Beside>>,
    /// What rules tell.
    pub(super) alerts: Inbox,
    /// Whose silences are changes.
    pub(super) manager: Option<Arc<Alertmanager>>,
}

/// Opens the ledger over what it sees; gives its routes and its services.
pub(super) fn open(
    config: &Config,
    api: &ApiServer,
    observed: Observed,
    signals: Signals,
) -> Result<(Router, Vec<Service>)> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let settings = &config.telemetry;
    let directory = config.data_dir.join("telemetry/changes");
    let (ledger, writer) = Ledger::open(&directory, settings.change_retention(), clock.clone())
        .context("open the ledger of changes")?;
    let door = Door {
        authenticator: api.authenticator(),
        authorizer: api.authorizer(),
    };
    if let Some(manager) = &signals.manager {
        manager.note_changes(ledger.clone());
    }
    let client = component(api, "ledger");
    let why = Why {
        client: client.clone(),
        observed: observed.clone(),
        ledger: ledger.clone(),
        figures: signals
            .samples
            .map(|store| Figures::new(store, clock.clone())),
        lines: signals.lines.map(|store| Lines::new(store)),
        spans: signals
            .beside
            .map(|beside| Spans::new(beside, clock.clone())),
        clock: clock.clone(),
    };
    // Cases are kept beside the changes that they name.
    let shelf = Shelf::new(ledger.records().clone());
    let routes = ledger::router(ledger.clone(), door.clone(), clock.clone()).merge(cases::router(
        why.clone(),
        shelf.clone(),
        door,
    ));
    let kept = cases::Settings {
        quiet: settings.case_quiet(),
        ..cases::Settings::default()
    };
    let desk = cases::service(why, shelf, signals.alerts, kept, &["ledger"]);
    let authors = Some(api.authors());
    let service = ledger::service(
        ledger,
        writer,
        observed,
        client,
        authors,
        clock,
        &["apiserver", Copies::SERVICE, Spine::SERVICE],
    );
    Ok((routes, vec![service, desk]))
}
