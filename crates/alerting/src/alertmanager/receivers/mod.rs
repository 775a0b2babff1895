//! Receivers: which fields each kind of integration has, and what must be among them.
//!
//! All fields of upstream are accepted. What they say is kept as it is and read by who makes the
//! message; values may be secret and are never shown.

mod fields;
mod needs;

use std::collections::BTreeMap;
use std::fmt::{Debug, Formatter};

use serde_json::Value;

use crate::Finding;
use crate::yaml::{self, place};
pub(super) use fields::{Globals, Raw};
use needs::{EITHER, FIRING_ONLY, INHERIT, Inherit, NEEDS, contradiction};

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
        self.fields.get(field).and_then(truth).unwrap_or(usual)
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

fn truth(value: &Value) -> Option<bool> {
    match value {
        Value::Bool(told) => Some(*told),
        Value::String(word) => yaml::truth(word),
        _ => None,
    }
}

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
    if let Some(why) = contradiction(&made) {
        return Err(Finding::at(at, why));
    }
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
