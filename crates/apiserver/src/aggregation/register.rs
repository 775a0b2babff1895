//! Objects for what we serve ourselves: built-in groups are registered at start, those of
//! definitions come and go with them. Who wants another server to answer for a group removes our
//! label or names a service.

use super::TABLE;
use crate::core::Core;
use crate::record;
use crate::write;
use serde_json::json;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use towpath_api::facts;
use towpath_api::status::Failure;
use towpath_daemon::CancellationToken;
use towpath_store::{Expect, Op};

const LABEL: &str = "kube-aggregator.kubernetes.io/automanaged";
const DEFINITIONS: &str = "apiextensions.k8s.io/customresourcedefinitions";
const EVENTS: usize = 256;
const AGAIN: Duration = Duration::from_secs(5);
/// Of groups that definitions add.
const CUSTOM: (i64, i64) = (1000, 100);

/// Group, version, and how early it is listed: facts of upstream's table.
const PRIORITIES: &[(&str, &str, i64, i64)] = &[
    ("", "v1", 18000, 1),
    ("apps", "v1", 17800, 15),
    ("events.k8s.io", "v1", 17750, 15),
    ("authentication.k8s.io", "v1", 17700, 15),
    ("authorization.k8s.io", "v1", 17600, 15),
    ("autoscaling", "v1", 17500, 15),
    ("autoscaling", "v2", 17500, 30),
    ("batch", "v1", 17400, 15),
    ("certificates.k8s.io", "v1", 17300, 15),
    ("networking.k8s.io", "v1", 17200, 15),
    ("policy", "v1", 17100, 15),
    ("rbac.authorization.k8s.io", "v1", 17000, 15),
    ("storage.k8s.io", "v1", 16800, 15),
    ("apiextensions.k8s.io", "v1", 16700, 15),
    ("admissionregistration.k8s.io", "v1", 16700, 15),
    ("scheduling.k8s.io", "v1", 16600, 15),
    ("coordination.k8s.io", "v1", 16500, 15),
    ("node.k8s.io", "v1", 16300, 15),
    ("discovery.k8s.io", "v1", 16200, 15),
    ("resource.k8s.io", "v1", 16200, 21),
    ("flowcontrol.apiserver.k8s.io", "v1", 16100, 21),
];

/// How early a group of ours is listed.
pub(super) fn priority(group: &str, version: &str) -> (i64, i64) {
    let found = PRIORITIES
        .iter()
        .find(|(g, v, ..)| (*g, *v) == (group, version));
    found.map_or(CUSTOM, |(_, _, group, version)| (*group, *version))
}

fn is_builtin(group: &str) -> bool {
    facts::catalog().groups.iter().any(|g| g.name == group)
}

/// What is served here, by name of its object: whether it is ours from the start.
fn wanted(core: &Core) -> BTreeMap<String, (String, String, bool)> {
    let kinds = core.kinds.load();
    let mut wanted = BTreeMap::new();
    for group in &kinds.groups {
        // The registry itself is no group that it lists.
        if group.name == "apiregistration.k8s.io" {
            continue;
        }
        for version in &group.versions {
            let name = format!("{version}.{}", group.name);
            let builtin = is_builtin(&group.name) || group.name == crate::metrics::GROUP;
            wanted.insert(name, (group.name.clone(), version.clone(), builtin));
        }
    }
    wanted
}

pub(super) async fn run(core: Arc<Core>, cancel: CancellationToken) {
    loop {
        let begin = core.store.revision();
        let mut objects = core.store.watch(TABLE, begin);
        let mut definitions = core.store.watch(DEFINITIONS, begin);
        // What was defined up to here must be known: the watches tell only of what comes after.
        crate::crd::catch_up(&core);
        let again = match settle(&core, false).await {
            Ok(()) => None,
            Err(failure) => {
                tracing::warn!(why = failure.message, "API services are not registered");
                Some(AGAIN)
            }
        };
        let retry = async {
            match again {
                Some(time) => tokio::time::sleep(time).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = cancel.cancelled() => return,
            _ = objects.next(EVENTS) => {}
            _ = definitions.next(EVENTS) => {}
            () = core.aggregation.changed.notified() => {}
            () = retry => {}
        }
    }
}

pub(super) async fn settle(core: &Core, first: bool) -> Result<(), Failure> {
    let Some(resource) = core
        .kinds
        .load()
        .of_kind("apiregistration.k8s.io", "v1", "APIService")
        .cloned()
    else {
        return Ok(());
    };
    let wanted = wanted(core);
    let state = core.store.snapshot();
    let table = state.table(TABLE);
    let mut ops = Vec::new();
    for (name, (group, version, builtin)) in &wanted {
        let key = towpath_store::key("", name);
        // What someone removed of ours comes back with the next start only.
        let stays_away = *builtin && !first && core.aggregation.registered(name);
        if table.get(&*key).is_some() || stays_away {
            continue;
        }
        core.aggregation.register(name);
        let (group_priority, version_priority) = priority(group, version);
        let mut spec = json!({
            "version": version,
            "groupPriorityMinimum": group_priority,
            "versionPriority": version_priority,
        });
        if !group.is_empty() {
            spec["group"] = group.clone().into();
        }
        let mut object = json!({
            "apiVersion": "apiregistration.k8s.io/v1",
            "kind": "APIService",
            "metadata": {
                "name": name,
                "uid": towpath_stdx::id::uuid(&*core.random),
                "creationTimestamp": core.clock.rfc3339(),
                "labels": {LABEL: if *builtin { "onstart" } else { "true" }},
            },
            "spec": spec,
        });
        super::availability::local(&mut object, &core.clock.rfc3339());
        ops.push(Op::Put {
            resource: resource.table.clone(),
            key,
            expect: Expect::absent(),
            new: record::encode(&resource, &object),
        });
    }
    for (key, rec) in table.iter() {
        let ours = matches!(rec.meta.label(LABEL), Some("true" | "onstart"));
        let name = rec.name();
        let local = || record::decode(rec)["spec"]["service"].is_null();
        if ours && !wanted.contains_key(name) && local() {
            ops.push(Op::Delete {
                resource: resource.table.clone(),
                key: key.clone(),
                expect: Expect::revision(rec.revision),
                last: None,
            });
        }
    }
    write::settle(core, ops).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_built_in_group_has_a_place() {
        for group in &facts::catalog().groups {
            for version in &group.versions {
                if group.name != "apiregistration.k8s.io" {
                    assert_ne!(priority(group.name, version), CUSTOM, "{}", group.name);
                }
            }
        }
    }

    #[test]
    fn a_condition_says_local() {
        let mut object = json!({});
        super::super::availability::local(&mut object, "t");
        let condition = &object["status"]["conditions"][0];
        assert_eq!(condition["reason"], "Local");
    }
}
