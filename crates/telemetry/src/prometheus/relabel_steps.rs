//! `targets/relabel_steps`: what each rule of a scrape configuration makes of labels.

use std::collections::BTreeMap;

use towpath_query::promql::quote;

use super::Call;
use super::fault::Fault;
use super::json::{self, Object};
use super::reply::Reply;
use crate::scrape::relabel::{Rule, Set};

/// Applies the rules to labels that are given, one after the other.
pub(super) fn steps(call: &Call, reply: &mut Reply) -> Result<(), Fault> {
    let missing = |name: &str| Fault::bad_data(format!("no {name} parameter provided"));
    let pool = call.form.get("scrapePool");
    if pool.is_empty() {
        return Err(missing("scrapePool"));
    }
    let text = call.form.get("labels");
    if text.is_empty() {
        return Err(missing("labels"));
    }
    let given: BTreeMap<String, String> = serde_json::from_str(text)
        .map_err(|error| Fault::bad_data(format!("error parsing labels: {error}")))?;
    let rules = call.api.targets.relabelling(pool).ok_or_else(|| {
        Fault::bad_data(format!(
            "error retrieving scrape config: scrape pool {} not found",
            quote(pool)
        ))
    })?;
    let mut set: Set = given;
    set.retain(|_, value| !value.is_empty());
    let mut keep = true;
    let mut data = Object::begin(reply.data());
    json::list(data.field("steps"), &rules, |out, rule| {
        keep = keep && rule.apply(&mut set);
        let mut step = Object::begin(out);
        write(step.field("rule"), rule);
        let labels = if keep {
            set.iter().map(|(n, v)| (n.clone(), v.clone())).collect()
        } else {
            towpath_query::promql::Labels::default()
        };
        json::labels(step.field("output"), &labels);
        step.raw("keep", keep);
        step.end();
    });
    data.end();
    Ok(())
}

/// A rule with what stands for what it does not say.
fn write(out: &mut Vec<u8>, rule: &Rule) {
    let written = rule.written();
    let mut object = Object::begin(out);
    let sources = written.source_labels.as_deref().unwrap_or_default();
    if !sources.is_empty() {
        json::list(object.field("source_labels"), sources, |out, name| {
            json::text(out, name);
        });
    }
    let or = |text: &Option<String>, usual: &str| text.clone().unwrap_or_else(|| usual.to_owned());
    let separator = or(&written.separator, ";");
    if !separator.is_empty() {
        object.text("separator", &separator);
    }
    object.text("regex", &or(&written.regex, "(.*)"));
    if let Some(modulus) = written.modulus.filter(|modulus| *modulus > 0) {
        object.raw("modulus", modulus);
    }
    let target = or(&written.target_label, "");
    if !target.is_empty() {
        object.text("target_label", &target);
    }
    let replacement = or(&written.replacement, "$1");
    if !replacement.is_empty() {
        object.text("replacement", &replacement);
    }
    object.text("action", written.action.name());
    object.end();
}
