//! Objects in the version and form a client asked for: as they are, as tables, as metadata.

use crate::accept::{Form, negotiate};
use crate::core::{Call, Core};
use crate::kinds::Resource;
use crate::model;
use crate::route::Target;
use serde_json::{Value, json};
use std::sync::Arc;
use towpath_api::status::Failure;
use towpath_api::table::Include;

/// Form and resource of an answer that goes on (a watch).
pub(crate) struct Shown {
    pub(crate) form: Form,
    pub(crate) resource: Arc<Resource>,
    include: Include,
}

/// A stored object in the version of a resource.
pub(crate) fn serve_version(resource: &Resource, mut object: Value) -> Value {
    if !resource.is_stored_form() {
        model::from_stored(resource, &mut object);
    }
    object
}

fn partial(object: Value) -> Value {
    let metadata = match object {
        Value::Object(mut map) => map.remove("metadata").unwrap_or_default(),
        _ => Value::Null,
    };
    json!({"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": metadata})
}

/// How much of each object a table carries.
fn include(call: &Call) -> Include {
    Include::parse(call.query.get("includeObject")).unwrap_or(Include::Metadata)
}

/// One object in the wanted form.
pub(crate) fn one(call: &Call, target: &Target, form: Form, object: Value) -> Value {
    match form {
        Form::Object => object,
        Form::Partial => partial(object),
        Form::Table => {
            let metadata = json!({"resourceVersion": object["metadata"]["resourceVersion"]});
            model::table(
                &target.resource,
                &[object],
                metadata,
                include(call),
                now(&call.core),
            )
        }
    }
}

/// A list in the wanted form.
pub(crate) fn many(
    call: &Call,
    target: &Target,
    form: Form,
    objects: Vec<Value>,
    metadata: Value,
) -> Value {
    match form {
        Form::Object => json!({
            "kind": target.resource.list_kind,
            "apiVersion": target.resource.api_version(),
            "metadata": metadata,
            "items": objects,
        }),
        Form::Partial => json!({
            "kind": "PartialObjectMetadataList",
            "apiVersion": "meta.k8s.io/v1",
            "metadata": metadata,
            "items": objects.into_iter().map(partial).collect::<Vec<_>>(),
        }),
        Form::Table => model::table(
            &target.resource,
            &objects,
            metadata,
            include(call),
            now(&call.core),
        ),
    }
}

fn now(core: &Core) -> i64 {
    core.clock.since_epoch().as_secs() as i64
}

impl Shown {
    /// Form and place of a request's answer.
    pub(crate) fn of(call: &Call, target: &Target) -> Result<Self, Failure> {
        let form = negotiate(call.header(http::header::ACCEPT))?;
        Ok(Self {
            form,
            resource: target.resource.clone(),
            include: include(call),
        })
    }

    /// Object of a watch event.
    pub(crate) fn event_object(&self, core: &Core, object: Value) -> Value {
        match self.form {
            Form::Object => object,
            Form::Partial => partial(object),
            Form::Table => {
                let metadata = json!({"resourceVersion": object["metadata"]["resourceVersion"]});
                model::table(&self.resource, &[object], metadata, self.include, now(core))
            }
        }
    }

    /// Object of a bookmark.
    pub(crate) fn bookmark(&self, metadata: Value) -> Value {
        match self.form {
            Form::Object => {
                json!({"kind": self.resource.kind, "apiVersion": self.resource.api_version(), "metadata": metadata})
            }
            Form::Partial => {
                json!({"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": metadata})
            }
            // The revision and annotations travel in the one row's object.
            Form::Table => json!({
                "kind": "Table", "apiVersion": "meta.k8s.io/v1",
                "metadata": {"resourceVersion": metadata["resourceVersion"]},
                "columnDefinitions": [],
                "rows": [{"cells": [], "object": {"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": metadata}}],
            }),
        }
    }
}
