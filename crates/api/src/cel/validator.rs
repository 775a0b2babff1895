//! Objects held to the rules of their schema.
//!
//! A rule sees the value at its place, and the value that was there before where the two can be
//! told to be the same thing: fields and entries by name, elements of lists by their keys. What
//! breaks a rule that is about the present value only, and has not changed, is let through.

use super::{KEY, Rule, compile, list, shape, text};
use crate::field::{ErrorKind, FieldError, join};
use serde_json::Value as Json;
use std::collections::BTreeMap;
use std::sync::Arc;
use towpath_query::cel::{CALL_LIMIT, Error, Shape, Value, Variables};

/// Most all rules of one object may cost.
const OBJECT_LIMIT: u64 = 10_000_000;
const MESSAGE_BYTES: usize = 5 * 1024;

/// The rules of a schema.
#[derive(Debug)]
pub struct Validator {
    /// Where there are rules.
    shape: Option<Arc<Shape>>,
    /// `type` of the schema, which findings show.
    kind: String,
    /// Of a list whose elements have identities.
    keys: Vec<String>,
    rules: Vec<Rule>,
    all_of: Vec<Validator>,
    fields: BTreeMap<String, Validator>,
    additional: Option<Box<Validator>>,
    items: Option<Box<Validator>>,
}

impl Validator {
    /// The rules of a definition's schema; none where it has none.
    pub fn new(schema: &Json) -> Option<Validator> {
        build(schema, schema, true)
    }

    /// The rules that a part of a schema has for values of it.
    pub(super) fn of_part(schema: &Json) -> Option<Validator> {
        build(schema, schema, false)
    }

    /// All findings about an object.
    pub fn check(&self, new: &Json, old: Option<&Json>) -> Vec<FieldError> {
        let mut run = Run {
            left: OBJECT_LIMIT,
            found: Vec::new(),
        };
        // Running out is a finding already.
        let _ = run.node(self, "", new, old, Same::of(new, old));
        run.found
    }
}

fn build(rules: &Json, schema: &Json, root: bool) -> Option<Validator> {
    let root = root || schema["x-kubernetes-embedded-resource"] == true;
    // Only where it is needed: it is made of all that is beneath.
    let (mut own, mut compiled) = (None, Vec::new());
    if !list(rules, KEY).is_empty() {
        let shape = shape(schema, root, "selfType")?;
        let all = list(rules, KEY).iter();
        compiled = all
            .filter_map(|rule| compile(rule, schema, &shape)?.0.ok())
            .collect();
        own = Some(shape);
    }
    let mut fields = BTreeMap::new();
    for (name, field) in rules["properties"].as_object().into_iter().flatten() {
        if let Some(own) = schema["properties"].get(name)
            && let Some(found) = build(field, own, false)
        {
            fields.insert(name.clone(), found);
        }
    }
    let beneath = |key: &str| {
        let both = rules[key].is_object() && schema[key].is_object();
        both.then(|| build(&rules[key], &schema[key], false).map(Box::new))
            .flatten()
    };
    let all_of = list(rules, "allOf");
    let keys = match text(schema, "x-kubernetes-list-type") {
        "map" => list(schema, "x-kubernetes-list-map-keys"),
        _ => &[],
    };
    let found = Validator {
        shape: own,
        kind: text(schema, "type").to_string(),
        keys: keys
            .iter()
            .filter_map(|key| key.as_str().map(String::from))
            .collect(),
        rules: compiled,
        all_of: all_of
            .iter()
            .filter_map(|nested| build(nested, schema, root))
            .collect(),
        fields,
        additional: beneath("additionalProperties"),
        items: beneath("items"),
    };
    let empty = found.rules.is_empty()
        && found.all_of.is_empty()
        && found.fields.is_empty()
        && found.additional.is_none()
        && found.items.is_none();
    (!empty).then_some(found)
}

/// Whether the nearest value that can be compared with its old one is the same.
#[derive(Clone, Copy, PartialEq)]
enum Same {
    Yes,
    No,
}

impl Same {
    fn of(new: &Json, old: Option<&Json>) -> Same {
        match old {
            Some(old) if old == new => Same::Yes,
            _ => Same::No,
        }
    }
}

/// No rule is looked at any more.
struct Spent;

struct Run {
    left: u64,
    found: Vec<FieldError>,
}

struct Scene {
    value: Value,
    old: Option<Value>,
}

impl Variables for Scene {
    fn get(&self, name: &str) -> Option<Result<Value, Error>> {
        match name {
            "self" => Some(Ok(self.value.clone())),
            "oldSelf" => self.old.clone().map(Ok),
            _ => None,
        }
    }
}

impl Run {
    fn node(
        &mut self,
        at: &Validator,
        path: &str,
        new: &Json,
        old: Option<&Json>,
        same: Same,
    ) -> Result<(), Spent> {
        if new.is_null() {
            return Ok(());
        }
        let old = old.filter(|old| !old.is_null());
        self.rules(at, path, new, old, same)?;
        for nested in &at.all_of {
            self.node(nested, path, new, old, same)?;
        }
        match new {
            Json::Object(fields) => {
                for (name, value) in fields {
                    let before = old.and_then(|old| old.get(name));
                    // What cannot be compared goes by what is around it.
                    let same = match before {
                        Some(_) => Same::of(value, before),
                        None => same,
                    };
                    if let Some(inner) = at.fields.get(name) {
                        self.node(inner, &join(path, name), value, before, same)?;
                    } else if let Some(inner) = &at.additional {
                        self.node(inner, &format!("{path}[{name}]"), value, before, same)?;
                    }
                }
            }
            Json::Array(items) => {
                let Some(inner) = &at.items else {
                    return Ok(());
                };
                let before = identified(&at.keys, old);
                for (place, item) in items.iter().enumerate() {
                    let before = identity(&at.keys, item)
                        .and_then(|identity| before.get(&identity).copied());
                    let same = match before {
                        Some(_) => Same::of(item, before),
                        None => same,
                    };
                    self.node(inner, &format!("{path}[{place}]"), item, before, same)?;
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn rules(
        &mut self,
        at: &Validator,
        path: &str,
        new: &Json,
        old: Option<&Json>,
        same: Same,
    ) -> Result<(), Spent> {
        let Some(shape) = at.shape.as_ref().filter(|_| !at.rules.is_empty()) else {
            return Ok(());
        };
        let value = Value::of_shape(new, shape);
        let uses_old = at.rules.iter().any(|rule| rule.uses_old);
        let before = old
            .filter(|_| uses_old)
            .map(|old| Value::of_shape(old, shape));
        let plain = Scene {
            value: value.clone(),
            old: before.clone(),
        };
        let optional = Scene {
            value,
            old: Some(match before {
                Some(old) => Value::some(old),
                None => Value::none(),
            }),
        };
        for rule in &at.rules {
            if rule.uses_old && old.is_none() && !rule.optional_old {
                continue;
            }
            let scene = if rule.optional_old { &optional } else { &plain };
            self.rule(at, rule, path, new, scene, same)?;
        }
        Ok(())
    }

    fn invalid(&mut self, at: &Validator, path: &str, why: impl Into<String>) {
        let error = FieldError::invalid(path_or_root(path), at.kind.as_str(), why);
        self.found.push(error);
    }

    fn rule(
        &mut self,
        at: &Validator,
        rule: &Rule,
        path: &str,
        new: &Json,
        scene: &Scene,
        same: Same,
    ) -> Result<(), Spent> {
        const SPENT: &str = "validation failed due to running out of cost budget, no further validation rules will be run";
        if self.left == 0 {
            self.invalid(at, path, SPENT);
            return Err(Spent);
        }
        let outcome = rule.program.eval(scene, CALL_LIMIT);
        if outcome.cost > self.left {
            self.invalid(at, path, SPENT);
            return Err(Spent);
        }
        self.left -= outcome.cost;
        let words = rule.words();
        match outcome.result {
            Ok(Value::Bool(true)) => return Ok(()),
            Ok(_) => {}
            Err(Error::Limit) => {
                let why = format!(
                    "'{}': no further validation rules will be run due to call cost exceeds limit for rule: {words}",
                    Error::Limit
                );
                self.invalid(at, path, why);
                return Err(Spent);
            }
            Err(error) => {
                let text = error.to_string();
                let why = match text.starts_with("no such overload") {
                    true => format!(
                        "'{text}': call arguments did not match a supported operator, function or macro signature for rule: {words}"
                    ),
                    false => format!("{text} evaluating rule: {words}"),
                };
                self.invalid(at, path, why);
                return Ok(());
            }
        }
        let message = self.message(rule, scene);
        let (detail, last) = match message {
            Ok(Some(detail)) => (detail, false),
            Ok(None) => (rule.default_message(), false),
            Err(why) => (why, true),
        };
        // What was wrong before and is not about the change may stay.
        if rule.uses_old || same == Same::No {
            let field = match rule.field.as_str() {
                "" => path_or_root(path),
                field => join(path, field),
            };
            let whole = matches!(new, Json::Object(_) | Json::Array(_));
            let error = match last {
                true => FieldError::invalid(field, at.kind.as_str(), detail),
                false => broken(rule, field, (!whole).then(|| new.clone()), detail),
            };
            self.found.push(error);
        }
        if last { Err(Spent) } else { Ok(()) }
    }

    /// The text a message expression gives; none where it gives none, an error where the budget
    /// ends with it.
    fn message(&mut self, rule: &Rule, scene: &Scene) -> Result<Option<String>, String> {
        let Some(program) = &rule.message_program else {
            return Ok(None);
        };
        let outcome = program.eval(scene, CALL_LIMIT);
        if outcome.cost > self.left {
            return Err("messageExpression evaluation failed due to running out of cost budget, no further validation rules will be run".into());
        }
        self.left -= outcome.cost;
        match outcome.result {
            Err(Error::Limit) => Err(
                "no further validation rules will be run due to call cost exceeds limit for messageExpression".into(),
            ),
            Ok(Value::String(text)) => {
                let text = text.trim();
                let fits = !text.is_empty() && text.len() <= MESSAGE_BYTES && !text.contains('\n');
                Ok(fits.then(|| text.to_string()))
            }
            _ => Ok(None),
        }
    }
}

// Upstream's path of the object itself.
fn path_or_root(path: &str) -> String {
    match path {
        "" => "<nil>".into(),
        path => path.into(),
    }
}

fn broken(rule: &Rule, field: String, value: Option<Json>, detail: String) -> FieldError {
    let hidden = value.is_none();
    let value = value.unwrap_or_default();
    let mut error = match rule.reason.as_str() {
        "FieldValueForbidden" => FieldError::forbidden(field, detail),
        "FieldValueRequired" => FieldError::required(field, detail),
        "FieldValueDuplicate" => FieldError::duplicate(field, value),
        _ => FieldError::invalid(field, value, detail),
    };
    error.hides_value = hidden && matches!(error.kind, ErrorKind::Invalid | ErrorKind::Duplicate);
    error
}

impl Rule {
    fn words(&self) -> &str {
        match self.message.as_str() {
            "" => &self.rule,
            message => message,
        }
    }

    fn default_message(&self) -> String {
        match self.message.as_str() {
            "" => format!("failed rule: {}", self.rule),
            message => message.to_string(),
        }
    }
}

/// What an element of a list with keys is known by.
fn identity(keys: &[String], item: &Json) -> Option<String> {
    if keys.is_empty() || !item.is_object() {
        return None;
    }
    let parts: Vec<String> = keys.iter().map(|key| item[key].to_string()).collect();
    Some(parts.join("\u{0}"))
}

fn identified<'a>(keys: &[String], list: Option<&'a Json>) -> BTreeMap<String, &'a Json> {
    let items = list.and_then(Json::as_array).into_iter().flatten();
    items
        .filter_map(|item| Some((identity(keys, item)?, item)))
        .collect()
}
