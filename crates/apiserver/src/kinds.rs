//! Which resources there are right now: the built-in catalogue and what definitions added.
//!
//! Everything else works on [`Resource`] and does not ask where one came from.

use crate::conversion::Conversion;
use serde_json::Value;
use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, OnceLock};
use towpath_api::cel::Validator;
use towpath_api::facts;
use towpath_api::schema::{Schema, builtin};

/// One resource in one served version.
pub(crate) struct Resource {
    pub(crate) group: String,
    pub(crate) version: String,
    pub(crate) kind: String,
    pub(crate) list_kind: String,
    pub(crate) plural: String,
    pub(crate) singular: String,
    pub(crate) namespaced: bool,
    pub(crate) verbs: Vec<String>,
    pub(crate) short_names: Vec<String>,
    pub(crate) categories: Vec<String>,
    pub(crate) storage_hash: String,
    pub(crate) subresources: Vec<Subresource>,
    /// Table of the store, shared by all versions.
    pub(crate) table: Arc<str>,
    /// Group and version of the stored form.
    pub(crate) stored_as: (String, String),
    pub(crate) custom: Option<Arc<Custom>>,
}

/// A part of a resource with its own path.
pub(crate) struct Subresource {
    pub(crate) name: String,
    pub(crate) group: String,
    pub(crate) version: String,
    pub(crate) kind: String,
    pub(crate) foreign: bool,
    pub(crate) verbs: Vec<String>,
}

/// What a definition says beyond names.
pub(crate) struct Custom {
    pub(crate) schema: Arc<Schema>,
    pub(crate) conversion: Arc<Conversion>,
    /// The definition is being deleted: nothing new is made.
    pub(crate) ending: bool,
    /// Objects written at or before this revision may have another form: the definition has
    /// changed.
    pub(crate) since: u64,
    /// Of the definition: moves with its spec.
    pub(crate) generation: i64,
    /// `openAPIV3Schema` as given, for publishing.
    pub(crate) source: Value,
    /// Its rules; compiled when an object is written first, since definitions are read again with
    /// every change of one.
    pub(crate) rules: OnceLock<Option<Validator>>,
    pub(crate) columns: Value,
    pub(crate) status: bool,
    pub(crate) scale: Option<towpath_api::scale::Paths>,
    pub(crate) selectable: Vec<String>,
    /// Those of all versions, which are kept beside each object.
    pub(crate) indexed: Arc<[String]>,
}

impl Custom {
    /// The expressions of the schema, where it has any.
    pub(crate) fn rules(&self) -> Option<&Validator> {
        let rules = self.rules.get_or_init(|| Validator::new(&self.source));
        rules.as_ref()
    }
}

impl Resource {
    pub(crate) fn api_version(&self) -> String {
        facts::api_version(&self.group, &self.version)
    }

    pub(crate) fn schema(&self) -> Option<&Schema> {
        match &self.custom {
            Some(custom) => Some(&custom.schema),
            None => builtin(&self.group, &self.version, &self.kind),
        }
    }

    pub(crate) fn is_custom(&self) -> bool {
        self.custom.is_some()
    }

    pub(crate) fn has_verb(&self, verb: &str) -> bool {
        self.verbs.iter().any(|v| v == verb)
    }

    pub(crate) fn subresource(&self, name: &str) -> Option<&Subresource> {
        self.subresources.iter().find(|s| s.name == name)
    }

    pub(crate) fn is(&self, group: &str, plural: &str) -> bool {
        self.group == group && self.plural == plural
    }

    /// Whether stored bytes can be sent as they are.
    pub(crate) fn is_stored_form(&self) -> bool {
        (self.group.as_str(), self.version.as_str())
            == (self.stored_as.0.as_str(), self.stored_as.1.as_str())
    }
}

/// One API group in discovery order.
#[derive(Clone)]
pub(crate) struct Group {
    pub(crate) name: String,
    pub(crate) versions: Vec<String>,
}

/// All resources that are served now.
#[derive(Default)]
pub(crate) struct Kinds {
    pub(crate) groups: Vec<Group>,
    pub(crate) resources: Vec<Arc<Resource>>,
    by_plural: HashMap<String, Arc<Resource>>,
    by_kind: HashMap<String, Arc<Resource>>,
}

fn id(group: &str, version: &str, name: &str) -> String {
    format!("{group}/{version}/{name}")
}

impl Kinds {
    /// The built-in resources, those of definitions, and further ones.
    pub(crate) fn with(
        custom: &BTreeMap<String, Vec<Arc<Resource>>>,
        further: &[Arc<Resource>],
    ) -> Self {
        let mut kinds = Self::default();
        for group in &facts::catalog().groups {
            let versions = group.versions.iter().map(|v| (*v).to_string()).collect();
            kinds.groups.push(Group {
                name: group.name.into(),
                versions,
            });
        }
        for resource in &facts::catalog().resources {
            kinds.add(Arc::new(from_facts(resource)));
        }
        for resource in custom.values().flatten().chain(further) {
            let at = kinds
                .groups
                .iter()
                .position(|g| g.name == resource.group)
                .unwrap_or_else(|| {
                    kinds.groups.push(Group {
                        name: resource.group.clone(),
                        versions: Vec::new(),
                    });
                    kinds.groups.len() - 1
                });
            let versions = &mut kinds.groups[at].versions;
            if !versions.contains(&resource.version) {
                versions.push(resource.version.clone());
                versions.sort_by_key(|version| Reverse(version_rank(version)));
            }
            kinds.add(resource.clone());
        }
        kinds
    }

    fn add(&mut self, resource: Arc<Resource>) {
        self.by_plural.insert(
            id(&resource.group, &resource.version, &resource.plural),
            resource.clone(),
        );
        self.by_kind.insert(
            id(&resource.group, &resource.version, &resource.kind),
            resource.clone(),
        );
        self.resources.push(resource);
    }

    pub(crate) fn resource(
        &self,
        group: &str,
        version: &str,
        plural: &str,
    ) -> Option<&Arc<Resource>> {
        self.by_plural.get(&id(group, version, plural))
    }

    pub(crate) fn of_kind(&self, group: &str, version: &str, kind: &str) -> Option<&Arc<Resource>> {
        self.by_kind.get(&id(group, version, kind))
    }

    pub(crate) fn group(&self, name: &str) -> Option<&Group> {
        self.groups.iter().find(|g| g.name == name)
    }

    pub(crate) fn of<'a>(
        &'a self,
        group: &'a str,
        version: &'a str,
    ) -> impl Iterator<Item = &'a Arc<Resource>> {
        self.resources
            .iter()
            .filter(move |r| r.group == group && r.version == version)
    }
}

/// Kubernetes' order of versions: stable before beta before alpha, higher numbers first.
pub(crate) fn version_rank(version: &str) -> (u8, u64, u64, Reverse<String>) {
    let other = (0, 0, 0, Reverse(version.to_string()));
    let Some(rest) = version.strip_prefix('v') else {
        return other;
    };
    let digits = rest.chars().take_while(char::is_ascii_digit).count();
    let Ok(major) = rest[..digits].parse::<u64>() else {
        return other;
    };
    let none = Reverse(String::new());
    match &rest[digits..] {
        "" => (3, major, 0, none),
        stage => {
            let (rank, number) = match (stage.strip_prefix("beta"), stage.strip_prefix("alpha")) {
                (Some(number), _) => (2, number),
                (_, Some(number)) => (1, number),
                _ => return other,
            };
            number
                .parse()
                .map_or(other, |minor| (rank, major, minor, none))
        }
    }
}

fn from_facts(resource: &facts::Resource) -> Resource {
    let texts = |list: &[&str]| list.iter().map(|s| (*s).to_string()).collect::<Vec<_>>();
    let (group, version) = resource.storage();
    Resource {
        group: resource.group.into(),
        version: resource.version.into(),
        kind: resource.kind.into(),
        list_kind: resource.list_kind.clone(),
        plural: resource.plural.into(),
        singular: resource.singular.into(),
        namespaced: resource.namespaced,
        verbs: texts(&resource.verbs),
        short_names: texts(&resource.short_names),
        categories: texts(&resource.categories),
        storage_hash: resource.storage_hash.into(),
        subresources: resource
            .subresources
            .iter()
            .map(|sub| Subresource {
                name: sub.name.into(),
                group: sub.group.into(),
                version: sub.version.into(),
                kind: sub.kind.into(),
                foreign: sub.foreign,
                verbs: texts(&sub.verbs),
            })
            .collect(),
        table: table(group, resource.plural),
        stored_as: (group.into(), version.into()),
        custom: None,
    }
}

/// Name of a resource's table in the store.
pub(crate) fn table(group: &str, plural: &str) -> Arc<str> {
    Arc::from(if group.is_empty() {
        plural.to_string()
    } else {
        format!("{group}/{plural}")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_rank_as_upstream_says() {
        let mut versions = [
            "v1",
            "v10beta3",
            "v2",
            "v3beta1",
            "foo1",
            "v12alpha1",
            "v11alpha2",
            "v10",
        ];
        versions.sort_by_key(|version| Reverse(version_rank(version)));
        assert_eq!(
            versions,
            [
                "v10",
                "v2",
                "v1",
                "v10beta3",
                "v3beta1",
                "v12alpha1",
                "v11alpha2",
                "foo1"
            ]
        );
    }

    #[test]
    fn versions_of_one_object_share_a_table() {
        let kinds = Kinds::with(&BTreeMap::new(), &[]);
        let old = kinds.resource("", "v1", "events").expect("events");
        let new = kinds
            .resource("events.k8s.io", "v1", "events")
            .expect("events");
        assert_eq!(old.table, new.table);
        assert!(old.is_stored_form() && !new.is_stored_form());
    }
}
