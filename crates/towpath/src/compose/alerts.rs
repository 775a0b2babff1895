//! Rules and the Alertmanager over the store of metrics.
//!
//! Rules of one's own are the files `telemetry/rules/*.yml` of the data directory, beside the
//! standard ones and the objects of kind `PrometheusRule`; who is told stands in
//! `telemetry/alertmanager.yml`, upstream's file, and what we know of receivers beyond it in
//! `telemetry/receivers.yml`. Files are read at start, objects whenever they
//! change; the Alertmanager's file again at `POST /alertmanager/-/reload`.

use std::sync::Arc;

use anyhow::{Context, Result};
use axum::Router;
use kube::Client;
use towpath_alerting::rules::{STANDARD, Shared};
use towpath_daemon::CancellationToken;
use towpath_kit::cache::Cache;
use towpath_signals::Append;
use towpath_signals::metrics::Store;
use towpath_stdx::Clock;
use towpath_telemetry::alertmanager::{self, Alertmanager};
use towpath_telemetry::cases::Hearing;
use towpath_telemetry::door::Door;
use towpath_telemetry::rules::{Engine, Settings};

use crate::config::Config;

/// No file of rules is larger.
const RULES_BYTES: u64 = 8 << 20;

/// What evaluates and what tells.
pub(super) struct Alerts {
    pub(super) engine: Arc<Engine>,
    pub(super) manager: Arc<Alertmanager>,
    /// Names and texts of rule files.
    files: Vec<(String, String)>,
}

/// What fires is told to people, and to `cases`; results of rules go to `append`.
pub(super) fn open(
    config: &Config,
    store: &Arc<Store>,
    append: &Arc<dyn Append>,
    clock: &Arc<dyn Clock>,
    cases: Hearing,
) -> Result<Alerts> {
    let folder = config.data_dir.join("telemetry");
    let file = folder.join("alertmanager.yml");
    let manager = Alertmanager::open(
        alertmanager::Settings {
            directory: folder.join("alerts"),
            config_file: file.exists().then_some(file),
            external_url: format!("http://{}", config.http),
            allow_local: true,
            version: env!("CARGO_PKG_VERSION").into(),
        },
        clock.clone(),
    )
    .context("open the Alertmanager")?;
    manager.tell_cases(cases);
    let settings = Settings {
        shared: Shared {
            external_url: "/prometheus".into(),
            ..Shared::default()
        },
        ..Settings::default()
    };
    let engine = Engine::new(
        store.clone(),
        append.clone(),
        clock.clone(),
        manager.clone(),
        settings,
    );
    let mut files: Vec<(String, String)> = STANDARD
        .iter()
        .map(|(name, text)| ((*name).to_owned(), (*text).to_owned()))
        .collect();
    for entry in std::fs::read_dir(folder.join("rules"))
        .into_iter()
        .flatten()
        .flatten()
    {
        let path = entry.path();
        if path.extension().is_some_and(|e| e == "yml" || e == "yaml") {
            let bytes = towpath_stdx::bounded::read_file(&path, RULES_BYTES)
                .with_context(|| format!("read {}", path.display()))?;
            let text =
                String::from_utf8(bytes).with_context(|| format!("read {}", path.display()))?;
            files.push((path.display().to_string(), text));
        }
    }
    Ok(Alerts {
        engine,
        manager,
        files,
    })
}

impl Alerts {
    pub(super) fn routes(&self, door: Door) -> Router {
        self.manager.router(door)
    }

    /// Evaluates and tells until it is cancelled.
    pub(super) fn run(self, client: &Client, cancel: &CancellationToken) {
        let objects = Cache::start(client, cancel.clone());
        let followed = self.engine.clone();
        towpath_daemon::spawn(
            "rule objects",
            followed.follow(self.files, objects, cancel.clone()),
        );
        towpath_daemon::spawn("rules", self.engine.run(cancel.clone()));
        towpath_daemon::spawn("alertmanager", self.manager.run(cancel.clone()));
    }
}
