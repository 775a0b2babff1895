//! Changes to an object that come from outside: patches of three kinds, and applies with what they
//! say about owners of fields.

use super::words::{NAMES, PATCHES};
use super::{corpus, parsed};
use crate::mutate;
use towpath_api::{apply, merge, schema};

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
