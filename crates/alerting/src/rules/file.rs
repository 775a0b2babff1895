//! Rule files: what they say, and what is wrong with them, in upstream's words.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;
use serde_saphyr::Spanned;
use towpath_query::promql::{Expr, NAME, parse, quote};

use super::template;
use crate::Finding;
use crate::yaml::{self, Span};

type Texts = BTreeMap<String, String>;

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawFile {
    #[serde(default)]
    groups: Option<Vec<Spanned<RawGroup>>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawGroup {
    #[serde(default)]
    name: String,
    #[serde(default)]
    interval: Span,
    #[serde(default)]
    query_offset: Option<Span>,
    #[serde(default)]
    limit: i64,
    #[serde(default)]
    rules: Option<Vec<Spanned<RawRule>>>,
    #[serde(default)]
    labels: Option<Texts>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawRule {
    record: Option<Spanned<String>>,
    alert: Option<Spanned<String>>,
    expr: Option<Spanned<String>>,
    #[serde(default, rename = "for")]
    hold: Span,
    #[serde(default)]
    keep_firing_for: Span,
    #[serde(default)]
    labels: Option<Texts>,
    #[serde(default)]
    annotations: Option<Texts>,
}

/// A group of a file. Times are in milliseconds.
#[derive(Clone, Debug)]
pub struct GroupSpec {
    /// Its name, the only one in its file.
    pub name: String,
    /// Between two evaluations; 0 where the usual one counts.
    pub interval_ms: i64,
    /// How far back queries look.
    pub query_offset_ms: Option<i64>,
    /// The most series or alerts a rule may give; 0 for no limit.
    pub limit: usize,
    /// Its rules, in order.
    pub rules: Vec<RuleSpec>,
}

/// A rule of a file; labels are with those of its group.
#[derive(Clone, Debug)]
pub struct RuleSpec {
    /// The metric it records, or else the alert's name.
    pub name: String,
    /// Whether it is an alerting rule.
    pub alert: bool,
    /// What it evaluates.
    pub expr: Expr,
    /// How long it must hold before an alert fires.
    pub hold_ms: i64,
    /// How long an alert goes on after it does not hold any more.
    pub keep_firing_for_ms: i64,
    /// Labels of its own.
    pub labels: Texts,
    /// Annotations.
    pub annotations: Texts,
}

/// The groups of a file.
///
/// # Errors
/// All that is wrong with it.
pub fn read(text: &str) -> Result<Vec<GroupSpec>, Vec<Finding>> {
    let file: RawFile = yaml::read(text).map_err(|finding| vec![finding])?;
    let mut findings = Vec::new();
    let mut names = BTreeSet::new();
    let mut groups = Vec::new();
    for raw in file.groups.unwrap_or_default() {
        let at = yaml::place(&raw);
        let raw = raw.value;
        if raw.name.is_empty() {
            findings.push(Finding::at(at, "Groupname must not be empty"));
        }
        if !names.insert(raw.name.clone()) {
            let message = format!("groupname: \"{}\" is repeated in the same file", raw.name);
            findings.push(Finding::at(at, message));
        }
        let labels = raw.labels.unwrap_or_default();
        findings.extend(label_faults(&labels).map(Finding::new));
        let mut rules = Vec::new();
        for (number, rule) in raw.rules.unwrap_or_default().into_iter().enumerate() {
            let (spec, faults) = rule_of(rule, &labels);
            let name = spec.as_ref().map_or("", |spec| &spec.name);
            findings.extend(faults.into_iter().map(|fault| Finding {
                place: fault.finding.place,
                message: format!(
                    "{}group {}, rule {}, {}: {}",
                    fault.other,
                    quote(&raw.name),
                    number + 1,
                    quote(fault.name.as_deref().unwrap_or(name)),
                    fault.finding.message
                ),
            }));
            rules.extend(spec);
        }
        groups.push(GroupSpec {
            name: raw.name,
            interval_ms: raw.interval.0,
            query_offset_ms: raw.query_offset.map(|span| span.0),
            limit: usize::try_from(raw.limit).unwrap_or(0),
            rules,
        });
    }
    match findings.is_empty() {
        true => Ok(groups),
        false => Err(findings),
    }
}

fn label_faults(labels: &Texts) -> impl Iterator<Item = String> + '_ {
    let bad = |name: &str| name.is_empty() || name == NAME;
    labels
        .keys()
        .filter(move |name| bad(name))
        .map(|name| format!("invalid label name: {name}"))
}

/// What is wrong with a rule; the place of a second field may come before it.
struct Fault {
    finding: Finding,
    other: String,
    name: Option<String>,
}

fn rule_of(rule: Spanned<RawRule>, group: &Texts) -> (Option<RuleSpec>, Vec<Fault>) {
    let whole = yaml::place(&rule);
    let raw = rule.value;
    let text = |field: &Option<Spanned<String>>| match field {
        Some(text) => text.value.clone(),
        None => String::new(),
    };
    let at = |field: &Option<Spanned<String>>| field.as_ref().map_or(whole, yaml::place);
    let (record, alert) = (text(&raw.record), text(&raw.alert));
    let (record_at, alert_at) = (at(&raw.record), at(&raw.alert));
    let named = if alert.is_empty() { &record } else { &alert }.clone();
    let mut faults = Vec::new();
    let mut fault = |finding: Finding, other: Option<(u64, u64)>| {
        faults.push(Fault {
            finding,
            other: other.map_or(String::new(), |(l, c)| format!("{l}:{c}: ")),
            name: Some(named.clone()),
        });
    };
    if !record.is_empty() && !alert.is_empty() {
        let message = "only one of 'record' and 'alert' must be set";
        fault(Finding::at(record_at, message), Some(alert_at));
    }
    if record.is_empty() && alert.is_empty() {
        let message = "one of 'record' or 'alert' must be set";
        fault(Finding::at(record_at, message), Some(alert_at));
    }
    let (expr_text, expr_at) = (text(&raw.expr), at(&raw.expr));
    let mut expr = None;
    match expr_text.as_str() {
        "" => {
            let message = "field 'expr' must be set in rule";
            fault(Finding::at(expr_at, message), None);
        }
        text => match parse(text) {
            Ok(parsed) => expr = Some(parsed),
            Err(error) => {
                let message = format!("could not parse expression: {error}");
                fault(Finding::at(expr_at, message), None);
            }
        },
    }
    let labels = raw.labels.unwrap_or_default();
    let annotations = raw.annotations.unwrap_or_default();
    if !record.is_empty() {
        let set = [
            ("annotations", !annotations.is_empty()),
            ("for", raw.hold.0 != 0),
            ("keep_firing_for", raw.keep_firing_for.0 != 0),
        ];
        for (field, _) in set.iter().filter(|(_, set)| *set) {
            let message = format!("invalid field '{field}' in recording rule");
            fault(Finding::at(record_at, message), None);
        }
        if record.contains(['{', '}']) {
            let message = format!(
                "braces present in the recording rule name; should it be in expr?: {record}"
            );
            fault(Finding::at(record_at, message), None);
        }
    }
    for message in label_faults(&labels) {
        fault(Finding::new(message), None);
    }
    for name in annotations.keys().filter(|name| name.is_empty()) {
        fault(
            Finding::new(format!("invalid annotation name: {name}")),
            None,
        );
    }
    if !alert.is_empty() {
        for (what, texts) in [("label", &labels), ("annotation", &annotations)] {
            for (name, text) in texts {
                if let Err(error) = template::check(&alert, text) {
                    let message = format!("{what} {}: {error}", quote(name));
                    fault(Finding::new(message), None);
                }
            }
        }
    }
    let mut all = group.clone();
    all.extend(labels);
    let spec = expr.map(|expr| RuleSpec {
        name: named.clone(),
        alert: !alert.is_empty(),
        expr,
        hold_ms: raw.hold.0,
        keep_firing_for_ms: raw.keep_firing_for.0,
        labels: all,
        annotations,
    });
    (spec, faults)
}
