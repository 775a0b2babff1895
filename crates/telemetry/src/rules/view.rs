//! Groups as the API of Prometheus shows them.

use std::collections::BTreeMap;

use towpath_alerting::rules::{self, State};
use towpath_query::promql::Labels;

use crate::prometheus::{Alert, AlertState, Alerting, Rule, RuleGroup, RuleHealth};

fn nanos(ms: i64) -> Option<u64> {
    u64::try_from(ms).ok()?.checked_mul(1_000_000)
}

fn labels(map: &BTreeMap<String, String>) -> Labels {
    map.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect()
}

fn state(of: State) -> AlertState {
    match of {
        State::Inactive => AlertState::Inactive,
        State::Pending => AlertState::Pending,
        State::Firing => AlertState::Firing,
    }
}

fn alerting(rule: &rules::Alerting, evaluated: bool) -> Alerting {
    Alerting {
        state: match evaluated {
            true => state(rule.state()),
            false => AlertState::Unknown,
        },
        hold: rule.hold_ms as f64 / 1000.0,
        keep_firing_for: rule.keep_firing_for_ms as f64 / 1000.0,
        annotations: labels(&rule.annotations),
        alerts: rule
            .current()
            .map(|alert| Alert {
                labels: alert.labels.clone(),
                annotations: labels(&alert.annotations),
                state: state(alert.state),
                active_at_ns: nanos(alert.active_at),
                keep_firing_since_ns: alert.keep_firing_since.and_then(nanos),
                value: alert.value,
            })
            .collect(),
    }
}

fn rule(of: &rules::Rule) -> Rule {
    let query = match &of.kind {
        rules::Kind::Recording(rule) => rule.expr.to_string(),
        rules::Kind::Alerting(rule) => rule.expr.to_string(),
    };
    let (health, last_error) = match &of.health {
        rules::Health::Unknown => (RuleHealth::Unknown, String::new()),
        rules::Health::Good => (RuleHealth::Good, String::new()),
        rules::Health::Bad(why) => (RuleHealth::Bad, why.clone()),
    };
    Rule {
        name: of.name().to_owned(),
        query,
        labels: labels(of.labels()),
        health,
        last_error,
        evaluation_time: of.seconds,
        last_evaluation_ns: of.evaluated_at.and_then(nanos),
        alerting: of
            .alerting()
            .map(|rule| alerting(rule, of.evaluated_at.is_some())),
    }
}

pub(super) fn group(of: &rules::Group) -> RuleGroup {
    RuleGroup {
        name: of.name.clone(),
        file: of.file.clone(),
        rules: of.rules.iter().map(rule).collect(),
        interval: of.interval_ms as f64 / 1000.0,
        limit: of.limit as u64,
        evaluation_time: of.seconds,
        last_evaluation_ns: of.evaluated_at.and_then(nanos),
    }
}
