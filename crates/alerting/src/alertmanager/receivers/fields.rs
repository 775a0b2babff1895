//! Fields of each kind of receiver, checked as they are read.

use std::collections::BTreeMap;
use std::fmt::Formatter;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer};
use serde_json::Value;
use serde_saphyr::Spanned;

/// Fields whose numbers stay numbers; elsewhere a number is a text.
const NUMBERS: &[&str] = &["max_alerts", "chat_id", "message_thread_id"];

fn texts(value: Value, numbers: bool) -> Value {
    match value {
        Value::Number(number) if !numbers => number.to_string().into(),
        value => value,
    }
}

/// A map whose keys are checked against a list as they are read, so that an error has its place.
macro_rules! fields {
    ($name:ident: $($field:literal)+) => {
        #[derive(Default)]
        pub(super) struct $name(pub(super) BTreeMap<String, Value>);

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
                    _ => texts(map.next_value::<Value>()?, NUMBERS.contains(&key.as_str())),
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
pub(in crate::alertmanager) struct Globals(pub(in crate::alertmanager) BTreeMap<String, Value>);

impl<'de> Deserialize<'de> for Globals {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Global::deserialize(deserializer).map(|global| Self(global.0))
    }
}

type Some_<T> = Option<Vec<Spanned<T>>>;

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(in crate::alertmanager) struct Raw {
    pub(in crate::alertmanager) name: String,
    pub(super) discord_configs: Some_<Discord>,
    pub(super) email_configs: Some_<Email>,
    pub(super) incidentio_configs: Some_<Incidentio>,
    pub(super) pagerduty_configs: Some_<Pagerduty>,
    pub(super) slack_configs: Some_<Slack>,
    pub(super) webhook_configs: Some_<Webhook>,
    pub(super) opsgenie_configs: Some_<Opsgenie>,
    pub(super) wechat_configs: Some_<Wechat>,
    pub(super) pushover_configs: Some_<Pushover>,
    pub(super) victorops_configs: Some_<Victorops>,
    pub(super) sns_configs: Some_<Sns>,
    pub(super) telegram_configs: Some_<Telegram>,
    pub(super) webex_configs: Some_<Webex>,
    pub(super) msteams_configs: Some_<Msteams>,
    pub(super) msteamsv2_configs: Some_<Msteamsv2>,
    pub(super) jira_configs: Some_<Jira>,
    pub(super) rocketchat_configs: Some_<Rocketchat>,
    pub(super) mattermost_configs: Some_<Mattermost>,
}
