//! Cluster roles that are made of others: their rules are those of all roles their selectors
//! match, written down whenever a role changes.
//!
//! Authorization itself looks through the selectors ([`crate::rbac`]), so that a new role counts
//! at once; what is written here is for who reads roles.

use crate::core::Core;
use crate::kinds::Resource;
use crate::record;
use crate::write::refused;
use serde_json::Value;
use std::sync::Arc;
use towpath_api::selector::Label;
use towpath_api::status::Failure;
use towpath_daemon::CancellationToken;
use towpath_store::{Expect, Op, Refused, Snapshot, Txn};

const TABLE: &str = "rbac.authorization.k8s.io/clusterroles";
/// Roles made of roles made of roles: no deeper than this per round.
const LEVELS: usize = 8;
const EVENTS: usize = 256;

/// Keeps rules up to date until cancelled.
pub(crate) async fn run(core: Arc<Core>, cancel: CancellationToken) {
    let mut watch = core.store.watch(TABLE, core.store.revision());
    loop {
        if let Err(failure) = settle(&core).await {
            tracing::warn!(why = failure.message, "aggregated roles are not up to date");
        }
        tokio::select! {
            () = cancel.cancelled() => return,
            seen = watch.next(EVENTS) => {
                if seen.is_err() {
                    watch = core.store.watch(TABLE, core.store.revision());
                }
            }
        }
    }
}

/// Writes rules until nothing changes any more.
pub(crate) async fn settle(core: &Core) -> Result<(), Failure> {
    let resource = core
        .kinds
        .load()
        .of_kind("rbac.authorization.k8s.io", "v1", "ClusterRole")
        .cloned();
    let Some(resource) = resource else {
        return Ok(());
    };
    for _ in 0..LEVELS {
        let ops = stale(&core.store.snapshot(), &resource);
        if ops.is_empty() {
            return Ok(());
        }
        let done = core
            .store
            .commit(Txn {
                ops,
                ..Txn::default()
            })
            .await;
        match done {
            // Someone changed a role meanwhile: looked at again.
            Ok(_) | Err(Refused::Conflict { .. }) => {}
            Err(other) => return Err(refused(other)),
        }
    }
    Ok(())
}

fn stale(state: &Snapshot, resource: &Resource) -> Vec<Op> {
    let table = state.table(TABLE);
    let mut ops = Vec::new();
    for (key, rec) in table.iter() {
        let mut role = record::decode(rec);
        let selectors: Vec<Label> = role["aggregationRule"]["clusterRoleSelectors"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(|selector| Label::from_object(selector).ok())
            .collect();
        if !role["aggregationRule"].is_object() {
            continue;
        }
        let mut rules: Vec<Value> = Vec::new();
        for (other, other_rec) in table.iter() {
            let matches = selectors
                .iter()
                .any(|selector| selector.matches_with(|label| other_rec.meta.label(label)));
            if !matches || **other == **key {
                continue;
            }
            let found = record::decode(other_rec);
            for rule in found["rules"].as_array().into_iter().flatten() {
                if !rules.contains(rule) {
                    rules.push(rule.clone());
                }
            }
        }
        if role["rules"].as_array().map_or(&[][..], Vec::as_slice) == rules {
            continue;
        }
        role["rules"] = rules.into();
        ops.push(Op::Put {
            resource: resource.table.clone(),
            key: rec.key.clone(),
            expect: Expect::revision(rec.revision),
            new: record::encode(resource, &role),
        });
    }
    ops
}
