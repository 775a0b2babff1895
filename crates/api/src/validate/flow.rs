//! Rules of priority levels and of the schemas that requests are sorted by.

use super::check::{Check, list, missing, text};
use crate::field::FieldError;
use crate::names;
use serde_json::{Value, json};

const HIGHEST_PRECEDENCE: i64 = 10_000;
const MOST_QUEUES: i64 = 10_000_000;
const VERBS: [&str; 9] = [
    "create",
    "delete",
    "deletecollection",
    "get",
    "list",
    "patch",
    "proxy",
    "update",
    "watch",
];

pub(super) fn level(new: &Value, check: &mut Check) {
    let spec = &new["spec"];
    let name = text(&new["metadata"]["name"]);
    let kind = text(&spec["type"]);
    if (name == "exempt") != (kind == "Exempt") && matches!(kind, "Exempt" | "Limited") {
        let why = "must be 'Exempt' if and only if `name` is 'exempt'";
        check.invalid("spec.type", kind, why);
    }
    match kind {
        "Exempt" => {
            if !spec["limited"].is_null() {
                let why = "must be nil if the type is not Limited";
                check.add(FieldError::forbidden("spec.limited", why));
            }
            shares(&spec["exempt"], "spec.exempt", check);
        }
        "Limited" => {
            if !spec["exempt"].is_null() {
                let why = "must be nil if the type is Limited";
                check.add(FieldError::forbidden("spec.exempt", why));
            }
            if spec["limited"].is_null() {
                let why = "must not be empty when type is Limited";
                check.add(FieldError::required("spec.limited", why));
            } else {
                limited(&spec["limited"], check);
            }
        }
        "" => check.add(FieldError::required("spec.type", "")),
        other => check.add(FieldError::unsupported(
            "spec.type",
            other,
            &["Exempt", "Limited"],
        )),
    }
    if name == "exempt" && kind != "Exempt" {
        let why = "spec of 'exempt' except the 'spec.exempt' field must equal the fixed value";
        check.invalid("spec", level_shown(spec), why);
    }
}

/// A level's spec as upstream prints it.
fn level_shown(spec: &Value) -> Value {
    let part = |value: &Value, shown: Value| if value.is_null() { Value::Null } else { shown };
    let (limited, exempt) = (&spec["limited"], &spec["exempt"]);
    let answer = &limited["limitResponse"];
    let number = |value: &Value| value.as_i64().unwrap_or(0);
    let queuing = &answer["queuing"];
    json!({
        "Type": spec["type"],
        "Limited": part(limited, json!({
            "NominalConcurrencyShares": number(&limited["nominalConcurrencyShares"]),
            "LimitResponse": {
                "Type": text(&answer["type"]),
                "Queuing": part(queuing, json!({
                    "Queues": number(&queuing["queues"]),
                    "HandSize": number(&queuing["handSize"]),
                    "QueueLengthLimit": number(&queuing["queueLengthLimit"]),
                })),
            },
            "LendablePercent": limited["lendablePercent"],
            "BorrowingLimitPercent": limited["borrowingLimitPercent"],
        })),
        "Exempt": part(exempt, json!({
            "NominalConcurrencyShares": exempt["nominalConcurrencyShares"],
            "LendablePercent": exempt["lendablePercent"],
        })),
    })
}

fn shares(part: &Value, path: &str, check: &mut Check) {
    let number = |name: &str| part[name].as_i64();
    if let Some(shares) = number("nominalConcurrencyShares").filter(|n| *n < 0) {
        let at = format!("{path}.nominalConcurrencyShares");
        check.invalid(&at, shares, "must be a non-negative integer");
    }
    if let Some(lent) = number("lendablePercent").filter(|n| !(0..=100).contains(n)) {
        let at = format!("{path}.lendablePercent");
        check.invalid(&at, lent, "must be between 0 and 100, inclusive");
    }
}

fn limited(limited: &Value, check: &mut Check) {
    let path = "spec.limited";
    shares(limited, path, check);
    if let Some(limit) = limited["borrowingLimitPercent"].as_i64().filter(|n| *n < 0) {
        let why = "if specified, must be a non-negative integer";
        check.invalid(&format!("{path}.borrowingLimitPercent"), limit, why);
    }
    let answer = &limited["limitResponse"];
    let path = "spec.limited.limitResponse";
    let queuing = &answer["queuing"];
    match text(&answer["type"]) {
        "Reject" if !queuing.is_null() => {
            let why = "must be nil if limited.limitResponse.type is not Limited";
            check.add(FieldError::forbidden(format!("{path}.queuing"), why));
        }
        "Reject" => {}
        "Queue" if queuing.is_null() => {
            let why = "must not be empty if limited.limitResponse.type is Limited";
            check.add(FieldError::required(format!("{path}.queuing"), why));
        }
        "Queue" => queues(queuing, &format!("{path}.queuing"), check),
        "" => check.add(FieldError::required(format!("{path}.type"), "")),
        other => check.add(FieldError::unsupported(
            format!("{path}.type"),
            other,
            &["Queue", "Reject"],
        )),
    }
}

fn queues(queuing: &Value, path: &str, check: &mut Check) {
    let number = |name: &str| queuing[name].as_i64().unwrap_or(0);
    let at = |name: &str| format!("{path}.{name}");
    let (queues, hand) = (number("queues"), number("handSize"));
    if number("queueLengthLimit") <= 0 {
        let limit = number("queueLengthLimit");
        check.invalid(&at("queueLengthLimit"), limit, "must be positive");
    }
    if queues <= 0 {
        check.invalid(&at("queues"), queues, "must be positive");
    } else if queues > MOST_QUEUES {
        let why = format!("must not be greater than {MOST_QUEUES}");
        check.invalid(&at("queues"), queues, why);
    }
    if hand <= 0 {
        check.invalid(&at("handSize"), hand, "must be positive");
    } else if hand > queues {
        let why = format!("should not be greater than queues ({queues})");
        check.invalid(&at("handSize"), hand, why);
    }
}

pub(super) fn schema(new: &Value, check: &mut Check) {
    let spec = &new["spec"];
    let path = "spec.matchingPrecedence";
    let precedence = spec["matchingPrecedence"].as_i64().unwrap_or(0);
    if precedence <= 0 {
        check.invalid(path, precedence, "must be a positive value");
    }
    if precedence > HIGHEST_PRECEDENCE {
        let why = format!("must not be greater than {HIGHEST_PRECEDENCE}");
        check.invalid(path, precedence, why);
    }
    if precedence == 1 && text(&new["metadata"]["name"]) != "exempt" {
        let why = "only the schema named 'exempt' may have matchingPrecedence 1";
        check.invalid(path, precedence, why);
    }
    let method = &spec["distinguisherMethod"];
    let known = ["ByNamespace", "ByUser"];
    if !method.is_null() && !known.contains(&text(&method["type"])) {
        let shown = json!({"Type": text(&method["type"])});
        let at = "spec.distinguisherMethod.type";
        check.add(FieldError::unsupported(at, shown, &known));
    }
    let at = "spec.priorityLevelConfiguration.name";
    let level = &spec["priorityLevelConfiguration"]["name"];
    if check.required(at, level, "must reference a priority level") {
        check.names(at, text(level), names::dns1123_subdomain(text(level)));
    }
    for (index, rule) in list(&spec["rules"]).iter().enumerate() {
        let path = format!("spec.rules[{index}]");
        if list(&rule["subjects"]).is_empty() {
            let why = "subjects must contain at least one value";
            check.add(FieldError::required(format!("{path}.subjects"), why));
        }
        for (at, subject) in list(&rule["subjects"]).iter().enumerate() {
            self::subject(subject, &format!("{path}.subjects[{at}]"), check);
        }
        let (resources, others) = (
            list(&rule["resourceRules"]),
            list(&rule["nonResourceRules"]),
        );
        if resources.is_empty() && others.is_empty() {
            let why = "at least one of resourceRules and nonResourceRules has to be non-empty";
            check.add(FieldError::required(path.clone(), why));
        }
        for (at, rule) in resources.iter().enumerate() {
            resource_rule(rule, &format!("{path}.resourceRules[{at}]"), check);
        }
        for (at, rule) in others.iter().enumerate() {
            path_rule(rule, &format!("{path}.nonResourceRules[{at}]"), check);
        }
    }
}

fn subject(subject: &Value, path: &str, check: &mut Check) {
    let kind = text(&subject["kind"]);
    let parts = [
        ("User", "user"),
        ("Group", "group"),
        ("ServiceAccount", "serviceAccount"),
    ];
    let Some((_, own)) = parts.iter().find(|(known, _)| *known == kind) else {
        let known = ["Group", "ServiceAccount", "User"];
        let error = FieldError::unsupported(format!("{path}.kind"), kind, &known);
        return check.add(error);
    };
    let part = &subject[*own];
    let at = format!("{path}.{own}");
    if part.is_null() {
        let why = format!("{own} is required when subject kind is '{kind}'");
        check.add(FieldError::required(at, why));
    } else {
        check.required(&format!("{at}.name"), &part["name"], "");
        if *own == "serviceAccount" {
            let why = "must specify namespace for service account";
            check.required(&format!("{at}.namespace"), &part["namespace"], why);
        }
    }
    for (other_kind, other) in parts.iter().filter(|(_, other)| other != own) {
        if !subject[*other].is_null() {
            let why = format!("{other} is forbidden when subject kind is not '{other_kind}'");
            check.add(FieldError::forbidden(format!("{path}.{other}"), why));
        }
    }
}

fn texts(value: &Value) -> Vec<&str> {
    list(value).iter().map(text).collect()
}

fn verbs(rule: &Value, path: &str, check: &mut Check) {
    let at = format!("{path}.verbs");
    let verbs = texts(&rule["verbs"]);
    if verbs.is_empty() {
        let why = "verbs must contain at least one value";
        check.add(FieldError::required(at, why));
    } else if verbs.contains(&"*") {
        if verbs.len() > 1 {
            let why = "if '*' is present, must not specify other verbs";
            check.invalid(&at, rule["verbs"].clone(), why);
        }
    } else if !verbs.iter().all(|verb| VERBS.contains(verb)) {
        check.add(FieldError::unsupported(at, rule["verbs"].clone(), &VERBS));
    }
}

fn one_star(rule: &Value, path: &str, key: &str, why: &str, check: &mut Check) {
    let given = texts(&rule[key]);
    if given.len() > 1 && given.contains(&"*") {
        check.invalid(&format!("{path}.{key}"), rule[key].clone(), why);
    }
}

fn resource_rule(rule: &Value, path: &str, check: &mut Check) {
    verbs(rule, path, check);
    for (key, what, others) in [
        ("apiGroups", "api group", "api groups"),
        ("resources", "resource", "resources"),
    ] {
        if missing(&rule[key]) {
            let why = format!("resource rules must supply at least one {what}");
            check.add(FieldError::required(format!("{path}.{key}"), why));
        }
        let why = format!("if '*' is present, must not specify other {others}");
        one_star(rule, path, key, &why, check);
    }
    if missing(&rule["namespaces"]) && rule["clusterScope"] != true {
        let why = "resource rules that are not cluster scoped must supply at least one namespace";
        check.add(FieldError::required(format!("{path}.namespaces"), why));
    }
    let why = "if '*' is present, must not specify other namespaces";
    one_star(rule, path, "namespaces", why, check);
}

fn path_rule(rule: &Value, path: &str, check: &mut Check) {
    verbs(rule, path, check);
    let at = format!("{path}.nonResourceURLs");
    let given = texts(&rule["nonResourceURLs"]);
    if given.is_empty() {
        let why = "nonResourceURLs must contain at least one value";
        check.add(FieldError::required(at, why));
    } else if given.contains(&"*") {
        if given.len() > 1 {
            let why = "if '*' is present, must not specify other non-resource URLs";
            check.invalid(&at, rule["nonResourceURLs"].clone(), why);
        }
    } else {
        for (index, url) in given.iter().enumerate() {
            if !url.starts_with('/') {
                check.invalid(&format!("{at}[{index}]"), *url, "must start with slash");
            }
        }
    }
}
