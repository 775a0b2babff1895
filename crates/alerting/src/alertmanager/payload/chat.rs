//! Discord, Mattermost, Rocket.Chat and Webex.

use serde_json::{Map, Value, json};

use super::making::{Making, named, put};
use super::talk::{Answer, Fault, Request, by_status, cut, cut_bytes};
use super::{Way, each, one};

pub(super) fn discord(making: &Making<'_>) -> Result<Way, String> {
    let default = |name: &str| named(&format!("discord.default.{name}"));
    let mut body = Map::new();
    let content = cut(making.text("content", "")?, 2000);
    body.insert("content".into(), content.into());
    body.insert(
        "embeds".into(),
        json!([{
            "title": cut(making.text("title", &default("title"))?, 256),
            "description": cut(making.text("message", &default("message"))?, 4096),
            "color": if making.firing() { 0x99_2D22 } else { 0x2E_CC71 },
        }]),
    );
    put(&mut body, "username", making.of.text("username").to_owned());
    put(
        &mut body,
        "avatar_url",
        making.of.text("avatar_url").to_owned(),
    );
    let url = making.secret_url("webhook_url")?;
    Ok(one(Request::post(url, body.into())))
}

/// An object without what is empty.
fn lean(value: Value) -> Value {
    match value {
        Value::Object(map) => {
            let kept = map
                .into_iter()
                .filter(|(_, value)| !matches!(value, Value::Null) && value.as_str() != Some(""));
            Value::Object(kept.map(|(name, value)| (name, lean(value))).collect())
        }
        Value::Array(items) => items.into_iter().map(lean).collect(),
        value => value,
    }
}

pub(super) fn mattermost(making: &Making<'_>) -> Result<Way, String> {
    let mut body = Map::new();
    let text = making.text("text", &named("mattermost.default.text"))?;
    body.insert("text".into(), cut(text, 16_383).into());
    for field in ["channel", "username", "icon_url", "icon_emoji", "type"] {
        put(&mut body, field, making.text(field, "")?);
    }
    if let Some(attachments) = making.list("attachments")?.filter(|all| !all.is_empty()) {
        body.insert("attachments".into(), lean(attachments.into()));
    }
    if let Some(props) = making.of.field("props") {
        let props = making.filled(props)?;
        if props["card"].as_str().is_some_and(|card| !card.is_empty()) {
            body.insert("props".into(), props);
        }
    }
    if let Some(priority) = making.of.field("priority") {
        let given = making.filled(priority)?;
        let name = given["priority"]
            .as_str()
            .unwrap_or_default()
            .to_lowercase();
        if !name.is_empty() {
            let known = ["urgent", "important", "standard"].contains(&name.as_str());
            let name = if known { name } else { "standard".to_owned() };
            let mut made = Map::new();
            // The service refuses these where the priority does not allow them.
            if given["requested_ack"] == true && name != "standard" {
                made.insert("requested_ack".into(), true.into());
            }
            if given["persistent_notifications"] == true && name == "urgent" {
                made.insert("persistent_notifications".into(), true.into());
            }
            made.insert("priority".into(), name.into());
            body.insert("priority".into(), made.into());
        }
    }
    let url = making.secret_url("webhook_url")?;
    Ok(one(Request::post(url, body.into())))
}

pub(super) fn rocketchat(making: &Making<'_>) -> Result<Way, String> {
    let default = |name: &str| named(&format!("rocketchat.default.{name}"));
    let mut attachment = Map::new();
    let title = cut(making.text("title", &default("title"))?, 1024);
    put(&mut attachment, "title", title);
    let color = "{{ if eq .Status \"firing\" }}red{{ else }}green{{ end }}";
    for (field, usual) in [
        ("title_link", default("titlelink")),
        ("text", default("text")),
        ("image_url", String::new()),
        ("thumb_url", String::new()),
        ("color", color.to_owned()),
    ] {
        put(&mut attachment, field, making.text(field, &usual)?);
    }
    if let Some(fields) = making.short_fields()?.filter(|all| !all.is_empty()) {
        attachment.insert("fields".into(), fields.into());
    }
    if let Some(mut actions) = making.list("actions")?.filter(|all| !all.is_empty()) {
        for action in actions.iter_mut().filter_map(Value::as_object_mut) {
            action.insert("type".into(), "button".into());
            for window in ["is_webview", "msg_in_chat_window"] {
                action.insert(window.into(), false.into());
            }
        }
        attachment.insert("actions".into(), lean(actions.into()));
    }
    let mut body = Map::new();
    put(&mut body, "channel", making.text("channel", "")?);
    put(&mut body, "emoji", making.text("emoji", &default("emoji"))?);
    put(
        &mut body,
        "avatar",
        making.text("icon_url", &default("iconurl"))?,
    );
    body.insert("attachments".into(), json!([attachment]));
    let api = making.base("api_url", "https://open.rocket.chat");
    let request = Request::post(format!("{api}api/v1/chat.postMessage"), body.into())
        .header("X-Auth-Token", making.secret("token")?)
        .header("X-User-Id", making.secret("token_id")?);
    Ok(each([request], succeeded))
}

/// Rocket.Chat says what is wrong with status 200 too.
fn succeeded(answer: &Answer) -> Result<(), Fault> {
    by_status(answer)?;
    match answer.json() {
        Some(said) if said["success"] == true => Ok(()),
        Some(said) => Err(Fault::refused(format!(
            "Rocket.Chat says: {}",
            said["error"]
        ))),
        None => Err(Fault {
            again: true,
            ..Fault::refused("Rocket.Chat answers no JSON")
        }),
    }
}

pub(super) fn webex(making: &Making<'_>) -> Result<Way, String> {
    let message = making.text("message", &named("webex.default.message"))?;
    let mut body = Map::new();
    body.insert("markdown".into(), cut_bytes(message, 7439).into());
    put(&mut body, "roomId", making.text("room_id", "")?);
    let url = match making.of.text("api_url") {
        "" => "https://webexapis.com/v1/messages",
        own => own,
    };
    Ok(one(Request::post(url, body.into())))
}
