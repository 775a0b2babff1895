//! What happens to definitions after they are written: names that became free are given to who
//! waits for them, and a definition that is being deleted takes its objects along. These keep
//! their finalizers: the definition goes when the last of them has gone.

use super::{TABLE, names, settle_names, table_of};
use crate::core::Core;
use crate::record;
use crate::write;
use serde_json::Value;
use std::sync::Arc;
use std::time::Duration;
use towpath_api::status::Failure;
use towpath_daemon::CancellationToken;
use towpath_stdx::clock::rfc3339;
use towpath_store::{Expect, Op, Rec, Snapshot, Watch};

/// Keeps a definition until its objects are gone.
pub(super) const FINALIZER: &str = "customresourcecleanup.apiextensions.k8s.io";
const EVENTS: usize = 256;
const BATCH: usize = 256;
/// After a failure; everything else is an event.
const AGAIN: Duration = Duration::from_secs(5);

/// Marks a definition that a client deletes.
pub(crate) fn mark(definition: &mut Value, now: u64) {
    if !definition["metadata"]["deletionTimestamp"].is_null() {
        return;
    }
    let now = rfc3339(now);
    definition["metadata"]["deletionTimestamp"] = now.clone().into();
    let metadata = &mut definition["metadata"];
    let mut finalizers = metadata["finalizers"]
        .as_array()
        .cloned()
        .unwrap_or_default();
    if !finalizers.iter().any(|f| f == FINALIZER) {
        finalizers.push(FINALIZER.into());
    }
    metadata["finalizers"] = finalizers.into();
    let told = (
        "InstanceDeletionPending",
        "CustomResourceDefinition marked for deletion; CustomResource deletion will begin soon",
    );
    names::set(definition, "Terminating", true, told, &now);
}

fn is_ending(definition: &Value) -> bool {
    let finalizers = definition["metadata"]["finalizers"].as_array();
    !definition["metadata"]["deletionTimestamp"].is_null()
        && finalizers.is_some_and(|list| list.iter().any(|f| f == FINALIZER))
}

/// Looks after definitions until cancelled.
pub(crate) async fn run(core: Arc<Core>, cancel: CancellationToken) {
    loop {
        let begin = core.store.revision();
        let mut watches = vec![core.store.watch(TABLE, begin)];
        let mut again = None;
        match settle(&core).await {
            Ok(tables) => watches.extend(tables.iter().map(|t| core.store.watch(t, begin))),
            Err(failure) => {
                tracing::warn!(why = failure.message, "definitions are not settled");
                again = Some(AGAIN);
            }
        }
        super::catch_up(&core);
        let retry = async {
            match again {
                Some(time) => tokio::time::sleep(time).await,
                None => std::future::pending().await,
            }
        };
        let seen = watches.iter_mut().map(|watch| Box::pin(next(watch)));
        tokio::select! {
            () = cancel.cancelled() => return,
            _ = futures::future::select_all(seen) => {}
            () = retry => {}
        }
    }
}

async fn next(watch: &mut Watch) {
    // One that cannot follow is made anew as well.
    let _ = watch.next(EVENTS).await;
}

/// Settles all definitions; tells which tables must become empty first.
async fn settle(core: &Arc<Core>) -> Result<Vec<Arc<str>>, Failure> {
    let state = core.store.snapshot();
    let mut waiting = Vec::new();
    for rec in state.table(TABLE).values() {
        let mut definition = record::decode(rec);
        if is_ending(&definition) {
            let table = table_of(&definition);
            if !end(core, &state, rec, &mut definition).await? {
                waiting.push(table);
            }
            continue;
        }
        let before = definition.clone();
        settle_names(&state, &mut definition, &core.clock.rfc3339());
        if definition != before {
            write(core, rec, &definition, false).await?;
        }
    }
    Ok(waiting)
}

// One step of a definition's end; tells whether it is over.
async fn end(
    core: &Arc<Core>,
    state: &Snapshot,
    rec: &Rec,
    definition: &mut Value,
) -> Result<bool, Failure> {
    let now = core.clock.rfc3339();
    let table = table_of(definition);
    let told = match names::is(definition, "Established") {
        true => ("InstanceDeletionCompleted", "removed all instances"),
        false => ("NeverEstablished", "resource was never established"),
    };
    if names::is(definition, "Established") && state.count(&table) > 0 {
        let begun = (
            "InstanceDeletionInProgress",
            "CustomResource deletion is in progress",
        );
        let before = definition.clone();
        names::set(definition, "Terminating", true, begun, &now);
        if *definition != before {
            write(core, rec, definition, false).await?;
        }
        empty(core, state, &table).await?;
        // What was read is no longer what is there: another look ends it.
        return Ok(false);
    }
    names::set(definition, "Terminating", false, told, &now);
    if let Some(list) = definition["metadata"]["finalizers"].as_array_mut() {
        list.retain(|finalizer| finalizer != FINALIZER);
        if list.is_empty()
            && let Some(metadata) = definition["metadata"].as_object_mut()
        {
            metadata.shift_remove("finalizers");
        }
    }
    let gone = definition["metadata"]["finalizers"].is_null();
    write(core, rec, definition, gone).await?;
    Ok(true)
}

// Deletes the objects that wait for nothing and marks the others.
async fn empty(core: &Arc<Core>, state: &Snapshot, table: &Arc<str>) -> Result<(), Failure> {
    let now = rfc3339(core.clock.since_epoch().as_secs());
    let mut ops = Vec::new();
    for rec in state.range(table, "", None) {
        let mut object = record::decode(rec);
        let finalizers = object["metadata"]["finalizers"].as_array();
        let held = finalizers.is_some_and(|list| !list.is_empty());
        let expect = Expect::revision(rec.revision);
        let key = rec.key.clone();
        if !held {
            ops.push(Op::Delete {
                resource: table.clone(),
                key,
                expect,
                last: None,
            });
        } else if object["metadata"]["deletionTimestamp"].is_null() {
            object["metadata"]["deletionTimestamp"] = now.clone().into();
            object["metadata"]["deletionGracePeriodSeconds"] = 0.into();
            if let Some(generation) = object["metadata"]["generation"].as_i64() {
                object["metadata"]["generation"] = (generation + 1).into();
            }
            ops.push(Op::Put {
                resource: table.clone(),
                key,
                expect,
                new: record::encode_as(&rec.meta, &object),
            });
        }
    }
    while !ops.is_empty() {
        let rest = ops.split_off(ops.len().min(BATCH));
        write::settle(core, std::mem::replace(&mut ops, rest)).await?;
    }
    Ok(())
}

async fn write(core: &Arc<Core>, rec: &Rec, definition: &Value, gone: bool) -> Result<(), Failure> {
    let new = record::encode_as(&rec.meta, definition);
    let (resource, key) = (Arc::from(TABLE), rec.key.clone());
    let expect = Expect::revision(rec.revision);
    let op = match gone {
        true => Op::Delete {
            resource,
            key,
            expect,
            last: Some(new),
        },
        false => Op::Put {
            resource,
            key,
            expect,
            new,
        },
    };
    write::settle(core, vec![op]).await
}
