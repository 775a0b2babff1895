//! What each component of this process may do: one table, one role per component, bound to the
//! component's own name. None of them is an administrator.
//!
//! The roles are put right at each start. A component that asks for more is refused like anyone,
//! and the refusal is an error in the log, as it is a fault of this table or of the component.

use serde_json::{Value, json};
use towpath_kit::traits::Principal;

/// Resources of one API group, separated by blanks, and what may be done with them.
struct Grant(&'static str, &'static str, &'static str);

const READ: &str = "get list watch";
const KEEP: &str = "get list watch create update patch";
const ALL: &str = "get list watch create update patch delete";

const EVENTS: [Grant; 2] = [
    Grant("", "events", "create patch update"),
    Grant("events.k8s.io", "events", "create patch update"),
];

const OWN: &str = "towpath.dev";

const TABLE: &[(&str, &[Grant])] = &[
    // Installs our kinds and says to pods where this server is.
    (
        "setup",
        &[
            Grant("apiextensions.k8s.io", "customresourcedefinitions", KEEP),
            Grant("", "endpoints services", KEEP),
            Grant("discovery.k8s.io", "endpointslices", KEEP),
        ],
    ),
    (
        "net",
        &[
            Grant("", "namespaces pods nodes endpoints", READ),
            Grant("", "services", KEEP),
            Grant("", "services/status", "patch update"),
            Grant("discovery.k8s.io", "endpointslices", ALL),
            Grant(
                "networking.k8s.io",
                "ingresses networkpolicies servicecidrs",
                READ,
            ),
            Grant("networking.k8s.io", "ingresses/status", "patch update"),
            Grant("networking.k8s.io", "ingressclasses", KEEP),
            // TLS of ingresses.
            Grant("", "secrets", READ),
        ],
    ),
    (
        "node",
        &[
            Grant("", "nodes", KEEP),
            Grant("", "nodes/status", "get patch update"),
            Grant("", "pods", "get list watch patch delete"),
            Grant("", "pods/status", "get patch update"),
            Grant("", "configmaps secrets services", READ),
            Grant("", "persistentvolumes persistentvolumeclaims", READ),
            Grant("", "persistentvolumeclaims/status", "get patch update"),
            Grant("", "serviceaccounts", READ),
            Grant("", "serviceaccounts/token", "create"),
            // Its own, where leases are.
            Grant("", "namespaces", "get list watch create"),
            Grant("coordination.k8s.io", "leases", ALL),
            Grant("node.k8s.io", "runtimeclasses", READ),
        ],
    ),
    // What several components look at.
    (
        "copies",
        &[
            Grant(
                "",
                "pods namespaces nodes services endpoints persistentvolumeclaims \
                 persistentvolumes resourcequotas",
                READ,
            ),
            Grant("discovery.k8s.io", "endpointslices", READ),
            Grant(
                "apps",
                "deployments replicasets statefulsets daemonsets",
                READ,
            ),
            Grant("batch", "jobs cronjobs", READ),
            Grant("autoscaling", "horizontalpodautoscalers", READ),
            Grant("policy", "poddisruptionbudgets", READ),
            Grant("networking.k8s.io", "ingresses", READ),
            Grant(OWN, "runs releases promotions environments", READ),
        ],
    ),
    // The ledger of changes, and what explains them.
    (
        "ledger",
        &[
            Grant("", "configmaps secrets events limitranges", READ),
            Grant("", "pods/log", "get"),
            // What was granted and let in, as digests.
            Grant(
                "rbac.authorization.k8s.io",
                "roles rolebindings clusterroles clusterrolebindings",
                READ,
            ),
            Grant(
                "admissionregistration.k8s.io",
                "validatingadmissionpolicies validatingadmissionpolicybindings \
                 mutatingadmissionpolicies mutatingadmissionpolicybindings \
                 validatingwebhookconfigurations mutatingwebhookconfigurations",
                READ,
            ),
            Grant("networking.k8s.io", "networkpolicies", READ),
        ],
    ),
    // Controllers and scheduler. Collecting garbage and emptying namespaces reach every kind, as
    // upstream's controllers of these names do; what is made is listed.
    (
        "workloads",
        &[
            Grant(
                "*",
                "*",
                "get list watch update patch delete deletecollection",
            ),
            Grant(
                "",
                "pods pods/binding pods/eviction persistentvolumes persistentvolumeclaims \
                 configmaps serviceaccounts endpoints services",
                "create",
            ),
            Grant("apps", "replicasets controllerrevisions", "create"),
            Grant("batch", "jobs", "create"),
            Grant("discovery.k8s.io", "endpointslices", "create"),
            Grant("storage.k8s.io", "storageclasses csinodes", "create"),
            Grant("coordination.k8s.io", "leases", "create"),
            Grant("policy", "poddisruptionbudgets", "create"),
        ],
    ),
    (
        "source",
        &[
            Grant(OWN, "repositories", KEEP),
            Grant(
                OWN,
                "repositories/status repositories/finalizers",
                "get patch update",
            ),
            Grant(OWN, "runs", KEEP),
        ],
    ),
    (
        "pipeline",
        &[
            Grant(OWN, "repositories", READ),
            Grant(OWN, "runs", ALL),
            Grant(OWN, "runs/status", "get patch update"),
            Grant("", "pods", "get list watch create delete patch"),
            Grant("", "pods/log", "get"),
            Grant("", "secrets", "get list watch create delete patch"),
            Grant("", "configmaps namespaces", READ),
            Grant(
                "rbac.authorization.k8s.io",
                "roles rolebindings",
                "get create patch update",
            ),
            // Nobody grants what they do not have: what jobs get.
            Grant(OWN, "repositories/git", "get"),
            Grant(OWN, "images", "get update"),
        ],
    ),
    // Finds what is to be scraped; of Secrets and ConfigMaps it reads those that monitors name.
    (
        "telemetry",
        &[
            Grant(
                "monitoring.coreos.com",
                "servicemonitors podmonitors probes prometheusrules",
                READ,
            ),
            Grant("", "secrets configmaps", "get"),
        ],
    ),
    // What projects deploy may be of any kind. Not in it: `escalate` and `bind` (so that it
    // grants no more than its own rights), `impersonate`, `approve`, `sign`.
    ("gitops", &[Grant("*", "*", ALL)]),
];

const GROUP: &str = "rbac.authorization.k8s.io";

fn words(text: &str) -> Vec<&str> {
    text.split_whitespace().collect()
}

fn rule(grant: &Grant) -> Value {
    let Grant(group, resources, verbs) = grant;
    json!({"apiGroups": [group], "resources": words(resources), "verbs": words(verbs)})
}

/// Roles and bindings of all components.
pub(crate) fn objects() -> Vec<Value> {
    let api = format!("{GROUP}/v1");
    let both = |(component, grants): &(&str, &[Grant])| {
        let name = Principal::component(component).name;
        let rules: Vec<Value> = grants.iter().chain(&EVENTS).map(rule).collect();
        [
            json!({"apiVersion": api, "kind": "ClusterRole", "metadata": {"name": name}, "rules": rules}),
            json!({
                "apiVersion": api, "kind": "ClusterRoleBinding", "metadata": {"name": name},
                "roleRef": {"apiGroup": GROUP, "kind": "ClusterRole", "name": name},
                "subjects": [{"apiGroup": GROUP, "kind": "User", "name": name}],
            }),
        ]
    };
    TABLE.iter().flat_map(both).collect()
}

/// Bindings of earlier versions that gave more.
pub(crate) const WITHDRAWN: [&str; 1] = ["system:towpath"];

/// Whether the principal is a component of this process.
pub(crate) fn is_component(principal: &Principal) -> bool {
    principal
        .groups
        .iter()
        .any(|group| group == "system:towpath")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rbac::{Ask, Rule};

    #[test]
    fn no_component_is_an_administrator() {
        let everything = Ask {
            verb: "escalate",
            group: GROUP,
            resource: "clusterroles",
            ..Ask::default()
        };
        let asks = [
            everything,
            Ask {
                verb: "bind",
                ..everything
            },
            Ask {
                verb: "impersonate",
                group: "",
                resource: "users",
                ..everything
            },
            Ask {
                verb: "impersonate",
                group: "",
                resource: "groups",
                ..everything
            },
            Ask {
                verb: "approve",
                group: "certificates.k8s.io",
                resource: "signers",
                ..everything
            },
            Ask {
                verb: "sign",
                group: "certificates.k8s.io",
                resource: "signers",
                ..everything
            },
            Ask {
                verb: "*",
                group: "*",
                resource: "*",
                ..everything
            },
            Ask {
                verb: "post",
                path: "/keys/tokens",
                ..Ask::default()
            },
        ];
        for role in objects()
            .iter()
            .filter(|object| object["kind"] == "ClusterRole")
        {
            let rules = role["rules"]
                .as_array()
                .expect("rules")
                .iter()
                .map(Rule::read);
            for rule in rules {
                assert!(!rule.verbs.iter().any(|verb| verb == "*"), "{role}");
                for ask in &asks {
                    assert!(
                        !rule.allows(ask),
                        "{} may {ask:?}",
                        role["metadata"]["name"]
                    );
                }
            }
        }
        let bound = objects()
            .into_iter()
            .filter(|object| object["kind"] == "ClusterRoleBinding");
        for binding in bound {
            assert_ne!(binding["roleRef"]["name"], "cluster-admin");
            assert_eq!(binding["subjects"][0]["kind"], "User");
        }
    }
}
