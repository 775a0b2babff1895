//! Telegram: its bots' API.

use serde_json::{Value, json};

use super::making::{Making, named};
use super::talk::{Answer, Fault, Request, by_status, cut};
use super::{Way, each};

/// The longest text of a message, in characters.
const CHARS: usize = 4096;

pub(super) fn telegram(making: &Making<'_>) -> Result<Way, String> {
    let of = making.of;
    let template = match of.text("message") {
        "" => named("telegram.default.message"),
        own => own.to_owned(),
    };
    let mode = of.field("parse_mode").and_then(Value::as_str);
    let mode = mode.unwrap_or("HTML");
    let text = match mode {
        "HTML" => making.messages.html(&template, making.message)?,
        _ => making.fill(&template)?,
    };
    let chat = match of.field("chat_id") {
        Some(chat) => chat.clone(),
        None => (making.read)(of.text("chat_id_file"))?.trim().into(),
    };
    let mut body = json!({
        "chat_id": chat,
        "text": cut(text, CHARS),
        "disable_notification": of.flag("disable_notifications", false),
        "disable_web_page_preview": true,
    });
    if !mode.is_empty() {
        body["parse_mode"] = mode.into();
    }
    if let Some(thread) = of.field("message_thread_id") {
        body["message_thread_id"] = thread.clone();
    }
    let api = making.base("api_url", "https://api.telegram.org");
    let token = making.secret("bot_token")?;
    let url = format!("{api}bot{token}/sendMessage");
    Ok(each([Request::post(url, body)], judge))
}

/// How long to wait stands in the body.
fn judge(answer: &Answer) -> Result<(), Fault> {
    let mut answer = answer.clone();
    if let Some(said) = answer.json()
        && let Some(seconds) = said["parameters"]["retry_after"].as_i64()
    {
        answer.retry_after_ms = Some(seconds.saturating_mul(1000));
    }
    by_status(&answer)
}
