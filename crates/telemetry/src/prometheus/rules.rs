//! `rules`, `alerts`, `alertmanagers`: what is evaluated, and what came of it.

use std::collections::BTreeSet;

use towpath_query::promql::{Labels, quote};

use super::Call;
use super::fault::Fault;
use super::json::{self, Object};
use super::reply::Reply;

/// How far an alert is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum AlertState {
    /// Its rule was not evaluated yet.
    #[default]
    Unknown,
    /// Its condition does not hold.
    Inactive,
    /// It holds, not yet long enough.
    Pending,
    /// It held long enough.
    Firing,
}

impl AlertState {
    fn name(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Inactive => "inactive",
            Self::Pending => "pending",
            Self::Firing => "firing",
        }
    }
}

/// An alert: one series of the result of an alerting rule.
#[derive(Clone, Debug, Default)]
pub struct Alert {
    /// What it is.
    pub labels: Labels,
    /// What is said about it, templates filled in.
    pub annotations: Labels,
    /// How far it is.
    pub state: AlertState,
    /// Since when the condition holds, nanoseconds since the epoch.
    pub active_at_ns: Option<u64>,
    /// Since when it is only kept firing.
    pub keep_firing_since_ns: Option<u64>,
    /// The value at the last evaluation.
    pub value: f64,
}

/// How the last evaluation of a rule went.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RuleHealth {
    /// There was none.
    #[default]
    Unknown,
    /// Well.
    Good,
    /// Not.
    Bad,
}

/// What an alerting rule has beyond a recording one.
#[derive(Clone, Debug, Default)]
pub struct Alerting {
    /// The state of its furthest alert.
    pub state: AlertState,
    /// How long the condition must hold, in seconds.
    pub hold: f64,
    /// How long an alert stays after it, in seconds.
    pub keep_firing_for: f64,
    /// Annotations as written.
    pub annotations: Labels,
    /// Alerts that are pending or firing.
    pub alerts: Vec<Alert>,
}

/// One rule.
#[derive(Clone, Debug, Default)]
pub struct Rule {
    /// The series it writes, or the name of the alert.
    pub name: String,
    /// Its expression.
    pub query: String,
    /// Labels it adds, as written.
    pub labels: Labels,
    /// How the last evaluation went.
    pub health: RuleHealth,
    /// Why it failed, or empty.
    pub last_error: String,
    /// How long it took, in seconds.
    pub evaluation_time: f64,
    /// When it was, nanoseconds since the epoch.
    pub last_evaluation_ns: Option<u64>,
    /// What makes it an alerting rule.
    pub alerting: Option<Alerting>,
}

/// Rules that are evaluated together, one after the other.
#[derive(Clone, Debug, Default)]
pub struct RuleGroup {
    /// Its name.
    pub name: String,
    /// Where it stands.
    pub file: String,
    /// Its rules in order.
    pub rules: Vec<Rule>,
    /// Between two evaluations, in seconds.
    pub interval: f64,
    /// The most series or alerts of a rule, 0 for any number.
    pub limit: u64,
    /// How long the last evaluation took, in seconds.
    pub evaluation_time: f64,
    /// When it was, nanoseconds since the epoch.
    pub last_evaluation_ns: Option<u64>,
}

/// What is evaluated. Implemented by the rule engine.
pub trait Rules: Send + Sync {
    /// The groups in order of file and name.
    fn groups(&self) -> Vec<RuleGroup>;
    /// URLs of Alertmanagers that are told.
    fn alertmanagers(&self) -> Vec<String>;
}

/// Nothing is evaluated here.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoRules;

impl Rules for NoRules {
    fn groups(&self) -> Vec<RuleGroup> {
        Vec::new()
    }

    fn alertmanagers(&self) -> Vec<String> {
        Vec::new()
    }
}

/// Alerts of all rules.
pub(super) fn alerts(call: &Call, reply: &mut Reply) -> Result<(), Fault> {
    let groups = call.api.rules.groups();
    let rules = groups.iter().flat_map(|group| &group.rules);
    let alerts = rules
        .filter_map(|rule| rule.alerting.as_ref())
        .flat_map(|alerting| &alerting.alerts);
    let mut data = Object::begin(reply.data());
    json::list(data.field("alerts"), alerts, write_alert);
    data.end();
    Ok(())
}

/// Alertmanagers that are told.
pub(super) fn alertmanagers(call: &Call, reply: &mut Reply) -> Result<(), Fault> {
    let urls = call.api.rules.alertmanagers();
    let mut data = Object::begin(reply.data());
    json::list(data.field("activeAlertmanagers"), &urls, |out, url| {
        let mut object = Object::begin(out);
        object.text("url", url);
        object.end();
    });
    data.field("droppedAlertmanagers").extend_from_slice(b"[]");
    data.end();
    Ok(())
}

/// Which rules are wanted, and how much of them.
struct Filter<'a> {
    names: BTreeSet<&'a str>,
    groups: BTreeSet<&'a str>,
    files: BTreeSet<&'a str>,
    matchers: Vec<Vec<towpath_query::promql::Matcher>>,
    alerting: bool,
    recording: bool,
    exclude_alerts: bool,
    group_limit: usize,
    next_token: &'a str,
}

impl<'a> Filter<'a> {
    fn read(call: &'a Call) -> Result<Self, Fault> {
        let form = &call.form;
        if let Some(fault) = form.fault() {
            return Err(Fault::bad_data(format!(
                "error parsing form values: {fault}"
            )));
        }
        let matchers = form.selectors().map_err(Fault::bad_data)?;
        let kind = form.of_query("type").to_lowercase();
        if !matches!(&*kind, "" | "alert" | "record") {
            let why = format!("not supported value {}", quote(&kind));
            return Err(Fault::parameter("type", &why));
        }
        let exclude_alerts = exclude_alerts(form.of_query("exclude_alerts"))?;
        let (limit, next_token) = (
            form.of_query("group_limit"),
            form.of_query("group_next_token"),
        );
        if !next_token.is_empty() && limit.is_empty() {
            let why = "group_limit needs to be present in order to paginate over the groups";
            return Err(Fault::parameter("group_next_token", why));
        }
        Ok(Self {
            names: form.all("rule_name[]").collect(),
            groups: form.all("rule_group[]").collect(),
            files: form.all("file[]").collect(),
            matchers,
            alerting: kind != "record",
            recording: kind != "alert",
            exclude_alerts,
            group_limit: group_limit(limit)?,
            next_token,
        })
    }

    fn takes_group(&self, group: &RuleGroup) -> bool {
        let wanted = |set: &BTreeSet<&str>, name: &str| set.is_empty() || set.contains(name);
        wanted(&self.groups, &group.name) && wanted(&self.files, &group.file)
    }

    fn takes(&self, rule: &Rule) -> bool {
        let kind = if rule.alerting.is_some() {
            self.alerting
        } else {
            self.recording
        };
        let fits = |set: &Vec<towpath_query::promql::Matcher>| {
            set.iter().all(|m| m.matches(rule.labels.get(&m.name)))
        };
        kind && (self.names.is_empty() || self.names.contains(rule.name.as_str()))
            && (self.matchers.is_empty() || self.matchers.iter().any(fits))
    }
}

fn exclude_alerts(text: &str) -> Result<bool, Fault> {
    match &*text.to_lowercase() {
        "" | "0" | "f" | "false" => Ok(false),
        "1" | "t" | "true" => Ok(true),
        other => Err(Fault::parameter(
            "exclude_alerts",
            &format!(
                "error converting exclude_alerts: strconv.ParseBool: parsing {}: invalid syntax",
                quote(other)
            ),
        )),
    }
}

fn group_limit(text: &str) -> Result<usize, Fault> {
    if text.is_empty() {
        return Ok(0);
    }
    let refused = |why: String| Err(Fault::parameter("group_limit", &why));
    match text.parse::<i32>() {
        Ok(limit) if limit > 0 => Ok(limit as usize),
        Ok(_) => refused("group_limit needs to be greater than 0".to_owned()),
        Err(error) => {
            use std::num::IntErrorKind::{NegOverflow, PosOverflow};
            let what = match error.kind() {
                PosOverflow | NegOverflow => "value out of range",
                _ => "invalid syntax",
            };
            let text = quote(text);
            refused(format!(
                "group_limit needs to be a valid number: strconv.ParseInt: parsing {text}: {what}"
            ))
        }
    }
}

/// What stands for a group where a list goes on.
fn token(group: &RuleGroup) -> String {
    use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
    let text = format!("{};{}", group.file, group.name);
    let hash = digest(&SHA1_FOR_LEGACY_USE_ONLY, text.as_bytes());
    hash.as_ref()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

/// Rules, group by group.
pub(super) fn list(call: &Call, reply: &mut Reply) -> Result<(), Fault> {
    let filter = Filter::read(call)?;
    let mut groups = call.api.rules.groups();
    if !filter.next_token.is_empty() {
        let at = groups.iter().position(|g| token(g) == filter.next_token);
        let Some(at) = at else {
            let why = format!(
                "invalid group_next_token '{}'. were rule groups changed?",
                filter.next_token
            );
            return Err(Fault::parameter("group_next_token", &why));
        };
        groups.drain(..at);
    }
    groups.retain_mut(|group| {
        group.rules.retain(|rule| filter.takes(rule));
        filter.takes_group(group) && !group.rules.is_empty()
    });
    let mut next = None;
    if filter.group_limit > 0 && groups.len() > filter.group_limit {
        next = Some(token(&groups[filter.group_limit]));
        groups.truncate(filter.group_limit);
    }
    reply.data().extend_from_slice(b"{\"groups\":[");
    for (at, group) in groups.iter().enumerate() {
        if at > 0 {
            reply.out().push(b',');
        }
        write_group(reply.out(), group, filter.exclude_alerts);
        reply.checkpoint()?;
    }
    let out = reply.out();
    out.push(b']');
    if let Some(next) = next {
        out.extend_from_slice(b",\"groupNextToken\":");
        json::text(out, &next);
    }
    out.push(b'}');
    Ok(())
}

fn write_group(out: &mut Vec<u8>, group: &RuleGroup, exclude_alerts: bool) {
    let mut object = Object::begin(out);
    object.text("name", &group.name);
    object.text("file", &group.file);
    json::list(object.field("rules"), &group.rules, |out, rule| {
        write_rule(out, rule, exclude_alerts);
    });
    object.number("interval", group.interval);
    object.raw("limit", group.limit);
    object.number("evaluationTime", group.evaluation_time);
    json::time(object.field("lastEvaluation"), group.last_evaluation_ns);
    object.end();
}

fn write_rule(out: &mut Vec<u8>, rule: &Rule, exclude_alerts: bool) {
    let mut object = Object::begin(out);
    if let Some(alerting) = &rule.alerting {
        object.text("state", alerting.state.name());
    }
    object.text("name", &rule.name);
    object.text("query", &rule.query);
    if let Some(alerting) = &rule.alerting {
        object.number("duration", alerting.hold);
        object.number("keepFiringFor", alerting.keep_firing_for);
    }
    json::labels(object.field("labels"), &rule.labels);
    if let Some(alerting) = &rule.alerting {
        json::labels(object.field("annotations"), &alerting.annotations);
        let alerts = object.field("alerts");
        if exclude_alerts {
            alerts.extend_from_slice(b"null");
        } else {
            json::list(alerts, &alerting.alerts, write_alert);
        }
    }
    let health = match rule.health {
        RuleHealth::Unknown => "unknown",
        RuleHealth::Good => "ok",
        RuleHealth::Bad => "err",
    };
    object.text("health", health);
    if !rule.last_error.is_empty() {
        object.text("lastError", &rule.last_error);
    }
    object.number("evaluationTime", rule.evaluation_time);
    json::time(object.field("lastEvaluation"), rule.last_evaluation_ns);
    let kind = if rule.alerting.is_some() {
        "alerting"
    } else {
        "recording"
    };
    object.text("type", kind);
    object.end();
}

fn write_alert(out: &mut Vec<u8>, alert: &Alert) {
    let mut object = Object::begin(out);
    json::labels(object.field("labels"), &alert.labels);
    json::labels(object.field("annotations"), &alert.annotations);
    object.text("state", alert.state.name());
    json::time(object.field("activeAt"), alert.active_at_ns);
    if alert.keep_firing_since_ns.is_some() {
        json::time(object.field("keepFiringSince"), alert.keep_firing_since_ns);
    }
    let value = json::scientific(alert.value);
    object.text("value", &value);
    object.end();
}
