//! Objects in the version and form a client asked for: as they are, as tables, as metadata.

use crate::accept::{self, Form, Wanted};
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
    pub(crate) wanted: Wanted,
    pub(crate) resource: Arc<Resource>,
    include: Include,
    /// Columns of a table are told once.
    columns_told: bool,
}

/// A stored object in the version of a resource.
pub(crate) fn serve_version(resource: &Resource, mut object: Value) -> Value {
    if !resource.is_stored_form() {
        model::from_stored(resource, &mut object);
    }
    object
}

fn partial(object: Value, version: &str) -> Value {
    let metadata = match object {
        Value::Object(mut map) => map.remove("metadata").unwrap_or_default(),
        _ => Value::Null,
    };
    json!({"kind": "PartialObjectMetadata", "apiVersion": format!("meta.k8s.io/{version}"), "metadata": metadata})
}

// A table in the version of `meta.k8s.io` that was asked for.
fn in_version(mut table: Value, version: &str) -> Value {
    if version == "v1" {
        return table;
    }
    let version = Value::from(format!("meta.k8s.io/{version}"));
    for row in table["rows"].as_array_mut().into_iter().flatten() {
        if row["object"]["kind"] == "PartialObjectMetadata" {
            row["object"]["apiVersion"] = version.clone();
        }
    }
    table["apiVersion"] = version;
    table
}

/// How much of each object a table carries.
fn include(call: &Call) -> Include {
    Include::parse(call.query.get("includeObject")).unwrap_or(Include::Metadata)
}

/// What is asked for, where it is a form of a single object or of a list (of a kind) as wanted.
pub(crate) fn wanted(call: &Call, target: &Target, list: Option<&str>) -> Result<Wanted, Failure> {
    let wanted = accept::wanted(call.header(http::header::ACCEPT), target)?;
    let refused = |text: String| {
        let mut failure = status::not_acceptable(&[]);
        failure.message = text;
        Err(failure)
    };
    match (wanted.form, list) {
        (Form::Partial, Some(kind)) => refused(format!(
            "you requested PartialObjectMetadata, but the requested object is a list (*core.{kind})"
        )),
        (Form::PartialList, None) => refused(
            "you requested PartialObjectMetadataList, but the requested object is not a list"
                .into(),
        ),
        (Form::Table, _) if Include::parse(call.query.get("includeObject")).is_none() => {
            Err(status::bad_request(format!(
                "Unable to convert to Table as requested: includeObject: Invalid value: {:?}: must be 'Metadata', 'Object', 'None', or empty",
                call.query.get("includeObject").unwrap_or_default()
            )))
        }
        _ => Ok(wanted),
    }
}

/// One object in the wanted form.
pub(crate) fn one(call: &Call, target: &Target, wanted: Wanted, object: Value) -> Value {
    match wanted.form {
        Form::Object => object,
        Form::Partial | Form::PartialList => partial(object, wanted.version),
        Form::Table => {
            let metadata = json!({"resourceVersion": object["metadata"]["resourceVersion"]});
            let table = model::table(
                &target.resource,
                &[object],
                metadata,
                include(call),
                now(&call.core),
            );
            in_version(table, wanted.version)
        }
    }
}

/// A list of whole objects.
pub(crate) fn whole_list(target: &Target, objects: Vec<Value>, metadata: Value) -> Value {
    let metadata = list_metadata(&target.resource, metadata);
    json!({
        "kind": target.resource.list_kind,
        "apiVersion": target.resource.api_version(),
        "metadata": metadata,
        "items": objects,
    })
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
    wanted: Wanted,
    objects: Vec<Value>,
    metadata: Value,
) -> Value {
    match wanted.form {
        Form::Object => whole_list(target, objects, metadata),
        Form::Partial | Form::PartialList => json!({
            "kind": "PartialObjectMetadataList",
            "apiVersion": format!("meta.k8s.io/{}", wanted.version),
            "metadata": metadata,
            "items": objects.into_iter().map(|object| partial(object, wanted.version)).collect::<Vec<_>>(),
        }),
        Form::Table => {
            let table = model::table(
                &target.resource,
                &objects,
                metadata,
                include(call),
                now(&call.core),
            );
            in_version(table, wanted.version)
        }
    }
}

fn now(core: &Core) -> i64 {
    core.clock.since_epoch().as_secs() as i64
}

impl Shown {
    /// Form and place of a request's answer.
    pub(crate) fn of(call: &Call, target: &Target) -> Result<Self, Failure> {
        Ok(Self {
            wanted: accept::wanted(call.header(http::header::ACCEPT), target)?,
            resource: target.resource.clone(),
            include: include(call),
            columns_told: false,
        })
    }

    /// Object of a watch event.
    pub(crate) fn event_object(&mut self, core: &Core, object: Value) -> Value {
        match self.wanted.form {
            Form::Object => object,
            Form::Partial | Form::PartialList => partial(object, self.wanted.version),
            Form::Table => self.table(core, object, self.include),
        }
    }

    fn table(&mut self, core: &Core, object: Value, include: Include) -> Value {
        let metadata = json!({"resourceVersion": object["metadata"]["resourceVersion"]});
        let table = model::table(&self.resource, &[object], metadata, include, now(core));
        let mut table = in_version(table, self.wanted.version);
        if std::mem::replace(&mut self.columns_told, true) {
            table["columnDefinitions"] = Value::Null;
        }
        table
    }

    /// Object of a bookmark.
    pub(crate) fn bookmark(&mut self, core: &Core, metadata: Value) -> Value {
        // That the first events are complete must be told whatever else rows carry.
        let include = match metadata.get("annotations") {
            Some(_) if self.include == Include::None => Include::Metadata,
            _ => self.include,
        };
        let object = json!({"kind": self.resource.kind, "apiVersion": self.resource.api_version(), "metadata": metadata});
        match self.wanted.form {
            Form::Table => self.table(core, object, include),
            _ => self.event_object(core, object),
        }
    }
}
