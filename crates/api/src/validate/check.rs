//! What the rules share: a list of findings and the checks that come up everywhere.

use crate::field::FieldError;
use crate::quantity::Quantity;
use crate::selector::Label;
use serde_json::{Map, Value};

/// Text upstream gives for a field that must stay as it is.
pub(super) const IMMUTABLE: &str = "field is immutable";

#[derive(Default)]
pub(super) struct Check {
    pub(super) errors: Vec<FieldError>,
}

/// An empty list, map or text counts as not given.
pub(super) fn missing(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(_) | Value::Bool(_) | Value::Number(_) => false,
    }
}

pub(super) fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

pub(super) fn list(value: &Value) -> &[Value] {
    value.as_array().map(Vec::as_slice).unwrap_or_default()
}

pub(super) fn entries(value: &Value) -> impl Iterator<Item = (&String, &Value)> {
    value.as_object().into_iter().flat_map(Map::iter)
}

impl Check {
    pub(super) fn add(&mut self, error: FieldError) {
        self.errors.push(error);
    }

    pub(super) fn invalid(&mut self, path: &str, value: impl Into<Value>, why: impl Into<String>) {
        self.add(FieldError::invalid(path, value, why));
    }

    /// The same without showing the value.
    pub(super) fn invalid_plain(&mut self, path: &str, why: impl Into<String>) {
        let mut error = FieldError::invalid(path, Value::Null, why);
        error.hides_value = true;
        self.add(error);
    }

    /// `acme.io/foo`: a domain and a path.
    pub(super) fn domain_path(&mut self, path: &str, value: &str) {
        if value.is_empty() {
            return self.add(FieldError::required(path, ""));
        }
        let Some((domain, rest)) = value
            .split_once('/')
            .filter(|(d, r)| !d.is_empty() && !r.is_empty())
        else {
            let why = "must be a domain-prefixed path (such as \"acme.io/foo\")";
            return self.invalid(path, value, why);
        };
        for why in crate::names::dns1123_subdomain(domain) {
            self.invalid(path, domain, why);
        }
        let allowed = |c: char| c.is_ascii_alphanumeric() || "/%-._~!$&'()*+,;=:@".contains(c);
        if !rest.chars().all(allowed) {
            self.invalid(path, rest, "Invalid path");
        }
    }

    /// Findings of a name grammar about `value`.
    pub(super) fn names(&mut self, path: &str, value: &str, wrong: Vec<String>) {
        for why in wrong {
            self.invalid(path, value, why);
        }
    }

    /// A field that must be given; says whether it is.
    pub(super) fn required(&mut self, path: &str, value: &Value, why: &str) -> bool {
        let is_missing = missing(value);
        if is_missing {
            self.add(FieldError::required(path, why));
        }
        !is_missing
    }

    pub(super) fn not_negative(&mut self, path: &str, value: &Value) {
        if let Some(number) = value.as_i64().filter(|number| *number < 0) {
            self.invalid(path, number, "must be greater than or equal to 0");
        }
    }

    pub(super) fn positive(&mut self, path: &str, value: &Value) {
        if let Some(number) = value.as_i64().filter(|number| *number <= 0) {
            self.invalid(path, number, "must be greater than 0");
        }
    }

    pub(super) fn one_of(&mut self, path: &str, value: &Value, supported: &[&str]) {
        let given = text(value);
        if !supported.contains(&given) {
            self.add(FieldError::unsupported(path, given, supported));
        }
    }

    /// A field that an update must not change.
    pub(super) fn immutable(&mut self, path: &str, new: &Value, old: &Value) {
        if new != old {
            self.invalid(path, new.clone(), IMMUTABLE);
        }
    }

    pub(super) fn port(&mut self, path: &str, value: &Value) {
        let number = value.as_i64().unwrap_or(0);
        for why in crate::names::port_number(number) {
            self.invalid(path, number, why);
        }
    }

    /// A port by number or by name.
    pub(super) fn port_or_name(&mut self, path: &str, value: &Value) {
        match value {
            Value::String(name) => self.names(path, name, crate::names::port_name(name)),
            _ => self.port(path, value),
        }
    }

    /// A count or a percentage, not negative.
    pub(super) fn count_or_percent(&mut self, path: &str, value: &Value) {
        match value {
            Value::String(text) if percent(text).is_none() => self.invalid(
                path,
                text.as_str(),
                "a valid percent string must be a numeric string followed by an ending '%' (e.g. '1%',  or '93%', regex used for validation is '[0-9]+%')",
            ),
            _ => self.not_negative(path, value),
        }
    }

    pub(super) fn labels(&mut self, path: &str, labels: &Value) {
        for (key, value) in entries(labels) {
            self.names(path, key, crate::names::qualified_name(key));
            self.names(path, text(value), crate::names::label_value(text(value)));
        }
    }

    /// A `LabelSelector`.
    pub(super) fn selector(&mut self, path: &str, selector: &Value) {
        self.labels(&format!("{path}.matchLabels"), &selector["matchLabels"]);
        for (at, expression) in list(&selector["matchExpressions"]).iter().enumerate() {
            let path = format!("{path}.matchExpressions[{at}]");
            let values = list(&expression["values"]);
            match text(&expression["operator"]) {
                "In" | "NotIn" if values.is_empty() => {
                    self.add(FieldError::required(
                        format!("{path}.values"),
                        "must be specified when `operator` is 'In' or 'NotIn'",
                    ));
                }
                "Exists" | "DoesNotExist" if !values.is_empty() => {
                    self.add(FieldError::forbidden(
                        format!("{path}.values"),
                        "may not be specified when `operator` is 'Exists' or 'DoesNotExist'",
                    ));
                }
                "In" | "NotIn" | "Exists" | "DoesNotExist" => {}
                other => self.invalid(
                    &format!("{path}.operator"),
                    other,
                    "not a valid selector operator",
                ),
            }
            let key = text(&expression["key"]);
            self.names(
                &format!("{path}.key"),
                key,
                crate::names::qualified_name(key),
            );
        }
    }

    /// Amounts by resource name, none negative.
    pub(super) fn amounts(&mut self, path: &str, amounts: &Value) {
        let standard = |name: &str| {
            matches!(name, "cpu" | "memory" | "ephemeral-storage") || name.starts_with("hugepages-")
        };
        for (name, amount) in entries(amounts) {
            let at = format!("{path}[{name}]");
            resource_name(self, &at, name);
            if !name.contains('/') && !standard(name) {
                self.invalid(
                    &at,
                    name.as_str(),
                    "must be a standard resource for containers",
                );
            }
            let Some(quantity) = amount.as_str().and_then(|text| Quantity::parse(text).ok()) else {
                continue;
            };
            if quantity.sign() < 0 {
                self.invalid(&at, amount.clone(), "must be greater than or equal to 0");
            }
        }
    }
}

fn resource_name(check: &mut Check, path: &str, name: &str) {
    let wrong = crate::names::qualified_name(name);
    let well_formed = wrong.is_empty();
    check.names(path, name, wrong);
    let standard = ["cpu", "memory", "ephemeral-storage", "storage", "pods"].contains(&name)
        || name.starts_with("hugepages-");
    if well_formed && !name.contains('/') && !standard {
        check.invalid(
            path,
            name,
            "must be a standard resource type or fully qualified",
        );
    }
}

/// The number of `25%`.
pub(super) fn percent(text: &str) -> Option<i64> {
    let digits = text.strip_suffix('%')?;
    let plain = !digits.is_empty() && digits.bytes().all(|c| c.is_ascii_digit());
    plain.then(|| digits.parse().ok())?
}

/// Selector and labels of a template must agree.
pub(super) fn selects(check: &mut Check, selector: &Value, template: &Value, path: &str) {
    let labels = &template["metadata"]["labels"];
    match Label::from_object(selector) {
        Err(_) => check.invalid("spec.selector", selector.clone(), "invalid label selector"),
        Ok(label) if label.is_everything() || label.matches(labels) => {}
        Ok(_) => check.invalid(
            &format!("{path}.metadata.labels"),
            super::jobs::sorted(labels),
            "`selector` does not match template `labels`",
        ),
    }
}
