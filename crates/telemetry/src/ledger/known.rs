//! Who is who among watched objects: the workload of a pod, of a service, of a name.

use super::difference::AsWorkload;
use super::{Object, Observed};
use k8s_openapi::api::core::v1::PersistentVolumeClaim;
use kube::ResourceExt;
use std::collections::BTreeMap;
use std::sync::Arc;
use towpath_kit::cache::{Cache, Key};

/// Labels by which programs are named.
const NAMES: [&str; 3] = ["app.kubernetes.io/name", "app", "k8s-app"];

/// An environment, as far as it matters to those who deploy to it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// The project's namespace.
    pub project: String,
    /// Its name.
    pub name: String,
    /// Its stage.
    pub stage: String,
}

impl Observed {
    /// Claims of a namespace.
    pub fn claims(&self, namespace: &str) -> Vec<Arc<PersistentVolumeClaim>> {
        self.copies.claims.in_namespace(namespace)
    }

    /// Whether there is an object of one of the kinds that own pods.
    pub fn exists(&self, object: &Object) -> bool {
        let key = Key::new(&object.namespace, &object.name);
        let copies = &self.copies;
        match object.kind.as_str() {
            "Deployment" => copies.deployments.get(&key).is_some(),
            "StatefulSet" => copies.stateful_sets.get(&key).is_some(),
            "DaemonSet" => copies.daemon_sets.get(&key).is_some(),
            "Job" => copies.jobs.get(&key).is_some(),
            "CronJob" => copies.cron_jobs.get(&key).is_some(),
            _ => false,
        }
    }

    /// The workload of a pod, while there is the pod.
    pub fn workload_of(&self, namespace: &str, pod: &str) -> Option<Object> {
        let pod = self.copies.pods.get(&Key::new(namespace, pod))?;
        Some(crate::cases::workload(&pod))
    }

    /// The workload whose pods mount a claim.
    pub fn mounting(&self, namespace: &str, claim: &str) -> Option<Object> {
        let pods = self.copies.pods.in_namespace(namespace);
        let object = Object::new("PersistentVolumeClaim", namespace, claim);
        let pod = pods.iter().find(|pod| crate::cases::mounts(pod, &object))?;
        Some(crate::cases::workload(pod))
    }

    /// All workloads of a namespace.
    pub fn workloads(&self, namespace: &str) -> Vec<Object> {
        fn of<K>(cache: &Cache<K>, namespace: &str) -> Vec<Object>
        where
            K: AsWorkload + super::observe::Watched,
        {
            let all = cache.in_namespace(namespace).into_iter();
            all.map(|w| Object::new(&K::kind(&()), namespace, &w.name_any()))
                .collect()
        }
        let mut found = of(&self.copies.deployments, namespace);
        found.extend(of(&self.copies.stateful_sets, namespace));
        found.extend(of(&self.copies.daemon_sets, namespace));
        found
    }

    /// The workload that goes by a name: its own, its program's, or that of the Service before it;
    /// of `namespace` where there is one, else of the only namespace that has one.
    pub fn named(&self, name: &str, namespace: &str) -> Option<Object> {
        if !namespace.is_empty()
            && let Some(found) = self.named_in(name, namespace)
        {
            return Some(found);
        }
        let spaces = self.copies.namespaces.all();
        let mut found = spaces
            .iter()
            .filter_map(|space| self.named_in(name, &space.name_any()));
        let first = found.next()?;
        found.next().is_none().then_some(first)
    }

    fn named_in(&self, name: &str, namespace: &str) -> Option<Object> {
        for kind in ["Deployment", "StatefulSet", "DaemonSet"] {
            let object = Object::new(kind, namespace, name);
            if self.exists(&object) {
                return Some(object);
            }
        }
        let key = Key::new(namespace, name);
        let selector = self
            .copies
            .services
            .get(&key)
            .and_then(|service| service.spec.as_ref()?.selector.clone())
            .filter(|selector| !selector.is_empty());
        let chosen = |labels: &BTreeMap<String, String>| match &selector {
            Some(selector) => selector.iter().all(|(k, v)| labels.get(k) == Some(v)),
            None => NAMES
                .iter()
                .any(|key| labels.get(*key).is_some_and(|v| v == name)),
        };
        let pods = self.copies.pods.in_namespace(namespace);
        let pod = pods.iter().find(|pod| chosen(pod.labels()))?;
        Some(crate::cases::workload(pod))
    }

    /// The environment that deploys to a namespace.
    pub fn place(&self, namespace: &str) -> Option<Place> {
        let all = self
            .spine
            .environments
            .filter(|environment| environment.spec.namespace == namespace);
        let environment = all.first()?;
        Some(Place {
            project: environment.namespace().unwrap_or_default(),
            name: environment.name_any(),
            stage: environment.spec.stage.clone(),
        })
    }
}
