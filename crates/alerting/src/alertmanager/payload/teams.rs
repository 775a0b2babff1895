//! Microsoft Teams: workflows, and the connectors that came before them.

use serde_json::{Value, json};

use super::making::{Making, named};
use super::talk::Request;
use super::{Way, one};

pub(super) fn workflow(making: &Making<'_>) -> Result<Way, String> {
    let title = making.text("title", &named("msteamsv2.default.title"))?;
    let body = making.text("text", &named("msteamsv2.default.text"))?;
    let color = match making.firing() {
        true => "Attention",
        false => "Good",
    };
    let url = making.secret_url("webhook_url")?;
    Ok(one(Request::post(url, card(&title, &body, color))))
}

fn card(title: &str, text: &str, color: &str) -> Value {
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

pub(super) fn old(making: &Making<'_>) -> Result<Way, String> {
    let default = |name: &str| named(&format!("msteams.default.{name}"));
    let body = json!({
        "@context": "http://schema.org/extensions",
        "type": "MessageCard",
        "title": making.text("title", &default("title"))?,
        "summary": making.text("summary", &default("summary"))?,
        "text": making.text("text", &default("text"))?,
        "themeColor": if making.firing() { "8C1A1A" } else { "2DC72D" },
    });
    let url = making.secret_url("webhook_url")?;
    Ok(one(Request::post(url, body)))
}
