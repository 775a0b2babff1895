//! The catalogue of built-in resources: names, scope, verbs, subresources, storage versions.
//!
//! Everything here is read once from `facts/resources.txt`, which `cargo xtask codegen` makes from
//! the discovery documents of Kubernetes. Nothing is typed by hand except which served versions
//! share one stored form ([`Resource::storage`]).

use std::collections::HashMap;
use std::sync::LazyLock;

/// What can be done with objects of a kind that nothing restricts.
pub const VERBS: [&str; 8] = [
    "create",
    "delete",
    "deletecollection",
    "get",
    "list",
    "patch",
    "update",
    "watch",
];

static TABLE: &str = include_str!("../facts/resources.txt");
static ROLES: &str = include_str!("../facts/roles.json");
static CATALOG: LazyLock<Catalog> = LazyLock::new(|| read(TABLE));

/// The Kubernetes level these facts describe.
pub const KUBERNETES_VERSION: &str = "v1.36.3";

/// All built-in groups and resources, in upstream's order of preference.
#[derive(Debug)]
pub struct Catalog {
    /// API groups; the core group (name `""`) is first.
    pub groups: Vec<Group>,
    /// Resources of all groups and served versions.
    pub resources: Vec<Resource>,
    by_plural: HashMap<(&'static str, &'static str, &'static str), usize>,
    by_kind: HashMap<(&'static str, &'static str, &'static str), usize>,
}

/// One API group.
#[derive(Debug)]
pub struct Group {
    /// Name; empty for the core group.
    pub name: &'static str,
    /// Served versions, the preferred one first.
    pub versions: Vec<&'static str>,
}

/// One resource in one served version.
#[derive(Debug)]
pub struct Resource {
    /// API group; empty for core.
    pub group: &'static str,
    /// Served version.
    pub version: &'static str,
    /// Kind, as in manifests.
    pub kind: &'static str,
    /// Kind of a list of these.
    pub list_kind: String,
    /// Plural name, as in paths.
    pub plural: &'static str,
    /// Singular name.
    pub singular: &'static str,
    /// Whether objects live in a namespace.
    pub namespaced: bool,
    /// Supported verbs, sorted.
    pub verbs: Vec<&'static str>,
    /// Short names for the command line.
    pub short_names: Vec<&'static str>,
    /// Categories, such as `all`.
    pub categories: Vec<&'static str>,
    /// Upstream's hash of the stored version, for discovery; empty where nothing is stored.
    pub storage_hash: &'static str,
    /// Subresources in order of name.
    pub subresources: Vec<Subresource>,
}

/// A part of a resource with its own path.
#[derive(Debug)]
pub struct Subresource {
    /// Name, as in paths (`status`, `scale`, `log`, ...).
    pub name: &'static str,
    /// Group of what is sent and received; that of the resource unless it differs.
    pub group: &'static str,
    /// Version of what is sent and received.
    pub version: &'static str,
    /// Kind of what is sent and received.
    pub kind: &'static str,
    /// Whether group and version differ from the resource's (discovery says so only then).
    pub foreign: bool,
    /// Supported verbs.
    pub verbs: Vec<&'static str>,
}

impl Resource {
    /// `v1` or `apps/v1`.
    pub fn api_version(&self) -> String {
        api_version(self.group, self.version)
    }

    /// Whether `verb` is supported.
    pub fn has_verb(&self, verb: &str) -> bool {
        self.verbs.contains(&verb)
    }

    /// The subresource of that name.
    pub fn subresource(&self, name: &str) -> Option<&Subresource> {
        self.subresources.iter().find(|sub| sub.name == name)
    }

    /// Group and version under which objects are kept: the same object is served in several
    /// groups or versions and stored once (see [`crate::convert`]).
    pub fn storage(&self) -> (&'static str, &'static str) {
        match (self.group, self.kind) {
            ("events.k8s.io", "Event") => ("", "v1"),
            ("autoscaling", "HorizontalPodAutoscaler") => ("autoscaling", "v2"),
            _ => (self.group, self.version),
        }
    }

    /// Whether objects are kept at all; reviews and bindings are requests, not objects.
    pub fn is_stored(&self) -> bool {
        self.has_verb("get") && self.kind != "ComponentStatus"
    }
}

impl Catalog {
    /// The resource with that plural name.
    pub fn resource(&self, group: &str, version: &str, plural: &str) -> Option<&Resource> {
        self.by_plural
            .get(&(group, version, plural))
            .map(|at| &self.resources[*at])
    }

    /// The resource that holds objects of `kind`.
    pub fn kind(&self, group: &str, version: &str, kind: &str) -> Option<&Resource> {
        self.by_kind
            .get(&(group, version, kind))
            .map(|at| &self.resources[*at])
    }

    /// The group of that name.
    pub fn group(&self, name: &str) -> Option<&Group> {
        self.groups.iter().find(|group| group.name == name)
    }

    /// Resources of one group and version, in discovery order.
    pub fn of(&self, group: &str, version: &str) -> impl Iterator<Item = &Resource> {
        self.resources
            .iter()
            .filter(move |r| r.group == group && r.version == version)
    }
}

/// The built-in resources.
pub fn catalog() -> &'static Catalog {
    &CATALOG
}

/// Upstream's default roles and bindings (`Role`, `ClusterRole` and their bindings), to be
/// reconciled at start.
pub fn bootstrap_roles() -> Vec<serde_json::Value> {
    serde_json::from_str(ROLES).expect("the committed table is checked by a test")
}

/// `v1` or `apps/v1`.
pub fn api_version(group: &str, version: &str) -> String {
    if group.is_empty() {
        version.to_string()
    } else {
        format!("{group}/{version}")
    }
}

/// Group and version of an `apiVersion`.
pub fn split_api_version(text: &str) -> (&str, &str) {
    text.split_once('/').unwrap_or(("", text))
}

fn read(table: &'static str) -> Catalog {
    let mut groups: Vec<Group> = Vec::new();
    let mut resources: Vec<Resource> = Vec::new();
    for line in table.lines() {
        let mut words = line.split(' ');
        let mut word = || words.next().filter(|word| *word != "-").unwrap_or_default();
        match word() {
            "group" => groups.push(Group {
                name: word(),
                versions: list(word()),
            }),
            "resource" => {
                let group = groups.last().map(|group| group.name).unwrap_or_default();
                let (version, plural, singular, kind) = (word(), word(), word(), word());
                resources.push(Resource {
                    group,
                    version,
                    kind,
                    list_kind: format!("{kind}List"),
                    plural,
                    singular,
                    namespaced: word() == "namespaced",
                    verbs: list(word()),
                    storage_hash: word(),
                    short_names: list(word()),
                    categories: list(word()),
                    subresources: Vec::new(),
                });
            }
            "sub" => {
                let Some(owner) = resources.last_mut() else {
                    continue;
                };
                let (name, group, version, kind) = (word(), word(), word(), word());
                let foreign = version != "=";
                owner.subresources.push(Subresource {
                    name,
                    group: if foreign { group } else { owner.group },
                    version: if foreign { version } else { owner.version },
                    kind,
                    foreign,
                    verbs: list(word()),
                });
            }
            _ => {}
        }
    }
    let index = |name: fn(&Resource) -> &'static str| {
        resources
            .iter()
            .enumerate()
            .map(|(at, r)| ((r.group, r.version, name(r)), at))
            .collect()
    };
    let (by_plural, by_kind) = (index(|r| r.plural), index(|r| r.kind));
    Catalog {
        groups,
        resources,
        by_plural,
        by_kind,
    }
}

fn list(text: &'static str) -> Vec<&'static str> {
    text.split(',').filter(|item| !item.is_empty()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn knows_groups_resources_and_foreign_subresources() {
        let catalog = catalog();
        assert_eq!(catalog.groups[0].name, "");
        let pods = catalog.resource("", "v1", "pods").unwrap();
        assert_eq!(
            (pods.kind, pods.list_kind.as_str(), pods.namespaced),
            ("Pod", "PodList", true)
        );
        assert_eq!(pods.short_names, ["po"]);
        let eviction = pods.subresource("eviction").unwrap();
        assert_eq!(
            (eviction.group, eviction.kind, eviction.foreign),
            ("policy", "Eviction", true)
        );
        let scale = catalog
            .kind("apps", "v1", "Deployment")
            .unwrap()
            .subresource("scale")
            .unwrap();
        assert_eq!(
            (scale.group, scale.version, scale.kind),
            ("autoscaling", "v1", "Scale")
        );
        assert_eq!(catalog.group("autoscaling").unwrap().versions, ["v2", "v1"]);
        assert!(catalog.resource("", "v1", "gizmos").is_none());
    }

    #[test]
    fn bootstrap_roles_are_there() {
        let roles = bootstrap_roles();
        assert!(roles.len() > 100);
        assert!(
            roles
                .iter()
                .any(|r| r["kind"] == "ClusterRole" && r["metadata"]["name"] == "cluster-admin")
        );
    }
}
