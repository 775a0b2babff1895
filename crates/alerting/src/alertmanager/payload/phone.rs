//! VictorOps (Splunk On-Call) and Pushover.

use serde_json::{Map, Value};
use towpath_query::promql::parse_duration;

use super::making::{Making, named};
use super::talk::{Payload, Request, cut};
use super::{Way, hash, one};

pub(super) fn victorops(making: &Making<'_>) -> Result<Way, String> {
    let default = |name: &str| named(&format!("victorops.default.{name}"));
    let mut kind = making.text("message_type", "CRITICAL")?;
    if !making.firing() {
        kind = "RECOVERY".into();
    } else if !["INFO", "WARNING", "CRITICAL"].contains(&kind.as_str()) {
        kind = "CRITICAL".into();
    }
    let state = making.text("state_message", &default("state_message"))?;
    let mut body = Map::new();
    body.insert("message_type".into(), kind.into());
    body.insert("entity_id".into(), hash(&making.message.group_key).into());
    for field in ["entity_display_name", "monitoring_tool"] {
        body.insert(field.into(), making.text(field, &default(field))?.into());
    }
    body.insert("state_message".into(), cut(state, 20_480).into());
    let own = making.of.field("custom_fields").and_then(Value::as_object);
    for (name, template) in own.into_iter().flatten() {
        let value = making.fill(template.as_str().unwrap_or_default())?;
        body.insert(name.clone(), value.into());
    }
    let usual = "https://alert.victorops.com/integrations/generic/20131114/alert";
    let url = format!(
        "{}{}/{}",
        making.base("api_url", usual),
        making.secret("api_key")?,
        making.text("routing_key", "")?
    );
    Ok(one(Request::post(url, body.into())))
}

/// Where messages by Pushover go.
const PUSHOVER: &str = "https://api.pushover.net/1/messages.json";

pub(super) fn pushover(making: &Making<'_>) -> Result<Way, String> {
    let default = |name: &str| named(&format!("pushover.default.{name}"));
    let html = making.of.flag("html", false);
    let template = match making.of.field("message").and_then(Value::as_str) {
        Some(own) => own.to_owned(),
        None => default("message"),
    };
    let message = match html {
        true => making.messages.html(&template, making.message)?,
        false => making.fill(&template)?,
    };
    let message = cut(message, 1024).trim().to_owned();
    let message = match message.as_str() {
        // Empty messages are refused.
        "" => "(no details)".to_owned(),
        _ => message,
    };
    let seconds = |field: &str, usual: i64| match making.of.field(field).and_then(Value::as_str) {
        None => Ok(usual),
        Some(text) => parse_duration(text).map(|ms| ms / 1000),
    };
    let priority = "{{ if eq .Status \"firing\" }}2{{ else }}0{{ end }}";
    let token = making.fill(&making.secret("token")?)?;
    let user = making.fill(&making.secret("user_key")?)?;
    for secret in [&token, &user] {
        making.mask.borrow_mut().add(secret);
    }
    let mut pairs = vec![
        ("token", token),
        ("user", user),
        ("title", cut(making.text("title", &default("title"))?, 250)),
        ("message", message),
        ("url", cut(making.text("url", &default("url"))?, 512)),
        ("url_title", making.text("url_title", "")?),
        ("priority", making.text("priority", priority)?),
        ("retry", seconds("retry", 60)?.to_string()),
        ("expire", seconds("expire", 3600)?.to_string()),
        ("device", making.text("device", "")?),
        ("sound", making.text("sound", "")?),
    ];
    if html {
        pairs.push(("html", "1".into()));
    }
    if making.of.flag("monospace", false) {
        pairs.push(("monospace", "1".into()));
    }
    let ttl = seconds("ttl", 0)?;
    if ttl > 0 {
        pairs.push(("ttl", ttl.to_string()));
    }
    let pairs = pairs.into_iter();
    Ok(one(Request {
        method: "POST",
        url: PUSHOVER.to_owned(),
        headers: Vec::new(),
        // In the body and not in the address, which proxies note.
        body: Payload::Form(
            pairs
                .map(|(name, value)| (name.to_owned(), value))
                .collect(),
        ),
    }))
}
