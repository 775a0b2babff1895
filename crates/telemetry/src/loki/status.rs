//! What the server says of itself, and queries written well.

use std::sync::Arc;

use axum::extract::State;
use serde_json::{Value, json};
use towpath_query::logql;

use super::fault::Fault;
use super::{Call, Loki, reply};

/// Clients look at the version to know what they may ask.
const LEVEL: &str = "3.5.0";

pub(super) async fn ready(State(_): State<Arc<Loki>>) -> &'static str {
    "ready\n"
}

pub(super) fn build_info(call: &Call) -> Result<Value, Fault> {
    Ok(json!({
        "version": LEVEL,
        "revision": format!("towpath-{}", call.loki.settings.version),
        "branch": "",
        "buildUser": "",
        "buildDate": "",
        "goVersion": "",
    }))
}

pub(super) fn format_query(call: &Call) -> Result<Value, Fault> {
    let expr = logql::parse(call.params.get("query"))?;
    Ok(reply::success(logql::format(&expr).into()))
}

/// Rules over lines are not evaluated: there are none.
pub(super) fn rules(_: &Call) -> Result<Value, Fault> {
    Err(Fault::unknown("no rule groups found"))
}

/// The same as Prometheus tells it.
pub(super) fn no_groups(_: &Call) -> Result<Value, Fault> {
    Ok(reply::success(json!({ "groups": [] })))
}

/// There are no alerts where there are no rules.
pub(super) fn no_alerts(_: &Call) -> Result<Value, Fault> {
    Ok(reply::success(json!({ "alerts": [] })))
}

/// Nobody shall believe that a rule is kept which is never evaluated.
pub(super) async fn change_rules() -> Fault {
    Fault::absent("rules over log lines are not evaluated by this server, so none are taken")
}

pub(super) fn drilldown_limits(call: &Call) -> Result<Value, Fault> {
    let settings = &call.loki.settings;
    Ok(json!({
        "limits": {
            "discover_log_levels": true,
            "discover_service_name": ["service", "app", "application", "name", "container", "job"],
            "log_level_fields": ["level", "lvl", "severity"],
            "max_entries_limit_per_query": 5000,
            "max_line_size_truncate": false,
            "max_query_bytes_read": settings.max_bytes.to_string(),
            "max_query_length": "0s",
            "max_query_lookback": "0s",
            "max_query_range": "0s",
            "max_query_series": settings.max_series,
            "query_timeout": format!("{}s", settings.query_timeout.as_secs()),
            "retention_period": "0s",
            "volume_enabled": true,
            "volume_max_series": 1000,
        },
        "pattern_ingester_enabled": true,
        "version": LEVEL,
        "maxDetectedFields": 1000,
        "maxDetectedValues": 1000,
        "maxLabelValues": 1000,
        "maxLinesPerQuery": 5000,
    }))
}
