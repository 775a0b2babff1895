//! The smallest server: one map, and the crate's functions in the order a server calls them.

use serde_json::{Value, json};
use std::collections::BTreeMap;
use towpath_api::apply::{self, Ignored, Writer};
use towpath_api::facts::{Resource, catalog};
use towpath_api::schema::{self, Schema};
use towpath_api::status::{self, Failure};
use towpath_api::{defaults, generation, merge, validate};

const NOW: &str = "2026-01-01T00:00:00Z";

#[derive(Default)]
pub(crate) struct World {
    objects: BTreeMap<String, Value>,
}

struct Target {
    resource: &'static Resource,
    schema: &'static Schema,
    namespace: String,
    name: String,
    subresource: String,
    manager: String,
    force: bool,
}

impl Target {
    fn parse(path: &str) -> Target {
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
        let resource = catalog().resource(group, version, parts[0]).unwrap();
        let part = |at: usize| parts.get(at).unwrap_or(&"").to_string();
        let argument = |key: &str| {
            query
                .split('&')
                .filter_map(|pair| pair.split_once('='))
                .find(|(k, _)| *k == key)
                .map(|(_, v)| v.to_string())
        };
        Target {
            resource,
            schema: schema::builtin(group, version, resource.kind).unwrap(),
            namespace,
            name: part(1),
            subresource: part(2),
            manager: argument("fieldManager").unwrap_or_default(),
            force: argument("force").is_some(),
        }
    }

    fn key(&self, name: &str) -> String {
        format!(
            "{}/{}/{}/{name}",
            self.resource.group, self.resource.plural, self.namespace
        )
    }

    fn gvk(&self) -> (&'static str, &'static str, &'static str) {
        (
            self.resource.group,
            self.resource.version,
            self.resource.kind,
        )
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
        match self.subresource.as_str() {
            "status" => Ignored::status(),
            _ => Ignored::main(generation::has_status(
                self.resource.group,
                self.resource.version,
                self.resource.kind,
            )),
        }
    }

    fn decode(&self, object: &mut Value) -> Result<(), Failure> {
        if let Some(why) = schema::type_error(self.schema, object) {
            return Err(status::undecodable(
                self.resource.kind,
                self.resource.version,
                &why,
            ));
        }
        towpath_api::unknown::prune(self.schema, object);
        schema::coerce(self.schema, object);
        let (group, version, kind) = self.gvk();
        defaults::apply(group, version, kind, object);
        Ok(())
    }

    fn invalid(&self, object: &Value, old: Option<&Value>) -> Result<(), Failure> {
        let (group, version, kind) = self.gvk();
        let errors = match (self.subresource.as_str(), old) {
            ("status", Some(old)) => validate::status(group, version, kind, object, old),
            _ => validate::object(group, version, kind, object, old),
        };
        if errors.is_empty() {
            return Ok(());
        }
        let name = object["metadata"]["name"].as_str().unwrap_or_default();
        Err(status::invalid(group, kind, name, &errors))
    }
}

impl World {
    pub(crate) fn request(&mut self, line: &str, body: &Value) -> (u16, Value) {
        let (verb, path) = line.split_once(' ').unwrap();
        let target = Target::parse(path);
        let answer = match verb {
            "CREATE" => self
                .create(&target, body.clone())
                .map(|object| (201, object)),
            "UPDATE" => self.update(&target, |_| Ok(body.clone())),
            "APPLY" => self.apply(&target, body),
            "STRATEGIC" => self.update(&target, |live| {
                merge::strategic(target.schema, live, body).map_err(|e| target.patch_error(e))
            }),
            "MERGE" => self.update(&target, |live| {
                merge::merge_patch(live, body).map_err(|e| target.patch_error(e))
            }),
            "JSON" => self.update(&target, |live| {
                merge::json_patch(live, body).map_err(|e| target.patch_error(e))
            }),
            other => panic!("{other}"),
        };
        answer.unwrap_or_else(|failure| (failure.code, failure.to_value()))
    }

    fn create(&mut self, target: &Target, mut object: Value) -> Result<Value, Failure> {
        target.decode(&mut object)?;
        if !target.namespace.is_empty() {
            object["metadata"]["namespace"] = target.namespace.as_str().into();
        }
        let api_version = target.resource.api_version();
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
        let (group, version, kind) = target.gvk();
        object["metadata"]["uid"] = "u".into();
        object["metadata"]["creationTimestamp"] = NOW.into();
        generation::prepare_create(group, version, kind, &mut object);
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
        let api_version = target.resource.api_version();
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
        let (group, version, kind) = target.gvk();
        match target.subresource.as_str() {
            "status" => generation::prepare_status_update(group, version, kind, &mut object, live),
            _ => generation::prepare_update(group, version, kind, &mut object, live),
        }
        target.invalid(&object, Some(live))?;
        self.objects
            .insert(target.key(&target.name), object.clone());
        Ok((200, object))
    }

    fn apply(&mut self, target: &Target, config: &Value) -> Result<(u16, Value), Failure> {
        let api_version = target.resource.api_version();
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

impl Target {
    fn patch_error(&self, error: merge::Error) -> Failure {
        error.failure(self.resource.group, self.resource.plural, &self.name)
    }
}
