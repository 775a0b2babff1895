//! Receivers: which fields each kind of integration has, and what must be among them.
//!
//! All fields of upstream are accepted. What they say is kept as it is and read by who makes the
//! message; values may be secret and are never shown.

use std::collections::BTreeMap;
use std::fmt::{Debug, Formatter};

use serde::de::Error as _;
use serde::{Deserialize, Deserializer};
use serde_json::Value;
use serde_saphyr::Spanned;

use crate::Finding;
use crate::yaml::place;

/// One way to tell someone.
#[derive(Clone)]
pub struct Integration {
    /// What it is: `webhook`, `slack` and so on.
    pub kind: &'static str,
    /// Which of its kind in its receiver.
    pub index: usize,
    /// Whether it is told when alerts are over.
    pub send_resolved: bool,
    pub(super) fields: BTreeMap<String, Value>,
}

impl Debug for Integration {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}[{}]", self.kind, self.index)
    }
}

impl Integration {
    /// A text; empty where there is none.
    pub fn text(&self, field: &str) -> &str {
        self.fields.get(field).and_then(Value::as_str).unwrap_or("")
    }

    /// A field as it is written.
    pub fn field(&self, field: &str) -> Option<&Value> {
        self.fields.get(field).filter(|value| !value.is_null())
    }

    /// A truth value, or what counts without one.
    pub fn flag(&self, field: &str, usual: bool) -> bool {
        self.fields
            .get(field)
            .and_then(Value::as_bool)
            .unwrap_or(usual)
    }

    /// Its name within its receiver.
    pub fn name(&self) -> String {
        format!("{}[{}]", self.kind, self.index)
    }

    fn has(&self, field: &str) -> bool {
        match self.fields.get(field) {
            None | Some(Value::Null) => false,
            Some(Value::String(text)) => !text.is_empty(),
            Some(Value::Number(number)) => number.as_f64() != Some(0.0),
            Some(_) => true,
        }
    }
}

/// Someone to be told.
#[derive(Clone, Debug)]
pub struct Receiver {
    /// The name routes use.
    pub name: String,
    /// How.
    pub integrations: Vec<Integration>,
}

/// A map whose keys are checked against a list as they are read, so that an error has its place.
macro_rules! fields {
    ($name:ident: $($field:literal)+) => {
        #[derive(Default)]
        struct $name(BTreeMap<String, Value>);

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                const KNOWN: &[&str] = &[$($field),+];
                known(deserializer, KNOWN).map(Self)
            }
        }
    };
}

fn known<'de, D: Deserializer<'de>>(
    deserializer: D,
    names: &'static [&'static str],
) -> Result<BTreeMap<String, Value>, D::Error> {
    struct Visitor(&'static [&'static str]);
    impl<'de> serde::de::Visitor<'de> for Visitor {
        type Value = BTreeMap<String, Value>;

        fn expecting(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
            f.write_str("a mapping")
        }

        fn visit_map<A: serde::de::MapAccess<'de>>(
            self,
            mut map: A,
        ) -> Result<Self::Value, A::Error> {
            let mut out = BTreeMap::new();
            while let Some(key) = map.next_key::<String>()? {
                if !self.0.contains(&key.as_str()) {
                    return Err(A::Error::unknown_field(&key, self.0));
                }
                let value = match key.as_str() {
                    "http_config" => {
                        Value::from_iter(map.next_value::<Option<Http>>()?.unwrap_or_default().0)
                    }
                    "tls_config" | "smtp_tls_config" => {
                        Value::from_iter(map.next_value::<Option<Tls>>()?.unwrap_or_default().0)
                    }
                    _ => map.next_value::<Value>()?,
                };
                if out.insert(key.clone(), value).is_some() {
                    return Err(A::Error::custom(format!("field {key} already set")));
                }
            }
            Ok(out)
        }
    }
    deserializer.deserialize_map(Visitor(names))
}

fields!(Http: "basic_auth" "authorization" "oauth2" "bearer_token" "bearer_token_file" "tls_config"
    "follow_redirects" "enable_http2" "http_headers" "proxy_url" "no_proxy"
    "proxy_from_environment" "proxy_connect_header");
fields!(Tls: "ca" "cert" "key" "ca_file" "cert_file" "key_file" "ca_ref" "cert_ref" "key_ref"
    "server_name" "insecure_skip_verify" "min_version" "max_version");
fields!(Global: "resolve_timeout" "http_config" "jira_api_url" "smtp_from" "smtp_hello"
    "smtp_smarthost" "smtp_auth_username" "smtp_auth_password" "smtp_auth_password_file"
    "smtp_auth_secret" "smtp_auth_secret_file" "smtp_auth_identity" "smtp_require_tls"
    "smtp_tls_config" "smtp_force_implicit_tls" "slack_api_url" "slack_api_url_file"
    "slack_app_token" "slack_app_token_file" "slack_app_url" "pagerduty_url" "opsgenie_api_url"
    "opsgenie_api_key" "opsgenie_api_key_file" "wechat_api_url" "wechat_api_secret"
    "wechat_api_secret_file" "wechat_api_corp_id" "victorops_api_url" "victorops_api_key"
    "victorops_api_key_file" "telegram_api_url" "telegram_bot_token" "telegram_bot_token_file"
    "webex_api_url" "rocketchat_api_url" "rocketchat_token" "rocketchat_token_file"
    "rocketchat_token_id" "rocketchat_token_id_file");
fields!(Discord: "send_resolved" "http_config" "webhook_url" "webhook_url_file" "content" "title"
    "message" "username" "avatar_url");
fields!(Email: "send_resolved" "to" "from" "hello" "smarthost" "auth_username" "auth_password"
    "auth_password_file" "auth_secret" "auth_secret_file" "auth_identity" "headers" "html" "text"
    "require_tls" "tls_config" "force_implicit_tls" "threading");
fields!(Incidentio: "send_resolved" "http_config" "url" "url_file" "alert_source_token"
    "alert_source_token_file" "max_alerts" "timeout");
fields!(Pagerduty: "send_resolved" "http_config" "service_key" "service_key_file" "routing_key"
    "routing_key_file" "url" "client" "client_url" "description" "details" "images" "links"
    "source" "severity" "class" "component" "group" "timeout");
fields!(Slack: "send_resolved" "http_config" "api_url" "api_url_file" "app_token"
    "app_token_file" "app_url" "channel" "username" "color" "title" "title_link" "pretext" "text"
    "message_text" "fields" "short_fields" "footer" "fallback" "callback_id" "icon_emoji"
    "icon_url" "image_url" "thumb_url" "link_names" "mrkdwn_in" "actions" "timeout");
fields!(Webhook: "send_resolved" "http_config" "url" "url_file" "max_alerts" "timeout");
fields!(Opsgenie: "send_resolved" "http_config" "api_key" "api_key_file" "api_url" "message"
    "description" "source" "details" "entity" "responders" "actions" "tags" "note" "priority"
    "update_alerts");
fields!(Wechat: "send_resolved" "http_config" "api_secret" "api_secret_file" "corp_id" "message"
    "api_url" "to_user" "to_party" "to_tag" "agent_id" "message_type");
fields!(Pushover: "send_resolved" "http_config" "user_key" "user_key_file" "token" "token_file"
    "title" "message" "url" "url_title" "device" "sound" "priority" "retry" "expire" "ttl" "html"
    "monospace");
fields!(Victorops: "send_resolved" "http_config" "api_key" "api_key_file" "api_url" "routing_key"
    "message_type" "state_message" "entity_display_name" "monitoring_tool" "custom_fields");
fields!(Sns: "send_resolved" "http_config" "api_url" "sigv4" "topic_arn" "phone_number"
    "target_arn" "subject" "message" "attributes");
fields!(Telegram: "send_resolved" "http_config" "api_url" "bot_token" "bot_token_file" "chat_id"
    "chat_id_file" "message_thread_id" "message" "disable_notifications" "parse_mode");
fields!(Webex: "send_resolved" "http_config" "api_url" "message" "room_id");
fields!(Msteams: "send_resolved" "http_config" "webhook_url" "webhook_url_file" "title" "summary"
    "text");
fields!(Msteamsv2: "send_resolved" "http_config" "webhook_url" "webhook_url_file" "title" "text");
fields!(Jira: "send_resolved" "http_config" "api_url" "api_type" "project" "summary" "description"
    "labels" "priority" "issue_type" "reopen_transition" "resolve_transition"
    "wont_fix_resolution" "reopen_duration" "fields");
fields!(Rocketchat: "send_resolved" "http_config" "api_url" "token_id" "token_id_file" "token"
    "token_file" "channel" "color" "title" "title_link" "text" "fields" "short_fields" "emoji"
    "icon_url" "image_url" "thumb_url" "link_names" "actions");
fields!(Mattermost: "send_resolved" "http_config" "webhook_url" "webhook_url_file" "channel"
    "username" "text" "icon_url" "icon_emoji" "attachments" "type" "props" "priority");

/// What is the same for all receivers, as it is written.
#[derive(Default)]
pub(super) struct Globals(pub(super) BTreeMap<String, Value>);

impl<'de> Deserialize<'de> for Globals {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Global::deserialize(deserializer).map(|global| Self(global.0))
    }
}

type Some_<T> = Option<Vec<Spanned<T>>>;

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Raw {
    pub(super) name: String,
    discord_configs: Some_<Discord>,
    email_configs: Some_<Email>,
    incidentio_configs: Some_<Incidentio>,
    pagerduty_configs: Some_<Pagerduty>,
    slack_configs: Some_<Slack>,
    webhook_configs: Some_<Webhook>,
    opsgenie_configs: Some_<Opsgenie>,
    wechat_configs: Some_<Wechat>,
    pushover_configs: Some_<Pushover>,
    victorops_configs: Some_<Victorops>,
    sns_configs: Some_<Sns>,
    telegram_configs: Some_<Telegram>,
    webex_configs: Some_<Webex>,
    msteams_configs: Some_<Msteams>,
    msteamsv2_configs: Some_<Msteamsv2>,
    jira_configs: Some_<Jira>,
    rocketchat_configs: Some_<Rocketchat>,
    mattermost_configs: Some_<Mattermost>,
}

/// Where a field of an integration is taken from if it is not there: the fields that make it
/// superfluous, and pairs of its own and the global name.
struct Inherit(
    &'static [&'static str],
    &'static [(&'static str, &'static str)],
);

const INHERIT: &[(&str, Inherit)] = &[
    (
        "email",
        Inherit(
            &[],
            &[
                ("smarthost", "smtp_smarthost"),
                ("from", "smtp_from"),
                ("hello", "smtp_hello"),
                ("auth_username", "smtp_auth_username"),
                ("auth_identity", "smtp_auth_identity"),
                ("require_tls", "smtp_require_tls"),
                ("tls_config", "smtp_tls_config"),
                ("auth_secret", "smtp_auth_secret"),
                ("force_implicit_tls", "smtp_force_implicit_tls"),
            ],
        ),
    ),
    (
        "email",
        Inherit(
            &["auth_password", "auth_password_file"],
            &[
                ("auth_password", "smtp_auth_password"),
                ("auth_password_file", "smtp_auth_password_file"),
            ],
        ),
    ),
    (
        "slack",
        Inherit(
            &["app_token", "app_token_file", "api_url", "api_url_file"],
            &[
                ("app_token", "slack_app_token"),
                ("app_token_file", "slack_app_token_file"),
                ("api_url", "slack_api_url"),
                ("api_url_file", "slack_api_url_file"),
            ],
        ),
    ),
    ("slack", Inherit(&[], &[("app_url", "slack_app_url")])),
    ("pagerduty", Inherit(&[], &[("url", "pagerduty_url")])),
    (
        "telegram",
        Inherit(
            &["bot_token", "bot_token_file"],
            &[
                ("bot_token", "telegram_bot_token"),
                ("bot_token_file", "telegram_bot_token_file"),
            ],
        ),
    ),
    ("telegram", Inherit(&[], &[("api_url", "telegram_api_url")])),
    (
        "opsgenie",
        Inherit(
            &["api_key", "api_key_file"],
            &[
                ("api_key", "opsgenie_api_key"),
                ("api_key_file", "opsgenie_api_key_file"),
            ],
        ),
    ),
    ("opsgenie", Inherit(&[], &[("api_url", "opsgenie_api_url")])),
    (
        "victorops",
        Inherit(
            &["api_key", "api_key_file"],
            &[
                ("api_key", "victorops_api_key"),
                ("api_key_file", "victorops_api_key_file"),
            ],
        ),
    ),
    (
        "wechat",
        Inherit(
            &["api_secret", "api_secret_file"],
            &[
                ("api_secret", "wechat_api_secret"),
                ("api_secret_file", "wechat_api_secret_file"),
            ],
        ),
    ),
    ("wechat", Inherit(&[], &[("corp_id", "wechat_api_corp_id")])),
    (
        "rocketchat",
        Inherit(
            &["token", "token_file"],
            &[
                ("token", "rocketchat_token"),
                ("token_file", "rocketchat_token_file"),
            ],
        ),
    ),
    (
        "rocketchat",
        Inherit(
            &["token_id", "token_id_file"],
            &[
                ("token_id", "rocketchat_token_id"),
                ("token_id_file", "rocketchat_token_id_file"),
            ],
        ),
    ),
    ("jira", Inherit(&[], &[("api_url", "jira_api_url")])),
    ("webex", Inherit(&[], &[("api_url", "webex_api_url")])),
];

/// Fields of which one must be there, and what is said where none is; checked after what is
/// global was filled in where the flag says so.
const NEEDS: &[(&str, &[&str], bool, &str)] = &[
    (
        "webhook",
        &["url", "url_file"],
        false,
        "one of url or url_file must be configured",
    ),
    (
        "email",
        &["to"],
        false,
        "missing to address in email config",
    ),
    (
        "email",
        &["smarthost"],
        true,
        "no global SMTP smarthost set",
    ),
    ("email", &["from"], true, "no global SMTP from set"),
    (
        "pagerduty",
        &[
            "routing_key",
            "routing_key_file",
            "service_key",
            "service_key_file",
        ],
        false,
        "missing service or routing key in PagerDuty config",
    ),
    (
        "slack",
        &["api_url", "api_url_file", "app_token", "app_token_file"],
        true,
        "no Slack API URL nor App token set either inline or in a file",
    ),
    (
        "telegram",
        &["chat_id", "chat_id_file"],
        false,
        "missing chat_id or chat_id_file on telegram_config",
    ),
    (
        "telegram",
        &["bot_token", "bot_token_file"],
        true,
        "missing bot_token or bot_token_file on telegram_config",
    ),
    (
        "discord",
        &["webhook_url", "webhook_url_file"],
        false,
        "one of webhook_url or webhook_url_file must be configured",
    ),
    (
        "msteams",
        &["webhook_url", "webhook_url_file"],
        false,
        "one of webhook_url or webhook_url_file must be configured",
    ),
    (
        "msteamsv2",
        &["webhook_url", "webhook_url_file"],
        false,
        "one of webhook_url or webhook_url_file must be configured",
    ),
    (
        "mattermost",
        &["webhook_url", "webhook_url_file"],
        false,
        "one of webhook_url or webhook_url_file must be configured",
    ),
    (
        "incidentio",
        &["url", "url_file"],
        false,
        "one of url or url_file must be configured",
    ),
    (
        "opsgenie",
        &["api_key", "api_key_file"],
        true,
        "no global OpsGenie API Key set either inline or in a file",
    ),
    (
        "victorops",
        &["routing_key"],
        false,
        "missing Routing key in VictorOps config",
    ),
    (
        "victorops",
        &["api_key", "api_key_file"],
        true,
        "no global VictorOps API Key set",
    ),
    (
        "wechat",
        &["api_secret", "api_secret_file"],
        true,
        "no global Wechat Api Secret set either inline or in a file",
    ),
    ("wechat", &["corp_id"], true, "no global Wechat CorpID set"),
    (
        "pushover",
        &["user_key", "user_key_file"],
        false,
        "one of user_key or user_key_file must be configured",
    ),
    (
        "pushover",
        &["token", "token_file"],
        false,
        "one of token or token_file must be configured",
    ),
    (
        "sns",
        &["topic_arn", "target_arn", "phone_number"],
        false,
        "must provide either a Target ARN, Topic ARN, or Phone Number for SNS config",
    ),
    (
        "webex",
        &["room_id"],
        false,
        "missing room_id on webex_config",
    ),
    (
        "jira",
        &["project"],
        false,
        "missing project in jira_config",
    ),
    (
        "jira",
        &["issue_type"],
        false,
        "missing issue_type in jira_config",
    ),
    ("jira", &["api_url"], true, "no global Jira Cloud URL set"),
    (
        "rocketchat",
        &["token_id", "token_id_file"],
        true,
        "no global Rocketchat TokenID set either inline or in a file",
    ),
    (
        "rocketchat",
        &["token", "token_file"],
        true,
        "no global Rocketchat Token set either inline or in a file",
    ),
];

/// Pairs of which at most one may be there.
const EITHER: &[&str] = &[
    "url",
    "webhook_url",
    "routing_key",
    "service_key",
    "api_url",
    "app_token",
    "api_key",
    "bot_token",
    "chat_id",
    "user_key",
    "token",
    "token_id",
    "api_secret",
    "alert_source_token",
];

/// Kinds that are not told of ends unless they say so.
const FIRING_ONLY: &[&str] = &["email", "slack", "rocketchat", "wechat"];

impl Raw {
    pub(super) fn finish(self, globals: &BTreeMap<String, Value>) -> Result<Receiver, Finding> {
        let mut integrations = Vec::new();
        macro_rules! take {
            ($($kind:literal $field:ident),+) => {$(
                for (index, one) in self.$field.into_iter().flatten().enumerate() {
                    let at = place(&one);
                    integrations.push(finish($kind, index, one.value.0, at, globals)?);
                }
            )+};
        }
        take!("discord" discord_configs, "email" email_configs, "incidentio" incidentio_configs,
            "pagerduty" pagerduty_configs, "slack" slack_configs, "webhook" webhook_configs,
            "opsgenie" opsgenie_configs, "wechat" wechat_configs, "pushover" pushover_configs,
            "victorops" victorops_configs, "sns" sns_configs, "telegram" telegram_configs,
            "webex" webex_configs, "msteams" msteams_configs, "msteamsv2" msteamsv2_configs,
            "jira" jira_configs, "rocketchat" rocketchat_configs,
            "mattermost" mattermost_configs);
        Ok(Receiver {
            name: self.name,
            integrations,
        })
    }
}

fn finish(
    kind: &'static str,
    index: usize,
    fields: BTreeMap<String, Value>,
    at: (u64, u64),
    globals: &BTreeMap<String, Value>,
) -> Result<Integration, Finding> {
    let mut made = Integration {
        kind,
        index,
        send_resolved: true,
        fields,
    };
    made.send_resolved = made.flag("send_resolved", !FIRING_ONLY.contains(&kind));
    let need = |made: &Integration, late: bool| {
        let missing = NEEDS.iter().find(|(of, fields, after, _)| {
            *of == kind && *after == late && !fields.iter().any(|field| made.has(field))
        });
        missing.map_or(Ok(()), |(.., message)| Err(Finding::at(at, *message)))
    };
    need(&made, false)?;
    for field in EITHER {
        let file = format!("{field}_file");
        if made.has(field) && made.has(&file) {
            let message = format!("at most one of {field} & {file} must be configured");
            return Err(Finding::at(at, message));
        }
    }
    for (of, Inherit(unless, pairs)) in INHERIT {
        if *of != kind || unless.iter().any(|field| made.has(field)) {
            continue;
        }
        for (own, global) in *pairs {
            if let Some(value) = globals.get(*global).filter(|_| !made.has(own)) {
                made.fields.insert((*own).to_owned(), value.clone());
            }
        }
    }
    if let Some(http) = globals
        .get("http_config")
        .filter(|_| !made.has("http_config"))
    {
        made.fields.insert("http_config".to_owned(), http.clone());
    }
    need(&made, true)?;
    Ok(made)
}
