//! What an object counts for in a ResourceQuota, and which quotas it counts in.
//!
//! Pods, services and claims have amounts of their own; every object counts as
//! `count/<resource>.<group>`, some also by an older name.

use crate::quantity::Quantity;
use crate::resources::{self, Amounts, Side};
use serde_json::Value;

const COMPUTE: [&str; 6] = [
    "cpu",
    "memory",
    "requests.cpu",
    "requests.memory",
    "limits.cpu",
    "limits.memory",
];

/// Resources whose objects count by their bare plural as well.
const OLD_NAMES: [&str; 7] = [
    "configmaps",
    "persistentvolumeclaims",
    "pods",
    "replicationcontrollers",
    "resourcequotas",
    "secrets",
    "services",
];

/// `count/<plural>` or `count/<plural>.<group>`.
pub fn count_name(group: &str, plural: &str) -> String {
    match group {
        "" => format!("count/{plural}"),
        _ => format!("count/{plural}.{group}"),
    }
}

/// Whether objects of a resource can count for a name of a quota's `hard`.
pub fn tracks(group: &str, plural: &str, name: &str) -> bool {
    if name == count_name(group, plural) {
        return true;
    }
    match (group, plural) {
        ("", "pods") => {
            let amount = name
                .strip_prefix("requests.")
                .or_else(|| name.strip_prefix("limits."))
                .unwrap_or(name);
            name == "pods"
                || matches!(amount, "cpu" | "memory" | "ephemeral-storage")
                || amount.starts_with("hugepages-")
                // Extended resources carry a domain; a storage class's request does not end so.
                || name.starts_with("requests.") && amount.contains('/')
        }
        ("", "services") => {
            matches!(
                name,
                "services" | "services.nodeports" | "services.loadbalancers"
            )
        }
        ("", "persistentvolumeclaims") => {
            matches!(name, "persistentvolumeclaims" | "requests.storage") || name.contains(CLASS)
        }
        ("", plural) => OLD_NAMES.contains(&plural) && name == plural,
        _ => false,
    }
}

const CLASS: &str = ".storageclass.storage.k8s.io/";

/// What an object uses, under every name it could count for. `now` is in seconds.
pub fn usage(group: &str, plural: &str, object: &Value, now: i64) -> Amounts {
    let mut used = Amounts::new();
    let mut set = |name: String, amount: Quantity| {
        used.insert(name, amount);
    };
    let one = Quantity::from_units(1);
    set(count_name(group, plural), one);
    if !group.is_empty() {
        return used;
    }
    match plural {
        "pods" if counts(object, now) => resources::add(&mut used, &pod(&object["spec"])),
        // Nor does the pod itself, where what it takes does not.
        "pods" => {}
        "services" => {
            set("services".into(), one);
            let ports = object["spec"]["ports"].as_array().map_or(0, Vec::len);
            let (nodes, balancers) = match object["spec"]["type"].as_str() {
                Some("NodePort") => (ports, 0),
                Some("LoadBalancer") => (balancer_ports(&object["spec"], ports), 1),
                _ => (0, 0),
            };
            set(
                "services.nodeports".into(),
                Quantity::from_units(nodes as i64),
            );
            set(
                "services.loadbalancers".into(),
                Quantity::from_units(balancers),
            );
        }
        "persistentvolumeclaims" => {
            set("persistentvolumeclaims".into(), one);
            let class = class_of(object);
            if !class.is_empty() {
                set(format!("{class}{CLASS}persistentvolumeclaims"), one);
            }
            let mut storage =
                resources::amount(&object["spec"]["resources"]["requests"]["storage"]);
            // What was given already counts where it is more (a shrink that is under way).
            let given = resources::amount(&object["status"]["allocatedResources"]["storage"]);
            if let (Some(asked), Some(given)) = (storage, given) {
                storage = Some(asked.max(given));
            }
            if let Some(storage) = storage {
                set("requests.storage".into(), storage);
                if !class.is_empty() {
                    set(format!("{class}{CLASS}requests.storage"), storage);
                }
            }
        }
        plural if OLD_NAMES.contains(&plural) => set(plural.into(), one),
        _ => {}
    }
    used
}

fn class_of(claim: &Value) -> &str {
    let old = &claim["metadata"]["annotations"]["volume.beta.kubernetes.io/storage-class"];
    old.as_str()
        .or(claim["spec"]["storageClassName"].as_str())
        .unwrap_or_default()
}

// A balancer that wants no node ports has those that are named all the same.
fn balancer_ports(spec: &Value, ports: usize) -> usize {
    if spec["allocateLoadBalancerNodePorts"] != false {
        return ports;
    }
    let named = spec["ports"].as_array().into_iter().flatten();
    named
        .filter(|port| port["nodePort"].as_u64().unwrap_or(0) > 0)
        .count()
}

/// A pod that has ended, or that should have been gone by now, uses nothing.
fn counts(pod: &Value, now: i64) -> bool {
    if matches!(
        pod["status"]["phase"].as_str(),
        Some("Succeeded" | "Failed")
    ) {
        return false;
    }
    let metadata = &pod["metadata"];
    let marked = metadata["deletionTimestamp"]
        .as_str()
        .and_then(crate::time::parse_rfc3339);
    match (marked, metadata["deletionGracePeriodSeconds"].as_i64()) {
        // The mark is the time when the grace is over.
        (Some(marked), Some(_)) => now <= marked,
        _ => true,
    }
}

fn pod(spec: &Value) -> Amounts {
    let mut used = Amounts::from([("pods".to_string(), Quantity::from_units(1))]);
    for (name, amount) in resources::of_pod_with_overhead(spec, Side::Requests) {
        if matches!(name.as_str(), "cpu" | "memory" | "ephemeral-storage")
            || name.starts_with("hugepages-")
        {
            used.insert(format!("requests.{name}"), amount);
            used.insert(name, amount);
        } else if name.contains('/') {
            used.insert(format!("requests.{name}"), amount);
        }
    }
    for (name, amount) in resources::of_pod_with_overhead(spec, Side::Limits) {
        if matches!(name.as_str(), "cpu" | "memory" | "ephemeral-storage") {
            used.insert(format!("limits.{name}"), amount);
        }
    }
    used
}

/// Whether an object falls under a quota: under all its scopes, and under at least one name.
pub fn matches(
    quota_spec: &Value,
    hard: &Amounts,
    group: &str,
    plural: &str,
    object: &Value,
) -> bool {
    hard.keys().any(|name| tracks(group, plural, name))
        && in_scopes(quota_spec, group, plural, object)
}

fn in_scopes(spec: &Value, group: &str, plural: &str, object: &Value) -> bool {
    let scopes = spec["scopes"].as_array().into_iter().flatten();
    let expressions = spec["scopeSelector"]["matchExpressions"].as_array();
    let bare = scopes.map(|scope| (scope.as_str().unwrap_or_default(), "Exists", &Value::Null));
    let asked = expressions.into_iter().flatten().map(|e| {
        let text = |key: &str| e[key].as_str().unwrap_or_default();
        (text("scopeName"), text("operator"), &e["values"])
    });
    bare.chain(asked).all(|(scope, operator, values)| {
        // Scopes are about pods and, for one, about claims.
        match (group, plural) {
            ("", "pods") => in_scope(scope, operator, values, &object["spec"]),
            ("", "persistentvolumeclaims") if scope == "VolumeAttributesClass" => {
                let class = object["spec"]["volumeAttributesClassName"].as_str();
                holds(operator, values, class.unwrap_or_default())
            }
            _ => false,
        }
    })
}

fn in_scope(scope: &str, operator: &str, values: &Value, spec: &Value) -> bool {
    let terminating = spec["activeDeadlineSeconds"]
        .as_i64()
        .is_some_and(|s| s >= 0);
    match scope {
        "Terminating" => terminating,
        "NotTerminating" => !terminating,
        "BestEffort" => best_effort(spec),
        "NotBestEffort" => !best_effort(spec),
        "PriorityClass" => holds(
            operator,
            values,
            spec["priorityClassName"].as_str().unwrap_or_default(),
        ),
        "CrossNamespacePodAffinity" => crosses_namespaces(spec),
        _ => false,
    }
}

fn holds(operator: &str, values: &Value, value: &str) -> bool {
    let listed = values
        .as_array()
        .is_some_and(|all| all.iter().any(|v| v == value));
    match operator {
        "Exists" => !value.is_empty(),
        "DoesNotExist" => value.is_empty(),
        "In" => !value.is_empty() && listed,
        "NotIn" => !listed,
        _ => false,
    }
}

fn best_effort(spec: &Value) -> bool {
    let containers = ["containers", "initContainers"].iter();
    let mut all = containers.flat_map(|list| spec[*list].as_array().into_iter().flatten());
    let own = |resources: &Value| {
        [Side::Requests, Side::Limits].iter().any(|side| {
            let amounts = resources::read(&resources[side.field()]);
            let mut named = amounts.iter();
            named.any(|(name, amount)| {
                matches!(name.as_str(), "cpu" | "memory") && amount.sign() > 0
            })
        })
    };
    !own(&spec["resources"]) && !all.any(|container| own(&container["resources"]))
}

fn crosses_namespaces(spec: &Value) -> bool {
    let term = |term: &Value| {
        term["namespaces"]
            .as_array()
            .is_some_and(|all| !all.is_empty())
            || !term["namespaceSelector"].is_null()
    };
    ["podAffinity", "podAntiAffinity"].iter().any(|side| {
        let side = &spec["affinity"][*side];
        let list = |name: &str| side[name].as_array().into_iter().flatten();
        list("requiredDuringSchedulingIgnoredDuringExecution").any(term)
            || list("preferredDuringSchedulingIgnoredDuringExecution")
                .any(|weighted| term(&weighted["podAffinityTerm"]))
    })
}

/// A quota of cpu or memory makes every container name its share: what is missing, as text.
pub fn missing(hard: &Amounts, spec: &Value) -> Option<String> {
    let mut found = Vec::new();
    for name in hard.keys().filter(|name| COMPUTE.contains(&name.as_str())) {
        let (side, resource) = match name.strip_prefix("limits.") {
            Some(resource) => (Side::Limits, resource),
            None => (
                Side::Requests,
                name.strip_prefix("requests.").unwrap_or(name),
            ),
        };
        // The pod's own amount covers its containers.
        if resources::read(&spec["resources"][side.field()]).contains_key(resource) {
            continue;
        }
        let lists = ["containers", "initContainers"].iter();
        let mut without: Vec<&str> = lists
            .flat_map(|list| spec[*list].as_array().into_iter().flatten())
            .filter(|container| !resources::of_container(container, side).contains_key(resource))
            .filter_map(|container| container["name"].as_str())
            .collect();
        without.sort_unstable();
        without.dedup();
        if !without.is_empty() {
            found.push(format!("{name} for: {}", without.join(",")));
        }
    }
    (!found.is_empty()).then(|| format!("must specify {}", found.join("; ")))
}

/// `name=amount,name=amount`, as refusals show amounts.
pub fn show(amounts: &Amounts) -> String {
    let parts = amounts
        .iter()
        .map(|(name, amount)| format!("{name}={amount}"));
    parts.collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn pods_count_by_phase_and_scope() {
        let pod = json!({"spec": {"containers": [{"name": "c", "resources": {
            "requests": {"cpu": "500m", "example.com/gpu": "1"}, "limits": {"memory": "1Gi"}}}]}});
        let used = resources::write(&usage("", "pods", &pod, 0));
        assert_eq!(
            used,
            json!({"count/pods": "1", "pods": "1", "cpu": "500m", "requests.cpu": "500m",
                "requests.example.com/gpu": "1", "limits.memory": "1Gi"})
        );
        let mut ended = pod.clone();
        ended["status"] = json!({"phase": "Failed"});
        assert_eq!(
            resources::write(&usage("", "pods", &ended, 0)),
            json!({"count/pods": "1"})
        );
        let hard = resources::read(&json!({"pods": "2"}));
        let scoped = |scope: &str| matches(&json!({"scopes": [scope]}), &hard, "", "pods", &pod);
        assert!(scoped("NotBestEffort") && scoped("NotTerminating"));
        assert!(!scoped("BestEffort") && !scoped("Terminating"));
        assert!(!matches(&json!({}), &hard, "", "services", &json!({})));
    }

    #[test]
    fn what_is_missing_is_named() {
        let hard = resources::read(&json!({"cpu": "1", "limits.memory": "1Gi", "pods": "1"}));
        let spec = json!({"containers": [{"name": "b"}, {"name": "a", "resources": {"requests": {"cpu": "1"}}}]});
        assert_eq!(
            missing(&hard, &spec).as_deref(),
            Some("must specify cpu for: b; limits.memory for: a,b")
        );
    }

    #[test]
    fn claims_and_services() {
        let claim = json!({"spec": {"storageClassName": "fast", "resources": {"requests": {"storage": "2Gi"}}}});
        let used = usage("", "persistentvolumeclaims", &claim, 0);
        assert_eq!(
            used["fast.storageclass.storage.k8s.io/requests.storage"].to_string(),
            "2Gi"
        );
        assert!(tracks(
            "",
            "persistentvolumeclaims",
            "fast.storageclass.storage.k8s.io/requests.storage"
        ));
        assert!(!tracks("", "pods", "requests.storage"));
        let service = json!({"spec": {"type": "LoadBalancer", "allocateLoadBalancerNodePorts": false,
            "ports": [{"nodePort": 30000}, {}]}});
        assert_eq!(
            usage("", "services", &service, 0)["services.nodeports"].to_string(),
            "1"
        );
        assert_eq!(
            show(&usage("apps", "deployments", &json!({}), 0)),
            "count/deployments.apps=1"
        );
    }
}
