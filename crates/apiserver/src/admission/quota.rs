//! ResourceQuota: what an object uses is added to the quotas of its namespace in the object's
//! own transaction, on the condition that they are as they were read: two writers can never
//! both take the last of something. What leaves is given back by the quota controller.

use super::{Change, Effects, Operation};
use crate::record;
use crate::route::Target;
use parking_lot::Mutex;
use serde_json::Value;
use std::collections::HashMap;
use std::sync::{Arc, Weak};
use tokio::sync::{Mutex as Gate, OwnedMutexGuard};
use towpath_api::quota;
use towpath_api::resources::{self, Amounts};
use towpath_api::status::Failure;
use towpath_store::{Expect, Op, Snapshot};

const TABLE: &str = "resourcequotas";

/// Gates of the namespaces in which something is being charged right now.
#[derive(Default)]
pub(crate) struct Turns(Mutex<HashMap<String, Weak<Gate<()>>>>);

/// The right to charge in a namespace; given back when dropped.
pub(super) type Turn = OwnedMutexGuard<()>;

impl Turns {
    fn gate(&self, namespace: &str) -> Arc<Gate<()>> {
        let mut gates = self.0.lock();
        if let Some(gate) = gates.get(namespace).and_then(Weak::upgrade) {
            return gate;
        }
        gates.retain(|_, gate| gate.strong_count() > 0);
        let gate = Arc::new(Gate::new(()));
        gates.insert(namespace.to_string(), Arc::downgrade(&gate));
        gate
    }
}

pub(super) async fn charge(
    change: &Change<'_>,
    new: &Value,
    effects: &mut Effects,
) -> Result<(), Failure> {
    if !is_counted(change.target, change.operation, change.subresource) {
        return Ok(());
    }
    let (core, namespace) = (&change.call.core, &change.target.namespace);
    let any = |state: &Snapshot| state.range(TABLE, namespace, None).next().is_some();
    if !any(&core.store.snapshot()) {
        return Ok(());
    }
    // Of many who charge the same quota at once only one could commit; the others would run
    // again and again. So they stand in line, for no longer than their transactions take.
    if !change.dry_run {
        let gate = core.admission.turns.gate(namespace);
        effects.turn = Some(gate.lock_owned().await);
    }
    let state = core.store.snapshot();
    let name = new["metadata"]["name"].as_str().unwrap_or_default();
    for rec in state.range(TABLE, namespace, None) {
        let mut found = record::decode(rec);
        let charged = match charge_one(change, new, &found) {
            Ok(Some(used)) => used,
            Ok(None) => continue,
            Err(why) => return Err(change.forbidden(name, &why)),
        };
        found["status"]["used"] = resources::write(&charged);
        let kinds = change.call.core.kinds.load();
        let Some(resource) = kinds.resource("", "v1", TABLE) else {
            continue;
        };
        let new = record::encode(resource, &found);
        effects.ops.push(Op::Put {
            resource: resource.table.clone(),
            key: rec.key.clone(),
            expect: Expect::revision(rec.revision),
            new,
        });
    }
    Ok(())
}

// Creations count; of changes only those that can make an object larger.
fn is_counted(target: &Target, operation: Operation, subresource: &str) -> bool {
    let resource = &target.resource;
    if !resource.namespaced {
        return false;
    }
    match (operation, subresource) {
        (Operation::Create, "") => true,
        (Operation::Update, "resize") => resource.is("", "pods"),
        (Operation::Update, "") => {
            resource.is("", "services") || resource.is("", "persistentvolumeclaims")
        }
        _ => false,
    }
}

/// The new `used` of a quota, `None` where nothing changes, or why there is no room.
fn charge_one(change: &Change<'_>, new: &Value, found: &Value) -> Result<Option<Amounts>, String> {
    let resource = &change.target.resource;
    let (group, plural) = (resource.stored_as.0.as_str(), resource.plural.as_str());
    let hard = resources::read(&found["status"]["hard"]);
    if !quota::matches(&found["spec"], &hard, group, plural, new) {
        return Ok(None);
    }
    let quota_name = found["metadata"]["name"].as_str().unwrap_or_default();
    let mut hard = hard;
    let limits = hard.clone();
    hard.retain(|name, _| quota::tracks(group, plural, name));
    if resource.is("", "pods")
        && let Some(missing) = quota::missing(&hard, &new["spec"])
    {
        return Err(format!("failed quota: {quota_name}: {missing}"));
    }
    let used = resources::read(&found["status"]["used"]);
    let unknown: Vec<&str> = hard
        .keys()
        .filter(|name| !used.contains_key(*name))
        .map(String::as_str)
        .collect();
    if !unknown.is_empty() {
        let unknown = unknown.join(",");
        return Err(format!(
            "status unknown for quota: {quota_name}, resources: {unknown}"
        ));
    }
    let now = change.call.core.clock.since_epoch().as_secs() as i64;
    let mut more = quota::usage(group, plural, new, now);
    if let Some(old) = change
        .old
        .filter(|old| quota::matches(&found["spec"], &limits, group, plural, old))
    {
        let before = quota::usage(group, plural, old, now);
        for (name, amount) in &mut more {
            if let Some(before) = before.get(name) {
                *amount = amount.minus(*before);
            }
        }
    }
    // Less is given back by the controller, which sees what is really left.
    more.retain(|name, amount| hard.contains_key(name) && amount.sign() > 0);
    if more.is_empty() {
        return Ok(None);
    }
    let mut total = used.clone();
    resources::add(&mut total, &more);
    let exceeded: Vec<&String> = more
        .keys()
        .filter(|name| total[*name] > hard[*name])
        .collect();
    if !exceeded.is_empty() {
        let of = |amounts: &Amounts| {
            let parts = amounts.iter().filter(|(name, _)| exceeded.contains(name));
            quota::show(
                &parts
                    .map(|(name, amount)| (name.clone(), *amount))
                    .collect(),
            )
        };
        return Err(format!(
            "exceeded quota: {quota_name}, requested: {}, used: {}, limited: {}",
            of(&more),
            of(&used),
            of(&hard)
        ));
    }
    Ok(Some(total))
}
