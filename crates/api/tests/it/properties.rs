//! No input makes a parser panic, and what is printed can be read again.

use proptest::prelude::*;
use serde_json::{Map, Value};
use towpath_api::{json, jsonpath, names, quantity, schema, selector, time, unknown};

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i32>().prop_map(Value::from),
        "[a-z$/.]{0,8}".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 40, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            prop::collection::vec((key(), inner), 0..6)
                .prop_map(|entries| Value::Object(entries.into_iter().collect::<Map<_, _>>())),
        ]
    })
}

/// Keys that mean something somewhere, so that walks go deep.
fn key() -> impl Strategy<Value = String> {
    prop::sample::select(vec![
        "metadata",
        "spec",
        "status",
        "template",
        "containers",
        "name",
        "labels",
        "ports",
        "containerPort",
        "$patch",
        "$retainKeys",
        "$setElementOrder/containers",
        "$deleteFromPrimitiveList/finalizers",
        "finalizers",
        "managedFields",
        "selector",
        "matchLabels",
        "volumes",
        "env",
        "replicas",
        "odd",
        "ownerReferences",
        "strategy",
        "rollingUpdate",
    ])
    .prop_map(str::to_string)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn texts_never_panic(text in ".{0,60}") {
        let _ = quantity::Quantity::parse(&text);
        let _ = selector::Label::parse(&text);
        let _ = selector::Field::parse(&text);
        let _ = jsonpath::Path::parse(&text);
        let _ = time::parse_rfc3339(&text);
        let _ = json::parse(text.as_bytes(), json::Limits::default());
        for rule in [names::dns1123_label, names::dns1123_subdomain, names::qualified_name, names::label_value, names::config_key, names::port_name] {
            let _ = rule(&text);
        }
    }

    #[test]
    fn quantities_round_trip(text in "[+-]?[0-9]{1,12}(\\.[0-9]{0,9})?(n|u|m|k|M|G|T|Ki|Mi|Gi|e[0-9])?") {
        let first = quantity::Quantity::parse(&text).unwrap();
        let shown = first.to_string();
        let second = quantity::Quantity::parse(&shown).unwrap();
        // A binary amount may show as a number that reads as a decimal one, as upstream's does.
        prop_assert_eq!(quantity::Quantity::parse(&second.to_string()).unwrap(), second);
        prop_assert_eq!(first, second, "{}", shown);
        prop_assert_eq!(first.units(), second.units());
    }

    #[test]
    fn selectors_round_trip(text in "[a-z]{1,5}(=[a-z]{0,4}|!=[a-z]{1,4}| in \\([a-z]{1,3},[a-z]{1,3}\\)| notin \\([a-z]{1,3}\\))?(,![a-z]{1,3})?") {
        let first = selector::Label::parse(&text).unwrap();
        let second = selector::Label::parse(&first.to_string()).unwrap();
        prop_assert_eq!(first.to_string(), second.to_string());
    }

    #[test]
    fn parsing_json_agrees_with_the_plain_parser(value in value()) {
        let (parsed, _) = json::parse(value.to_string().as_bytes(), json::Limits::default()).unwrap();
        prop_assert_eq!(parsed, value);
    }

    #[test]
    fn objects_never_panic(mut object in value(), patch in value()) {
        let kind = schema::builtin("apps", "v1", "Deployment").unwrap();
        let _ = schema::type_error(kind, &object);
        let _ = unknown::check(kind, &object);
        let _ = towpath_api::merge::strategic(kind, &object, &patch);
        let _ = towpath_api::merge::merge_patch(&object, &patch);
        let _ = towpath_api::merge::json_patch(&object, &patch);
        let _ = schema::Schema::from_crd(&object);
        let _ = towpath_api::table::Printer::builtin("", "Pod").cells(&object, 0);
        let _ = towpath_api::validate::object("apps", "v1", "Deployment", &object, Some(&patch));
        let writer = towpath_api::apply::Writer { manager: "m", api_version: "apps/v1", subresource: "", time: "2026-01-01T00:00:00Z" };
        let ignored = towpath_api::apply::Ignored::main(true);
        let _ = towpath_api::apply::apply(kind, Some(&object), &patch, writer, &ignored, true);
        if object.is_object() {
            towpath_api::apply::update(kind, Some(&patch), &mut object.clone(), writer, &ignored);
        }
        towpath_api::defaults::apply("apps", "v1", "Deployment", &mut object);
        let once = object.clone();
        towpath_api::defaults::apply("apps", "v1", "Deployment", &mut object);
        prop_assert_eq!(once, object);
    }

    #[test]
    fn applying_twice_changes_nothing(spec in value(), other in value()) {
        let schema = free();
        let config = |spec: &Value| serde_json::json!({"apiVersion": "x.y/v1", "kind": "X", "metadata": {"name": "a"}, "spec": {"free": spec}});
        let put = |live: Option<&Value>, spec: &Value, manager: &str, force: bool| {
            let writer = towpath_api::apply::Writer { manager, api_version: "x.y/v1", subresource: "", time: "2026-01-01T00:00:00Z" };
            towpath_api::apply::apply(&schema, live, &config(spec), writer, &towpath_api::apply::Ignored::default(), force)
        };
        let first = put(None, &spec, "a", false).unwrap().unwrap();
        prop_assert_eq!(put(Some(&first), &spec, "a", false).unwrap(), None);
        // Forcing always succeeds, after which the second one's values are there and stay.
        if let Some(second) = put(Some(&first), &other, "b", true).unwrap() {
            prop_assert_eq!(put(Some(&second), &other, "b", false).unwrap(), None);
        }
    }
}

fn free() -> schema::Schema {
    schema::Schema::from_crd(&serde_json::json!({"type": "object", "properties": {"spec": {"type": "object", "properties": {
        "free": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}}}}})).unwrap()
}
