//! Every decoder of this crate under mutated inputs: no panic, an end within a second, and what
//! was read can be written and read again.

use crate::mutate;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use towpath_api::{
    apply, cel, convert, defaults, field::FieldError, generation, json as text, jsonpath, merge,
    openapi, protobuf, quantity, schema, selector, table, time, unknown, validate,
};

const NAMES: &[&str] = &[
    "metadata",
    "name",
    "namespace",
    "labels",
    "annotations",
    "ownerReferences",
    "finalizers",
    "managedFields",
    "fieldsV1",
    "creationTimestamp",
    "spec",
    "status",
    "template",
    "selector",
    "matchLabels",
    "containers",
    "initContainers",
    "ports",
    "containerPort",
    "protocol",
    "env",
    "volumes",
    "replicas",
    "strategy",
    "rollingUpdate",
    "maxSurge",
    "25%",
    "resources",
    "limits",
    "cpu",
    "500m",
    "apiVersion",
    "kind",
    "v1",
    "apps/v1",
    "Pod",
    "Deployment",
];
const PATCHES: &[&str] = &[
    "$patch",
    "replace",
    "delete",
    "merge",
    "$retainKeys",
    "$setElementOrder/containers",
    "$deleteFromPrimitiveList/finalizers",
    "op",
    "add",
    "remove",
    "move",
    "copy",
    "test",
    "path",
    "from",
    "value",
    "/spec/replicas",
    "/metadata/labels/a~1b",
    "/spec/template/spec/containers/-",
    "/spec/template/spec/containers/99999999999999999999",
    "containers",
    "name",
    "spec",
    "template",
    "ports",
    "containerPort",
    "volumes",
    "null",
];
const SCHEMAS: &[&str] = &[
    "type",
    "object",
    "array",
    "string",
    "integer",
    "number",
    "boolean",
    "properties",
    "items",
    "additionalProperties",
    "required",
    "enum",
    "default",
    "nullable",
    "pattern",
    "minLength",
    "maxLength",
    "minimum",
    "maximum",
    "multipleOf",
    "format",
    "date-time",
    "int32",
    "x-kubernetes-preserve-unknown-fields",
    "x-kubernetes-int-or-string",
    "x-kubernetes-list-type",
    "map",
    "set",
    "atomic",
    "x-kubernetes-list-map-keys",
    "x-kubernetes-map-type",
    "x-kubernetes-embedded-resource",
    "x-kubernetes-validations",
    "rule",
    "message",
    "self.a == oldSelf.a",
    "allOf",
    "anyOf",
    "oneOf",
    "not",
    "openAPIV3Schema",
];
const EXPRESSIONS: &[&str] = &[
    "self",
    "oldSelf",
    "size(",
    ".all(x, ",
    ".exists(x, ",
    ".map(x, ",
    ".filter(x, ",
    "matches('(a+)+$')",
    ".matches(",
    " in ",
    " && ",
    " || ",
    " ? ",
    " : ",
    "!",
    "[",
    "]",
    "{",
    "}",
    "(",
    ")",
    "1u",
    "-9223372036854775808",
    "'a'",
    "r'\\d'",
    "b'x'",
    "\"\"\"",
    "duration('1h')",
    "timestamp('2024-01-01T00:00:00Z')",
    "quantity('1Gi')",
    "optional.of(",
    ".?a",
    "[?0]",
    ".orValue(",
    "type(",
    "dyn(",
    "has(",
    ".format([",
    ".split('')",
    ".replace('', 'aa')",
    "lists.range(1000000)",
    ".transformMap(k, v, ",
    "semver('1.0.0')",
    "url('http://a')",
    "cidr('10.0.0.0/8')",
];

fn corpus(decoder: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/corpus/fuzz")
        .join(decoder)
}

fn parsed(input: &[u8]) -> Result<Value, String> {
    let limits = text::Limits::default();
    text::parse(input, limits)
        .map(|(value, _)| value)
        .map_err(|error| format!("unread {error}"))
}

fn has_fraction(value: &Value) -> bool {
    match value {
        Value::Array(list) => list.iter().any(has_fraction),
        Value::Object(map) => map.values().any(has_fraction),
        value => value.is_f64(),
    }
}

fn findings(found: &[FieldError]) -> String {
    found
        .iter()
        .take(3)
        .map(|error| format!("{error:?} "))
        .collect()
}

#[test]
fn protobuf_to_objects() {
    mutate::run(
        &corpus("protobuf"),
        &["k8s\0", "v1", "Pod", "apps/v1", "\n\0", "\x12\x01"],
        |input| {
            let _ = protobuf::decode_watch_event(input);
            let object = match protobuf::decode(input) {
                Ok(object) => object,
                Err(error) => return error.to_string(),
            };
            // What cannot be written again is of types that nothing checked yet (a quantity of nonsense).
            let Ok(bytes) = protobuf::encode(object.to_string().as_bytes()) else {
                return "read, not written".into();
            };
            let again = protobuf::decode(&bytes).expect("what was written");
            let twice = protobuf::encode(again.to_string().as_bytes()).expect("what was read");
            assert_eq!(protobuf::decode(&twice).expect("twice"), again);
            format!(
                "{} {}",
                object["kind"],
                object.as_object().map_or(0, |o| o.len())
            )
        },
    );
}

#[test]
fn objects_to_protobuf() {
    mutate::run(&corpus("objects"), NAMES, |input| {
        match protobuf::encode(input) {
            Ok(bytes) => {
                let read = protobuf::decode(&bytes).expect("what was written");
                let again = protobuf::encode(read.to_string().as_bytes()).expect("what was read");
                assert_eq!(protobuf::decode(&again).expect("again"), read);
                read["kind"].to_string()
            }
            Err(error) => error.to_string(),
        }
    });
}

#[test]
fn json_with_keys_twice() {
    mutate::run(
        &corpus("json"),
        &["\"a\":1,\"a\":", "[[[[", "{\"a\":", "1e400", "\\u0000"],
        |input| {
            let limits = text::Limits {
                bytes: 16 << 10,
                depth: 40,
            };
            match text::parse(input, limits) {
                Ok((value, twice)) => {
                    // What is no Unicode is read, but not by the plain reader.
                    if let Ok(plain) = serde_json::from_slice::<Value>(input) {
                        assert_eq!(plain, value);
                    }
                    let (again, none) =
                        text::parse(value.to_string().as_bytes(), text::Limits::default())
                            .expect("written");
                    // The last digits of a fraction may move.
                    assert!((again == value || has_fraction(&value)) && none.is_empty());
                    format!("read {}", twice.first().map_or("", String::as_str))
                }
                Err(error) => error.to_string(),
            }
        },
    );
}

#[test]
fn patches() {
    let deployment = schema::builtin("apps", "v1", "Deployment").expect("a schema");
    mutate::run(&corpus("patches"), PATCHES, |input| {
        let value = match parsed(input) {
            Ok(value) => value,
            Err(error) => return error,
        };
        let (object, patch) = (&value["object"], &value["patch"]);
        let mut said = String::new();
        for made in [
            merge::json_patch(object, patch),
            merge::merge_patch(object, patch),
            merge::strategic(deployment, object, patch),
        ] {
            match made {
                Ok(made) => said.push_str(if made == *object { "same " } else { "made " }),
                Err(error) => said.push_str(&error.to_string()),
            }
        }
        said
    });
}

#[test]
fn applies_and_owned_fields() {
    let deployment = schema::builtin("apps", "v1", "Deployment").expect("a schema");
    let words = [
        NAMES,
        &[
            "f:spec",
            "k:{\"name\":\"a\"}",
            "v:\"a\"",
            "i:0",
            ".",
            "f:",
            "k:{",
            "Apply",
            "Update",
            "FieldsV1",
            "manager",
            "operation",
        ],
    ]
    .concat();
    mutate::run(&corpus("apply"), &words, |input| {
        let value = match parsed(input) {
            Ok(value) => value,
            Err(error) => return error,
        };
        let live = value.get("live").filter(|live| live.is_object());
        let config = &value["config"];
        if !config.is_object() {
            return "no object".to_string();
        }
        let writer = apply::Writer {
            manager: "m",
            api_version: "apps/v1",
            subresource: "",
            time: "2026-01-01T00:00:00Z",
        };
        let ignored = apply::Ignored::main(true);
        let said = match apply::apply(deployment, live, config, writer, &ignored, false) {
            Ok(Some(made)) => format!(
                "made {}",
                made["metadata"]["managedFields"]
                    .as_array()
                    .map_or(0, Vec::len)
            ),
            Ok(None) => "same".into(),
            Err(failure) => failure.message,
        };
        let mut new = config.clone();
        apply::update(deployment, live, &mut new, writer, &ignored);
        said
    });
}

#[test]
fn selectors() {
    mutate::run(
        &corpus("selectors"),
        &[
            " in (", " notin (", "!", "=", "==", "!=", ",", ")", ">", "<", "a.b/c",
        ],
        |input| {
            let Ok(words) = std::str::from_utf8(input) else {
                return "no text".to_string();
            };
            let field = selector::Field::parse(words)
                .map(|field| field.matches(&json!({"metadata": {"name": "a"}})));
            let label = match selector::Label::parse(words) {
                Ok(label) => {
                    let again =
                        selector::Label::parse(&label.to_string()).expect("what was written");
                    assert_eq!(again.to_string(), label.to_string());
                    label.matches(&json!({"a": "b"})).to_string()
                }
                Err(error) => error.to_string(),
            };
            format!("{label} {:?}", field.map_err(|error| error.to_string()))
        },
    );
}

#[test]
fn small_grammars() {
    mutate::run(
        &corpus("grammars"),
        &["Ki", "e", "E", "m", "h", "µs", "-", "+", "T", "Z", ":"],
        |input| {
            let Ok(words) = std::str::from_utf8(input) else {
                return "no text".to_string();
            };
            let mut said = String::new();
            if let Ok(amount) = quantity::Quantity::parse(words) {
                let shown = amount.to_string();
                let again = quantity::Quantity::parse(&shown).expect("what was written");
                assert_eq!(again.units(), amount.units(), "{words} {shown}");
                said.push_str("quantity ");
            }
            if let Some(seconds) = time::parse_rfc3339(words) {
                said.push_str("time ");
                if let Some(shown) = time::rfc3339(seconds) {
                    assert_eq!(time::parse_rfc3339(&shown), Some(seconds));
                }
                assert!(time::fraction_nanos(words) < 1_000_000_000);
            }
            if let Some(nanos) = time::parse_go_duration(words) {
                assert_eq!(
                    time::parse_go_duration(&time::go_duration(nanos)),
                    Some(nanos)
                );
                said.push_str("duration");
            }
            said
        },
    );
}

#[test]
fn expressions() {
    use towpath_query::cel::{CALL_LIMIT, Env, Type, Value as Cel};
    let env = Env::new()
        .with("self", Type::Dyn)
        .with("oldSelf", Type::Dyn);
    let object =
        json!({"a": "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa!", "b": [1, 2, 3], "c": {"d": null}});
    mutate::run(&corpus("cel"), EXPRESSIONS, |input| {
        let Ok(words) = std::str::from_utf8(input) else {
            return "no text".to_string();
        };
        match env.compile(words) {
            Ok(program) => {
                let _ = program.estimate(&[]);
                let made = program.eval(
                    &[
                        ("self", Cel::from_json(&object)),
                        ("oldSelf", Cel::from_json(&object)),
                    ],
                    CALL_LIMIT / 10,
                );
                match made.result {
                    Ok(value) => value.type_name().to_string(),
                    Err(error) => format!("{error:?}"),
                }
            }
            Err(issues) => format!("{issues:?}"),
        }
    });
}

#[test]
fn definitions() {
    let object = json!({"apiVersion": "a.b/v1", "kind": "A", "metadata": {"name": "a"}, "spec": {"a": 1, "b": ["x"], "c": {"d": {}}}});
    mutate::run(&corpus("schemas"), SCHEMAS, |input| {
        let source = match parsed(input) {
            Ok(value) => value,
            Err(error) => return error,
        };
        let definition = json!({"metadata": {"name": "as.a.b"}, "spec": {"group": "a.b", "scope": "Namespaced", "names": {"plural": "as", "kind": "A"},
            "versions": [{"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": source}}]}});
        let group = "apiextensions.k8s.io";
        let errors = validate::object(group, "v1", "CustomResourceDefinition", &definition, None);
        let mut said = findings(&errors);
        let rules = cel::Validator::new(&source);
        match schema::Schema::from_crd(&source) {
            Ok(schema) => {
                let mut shown = object.clone();
                unknown::check(&schema, &shown);
                unknown::prune(&schema, &mut shown);
                defaults::custom(&schema, &mut shown);
                let mut errors = validate::custom(&schema, true, &shown, Some(&object));
                if let Some(rules) = &rules {
                    validate::custom_rules(rules, &shown, Some(&object), &mut errors);
                }
                generation::prepare_custom_update(&mut shown, &object, true);
                let writer = apply::Writer {
                    manager: "m",
                    api_version: "a.b/v1",
                    subresource: "",
                    time: "2026-01-01T00:00:00Z",
                };
                let _ = apply::apply(
                    &schema,
                    Some(&object),
                    &shown,
                    writer,
                    &apply::Ignored::main(true),
                    true,
                );
                said.push_str(&findings(&errors));
            }
            Err(errors) => said.push_str(&findings(&errors)),
        }
        let custom = openapi::Custom {
            group: "a.b",
            version: "v1",
            kind: "A",
            list_kind: "AList",
            plural: "as",
            namespaced: true,
            schema: &source,
            status: true,
            scale: false,
        };
        let _ = openapi::v3("a.b", "v1", &[custom]);
        said
    });
}

#[test]
fn whole_objects() {
    mutate::run(&corpus("objects"), NAMES, |input| {
        let mut object = match parsed(input) {
            Ok(value) => value,
            Err(error) => return error,
        };
        let word = |key: &str| object[key].as_str().unwrap_or_default().to_string();
        let (api_version, kind) = (word("apiVersion"), word("kind"));
        let (group, version) = towpath_api::facts::split_api_version(&api_version);
        let Some(known) = schema::builtin(group, version, &kind) else {
            return format!("no kind {kind}");
        };
        let old = object.clone();
        let mut said = unknown::check(known, &object).join(" ");
        unknown::prune(known, &mut object);
        schema::coerce(known, &mut object);
        if let Some(why) = schema::type_error(known, &object) {
            return format!("{said} {why}");
        }
        defaults::apply(group, version, &kind, &mut object);
        let once = object.clone();
        defaults::apply(group, version, &kind, &mut object);
        said.push_str(&findings(&validate::object(
            group,
            version,
            &kind,
            &object,
            Some(&old),
        )));
        let errors = validate::object(group, version, &kind, &object, None);
        assert!(
            !errors.is_empty() || once == object,
            "defaults of defaults: {once} {object}"
        );
        said.push_str(&findings(&errors));
        let printer = table::Printer::builtin(group, &kind);
        assert_eq!(printer.cells(&object, 0).len(), printer.columns().len());
        convert::object(group, version, &kind, &mut object);
        said
    });
}

#[test]
fn columns_and_paths() {
    let object = json!({"metadata": {"name": "a", "creationTimestamp": "2026-01-01T00:00:00Z"}, "spec": {"n": 1, "list": [{"a": 1}, {"a": "b"}]}});
    mutate::run(
        &corpus("columns"),
        &[
            "jsonPath",
            "type",
            "date",
            "integer",
            "{.",
            "..",
            "[*]",
            "[?(@.a==\"b\")]",
            "[-1:]",
            "[0:9:0]",
            "{range ",
            "{end}",
            "\\.",
        ],
        |input| {
            let Ok(words) = std::str::from_utf8(input) else {
                return "no text".to_string();
            };
            let mut said = match jsonpath::Path::parse(words) {
                Ok(path) => format!("{} ", path.find(&object).len()),
                Err(error) => error.to_string(),
            };
            if let Ok(columns) = parsed(input) {
                let printer = table::Printer::custom(Some(&columns));
                said.push_str(&format!("{:?}", printer.cells(&object, 7).len()));
            }
            said
        },
    );
}
