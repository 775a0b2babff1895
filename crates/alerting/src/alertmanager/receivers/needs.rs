//! Where fields come from that a receiver does not have, and what it must have.

use serde_json::Value;

use super::Integration;

/// Where a field of an integration is taken from if it is not there: the fields that make it
/// superfluous, and pairs of its own and the global name.
pub(super) struct Inherit(
    pub(super) &'static [&'static str],
    pub(super) &'static [(&'static str, &'static str)],
);

pub(super) const INHERIT: &[(&str, Inherit)] = &[
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
    ("wechat", Inherit(&[], &[("api_url", "wechat_api_url")])),
    (
        "victorops",
        Inherit(&[], &[("api_url", "victorops_api_url")]),
    ),
    (
        "rocketchat",
        Inherit(&[], &[("api_url", "rocketchat_api_url")]),
    ),
    (
        "email",
        Inherit(
            &["auth_secret", "auth_secret_file"],
            &[
                ("auth_secret", "smtp_auth_secret"),
                ("auth_secret_file", "smtp_auth_secret_file"),
            ],
        ),
    ),
    ("jira", Inherit(&[], &[("api_url", "jira_api_url")])),
    ("webex", Inherit(&[], &[("api_url", "webex_api_url")])),
];

/// Fields of which one must be there, and what is said where none is; checked after what is
/// global was filled in where the flag says so.
pub(super) const NEEDS: &[(&str, &[&str], bool, &str)] = &[
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
pub(super) const EITHER: &[&str] = &[
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
pub(super) const FIRING_ONLY: &[&str] = &["email", "slack", "rocketchat", "wechat"];

/// What a kind wants beyond fields that are there, in upstream's words.
pub(super) fn contradiction(made: &Integration) -> Option<&'static str> {
    let within = |field: &str, part: &str| made.field(field).and_then(|value| value.get(part));
    match made.kind {
        "email" => {
            let on = within("threading", "enabled").and_then(Value::as_bool);
            let by = within("threading", "thread_by_date").and_then(Value::as_str);
            let known = by.is_some_and(|by| ["none", "daily"].contains(&by));
            (on == Some(true) && !known)
                .then_some("threading.thread_by_date must be either 'none' or 'daily'")
        }
        "webex" => within("http_config", "authorization")
            .is_none_or(Value::is_null)
            .then_some("missing webex_configs.http_config.authorization"),
        _ => None,
    }
}
