//! Eviction: a deletion of a pod that a disruption budget may forbid for now.
//!
//! What a budget allows is taken from it in one transaction with the pod's own condition, on
//! the condition that both are as they were read; its controller gives it back when the pod is
//! gone and another is ready.

use crate::admission::{self, Operation};
use crate::body::{self, Answer};
use crate::core::Call;
use crate::delete;
use crate::model;
use crate::read;
use crate::record;
use crate::route::Target;
use crate::write::{self, Options};
use serde_json::{Value, json};
use std::sync::Arc;
use towpath_api::selector::Label;
use towpath_api::status::{self, Failure};
use towpath_store::{Expect, Op, Rec, Refused, Snapshot, Txn};

const TABLE: &str = "policy/poddisruptionbudgets";
const TRIES: usize = 16;
/// Evictions that the controller has not yet seen the end of.
const UNCONFIRMED: usize = 2000;
const RETRY_SECONDS: u32 = 10;

pub(crate) async fn serve(call: &Call, target: &Target, bytes: &[u8]) -> Answer {
    let mut eviction = model::read_body(call.content_type(), bytes)?.0;
    if eviction["metadata"]["name"] != target.name.as_str() {
        let why = "name in URL does not match name in Eviction object";
        return Err(status::bad_request(why));
    }
    let mut asked = eviction["deleteOptions"].clone();
    let all = json!(["All"]);
    let dry_run = Options::read(call)?.dry_run || asked["dryRun"] == all;
    admission::act(call, target, Operation::Create, &mut eviction, dry_run).await?;
    let pod = Target {
        subresource: String::new(),
        ..target.clone()
    };
    let pinned = !asked["preconditions"]["resourceVersion"].is_null();
    let mut last = None;
    for _ in 0..TRIES {
        let (revision, guarded) = match release(call, &pod, dry_run).await? {
            Some(released) => released,
            None => continue,
        };
        if guarded.pins && !pinned {
            asked["preconditions"]["resourceVersion"] = revision.to_string().into();
        }
        let options = match asked.is_object() {
            true => serde_json::to_vec(&asked).unwrap_or_default(),
            false => Vec::new(),
        };
        match delete::evict(call, &pod, &options, dry_run).await {
            Ok(()) => {
                let done = json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201});
                return Ok(body::json(201, &done));
            }
            // It changed, and may be one that a budget guards now.
            Err(failure) if failure.code == 409 && guarded.pins && !pinned => last = Some(failure),
            Err(failure) => return Err(failure),
        }
    }
    Err(last.unwrap_or_else(|| status::conflict("", "pods", &target.name, status::MODIFIED)))
}

/// Why a pod may go, and what follows from it.
#[derive(Clone, Copy, Default)]
struct Leave {
    /// Only as long as it is as it was.
    pins: bool,
    /// It takes one of what its budget allows.
    takes: bool,
}

// Takes the pod's leave; gives its revision afterwards. `None` where someone was faster.
async fn release(
    call: &Call,
    target: &Target,
    dry_run: bool,
) -> Result<Option<(u64, Leave)>, Failure> {
    let core = &call.core;
    let state = core.store.snapshot();
    let key = towpath_store::key(&target.namespace, &target.name);
    let rec = state
        .get(&target.resource.table, &key)
        .ok_or_else(|| read::missing(target))?;
    let mut pod = record::decode(rec);
    let budget = budget_of(&state, &target.namespace, &pod)?;
    let leave = leave(&pod, budget.as_ref().map(|(_, budget)| budget))?;
    if dry_run {
        return Ok(Some((rec.revision, leave)));
    }
    let now = core.clock.rfc3339();
    let mut ops = Vec::new();
    let kinds = core.kinds.load();
    if let Some((at, mut budget)) = budget.filter(|_| leave.takes)
        && let Some(resource) = kinds.resource("policy", "v1", "poddisruptionbudgets")
    {
        take(&mut budget, &target.name, &now);
        ops.push(Op::Put {
            resource: resource.table.clone(),
            key: at.key.clone(),
            expect: Expect::revision(at.revision),
            new: record::encode(resource, &budget),
        });
    }
    mark(&mut pod, &now);
    ops.push(Op::Put {
        resource: target.resource.table.clone(),
        key,
        expect: Expect::revision(rec.revision),
        new: record::encode(&target.resource, &pod),
    });
    let done = core.store.commit(Txn {
        ops,
        class: write::class(&target.resource),
    });
    match done.await {
        Ok(done) => {
            let pod = done.recs.last().cloned().flatten();
            Ok(pod.map(|pod| (pod.revision, leave)))
        }
        Err(Refused::Conflict { .. }) => Ok(None),
        Err(other) => Err(write::refused(other)),
    }
}

fn budget_of(
    state: &Snapshot,
    namespace: &str,
    pod: &Value,
) -> Result<Option<(Arc<Rec>, Value)>, Failure> {
    let mut found = None;
    for rec in state.range(TABLE, namespace, None) {
        let budget = record::decode(rec);
        let selector = Label::from_object(&budget["spec"]["selector"])
            .map_err(|error| status::internal(error.to_string()))?;
        if !selector.matches(&pod["metadata"]["labels"]) {
            continue;
        }
        if found.is_some() {
            return Err(status::untold(
                "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support.",
            ));
        }
        found = Some((rec.clone(), budget));
    }
    Ok(found)
}

fn leave(pod: &Value, budget: Option<&Value>) -> Result<Leave, Failure> {
    let phase = pod["status"]["phase"].as_str().unwrap_or_default();
    let ended = matches!(phase, "Succeeded" | "Failed");
    if ended || !pod["metadata"]["deletionTimestamp"].is_null() {
        return Ok(Leave::default());
    }
    let pins = Leave {
        pins: true,
        takes: false,
    };
    if phase == "Pending" {
        return Ok(pins);
    }
    let Some(budget) = budget else {
        return Ok(Leave::default());
    };
    let number = |key: &str| budget["status"][key].as_i64().unwrap_or(0);
    let (healthy, desired) = (number("currentHealthy"), number("desiredHealthy"));
    if !is_ready(pod) {
        // What is not healthy anyway disrupts nobody, unless the budget says otherwise.
        let always = budget["spec"]["unhealthyPodEvictionPolicy"] == "AlwaysAllow";
        if always || healthy >= desired && desired > 0 {
            return Ok(pins);
        }
    }
    allows(budget, healthy, desired)?;
    Ok(Leave {
        pins: false,
        takes: true,
    })
}

fn is_ready(pod: &Value) -> bool {
    let conditions = pod["status"]["conditions"].as_array().into_iter().flatten();
    let mut ready = conditions.filter(|c| c["type"] == "Ready");
    ready.any(|c| c["status"] == "True")
}

fn allows(budget: &Value, healthy: i64, desired: i64) -> Result<(), Failure> {
    let name = budget["metadata"]["name"].as_str().unwrap_or_default();
    let denied = |why: String| {
        let text = "Cannot evict pod as it would violate the pod's disruption budget.";
        let mut failure = status::too_many_requests(text, RETRY_SECONDS);
        let cause = json!([{"reason": "DisruptionBudget", "message": why}]);
        let details = failure.details.get_or_insert_with(|| json!({}));
        details["causes"] = cause;
        failure
    };
    let seen = budget["status"]["observedGeneration"].as_i64().unwrap_or(0);
    if seen < budget["metadata"]["generation"].as_i64().unwrap_or(0) {
        return Err(denied(format!(
            "The disruption budget {name} is still being processed by the server."
        )));
    }
    let forbidden = |why: &str| status::forbidden("policy", "poddisruptionbudget", name, why);
    let allowed = budget["status"]["disruptionsAllowed"].as_i64().unwrap_or(0);
    if allowed < 0 {
        return Err(forbidden("pdb disruptions allowed is negative"));
    }
    let waiting = budget["status"]["disruptedPods"]
        .as_object()
        .map_or(0, |all| all.len());
    if waiting > UNCONFIRMED {
        return Err(forbidden(
            "DisruptedPods map too big - too many evictions not confirmed by PDB controller",
        ));
    }
    if allowed > 0 {
        return Ok(());
    }
    let mut conditions = budget["status"]["conditions"]
        .as_array()
        .into_iter()
        .flatten();
    let text =
        |condition: &Value, key: &str| condition[key].as_str().unwrap_or_default().to_string();
    let said = conditions
        .find(|c| c["type"] == "DisruptionAllowed" && c["status"] == "False")
        .map(|c| (text(c, "reason"), text(c, "message")))
        .filter(|(_, message)| !message.is_empty());
    let begin = format!("The disruption budget {name}");
    let not = format!("{begin} does not allow evicting pods currently");
    let mut failure = denied(match said {
        Some((reason, message)) if reason == "SyncFailed" => {
            format!("{not} because it failed sync: {message}")
        }
        _ if healthy <= desired => {
            format!("{begin} needs {desired} healthy pods and has {healthy} currently")
        }
        Some((reason, message)) => format!("{not} ({reason}): {message}"),
        None => not,
    });
    // Nobody knows when there will be room.
    if let Some(details) = failure.details.as_mut().and_then(Value::as_object_mut) {
        details.remove("retryAfterSeconds");
    }
    Err(failure)
}

fn take(budget: &mut Value, pod: &str, now: &str) {
    let left = budget["status"]["disruptionsAllowed"].as_i64().unwrap_or(0) - 1;
    budget["status"]["disruptionsAllowed"] = left.into();
    budget["status"]["disruptedPods"][pod] = now.into();
    if left > 0 {
        return;
    }
    let mut all = budget["status"]["conditions"]
        .as_array()
        .cloned()
        .unwrap_or_default();
    let before = all
        .iter()
        .position(|c| c["type"] == "DisruptionAllowed")
        .map(|at| all.remove(at));
    let since = match before {
        Some(before) if before["status"] == "False" => before["lastTransitionTime"].clone(),
        _ => now.into(),
    };
    all.push(json!({"type": "DisruptionAllowed", "status": "False", "reason": "InsufficientPods",
        "message": "", "observedGeneration": budget["status"]["observedGeneration"], "lastTransitionTime": since}));
    budget["status"]["conditions"] = all.into();
}

fn mark(pod: &mut Value, now: &str) {
    let mut all = pod["status"]["conditions"]
        .as_array()
        .cloned()
        .unwrap_or_default();
    all.retain(|c| c["type"] != "DisruptionTarget");
    all.push(
        json!({"type": "DisruptionTarget", "status": "True", "reason": "EvictionByEvictionAPI",
        "message": "Eviction API: evicting", "lastProbeTime": null, "lastTransitionTime": now}),
    );
    pod["status"]["conditions"] = all.into();
}
