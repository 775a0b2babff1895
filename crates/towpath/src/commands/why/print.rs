//! Explanations and cases, for people.

use crate::commands::print::age;
use serde_json::Value;

pub(crate) fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_string()
}

fn object(value: &Value) -> String {
    let name = format!("{} {}", text(&value["kind"]), text(&value["name"]));
    name.trim().to_string()
}

pub(crate) fn list(value: &Value) -> &[Value] {
    value.as_array().map(Vec::as_slice).unwrap_or_default()
}

/// How long ago a time in milliseconds was.
pub(crate) fn ago(at: &Value) -> String {
    let seconds = at.as_u64().map(|millis| millis / 1_000);
    seconds.map_or("-".into(), |at| {
        age(Some(&towpath_stdx::clock::rfc3339(at)))
    })
}

/// What is wrong in a namespace, and why.
pub(super) fn explanation(namespace: &str, answer: &Value) {
    for unseen in list(&answer["unseen"]) {
        println!("! not looked at: {}", text(unseen));
    }
    if answer["symptom"].is_null() {
        println!("✔ nothing is wrong in {namespace}");
        let changes = list(&answer["changes"]);
        if let Some(last) = changes.first() {
            println!("  last change {}", change(last));
        }
        return;
    }
    findings(answer);
    if list(&answer["findings"]).is_empty() {
        let symptom = &answer["symptom"];
        println!(
            "✘ {}: {}",
            object(&symptom["workload"]),
            text(&symptom["kind"])
        );
    }
    println!();
    if list(&answer["causes"]).is_empty() {
        println!("No change of the last day explains it.");
    }
    for (place, cause) in list(&answer["causes"]).iter().enumerate() {
        let culprit = &cause["culprit"];
        let words = match culprit["is"].as_str() {
            Some("change") => change(&culprit["change"]),
            _ => format!(
                "no change: {} {}",
                object(&culprit["finding"]["workload"]),
                text(&culprit["finding"]["words"])
            ),
        };
        reasons(place, cause, &words, "");
    }
    news(answer);
    for looked in list(&answer["looked"]) {
        let step = &looked["step"];
        let title = match step["look"].as_str() {
            Some("logs") => format!(
                "last lines of {} in {}",
                text(&step["container"]),
                object(&step["pod"])
            ),
            _ => format!("events of {}", object(&step["of"])),
        };
        output(&title, looked);
    }
}

/// A whole case.
pub(super) fn case(case: &Value) {
    let state = match text(&case["state"]).as_str() {
        "closed" => format!("closed {} ago", ago(&case["closedAt"])),
        _ => format!("open since {}", ago(&case["openedAt"])),
    };
    println!(
        "{} {} ({}, {state})",
        text(&case["id"]),
        text(&case["title"]),
        text(&case["severity"])
    );
    println!("{}", text(&case["summary"]));
    for unseen in list(&case["unseen"]) {
        println!("! not looked at: {}", text(unseen));
    }
    println!();
    for alert in list(&case["alerts"]) {
        let mark = if alert["endsAt"].is_null() {
            "✘"
        } else {
            "✔"
        };
        let value = alert["value"].as_f64();
        let value = value.map_or(String::new(), |value| format!(" = {value}"));
        let silenced = match alert["silenced"] == true {
            true => " (silenced)",
            false => "",
        };
        println!(
            "{mark} {} {}{value}{silenced}",
            text(&alert["name"]),
            text(&alert["query"])
        );
    }
    if let Some(more) = case["moreAlerts"].as_u64().filter(|more| *more > 0) {
        println!("  and {more} more alerts");
    }
    findings(case);
    println!();
    for (place, cause) in list(&case["causes"]).iter().enumerate() {
        let words = match &cause["change"] {
            Value::Null => format!(
                "no change: {} {}",
                object(&cause["object"]),
                text(&cause["words"])
            ),
            of => change(of),
        };
        let verdict = match text(&cause["verdict"]).as_str() {
            "suspected" => String::new(),
            verdict => format!(", {verdict}"),
        };
        reasons(place, cause, &words, &verdict);
    }
    for deed in list(&case["interventions"]) {
        println!(
            "▸ {} of {}, {} ago: {}",
            text(&deed["kind"]),
            object(&deed["object"]),
            ago(&deed["at"]),
            text(&deed["outcome"])
        );
    }
    news(case);
    for looked in list(&case["looked"]) {
        output(&text(&looked["title"]), looked);
    }
    println!("\n── what happened");
    for entry in list(&case["timeline"]) {
        let at = entry["at"].as_u64().unwrap_or(0) / 1_000;
        println!(
            "   {}  {}",
            towpath_stdx::clock::rfc3339(at),
            text(&entry["words"])
        );
    }
    for action in list(&case["actions"]) {
        println!(
            "\n{}\n  {}",
            text(&action["words"]),
            text(&action["command"])
        );
    }
    for like in list(&case["similar"]) {
        println!(
            "like {} {} ago: {}",
            text(&like["id"]),
            ago(&like["openedAt"]),
            text(&like["cause"])
        );
    }
}

fn findings(of: &Value) {
    for finding in list(&of["findings"]) {
        let count = match finding["count"].as_u64() {
            Some(count) if count > 1 => format!(" ({count} pods)"),
            _ => String::new(),
        };
        println!(
            "✘ {}{count}: {}",
            object(&finding["workload"]),
            text(&finding["words"])
        );
    }
}

fn reasons(place: usize, cause: &Value, words: &str, verdict: &str) {
    let sure = cause["score"].as_f64().unwrap_or(0.0) * 100.0;
    println!("{}. {sure:.0} %{verdict}  {words}", place + 1);
    for evidence in list(&cause["evidence"]) {
        println!("     for it: {}", text(&evidence["words"]));
    }
    for dissent in list(&cause["dissent"]) {
        println!("     against: {}", text(dissent));
    }
}

fn news(of: &Value) {
    for new in list(&of["news"]) {
        let count = new["count"].as_u64().unwrap_or(0);
        println!("new in the logs ({count}): {}", text(&new["text"]));
    }
}

fn output(title: &str, looked: &Value) {
    let output = text(&looked["output"]);
    if output.trim().is_empty() {
        return;
    }
    println!("\n── {title}");
    for line in output.trim_end().lines() {
        println!("   {line}");
    }
}

fn change(change: &Value) -> String {
    let mut words = format!("{} {}", object(&change["object"]), text(&change["words"]));
    if change["at"].is_u64() {
        words = format!("{words}, {} ago", ago(&change["at"]));
    }
    for (key, name) in [("by", "by"), ("commit", "commit"), ("release", "release")] {
        let value = text(&change[key]);
        if !value.is_empty() {
            let short = if key == "commit" {
                value.get(..12).unwrap_or(&value)
            } else {
                &value
            };
            words = format!("{words}, {name} {short}");
        }
    }
    words
}
