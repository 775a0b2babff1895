//! Rules of relabelling beside the real ones, over random rules and label sets.
//!
//! Known to differ: where `labelmap` maps two labels to one name, the last one in order of names
//! counts here, also of labels that earlier rules made; upstream looks at those last.

use std::collections::BTreeMap;

use serde_json::{Value as Json, json};
use towpath_query::promql::Labels;
use towpath_telemetry::scrape::relabel::{Set, Written, apply, rules};

use super::peer::{Dice, ask, peer};

const NAMES: [&str; 6] = ["a", "b", "__meta_x", "__address__", "job", "köln"];
const VALUES: [&str; 10] = [
    "",
    "x",
    "X y",
    "foo;bar",
    "10.0.0.1:80",
    "ÄÖ",
    "a1b2",
    "line\nbreak",
    "$1",
    "true",
];
const REGEXES: [&str; 14] = [
    "(.*)",
    "",
    ".+",
    "x",
    "([^:]+)(?::\\d+)?",
    "(?P<name>[a-z]+)(\\d).*",
    "a|b",
    "__meta_(.+)",
    "foo;.*",
    "[",
    "(a)(b)?",
    "(?i)X Y",
    "\\w+",
    "job|a",
];
const TEMPLATES: [&str; 14] = [
    "$1", "${1}", "fixed", "", "$2-$1", "${name}x", "$namex", "$$1", "$", "${", "$1_$2", "a${2}b",
    "x$01y", "${köln}",
];
const ACTIONS: [&str; 13] = [
    "replace",
    "keep",
    "drop",
    "keepequal",
    "dropequal",
    "hashmod",
    "labelmap",
    "labeldrop",
    "labelkeep",
    "lowercase",
    "uppercase",
    "Replace",
    "nonsense",
];

fn rule(dice: &mut Dice) -> Json {
    let mut out = json!({});
    let action = match dice.roll(4) {
        0 => "replace",
        _ => dice.word(&ACTIONS),
    };
    if action != "replace" || dice.one_in(2) {
        out["action"] = json!(action);
    }
    let names_only = ["labeldrop", "labelkeep", "labelmap"].contains(&action);
    if !names_only || dice.one_in(9) {
        let labels: Vec<&str> = (0..dice.roll(4)).map(|_| dice.word(&NAMES)).collect();
        out["source_labels"] = json!(labels);
        if !dice.one_in(9) {
            out["target_label"] = match dice.one_in(5) {
                true => json!(dice.word(&TEMPLATES)),
                false => json!(dice.word(&NAMES)),
            };
        }
    }
    let equal = action.ends_with("equal");
    if !equal && dice.one_in(2) || dice.one_in(20) {
        out["regex"] = json!(dice.word(&REGEXES));
    }
    let replaces = ["replace", "labelmap"].contains(&action);
    if replaces && !dice.one_in(3) || dice.one_in(30) {
        out["replacement"] = json!(dice.word(&TEMPLATES));
    }
    if action == "hashmod" || dice.one_in(40) {
        out["modulus"] = json!(dice.roll(9));
    }
    if dice.one_in(8) {
        out["separator"] = json!(dice.word(&[";", "", "-", "::"]));
    }
    out
}

fn set(dice: &mut Dice) -> BTreeMap<&'static str, &'static str> {
    (0..dice.roll(6))
        .map(|_| (dice.word(&NAMES), dice.word(&VALUES)))
        .collect()
}

#[test]
fn beside_the_real_rules() {
    let Some(peer) = peer() else { return };
    let mut dice = Dice(0x2545_f491_4f6c_dd1d);
    let mut jobs = Vec::new();
    for at in 0..4000 {
        let rules: Vec<Json> = (0..1 + dice.roll(3) * (at % 2))
            .map(|_| rule(&mut dice))
            .collect();
        let sets: Vec<Json> = (0..6).map(|_| json!(set(&mut dice))).collect();
        // JSON is YAML.
        jobs.push(json!({"rules": json!(rules).to_string(), "labels": sets}));
    }
    let answers = ask(&peer, "relabel", &jobs);
    let (mut refused, mut wrong) = (0, Vec::new());
    for (job, theirs) in jobs.iter().zip(&answers) {
        let text = job["rules"].as_str().unwrap();
        let own = serde_json::from_str::<Vec<Written>>(text)
            .map_err(|error| error.to_string())
            .and_then(|written| rules(&written));
        let own = match (own, theirs["error"].as_str()) {
            (Err(_), Some(_)) => {
                refused += 1;
                continue;
            }
            (Err(own), None) => {
                wrong.push(format!("{text}\n    only we refuse: {own}"));
                continue;
            }
            (Ok(_), Some(theirs)) => {
                wrong.push(format!("{text}\n    only they refuse: {theirs}"));
                continue;
            }
            (Ok(own), None) => own,
        };
        let sets = job["labels"].as_array().unwrap();
        for (set, theirs) in sets.iter().zip(theirs["labels"].as_array().unwrap()) {
            let mut labels: Set = serde_json::from_value(set.clone()).unwrap();
            labels.retain(|_, value| !value.is_empty());
            let own = match apply(&own, &mut labels) {
                true => labels.into_iter().collect::<Labels>().to_string(),
                false => String::new(),
            };
            let theirs = theirs.as_str().unwrap();
            if own != theirs
                && !text
                    .rfind("labelmap")
                    .is_some_and(|at| text[..at].contains("},{"))
            {
                wrong.push(format!("{text} {set}\n    {own}\n    {theirs}"));
            }
        }
    }
    println!(
        "{} sets of rules, {refused} refused, {} differ",
        jobs.len(),
        wrong.len()
    );
    wrong.sort_by_key(String::len);
    wrong.truncate(12);
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
