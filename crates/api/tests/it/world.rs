//! The smallest server: one map, and the crate's functions in the order a server calls them.

use serde_json::{Value, json};
use std::collections::BTreeMap;
use towpath_api::apply::{self, Ignored, Writer};
use towpath_api::facts::{api_version, catalog};
use towpath_api::schema::{self, Schema};
use towpath_api::status::{self, Failure};
use towpath_api::table::{Include, Printer, render};
use towpath_api::{defaults, generation, merge, validate};

const NOW: &str = "2026-01-01T00:00:00Z";

#[derive(Default)]
pub(crate) struct World {
    objects: BTreeMap<String, Value>,
    custom: Option<Custom>,
}

/// The one custom resource of a case.
struct Custom {
    group: String,
    plural: String,
    kind: String,
    schema: &'static Schema,
    status: bool,
    columns: Value,
}

struct Target {
    group: String,
    version: String,
    plural: String,
    kind: String,
    namespaced: bool,
    schema: &'static Schema,
    /// Whether a custom resource has the status path; `None` for built-in kinds.
    custom: Option<bool>,
    namespace: String,
    name: String,
    subresource: String,
    manager: String,
    force: bool,
}

impl Target {
    fn parse(path: &str, custom: Option<&Custom>) -> Target {
        let (path, query) = path.split_once('?').unwrap_or((path, ""));
        let mut parts: Vec<&str> = path.trim_start_matches('/').split('/').collect();
        let (group, version) = if parts[0] == "api" {
            ("", parts[1])
        } else {
            (parts[1], parts[2])
        };
        parts.drain(..if parts[0] == "api" { 2 } else { 3 });
        let mut namespace = String::new();
        if parts[0] == "namespaces" && parts.len() > 2 {
            namespace = parts[1].to_string();
            parts.drain(..2);
        }
        let part = |at: usize| parts.get(at).unwrap_or(&"").to_string();
        let argument = |key: &str| {
            query
                .split('&')
                .filter_map(|pair| pair.split_once('='))
                .find(|(k, _)| *k == key)
                .map(|(_, v)| v.to_string())
        };
        let own = custom.filter(|custom| custom.group == group && custom.plural == parts[0]);
        let (kind, namespaced, schema) = match own {
            Some(custom) => (custom.kind.clone(), true, custom.schema),
            None => {
                let resource = catalog().resource(group, version, parts[0]).unwrap();
                let schema = schema::builtin(group, version, resource.kind).unwrap();
                (resource.kind.to_string(), resource.namespaced, schema)
            }
        };
        Target {
            group: group.into(),
            version: version.into(),
            plural: part(0),
            kind,
            namespaced,
            schema,
            custom: own.map(|custom| custom.status),
            namespace,
            name: part(1),
            subresource: part(2),
            manager: argument("fieldManager").unwrap_or_default(),
            force: argument("force").is_some(),
        }
    }

    fn key(&self, name: &str) -> String {
        format!("{}/{}/{}/{name}", self.group, self.plural, self.namespace)
    }

    fn gvk(&self) -> (&str, &str, &str) {
        (&self.group, &self.version, &self.kind)
    }

    fn api_version(&self) -> String {
        api_version(&self.group, &self.version)
    }

    fn writer<'a>(&'a self, api_version: &'a str) -> Writer<'a> {
        Writer {
            manager: &self.manager,
            api_version,
            subresource: &self.subresource,
            time: NOW,
        }
    }

    fn ignored(&self) -> Ignored {
        let (group, version, kind) = self.gvk();
        match (self.subresource.as_str(), self.custom) {
            ("status", Some(_)) => Ignored::custom_status(self.schema),
            ("status", None) => Ignored::status(),
            (_, Some(status)) => Ignored::main(status),
            _ => Ignored::main(generation::has_status(group, version, kind)),
        }
    }

    fn decode(&self, object: &mut Value) -> Result<(), Failure> {
        let (group, version, kind) = self.gvk();
        if self.custom.is_some() {
            if let Some(why) = schema::metadata_error(object) {
                return Err(status::undecodable(kind, version, &why));
            }
            towpath_api::unknown::prune(self.schema, object);
            defaults::custom(self.schema, object);
            return Ok(());
        }
        if let Some(why) = schema::type_error(self.schema, object) {
            return Err(status::undecodable(kind, version, &why));
        }
        towpath_api::unknown::prune(self.schema, object);
        schema::coerce(self.schema, object);
        defaults::apply(group, version, kind, object);
        Ok(())
    }

    fn invalid(&self, object: &Value, old: Option<&Value>) -> Result<(), Failure> {
        let (group, version, kind) = self.gvk();
        let errors = match (self.custom, self.subresource.as_str(), old) {
            (Some(_), ..) => validate::custom(self.schema, self.namespaced, object, old),
            (None, "status", Some(old)) => validate::status(group, version, kind, object, old),
            _ => validate::object(group, version, kind, object, old),
        };
        if errors.is_empty() {
            return Ok(());
        }
        let name = object["metadata"]["name"].as_str().unwrap_or_default();
        Err(status::invalid(group, kind, name, &errors))
    }

    fn prepare_create(&self, object: &mut Value) {
        let (group, version, kind) = self.gvk();
        match self.custom {
            Some(status) => generation::prepare_custom_create(object, status),
            None => generation::prepare_create(group, version, kind, object),
        }
    }

    fn prepare_update(&self, object: &mut Value, live: &Value) {
        let (group, version, kind) = self.gvk();
        match (self.subresource.as_str(), self.custom) {
            ("status", Some(_)) => {
                let (status, owners) = (
                    object.get("status").cloned(),
                    object["metadata"]["managedFields"].clone(),
                );
                *object = live.clone();
                object["metadata"]["managedFields"] = owners;
                if let Some(status) = status {
                    object["status"] = status;
                }
            }
            (_, Some(status)) => generation::prepare_custom_update(object, live, status),
            ("status", None) => {
                generation::prepare_status_update(group, version, kind, object, live)
            }
            _ => generation::prepare_update(group, version, kind, object, live),
        }
    }

    fn patch_error(&self, error: merge::Error) -> Failure {
        error.failure(&self.group, &self.kind, &self.name)
    }

    fn strategic(&self, live: &Value, patch: &Value) -> Result<Value, Failure> {
        if self.custom.is_some() {
            return Err(status::unsupported_media_type(&[
                "application/json-patch+json",
                "application/merge-patch+json",
                "application/apply-patch+yaml",
            ]));
        }
        merge::strategic(self.schema, live, patch).map_err(|error| self.patch_error(error))
    }
}

impl World {
    /// A world that knows one custom resource.
    pub(crate) fn with_definition(definition: &Value) -> World {
        let spec = &definition["spec"];
        let version = &spec["versions"][0];
        let schema = Schema::from_crd(&version["schema"]["openAPIV3Schema"]).unwrap();
        let text = |value: &Value| value.as_str().unwrap().to_string();
        let custom = Custom {
            group: text(&spec["group"]),
            plural: text(&spec["names"]["plural"]),
            kind: text(&spec["names"]["kind"]),
            schema: Box::leak(Box::new(schema)),
            status: version["subresources"]["status"].is_object(),
            columns: version["additionalPrinterColumns"].clone(),
        };
        World {
            custom: Some(custom),
            ..World::default()
        }
    }

    pub(crate) fn request(&mut self, line: &str, body: &Value) -> (u16, Value) {
        let (verb, path) = line.split_once(' ').unwrap();
        let target = Target::parse(path, self.custom.as_ref());
        let answer = match verb {
            "CREATE" => self
                .create(&target, body.clone())
                .map(|object| (201, object)),
            "UPDATE" => self.update(&target, |_| Ok(body.clone())),
            "APPLY" => self.apply(&target, body),
            "STRATEGIC" => self.update(&target, |live| target.strategic(live, body)),
            "MERGE" => self.update(&target, |live| {
                merge::merge_patch(live, body).map_err(|e| target.patch_error(e))
            }),
            "JSON" => self.update(&target, |live| {
                merge::json_patch(live, body).map_err(|e| target.patch_error(e))
            }),
            "TABLE" => Ok((200, self.table(&target))),
            other => panic!("{other}"),
        };
        answer.unwrap_or_else(|failure| (failure.code, failure.to_value()))
    }

    fn table(&self, target: &Target) -> Value {
        let printer = match (target.custom, &self.custom) {
            (Some(_), Some(custom)) => Printer::custom(Some(&custom.columns)),
            _ => Printer::builtin(&target.group, &target.kind),
        };
        let object = &self.objects[&target.key(&target.name)];
        render(&printer, [object], json!({}), Include::None, 0)
    }

    fn create(&mut self, target: &Target, mut object: Value) -> Result<Value, Failure> {
        target.decode(&mut object)?;
        if !target.namespace.is_empty() {
            object["metadata"]["namespace"] = target.namespace.as_str().into();
        }
        let api_version = target.api_version();
        apply::update(
            target.schema,
            None,
            &mut object,
            target.writer(&api_version),
            &target.ignored(),
        );
        self.insert(target, object)
    }

    fn insert(&mut self, target: &Target, mut object: Value) -> Result<Value, Failure> {
        object["metadata"]["uid"] = "u".into();
        object["metadata"]["creationTimestamp"] = NOW.into();
        target.prepare_create(&mut object);
        target.invalid(&object, None)?;
        let name = object["metadata"]["name"].as_str().unwrap().to_string();
        self.objects.insert(target.key(&name), object.clone());
        Ok(object)
    }

    fn update(
        &mut self,
        target: &Target,
        change: impl FnOnce(&Value) -> Result<Value, Failure>,
    ) -> Result<(u16, Value), Failure> {
        let live = self.objects[&target.key(&target.name)].clone();
        let mut object = change(&live)?;
        target.decode(&mut object)?;
        for key in ["uid", "creationTimestamp"] {
            if object["metadata"].get(key).is_none() {
                object["metadata"][key] = live["metadata"][key].clone();
            }
        }
        let api_version = target.api_version();
        apply::update(
            target.schema,
            Some(&live),
            &mut object,
            target.writer(&api_version),
            &target.ignored(),
        );
        self.replace(target, object, &live)
    }

    fn replace(
        &mut self,
        target: &Target,
        mut object: Value,
        live: &Value,
    ) -> Result<(u16, Value), Failure> {
        target.prepare_update(&mut object, live);
        target.invalid(&object, Some(live))?;
        self.objects
            .insert(target.key(&target.name), object.clone());
        Ok((200, object))
    }

    fn apply(&mut self, target: &Target, config: &Value) -> Result<(u16, Value), Failure> {
        let api_version = target.api_version();
        let live = self.objects.get(&target.key(&target.name)).cloned();
        let writer = target.writer(&api_version);
        let applied = apply::apply(
            target.schema,
            live.as_ref(),
            config,
            writer,
            &target.ignored(),
            target.force,
        )?;
        let Some(mut object) = applied else {
            return Ok((200, live.unwrap_or(json!({}))));
        };
        target.decode(&mut object)?;
        if !target.namespace.is_empty() {
            object["metadata"]["namespace"] = target.namespace.as_str().into();
        }
        match live {
            None => self.insert(target, object).map(|object| (201, object)),
            Some(live) => self.replace(target, object, &live),
        }
    }
}
