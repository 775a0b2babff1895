//! Traces of everything that runs here: the store, the doors of OpenTelemetry, and the API of
//! Tempo over it.

use crate::config::Config;
use anyhow::{Context, Result};
use axum::Router;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use towpath_apiserver::ApiServer;
use towpath_daemon::Service;
use towpath_signals::Append;
use towpath_signals::logs::LogStore;
use towpath_signals::traces::{Options, Store};
use towpath_stdx::{Clock, SystemClock};
use towpath_telemetry::otlp::{self, Access, LogIntake, MetricIntake, Network, Ports, Sinks};
use towpath_telemetry::tempo::{self, Derived, Tempo, TraceIntake};

/// What is started and what is served.
pub(super) struct Opened {
    pub(super) routes: Router,
    pub(super) services: Vec<Service>,
}

/// Opens the store and what stands on it; what is derived from spans goes to `metrics`, log records
/// go to `lines`.
pub(super) fn open(
    config: &Config,
    api: &ApiServer,
    gateway: IpAddr,
    metrics: Arc<dyn Append>,
    lines: Arc<LogStore>,
) -> Result<Opened> {
    let settings = &config.telemetry;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let options = Options {
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
    let access = Access {
        authenticator: api.authenticator(),
        authorizer: api.authorizer(),
        anonymous_senders: pods.and_then(|block| Network::parse(block)),
        never_anonymous: vec![gateway],
    };
    let derived = Arc::new(Derived::new(|| SystemClock.monotonic()));
    let sinks = Sinks {
        traces: Some(Arc::new(TraceIntake::new(store.clone(), derived.clone()))),
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
    let routes = otlp::router(access.clone(), sinks.clone(), "/otlp")
        .merge(Tempo::new(store.clone(), access.clone(), clock.clone()).router("/tempo"));
    let mut services = tempo::services(store, derived, Some(metrics), clock, after);
    services.extend(otlp::services(ports, access, sinks, after));
    Ok(Opened { routes, services })
}
