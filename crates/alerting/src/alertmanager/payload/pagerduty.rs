//! PagerDuty: events of version 2, and of version 1 where a receiver has a `service_key`.

use serde_json::{Map, Value, json};

use super::making::{Making, named, put};
use super::talk::{Request, cut};
use super::{Answer, Fault, Way, by_status, each, hash, one};

/// Larger events are refused, in bytes.
const EVENT_BYTES: usize = 512_000;
/// Where events of version 1 go, whatever the configuration says, as upstream.
const GENERIC: &str = "https://events.pagerduty.com/generic/2010-04-15/create_event.json";

pub(super) fn pagerduty(making: &Making<'_>) -> Result<Way, String> {
    let service = making.secret("service_key")?;
    let default = named("pagerduty.default.description");
    let description = cut(making.text("description", &default)?, 1024);
    let details = details(making)?;
    match service.is_empty() {
        true => event(making, description, details),
        false => generic(making, &service, description, details),
    }
}

fn details(making: &Making<'_>) -> Result<Map<String, Value>, String> {
    let mut details = Map::new();
    for (name, template) in [
        ("firing", "{{ .Alerts.Firing | toJson }}"),
        ("resolved", "{{ .Alerts.Resolved | toJson }}"),
        ("num_firing", "{{ .Alerts.Firing | len }}"),
        ("num_resolved", "{{ .Alerts.Resolved | len }}"),
    ] {
        details.insert(name.to_owned(), making.typed(&template.into())?);
    }
    if let Some(own) = making.of.field("details").and_then(Value::as_object) {
        for (name, value) in own {
            details.insert(name.clone(), making.typed(value)?);
        }
    }
    Ok(details)
}

/// Client and its address.
fn client(making: &Making<'_>) -> Result<(String, String), String> {
    let default = |name: &str| named(&format!("pagerduty.default.{name}"));
    let client = making.text("client", &default("client"))?;
    Ok((client, making.text("client_url", &default("clientURL"))?))
}

fn too_large() -> Value {
    json!({"error": "the details are left out, since the event would be too large"})
}

/// An event of version 1.
fn generic(
    making: &Making<'_>,
    key: &str,
    description: String,
    details: Map<String, Value>,
) -> Result<Way, String> {
    let key = making.fill(key)?;
    if key.is_empty() {
        return Err("service_key: it is empty once its template is filled in".into());
    }
    let firing = making.firing();
    let mut event = json!({
        "service_key": key,
        "event_type": if firing { "trigger" } else { "resolve" },
        "incident_key": hash(&making.message.group_key),
        "details": details,
    });
    if let Value::Object(map) = &mut event {
        put(map, "description", description);
        if firing {
            let (client, client_url) = client(making)?;
            put(map, "client", client);
            put(map, "client_url", client_url);
        }
    }
    if event.to_string().len() > EVENT_BYTES {
        event["details"] = too_large();
    }
    // Too many at once are forbidden, in this version.
    let judge = |answer: &Answer| {
        by_status(answer).map_err(|fault| Fault {
            again: fault.again || answer.status == 403,
            ..fault
        })
    };
    Ok(each([Request::post(GENERIC.to_owned(), event)], judge))
}

/// An event of version 2.
fn event(
    making: &Making<'_>,
    description: String,
    details: Map<String, Value>,
) -> Result<Way, String> {
    let key = making.secret("routing_key")?;
    let of = making.of;
    let text = |field: &str, usual: &str| making.text(field, usual);
    let (client, client_url) = client(making)?;
    let firing = making.firing();
    let mut payload = Map::new();
    payload.insert("summary".into(), description.into());
    let source = match of.text("source") {
        "" => client.clone(),
        _ => text("source", "")?,
    };
    payload.insert("source".into(), source.into());
    payload.insert("severity".into(), text("severity", "error")?.into());
    for field in ["class", "component", "group"] {
        put(&mut payload, field, text(field, "")?);
    }
    payload.insert("custom_details".into(), details.into());
    let mut event = json!({
        "routing_key": making.fill(&key)?,
        "dedup_key": hash(&making.message.group_key),
        "event_action": if firing { "trigger" } else { "resolve" },
        "payload": payload,
        "client": client,
        "client_url": client_url,
    });
    for list in ["images", "links"] {
        if let Some(items) = of.field(list).filter(|_| firing) {
            event[list] = making.filled(items)?;
        }
    }
    if event.to_string().len() > EVENT_BYTES {
        event["payload"]["custom_details"] = too_large();
    }
    let url = match of.text("url") {
        "" => "https://events.pagerduty.com/v2/enqueue".to_owned(),
        own => own.to_owned(),
    };
    Ok(one(Request::post(url, event)))
}
