//! What a quota counts, and how much of it there is.

use serde_json::Value;
use std::collections::BTreeSet;
use towpath_api::quantity::Quantity;
use towpath_api::quota;
use towpath_api::resources::{self, Amounts};

/// Objects that have to be counted.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Count {
    pub(crate) group: String,
    pub(crate) plural: String,
}

/// Core resources with names of their own in quotas.
const CORE: [&str; 7] = [
    "pods",
    "services",
    "persistentvolumeclaims",
    "configmaps",
    "replicationcontrollers",
    "resourcequotas",
    "secrets",
];

/// The kinds that a quota's names are about.
pub(crate) fn wanted(hard: &Amounts) -> BTreeSet<Count> {
    let mut all = BTreeSet::new();
    for name in hard.keys() {
        for plural in CORE {
            if quota::tracks("", plural, name) {
                all.insert(count("", plural));
            }
        }
        if let Some(rest) = name.strip_prefix("count/") {
            let (plural, group) = rest.split_once('.').unwrap_or((rest, ""));
            all.insert(count(group, plural));
        }
    }
    all
}

fn count(group: &str, plural: &str) -> Count {
    Count {
        group: group.into(),
        plural: plural.into(),
    }
}

/// Adds what objects of one kind use of a quota's names; each name is there, also at zero.
pub(crate) fn add(
    used: &mut Amounts,
    (spec, hard): (&Value, &Amounts),
    (group, plural): (&str, &str),
    found: &[Value],
    now: i64,
) {
    for name in hard
        .keys()
        .filter(|name| quota::tracks(group, plural, name))
    {
        used.entry(name.clone()).or_insert(Quantity::from_units(0));
    }
    for object in found {
        if !quota::matches(spec, hard, group, plural, object) {
            continue;
        }
        let mut own = quota::usage(group, plural, object, now);
        own.retain(|name, _| hard.contains_key(name));
        resources::add(used, &own);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn names_become_kinds() {
        let hard = resources::read(
            &json!({"requests.cpu": "1", "count/widgets.example.com": "1",
            "fast.storageclass.storage.k8s.io/requests.storage": "1Gi", "secrets": "1"}),
        );
        let all: Vec<String> = wanted(&hard)
            .iter()
            .map(|c| format!("{}/{}", c.group, c.plural))
            .collect();
        assert_eq!(
            all,
            [
                "/persistentvolumeclaims",
                "/pods",
                "/secrets",
                "example.com/widgets"
            ]
        );
    }

    #[test]
    fn sums_are_shown_like_their_parts() {
        let hard = resources::read(&json!({"requests.memory": "1Gi", "pods": "9"}));
        let pod = |memory: &str| json!({"spec": {"containers": [{"resources": {"requests": {"memory": memory}}}]}});
        let mut used = Amounts::new();
        add(&mut used, (&json!({}), &hard), ("", "pods"), &[], 0);
        assert_eq!(
            resources::write(&used),
            json!({"pods": "0", "requests.memory": "0"})
        );
        add(
            &mut used,
            (&json!({}), &hard),
            ("", "pods"),
            &[pod("64Mi"), pod("64Mi")],
            0,
        );
        assert_eq!(
            resources::write(&used),
            json!({"pods": "2", "requests.memory": "128Mi"})
        );
        let mut scoped = Amounts::new();
        add(
            &mut scoped,
            (&json!({"scopes": ["BestEffort"]}), &hard),
            ("", "pods"),
            &[pod("1Mi")],
            0,
        );
        assert_eq!(
            resources::write(&scoped),
            json!({"pods": "0", "requests.memory": "0"})
        );
    }
}
