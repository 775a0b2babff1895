//! Whom an alert is about, by its labels.

use crate::ledger::{Object, Observed};
use std::collections::BTreeMap;

/// Who is who among objects.
pub(super) trait Known {
    /// Whether there is such a workload.
    fn exists(&self, object: &Object) -> bool;
    /// The workload of a pod.
    fn workload_of(&self, namespace: &str, pod: &str) -> Option<Object>;
    /// The workload whose pods mount a claim.
    fn mounting(&self, namespace: &str, claim: &str) -> Option<Object>;
    /// The workload that goes by a name, of this namespace first.
    fn named(&self, name: &str, namespace: &str) -> Option<Object>;
}

impl Known for Observed {
    fn exists(&self, object: &Object) -> bool {
        self.exists(object)
    }

    fn workload_of(&self, namespace: &str, pod: &str) -> Option<Object> {
        self.workload_of(namespace, pod)
    }

    fn mounting(&self, namespace: &str, claim: &str) -> Option<Object> {
        self.mounting(namespace, claim)
    }

    fn named(&self, name: &str, namespace: &str) -> Option<Object> {
        self.named(name, namespace)
    }
}

/// Labels that name an object of a kind in the namespace of the label `namespace`.
const KINDS: [(&str, &str); 5] = [
    ("deployment", "Deployment"),
    ("statefulset", "StatefulSet"),
    ("daemonset", "DaemonSet"),
    ("cronjob", "CronJob"),
    ("job_name", "Job"),
];

/// Labels that may say by which name a program goes, surest first.
const NAMES: [&str; 7] = [
    "workload",
    "service_name",
    "service",
    "app_kubernetes_io_name",
    "app",
    "job",
    "container",
];

/// Whom the alert is about. Without a hint it is about itself: alerts of one name are one subject.
pub(super) fn subject(labels: &BTreeMap<String, String>, known: &impl Known) -> Object {
    let label = |name: &str| {
        labels
            .get(name)
            .map(String::as_str)
            .filter(|v| !v.is_empty())
    };
    let namespace = label("namespace").unwrap_or_default();
    for (name, kind) in KINDS {
        if let Some(value) = label(name).filter(|_| !namespace.is_empty()) {
            return Object::new(kind, namespace, value);
        }
    }
    if let Some(claim) = label("persistentvolumeclaim").filter(|_| !namespace.is_empty()) {
        let alone = || Object::new("PersistentVolumeClaim", namespace, claim);
        return known.mounting(namespace, claim).unwrap_or_else(alone);
    }
    if let Some(pod) = label("pod").filter(|_| !namespace.is_empty()) {
        let gone = || owner_by_name(namespace, pod, known);
        return known
            .workload_of(namespace, pod)
            .or_else(gone)
            .unwrap_or_else(|| Object::new("Pod", namespace, pod));
    }
    for name in NAMES {
        if let Some(found) = label(name).and_then(|value| known.named(value, namespace)) {
            return found;
        }
    }
    if let Some(node) = label("node") {
        return Object::new("Node", "", node);
    }
    match (namespace, label("alertname")) {
        ("", name) => Object::new("Alert", "", name.unwrap_or("unnamed")),
        (namespace, _) => Object::new("Namespace", "", namespace),
    }
}

/// The workload of a pod that is gone: names of pods begin with that of their workload.
fn owner_by_name(namespace: &str, pod: &str, known: &impl Known) -> Option<Object> {
    let (one, _) = pod.rsplit_once('-')?;
    let two = one.rsplit_once('-').map(|(name, _)| name);
    let deployment = two.map(|name| Object::new("Deployment", namespace, name));
    let others = ["StatefulSet", "DaemonSet", "Job"];
    let others = others.map(|kind| Object::new(kind, namespace, one));
    let mut all = deployment.into_iter().chain(others);
    all.find(|object| known.exists(object))
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Shop;

    impl Known for Shop {
        fn exists(&self, object: &Object) -> bool {
            *object == Object::new("Deployment", "shop", "web")
        }

        fn workload_of(&self, namespace: &str, pod: &str) -> Option<Object> {
            (pod == "db-0").then(|| Object::new("StatefulSet", namespace, "db"))
        }

        fn mounting(&self, namespace: &str, claim: &str) -> Option<Object> {
            (claim == "disk").then(|| Object::new("StatefulSet", namespace, "db"))
        }

        fn named(&self, name: &str, _: &str) -> Option<Object> {
            (name == "web").then(|| Object::new("Deployment", "shop", "web"))
        }
    }

    #[test]
    fn labels_name_somebody() {
        let of = |labels: &[(&str, &str)]| {
            let labels = labels.iter().map(|(n, v)| (n.to_string(), v.to_string()));
            subject(&labels.collect(), &Shop).to_string()
        };
        for (labels, whom) in [
            (
                &[("namespace", "shop"), ("deployment", "web"), ("job", "x")][..],
                "Deployment shop/web",
            ),
            (
                &[("namespace", "shop"), ("pod", "db-0")],
                "StatefulSet shop/db",
            ),
            (
                &[("namespace", "shop"), ("pod", "web-5d4f-x7k2p")],
                "Deployment shop/web",
            ),
            (
                &[("namespace", "shop"), ("persistentvolumeclaim", "disk")],
                "StatefulSet shop/db",
            ),
            (&[("namespace", "shop"), ("pod", "lone")], "Pod shop/lone"),
            (
                &[("namespace", "shop"), ("job", "web")],
                "Deployment shop/web",
            ),
            (&[("service_name", "web")], "Deployment shop/web"),
            (&[("node", "n1"), ("job", "kubelet")], "Node n1"),
            (&[("namespace", "shop"), ("job", "other")], "Namespace shop"),
            (&[("alertname", "Watchdog")], "Alert Watchdog"),
        ] {
            assert_eq!(of(labels), whom, "{labels:?}");
        }
    }
}
