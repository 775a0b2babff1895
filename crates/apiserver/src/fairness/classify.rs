//! Which flow a request belongs to: the first flow schema, in the order of their precedence, that
//! has a rule for who asks and what is asked.

use crate::rbac::Ask;
use serde_json::Value;
use towpath_kit::traits::Principal;

/// How flows of one schema are told apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum By {
    Nothing,
    User,
    Namespace,
}

enum Subject {
    User(String),
    Group(String),
    Account { namespace: String, name: String },
}

struct ResourceRule {
    verbs: Vec<String>,
    groups: Vec<String>,
    resources: Vec<String>,
    cluster: bool,
    namespaces: Vec<String>,
}

struct PathRule {
    verbs: Vec<String>,
    urls: Vec<String>,
}

struct Rule {
    subjects: Vec<Subject>,
    resources: Vec<ResourceRule>,
    paths: Vec<PathRule>,
}

/// One flow schema.
pub(super) struct Schema {
    pub(super) name: String,
    pub(super) uid: String,
    pub(super) level: String,
    pub(super) precedence: i64,
    by: By,
    rules: Vec<Rule>,
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_string()
}

fn texts(value: &Value) -> Vec<String> {
    list(value).map(text).collect()
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

// A wildcard stands alone.
fn holds(list: &[String], wanted: &str) -> bool {
    matches!(list, [one] if one == "*") || list.iter().any(|one| one == wanted)
}

impl Schema {
    pub(super) fn read(object: &Value) -> Self {
        let spec = &object["spec"];
        Self {
            name: text(&object["metadata"]["name"]),
            uid: text(&object["metadata"]["uid"]),
            level: text(&spec["priorityLevelConfiguration"]["name"]),
            precedence: spec["matchingPrecedence"].as_i64().unwrap_or(1000),
            by: match spec["distinguisherMethod"]["type"].as_str() {
                Some("ByUser") => By::User,
                Some("ByNamespace") => By::Namespace,
                _ => By::Nothing,
            },
            rules: list(&spec["rules"]).map(Rule::read).collect(),
        }
    }

    pub(super) fn matches(&self, who: &Principal, ask: &Ask<'_>) -> bool {
        self.rules.iter().any(|rule| rule.matches(who, ask))
    }

    /// Which of the schema's flows it is.
    pub(super) fn flow(&self, who: &Principal, ask: &Ask<'_>) -> String {
        match self.by {
            By::Nothing => String::new(),
            By::User => who.name.clone(),
            By::Namespace => ask.namespace.to_string(),
        }
    }
}

impl Rule {
    fn read(rule: &Value) -> Self {
        let subject = |subject: &Value| match subject["kind"].as_str()? {
            "User" => Some(Subject::User(text(&subject["user"]["name"]))),
            "Group" => Some(Subject::Group(text(&subject["group"]["name"]))),
            "ServiceAccount" => Some(Subject::Account {
                namespace: text(&subject["serviceAccount"]["namespace"]),
                name: text(&subject["serviceAccount"]["name"]),
            }),
            _ => None,
        };
        let resource = |rule: &Value| ResourceRule {
            verbs: texts(&rule["verbs"]),
            groups: texts(&rule["apiGroups"]),
            resources: texts(&rule["resources"]),
            cluster: rule["clusterScope"] == true,
            namespaces: texts(&rule["namespaces"]),
        };
        let path = |rule: &Value| PathRule {
            verbs: texts(&rule["verbs"]),
            urls: texts(&rule["nonResourceURLs"]),
        };
        Self {
            subjects: list(&rule["subjects"]).filter_map(subject).collect(),
            resources: list(&rule["resourceRules"]).map(resource).collect(),
            paths: list(&rule["nonResourceRules"]).map(path).collect(),
        }
    }

    fn matches(&self, who: &Principal, ask: &Ask<'_>) -> bool {
        if !self.subjects.iter().any(|subject| subject.is(who)) {
            return false;
        }
        match ask.resource.is_empty() {
            false => self.resources.iter().any(|rule| rule.matches(ask)),
            true => self.paths.iter().any(|rule| rule.matches(ask)),
        }
    }
}

impl Subject {
    fn is(&self, who: &Principal) -> bool {
        match self {
            Self::User(name) => name == "*" || *name == who.name,
            Self::Group(name) => name == "*" || who.groups.contains(name),
            Self::Account { namespace, name } => {
                let account = who.name.strip_prefix("system:serviceaccount:");
                let account = account.and_then(|account| account.split_once(':'));
                account.is_some_and(|(n, a)| n == namespace && (name == "*" || name == a))
            }
        }
    }
}

impl ResourceRule {
    fn matches(&self, ask: &Ask<'_>) -> bool {
        let resource = match ask.subresource {
            "" => ask.resource.to_string(),
            part => format!("{}/{part}", ask.resource),
        };
        holds(&self.verbs, ask.verb)
            && holds(&self.resources, &resource)
            && holds(&self.groups, ask.group)
            && match ask.namespace {
                "" => self.cluster,
                namespace => holds(&self.namespaces, namespace),
            }
    }
}

impl PathRule {
    fn matches(&self, ask: &Ask<'_>) -> bool {
        holds(&self.verbs, ask.verb)
            && self.urls.iter().any(|url| {
                let prefix = url.strip_suffix('*').unwrap_or(url);
                let prefix = match prefix.ends_with('/') {
                    true => prefix.to_string(),
                    false => format!("{prefix}/"),
                };
                url == "*" || url == ask.path || ask.path.starts_with(&prefix)
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn who(name: &str, groups: &[&str]) -> Principal {
        Principal {
            name: name.into(),
            groups: groups.iter().map(|g| (*g).to_string()).collect(),
            ..Principal::default()
        }
    }

    #[test]
    fn the_first_that_matches() {
        let mut all: Vec<Schema> = super::super::facts("flowschemas")
            .iter()
            .map(|fact| {
                Schema::read(&json!({"metadata": {"name": fact["name"]}, "spec": fact["spec"]}))
            })
            .collect();
        all.sort_by(|a, b| (a.precedence, &a.name).cmp(&(b.precedence, &b.name)));
        let of = |who: &Principal, ask: &Ask<'_>| {
            let found = all.iter().find(|schema| schema.matches(who, ask));
            found.map_or_else(String::new, |schema| {
                format!("{} {}", schema.name, schema.flow(who, ask))
                    .trim_end()
                    .to_string()
            })
        };
        let list = |group: &'static str, resource: &'static str, namespace: &'static str| Ask {
            verb: "get",
            group,
            resource,
            namespace,
            ..Ask::default()
        };
        let known = "system:authenticated";
        let ann = who("ann", &[known]);
        assert_eq!(of(&ann, &list("", "pods", "a")), "global-default ann");
        let root = who("root", &["system:masters", known]);
        assert_eq!(of(&root, &list("", "pods", "a")), "exempt");
        let account = who(
            "system:serviceaccount:a:b",
            &["system:serviceaccounts", "system:serviceaccounts:a", known],
        );
        let told = "service-accounts system:serviceaccount:a:b";
        assert_eq!(of(&account, &list("", "pods", "a")), told);
        let system = who(
            "system:serviceaccount:kube-system:b",
            &["system:serviceaccounts", known],
        );
        assert_eq!(
            of(&system, &list("", "pods", "x")),
            "kube-system-service-accounts x"
        );
        let lease = list("coordination.k8s.io", "leases", "kube-system");
        assert_eq!(
            of(&system, &lease),
            "system-leader-election system:serviceaccount:kube-system:b"
        );
        let node = who("system:node:n", &["system:nodes", known]);
        assert_eq!(
            of(&node, &list("", "nodes", "")),
            "system-node-high system:node:n"
        );
        assert_eq!(
            of(&node, &list("", "pods", "a")),
            "system-nodes system:node:n"
        );
        let probe = Ask {
            verb: "get",
            path: "/readyz",
            ..Ask::default()
        };
        assert_eq!(of(&who("x", &["system:unauthenticated"]), &probe), "probes");
        assert_eq!(of(&who("x", &[]), &probe), "");
    }
}
