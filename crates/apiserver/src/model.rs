//! Where the server meets the pure crate that knows what objects mean: decoding, defaults,
//! validation, merges, ownership of fields, tables. One place, so that every verb treats an
//! object alike, built-in or custom.

use crate::kinds::{Kinds, Resource};
use serde_json::Value;
use towpath_api::apply;
use towpath_api::convert;
use towpath_api::defaults;
use towpath_api::generation;
use towpath_api::json as text;
use towpath_api::merge;
use towpath_api::openapi;
use towpath_api::protobuf;
use towpath_api::schema;
use towpath_api::status::{self, Failure};
use towpath_api::table::{self, Include, Printer};
use towpath_api::unknown;
use towpath_api::validate;

/// How strictly unknown and duplicate fields are taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Strictness {
    Ignore,
    Warn,
    Strict,
}

impl Strictness {
    /// Reads `fieldValidation`; `None` where it is none of the three.
    pub(crate) fn parse(value: Option<&str>) -> Option<Self> {
        match value.unwrap_or_default() {
            "" | "Warn" => Some(Self::Warn),
            "Ignore" => Some(Self::Ignore),
            "Strict" => Some(Self::Strict),
            _ => None,
        }
    }
}

/// Parses a JSON body; also gives the keys that occur twice.
pub(crate) fn parse(bytes: &[u8]) -> Result<(Value, Vec<String>), Failure> {
    text::parse(bytes, text::Limits::default()).map_err(|error| match error {
        text::Error::TooLarge { limit, .. } => status::too_large(limit),
        other => status::bad_request(format!("error decoding body: {other}")),
    })
}

/// Reads a body in any of the media types of requests; also gives the keys that occur twice.
pub(crate) fn read_body(content_type: &str, bytes: &[u8]) -> Result<(Value, Vec<String>), Failure> {
    match content_type {
        "" | "application/json" => parse(bytes),
        "application/yaml" => {
            let (body, twice) = crate::patch::yaml(bytes)?;
            Ok((body, twice.into_iter().map(|twice| twice.key).collect()))
        }
        "application/vnd.kubernetes.protobuf" => {
            let object =
                protobuf::decode(bytes).map_err(|error| status::bad_request(error.to_string()))?;
            Ok((object, Vec::new()))
        }
        _ => Err(status::unsupported_media_type(&[
            "application/json",
            "application/yaml",
            "application/vnd.kubernetes.protobuf",
        ])),
    }
}

/// Checks the shape of an object as it came in: unknown and duplicate fields by strictness,
/// wrong types always. Custom resources are pruned.
pub(crate) fn shape(
    resource: &Resource,
    object: &mut Value,
    twice: &[String],
    strictness: Strictness,
    warnings: &mut Vec<String>,
) -> Result<(), Failure> {
    let Some(schema) = resource.schema() else {
        return Ok(());
    };
    if strictness != Strictness::Ignore {
        let mut found: Vec<String> = unknown::check(schema, object)
            .iter()
            .map(|p| status::unknown_field(p))
            .collect();
        found.extend(twice.iter().map(|p| status::duplicate_field(p)));
        if strictness == Strictness::Strict && !found.is_empty() {
            return Err(status::strict(&resource.kind, &resource.version, &found));
        }
        warnings.extend(found);
    }
    unknown::prune(schema, object);
    if !resource.is_custom() {
        // An empty list of owners is no list that is left out: it makes the server forget them.
        let forgets = object["metadata"]["managedFields"] == Value::Array(Vec::new());
        schema::coerce(schema, object);
        if forgets {
            object["metadata"]["managedFields"] = Value::Array(Vec::new());
        }
        if let Some(why) = schema::type_error(schema, object) {
            return Err(status::undecodable(&resource.kind, &resource.version, &why));
        }
    }
    Ok(())
}

/// Turns an object in the version of a resource into its stored form.
pub(crate) fn to_stored(resource: &Resource, object: &mut Value) {
    if !resource.is_stored_form() {
        let (group, version) = &resource.stored_as;
        convert::object(group, version, &resource.kind, object);
    }
}

/// The reverse of [`to_stored`].
pub(crate) fn from_stored(resource: &Resource, object: &mut Value) {
    convert::object(&resource.group, &resource.version, &resource.kind, object);
}

/// Status and generation of a new object.
pub(crate) fn prepare_create(resource: &Resource, object: &mut Value) {
    match &resource.custom {
        Some(custom) => generation::prepare_custom_create(object, custom.status),
        None => {
            generation::prepare_create(&resource.group, &resource.version, &resource.kind, object)
        }
    }
}

/// Status and generation of an object written through its main path.
pub(crate) fn prepare_update(resource: &Resource, new: &mut Value, old: &Value) {
    match &resource.custom {
        Some(custom) => generation::prepare_custom_update(new, old, custom.status),
        None => {
            generation::prepare_update(&resource.group, &resource.version, &resource.kind, new, old)
        }
    }
}

/// What a writer of the status may not change is put back.
pub(crate) fn prepare_status(resource: &Resource, new: &mut Value, old: &Value) {
    if resource.is_custom() {
        let status = new.get("status").cloned();
        let fields = new["metadata"].get("managedFields").cloned();
        *new = old.clone();
        match status {
            Some(status) => new["status"] = status,
            None => {
                if let Some(object) = new.as_object_mut() {
                    object.remove("status");
                }
            }
        }
        if let Some(fields) = fields {
            new["metadata"]["managedFields"] = fields;
        }
        return;
    }
    generation::prepare_status_update(&resource.group, &resource.version, &resource.kind, new, old);
}

/// Fills in defaults.
pub(crate) fn default(resource: &Resource, object: &mut Value) {
    match &resource.custom {
        Some(custom) => defaults::custom(&custom.schema, object),
        None => defaults::apply(&resource.group, &resource.version, &resource.kind, object),
    }
}

fn customs<'a>(kinds: &'a Kinds) -> impl Iterator<Item = openapi::Custom<'a>> {
    kinds.resources.iter().filter_map(|resource| {
        let custom = resource.custom.as_ref()?;
        Some(openapi::Custom {
            group: &resource.group,
            version: &resource.version,
            kind: &resource.kind,
            list_kind: &resource.list_kind,
            plural: &resource.plural,
            namespaced: resource.namespaced,
            schema: &custom.source,
            status: custom.status,
            scale: custom.scale.is_some(),
        })
    })
}

/// Changes when the document of a group and version does: built-in ones with the program, others
/// with their definitions.
pub(crate) fn openapi_version(kinds: &Kinds, group: &str, version: &str) -> String {
    let found = customs(kinds).filter(|c| c.group == group && c.version == version);
    let parts: Vec<String> = found.map(|c| format!("{} {}", c.kind, c.schema)).collect();
    format!(
        "{} {group}/{version} {}",
        env!("CARGO_PKG_VERSION"),
        parts.join(" ")
    )
}

/// The same for the document of everything.
pub(crate) fn openapi_v2_version(kinds: &Kinds) -> String {
    let all = customs(kinds).map(|c| format!("{}/{} {} {}", c.group, c.version, c.kind, c.schema));
    format!(
        "{} {}",
        env!("CARGO_PKG_VERSION"),
        all.collect::<Vec<_>>().join(" ")
    )
}

/// The OpenAPI v3 document of a group and version.
pub(crate) fn openapi(kinds: &Kinds, group: &str, version: &str) -> Option<Value> {
    kinds
        .group(group)?
        .versions
        .iter()
        .find(|v| *v == version)?;
    let custom: Vec<_> = customs(kinds)
        .filter(|c| c.group == group && c.version == version)
        .collect();
    Some(openapi::v3(group, version, &custom))
}

/// The OpenAPI v2 document of everything.
pub(crate) fn openapi_v2(kinds: &Kinds) -> Value {
    openapi::v2(&customs(kinds).collect::<Vec<_>>())
}

/// Checks a new object, or a change of one through its main path or a subresource.
pub(crate) fn validate(
    resource: &Resource,
    subresource: &str,
    new: &Value,
    old: Option<&Value>,
) -> Result<(), Failure> {
    let (group, version, kind) = (&resource.group, &resource.version, &resource.kind);
    let errors = match (&resource.custom, subresource, old) {
        (Some(custom), _, _) => {
            let mut errors = validate::custom(&custom.schema, resource.namespaced, new, old);
            if let Some(rules) = custom.rules() {
                validate::custom_rules(rules, new, old, &mut errors);
            }
            errors
        }
        (None, "", _) => validate::object(group, version, kind, new, old),
        (None, "ephemeralcontainers", Some(old)) => validate::ephemeral_containers(new, old),
        // Other paths write what the server or its controllers decided.
        (None, _, Some(old)) => validate::status(group, version, kind, new, old),
        (None, _, None) => Vec::new(),
    };
    if errors.is_empty() {
        return Ok(());
    }
    let name = new["metadata"]["name"].as_str().unwrap_or_default();
    // Events are one kind to upstream, whatever group they came by.
    let group = match (group.as_str(), kind.as_str()) {
        ("events.k8s.io", "Event") => "",
        (group, _) => group,
    };
    Err(status::invalid(group, kind, name, &errors))
}

fn ignored(resource: &Resource, subresource: &str) -> apply::Ignored {
    let status = resource.subresource("status").is_some();
    match (subresource, &resource.custom) {
        ("status", Some(custom)) => apply::Ignored::custom_status(&custom.schema),
        ("status", None) => apply::Ignored::status(),
        _ => apply::Ignored::main(status),
    }
}

/// Records who wrote which fields.
pub(crate) fn own(
    resource: &Resource,
    subresource: &str,
    old: Option<&Value>,
    new: &mut Value,
    manager: &str,
    now: &str,
) {
    let Some(schema) = resource.schema() else {
        return;
    };
    let api_version = resource.api_version();
    let writer = apply::Writer {
        manager,
        api_version: &api_version,
        subresource,
        time: now,
    };
    apply::update(schema, old, new, writer, &ignored(resource, subresource));
}

/// Server-side apply: the merged object with its owners. `old` is absent where it does not exist.
pub(crate) fn apply_config(
    resource: &Resource,
    subresource: &str,
    old: Option<&Value>,
    config: &Value,
    (manager, force, now): (&str, bool, &str),
) -> Result<Value, Failure> {
    let schema = resource
        .schema()
        .ok_or_else(|| status::internal("no schema"))?;
    let api_version = resource.api_version();
    let writer = apply::Writer {
        manager,
        api_version: &api_version,
        subresource,
        time: now,
    };
    let new = apply::apply(
        schema,
        old,
        config,
        writer,
        &ignored(resource, subresource),
        force,
    )?;
    let mut new = new
        .or_else(|| old.cloned())
        .unwrap_or_else(|| config.clone());
    // Empty, they are not written.
    if let Some(metadata) = new["metadata"].as_object_mut() {
        metadata.retain(|key, value| {
            !(matches!(key.as_str(), "finalizers" | "ownerReferences")
                && *value == Value::Array(Vec::new()))
        });
    }
    // What changed nothing else is no write.
    Ok(match old {
        Some(old) if *old == new => old.clone(),
        _ => new,
    })
}

fn merged(
    resource: &Resource,
    old: &Value,
    result: Result<Value, merge::Error>,
) -> Result<Value, Failure> {
    let name = old["metadata"]["name"].as_str().unwrap_or_default();
    result.map_err(|error| error.failure(&resource.group, &resource.kind, name))
}

/// RFC 6902.
pub(crate) fn json_patch(
    resource: &Resource,
    old: &Value,
    patch: &Value,
) -> Result<Value, Failure> {
    merged(resource, old, merge::json_patch(old, patch))
}

/// RFC 7386.
pub(crate) fn merge_patch(
    resource: &Resource,
    old: &Value,
    patch: &Value,
) -> Result<Value, Failure> {
    merged(resource, old, merge::merge_patch(old, patch))
}

/// Kubernetes' own patch, which knows lists by their keys.
pub(crate) fn strategic(resource: &Resource, old: &Value, patch: &Value) -> Result<Value, Failure> {
    let schema = resource
        .schema()
        .ok_or_else(|| status::internal("no schema"))?;
    merged(resource, old, merge::strategic(schema, old, patch))
}

/// Rows for people.
pub(crate) fn table(
    resource: &Resource,
    objects: &[Value],
    metadata: Value,
    include: Include,
    now: i64,
) -> Value {
    let printer = match &resource.custom {
        Some(custom) => Printer::custom(Some(&custom.columns)),
        None => Printer::builtin(&resource.group, &resource.kind),
    };
    table::render(&printer, objects, metadata, include, now)
}
