//! Upstream's configuration file, as it is.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;
use serde_saphyr::Spanned;
use towpath_query::promql::{MatchOp, Matcher, parse_duration, quote};

use super::dispatch::Throttle;
use super::inhibit::InhibitRule;
use super::interval::{self, TimeInterval};
use super::matcher::parse_matchers;
use super::receivers::{Globals, Raw as RawReceiver, Receiver};
use super::route::Route;
use crate::Finding;
use crate::yaml::{self, Flag, Span, place};

type Texts = BTreeMap<String, String>;

/// A configuration that was read.
#[derive(Clone, Debug)]
pub struct Config {
    /// The root of the routes.
    pub route: Route,
    /// Who can be told.
    pub receivers: Vec<Receiver>,
    /// Alerts that make others superfluous.
    pub inhibit_rules: Vec<InhibitRule>,
    /// Intervals by their names.
    pub time_intervals: BTreeMap<String, Vec<TimeInterval>>,
    /// Patterns of files with templates.
    pub templates: Vec<String>,
    /// After how long an alert that is not told again is over, in milliseconds.
    pub resolve_timeout_ms: i64,
    /// How often receivers are told, by their names; from a file of our own.
    pub throttles: BTreeMap<String, Throttle>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Raw {
    global: Option<Globals>,
    route: Option<Spanned<RawRoute>>,
    inhibit_rules: Option<Vec<Spanned<RawInhibit>>>,
    receivers: Option<Vec<Spanned<RawReceiver>>>,
    templates: Option<Vec<String>>,
    mute_time_intervals: Option<Vec<Spanned<RawInterval>>>,
    time_intervals: Option<Vec<Spanned<RawInterval>>>,
    tracing: Option<RawTracing>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[allow(dead_code)] // accepted, and without effect
struct RawTracing {
    client_type: serde_json::Value,
    endpoint: serde_json::Value,
    sampling_fraction: serde_json::Value,
    insecure: serde_json::Value,
    tls_config: serde_json::Value,
    headers: serde_json::Value,
    compression: serde_json::Value,
    timeout: serde_json::Value,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct RawRoute {
    receiver: String,
    group_by: Option<Vec<String>>,
    #[serde(rename = "match")]
    equal: Option<Texts>,
    match_re: Option<Texts>,
    matchers: Option<Vec<String>>,
    mute_time_intervals: Option<Vec<String>>,
    active_time_intervals: Option<Vec<String>>,
    #[serde(rename = "continue")]
    go_on: Flag,
    routes: Option<Vec<Spanned<RawRoute>>>,
    group_wait: Option<Span>,
    group_interval: Option<Span>,
    repeat_interval: Option<Span>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[allow(dead_code)] // the name is for people
struct RawInhibit {
    name: String,
    source_match: Option<Texts>,
    source_match_re: Option<Texts>,
    source_matchers: Option<Vec<String>>,
    target_match: Option<Texts>,
    target_match_re: Option<Texts>,
    target_matchers: Option<Vec<String>>,
    equal: Option<Vec<String>>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct RawInterval {
    name: String,
    time_intervals: Option<Vec<interval::Raw>>,
}

/// How deep routes may lie below each other.
const MAX_DEPTH: usize = 50;

fn matchers(
    equal: Option<Texts>,
    regex: Option<Texts>,
    texts: Option<Vec<String>>,
) -> Result<Vec<Matcher>, String> {
    let mut out = Vec::new();
    for (name, value) in equal.unwrap_or_default() {
        let plain = name
            .chars()
            .enumerate()
            .all(|(at, c)| c == '_' || c.is_ascii_alphabetic() || (at > 0 && c.is_ascii_digit()));
        if name.is_empty() || !plain {
            return Err(format!("invalid label name {}", quote(&name)));
        }
        out.push(Matcher::new(name, MatchOp::Equal, value)?);
    }
    for (name, value) in regex.unwrap_or_default() {
        out.push(Matcher::new(name, MatchOp::Regex, value)?);
    }
    for text in texts.unwrap_or_default() {
        out.extend(parse_matchers(&text)?);
    }
    Ok(out)
}

fn route_of(
    raw: Spanned<RawRoute>,
    above: Option<&Route>,
    names: &Names,
    depth: usize,
) -> Result<Route, Finding> {
    let at = place(&raw);
    let raw = raw.value;
    let fail = |message: String| Finding::at(at, message);
    if depth > MAX_DEPTH {
        return Err(fail(format!("routes nest deeper than {MAX_DEPTH}")));
    }
    let mut group_by = above.map_or(BTreeSet::new(), |r| r.group_by.clone());
    let mut group_by_all = above.is_some_and(|r| r.group_by_all);
    if let Some(names) = raw.group_by {
        let all = names.iter().any(|name| name == "...");
        if all && names.len() > 1 {
            return Err(fail(
                "cannot have wildcard group_by (`...`) and other labels at the same time".into(),
            ));
        }
        if all {
            group_by_all = true;
        } else {
            group_by.clear();
            group_by_all = false;
            for name in names {
                if name.is_empty() {
                    let name = quote(&name);
                    return Err(fail(format!("invalid label name {name} in group_by list")));
                }
                if !group_by.insert(name.clone()) {
                    let name = quote(&name);
                    return Err(fail(format!("duplicated label {name} in group_by")));
                }
            }
        }
    }
    if raw.group_interval == Some(Span(0)) {
        return Err(fail("group_interval cannot be zero".into()));
    }
    if raw.repeat_interval == Some(Span(0)) {
        return Err(fail("repeat_interval cannot be zero".into()));
    }
    let span = |own: Option<Span>, inherited: Option<i64>, usual: i64| {
        own.map(|span| span.0).or(inherited).unwrap_or(usual)
    };
    let receiver = match raw.receiver.as_str() {
        "" => above.map_or(String::new(), |r| r.receiver.clone()),
        own if names.receivers.contains(own) => own.to_owned(),
        own => {
            let own = quote(own);
            return Err(fail(format!("undefined receiver {own} used in route")));
        }
    };
    let mut route = Route {
        matchers: matchers(raw.equal, raw.match_re, raw.matchers).map_err(fail)?,
        go_on: raw.go_on.0,
        receiver,
        group_by,
        group_by_all,
        group_wait_ms: span(raw.group_wait, above.map(|r| r.group_wait_ms), 30_000),
        group_interval_ms: span(
            raw.group_interval,
            above.map(|r| r.group_interval_ms),
            300_000,
        ),
        repeat_interval_ms: span(
            raw.repeat_interval,
            above.map(|r| r.repeat_interval_ms),
            4 * 3_600_000,
        ),
        mute_time_intervals: raw.mute_time_intervals.unwrap_or_default(),
        active_time_intervals: raw.active_time_intervals.unwrap_or_default(),
        routes: Vec::new(),
        key: String::new(),
        id: String::new(),
    };
    let intervals = route.active_time_intervals.iter();
    for name in intervals.chain(&route.mute_time_intervals) {
        if !names.intervals.contains(name) {
            let name = quote(name);
            return Err(fail(format!(
                "undefined time interval {name} used in route"
            )));
        }
    }
    for below in raw.routes.unwrap_or_default() {
        let below = route_of(below, Some(&route), names, depth + 1)?;
        route.routes.push(below);
    }
    Ok(route)
}

struct Names {
    receivers: BTreeSet<String>,
    intervals: BTreeSet<String>,
}

impl Config {
    /// Reads a configuration.
    ///
    /// # Errors
    /// The first thing that is wrong, in upstream's words where it has some.
    pub fn read(text: &str) -> Result<Self, Finding> {
        let raw: Raw = yaml::read(text)?;
        let _ = raw.tracing;
        let globals = raw.global.unwrap_or_default().0;
        check_globals(&globals)?;
        let resolve_timeout_ms = match globals.get("resolve_timeout").and_then(|v| v.as_str()) {
            Some(text) => parse_duration(text).map_err(Finding::new)?,
            None => 300_000,
        };
        let mut receivers: Vec<Receiver> = Vec::new();
        for one in raw.receivers.unwrap_or_default() {
            let at = place(&one);
            if receivers.iter().any(|known| known.name == one.value.name) {
                let name = quote(&one.value.name);
                let message = format!("notification config name {name} is not unique");
                return Err(Finding::at(at, message));
            }
            receivers.push(one.value.finish(&globals)?);
        }
        let mut time_intervals = BTreeMap::new();
        let mute = raw.mute_time_intervals.unwrap_or_default();
        let mute = mute.into_iter().map(|one| ("mute time interval", one));
        let times = raw.time_intervals.unwrap_or_default();
        for (what, one) in mute.chain(times.into_iter().map(|one| ("time interval", one))) {
            let at = place(&one);
            let name = one.value.name;
            if name.is_empty() {
                return Err(Finding::at(at, "missing name in time interval"));
            }
            let raw = one.value.time_intervals.unwrap_or_default();
            let read = raw.into_iter().map(TimeInterval::read).collect();
            let read: Result<Vec<_>, String> = read;
            let read = read.map_err(|message| Finding::at(at, message))?;
            if time_intervals.insert(name.clone(), read).is_some() {
                let name = quote(&name);
                return Err(Finding::at(at, format!("{what} {name} is not unique")));
            }
        }
        let names = Names {
            receivers: receivers.iter().map(|r| r.name.clone()).collect(),
            intervals: time_intervals.keys().cloned().collect(),
        };
        let Some(root) = raw.route else {
            return Err(Finding::new("no routes provided"));
        };
        check_root(&root)?;
        let mut route = route_of(root, None, &names, 0)?;
        route.name(None);
        let inhibit_rules = raw.inhibit_rules.unwrap_or_default();
        let inhibit_rules = inhibit_rules
            .into_iter()
            .map(inhibit_of)
            .collect::<Result<_, _>>()?;
        Ok(Self {
            route,
            receivers,
            inhibit_rules,
            time_intervals,
            templates: raw.templates.unwrap_or_default(),
            resolve_timeout_ms,
            throttles: BTreeMap::new(),
        })
    }

    /// A receiver by its name.
    pub fn receiver(&self, name: &str) -> Option<&Receiver> {
        self.receivers.iter().find(|receiver| receiver.name == name)
    }
}

fn inhibit_of(raw: Spanned<RawInhibit>) -> Result<InhibitRule, Finding> {
    let at = place(&raw);
    let raw = raw.value;
    let fail = |message: String| Finding::at(at, message);
    let equal = raw.equal.unwrap_or_default();
    if equal.iter().any(String::is_empty) {
        return Err(fail("invalid label name \"\" in equal list".into()));
    }
    Ok(InhibitRule {
        source: matchers(raw.source_match, raw.source_match_re, raw.source_matchers)
            .map_err(fail)?,
        target: matchers(raw.target_match, raw.target_match_re, raw.target_matchers)
            .map_err(fail)?,
        equal,
    })
}

fn check_root(root: &Spanned<RawRoute>) -> Result<(), Finding> {
    let given = |texts: &Option<Texts>| texts.as_ref().is_some_and(|t| !t.is_empty());
    let listed = |texts: &Option<Vec<String>>| texts.as_ref().is_some_and(|t| !t.is_empty());
    let route = &root.value;
    let message = if route.receiver.is_empty() {
        "root route must specify a default receiver"
    } else if given(&route.equal) || given(&route.match_re) || listed(&route.matchers) {
        "root route must not have any matchers"
    } else if listed(&route.mute_time_intervals) {
        "root route must not have any mute time intervals"
    } else if listed(&route.active_time_intervals) {
        "root route must not have any active time intervals"
    } else {
        return Ok(());
    };
    Err(Finding::at(place(root), message))
}

fn check_globals(globals: &BTreeMap<String, serde_json::Value>) -> Result<(), Finding> {
    let has = |name: &str| globals.get(name).is_some_and(|v| v.as_str() != Some(""));
    for name in [
        "slack_app_token",
        "slack_api_url",
        "opsgenie_api_key",
        "victorops_api_key",
        "telegram_bot_token",
        "smtp_auth_password",
        "rocketchat_token",
        "rocketchat_token_id",
        "smtp_auth_secret",
        "wechat_api_secret",
    ] {
        let file = format!("{name}_file");
        if has(name) && has(&file) {
            return Err(Finding::new(format!(
                "at most one of {name} & {file} must be configured"
            )));
        }
    }
    Ok(())
}
