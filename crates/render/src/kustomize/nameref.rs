//! References follow the names they refer to.
//!
//! One table says which fields of which kinds hold names of which other kinds. Candidates are
//! found by a name they had before, through an index, so the cost is that of the references
//! that exist and not of all pairs of objects.

use super::fieldspec::{FieldSpec, Make, selected};
use super::resource::{NO_NAMESPACE, Resource, effective};
use crate::Finding;
use crate::object::split_api_version;
use crate::yaml::{Node, Value};
use std::collections::{HashMap, HashSet};
use std::sync::LazyLock;

struct Rule {
    // Target.
    group: &'static str,
    version: &'static str,
    kind: &'static str,
    spec: FieldSpec,
    role_ref: bool,
}

const POD_SPECS: &[(&str, &str)] = &[
    ("Pod", "spec"),
    ("PodTemplate", "template/spec"),
    ("Deployment", "spec/template/spec"),
    ("ReplicaSet", "spec/template/spec"),
    ("DaemonSet", "spec/template/spec"),
    ("StatefulSet", "spec/template/spec"),
    ("Job", "spec/template/spec"),
    ("CronJob", "spec/jobTemplate/spec/template/spec"),
];
// Claims, accounts and priorities are followed in fewer kinds.
const POD_SPECS_FEWER: &[(&str, &str)] = &[
    ("Pod", "spec"),
    ("StatefulSet", "spec/template/spec"),
    ("Deployment", "spec/template/spec"),
    ("ReplicationController", "spec/template/spec"),
    ("CronJob", "spec/jobTemplate/spec/template/spec"),
    ("Job", "spec/template/spec"),
    ("DaemonSet", "spec/template/spec"),
];

const RBAC: &str = "rbac.authorization.k8s.io";
const ADMISSION: &str = "admissionregistration.k8s.io";

static RULES: LazyLock<Vec<Rule>> = LazyLock::new(rules);
static RULES_BY_KIND: LazyLock<HashMap<&'static str, Vec<usize>>> = LazyLock::new(|| {
    let mut by_kind: HashMap<&'static str, Vec<usize>> = HashMap::new();
    for (at, rule) in RULES.iter().enumerate() {
        by_kind.entry(rule.spec.kind.as_str()).or_default().push(at);
    }
    by_kind
});

fn rules() -> Vec<Rule> {
    let mut rules = Vec::new();
    let mut add = |target: (&'static str, &'static str, &'static str),
                   group: &str,
                   kind: &str,
                   path: &str| {
        let version = if kind == "Pod" && matches!(target.2, "ConfigMap" | "Secret") {
            "v1"
        } else {
            ""
        };
        let spec = FieldSpec::new(group, version, kind, path, false);
        rules.push(Rule {
            group: target.0,
            version: target.1,
            kind: target.2,
            role_ref: path.ends_with("roleRef/name"),
            spec,
        });
    };
    for kind in [
        "Deployment",
        "ReplicationController",
        "ReplicaSet",
        "StatefulSet",
    ] {
        add(
            ("", "", kind),
            "",
            "HorizontalPodAutoscaler",
            "spec/scaleTargetRef/name",
        );
    }
    let config = ("", "v1", "ConfigMap");
    for (kind, base) in POD_SPECS {
        for path in [
            "volumes/configMap/name",
            "containers/env/valueFrom/configMapKeyRef/name",
            "initContainers/env/valueFrom/configMapKeyRef/name",
            "containers/envFrom/configMapRef/name",
            "initContainers/envFrom/configMapRef/name",
            "volumes/projected/sources/configMap/name",
        ] {
            add(config, "", kind, &format!("{base}/{path}"));
        }
    }
    add(config, "", "Node", "spec/configSource/configMap");
    add(config, "", "Role", "rules/resourceNames");
    add(config, "", "ClusterRole", "rules/resourceNames");
    add(
        config,
        "",
        "Ingress",
        r"metadata/annotations/nginx.ingress.kubernetes.io\/fastcgi-params-configmap",
    );
    let secret = ("", "v1", "Secret");
    for (kind, base) in POD_SPECS {
        for path in [
            "volumes/secret/secretName",
            "containers/env/valueFrom/secretKeyRef/name",
            "initContainers/env/valueFrom/secretKeyRef/name",
            "containers/envFrom/secretRef/name",
            "initContainers/envFrom/secretRef/name",
            "imagePullSecrets/name",
            "volumes/projected/sources/secret/name",
        ] {
            add(secret, "", kind, &format!("{base}/{path}"));
        }
    }
    add(secret, "", "Ingress", "spec/tls/secretName");
    for name in ["ingress.kubernetes.io", "nginx.ingress.kubernetes.io"] {
        add(
            secret,
            "",
            "Ingress",
            &format!(r"metadata/annotations/{name}\/auth-secret"),
        );
    }
    add(
        secret,
        "",
        "Ingress",
        r"metadata/annotations/nginx.ingress.kubernetes.io\/auth-tls-secret",
    );
    add(secret, "", "ServiceAccount", "imagePullSecrets/name");
    for field in [
        "secretName",
        "adminSecretName",
        "userSecretName",
        "secretRef",
    ] {
        add(secret, "", "StorageClass", &format!("parameters/{field}"));
    }
    add(secret, "", "Role", "rules/resourceNames");
    add(secret, "", "ClusterRole", "rules/resourceNames");
    add(
        secret,
        "serving.knative.dev",
        "Service",
        "spec/template/spec/containers/env/valueFrom/secretKeyRef/name",
    );
    add(secret, "", "PersistentVolume", "spec/azureFile/secretName");
    let service = ("", "v1", "Service");
    add(service, "apps", "StatefulSet", "spec/serviceName");
    for path in [
        "spec/rules/http/paths/backend/serviceName",
        "spec/backend/serviceName",
        "spec/rules/http/paths/backend/service/name",
        "spec/defaultBackend/service/name",
    ] {
        add(service, "", "Ingress", path);
    }
    add(
        service,
        "apiregistration.k8s.io",
        "APIService",
        "spec/service/name",
    );
    add(
        service,
        ADMISSION,
        "ValidatingWebhookConfiguration",
        "webhooks/clientConfig/service",
    );
    add(
        service,
        ADMISSION,
        "MutatingWebhookConfiguration",
        "webhooks/clientConfig/service",
    );
    add((RBAC, "", "Role"), RBAC, "RoleBinding", "roleRef/name");
    add(
        (RBAC, "", "ClusterRole"),
        RBAC,
        "RoleBinding",
        "roleRef/name",
    );
    add(
        (RBAC, "", "ClusterRole"),
        RBAC,
        "ClusterRoleBinding",
        "roleRef/name",
    );
    let account = ("", "v1", "ServiceAccount");
    add(account, RBAC, "RoleBinding", "subjects");
    add(account, RBAC, "ClusterRoleBinding", "subjects");
    for (target, path) in [
        (account, "serviceAccountName"),
        (
            ("", "v1", "PersistentVolumeClaim"),
            "volumes/persistentVolumeClaim/claimName",
        ),
    ] {
        for (kind, base) in POD_SPECS_FEWER {
            add(target, "", kind, &format!("{base}/{path}"));
        }
    }
    add(
        ("", "v1", "PersistentVolume"),
        "",
        "PersistentVolumeClaim",
        "spec/volumeName",
    );
    add(
        ("", "v1", "PersistentVolume"),
        "",
        "ClusterRole",
        "rules/resourceNames",
    );
    let class = ("storage.k8s.io", "v1", "StorageClass");
    add(class, "", "PersistentVolume", "spec/storageClassName");
    add(class, "", "PersistentVolumeClaim", "spec/storageClassName");
    add(
        class,
        "",
        "StatefulSet",
        "spec/volumeClaimTemplates/spec/storageClassName",
    );
    for (kind, base) in POD_SPECS_FEWER {
        add(
            ("scheduling.k8s.io", "v1", "PriorityClass"),
            "",
            kind,
            &format!("{base}/priorityClassName"),
        );
    }
    add(
        (ADMISSION, "", "ValidatingAdmissionPolicy"),
        ADMISSION,
        "ValidatingAdmissionPolicyBinding",
        "spec/policyName",
    );
    rules
}

// What a reference may need to know of the object it leads to.
struct Facts {
    group: String,
    version: String,
    name: String,
    namespace: String,
    effective: String,
    original_namespace: String,
    cluster_scoped: bool,
    account: bool,
    previous: Vec<(String, String)>,
    prefixes: Vec<String>,
    suffixes: Vec<String>,
}

impl Facts {
    fn of(resource: &Resource) -> Self {
        let gvk = resource.gvk();
        Self {
            group: gvk.group.into(),
            version: gvk.version.into(),
            name: resource.name().into(),
            namespace: resource.namespace().into(),
            effective: resource.effective_namespace().into(),
            original_namespace: resource.original().2.into(),
            cluster_scoped: resource.cluster_scoped(),
            account: gvk.kind == "ServiceAccount",
            previous: resource
                .previous
                .iter()
                .map(|p| (p.kind.clone(), p.name.clone()))
                .collect(),
            prefixes: resource.prefixes.clone(),
            suffixes: resource.suffixes.clone(),
        }
    }

    fn was(&self, group: &str, version: &str, kind: &str) -> bool {
        self.previous.iter().any(|(k, _)| {
            selected(
                super::resource::Gvk {
                    group: &self.group,
                    version: &self.version,
                    kind: k,
                },
                group,
                version,
                kind,
            )
        })
    }
}

/// Rewrites every reference to an object whose name or namespace has changed.
pub(super) fn fix(resources: &mut [Resource]) -> Result<(), Finding> {
    let facts: Vec<Facts> = resources.iter().map(Facts::of).collect();
    let mut by_name: HashMap<&str, Vec<usize>> = HashMap::with_capacity(facts.len());
    let mut original_namespaces: HashSet<&str> = HashSet::new();
    for (at, fact) in facts.iter().enumerate() {
        if fact.original_namespace != NO_NAMESPACE {
            original_namespaces.insert(&fact.original_namespace);
        }
        for (_, name) in &fact.previous {
            let found = by_name.entry(name).or_default();
            if found.last() != Some(&at) {
                found.push(at);
            }
        }
    }
    if by_name.is_empty() {
        return Ok(());
    }
    let index = Lookup {
        facts: &facts,
        by_name: &by_name,
        original_namespaces: &original_namespaces,
    };
    for (at, resource) in resources.iter_mut().enumerate() {
        let (_, kind, _) = resource.original();
        let Some(rules) = RULES_BY_KIND.get(kind) else {
            continue;
        };
        let (group, version) =
            split_api_version(resource.node.text_at(&["apiVersion"]).unwrap_or_default());
        let (group, version) = (group.to_string(), version.to_string());
        let role_ref = role_ref(&resource.node);
        let account_namespaces = account_namespaces(resource);
        for rule in rules.iter().map(|&rule| &RULES[rule]) {
            if !selected(
                super::resource::Gvk {
                    group: &group,
                    version: &version,
                    kind: &rule.spec.kind,
                },
                &rule.spec.group,
                &rule.spec.version,
                "",
            ) {
                continue;
            }
            let referrer = Referrer {
                facts: &facts[at],
                rule,
                role_ref: role_ref.as_ref(),
                account_namespaces: &account_namespaces,
            };
            let mut set = |node: &mut Node| index.set(&referrer, node);
            let done = rule.spec.apply(&mut resource.node, Make::Nothing, &mut set);
            done.map_err(|mut finding| {
                finding.message = format!("{}: {}", resource.describe(), finding.message);
                finding.in_file(&resource.file)
            })?;
        }
    }
    Ok(())
}

fn role_ref(node: &Node) -> Option<(String, String)> {
    let reference = node.get("roleRef")?;
    Some((
        reference.text_at(&["apiGroup"])?.to_string(),
        reference.text_at(&["kind"])?.to_string(),
    ))
}

// Namespaces from which a role binding takes its subjects.
fn account_namespaces(resource: &Resource) -> HashSet<String> {
    if resource.kind() != "RoleBinding" {
        return HashSet::new();
    }
    let subjects = resource
        .node
        .get("subjects")
        .and_then(Node::as_list)
        .unwrap_or_default();
    subjects
        .iter()
        .filter(|s| s.text_at(&["kind"]) == Some("ServiceAccount"))
        .filter_map(|s| Some(s.text_at(&["namespace"])?.to_string()))
        .collect()
}

struct Referrer<'a> {
    facts: &'a Facts,
    rule: &'a Rule,
    role_ref: Option<&'a (String, String)>,
    account_namespaces: &'a HashSet<String>,
}

struct Lookup<'a> {
    facts: &'a [Facts],
    by_name: &'a HashMap<&'a str, Vec<usize>>,
    original_namespaces: &'a HashSet<&'a str>,
}

impl Lookup<'_> {
    fn set(&self, referrer: &Referrer<'_>, node: &mut Node) -> Result<(), Finding> {
        match &mut node.value {
            Value::Scalar(crate::yaml::Scalar::Null, _) => Ok(()),
            Value::Scalar(_, name) => {
                if let Some(found) = self.find(referrer, name, None)?
                    && found.name != *name
                {
                    node.value = Node::string(found.name.clone()).value;
                }
                Ok(())
            }
            Value::List(items) => items
                .iter_mut()
                .try_for_each(|item| self.set(referrer, item)),
            Value::Map(map) => {
                let Some(name) = map.get("name").and_then(Node::text).map(str::to_string) else {
                    return Err(Finding::error(
                        "kustomize/reference",
                        "the reference has no name",
                    ));
                };
                let namespace = map
                    .get("namespace")
                    .map(|n| n.text().unwrap_or_default().to_string());
                if let Some(found) = self.find(referrer, &name, Some(namespace.as_deref()))?
                    && (found.name != name || !found.namespace.is_empty())
                {
                    map.insert("name".into(), Node::string(found.name.clone()));
                    if !found.namespace.is_empty() {
                        map.insert("namespace".into(), Node::string(found.namespace.clone()));
                    }
                }
                Ok(())
            }
        }
    }

    // `whole`: the reference is a map, perhaps with a namespace of its own.
    fn find(
        &self,
        referrer: &Referrer<'_>,
        name: &str,
        whole: Option<Option<&str>>,
    ) -> Result<Option<&Facts>, Finding> {
        let Some(named) = self.by_name.get(name) else {
            return Ok(None);
        };
        let from = referrer.facts;
        let rule = referrer.rule;
        let mut found: Vec<&Facts> = named
            .iter()
            .map(|&at| &self.facts[at])
            .filter(|c| {
                from.cluster_scoped
                    || c.cluster_scoped
                    || c.effective == from.effective
                    || referrer.account_namespaces.contains(&c.namespace)
            })
            .filter(|c| match whole.flatten() {
                None => true,
                Some(namespace) if self.original_namespaces.contains(namespace) => {
                    c.original_namespace == namespace
                }
                Some(namespace) => !c.cluster_scoped && c.effective == effective(namespace),
            })
            .filter(|c| c.was(rule.group, rule.version, rule.kind))
            .filter(|c| match referrer.role_ref.filter(|_| rule.role_ref) {
                Some((group, kind)) => c.was(group, "", kind),
                None => true,
            })
            .filter(|c| {
                from.cluster_scoped
                    || c.cluster_scoped
                    || c.account
                    || c.effective == from.effective
            })
            .collect();
        if found.len() > 1 {
            found.retain(|c| same_context(c, from, true));
            if found.len() > 1 {
                found.retain(|c| same_context(c, from, false));
            }
        }
        let Some(first) = found.first().copied() else {
            return Ok(None);
        };
        let equal = found
            .iter()
            .all(|c| c.name == first.name && (whole.is_none() || c.namespace == first.namespace));
        if equal {
            return Ok(Some(first));
        }
        let message = format!(
            "reference to {} {name} could mean several objects",
            rule.kind
        );
        Err(Finding::error("kustomize/reference", message))
    }
}

fn same_context(one: &Facts, other: &Facts, allow_empty: bool) -> bool {
    let fits = |l: &[String], r: &[String]| {
        (allow_empty && (l.is_empty() || r.is_empty())) || same_ending(l, r)
    };
    fits(&one.prefixes, &other.prefixes) && fits(&one.suffixes, &other.suffixes)
}

fn same_ending(l: &[String], r: &[String]) -> bool {
    let (short, long) = if l.len() > r.len() { (r, l) } else { (l, r) };
    if short.is_empty() {
        long.is_empty()
    } else {
        long.ends_with(short)
    }
}
