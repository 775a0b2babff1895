//! What is sent: talks over HTTP, or a mail.

mod access;
mod chat;
mod jira;
mod mail;
mod making;
mod mask;
mod opsgenie;
mod pagerduty;
mod phone;
mod slack;
mod sns;
mod talk;
mod teams;
mod telegram;
mod webhook;
mod wechat;

use std::cell::RefCell;

use sha2::{Digest, Sha256};

use super::message::{Message, Messages};
use super::receivers::Integration;
pub use access::Access;
pub use mail::{Auth, Mail};
use making::Making;
pub(super) use making::Secrets;
pub use mask::Mask;
pub use talk::{Answer, Fault, Next, Payload, Request, Talk};
use talk::{Each, Judge, by_status};

/// How a message goes out.
pub enum Way {
    /// Over HTTP.
    Talk(Box<dyn Talk>),
    /// By mail.
    Mail(Box<Mail>),
}

/// A message ready to go. It holds secrets and is never shown.
pub struct Rendered {
    /// How it goes out.
    pub way: Way,
    /// How requests are made.
    pub access: Access,
    /// The longest it may take, in milliseconds, where the configuration says so.
    pub timeout_ms: Option<i64>,
    /// The secrets in it.
    pub mask: Mask,
}

/// The hash that names a group to those who count messages about the same as one.
pub(super) fn hash(text: &str) -> String {
    hex(&Sha256::digest(text.as_bytes()))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn each(requests: impl IntoIterator<Item = Request>, judge: Judge) -> Way {
    Way::Talk(Box::new(Each(requests.into_iter().collect(), judge)))
}

fn one(request: Request) -> Way {
    each([request], by_status)
}

/// What is sent about a message.
///
/// # Errors
/// A template or a file fails, or something in the configuration is not supported.
pub fn render(
    of: &Integration,
    message: &Message,
    messages: &Messages,
    read: &Secrets<'_>,
) -> Result<Rendered, String> {
    let making = Making {
        of,
        message,
        messages,
        read,
        mask: RefCell::default(),
    };
    let mut access = access::access(&making)?;
    let way = match of.kind {
        "webhook" => webhook::webhook(&making)?,
        "slack" => slack::slack(&making, &mut access)?,
        "email" => Way::Mail(Box::new(mail::mail(&making)?)),
        "pagerduty" => pagerduty::pagerduty(&making)?,
        "msteams" => teams::old(&making)?,
        "msteamsv2" => teams::workflow(&making)?,
        "telegram" => telegram::telegram(&making)?,
        "discord" => chat::discord(&making)?,
        "mattermost" => chat::mattermost(&making)?,
        "rocketchat" => chat::rocketchat(&making)?,
        "webex" => chat::webex(&making)?,
        "opsgenie" => opsgenie::opsgenie(&making)?,
        "incidentio" => webhook::incidentio(&making, &mut access)?,
        "jira" => jira::jira(&making)?,
        "victorops" => phone::victorops(&making)?,
        "pushover" => phone::pushover(&making)?,
        "sns" => sns::sns(&making)?,
        "wechat" => wechat::wechat(&making)?,
        kind => return Err(format!("messages by {kind} are not supported")),
    };
    let timeout = of.field("timeout").and_then(serde_json::Value::as_str);
    let timeout = timeout.map(towpath_query::promql::parse_duration);
    Ok(Rendered {
        way,
        access,
        timeout_ms: timeout.transpose()?.filter(|ms| *ms > 0),
        mask: making.mask.into_inner(),
    })
}
