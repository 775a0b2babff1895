//! Messages as upstream's version 4 says them, to a webhook and to incident.io.

use serde_json::{Value, json};
use towpath_query::template::Time;

use super::access::Access;
use super::making::Making;
use super::talk::Request;
use super::{Message, Way, one};
use crate::alertmanager::alert::fingerprint;
use crate::alertmanager::view::NEVER_MS;

/// The largest message incident.io takes, in bytes.
const INCIDENT_BYTES: usize = 512 * 1024;

fn time(ms: i64) -> String {
    Time::from_millis(ms).format("2006-01-02T15:04:05.999999999Z07:00")
}

fn most(making: &Making<'_>) -> usize {
    let max = making.of.field("max_alerts").and_then(Value::as_u64);
    match usize::try_from(max.unwrap_or(0)).unwrap_or(usize::MAX) {
        0 => usize::MAX,
        max => max,
    }
}

pub(super) fn webhook(making: &Making<'_>) -> Result<Way, String> {
    let url = making.fill(&making.secret_url("url")?)?;
    making.mask.borrow_mut().add_url(&url);
    let body = body(making.message, most(making), "4");
    Ok(one(Request::post(url, body)))
}

pub(super) fn incidentio(making: &Making<'_>, access: &mut Access) -> Result<Way, String> {
    let token = making.secret("alert_source_token")?;
    if !token.is_empty() {
        access.authorization = Some(format!("Bearer {token}"));
    }
    let url = making.secret_url("url")?;
    let most = most(making);
    let mut made = body(making.message, most, "1");
    if made.to_string().len() > INCIDENT_BYTES {
        let left_out = made["truncatedAlerts"].clone();
        made = body(making.message, 1, "1");
        made["truncatedAlerts"] = left_out;
    }
    Ok(one(Request::post(url, made)))
}

fn body(message: &Message, most: usize, version: &str) -> Value {
    let shown = most.min(message.alerts.len());
    let alerts: Vec<Value> = message.alerts[..shown]
        .iter()
        .map(|(alert, firing)| {
            let ends = if *firing { NEVER_MS } else { alert.ends_at };
            json!({
                "status": if *firing { "firing" } else { "resolved" },
                "labels": alert.labels,
                "annotations": alert.annotations,
                "startsAt": time(alert.starts_at),
                "endsAt": time(ends),
                "generatorURL": alert.generator_url,
                "fingerprint": format!("{:016x}", fingerprint(&alert.labels)),
            })
        })
        .collect();
    json!({
        "receiver": message.receiver,
        "status": message.status(),
        "alerts": alerts,
        "groupLabels": message.group_labels,
        "commonLabels": message.common_labels(),
        "commonAnnotations": message.common_annotations(),
        "externalURL": message.external_url,
        "version": version,
        "groupKey": message.group_key,
        "truncatedAlerts": message.alerts.len() - shown,
    })
}
