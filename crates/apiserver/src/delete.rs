//! DELETE: preconditions, propagation, finalizers, and a grace period for pods, whose node
//! removes them when their containers are gone.

use crate::admission::{self, Change, Operation};
use crate::body::{self, Answer};
use crate::conversion;
use crate::core::Call;
use crate::filter::Filter;
use crate::form;
use crate::kinds::Resource;
use crate::model;
use crate::read;
use crate::record;
use crate::route::Target;
use crate::write;
use serde_json::{Value, json};
use std::sync::Arc;
use towpath_api::field::FieldError;
use towpath_api::status::{self, Failure, MODIFIED};
use towpath_store::{Expect, Op, Rec, Refused, Txn};

const TRIES: usize = 16;
const DEFAULT_GRACE_SECONDS: u64 = 30;

/// `DeleteOptions` from the body and the query.
#[derive(Default)]
struct DeleteOptions {
    grace: Option<u64>,
    propagation: Option<String>,
    uid: Option<String>,
    revision: Option<String>,
    dry_run: bool,
    /// The same as the object that admission is shown.
    shown: Value,
}

fn options(call: &Call, bytes: &[u8]) -> Result<DeleteOptions, Failure> {
    let body = if bytes.iter().all(u8::is_ascii_whitespace) {
        Value::Null
    } else {
        model::read_body(call.content_type(), bytes)?.0
    };
    let text = |key: &str| {
        body[key]
            .as_str()
            .or(call.query.get(key))
            .map(str::to_string)
    };
    if let Some(kind) = body["kind"]
        .as_str()
        .filter(|kind| *kind != "DeleteOptions")
    {
        return Err(status::bad_request(format!(
            "no kind {kind:?} is registered for version {} in scheme \"pkg/runtime/scheme.go\"",
            body["apiVersion"]
        )));
    }
    let refused = |error| status::invalid("meta.k8s.io", "DeleteOptions", "", &[error]);
    let orphan = body["orphanDependents"].as_bool().or(call
        .query
        .get("orphanDependents")
        .map(|_| call.query.is("orphanDependents")));
    let given = text("propagationPolicy").filter(|policy| !policy.is_empty());
    if let Some(given) = given.as_deref() {
        if orphan.is_some() {
            let why = "orphanDependents and deletionPropagation cannot be both set";
            let error = FieldError::invalid("propagationPolicy", given, why);
            return Err(refused(error));
        }
        if !matches!(given, "Orphan" | "Background" | "Foreground") {
            let known = ["Foreground", "Background", "Orphan", "nil"];
            let error = FieldError::unsupported("propagationPolicy", given, &known);
            return Err(refused(error));
        }
    }
    let orphan = orphan.map(|orphan| if orphan { "Orphan" } else { "Background" }.to_string());
    let propagation = given.or(orphan);
    let asked: Vec<&str> = match body["dryRun"].as_array() {
        Some(all) => all.iter().filter_map(Value::as_str).collect(),
        None => call.query.all("dryRun").filter(|v| !v.is_empty()).collect(),
    };
    if asked.iter().any(|value| *value != "All") {
        let error = FieldError::unsupported("dryRun", json!(asked), &["All"]);
        return Err(refused(error));
    }
    let number = |text: &str| {
        let number: Result<i64, _> = text.parse();
        number.map_err(|_| {
            let why = format!("strconv.ParseInt: parsing {text:?}: invalid syntax");
            status::bad_request(why)
        })
    };
    let grace = match (
        &body["gracePeriodSeconds"],
        call.query.get("gracePeriodSeconds"),
    ) {
        (Value::Null, Some(text)) if !text.is_empty() => Some(number(text)?),
        (Value::Null, _) => None,
        (given, _) => Some(number(&given.to_string())?),
    };
    // Upstream takes a negative one as the shortest.
    let grace = grace.map(|grace| if grace < 0 { 1 } else { grace });
    let dry_run = !asked.is_empty();
    Ok(DeleteOptions {
        grace: grace.map(|grace| grace as u64),
        propagation,
        uid: body["preconditions"]["uid"].as_str().map(str::to_string),
        revision: body["preconditions"]["resourceVersion"]
            .as_str()
            .map(str::to_string),
        dry_run,
        shown: shown(call, body, dry_run),
    })
}

fn shown(call: &Call, body: Value, dry_run: bool) -> Value {
    let mut shown = match body {
        Value::Object(_) => body,
        _ => json!({}),
    };
    shown["kind"] = "DeleteOptions".into();
    shown["apiVersion"] = "meta.k8s.io/v1".into();
    if dry_run {
        shown["dryRun"] = json!(["All"]);
    }
    for key in ["propagationPolicy", "gracePeriodSeconds"] {
        if let (true, Some(value)) = (shown[key].is_null(), call.query.get(key)) {
            shown[key] = value.parse::<i64>().map_or(value.into(), Value::from);
        } else if shown[key].is_null()
            && let Some(shown) = shown.as_object_mut()
        {
            shown.remove(key);
        }
    }
    shown
}

pub(crate) async fn one(call: &Call, target: &Target, bytes: &[u8]) -> Answer {
    let options = options(call, bytes)?;
    warn_of_orphans(call, target, &options);
    let (rec, gone) = remove(call, target, &options).await?;
    let resource = &target.resource;
    if gone && !returns_object(resource) {
        let answer = status::deleted(
            &resource.group,
            &resource.plural,
            &target.name,
            &rec.meta.uid,
        );
        return Ok(body::json(200, &answer));
    }
    read::written(call, target, 200, &rec).await
}

fn warn_of_orphans(call: &Call, target: &Target, options: &DeleteOptions) {
    if target.resource.is("batch", "jobs") && options.propagation.is_none() {
        call.warn("child pods are preserved by default when jobs are deleted; set propagationPolicy=Background to remove them or set propagationPolicy=Orphan to suppress this warning");
    }
}

/// Kinds whose last state upstream sends back when they are gone.
fn returns_object(resource: &Resource) -> bool {
    resource.group.is_empty()
        && matches!(
            resource.plural.as_str(),
            "pods"
                | "services"
                | "persistentvolumeclaims"
                | "persistentvolumes"
                | "serviceaccounts"
                | "resourcequotas"
                | "podtemplates"
        )
}

/// Deletes by name without options, for other handlers (eviction).
pub(crate) async fn evict(
    call: &Call,
    target: &Target,
    bytes: &[u8],
    dry_run: bool,
) -> Result<(), Failure> {
    let mut options = options(call, bytes)?;
    options.dry_run |= dry_run;
    remove(call, target, &options).await.map(drop)
}

// The object after the call, and whether it is gone.
async fn remove(
    call: &Call,
    target: &Target,
    options: &DeleteOptions,
) -> Result<(Arc<Rec>, bool), Failure> {
    let (core, resource) = (&call.core, &target.resource);
    for _ in 0..TRIES {
        let state = core.store.snapshot();
        let key = towpath_store::key(&target.namespace, &target.name);
        let current = state
            .get(&resource.table, &key)
            .cloned()
            .ok_or_else(|| read::missing(target))?;
        preconditions(target, &current, options)?;
        // It is marked as it is stored, and shown to admission as the client sees it.
        let stored = record::decode(&current);
        let mut new = stored.clone();
        let waits = mark(call, resource, &mut new, options);
        let old = conversion::show(core, resource, &current).await?;
        let change = Change {
            call,
            target,
            state: &state,
            operation: Operation::Delete,
            old: Some(&old),
            subresource: "",
            dry_run: options.dry_run,
            options: &options.shown,
        };
        admission::delete(&change).await?;
        if waits && new == stored {
            return Ok((current, false));
        }
        let new = record::encode(resource, &new);
        if options.dry_run {
            return Ok((write::unsaved(key, new, current.revision), !waits));
        }
        let expect = Expect::revision(current.revision);
        let table = resource.table.clone();
        let mut ops = Vec::new();
        if waits {
            ops.push(Op::Put {
                resource: table,
                key,
                expect,
                new,
            });
        } else {
            ops.push(Op::Delete {
                resource: table,
                key,
                expect,
                last: resource.is("", "pods").then_some(new),
            });
            ops.extend(admission::released(&change));
        }
        match core
            .store
            .commit(Txn {
                ops,
                class: write::class(resource),
            })
            .await
        {
            Ok(done) => {
                crate::crd::after(core, resource);
                let rec = done
                    .recs
                    .into_iter()
                    .next()
                    .flatten()
                    .ok_or_else(|| read::missing(target))?;
                return Ok((rec, !waits));
            }
            Err(Refused::Conflict { .. }) => {}
            Err(other) => return Err(write::refused(other)),
        }
    }
    Err(status::conflict(
        &resource.group,
        &resource.plural,
        &target.name,
        MODIFIED,
    ))
}

fn preconditions(target: &Target, current: &Rec, options: &DeleteOptions) -> Result<(), Failure> {
    let resource = &target.resource;
    if let Some(uid) = options
        .uid
        .as_deref()
        .filter(|uid| **uid != *current.meta.uid)
    {
        let why = format!(
            "the UID in the precondition ({uid}) does not match the UID in record ({}). The object might have been deleted and then recreated",
            current.meta.uid
        );
        return Err(status::delete_precondition(
            &resource.kind,
            &target.name,
            &why,
        ));
    }
    let present = current.revision.to_string();
    if let Some(wanted) = options
        .revision
        .as_deref()
        .filter(|wanted| **wanted != present)
    {
        let why = format!(
            "the ResourceVersion in the precondition ({wanted}) does not match the ResourceVersion in record ({present}). The object might have been modified"
        );
        return Err(status::delete_precondition(
            &resource.kind,
            &target.name,
            &why,
        ));
    }
    Ok(())
}

/// Marks an object for deletion as far as it has to wait; `false` where it can go at once.
fn mark(call: &Call, resource: &Resource, object: &mut Value, options: &DeleteOptions) -> bool {
    let now = call.core.clock.since_epoch().as_secs();
    let grace = if resource.is("", "pods") {
        pod_grace(object, options.grace)
    } else {
        0
    };
    propagate(resource, object, options.propagation.as_deref());
    if resource.is("apiextensions.k8s.io", "customresourcedefinitions") {
        crate::crd::mark(object, now);
        return true;
    }
    let is_namespace = resource.is("", "namespaces");
    let waits = |list: &Value| list.as_array().is_some_and(|l| !l.is_empty());
    let held = waits(&object["metadata"]["finalizers"])
        || is_namespace && waits(&object["spec"]["finalizers"]);
    if !held && grace == 0 {
        if resource.is("", "pods") {
            // Its last state says that it was deleted, and at once.
            object["metadata"]["deletionTimestamp"] = towpath_stdx::clock::rfc3339(now).into();
            object["metadata"]["deletionGracePeriodSeconds"] = 0.into();
        }
        return false;
    }
    let marked = !object["metadata"]["deletionTimestamp"].is_null();
    let shorter = object["metadata"]["deletionGracePeriodSeconds"]
        .as_u64()
        .is_none_or(|before| grace < before);
    if !marked || shorter {
        if !marked && let Some(generation) = object["metadata"]["generation"].as_i64() {
            object["metadata"]["generation"] = (generation + 1).into();
        }
        object["metadata"]["deletionTimestamp"] = towpath_stdx::clock::rfc3339(now + grace).into();
        object["metadata"]["deletionGracePeriodSeconds"] = grace.into();
    }
    if is_namespace {
        object["status"]["phase"] = "Terminating".into();
    }
    true
}

/// Seconds a pod gets: none where no node has it or it has ended already.
fn pod_grace(pod: &Value, asked: Option<u64>) -> u64 {
    let assigned = pod["spec"]["nodeName"]
        .as_str()
        .is_some_and(|node| !node.is_empty());
    let ended = matches!(
        pod["status"]["phase"].as_str(),
        Some("Succeeded" | "Failed")
    );
    if !assigned || ended {
        return 0;
    }
    let own = pod["spec"]["terminationGracePeriodSeconds"]
        .as_u64()
        .unwrap_or(DEFAULT_GRACE_SECONDS);
    asked.unwrap_or(own)
}

/// Kinds whose dependents stay where nobody says otherwise, as they did before there was a choice.
fn orphans(resource: &Resource) -> bool {
    resource.is("batch", "jobs") || resource.is("", "replicationcontrollers")
}

fn propagate(resource: &Resource, object: &mut Value, policy: Option<&str>) {
    // Nothing depends on an event.
    if resource.plural == "events" && matches!(&*resource.stored_as.0, "" | "events.k8s.io") {
        return;
    }
    let policies = ["orphan", "foregroundDeletion"];
    let decided = object["metadata"]["finalizers"]
        .as_array()
        .is_some_and(|list| list.iter().any(|f| policies.iter().any(|p| f == p)));
    let wanted = match policy {
        Some("Orphan") => Some("orphan"),
        Some("Foreground") => Some("foregroundDeletion"),
        None if !decided && orphans(resource) => Some("orphan"),
        None => return,
        Some(_) => None,
    };
    let metadata = &mut object["metadata"];
    let mut finalizers = metadata["finalizers"]
        .as_array()
        .cloned()
        .unwrap_or_default();
    finalizers.retain(|f| f != "orphan" && f != "foregroundDeletion");
    if let Some(wanted) = wanted {
        finalizers.push(json!(wanted));
    }
    if finalizers.is_empty() {
        if let Some(map) = metadata.as_object_mut() {
            map.remove("finalizers");
        }
    } else {
        metadata["finalizers"] = finalizers.into();
    }
}

pub(crate) async fn collection(call: &Call, target: &Target, bytes: &[u8]) -> Answer {
    let options = options(call, bytes)?;
    warn_of_orphans(call, target, &options);
    let mut filter = Filter::new(target, &call.query)?;
    // What depends on the version is looked at in the converted objects.
    let mut by_value = None;
    if !filter.is_everything() && !conversion::selects_as_stored(&target.resource) {
        let of_place = filter.of_place();
        by_value = Some(std::mem::replace(&mut filter, of_place));
    }
    let state = call.core.store.snapshot();
    let limit = crate::list_options::limit(&call.query)?;
    let (found, _) = read::select(&state, target, &filter, None, limit);
    let mut items = Vec::with_capacity(found.len());
    for rec in found {
        if let Some(filter) = &by_value {
            let shown = conversion::show(&call.core, &target.resource, &rec).await?;
            if !filter.matches_shown(&shown) {
                continue;
            }
        }
        let one = Target {
            namespace: rec.namespace().into(),
            name: rec.name().into(),
            ..target.clone()
        };
        match remove(call, &one, &options).await {
            // What is answered is what was found, as upstream does it.
            Ok(_) => items.push(conversion::show(&call.core, &target.resource, &rec).await?),
            Err(failure) if failure.code == 404 => {}
            Err(failure) => return Err(failure),
        }
    }
    let metadata = json!({"resourceVersion": call.core.store.revision().to_string()});
    Ok(body::json(200, &form::whole_list(target, items, metadata)))
}
