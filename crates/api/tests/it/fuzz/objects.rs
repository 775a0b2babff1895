//! Whole objects on their way in, as a server takes them: definitions of kinds with all that is
//! made of their schemas, and objects of built-in kinds through checks, defaults and columns.

use super::words::{NAMES, SCHEMAS};
use super::{corpus, findings, parsed};
use crate::mutate;
use serde_json::json;
use towpath_api::{
    apply, cel, convert, defaults, generation, openapi, schema, table, unknown, validate,
};

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
