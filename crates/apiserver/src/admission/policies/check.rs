//! Policies and bindings as they are written: expressions compile and give what they must.

use super::read::{Reader, Wanted, list, patch_of, text};
use crate::admission::Change;
use serde_json::Value;
use std::collections::HashSet;
use towpath_api::field::FieldError;
use towpath_api::names;
use towpath_api::status::{self, Failure};

const REASONS: [&str; 3] = ["Forbidden", "Invalid", "RequestEntityTooLarge"];
const ANNOTATIONS: usize = 20;

/// Checks a policy or a binding.
pub(crate) fn check(change: &Change<'_>, new: &Value) -> Result<(), Failure> {
    let resource = &change.target.resource;
    if resource.group != "admissionregistration.k8s.io" || !change.subresource.is_empty() {
        return Ok(());
    }
    let unchanged = change.old.is_some_and(|old| old["spec"] == new["spec"]);
    let errors = match resource.plural.as_str() {
        _ if unchanged => Vec::new(),
        "validatingadmissionpolicies" => policy(new, false),
        "mutatingadmissionpolicies" => policy(new, true),
        "validatingadmissionpolicybindings" => binding(&new["spec"], true),
        "mutatingadmissionpolicybindings" => binding(&new["spec"], false),
        _ => Vec::new(),
    };
    match errors.is_empty() {
        true => Ok(()),
        false => Err(status::invalid(
            &resource.group,
            &resource.kind,
            text(&new["metadata"], "name"),
            &errors,
        )),
    }
}

#[derive(Default)]
struct Findings(Vec<FieldError>);

impl Findings {
    fn required(&mut self, field: &str, why: &str) {
        self.0.push(FieldError::required(field, why));
    }

    fn invalid(&mut self, field: &str, value: &str, why: impl Into<String>) {
        self.0.push(FieldError::invalid(field, value, why));
    }
}

fn policy(new: &Value, mutating: bool) -> Vec<FieldError> {
    let spec = &new["spec"];
    let mut found = Findings::default();
    let params = spec["paramKind"].is_object();
    if params {
        for key in ["apiVersion", "kind"] {
            if text(&spec["paramKind"], key).is_empty() {
                found.required(&format!("spec.paramKind.{key}"), "");
            }
        }
    }
    if !spec["matchConstraints"].is_object() {
        found.required("spec.matchConstraints", "");
    } else {
        rules(
            &spec["matchConstraints"],
            "spec.matchConstraints",
            &mut found,
        );
        if list(&spec["matchConstraints"], "resourceRules").is_empty() {
            found.required("spec.matchConstraints.resourceRules", "");
        }
    }
    conditions(spec, params, &mut found);
    let mut reader = Reader::new(params);
    for (at, variable) in list(spec, "variables").iter().enumerate() {
        let field = |name: &str| format!("spec.variables[{at}].{name}");
        let (name, source) = (text(variable, "name"), text(variable, "expression"));
        if name.trim().is_empty() {
            found.required(&field("name"), "name is not specified");
        } else if !is_identifier(name) {
            found.invalid(&field("name"), name, "must be a valid CEL identifier");
        }
        if source.trim().is_empty() {
            found.required(&field("expression"), "expression is not specified");
        } else if let Err(why) = reader.variable(name, source) {
            found.invalid(&field("expression"), source, why);
        }
    }
    if mutating {
        mutations(spec, &reader, &mut found);
        return found.0;
    }
    let (validations, annotations) = (list(spec, "validations"), list(spec, "auditAnnotations"));
    if validations.is_empty() && annotations.is_empty() {
        let why = "validations or auditAnnotations must contain at least one item";
        found.required("spec.validations", why);
        found.required("spec.auditAnnotations", why);
    }
    for (at, value) in validations.iter().enumerate() {
        validation(
            value,
            &format!("spec.validations[{at}]"),
            &reader,
            &mut found,
        );
    }
    let name = text(&new["metadata"], "name");
    audited(name, annotations, &reader, &mut found);
    found.0
}

fn is_identifier(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

fn conditions(spec: &Value, params: bool, found: &mut Findings) {
    let reader = Reader::new(params);
    let mut seen = HashSet::new();
    for (at, condition) in list(spec, "matchConditions").iter().enumerate() {
        let field = |name: &str| format!("spec.matchConditions[{at}].{name}");
        let (name, source) = (text(condition, "name"), text(condition, "expression"));
        if source.trim().is_empty() {
            found.required(&field("expression"), "");
        } else if let Err(why) = reader.compile(source, Wanted::Bool, false) {
            found.invalid(&field("expression"), source, why);
        }
        if name.is_empty() {
            found.required(&field("name"), "");
        } else if !seen.insert(name) {
            found.0.push(FieldError::duplicate(field("name"), name));
        }
    }
}

fn validation(value: &Value, at: &str, reader: &Reader, found: &mut Findings) {
    let field = |name: &str| format!("{at}.{name}");
    let source = text(value, "expression");
    if source.trim().is_empty() {
        found.required(&field("expression"), "expression is not specified");
    } else if let Err(why) = reader.compile(source, Wanted::Bool, false) {
        found.invalid(&field("expression"), source, why);
    }
    let source = text(value, "messageExpression");
    if !source.is_empty() && source.trim().is_empty() {
        let why = "must be non-empty if specified";
        found.invalid(&field("messageExpression"), source, why);
    } else if !source.is_empty()
        && let Err(why) = reader.compile(source, Wanted::Text, true)
    {
        found.invalid(&field("messageExpression"), source, why);
    }
    let message = text(value, "message");
    if !message.is_empty() && message.trim().is_empty() {
        found.invalid(&field("message"), message, "must be non-empty if specified");
    } else if message.trim().contains(['\n', '\r']) {
        found.invalid(&field("message"), message, "must not contain line breaks");
    }
    if let Some(reason) = value["reason"].as_str().filter(|r| !REASONS.contains(r)) {
        let error = FieldError::unsupported(field("reason"), reason, &REASONS);
        found.0.push(error);
    }
}

fn mutations(spec: &Value, reader: &Reader, found: &mut Findings) {
    let rules = list(&spec["matchConstraints"], "resourceRules").iter();
    for operation in rules.flat_map(|rule| list(rule, "operations")) {
        let known = ["*", "CONNECT", "CREATE", "UPDATE"];
        if !operation.as_str().is_some_and(|one| known.contains(&one)) {
            let field = "spec.matchConstraints.resourceRules.operations";
            let error = FieldError::unsupported(field, operation.clone(), &known);
            found.0.push(error);
        }
    }
    let all = list(spec, "mutations");
    if all.is_empty() {
        found.required("spec.mutations", "mutations must contain at least one item");
    }
    for (at, mutation) in all.iter().enumerate() {
        let field = |name: &str| format!("spec.mutations[{at}].{name}");
        let kind = text(mutation, "patchType");
        let other = match kind {
            "JSONPatch" => "applyConfiguration",
            "ApplyConfiguration" => "jsonPatch",
            "" => {
                found.required(&field("patchType"), "");
                continue;
            }
            given => {
                let known = ["ApplyConfiguration", "JSONPatch"];
                let error = FieldError::unsupported(field("patchType"), given, &known);
                found.0.push(error);
                continue;
            }
        };
        let (_, key, wanted) = patch_of(mutation);
        let source = text(&mutation[key], "expression").trim();
        if !mutation[key].is_object() {
            let why = format!("must be specified when patchType is {kind}");
            found.required(&field(key), &why);
        } else if source.is_empty() {
            found.required(&field(&format!("{key}.expression")), "");
        } else if let Err(why) = reader.compile(source, wanted, false) {
            found.invalid(&field(&format!("{key}.expression")), source, why);
        }
        if mutation[other].is_object() {
            let why = format!("must not be specified when patchType is {kind}");
            found.invalid(&field(other), &format!("{{{other}}}"), why);
        }
    }
    match text(spec, "reinvocationPolicy") {
        "Never" | "IfNeeded" => {}
        "" => found.required("spec.reinvocationPolicy", ""),
        given => {
            let known = ["IfNeeded", "Never"];
            let error = FieldError::unsupported("spec.reinvocationPolicy", given, &known);
            found.0.push(error);
        }
    }
}

fn audited(policy: &str, annotations: &[Value], reader: &Reader, found: &mut Findings) {
    if annotations.len() > ANNOTATIONS {
        let why = format!("must not have more than {ANNOTATIONS} auditAnnotations");
        let error = FieldError::invalid("spec.auditAnnotations", annotations.len(), why);
        found.0.push(error);
    }
    let mut keys = HashSet::new();
    for (at, annotation) in annotations.iter().enumerate() {
        let field = |name: &str| format!("spec.auditAnnotations[{at}].{name}");
        let (key, source) = (text(annotation, "key"), text(annotation, "valueExpression"));
        if key.is_empty() {
            found.required(&field("key"), "");
        } else if !keys.insert(key) {
            found.0.push(FieldError::duplicate(field("key"), key));
        } else {
            let whole = format!("{policy}/{key}");
            for why in names::qualified_name(&whole) {
                found.invalid(&field("key"), &whole, why);
            }
        }
        if source.trim().is_empty() {
            found.required(
                &field("valueExpression"),
                "valueExpression is not specified",
            );
        } else if let Err(why) = reader.compile(source, Wanted::TextOrNull, false) {
            found.invalid(&field("valueExpression"), source, why);
        }
    }
}

/// Rules name what they are about.
fn rules(value: &Value, at: &str, found: &mut Findings) {
    for key in ["resourceRules", "excludeResourceRules"] {
        for (number, rule) in list(value, key).iter().enumerate() {
            for part in ["operations", "apiGroups", "apiVersions", "resources"] {
                if list(rule, part).is_empty() {
                    found.required(&format!("{at}.{key}[{number}].{part}"), "");
                }
            }
        }
    }
}

fn binding(spec: &Value, acts: bool) -> Vec<FieldError> {
    let mut found = Findings::default();
    match text(spec, "policyName") {
        "" => found.required("spec.policyName", ""),
        name => {
            for why in names::dns1123_subdomain(name) {
                found.invalid("spec.policyName", name, why);
            }
        }
    }
    let reference = &spec["paramRef"];
    if reference.is_object() {
        let (name, selector) = (text(reference, "name"), reference["selector"].is_object());
        if !name.is_empty() && selector {
            let why = "name and selector are mutually exclusive";
            for key in ["name", "selector"] {
                let error = FieldError::forbidden(format!("spec.paramRef.{key}"), why);
                found.0.push(error);
            }
        }
        if name.is_empty() && !selector {
            found.required("spec.paramRef", "one of name or selector must be specified");
        }
        if text(reference, "parameterNotFoundAction").is_empty() {
            found.required("spec.paramRef.parameterNotFoundAction", "");
        }
    }
    if spec["matchResources"].is_object() {
        rules(&spec["matchResources"], "spec.matchResources", &mut found);
    }
    if !acts {
        return found.0;
    }
    let actions = list(spec, "validationActions");
    if actions.is_empty() {
        found.required(
            "spec.validationActions",
            "at least one validation action is required",
        );
    }
    let all: Vec<&str> = actions.iter().filter_map(Value::as_str).collect();
    if all.contains(&"Deny") && all.contains(&"Warn") {
        let why = "must not contain both Deny and Warn (repeating the same validation failure information in the API response and headers serves no purpose)";
        let error = FieldError::invalid(
            "spec.validationActions",
            spec["validationActions"].clone(),
            why,
        );
        found.0.push(error);
    }
    let mut seen = HashSet::new();
    for (at, action) in all.iter().enumerate() {
        if !seen.insert(action) {
            let field = format!("spec.validationActions[{at}]");
            found.0.push(FieldError::duplicate(field, *action));
        }
    }
    found.0
}
