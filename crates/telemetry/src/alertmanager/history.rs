//! What happened to alerts, kept as lines of logs: `{job="towpath/notifications"}`.
//!
//! Streams are told apart by `event`: `transition` (an alert fires or resolves), `suppression` (a
//! receiver is not told, and why) and `delivery` (an attempt at a message: what was sent, how it
//! went, how long it took). Lines are JSON, without secrets.

use std::sync::Arc;

use serde_json::{Value, json};
use towpath_alerting::alertmanager::{Event, Message, Outcome, What, fingerprint};
use towpath_query::promql::Labels;
use towpath_signals::logs::{Line, LogStore, Stream};

use super::sender::Attempt;
use super::wire::time;

/// The job of all lines.
pub const JOB: &str = "towpath/notifications";

/// No line is longer, in bytes; what is sent is cut before.
const LINE_BYTES: usize = 128 << 10;
/// The most alerts that a delivery names.
const MAX_NAMED: usize = 100;

/// An attempt at a message.
pub(super) struct Delivery<'a> {
    pub(super) at: i64,
    pub(super) integration: &'a str,
    pub(super) message: &'a Message,
    pub(super) tried: u32,
    pub(super) attempt: &'a Attempt,
    pub(super) seconds: f64,
    /// Whether somebody only wanted to see that it works.
    pub(super) test: bool,
}

pub(super) struct History(Arc<LogStore>);

fn line(at: i64, value: &Value) -> Line {
    let mut text = value.to_string();
    if text.len() > LINE_BYTES {
        let mut short = value.clone();
        for field in ["annotations", "labels", "alerts", "body"] {
            if short.get(field).is_some() {
                short[field] = Value::Null;
            }
        }
        short["cut"] = true.into();
        text = short.to_string();
    }
    Line {
        at: at.saturating_mul(1_000_000),
        text,
        metadata: Vec::new(),
    }
}

fn entry(event: &Event) -> (&'static str, Value) {
    let name = event.labels.get("alertname").map_or("", String::as_str);
    let fingerprint = format!("{:016x}", event.fingerprint);
    match &event.what {
        What::Fires {
            annotations,
            starts_at,
            generator_url,
        } => (
            "transition",
            json!({
                "event": "fires", "alertname": name, "fingerprint": fingerprint,
                "labels": event.labels, "annotations": annotations,
                "startsAt": time(*starts_at), "generatorURL": generator_url,
            }),
        ),
        What::Resolves { starts_at, ends_at } => (
            "transition",
            json!({
                "event": "resolves", "alertname": name, "fingerprint": fingerprint,
                "labels": event.labels, "startsAt": time(*starts_at), "endsAt": time(*ends_at),
            }),
        ),
        What::Suppressed {
            receiver,
            group_key,
            by,
        } => {
            let causes: Vec<Value> = by
                .iter()
                .map(|cause| {
                    let (kind, name) = cause.parts();
                    json!({"kind": kind, "name": name})
                })
                .collect();
            let first = by.first().map_or(("", ""), |cause| cause.parts());
            let word = if by.is_empty() {
                "heard again"
            } else {
                "suppressed"
            };
            (
                "suppression",
                json!({
                    "event": word, "alertname": name, "fingerprint": fingerprint,
                    "receiver": receiver, "groupKey": group_key,
                    "cause": first.0, "causeName": first.1, "by": causes, "labels": event.labels,
                }),
            )
        }
    }
}

impl History {
    pub(super) fn new(store: Arc<LogStore>) -> Self {
        Self(store)
    }

    pub(super) fn events(&self, events: &[Event]) {
        let mut streams: Vec<(&str, Vec<Line>)> = Vec::new();
        for event in events {
            let (kind, value) = entry(event);
            let made = line(event.at, &value);
            match streams.iter_mut().find(|(known, _)| *known == kind) {
                Some((_, lines)) => lines.push(made),
                None => streams.push((kind, vec![made])),
            }
        }
        self.push(streams);
    }

    pub(super) fn delivery(&self, of: &Delivery<'_>) {
        let message = of.message;
        let alerts: Vec<String> = message
            .alerts
            .iter()
            .take(MAX_NAMED)
            .map(|(alert, _)| format!("{:016x}", fingerprint(&alert.labels)))
            .collect();
        let (event, again) = match of.attempt.outcome() {
            Outcome::Delivered => ("delivered", false),
            Outcome::Later(_) => ("failed", true),
            Outcome::Refused => ("failed", false),
        };
        let why = of.attempt.result.as_ref().err().map(|fault| &fault.why);
        let value = json!({
            "event": event, "again": again, "test": of.test,
            "receiver": message.receiver, "integration": of.integration,
            "groupKey": message.group_key, "alertname": message.group_labels.get("alertname"),
            "status": message.status(), "code": of.attempt.status,
            "attempt": of.tried + 1, "seconds": of.seconds, "why": why,
            "key": message.id, "count": message.alerts.len(), "alerts": alerts,
            "body": of.attempt.body,
        });
        self.push(vec![("delivery", vec![line(of.at, &value)])]);
    }

    fn push(&self, streams: Vec<(&str, Vec<Line>)>) {
        if streams.is_empty() {
            return;
        }
        let streams = streams.into_iter().map(|(kind, lines)| Stream {
            labels: [("event", kind), ("job", JOB)]
                .into_iter()
                .collect::<Labels>(),
            lines,
        });
        match self.0.push(streams.collect()) {
            Ok(pushed) if pushed.refused_count > 0 => {
                tracing::warn!(
                    refused = pushed.refused_count,
                    "history of alerts is not kept"
                );
            }
            Ok(_) => {}
            Err(error) => tracing::warn!(%error, "history of alerts is not kept"),
        }
    }
}
