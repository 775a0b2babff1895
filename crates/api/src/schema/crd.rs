//! The schema of a custom resource, read from its definition and held to upstream's rules for
//! structural schemas.

use super::{Kind, ListType, Rules, Schema, Slot};
use crate::field::{FieldError, join};
use regex::RegexBuilder;
use serde_json::Value;

const METADATA: &str = "apimachinery.pkg.apis.meta.v1.ObjectMeta";
const PATTERN_BYTES: usize = 1 << 20;

impl Schema {
    /// Reads the `openAPIV3Schema` of one version of a definition. Paths in findings are relative
    /// to it; give them their place with [`FieldError::beneath`].
    pub fn from_crd(source: &Value) -> Result<Schema, Vec<FieldError>> {
        let mut found = Vec::new();
        let mut schema = node(source, "", Place::Structure, &mut found);
        if source["type"] != "object" {
            let given = source["type"].as_str().unwrap_or_default();
            found.push(FieldError::invalid(
                "type",
                given,
                "must be object at the root",
            ));
        }
        if !found.is_empty() {
            return Err(found);
        }
        root_fields(&mut schema);
        schema.rules.get_or_insert_with(Box::default).closed = true;
        Ok(schema)
    }
}

/// Every object that is a resource of its own has these, whatever its schema says.
fn root_fields(schema: &mut Schema) {
    for name in ["apiVersion", "kind"] {
        let text = Schema {
            kind: Kind::String,
            ..Schema::default()
        };
        let slot = schema
            .fields
            .entry(name.into())
            .or_insert_with(|| Slot::of(text));
        slot.default = None;
    }
    let metadata = super::builtin::slot_of(METADATA);
    schema.fields.insert("metadata".into(), metadata);
}

#[derive(Clone, Copy, PartialEq)]
enum Place {
    /// Says what there is.
    Structure,
    /// Inside `allOf`, `anyOf`, `oneOf` or `not`: only says what holds.
    Logic,
}

fn node(source: &Value, path: &str, place: Place, found: &mut Vec<FieldError>) -> Schema {
    let mut schema = Schema::default();
    let flag = |name: &str| source[name] == true;
    let int_or_string = flag("x-kubernetes-int-or-string");
    schema.preserve_unknown = flag("x-kubernetes-preserve-unknown-fields");
    schema.embedded = flag("x-kubernetes-embedded-resource");
    schema.nullable = flag("nullable");
    schema.format = source["format"].as_str().map(Box::from);
    schema.kind = kind(
        source,
        path,
        place,
        int_or_string,
        schema.preserve_unknown,
        found,
    );
    forbidden(source, path, place, found);
    if let Some(fields) = source["properties"].as_object() {
        for (name, value) in fields {
            let path = join(path, &format!("properties[{name}]"));
            let slot = slot(value, &path, place, found);
            schema.fields.insert(name.as_str().into(), slot);
        }
    }
    match &source["additionalProperties"] {
        value @ Value::Object(_) => {
            schema.additional = Some(Box::new(slot(
                value,
                &join(path, "additionalProperties"),
                place,
                found,
            )));
        }
        Value::Bool(true) => schema.additional = Some(Box::default()),
        _ => {}
    }
    if source["items"].is_object() {
        schema.items = Some(Box::new(slot(
            &source["items"],
            &join(path, "items"),
            place,
            found,
        )));
    } else if schema.kind == Kind::Array && place == Place::Structure {
        found.push(FieldError::required(
            join(path, "items"),
            "must be specified",
        ));
    }
    schema.required = texts(&source["required"]);
    schema.list = list_type(source, path, &schema, found);
    schema.atomic_map = source["x-kubernetes-map-type"] == "atomic";
    if schema.embedded {
        root_fields(&mut schema);
        for name in ["apiVersion", "kind"] {
            if !schema.required.iter().any(|known| &**known == name) {
                schema.required.push(name.into());
            }
        }
    }
    schema.rules = rules(source, path, found).map(Box::new);
    if !schema.preserve_unknown
        && source["properties"].is_null()
        && schema.additional.is_none()
        && schema.kind == Kind::Object
    {
        schema.rules.get_or_insert_with(Box::default).closed = true;
    }
    schema
}

fn slot(source: &Value, path: &str, place: Place, found: &mut Vec<FieldError>) -> Slot {
    let mut slot = Slot::of(node(source, path, place, found));
    if let Some(default) = source.get("default") {
        let mut wrong = Vec::new();
        super::check_rules(slot.schema(), default, &join(path, "default"), &mut wrong);
        found.append(&mut wrong);
        slot.default = Some(default.clone());
    }
    slot
}

fn kind(
    source: &Value,
    path: &str,
    place: Place,
    int_or_string: bool,
    preserve: bool,
    found: &mut Vec<FieldError>,
) -> Kind {
    if int_or_string {
        return Kind::IntOrString;
    }
    let known = ["object", "array", "string", "integer", "number", "boolean"];
    let at = |name: &str| join(path, name);
    match source["type"].as_str() {
        Some("object") => Kind::Object,
        Some("array") => Kind::Array,
        Some("string") => Kind::String,
        Some("integer") => Kind::Integer,
        Some("number") => Kind::Number,
        Some("boolean") => Kind::Boolean,
        Some(other) if !other.is_empty() => {
            found.push(FieldError::unsupported(at("type"), other, &known));
            Kind::Any
        }
        _ => {
            if place == Place::Structure && !preserve {
                let what = if path.is_empty() {
                    "must not be empty at the root"
                } else if path.ends_with(']') {
                    "must not be empty for specified object fields"
                } else if path.ends_with("items") {
                    "must not be empty for specified array items"
                } else {
                    "must not be empty for specified object fields"
                };
                found.push(FieldError::required(at("type"), what));
            }
            Kind::Any
        }
    }
}

fn forbidden(source: &Value, path: &str, place: Place, found: &mut Vec<FieldError>) {
    let at = |name: &str| join(path, name);
    for (name, why) in [
        ("$ref", "$ref is not supported"),
        ("definitions", "definitions is not supported"),
        ("dependencies", "dependencies is not supported"),
        ("patternProperties", "patternProperties is not supported"),
        ("additionalItems", "additionalItems is not supported"),
        ("id", "id is not supported"),
    ] {
        if source.get(name).is_some_and(|value| !value.is_null()) {
            found.push(FieldError::forbidden(at(name), why));
        }
    }
    if source["uniqueItems"] == true {
        found.push(FieldError::forbidden(
            at("uniqueItems"),
            "uniqueItems cannot be set to true since the runtime complexity becomes quadratic",
        ));
    }
    if source["properties"].is_object() && source["additionalProperties"] == Value::Bool(false) {
        found.push(FieldError::forbidden(
            at("additionalProperties"),
            "additionalProperties cannot be set to false",
        ));
    }
    if source["properties"].is_object() && source["additionalProperties"].is_object() {
        found.push(FieldError::forbidden(
            at("additionalProperties"),
            "additionalProperties and properties are mutual exclusive",
        ));
    }
    if place == Place::Logic {
        for name in [
            "default",
            "nullable",
            "additionalProperties",
            "description",
            "title",
        ] {
            if source
                .get(name)
                .is_some_and(|value| !value.is_null() && value != &Value::Bool(false))
                && name != "description"
                && name != "title"
            {
                found.push(FieldError::forbidden(
                    at(name),
                    "must be undefined to be structural",
                ));
            }
        }
    }
}

fn list_type(source: &Value, path: &str, schema: &Schema, found: &mut Vec<FieldError>) -> ListType {
    let at = |name: &str| join(path, name);
    let keys = texts(&source["x-kubernetes-list-map-keys"]);
    match source["x-kubernetes-list-type"].as_str() {
        None | Some("atomic") => ListType::Atomic,
        Some("set") => ListType::Set,
        Some("map") => {
            if keys.is_empty() {
                found.push(FieldError::required(
                    at("x-kubernetes-list-map-keys"),
                    "must not be empty if x-kubernetes-list-type is map",
                ));
            }
            let items = schema.items.as_ref().map(|slot| slot.schema());
            for (index, key) in keys.iter().enumerate() {
                if !items.is_some_and(|items| items.fields.contains_key(key)) {
                    let field = at(&format!("x-kubernetes-list-map-keys[{index}]"));
                    found.push(FieldError::invalid(
                        field,
                        &**key,
                        "entries must all be names of item properties",
                    ));
                }
            }
            ListType::Map(keys)
        }
        Some(other) => {
            found.push(FieldError::unsupported(
                at("x-kubernetes-list-type"),
                other,
                &["atomic", "map", "set"],
            ));
            ListType::Atomic
        }
    }
}

fn rules(source: &Value, path: &str, found: &mut Vec<FieldError>) -> Option<Rules> {
    let number = |name: &str| source[name].as_f64();
    let whole = |name: &str| source[name].as_u64();
    let mut nested = |name: &str| -> Vec<Schema> {
        let list = source[name]
            .as_array()
            .map(Vec::as_slice)
            .unwrap_or_default();
        list.iter()
            .enumerate()
            .map(|(at, value)| {
                node(
                    value,
                    &join(path, &format!("{name}[{at}]")),
                    Place::Logic,
                    found,
                )
            })
            .collect()
    };
    let (all_of, any_of, one_of) = (nested("allOf"), nested("anyOf"), nested("oneOf"));
    let not = source["not"].is_object().then(|| {
        Box::new(node(
            &source["not"],
            &join(path, "not"),
            Place::Logic,
            found,
        ))
    });
    let pattern = source["pattern"]
        .as_str()
        .filter(|pattern| !pattern.is_empty())
        .and_then(
            |pattern| match RegexBuilder::new(pattern).size_limit(PATTERN_BYTES).build() {
                Ok(regex) => Some(regex),
                Err(error) => {
                    let detail = format!("must be a valid regular expression, but isn't: {error}");
                    found.push(FieldError::invalid(join(path, "pattern"), pattern, detail));
                    None
                }
            },
        );
    let rules = Rules {
        allowed: source["enum"].as_array().cloned().unwrap_or_default(),
        minimum: number("minimum").map(|n| (n, source["exclusiveMinimum"] == true)),
        maximum: number("maximum").map(|n| (n, source["exclusiveMaximum"] == true)),
        multiple_of: number("multipleOf"),
        length: (whole("minLength"), whole("maxLength")),
        pattern,
        items: (whole("minItems"), whole("maxItems")),
        properties: (whole("minProperties"), whole("maxProperties")),
        all_of,
        any_of,
        one_of,
        not,
        closed: false,
    };
    let empty = rules.allowed.is_empty()
        && rules.minimum.is_none()
        && rules.maximum.is_none()
        && rules.multiple_of.is_none()
        && rules.length == (None, None)
        && rules.pattern.is_none()
        && rules.items == (None, None)
        && rules.properties == (None, None)
        && rules.all_of.is_empty()
        && rules.any_of.is_empty()
        && rules.one_of.is_empty()
        && rules.not.is_none();
    (!empty).then_some(rules)
}

fn texts(value: &Value) -> Vec<Box<str>> {
    let items = value.as_array().map(Vec::as_slice).unwrap_or_default();
    items
        .iter()
        .filter_map(Value::as_str)
        .map(Box::from)
        .collect()
}
