//! The four kinds of patch.

use crate::core::Call;
use crate::kinds::Resource;
use crate::model::{self, Strictness};
use crate::route::Target;
use crate::write::{self, Options};
use serde_json::Value;
use towpath_api::field::FieldError;
use towpath_api::status::{self, Failure};

/// A patch as it came in.
pub(crate) struct Patch {
    kind: Kind,
    body: Value,
    twice: Vec<String>,
    /// What its operations say that no operation has.
    unknown: Vec<String>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Json,
    Merge,
    Strategic,
    Apply,
}

/// A patch may not make another object of the one it is for.
pub(crate) fn same_object(target: &Target, new: &Value, old: &Value) -> Result<(), Failure> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_string();
    let (was, is) = (&old["metadata"], &new["metadata"]);
    let name = text(&is["name"]);
    if name != target.name {
        return Err(status::bad_request(format!(
            "the name of the object ({name}) does not match the name on the URL ({})",
            target.name
        )));
    }
    let namespace = text(&is["namespace"]);
    if !namespace.is_empty() && namespace != target.namespace {
        return Err(status::bad_request(
            "the namespace of the provided object does not match the namespace sent on the request",
        ));
    }
    let resource = &target.resource;
    let (group, kind) = (&resource.group, &resource.kind);
    if old["kind"] != new["kind"] || old["apiVersion"] != new["apiVersion"] {
        let why = format!(
            "converting ({}.{}) to ({kind}): unknown conversion",
            text(&new["apiVersion"]),
            text(&new["kind"])
        );
        let error = FieldError::invalid("patch", new.to_string(), why);
        return Err(status::invalid("", "", "", &[error]));
    }
    let fixed = |key: &str| {
        let changed = !is[key].is_null() && is[key] != was[key];
        changed.then(|| {
            FieldError::invalid(
                format!("metadata.{key}"),
                is[key].clone(),
                "field is immutable",
            )
        })
    };
    let errors: Vec<_> = ["uid", "deletionTimestamp"]
        .into_iter()
        .filter_map(fixed)
        .collect();
    match errors.is_empty() {
        true => Ok(()),
        false => Err(status::invalid(group, kind, &target.name, &errors)),
    }
}

/// A key that occurs twice in one mapping, and the line of the second time.
pub(crate) struct Twice {
    pub(crate) key: String,
    line: u64,
}

/// Reads one YAML (or JSON) document; of a key that occurs twice, the last counts.
pub(crate) fn yaml(bytes: &[u8]) -> Result<(Value, Option<Twice>), Failure> {
    use serde_saphyr::DuplicateKeyPolicy::{Error, LastWins};
    let text = std::str::from_utf8(bytes)
        .map_err(|_| status::bad_request("error decoding YAML: not UTF-8"))?;
    let read = |policy| {
        // Much more than anyone writes, and little enough to be refused at once.
        let aliases = serde_saphyr::alias_limits! { max_total_replayed_events: 100_000 };
        let options = serde_saphyr::options! {
            duplicate_keys: policy,
            with_snippet: false,
            alias_limits: aliases,
        };
        serde_saphyr::from_str_with_options::<Value>(text, options)
    };
    let refused =
        |error: serde_saphyr::Error| status::bad_request(format!("error decoding YAML: {error}"));
    match read(Error) {
        Ok(value) => Ok((value, None)),
        Err(serde_saphyr::Error::DuplicateMappingKey { key, location }) => {
            let twice = Twice {
                key: key.unwrap_or_default(),
                line: location.line(),
            };
            Ok((read(LastWins).map_err(refused)?, Some(twice)))
        }
        Err(error) => Err(refused(error)),
    }
}

// What a strict apply says of it.
fn strictly(twice: &Twice) -> Failure {
    status::bad_request(format!(
        "error strict decoding YAML: error converting YAML to JSON: yaml: unmarshal errors:\n  line {}: key {:?} already set in map",
        twice.line, twice.key
    ))
}

fn unknown_parts(operations: &Value) -> Vec<String> {
    let operations = operations.as_array().into_iter().flatten().enumerate();
    let parts = operations.flat_map(|(at, operation)| {
        let keys = operation.as_object().into_iter().flat_map(|map| map.keys());
        keys.filter(|key| !matches!(key.as_str(), "op" | "path" | "from" | "value"))
            .map(move |key| (at, key))
    });
    parts
        .map(|(at, key)| {
            let found = status::unknown_field(&format!("[{at}].{key}"));
            format!("json patch {found}")
        })
        .collect()
}

impl Patch {
    pub(crate) fn read(call: &Call, target: &Target, bytes: &[u8]) -> Result<Self, Failure> {
        let kind = match call.content_type() {
            "application/json-patch+json" => Kind::Json,
            "application/merge-patch+json" => Kind::Merge,
            "application/strategic-merge-patch+json" if !target.resource.is_custom() => {
                Kind::Strategic
            }
            "application/apply-patch+yaml" => Kind::Apply,
            _ => {
                let mut known = vec![
                    "application/json-patch+json",
                    "application/merge-patch+json",
                ];
                if !target.resource.is_custom() {
                    known.push("application/strategic-merge-patch+json");
                }
                known.push("application/apply-patch+yaml");
                let mut failure = status::unsupported_media_type(&known);
                if !target.resource.is_custom() {
                    // Upstream's router knows the types of built-in kinds and says no more.
                    failure.message = "415: Unsupported Media Type".into();
                    failure.details = Some(serde_json::json!({}));
                }
                return Err(failure);
            }
        };
        let (body, twice) = match kind {
            // Most clients send JSON, which is YAML too and much faster to read.
            Kind::Apply if bytes.first() != Some(&b'{') => match yaml(bytes)? {
                (_, Some(twice)) if Options::read(call)?.strictness == Strictness::Strict => {
                    return Err(strictly(&twice));
                }
                (body, twice) => (body, twice.into_iter().map(|twice| twice.key).collect()),
            },
            _ => model::parse(bytes)?,
        };
        let unknown = match kind {
            Kind::Json => unknown_parts(&body),
            _ => Vec::new(),
        };
        Ok(Self {
            kind,
            body,
            twice,
            unknown,
        })
    }

    pub(crate) fn is_apply(&self) -> bool {
        self.kind == Kind::Apply
    }

    pub(crate) fn body(&self) -> &Value {
        &self.body
    }

    pub(crate) fn unknown(&self) -> &[String] {
        &self.unknown
    }

    pub(crate) fn twice(&self) -> &[String] {
        &self.twice
    }

    /// The first state of an object that an apply creates.
    pub(crate) fn create(
        &self,
        call: &Call,
        target: &Target,
        options: &Options,
    ) -> Result<Value, Failure> {
        self.applied(call, target, options, None)
    }

    fn applied(
        &self,
        call: &Call,
        target: &Target,
        options: &Options,
        old: Option<&Value>,
    ) -> Result<Value, Failure> {
        let mut config = self.body.clone();
        let resource = &target.resource;
        let text = |key: &str| config[key].as_str().unwrap_or_default().to_string();
        let (version, kind) = (text("apiVersion"), text("kind"));
        if version != resource.api_version() || kind != resource.kind {
            let slash = if version.contains('/') { "" } else { "/" };
            return Err(status::bad_request(format!(
                "invalid object type: {slash}{version}, Kind={kind}"
            )));
        }
        write::kind_of(resource, &mut config)?;
        let name = config["metadata"]["name"].as_str().unwrap_or_default();
        if name.is_empty() {
            return Err(write::undeterminable(target));
        }
        let uid = config["metadata"]["uid"].as_str().unwrap_or_default();
        if old.is_none() && !uid.is_empty() {
            let why = format!(
                "uid mismatch: the provided object specified uid {uid}, and no existing object was found"
            );
            let (group, plural) = (&resource.group, &resource.plural);
            return Err(status::conflict(group, plural, &target.name, &why));
        }
        if name != target.name {
            return Err(status::bad_request(format!(
                "the name of the object ({name}) does not match the name on the URL ({})",
                target.name
            )));
        }
        config["metadata"]["name"] = target.name.clone().into();
        let now = call.core.clock.rfc3339();
        let how = (options.manager.as_str(), options.force, now.as_str());
        model::apply_config(&target.resource, &target.subresource, old, &config, how)
    }

    /// The next state.
    pub(crate) fn apply(
        &self,
        call: &Call,
        target: &Target,
        options: &Options,
        old: &Value,
    ) -> Result<Value, Failure> {
        let new = match self.kind {
            Kind::Json => model::json_patch(&target.resource, old, &self.body)?,
            Kind::Merge => model::merge_patch(&target.resource, old, &self.body)?,
            Kind::Strategic => model::strategic(&target.resource, old, &self.body)?,
            Kind::Apply => self.applied(call, target, options, Some(old))?,
        };
        Ok(new)
    }

    /// The same on a document that is not the object itself (a scale).
    pub(crate) fn apply_plain(&self, resource: &Resource, old: &Value) -> Result<Value, Failure> {
        match self.kind {
            Kind::Json => model::json_patch(resource, old, &self.body),
            _ => model::merge_patch(resource, old, &self.body),
        }
    }
}
