//! What changed between two states of an object, in words. Changes that objects make to
//! themselves (status, counters of controllers) are none.

use super::ChangeKind;
use k8s_openapi::api::apps::v1::{DaemonSet, Deployment, StatefulSet};
use k8s_openapi::api::core::v1::{PodTemplateSpec, ResourceRequirements};
use std::collections::BTreeMap;

/// The parts of a workload that people change.
pub(super) struct Workload<'a> {
    pub(super) replicas: Option<i32>,
    pub(super) template: &'a PodTemplateSpec,
}

/// Reads the parts of one kind.
pub(super) trait AsWorkload {
    /// `None` where the object has no specification.
    fn workload(&self) -> Option<Workload<'_>>;
}

impl AsWorkload for Deployment {
    fn workload(&self) -> Option<Workload<'_>> {
        let spec = self.spec.as_ref()?;
        Some(Workload {
            replicas: spec.replicas,
            template: &spec.template,
        })
    }
}

impl AsWorkload for StatefulSet {
    fn workload(&self) -> Option<Workload<'_>> {
        let spec = self.spec.as_ref()?;
        Some(Workload {
            replicas: spec.replicas,
            template: &spec.template,
        })
    }
}

impl AsWorkload for DaemonSet {
    fn workload(&self) -> Option<Workload<'_>> {
        let spec = self.spec.as_ref()?;
        Some(Workload {
            replicas: None,
            template: &spec.template,
        })
    }
}

/// What changed in a workload; `None` where nothing did that people change.
pub(super) fn workload(old: &Workload<'_>, new: &Workload<'_>) -> Option<(ChangeKind, String)> {
    let mut words = Vec::new();
    let (before, after) = (containers(old.template), containers(new.template));
    for (name, image) in &after {
        match before.get(name) {
            None => words.push(format!("container {name} is new ({})", short(image))),
            Some(was) if was != image => {
                words.push(format!(
                    "image of {name}: {} → {}",
                    short(was),
                    short(image)
                ));
            }
            Some(_) => {}
        }
    }
    let gone = before.keys().filter(|name| !after.contains_key(*name));
    words.extend(gone.map(|name| format!("container {name} is gone")));
    let amounts = resources(old.template) != resources(new.template);
    if amounts {
        words.push("requests or limits changed".into());
    }
    if words.is_empty() && old.template != new.template {
        words.push("the template of its pods changed".into());
    }
    let scaled = old.replicas != new.replicas;
    if scaled {
        let count = |replicas: Option<i32>| replicas.unwrap_or(1);
        words.push(format!(
            "{} → {} replicas",
            count(old.replicas),
            count(new.replicas)
        ));
    }
    let kind = match (old.template == new.template, scaled) {
        (true, false) => return None,
        (true, true) => ChangeKind::Scale,
        (false, _) => ChangeKind::Deploy,
    };
    Some((kind, words.join("; ")))
}

/// An image with no more of its digest than people read.
fn short(image: &str) -> &str {
    const SHOWN: usize = 12;
    let digest = image
        .split_once("@sha256:")
        .map_or("", |(_, digest)| digest);
    match digest.len().checked_sub(SHOWN) {
        Some(rest) if digest.is_ascii() => &image[..image.len() - rest],
        _ => image,
    }
}

fn containers(template: &PodTemplateSpec) -> BTreeMap<&str, &str> {
    let spec = template.spec.as_ref();
    let all = spec.into_iter().flat_map(|spec| {
        spec.init_containers
            .iter()
            .flatten()
            .chain(&spec.containers)
    });
    all.map(|c| (c.name.as_str(), c.image.as_deref().unwrap_or("")))
        .collect()
}

fn resources(template: &PodTemplateSpec) -> Vec<Option<&ResourceRequirements>> {
    let spec = template.spec.as_ref();
    spec.into_iter()
        .flat_map(|spec| spec.containers.iter().map(|c| c.resources.as_ref()))
        .collect()
}

/// Which keys of a ConfigMap or Secret changed, by the digests of their values.
pub(super) fn data(
    old: &BTreeMap<String, String>,
    new: &BTreeMap<String, String>,
) -> Option<String> {
    let mut words: Vec<String> = Vec::new();
    for (key, digest) in new {
        match old.get(key) {
            None => words.push(format!("{key} is new")),
            Some(was) if was != digest => words.push(format!("{key} changed")),
            Some(_) => {}
        }
    }
    let gone = old.keys().filter(|key| !new.contains_key(*key));
    words.extend(gone.map(|key| format!("{key} is gone")));
    const NAMED: usize = 5;
    let more = words.len().saturating_sub(NAMED);
    words.truncate(NAMED);
    if more > 0 {
        words.push(format!("{more} more"));
    }
    (!words.is_empty()).then(|| words.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn deployment(image: &str, replicas: i32) -> Deployment {
        serde_json::from_value(json!({
            "metadata": {"name": "web"},
            "spec": {"replicas": replicas, "selector": {}, "template": {
                "spec": {"containers": [{"name": "main", "image": image}]}}}
        }))
        .expect("deployment")
    }

    fn told(old: &Deployment, new: &Deployment) -> Option<(ChangeKind, String)> {
        workload(&old.workload()?, &new.workload()?)
    }

    #[test]
    fn what_people_change_is_told() {
        let one = deployment("a:1", 1);
        assert_eq!(told(&one, &one), None);
        assert_eq!(
            told(&one, &deployment("a:2", 1)),
            Some((ChangeKind::Deploy, "image of main: a:1 → a:2".into()))
        );
        let pinned = format!("a@sha256:{}", "0123456789ab".repeat(5));
        assert_eq!(
            told(&one, &deployment(&pinned, 1)).map(|(_, words)| words),
            Some("image of main: a:1 → a@sha256:0123456789ab".into())
        );
        assert_eq!(
            told(&one, &deployment("a:1", 3)),
            Some((ChangeKind::Scale, "1 → 3 replicas".into()))
        );
    }

    #[test]
    fn keys_are_told_and_values_are_not() {
        let map = |pairs: &[(&str, &str)]| -> BTreeMap<String, String> {
            pairs
                .iter()
                .map(|(k, v)| (k.to_string(), v.to_string()))
                .collect()
        };
        let old = map(&[("a", "1"), ("b", "2")]);
        assert_eq!(data(&old, &old), None);
        assert_eq!(
            data(&old, &map(&[("a", "9"), ("c", "3")])),
            Some("a changed, c is new, b is gone".into())
        );
    }
}
