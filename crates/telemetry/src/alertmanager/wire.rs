//! What the API says and hears, as upstream's API version 2 describes it.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Value, json};
use towpath_alerting::alertmanager::{
    Alert, Muted, Route, Silence, SilenceState, fingerprint, write_matchers,
};
use towpath_query::template::Time;

/// The year 1, which stands for no time.
const ZERO_MS: i64 = -62_135_596_800_000;

pub(super) fn time(ms: i64) -> String {
    Time::from_millis(ms).format("2006-01-02T15:04:05.000Z07:00")
}

/// A time; none where it is absent or the year 1.
pub(super) fn read_time(text: Option<&str>) -> Result<Option<i64>, String> {
    let Some(text) = text.filter(|text| !text.is_empty()) else {
        return Ok(None);
    };
    let time: jiff::Timestamp = text
        .parse()
        .map_err(|error| format!("{text:?} is no time: {error}"))?;
    Ok(Some(time.as_millisecond()).filter(|ms| *ms > ZERO_MS))
}

pub(super) fn fresh_id() -> String {
    towpath_stdx::id::uuid(&towpath_stdx::SystemRandom)
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct PostedAlert {
    labels: BTreeMap<String, String>,
    #[serde(default)]
    annotations: Option<BTreeMap<String, String>>,
    starts_at: Option<String>,
    ends_at: Option<String>,
    #[serde(default, rename = "generatorURL")]
    generator_url: Option<String>,
}

impl PostedAlert {
    pub(super) fn read(self, now: i64, resolve_timeout_ms: i64) -> Result<Alert, String> {
        let mut labels = self.labels;
        labels.retain(|_, value| !value.is_empty());
        if labels.is_empty() {
            return Err("at least one label pair required".to_owned());
        }
        let annotations = self.annotations.unwrap_or_default();
        if labels
            .keys()
            .chain(annotations.keys())
            .any(String::is_empty)
        {
            return Err("invalid label set: invalid name \"\"".to_owned());
        }
        let ends_at = read_time(self.ends_at.as_deref())?;
        let starts_at = read_time(self.starts_at.as_deref())?;
        let starts_at = starts_at.unwrap_or_else(|| ends_at.map_or(now, |end| end.min(now)));
        if ends_at.is_some_and(|end| end < starts_at) {
            return Err("start time must be before end time".to_owned());
        }
        Ok(Alert {
            labels,
            annotations,
            starts_at,
            ends_at: ends_at.unwrap_or(now + resolve_timeout_ms),
            updated_at: now,
            generator_url: self.generator_url.unwrap_or_default(),
            timeout: ends_at.is_none(),
        })
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct PostedMatcher {
    name: String,
    value: String,
    is_regex: bool,
    #[serde(default = "yes")]
    is_equal: bool,
}

fn yes() -> bool {
    true
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct PostedSilence {
    #[serde(default)]
    id: Option<String>,
    matchers: Vec<PostedMatcher>,
    starts_at: String,
    ends_at: String,
    created_by: String,
    comment: String,
    #[serde(default)]
    annotations: Option<BTreeMap<String, String>>,
}

impl PostedSilence {
    pub(super) fn read(self) -> Result<Silence, String> {
        let matchers = self.matchers.into_iter().map(|m| {
            let op = match (m.is_regex, m.is_equal) {
                (false, true) => "=",
                (false, false) => "!=",
                (true, true) => "=~",
                (true, false) => "!~",
            };
            (m.name, op.to_owned(), m.value)
        });
        let need =
            |time: Option<i64>, what: &str| time.ok_or_else(|| format!("{what} is required"));
        Ok(Silence {
            id: self.id.unwrap_or_default(),
            matchers: matchers.collect(),
            starts_at: need(read_time(Some(&self.starts_at))?, "startsAt")?,
            ends_at: need(read_time(Some(&self.ends_at))?, "endsAt")?,
            updated_at: 0,
            created_by: self.created_by,
            comment: self.comment,
            annotations: self.annotations.unwrap_or_default(),
            matched: false,
        })
    }
}

pub(super) fn silence(of: &Silence, now: i64) -> Value {
    let matchers: Vec<Value> = of
        .matchers
        .iter()
        .map(|(name, op, value)| {
            json!({
                "isEqual": op.starts_with('='),
                "isRegex": op.ends_with('~'),
                "name": name,
                "value": value,
            })
        })
        .collect();
    let state = match of.state(now) {
        SilenceState::Pending => "pending",
        SilenceState::Active => "active",
        SilenceState::Expired => "expired",
    };
    json!({
        "id": of.id,
        "status": {"state": state},
        "updatedAt": time(of.updated_at),
        "comment": of.comment,
        "createdBy": of.created_by,
        "endsAt": time(of.ends_at),
        "matchers": matchers,
        "startsAt": time(of.starts_at),
        "annotations": of.annotations,
    })
}

pub(super) fn alert(of: &Alert, muted: &Muted, receivers: &[String]) -> Value {
    let state = match muted.silenced_by.is_empty() && muted.inhibited_by.is_empty() {
        true => "active",
        false => "suppressed",
    };
    let receivers: Vec<Value> = receivers.iter().map(|name| json!({"name": name})).collect();
    json!({
        "annotations": of.annotations,
        "endsAt": time(of.ends_at),
        "fingerprint": format!("{:016x}", fingerprint(&of.labels)),
        "receivers": receivers,
        "startsAt": time(of.starts_at),
        "status": {
            "inhibitedBy": muted.inhibited_by,
            "mutedBy": muted.muted_by,
            "silencedBy": muted.silenced_by,
            "state": state,
        },
        "updatedAt": time(of.updated_at),
        "generatorURL": of.generator_url,
        "labels": of.labels,
    })
}

/// A route as the configuration would write it, without what could be secret.
pub(super) fn route(of: &Route) -> Value {
    let span = towpath_query::promql::format_duration;
    let group_by: Vec<&str> = match of.group_by_all {
        true => vec!["..."],
        false => of.group_by.iter().map(String::as_str).collect(),
    };
    let mut out = json!({
        "receiver": of.receiver,
        "group_by": group_by,
        "group_wait": span(of.group_wait_ms),
        "group_interval": span(of.group_interval_ms),
        "repeat_interval": span(of.repeat_interval_ms),
        "continue": of.go_on,
        "routes": of.routes.iter().map(route).collect::<Vec<_>>(),
    });
    if !of.matchers.is_empty() {
        out["matchers"] = json!([write_matchers(&of.matchers)]);
    }
    out
}
