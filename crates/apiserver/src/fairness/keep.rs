//! The objects of priority and fairness that are always there: those without which nothing could
//! be classified are put right at once, the suggested ones are made at start; and each flow
//! schema says whether its level exists.

use super::{GROUP, LEVELS, SCHEMAS, facts};
use crate::core::Core;
use crate::record;
use crate::write;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;
use towpath_api::status::Failure;
use towpath_daemon::CancellationToken;
use towpath_store::{Expect, Op, Snapshot};

const AUTOUPDATE: &str = "apf.kubernetes.io/autoupdate-spec";
const MANDATORY: [&str; 2] = ["exempt", "catch-all"];
const EVENTS: usize = 64;
const AGAIN: Duration = Duration::from_secs(5);

/// Components of this process wait for nobody: what they hold up would be requests themselves.
fn own() -> Value {
    let all = json!(["*"]);
    json!({"name": "towpath-components", "spec": {
        "priorityLevelConfiguration": {"name": "exempt"},
        "matchingPrecedence": 3,
        "rules": [{
            "subjects": [{"kind": "Group", "group": {"name": "system:towpath"}}],
            "resourceRules": [{"verbs": all, "apiGroups": all, "resources": all, "clusterScope": true, "namespaces": all}],
            "nonResourceRules": [{"verbs": all, "nonResourceURLs": all}],
        }],
    }})
}

/// Makes what is missing at a start.
pub(crate) async fn begin(core: &Core) -> Result<(), Failure> {
    settle(core, true).await
}

/// Puts right what changes, until cancelled.
pub(crate) async fn run(core: Arc<Core>, cancel: CancellationToken) {
    loop {
        let begin = core.store.revision();
        let mut schemas = core.store.watch(SCHEMAS, begin);
        let mut levels = core.store.watch(LEVELS, begin);
        let failed = settle(&core, false).await.is_err();
        let retry = async {
            match failed {
                true => tokio::time::sleep(AGAIN).await,
                false => std::future::pending().await,
            }
        };
        tokio::select! {
            () = cancel.cancelled() => return,
            _ = schemas.next(EVENTS) => {}
            _ = levels.next(EVENTS) => {}
            () = retry => {}
        }
    }
}

async fn settle(core: &Core, start: bool) -> Result<(), Failure> {
    let state = core.store.snapshot();
    let mut ops = Vec::new();
    for (of, table, kind) in [
        ("levels", LEVELS, "PriorityLevelConfiguration"),
        ("flowschemas", SCHEMAS, "FlowSchema"),
    ] {
        let mut wanted = facts(of);
        if kind == "FlowSchema" {
            wanted.push(own());
        }
        for fact in wanted {
            ops.extend(kept(core, &state, (table, kind), &fact, start));
        }
    }
    for rec in state.table(SCHEMAS).values() {
        let mut schema = record::decode(rec);
        let before = schema.clone();
        dangling(&state, &mut schema, &core.clock.rfc3339());
        if schema != before {
            let op = Op::Put {
                resource: SCHEMAS.into(),
                key: rec.key.clone(),
                expect: Expect::revision(rec.revision),
                new: record::encode_as(&rec.meta, &schema),
            };
            // One change of an object at a time; the next look sees the rest.
            let taken = |other: &Op| matches!(other, Op::Put { resource, key, .. } if **resource == *SCHEMAS && *key == rec.key);
            if !ops.iter().any(taken) {
                ops.push(op);
            }
        }
    }
    write::settle(core, ops).await
}

// Makes an object that must be there, or puts its spec right.
fn kept(
    core: &Core,
    state: &Snapshot,
    (table, kind): (&str, &str),
    fact: &Value,
    start: bool,
) -> Option<Op> {
    let name = fact["name"].as_str()?;
    let mandatory = MANDATORY.contains(&name);
    if !mandatory && !start {
        return None;
    }
    let key = towpath_store::key("", name);
    let Some(rec) = state.get(table, &key) else {
        let kinds = core.kinds.load();
        let resource = kinds.of_kind(GROUP, "v1", kind)?;
        let mut object = json!({
            "apiVersion": format!("{GROUP}/v1"),
            "kind": kind,
            "metadata": {
                "name": name,
                "uid": towpath_stdx::id::uuid(&*core.random),
                "creationTimestamp": core.clock.rfc3339(),
                "generation": 1,
                "annotations": {AUTOUPDATE: "true"},
            },
            "spec": fact["spec"],
            "status": {},
        });
        if kind == "FlowSchema" {
            let level = &fact["spec"]["priorityLevelConfiguration"]["name"];
            tell(
                &mut object,
                level.as_str().unwrap_or_default(),
                true,
                &core.clock.rfc3339(),
            );
        }
        return Some(Op::Put {
            resource: table.into(),
            key,
            expect: Expect::absent(),
            new: record::encode(resource, &object),
        });
    };
    let mut object = record::decode(rec);
    // The exempt level's shares are its owner's.
    let free = name == "exempt" && table == LEVELS;
    let updates = object["metadata"]["annotations"][AUTOUPDATE] == "true";
    if object["spec"] == fact["spec"] || free || !(mandatory || updates) {
        return None;
    }
    object["spec"] = fact["spec"].clone();
    let generation = object["metadata"]["generation"].as_i64().unwrap_or(0);
    object["metadata"]["generation"] = (generation + 1).into();
    Some(Op::Put {
        resource: table.into(),
        key,
        expect: Expect::revision(rec.revision),
        new: record::encode_as(&rec.meta, &object),
    })
}

fn dangling(state: &Snapshot, schema: &mut Value, now: &str) {
    let level = schema["spec"]["priorityLevelConfiguration"]["name"]
        .as_str()
        .unwrap_or_default()
        .to_string();
    let found = state.get(LEVELS, &towpath_store::key("", &level)).is_some();
    tell(schema, &level, found, now);
}

// Says whether the level of a flow schema exists.
fn tell(schema: &mut Value, level: &str, found: bool, now: &str) {
    let begin =
        format!("This FlowSchema references the PriorityLevelConfiguration object named {level:?}");
    let (status, reason, message) = match found {
        true => ("False", "Found", format!("{begin} and it exists")),
        false => (
            "True",
            "NotFound",
            format!("{begin} but there is no such object"),
        ),
    };
    if !schema["status"].is_object() {
        schema["status"] = json!({});
    }
    if !schema["status"]["conditions"].is_array() {
        schema["status"]["conditions"] = json!([]);
    }
    let Some(conditions) = schema["status"]["conditions"].as_array_mut() else {
        return;
    };
    let at = conditions.iter().position(|c| c["type"] == "Dangling");
    let since = at
        .map(|at| &conditions[at])
        .filter(|c| c["status"] == status)
        .map_or_else(|| now.into(), |c| c["lastTransitionTime"].clone());
    let condition = json!({
        "type": "Dangling", "status": status, "lastTransitionTime": since,
        "reason": reason, "message": message,
    });
    match at {
        Some(at) => conditions[at] = condition,
        None => conditions.push(condition),
    }
}
