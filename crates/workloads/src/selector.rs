//! Label selectors, matched in place.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use std::collections::BTreeMap;

/// Labels or a plain selector.
pub(crate) type Labels = BTreeMap<String, String>;

static NONE: Labels = Labels::new();

/// Labels of metadata, perhaps none.
pub(crate) fn or_none(labels: Option<&Labels>) -> &Labels {
    labels.unwrap_or(&NONE)
}

/// Whether every pair of `selector` is in `labels`. An empty selector matches everything.
pub(crate) fn equal(selector: &Labels, labels: Option<&Labels>) -> bool {
    let labels = or_none(labels);
    selector
        .iter()
        .all(|(key, value)| labels.get(key) == Some(value))
}

/// Whether a selector with expressions matches. An empty one matches everything; an operator
/// that is not known matches nothing.
pub(crate) fn matches(selector: &LabelSelector, labels: Option<&Labels>) -> bool {
    let have = or_none(labels);
    let pairs = selector
        .match_labels
        .as_ref()
        .is_none_or(|pairs| equal(pairs, labels));
    pairs
        && selector
            .match_expressions
            .iter()
            .flatten()
            .all(|expression| {
                let value = have.get(&expression.key);
                let listed = |v: &String| expression.values.iter().flatten().any(|x| x == v);
                match expression.operator.as_str() {
                    "In" => value.is_some_and(listed),
                    "NotIn" => !value.is_some_and(listed),
                    "Exists" => value.is_some(),
                    "DoesNotExist" => value.is_none(),
                    _ => false,
                }
            })
}

/// Whether a selector has no requirement at all.
pub(crate) fn is_empty(selector: &LabelSelector) -> bool {
    selector
        .match_labels
        .as_ref()
        .is_none_or(BTreeMap::is_empty)
        && selector
            .match_expressions
            .as_ref()
            .is_none_or(Vec::is_empty)
}

/// Parses the text form that the scale subresource reports (`a=b,c in (d,e),!f`).
pub(crate) fn parse(text: &str) -> Option<LabelSelector> {
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelectorRequirement as Requirement;
    let mut found = Vec::new();
    let mut rest = text.trim();
    while !rest.is_empty() {
        let (term, after) = term(rest);
        rest = after;
        let term = term.trim();
        let make = |key: &str, operator: &str, values: Option<Vec<String>>| Requirement {
            key: key.trim().to_string(),
            operator: operator.to_string(),
            values,
        };
        let list = |text: &str| -> Option<Vec<String>> {
            let inner = text.trim().strip_prefix('(')?.strip_suffix(')')?;
            Some(inner.split(',').map(|v| v.trim().to_string()).collect())
        };
        let requirement = if let Some((key, values)) = term.split_once(" notin ") {
            make(key, "NotIn", Some(list(values)?))
        } else if let Some((key, values)) = term.split_once(" in ") {
            make(key, "In", Some(list(values)?))
        } else if let Some((key, value)) = term.split_once("!=") {
            make(key, "NotIn", Some(vec![value.trim().to_string()]))
        } else if let Some((key, value)) = term.split_once("==").or_else(|| term.split_once('=')) {
            make(key, "In", Some(vec![value.trim().to_string()]))
        } else if let Some(key) = term.strip_prefix('!') {
            make(key, "DoesNotExist", None)
        } else {
            make(term, "Exists", None)
        };
        if requirement.key.is_empty() || requirement.key.contains([' ', '(', ')']) {
            return None;
        }
        found.push(requirement);
    }
    Some(LabelSelector {
        match_expressions: Some(found),
        match_labels: None,
    })
}

// Cuts at the first comma outside parentheses.
fn term(text: &str) -> (&str, &str) {
    let mut depth = 0i32;
    for (at, character) in text.char_indices() {
        match character {
            '(' => depth += 1,
            ')' => depth -= 1,
            ',' if depth == 0 => return (&text[..at], &text[at + 1..]),
            _ => {}
        }
    }
    (text, "")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(pairs: &[(&str, &str)]) -> Labels {
        pairs
            .iter()
            .map(|(k, v)| (k.to_string(), v.to_string()))
            .collect()
    }

    #[test]
    fn text_form_matches_as_the_field_does() {
        let have = labels(&[("app", "web"), ("tier", "front")]);
        for (text, expected) in [
            ("", true),
            ("app=web", true),
            ("app==web,tier=front", true),
            ("app!=web", false),
            ("app in (api, web),tier", true),
            ("tier notin (front)", false),
            ("!missing", true),
            ("!app", false),
            ("missing", false),
        ] {
            let selector = parse(text).expect(text);
            assert_eq!(matches(&selector, Some(&have)), expected, "{text}");
        }
        assert!(parse("a in b").is_none());
        assert!(parse("=x").is_none());
    }

    #[test]
    fn an_unknown_operator_matches_nothing() {
        let selector: LabelSelector = serde_json::from_str(
            r#"{"matchExpressions":[{"key":"a","operator":"Gt","values":["1"]}]}"#,
        )
        .expect("selector");
        assert!(!matches(&selector, Some(&labels(&[("a", "2")]))));
    }
}
