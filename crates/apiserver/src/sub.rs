//! Subresources that are actions or views: scale, binding, eviction, tokens.

use crate::admission::{self, Operation};
use crate::body::{self, Answer};
use crate::conversion;
use crate::core::Call;
use crate::kinds::Resource;
use crate::model;
use crate::patch::Patch;
use crate::read;
use crate::route::Target;
use crate::token_request;
use crate::write::{self, Options};
use serde_json::{Value, json};
use towpath_api::scale::{self, Paths};
use towpath_api::status::{self, Failure};

/// `bindings` are no objects: to make one is to bind the pod of its name.
pub(crate) async fn bind_named(call: &Call, target: &Target, bytes: &[u8]) -> Answer {
    let binding = parse(call, bytes)?;
    let name = binding["metadata"]["name"].as_str().unwrap_or_default();
    let kinds = call.core.kinds.load();
    let resource = kinds
        .resource("", "v1", "pods")
        .ok_or_else(status::no_such_resource)?;
    let pod = Target {
        resource: resource.clone(),
        name: name.to_string(),
        ..target.clone()
    };
    bind(call, &pod, bytes).await
}

pub(crate) async fn serve(call: &Call, target: &Target, bytes: &[u8]) -> Answer {
    match (target.verb, target.subresource.as_str()) {
        ("get", "scale") => {
            let rec = read::find(call, target)?;
            let object = conversion::show(&call.core, &target.resource, &rec).await?;
            Ok(body::json(200, &scale::read(&paths(target)?, &object)))
        }
        ("update", "scale") => {
            let mut options = Options::read(call)?;
            options.scale = true;
            let sent = scale_body(call, bytes)?;
            let named = sent["metadata"]["name"].as_str().unwrap_or_default();
            if named != target.name {
                return Err(status::bad_request(format!(
                    "the name of the object ({named}) does not match the name on the URL ({})",
                    target.name
                )));
            }
            set_scale(call, target, &options, |_| Ok(sent.clone())).await
        }
        ("create", "binding") => bind(call, target, bytes).await,
        ("create", "eviction") => crate::evict::serve(call, target, bytes).await,
        ("create", "token") => token_request::serve(call, target, bytes),
        ("get", _) => read::get(call, target).await,
        (verb, _) => Err(status::method_not_allowed(
            &target.resource.group,
            &target.resource.plural,
            verb,
        )),
    }
}

fn paths(target: &Target) -> Result<Paths, Failure> {
    let resource: &Resource = &target.resource;
    match &resource.custom {
        Some(custom) => custom.scale.clone(),
        None => scale::builtin(&resource.group, &resource.kind),
    }
    .ok_or_else(status::no_such_resource)
}

fn parse(call: &Call, bytes: &[u8]) -> Result<Value, Failure> {
    Ok(model::read_body(call.content_type(), bytes)?.0)
}

fn scale_body(call: &Call, bytes: &[u8]) -> Result<Value, Failure> {
    let sent = parse(call, bytes)?;
    not_negative(&sent)?;
    Ok(sent)
}

fn not_negative(sent: &Value) -> Result<(), Failure> {
    if sent["spec"]["replicas"].as_i64().unwrap_or(0) < 0 {
        let error = towpath_api::field::FieldError::invalid(
            "spec.replicas",
            sent["spec"]["replicas"].clone(),
            "must be greater than or equal to 0",
        );
        let name = sent["metadata"]["name"].as_str().unwrap_or_default();
        return Err(status::invalid("autoscaling", "Scale", name, &[error]));
    }
    Ok(())
}

async fn set_scale(
    call: &Call,
    target: &Target,
    options: &Options,
    make: impl Fn(&Value) -> Result<Value, Failure>,
) -> Answer {
    let paths = paths(target)?;
    // To the object it is a write of its spec; ownership records it as one of the scale.
    let whole = Target {
        subresource: String::new(),
        ..target.clone()
    };
    let rec = write::replace(call, &whole, options, |old| {
        let shown = scale::read(&paths, old);
        let wanted = make(&shown)?;
        let mut new = old.clone();
        if let Some(metadata) = new["metadata"].as_object_mut() {
            let named = wanted["metadata"]["resourceVersion"].clone();
            metadata.insert("resourceVersion".into(), named);
        }
        scale::write(&paths, &wanted, &mut new);
        Ok(new)
    })
    .await?;
    let object = conversion::show(&call.core, &target.resource, &rec).await?;
    Ok(body::json(200, &scale::read(&paths, &object)))
}

/// To those who own fields, an apply of the scale is one of the object's own count.
async fn apply_scale(call: &Call, target: &Target, options: &Options, patch: &Patch) -> Answer {
    let paths = paths(target)?;
    let sent = patch.body();
    if sent["kind"] != "Scale" || sent["apiVersion"] != "autoscaling/v1" {
        return Err(status::bad_request(
            "invalid object type: not autoscaling/v1, Kind=Scale",
        ));
    }
    let whole = Target {
        subresource: String::new(),
        ..target.clone()
    };
    let resource = &target.resource;
    let rec = write::replace(call, &whole, options, |old| {
        let mut config = json!({
            "apiVersion": resource.api_version(),
            "kind": resource.kind,
            "metadata": {"name": target.name},
        });
        scale::write(&paths, sent, &mut config);
        let now = call.core.clock.rfc3339();
        let how = (options.manager.as_str(), options.force, now.as_str());
        // Its owners come with it.
        model::apply_config(resource, "scale", Some(old), &config, how)
    })
    .await?;
    let object = conversion::show(&call.core, resource, &rec).await?;
    Ok(body::json(200, &scale::read(&paths, &object)))
}

pub(crate) async fn patch_scale(
    call: &Call,
    target: &Target,
    options: &Options,
    patch: &Patch,
) -> Answer {
    if patch.is_apply() {
        return apply_scale(call, target, options, patch).await;
    }
    set_scale(call, target, options, |shown| {
        let mut bare = shown.clone();
        if let Some(metadata) = bare["metadata"].as_object_mut() {
            metadata.remove("resourceVersion");
        }
        let new = patch.apply_plain(&target.resource, &bare)?;
        not_negative(&new)?;
        Ok(new)
    })
    .await
}

// The scheduler's decision: sets the node once, and says so in the pod's conditions.
async fn bind(call: &Call, target: &Target, bytes: &[u8]) -> Answer {
    let mut binding = parse(call, bytes)?;
    let dry_run = Options::read(call)?.dry_run;
    admission::act(call, target, Operation::Create, &mut binding, dry_run).await?;
    let node = binding["target"]["name"]
        .as_str()
        .unwrap_or_default()
        .to_string();
    let kind = binding["target"]["kind"].as_str().unwrap_or_default();
    if !matches!(kind, "" | "Node") {
        return Err(status::untold(format!(
            "target.kind: Unsupported value: {kind:?}: supported values: \"Node\", \"<empty>\""
        )));
    }
    if node.is_empty() {
        return Err(status::untold("target.name: Required value"));
    }
    let named = binding["metadata"]["name"].as_str().unwrap_or_default();
    if !named.is_empty() && named != target.name {
        return Err(status::bad_request(
            "name in URL does not match name in Binding object",
        ));
    }
    let options = Options::read(call)?;
    let now = call.core.clock.rfc3339();
    let whole = Target {
        subresource: "binding".into(),
        ..target.clone()
    };
    write::replace_raw(call, &whole, &options, |old| {
        let fail = |why: String| Err(status::conflict("", "pods/binding", &target.name, &why));
        if !old["metadata"]["deletionTimestamp"].is_null() {
            return fail(format!("pod {} is being deleted, cannot be assigned to a host", target.name));
        }
        if old["spec"]["schedulingGates"].as_array().is_some_and(|gates| !gates.is_empty()) {
            return fail(format!("pod {} has non-empty .spec.schedulingGates", target.name));
        }
        if let Some(taken) = old["spec"]["nodeName"].as_str().filter(|n| !n.is_empty()) {
            return fail(format!("pod {} is already assigned to node {taken:?}", target.name));
        }
        let mut new = old.clone();
        new["spec"]["nodeName"] = node.clone().into();
        for part in ["annotations", "labels"] {
            for (key, value) in binding["metadata"][part].as_object().into_iter().flatten() {
                new["metadata"][part][key] = value.clone();
            }
        }
        let mut conditions = old["status"]["conditions"].as_array().cloned().unwrap_or_default();
        conditions.retain(|c| c["type"] != "PodScheduled");
        conditions.push(json!({"type": "PodScheduled", "status": "True", "lastProbeTime": null, "lastTransitionTime": now}));
        new["status"]["conditions"] = conditions.into();
        Ok(new)
    })
    .await?;
    Ok(body::json(
        201,
        &json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201}),
    ))
}
