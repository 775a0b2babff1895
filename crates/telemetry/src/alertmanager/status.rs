//! How receivers fare, and messages that only test them.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use serde_json::{Value, json};
use towpath_alerting::alertmanager::{Alert, Integration, Message};

use super::history::Delivery;
use super::sender::Attempt;
use super::{Alertmanager, wire};

/// How the last attempts of an integration went. Times are in milliseconds since the epoch.
#[derive(Clone, Debug, Default)]
pub(super) struct Record {
    tried_at: i64,
    seconds: f64,
    delivered_at: Option<i64>,
    /// When it failed last, and why.
    failed: Option<(i64, String)>,
    /// Whether the last attempt failed.
    failing: bool,
}

impl Record {
    fn shown(&self) -> Value {
        json!({
            "lastAttempt": wire::time(self.tried_at),
            "lastAttemptSeconds": self.seconds,
            "lastDelivery": self.delivered_at.map(wire::time),
            "lastFailure": self.failed.as_ref().map(|(at, _)| wire::time(*at)),
            "lastError": self.failed.as_ref().map(|(_, why)| why),
            "failing": self.failing,
        })
    }
}

impl Alertmanager {
    /// Sends a message by an integration, and notes how it went.
    pub(super) async fn attempt(
        self: &Arc<Self>,
        of: &Integration,
        message: &Message,
        tried: u32,
        test: bool,
    ) -> (Attempt, f64) {
        let messages = Arc::clone(&self.messages.lock());
        let begun = self.clock.monotonic();
        let attempt = self.sender.send(of, message, &messages).await;
        let seconds = self.clock.monotonic().duration_since(begun).as_secs_f64();
        let name = format!("{}/{}", message.receiver, of.name());
        let now = self.now();
        if let Err(fault) = &attempt.result {
            let why = &fault.why;
            tracing::warn!(receiver = name, tried, why, "alerts are not told");
        }
        {
            let mut records = self.records.lock();
            let record = records.entry(name).or_default();
            record.tried_at = now;
            record.seconds = seconds;
            record.failing = attempt.result.is_err();
            match &attempt.result {
                Ok(()) => record.delivered_at = Some(now),
                Err(fault) => record.failed = Some((now, fault.why.clone())),
            }
        }
        if !test {
            self.meters.sent(of.kind, &attempt, seconds);
        }
        if let Some(history) = self.history.get() {
            history.delivery(&Delivery {
                at: now,
                integration: &of.name(),
                message,
                tried,
                attempt: &attempt,
                seconds,
                test,
            });
        }
        (attempt, seconds)
    }

    /// Integrations whose last attempt failed, by their names, and why.
    pub fn failures(&self) -> Vec<(String, String)> {
        let records = self.records.lock();
        let failing = records.iter().filter(|(_, record)| record.failing);
        failing
            .filter_map(|(name, record)| Some((name.clone(), record.failed.clone()?.1)))
            .collect()
    }

    fn test_message(&self, receiver: &str) -> Message {
        let now = self.now();
        let texts = |pairs: &[(&str, &str)]| -> BTreeMap<String, String> {
            let pairs = pairs.iter();
            pairs
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
                .collect()
        };
        let labels = texts(&[
            ("alertname", "TestMessage"),
            ("receiver", receiver),
            ("severity", "info"),
        ]);
        let alert = Alert {
            labels: labels.clone(),
            annotations: texts(&[
                (
                    "summary",
                    "This is a test of the receiver; nothing is wrong.",
                ),
                ("description", "Somebody asked for this message."),
            ]),
            starts_at: now,
            ends_at: now + 300_000,
            updated_at: now,
            generator_url: format!("{}/#/alerts", self.settings.external_url),
            timeout: false,
        };
        let id = wire::fresh_id();
        Message {
            receiver: receiver.to_owned(),
            group_key: format!("test:{id}"),
            group_labels: labels,
            alerts: vec![(alert, true)],
            external_url: self.settings.external_url.clone(),
            now,
            id,
        }
    }
}

/// `GET /api/v1/receivers`: all receivers, and how they fare.
pub(super) async fn receivers(State(own): State<Arc<Alertmanager>>) -> Response {
    let config = Arc::clone(own.dispatcher.lock().config());
    let records = own.records.lock().clone();
    let receivers: Vec<Value> = config
        .receivers
        .iter()
        .map(|receiver| {
            let integrations: Vec<Value> = receiver
                .integrations
                .iter()
                .map(|of| {
                    let name = format!("{}/{}", receiver.name, of.name());
                    let status = records.get(&name).map_or(Value::Null, Record::shown);
                    json!({"name": of.name(), "kind": of.kind, "sendResolved": of.send_resolved,
                        "status": status})
                })
                .collect();
            let throttle = config.throttles.get(&receiver.name).map(|throttle| {
                json!({
                    "burst": throttle.burst,
                    "every": towpath_query::promql::format_duration(throttle.every_ms),
                    "label": throttle.label,
                    "bypass": throttle.bypass,
                })
            });
            json!({"name": receiver.name, "integrations": integrations, "throttle": throttle})
        })
        .collect();
    axum::Json(json!({"receivers": receivers})).into_response()
}

/// `POST /api/v1/receivers/{name}/test`: a message by each integration of a receiver, at once and
/// whatever throttles and silences say.
pub(super) async fn test(
    State(own): State<Arc<Alertmanager>>,
    Path(name): Path<String>,
) -> Response {
    let config = Arc::clone(own.dispatcher.lock().config());
    let Some(receiver) = config.receiver(&name) else {
        let error = json!({"error": format!("there is no receiver {name}")});
        return (StatusCode::NOT_FOUND, axum::Json(error)).into_response();
    };
    let message = own.test_message(&name);
    let mut results = Vec::new();
    for of in &receiver.integrations {
        let (attempt, seconds) = own.attempt(of, &message, 0, true).await;
        let why = attempt.result.as_ref().err().map(|fault| &fault.why);
        results.push(json!({
            "integration": of.name(), "delivered": attempt.result.is_ok(),
            "code": attempt.status, "error": why, "seconds": seconds,
        }));
    }
    axum::Json(json!({"receiver": name, "results": results})).into_response()
}
