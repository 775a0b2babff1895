//! Objects in the version and form a client asked for: as they are, as tables, as metadata.

use crate::accept::{Form, negotiate};
use crate::core::{Call, Core};
use crate::kinds::Resource;
use crate::model;
use crate::route::Target;
use serde_json::{Value, json};
use std::sync::Arc;
use towpath_api::status::{self, Failure};
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

/// The form that is asked for, where it is one of a single object or of a list as wanted.
pub(crate) fn wanted(call: &Call, list: Option<&str>) -> Result<Form, Failure> {
    let accept = call.header(http::header::ACCEPT);
    let form = negotiate(accept)?;
    let whole = accept.contains("as=PartialObjectMetadataList");
    let refused = |text: String| {
        let mut failure = status::not_acceptable(&[]);
        failure.message = text;
        Err(failure)
    };
    match (form, list) {
        (Form::Partial, Some(kind)) if !whole => refused(format!(
            "you requested PartialObjectMetadata, but the requested object is a list (*core.{kind})"
        )),
        (Form::Partial, None) if whole => refused(
            "you requested PartialObjectMetadataList, but the requested object is not a list"
                .into(),
        ),
        (Form::Table, _) if Include::parse(call.query.get("includeObject")).is_none() => {
            Err(status::bad_request(format!(
                "Unable to convert to Table as requested: includeObject: Invalid value: {:?}: must be 'Metadata', 'Object', 'None', or empty",
                call.query.get("includeObject").unwrap_or_default()
            )))
        }
        (form, _) => Ok(form),
    }
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

/// Lists of custom resources always have their `continue`.
pub(crate) fn list_metadata(resource: &Resource, mut metadata: Value) -> Value {
    if resource.is_custom() && metadata["continue"].is_null() {
        metadata["continue"] = "".into();
    }
    metadata
}

/// A list in the wanted form.
pub(crate) fn many(
    call: &Call,
    target: &Target,
    form: Form,
    objects: Vec<Value>,
    metadata: Value,
) -> Value {
    let metadata = match form {
        Form::Object => list_metadata(&target.resource, metadata),
        _ => metadata,
    };
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
