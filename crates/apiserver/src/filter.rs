//! Label and field selectors of a request, matched without decoding objects.

use crate::kinds::Resource;
use crate::record;
use crate::route::{Query, Target};
use serde_json::Value;
use towpath_api::selector::{self, Field, Label};
use towpath_api::status::{self, Failure};
use towpath_store::Rec;

/// What of a resource is wanted.
#[derive(Clone)]
pub(crate) struct Filter {
    prefix: String,
    label: Label,
    field: Field,
}

impl Filter {
    pub(crate) fn new(target: &Target, query: &Query) -> Result<Self, Failure> {
        Self::parse(
            &target.resource,
            &target.namespace,
            query.get("labelSelector").unwrap_or_default(),
            query.get("fieldSelector").unwrap_or_default(),
        )
    }

    pub(crate) fn parse(
        resource: &Resource,
        namespace: &str,
        label: &str,
        field: &str,
    ) -> Result<Self, Failure> {
        let label = Label::parse(label).map_err(|error| status::bad_request(error.to_string()))?;
        let mut field =
            Field::parse(field).map_err(|error| status::bad_request(error.to_string()))?;
        let known = record::selectable(resource);
        for (path, ..) in &mut field.terms {
            if resource.is_custom() {
                let own = path == "metadata.name"
                    || resource.namespaced && path == "metadata.namespace"
                    || known.contains(&path.as_str());
                if !own {
                    let why = format!("field label not supported: {path}");
                    return Err(status::bad_request(why));
                }
                continue;
            }
            let (group, version) = (&resource.group, &resource.version);
            let stored = selector::resolve(group, version, &resource.kind, path)
                .map_err(|error| status::bad_request(error.to_string()))?;
            if stored != path {
                *path = stored.to_string();
            }
        }
        let prefix = if namespace.is_empty() {
            String::new()
        } else {
            format!("{namespace}/")
        };
        Ok(Self {
            prefix,
            label,
            field,
        })
    }

    /// Whether every object of the namespace matches.
    pub(crate) fn is_everything(&self) -> bool {
        self.label.is_everything() && self.field.terms.is_empty()
    }

    /// The one name that can match, where there is one.
    pub(crate) fn name(&self) -> Option<&str> {
        self.field.name()
    }

    /// The same filter without what depends on the version that objects are shown in.
    pub(crate) fn of_place(&self) -> Self {
        let mut field = self.field.clone();
        field
            .terms
            .retain(|(path, ..)| matches!(path.as_str(), "metadata.name" | "metadata.namespace"));
        Self {
            prefix: self.prefix.clone(),
            label: Label::default(),
            field,
        }
    }

    /// Whether an object, as it is shown, matches; its place was looked at before.
    pub(crate) fn matches_shown(&self, object: &Value) -> bool {
        let labels = &object["metadata"]["labels"];
        self.label.matches_with(|key| labels[key].as_str())
            && self.field.terms.iter().all(|(path, value, equal)| {
                let found = record::lookup(object, path).unwrap_or_default();
                (found == *value) == *equal
            })
    }

    pub(crate) fn matches(&self, rec: &Rec) -> bool {
        rec.key.starts_with(&self.prefix)
            && self.label.matches_with(|key| rec.meta.label(key))
            && self.field.terms.iter().all(|(path, value, equal)| {
                let found = match path.as_str() {
                    "metadata.name" => rec.name(),
                    "metadata.namespace" => rec.namespace(),
                    path => rec.meta.field(path).unwrap_or(selector::missing(path)),
                };
                (found == value) == *equal
            })
    }
}
