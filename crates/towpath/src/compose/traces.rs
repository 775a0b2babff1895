//! Traces of everything that runs here: the store, the doors of OpenTelemetry, and the API of
//! Tempo over it.

use super::outgrow::Outgrow;
use crate::config::Config;
use anyhow::{Context, Result};
use axum::Router;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use towpath_apiserver::ApiServer;
use towpath_daemon::Service;
use towpath_signals::Append;
use towpath_signals::logs::LogStore;
use towpath_signals::objects::Objects;
use towpath_signals::traces::{Options, Rule, Store};
use towpath_stdx::{Clock, SystemClock};
use towpath_telemetry::door::Door;
use towpath_telemetry::otlp::{self, Access, LogIntake, MetricIntake, Network, Ports, Sinks};
use towpath_telemetry::tempo::{self, Derived, Tempo, TraceIntake};

/// What is started and what is served.
pub(super) struct Opened {
    pub(super) routes: Router,
    pub(super) services: Vec<Service>,
    pub(super) store: Store,
}

/// What is kept elsewhere.
pub(super) struct Kept {
    /// What is derived from spans.
    pub(super) metrics: Arc<dyn Append>,
    /// Log records.
    pub(super) lines: Arc<LogStore>,
    /// Blocks, beside the local disk.
    pub(super) objects: Option<Objects>,
}

/// Opens the store and what stands on it.
pub(super) fn open(
    config: &Config,
    api: &ApiServer,
    gateway: IpAddr,
    kept: Kept,
    outgrow: &Outgrow,
) -> Result<Opened> {
    let Kept {
        metrics,
        lines,
        objects,
    } = kept;
    let settings = &config.telemetry;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let rules = settings.kept("traces").map(|keep| Rule {
        matchers: keep.matchers(),
        keep: keep.time(),
    });
    let options = Options {
        rules: rules.collect(),
        objects,
        retention: settings.trace_retention(),
        max_bytes: settings.trace_disk_bytes(),
        ..Options::new(config.data_dir.join("telemetry/traces"))
    };
    let (store, replayed) =
        Store::open(options, clock.clone()).context("open the store of traces")?;
    for damage in &replayed.damage {
        tracing::error!(?damage, "the log of traces is damaged");
    }
    let pods = settings.otlp_from_pods.then_some(&config.pod_cidr);
    let door = Door {
        authenticator: api.authenticator(),
        authorizer: api.authorizer(),
    };
    let access = Access {
        door: door.clone(),
        anonymous_senders: pods.and_then(|block| Network::parse(block)),
        never_anonymous: vec![gateway],
    };
    let derived = Arc::new(Derived::new(|| SystemClock.monotonic()));
    let intake = Arc::new(TraceIntake::new(store.clone(), derived.clone()));
    let sinks = Sinks {
        traces: Some(outgrow.mirrors.spans(intake)),
        logs: Some(Arc::new(LogIntake::new(lines, clock.clone()))),
        metrics: Some(Arc::new(MetricIntake::new(metrics.clone()))),
    };
    let at = |port: u16| match port {
        0 => Vec::new(),
        port => vec![
            SocketAddr::new(config.http.ip(), port),
            SocketAddr::new(gateway, port),
        ],
    };
    let ports = Ports {
        grpc: at(settings.otlp_grpc_port),
        http: at(settings.otlp_http_port),
    };
    let after = &["apiserver"];
    let kept = store.clone();
    let tempo =
        Tempo::new(store.clone(), door, clock.clone()).read_through(outgrow.through.spans.clone());
    // As a Prometheus takes metrics of OpenTelemetry, and nothing else.
    let numbers = Sinks {
        metrics: sinks.metrics.clone(),
        ..Sinks::default()
    };
    let routes = otlp::router(access.clone(), sinks.clone(), "/otlp")
        .merge(otlp::router(
            access.clone(),
            numbers,
            "/prometheus/api/v1/otlp",
        ))
        .merge(tempo.router("/tempo"));
    let mut services = tempo::services(store, derived, Some(metrics), clock, after);
    services.extend(otlp::services(ports, access, sinks, after));
    Ok(Opened {
        routes,
        services,
        store: kept,
    })
}
