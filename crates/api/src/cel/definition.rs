//! What a definition may say in rules: they compile, are not empty words, use the old value only
//! where there is one, and cannot cost too much for any object of the schema.

use super::{KEY, Validator, Wrong, compile, list, path, shape, text};
use crate::field::{FieldError, join};
use serde_json::{Value, json};
use towpath_query::cel::REQUEST_BYTES;

/// Most one expression may cost for all places it is evaluated at.
const EXPRESSION_LIMIT: u64 = 10_000_000;
/// Most all expressions of a schema may cost together.
const SCHEMA_LIMIT: u64 = 100_000_000;
const TOLD: usize = 4;

/// Where the schema of a version is in findings: upstream keeps one schema for all versions where
/// they have the same. None for the versions that share the first one's.
pub fn schema_path(versions: &[Value], at: usize) -> Option<String> {
    let schema = |at: usize| &versions[at]["schema"];
    let shared = (1..versions.len()).all(|other| schema(other) == schema(0));
    match (shared, at) {
        (true, 0) => Some("spec.validation.openAPIV3Schema".into()),
        (true, _) => None,
        (false, at) => Some(format!("spec.versions[{at}].schema.openAPIV3Schema")),
    }
}

#[derive(Default)]
struct Found {
    schema: Vec<FieldError>,
    rules: Vec<FieldError>,
    /// About defaults that their own rules do not allow.
    defaults: Vec<FieldError>,
    total: u64,
    expensive: Vec<(String, u64)>,
}

#[derive(Clone)]
struct Place {
    path: String,
    /// How often the place can occur in one object; none where nothing bounds it.
    count: Option<u64>,
    /// The list beneath which elements have no old value.
    uncorrelated: Option<String>,
    root: bool,
}

/// All findings about the rules of a schema at `path`.
pub fn check(schema: &Value, path: &str) -> Vec<FieldError> {
    let mut found = Found::default();
    let root = Place {
        path: path.to_string(),
        count: Some(1),
        uncorrelated: None,
        root: true,
    };
    node(schema, &root, &mut found);
    let Found {
        schema: mut errors,
        rules,
        defaults,
        total,
        expensive,
    } = found;
    // Upstream looks at defaults first, and at rules only where those are right.
    if !defaults.is_empty() {
        return defaults;
    }
    errors.extend(rules);
    if total > SCHEMA_LIMIT {
        errors.extend(expensive.into_iter().map(|(path, _)| {
            FieldError::forbidden(
                path,
                "contributed to estimated rule cost total exceeding cost limit for entire OpenAPIv3 schema",
            )
        }));
        let what = "x-kubernetes-validations estimated rule cost total for entire OpenAPIv3 schema";
        errors.push(FieldError::forbidden(path, over(what, total, SCHEMA_LIMIT)));
    }
    errors
}

fn over(what: &str, cost: u64, limit: u64) -> String {
    let factor = cost as f64 / limit as f64;
    let factor = if factor > 100.0 {
        "more than 100x".to_string()
    } else if factor < 1.5 {
        format!("{factor:.6}x")
    } else {
        format!("{factor:.1}x")
    };
    format!(
        "{what} exceeds budget by factor of {factor} (try simplifying the rule, or adding maxItems, maxProperties, and maxLength where arrays, maps, and strings are declared)"
    )
}

fn node(schema: &Value, place: &Place, found: &mut Found) {
    let below = |step: &str, count: Option<u64>| Place {
        path: join(&place.path, step),
        count: place
            .count
            .and_then(|outer| count.map(|count| outer.saturating_mul(count))),
        uncorrelated: place.uncorrelated.clone(),
        root: false,
    };
    let number = |key: &str| schema[key].as_i64().map(|n| n.max(0) as u64);
    let before = found.schema.len();
    for (name, field) in schema["properties"].as_object().into_iter().flatten() {
        node(
            field,
            &below(&format!("properties[{name}]"), Some(1)),
            found,
        );
    }
    if schema["additionalProperties"].is_object() {
        let place = below("additionalProperties", number("maxProperties"));
        node(&schema["additionalProperties"], &place, found);
    }
    if schema["items"].is_object() {
        let mut inner = below("items", number("maxItems"));
        if text(schema, "x-kubernetes-list-type") != "map" {
            inner.uncorrelated = Some(place.path.clone());
        }
        node(&schema["items"], &inner, found);
    }
    for (at, nested) in list(schema, "allOf").iter().enumerate() {
        // Rules of a part see the whole.
        let mut merged = schema.clone();
        if let Some(map) = merged.as_object_mut() {
            for key in ["allOf", "properties", "items", "additionalProperties"] {
                if key == "allOf" {
                    map.remove(key);
                }
            }
            map.insert(KEY.into(), nested[KEY].clone());
        }
        let place = Place {
            path: join(&place.path, &format!("allOf[{at}]")),
            ..place.clone()
        };
        rules(&merged, &place, found);
    }
    // Types of a schema that is wrong in itself would only confuse.
    if found.schema.len() == before {
        rules(schema, place, found);
    }
    if let Some(default) = schema.get("default").filter(|value| !value.is_null())
        && found.schema.is_empty()
        && let Some(validator) = Validator::of_part(schema)
    {
        let path = join(&place.path, "default");
        for error in validator.check(default, None) {
            let field = match error.field.as_str() {
                "<nil>" => String::new(),
                _ => error.field.clone(),
            };
            found
                .defaults
                .push(FieldError { field, ..error }.beneath(&path));
        }
    }
}

fn rules(schema: &Value, place: &Place, found: &mut Found) {
    let rules = list(schema, KEY);
    if rules.is_empty() {
        return;
    }
    let before = found.schema.len();
    for (at, rule) in rules.iter().enumerate() {
        words(rule, schema, &format!("{}.{KEY}[{at}]", place.path), found);
    }
    if found.schema.len() > before {
        return;
    }
    let root = place.root || schema["x-kubernetes-embedded-resource"] == true;
    let Some(shape) = shape(schema, root, "selfType") else {
        let path = join(&place.path, KEY);
        let why =
            "internal error: failed to retrieve type information for x-kubernetes-validations";
        found.rules.push(FieldError::invalid(path, "", why));
        return;
    };
    let cardinality = place
        .count
        .unwrap_or(REQUEST_BYTES / (shape.least_bytes + 1));
    for (at, rule) in rules.iter().enumerate() {
        let field = |name: &str| format!("{}.{KEY}[{at}].{name}", place.path);
        let Some((compiled, costs)) = compile(rule, schema, &shape) else {
            continue;
        };
        let mut charge = |cost: u64, name: &str, what: &str| {
            if cost > EXPRESSION_LIMIT {
                let why = over(what, cost, EXPRESSION_LIMIT);
                found.rules.push(FieldError::forbidden(field(name), why));
            }
            found.total = found.total.saturating_add(cost);
            if cost >= SCHEMA_LIMIT / 100 {
                found.expensive.push((field(name), cost));
                found
                    .expensive
                    .sort_by_key(|(_, cost)| std::cmp::Reverse(*cost));
                found.expensive.truncate(TOLD);
            }
        };
        charge(
            costs.rule.saturating_mul(cardinality),
            "rule",
            "estimated rule cost",
        );
        if let Some(cost) = costs.message {
            charge(
                cost,
                "messageExpression",
                "estimated messageExpression cost",
            );
        }
        match compiled {
            Err(Wrong::Rule(why)) => {
                found
                    .rules
                    .push(FieldError::invalid(field("rule"), shown(rule), why));
            }
            Err(Wrong::Message(why)) => {
                let error = FieldError::invalid(field("messageExpression"), shown(rule), why);
                found.rules.push(error);
            }
            Ok(compiled) if compiled.uses_old => {
                if let Some(list) = &place.uncorrelated {
                    let why = format!(
                        "oldSelf cannot be used on the uncorrelatable portion of the schema within {list}"
                    );
                    let error = FieldError::invalid(field("rule"), text(rule, "rule"), why);
                    found.rules.push(error);
                }
            }
            Ok(_) => {
                if let Some(given) = rule.get("optionalOldSelf").filter(|v| !v.is_null()) {
                    let why = "may not be set if oldSelf is not used in rule";
                    let error = FieldError::invalid(field("optionalOldSelf"), given.clone(), why);
                    found.rules.push(error);
                }
            }
        }
    }
}

/// A rule as upstream's internal form shows it.
fn shown(rule: &Value) -> Value {
    let or = |key: &str, otherwise: Value| rule.get(key).cloned().unwrap_or(otherwise);
    json!({
        "Rule": or("rule", "".into()),
        "Message": or("message", "".into()),
        "MessageExpression": or("messageExpression", "".into()),
        "Reason": or("reason", Value::Null),
        "FieldPath": or("fieldPath", "".into()),
        "OptionalOldSelf": or("optionalOldSelf", Value::Null),
    })
}

fn words(rule: &Value, schema: &Value, at: &str, found: &mut Found) {
    let lines = |text: &str| text.contains(['\n', '\r']);
    let (expression, message) = (text(rule, "rule").trim(), text(rule, "message"));
    let trimmed = message.trim();
    let field = |name: &str| format!("{at}.{name}");
    let errors = &mut found.schema;
    if expression.is_empty() {
        errors.push(FieldError::required(field("rule"), "rule is not specified"));
    } else if !message.is_empty() && trimmed.is_empty() {
        let why = "must be non-empty if specified";
        errors.push(FieldError::invalid(field("message"), message, why));
    } else if lines(trimmed) {
        let why = "must not contain line breaks";
        errors.push(FieldError::invalid(field("message"), message, why));
    } else if lines(expression) && trimmed.is_empty() {
        let why = "message must be specified if rule contains line breaks";
        errors.push(FieldError::required(field("message"), why));
    }
    let expression = text(rule, "messageExpression");
    if !expression.is_empty() && expression.trim().is_empty() {
        let why = "messageExpression must be non-empty if specified";
        errors.push(FieldError::required(field("messageExpression"), why));
    }
    let reasons = [
        "FieldValueDuplicate",
        "FieldValueForbidden",
        "FieldValueInvalid",
        "FieldValueRequired",
    ];
    if let Some(reason) = rule["reason"].as_str().filter(|r| !reasons.contains(r)) {
        errors.push(FieldError::unsupported(field("reason"), reason, &reasons));
    }
    let given = text(rule, "fieldPath");
    if !given.is_empty() && given.trim().is_empty() {
        let why = "must be non-empty if specified";
        errors.push(FieldError::invalid(field("fieldPath"), given, why));
    }
    if lines(given) {
        let why = "must not contain line breaks";
        errors.push(FieldError::invalid(field("fieldPath"), given, why));
    }
    if !given.is_empty() && path::normalized(given, schema).is_none() {
        let why = "must be a valid path";
        errors.push(FieldError::invalid(field("fieldPath"), given, why));
    }
}
