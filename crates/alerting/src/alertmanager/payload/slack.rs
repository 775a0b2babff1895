//! Slack: incoming webhooks, and its API with the token of an app.

use serde_json::{Map, Value, json};

use super::access::Access;
use super::making::{Making, named, put};
use super::talk::{Answer, Fault, Request, by_status, cut};
use super::{Way, each};

/// The longest title, in characters.
const TITLE_CHARS: usize = 1024;

pub(super) fn slack(making: &Making<'_>, access: &mut Access) -> Result<Way, String> {
    let default = |name: &str| named(&format!("slack.default.{name}"));
    let text = |field: &str, usual: &str| making.text(field, usual);
    let of = making.of;
    let mut attachment = Map::new();
    let title = cut(text("title", &default("title"))?, TITLE_CHARS);
    put(&mut attachment, "title", title);
    let link = text("title_link", &default("titlelink"))?;
    put(&mut attachment, "title_link", link);
    let before = text("pretext", &default("pretext"))?;
    put(&mut attachment, "pretext", before);
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
    let marked = marked.unwrap_or_else(|| json!(["fallback", "pretext", "text"]));
    attachment.insert("mrkdwn_in".to_owned(), marked);
    if let Some(fields) = making.short_fields()? {
        attachment.insert("fields".to_owned(), fields.into());
    }
    if let Some(mut actions) = making.list("actions")? {
        for action in actions.iter_mut().filter_map(Value::as_object_mut) {
            // A link has no answer to wait for.
            let link = action.get("url").and_then(Value::as_str);
            if link.is_some_and(|link| !link.is_empty()) {
                for field in ["name", "value", "confirm"] {
                    action.remove(field);
                }
            }
        }
        attachment.insert("actions".to_owned(), actions.into());
    }
    let mut request = Map::new();
    put(&mut request, "channel", text("channel", "")?);
    for (name, usual) in [
        ("username", "username"),
        ("icon_emoji", "iconemoji"),
        ("icon_url", "iconurl"),
    ] {
        put(&mut request, name, text(name, &default(usual))?);
    }
    if of.flag("link_names", false) {
        request.insert("link_names".to_owned(), true.into());
    }
    put(&mut request, "text", text("message_text", "")?);
    request.insert("attachments".to_owned(), json!([attachment]));
    let url = match making.secret_url("api_url")?.as_str() {
        "" => match of.text("app_url") {
            "" => "https://slack.com/api/chat.postMessage".to_owned(),
            own => own.to_owned(),
        },
        own => own.to_owned(),
    };
    if access.authorization.is_none() {
        let token = making.secret("app_token")?;
        access.authorization = (!token.is_empty()).then(|| format!("Bearer {token}"));
    }
    Ok(each([Request::post(url, request.into())], judge))
}

/// Slack says what is wrong with status 200 too.
fn judge(answer: &Answer) -> Result<(), Fault> {
    by_status(answer)?;
    if answer.content_type.starts_with("application/json") {
        let said = answer.json().unwrap_or_default();
        return match said["ok"] == Value::Bool(true) {
            true => Ok(()),
            false => Err(Fault::refused(format!("Slack says: {}", said["error"]))),
        };
    }
    match answer.body.trim() {
        "ok" => Ok(()),
        said => {
            let said: String = said.chars().take(200).collect();
            Err(Fault::refused(format!("Slack says: {said}")))
        }
    }
}
