//! Authorization: roles and bindings, compiled from the live objects whenever one of them has
//! changed, so that a change takes effect with the very next request.

use crate::record;
use parking_lot::Mutex;
use serde_json::Value;
use std::collections::HashMap;
use std::sync::Arc;
use towpath_api::selector::Label;
use towpath_kit::traits::Principal;
use towpath_store::{Rec, Snapshot, Table};

const TABLES: [&str; 4] = [
    "rbac.authorization.k8s.io/clusterroles",
    "rbac.authorization.k8s.io/roles",
    "rbac.authorization.k8s.io/clusterrolebindings",
    "rbac.authorization.k8s.io/rolebindings",
];

/// One rule of a role.
#[derive(Clone, Debug, Default)]
pub(crate) struct Rule {
    pub(crate) verbs: Vec<String>,
    pub(crate) groups: Vec<String>,
    pub(crate) resources: Vec<String>,
    pub(crate) names: Vec<String>,
    pub(crate) urls: Vec<String>,
}

/// What is asked for; `path` only where `resource` is empty.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Ask<'a> {
    pub(crate) verb: &'a str,
    pub(crate) group: &'a str,
    pub(crate) resource: &'a str,
    pub(crate) subresource: &'a str,
    pub(crate) namespace: &'a str,
    pub(crate) name: &'a str,
    pub(crate) path: &'a str,
}

fn any(list: &[String], wanted: &str) -> bool {
    list.iter().any(|item| item == "*" || item == wanted)
}

impl Rule {
    pub(crate) fn read(rule: &Value) -> Self {
        let list = |key: &str| {
            let items = rule[key].as_array().into_iter().flatten();
            items
                .filter_map(|v| v.as_str().map(str::to_string))
                .collect()
        };
        Self {
            verbs: list("verbs"),
            groups: list("apiGroups"),
            resources: list("resources"),
            names: list("resourceNames"),
            urls: list("nonResourceURLs"),
        }
    }

    /// What an administrator may do.
    pub(crate) fn everything() -> [Self; 2] {
        let all = || vec!["*".to_string()];
        let resources = Self {
            verbs: all(),
            groups: all(),
            resources: all(),
            ..Self::default()
        };
        let urls = Self {
            verbs: all(),
            urls: all(),
            ..Self::default()
        };
        [resources, urls]
    }

    fn has_resource(&self, ask: &Ask<'_>) -> bool {
        self.resources.iter().any(|item| {
            if ask.subresource.is_empty() {
                return item == "*" || item == ask.resource;
            }
            match item.split_once('/') {
                None => item == "*",
                Some((resource, sub)) => {
                    (resource == "*" || resource == ask.resource) && sub == ask.subresource
                }
            }
        })
    }

    pub(crate) fn allows(&self, ask: &Ask<'_>) -> bool {
        if !any(&self.verbs, ask.verb) {
            return false;
        }
        if ask.resource.is_empty() {
            return self.urls.iter().any(|url| match url.strip_suffix('*') {
                Some(prefix) => ask.path.starts_with(prefix),
                None => url == ask.path,
            });
        }
        any(&self.groups, ask.group)
            && self.has_resource(ask)
            && (self.names.is_empty() || self.names.iter().any(|name| name == ask.name))
    }

    pub(crate) fn to_value(&self) -> Value {
        if !self.urls.is_empty() {
            return serde_json::json!({"verbs": self.verbs, "nonResourceURLs": self.urls});
        }
        let mut rule = serde_json::json!({"verbs": self.verbs, "apiGroups": self.groups, "resources": self.resources});
        if !self.names.is_empty() {
            rule["resourceNames"] = self.names.clone().into();
        }
        rule
    }
}

type Rules = Arc<Vec<Rule>>;

struct Role {
    revision: u64,
    rules: Rules,
    aggregate: Vec<Label>,
}

#[derive(Clone)]
struct Binding {
    revision: u64,
    /// How a principal is looked up, and what the subject is called.
    subjects: Arc<Vec<(String, String)>>,
    cluster_role: bool,
    role: String,
}

struct Grant {
    /// Empty for all.
    namespace: String,
    rules: Rules,
    /// Which binding of which role to whom.
    by: Arc<str>,
}

#[derive(Default)]
struct Compiled {
    tables: [Table; 4],
    roles: HashMap<Arc<str>, Arc<Role>>,
    bindings: HashMap<(bool, Arc<str>), Binding>,
    grants: HashMap<String, Vec<Grant>>,
}

/// Evaluates roles and bindings.
#[derive(Default)]
pub(crate) struct Rbac(Mutex<Arc<Compiled>>);

fn role(rec: &Rec) -> Role {
    let object = record::decode(rec);
    let rules = object["rules"]
        .as_array()
        .into_iter()
        .flatten()
        .map(Rule::read)
        .collect();
    let selectors = object["aggregationRule"]["clusterRoleSelectors"]
        .as_array()
        .into_iter()
        .flatten();
    let aggregate = selectors
        .filter_map(|s| Label::from_object(s).ok())
        .collect();
    Role {
        revision: rec.revision,
        rules: Arc::new(rules),
        aggregate,
    }
}

fn binding(rec: &Rec) -> Binding {
    let object = record::decode(rec);
    let subjects = object["subjects"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|subject| {
            let name = subject["name"].as_str()?;
            match subject["kind"].as_str()? {
                "User" => Some((format!("u:{name}"), format!("User {name:?}"))),
                "Group" => Some((format!("g:{name}"), format!("Group {name:?}"))),
                "ServiceAccount" => {
                    let namespace = subject["namespace"].as_str().unwrap_or(rec.namespace());
                    let shown = format!("ServiceAccount {:?}", format!("{name}/{namespace}"));
                    Some((format!("u:system:serviceaccount:{namespace}:{name}"), shown))
                }
                _ => None,
            }
        });
    Binding {
        revision: rec.revision,
        subjects: Arc::new(subjects.collect()),
        cluster_role: object["roleRef"]["kind"] == "ClusterRole",
        role: object["roleRef"]["name"]
            .as_str()
            .unwrap_or_default()
            .to_string(),
    }
}

impl Binding {
    fn describe(&self, rec: &Rec) -> String {
        let role = if self.cluster_role {
            "ClusterRole"
        } else {
            "Role"
        };
        let (kind, name) = match rec.namespace() {
            "" => ("ClusterRoleBinding", rec.name().to_string()),
            namespace => ("RoleBinding", format!("{}/{namespace}", rec.name())),
        };
        format!("{kind} {name:?} of {role} {:?}", self.role)
    }
}

impl Compiled {
    fn build(tables: [Table; 4], before: &Self) -> Self {
        let mut next = Self {
            tables,
            ..Self::default()
        };
        for (key, rec) in next.tables[0].iter().chain(next.tables[1].iter()) {
            let known = before
                .roles
                .get(key)
                .filter(|role| role.revision == rec.revision);
            next.roles.insert(
                key.clone(),
                known.cloned().unwrap_or_else(|| Arc::new(role(rec))),
            );
        }
        for (table, namespaced) in [(2, false), (3, true)] {
            for (key, rec) in next.tables[table].iter() {
                let id = (namespaced, key.clone());
                let known = before
                    .bindings
                    .get(&id)
                    .filter(|binding| binding.revision == rec.revision);
                let binding = known.cloned().unwrap_or_else(|| binding(rec));
                let role_namespace = if binding.cluster_role {
                    ""
                } else {
                    rec.namespace()
                };
                let rules = next.rules(&towpath_store::key(role_namespace, &binding.role));
                let what = binding.describe(rec);
                for (subject, shown) in binding.subjects.iter() {
                    let grant = Grant {
                        namespace: rec.namespace().to_string(),
                        rules: rules.clone(),
                        by: format!("{what} to {shown}").into(),
                    };
                    next.grants.entry(subject.clone()).or_default().push(grant);
                }
                next.bindings.insert(id, binding);
            }
        }
        next
    }

    // A role's rules with those it aggregates.
    fn rules(&self, key: &str) -> Rules {
        let Some(role) = self.roles.get(key) else {
            return Rules::default();
        };
        if role.aggregate.is_empty() {
            return role.rules.clone();
        }
        let mut rules = Vec::clone(&role.rules);
        for (other, rec) in self.tables[0].iter().filter(|(other, _)| ***other != *key) {
            if role
                .aggregate
                .iter()
                .any(|selector| selector.matches_with(|label| rec.meta.label(label)))
                && let Some(other) = self.roles.get(other)
            {
                // `admin` aggregates `edit`, which aggregates again: one more level is enough,
                // as the labels of the lower ones are on the leaves too.
                rules.extend(other.rules.iter().cloned());
            }
        }
        Arc::new(rules)
    }
}

impl Rbac {
    fn compiled(&self, state: &Snapshot) -> Arc<Compiled> {
        let now = TABLES.map(|name| state.table(name));
        let mut held = self.0.lock();
        if !held
            .tables
            .iter()
            .zip(&now)
            .all(|(a, b)| a.ptr_eq(b) || a.is_empty() && b.is_empty())
        {
            *held = Arc::new(Compiled::build(now, &held));
        }
        held.clone()
    }

    fn grants<T>(
        &self,
        state: &Snapshot,
        principal: &Principal,
        namespace: &str,
        mut each: impl FnMut(&Grant) -> Option<T>,
    ) -> Option<T> {
        let compiled = self.compiled(state);
        let subjects = std::iter::once(format!("u:{}", principal.name))
            .chain(principal.groups.iter().map(|group| format!("g:{group}")));
        for subject in subjects {
            for grant in compiled.grants.get(&subject).into_iter().flatten() {
                let applies = grant.namespace.is_empty()
                    || (!namespace.is_empty() && grant.namespace == namespace);
                if applies && let Some(found) = each(grant) {
                    return Some(found);
                }
            }
        }
        None
    }

    /// Rules that apply to a principal in a namespace (or, where empty, at cluster scope).
    pub(crate) fn rules(
        &self,
        state: &Snapshot,
        principal: &Principal,
        namespace: &str,
    ) -> Vec<Rules> {
        let mut found = Vec::new();
        self.grants(state, principal, namespace, |grant| {
            found.push(grant.rules.clone());
            None::<()>
        });
        found
    }

    /// Whether it is allowed.
    pub(crate) fn allowed(&self, state: &Snapshot, principal: &Principal, ask: &Ask<'_>) -> bool {
        self.reason(state, principal, ask).is_some()
    }

    /// Why it is allowed, in upstream's words; `None` where it is not. Administrators need no
    /// reason.
    pub(crate) fn reason(
        &self,
        state: &Snapshot,
        principal: &Principal,
        ask: &Ask<'_>,
    ) -> Option<String> {
        let groups = &principal.groups;
        if groups.iter().any(|group| group == "system:masters") {
            return Some(String::new());
        }
        self.grants(state, principal, ask.namespace, |grant| {
            let allows = grant.rules.iter().any(|rule| rule.allows(ask));
            allows.then(|| format!("RBAC: allowed by {}", grant.by))
        })
    }

    /// Rules of a role as they take effect.
    pub(crate) fn role_rules(&self, state: &Snapshot, namespace: &str, name: &str) -> Vec<Rule> {
        let key = towpath_store::key(namespace, name);
        Vec::clone(&self.compiled(state).rules(&key))
    }
}

/// What of `wanted` the holder of `held` may not do: each wanted rule is broken into single
/// permissions, as a union of several held rules may cover it.
pub(crate) fn uncovered(held: &[Rules], wanted: &[Rule]) -> Vec<Rule> {
    let mut missing = Vec::new();
    for rule in wanted {
        for single in singles(rule) {
            if !held
                .iter()
                .any(|rules| rules.iter().any(|rule| covers(rule, &single)))
            {
                missing.push(single);
            }
        }
    }
    missing
}

fn singles(rule: &Rule) -> Vec<Rule> {
    let one = |text: &String| vec![text.clone()];
    let mut out = Vec::new();
    for verb in &rule.verbs {
        for url in &rule.urls {
            out.push(Rule {
                verbs: one(verb),
                urls: one(url),
                ..Rule::default()
            });
        }
        for group in &rule.groups {
            for resource in &rule.resources {
                let base = Rule {
                    verbs: one(verb),
                    groups: one(group),
                    resources: one(resource),
                    ..Rule::default()
                };
                if rule.names.is_empty() {
                    out.push(base);
                } else {
                    out.extend(rule.names.iter().map(|name| Rule {
                        names: one(name),
                        ..base.clone()
                    }));
                }
            }
        }
    }
    out
}

fn covers(held: &Rule, single: &Rule) -> bool {
    let has = |list: &[String], wanted: &[String]| wanted.iter().all(|w| any(list, w));
    if let Some(url) = single.urls.first() {
        return has(&held.verbs, &single.verbs)
            && held.urls.iter().any(|u| {
                u == url
                    || u.strip_suffix('*')
                        .is_some_and(|prefix| url.starts_with(prefix))
            });
    }
    let resource = single.resources.first().map_or("", String::as_str);
    let resources = held.resources.iter().any(|item| {
        item == "*"
            || item == resource
            || item
                .strip_prefix("*/")
                .is_some_and(|sub| resource.split_once('/').is_some_and(|(_, s)| s == sub))
    });
    let names = held.names.is_empty()
        || !single.names.is_empty() && single.names.iter().all(|n| held.names.contains(n));
    has(&held.verbs, &single.verbs) && has(&held.groups, &single.groups) && resources && names
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn ask<'a>(verb: &'a str, resource: &'a str, subresource: &'a str, name: &'a str) -> Ask<'a> {
        Ask {
            verb,
            resource,
            subresource,
            name,
            ..Ask::default()
        }
    }

    #[test]
    fn rules_as_upstream_reads_them() {
        let rule = Rule::read(
            &json!({"verbs": ["get"], "apiGroups": [""], "resources": ["pods", "pods/log", "*/scale"]}),
        );
        assert!(rule.allows(&ask("get", "pods", "", "a")));
        assert!(rule.allows(&ask("get", "pods", "log", "a")));
        assert!(rule.allows(&ask("get", "things", "scale", "a")));
        assert!(!rule.allows(&ask("get", "pods", "exec", "a")));
        assert!(!rule.allows(&ask("list", "pods", "", "")));
        let named = Rule::read(
            &json!({"verbs": ["get"], "apiGroups": [""], "resources": ["pods"], "resourceNames": ["a"]}),
        );
        assert!(
            named.allows(&ask("get", "pods", "", "a"))
                && !named.allows(&ask("get", "pods", "", "b"))
        );
        let url =
            Rule::read(&json!({"verbs": ["get"], "nonResourceURLs": ["/healthz/*", "/version"]}));
        assert!(url.allows(&Ask {
            verb: "get",
            path: "/healthz/etcd",
            ..Ask::default()
        }));
        assert!(!url.allows(&Ask {
            verb: "get",
            path: "/versions",
            ..Ask::default()
        }));
    }

    #[test]
    fn a_union_of_rules_covers() {
        let rules = |v: Value| -> Vec<Rule> {
            v.as_array().into_iter().flatten().map(Rule::read).collect()
        };
        let held = [Arc::new(rules(json!([
            {"verbs": ["get"], "apiGroups": [""], "resources": ["pods"]},
            {"verbs": ["list"], "apiGroups": [""], "resources": ["*"]}
        ])))];
        let wanted =
            rules(json!([{"verbs": ["get", "list"], "apiGroups": [""], "resources": ["pods"]}]));
        assert!(uncovered(&held, &wanted).is_empty());
        let wanted = rules(json!([{"verbs": ["*"], "apiGroups": [""], "resources": ["pods"]}]));
        assert_eq!(uncovered(&held, &wanted).len(), 1);
    }
}
