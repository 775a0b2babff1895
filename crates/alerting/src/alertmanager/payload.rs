//! What is sent: a request, or a mail.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};
use towpath_query::template::Time;

use super::alert::fingerprint;
use super::message::{Message, Messages};
use super::receivers::Integration;

/// What is to go out.
pub enum Body {
    /// A POST of JSON.
    Json(Value),
    /// A mail: subject, HTML, text, further headers.
    Mail {
        /// What it is about.
        subject: String,
        /// As HTML.
        html: String,
        /// As text.
        text: String,
        /// From whom.
        from: String,
        /// To whom.
        to: String,
        /// Headers of its own.
        headers: Vec<(String, String)>,
    },
}

/// A message ready to go. It holds secrets and is never shown.
pub struct Rendered {
    /// Where to; the mail server's address for mails.
    pub url: String,
    /// What authorizes it, as the value of a header.
    pub authorization: Option<String>,
    /// What goes out.
    pub body: Body,
}

/// Reads a file that a secret lies in.
pub(super) type Secrets<'a> = dyn Fn(&str) -> Result<String, String> + 'a;

/// The largest text of a message to Telegram, in characters.
const TELEGRAM_CHARS: usize = 4096;

/// A secret that stands in a field, or in the file that the field `…_file` names.
fn secret(of: &Integration, field: &str, read: &Secrets<'_>) -> Result<String, String> {
    match (of.text(field), of.text(&format!("{field}_file"))) {
        ("", "") => Ok(String::new()),
        ("", file) => Ok(read(file)?.trim().to_owned()),
        (value, _) => Ok(value.to_owned()),
    }
}

/// What authorizes a request, from `http_config`.
fn authorization(of: &Integration, read: &Secrets<'_>) -> Result<Option<String>, String> {
    let Some(config) = of.field("http_config").and_then(Value::as_object) else {
        return Ok(None);
    };
    for field in [
        "oauth2",
        "proxy_url",
        "tls_config",
        "http_headers",
        "proxy_from_environment",
    ] {
        let set = match config.get(field) {
            None | Some(Value::Null | Value::Bool(false)) => false,
            Some(Value::Object(map)) => !map.is_empty(),
            Some(_) => true,
        };
        if set {
            return Err(format!("http_config.{field} is not supported"));
        }
    }
    let part = |map: &Map<String, Value>, field: &str| -> Result<String, String> {
        let text = |name: &str| map.get(name).and_then(Value::as_str).unwrap_or("");
        match (text(field), text(&format!("{field}_file"))) {
            ("", "") => Ok(String::new()),
            ("", file) => Ok(read(file)?.trim().to_owned()),
            (value, _) => Ok(value.to_owned()),
        }
    };
    if let Some(basic) = config.get("basic_auth").and_then(Value::as_object) {
        let pair = format!("{}:{}", part(basic, "username")?, part(basic, "password")?);
        return Ok(Some(format!("Basic {}", STANDARD.encode(pair))));
    }
    if let Some(own) = config.get("authorization").and_then(Value::as_object) {
        let kind = own.get("type").and_then(Value::as_str).unwrap_or("Bearer");
        return Ok(Some(format!("{kind} {}", part(own, "credentials")?)));
    }
    match part(config, "bearer_token")?.as_str() {
        "" => Ok(None),
        token => Ok(Some(format!("Bearer {token}"))),
    }
}

/// The hash that names a group to those who count messages about the same as one.
pub(super) fn hash(text: &str) -> String {
    let digest = Sha256::digest(text.as_bytes());
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn time(ms: i64) -> String {
    Time::from_millis(ms).format("2006-01-02T15:04:05.999999999Z07:00")
}

/// What is sent about a message.
///
/// # Errors
/// A template or a file fails, or the kind of integration is not supported.
pub fn render(
    of: &Integration,
    message: &Message,
    messages: &Messages,
    read: &Secrets<'_>,
) -> Result<Rendered, String> {
    let text = |field: &str, usual: &str| {
        let template = match of.field(field).and_then(Value::as_str) {
            None => usual,
            Some(own) => own,
        };
        let made = messages.text(template, message);
        made.map_err(|error| format!("{field}: {error}"))
    };
    let named = |name: &str| format!("{{{{ template \"{name}\" . }}}}");
    let (url, body) = match of.kind {
        "webhook" => {
            let url = secret(of, "url", read)?;
            let max = of.field("max_alerts").and_then(Value::as_u64).unwrap_or(0);
            let url = messages.text(&url, message)?;
            (url, Body::Json(webhook(message, max as usize)))
        }
        "slack" => slack(of, message, &text, &named, read)?,
        "pagerduty" => pagerduty(of, message, messages, &text, &named, read)?,
        "msteamsv2" => {
            let title = text("title", &named("msteamsv2.default.title"))?;
            let body = text("text", &named("msteamsv2.default.text"))?;
            let color = if message.status() == "firing" {
                "Attention"
            } else {
                "Good"
            };
            (
                secret(of, "webhook_url", read)?,
                Body::Json(teams(&title, &body, color)),
            )
        }
        "telegram" => telegram(of, message, messages, &named, read)?,
        "email" => email(of, message, messages, &text, &named)?,
        kind => return Err(format!("messages by {kind} are not supported")),
    };
    let mut authorization = authorization(of, read)?;
    if of.kind == "slack" && authorization.is_none() {
        let token = secret(of, "app_token", read)?;
        authorization = (!token.is_empty()).then(|| format!("Bearer {token}"));
    }
    Ok(Rendered {
        url,
        authorization,
        body,
    })
}

/// Upstream's version 4.
fn webhook(message: &Message, max: usize) -> Value {
    let shown = match max {
        0 => message.alerts.len(),
        max => max.min(message.alerts.len()),
    };
    let alerts: Vec<Value> = message.alerts[..shown]
        .iter()
        .map(|(alert, firing)| {
            let ends = if *firing {
                super::view::NEVER_MS
            } else {
                alert.ends_at
            };
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
        "version": "4",
        "groupKey": message.group_key,
        "truncatedAlerts": message.alerts.len() - shown,
    })
}

type Text<'a> = dyn Fn(&str, &str) -> Result<String, String> + 'a;
type Named<'a> = dyn Fn(&str) -> String + 'a;
type Made = Result<(String, Body), String>;

/// Adds a text to an object unless it is empty.
fn put(map: &mut Map<String, Value>, name: &str, text: String) {
    if !text.is_empty() {
        map.insert(name.to_owned(), text.into());
    }
}

fn slack(
    of: &Integration,
    message: &Message,
    text: &Text<'_>,
    named: &Named<'_>,
    read: &Secrets<'_>,
) -> Made {
    let default = |name: &str| named(&format!("slack.default.{name}"));
    let mut attachment = Map::new();
    put(&mut attachment, "title", text("title", &default("title"))?);
    put(
        &mut attachment,
        "title_link",
        text("title_link", &default("titlelink"))?,
    );
    put(
        &mut attachment,
        "pretext",
        text("pretext", &default("pretext"))?,
    );
    for (name, usual) in [
        ("text", default("text")),
        ("fallback", default("fallback")),
        ("callback_id", default("callbackid")),
        ("footer", default("footer")),
    ] {
        attachment.insert(name.to_owned(), text(name, &usual)?.into());
    }
    put(&mut attachment, "image_url", text("image_url", "")?);
    put(&mut attachment, "thumb_url", text("thumb_url", "")?);
    let color = "{{ if eq .Status \"firing\" }}danger{{ else }}good{{ end }}";
    put(&mut attachment, "color", text("color", color)?);
    let marked = of.field("mrkdwn_in").cloned();
    attachment.insert(
        "mrkdwn_in".to_owned(),
        marked.unwrap_or_else(|| json!(["fallback", "pretext", "text"])),
    );
    for list in ["fields", "actions"] {
        if let Some(items) = of.field(list).and_then(Value::as_array) {
            let made = items.iter().map(|item| filled(item, text));
            let mut made = made.collect::<Result<Vec<_>, _>>()?;
            if list == "fields" {
                let short = of.flag("short_fields", false);
                for field in made.iter_mut().filter_map(Value::as_object_mut) {
                    field.entry("short").or_insert(short.into());
                }
            }
            attachment.insert(list.to_owned(), made.into());
        }
    }
    let mut request = Map::new();
    put(&mut request, "channel", text("channel", "")?);
    put(
        &mut request,
        "username",
        text("username", &default("username"))?,
    );
    put(
        &mut request,
        "icon_emoji",
        text("icon_emoji", &default("iconemoji"))?,
    );
    put(
        &mut request,
        "icon_url",
        text("icon_url", &default("iconurl"))?,
    );
    if of.flag("link_names", false) {
        request.insert("link_names".to_owned(), true.into());
    }
    put(&mut request, "text", text("message_text", "")?);
    request.insert("attachments".to_owned(), json!([attachment]));
    let _ = message;
    let url = match secret(of, "api_url", read)?.as_str() {
        "" => match of.text("app_url") {
            "" => "https://slack.com/api/chat.postMessage".to_owned(),
            own => own.to_owned(),
        },
        own => own.to_owned(),
    };
    Ok((url, Body::Json(request.into())))
}

/// A value with the templates of all its texts filled in.
fn filled(value: &Value, text: &Text<'_>) -> Result<Value, String> {
    Ok(match value {
        // There is no field without a name, so that the text is what is taken.
        Value::String(template) => text("", template)?.into(),
        Value::Array(items) => items
            .iter()
            .map(|item| filled(item, text))
            .collect::<Result<Vec<_>, _>>()?
            .into(),
        Value::Object(map) => {
            let mut out = Map::new();
            for (name, value) in map {
                out.insert(name.clone(), filled(value, text)?);
            }
            out.into()
        }
        value => value.clone(),
    })
}

fn pagerduty(
    of: &Integration,
    message: &Message,
    messages: &Messages,
    text: &Text<'_>,
    named: &Named<'_>,
    read: &Secrets<'_>,
) -> Made {
    let key = secret(of, "routing_key", read)?;
    if key.is_empty() {
        return Err("service_key (events of version 1) is not supported, use routing_key".into());
    }
    let description = text("description", &named("pagerduty.default.description"))?;
    let description: String = description.chars().take(1024).collect();
    let client = text("client", &named("pagerduty.default.client"))?;
    let client_url = text("client_url", &named("pagerduty.default.clientURL"))?;
    let mut details = Map::new();
    for (name, template) in [
        (
            "firing",
            "{{ template \"pagerduty.default.instances\" .Alerts.Firing }}",
        ),
        (
            "resolved",
            "{{ template \"pagerduty.default.instances\" .Alerts.Resolved }}",
        ),
        ("num_firing", "{{ .Alerts.Firing | len }}"),
        ("num_resolved", "{{ .Alerts.Resolved | len }}"),
    ] {
        details.insert(name.to_owned(), messages.text(template, message)?.into());
    }
    if let Some(own) = of.field("details").and_then(Value::as_object) {
        for (name, value) in own {
            details.insert(name.clone(), filled(value, text)?);
        }
    }
    let firing = message.status() == "firing";
    let mut payload = Map::new();
    payload.insert("summary".into(), description.into());
    let source = match of.text("source") {
        "" => client.clone(),
        _ => text("source", "")?,
    };
    payload.insert("source".into(), source.into());
    let severity = text("severity", "error")?;
    payload.insert("severity".into(), severity.into());
    for field in ["class", "component", "group"] {
        put(&mut payload, field, text(field, "")?);
    }
    payload.insert("custom_details".into(), details.into());
    let mut event = json!({
        "routing_key": messages.text(&key, message)?,
        "dedup_key": hash(&message.group_key),
        "event_action": if firing { "trigger" } else { "resolve" },
        "payload": payload,
        "client": client,
        "client_url": client_url,
    });
    for list in ["images", "links"] {
        if let Some(items) = of.field(list).filter(|_| firing) {
            event[list] = filled(items, text)?;
        }
    }
    // Larger events are refused.
    if event.to_string().len() > 512_000 {
        event["payload"]["custom_details"] =
            json!({"error": "the details are left out, since the event would be too large"});
    }
    let url = match of.text("url") {
        "" => "https://events.pagerduty.com/v2/enqueue".to_owned(),
        own => own.to_owned(),
    };
    Ok((url, Body::Json(event)))
}

fn teams(title: &str, text: &str, color: &str) -> Value {
    json!({
        "type": "message",
        "attachments": [{
            "contentType": "application/vnd.microsoft.card.adaptive",
            "contentUrl": null,
            "content": {
                "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
                "type": "AdaptiveCard",
                "version": "1.2",
                "body": [
                    {"type": "TextBlock", "text": title, "weight": "Bolder", "size": "Medium",
                        "wrap": true, "style": "heading", "color": color},
                    {"type": "TextBlock", "text": text, "wrap": true},
                ],
                "msteams": {"width": "full"},
            },
        }],
    })
}

fn telegram(
    of: &Integration,
    message: &Message,
    messages: &Messages,
    named: &Named<'_>,
    read: &Secrets<'_>,
) -> Made {
    let template = match of.text("message") {
        "" => named("telegram.default.message"),
        own => own.to_owned(),
    };
    let mode = of
        .field("parse_mode")
        .and_then(Value::as_str)
        .unwrap_or("HTML");
    let text = match mode {
        "HTML" => messages.html(&template, message)?,
        _ => messages.text(&template, message)?,
    };
    let text: String = text.chars().take(TELEGRAM_CHARS).collect();
    let chat = match of.field("chat_id") {
        Some(chat) => chat.clone(),
        None => read(of.text("chat_id_file"))?.trim().into(),
    };
    let mut body = json!({
        "chat_id": chat,
        "text": text,
        "disable_notification": of.flag("disable_notifications", false),
        "disable_web_page_preview": true,
    });
    if !mode.is_empty() {
        body["parse_mode"] = mode.into();
    }
    if let Some(thread) = of.field("message_thread_id") {
        body["message_thread_id"] = thread.clone();
    }
    let api = match of.text("api_url") {
        "" => "https://api.telegram.org",
        own => own.trim_end_matches('/'),
    };
    let token = secret(of, "bot_token", read)?;
    Ok((format!("{api}/bot{token}/sendMessage"), Body::Json(body)))
}

fn email(
    of: &Integration,
    message: &Message,
    messages: &Messages,
    text: &Text<'_>,
    named: &Named<'_>,
) -> Made {
    let mut headers = Vec::new();
    let mut subject = messages.text(&named("email.default.subject"), message)?;
    for (name, value) in of
        .field("headers")
        .and_then(Value::as_object)
        .into_iter()
        .flatten()
    {
        let value = messages.text(value.as_str().unwrap_or_default(), message)?;
        match name.eq_ignore_ascii_case("subject") {
            true => subject = value,
            false => headers.push((name.clone(), value)),
        }
    }
    let html = match of.field("html").and_then(Value::as_str) {
        Some(own) => own.to_owned(),
        None => named("email.default.html"),
    };
    let body = Body::Mail {
        subject,
        html: messages.html(&html, message)?,
        text: text("text", &named("email.default.text"))?,
        from: text("from", "")?,
        to: text("to", "")?,
        headers,
    };
    Ok((of.text("smarthost").to_owned(), body))
}
