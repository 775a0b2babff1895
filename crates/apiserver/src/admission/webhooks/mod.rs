//! Mutating and validating webhooks: servers of others that see writes before they happen.
//!
//! Configurations are read from the store's present state, so that a change of one takes effect
//! with its own commit. Hooks run in the order of their configurations' names; mutating ones one
//! after the other, validating ones at the same time. Configurations of admission itself are
//! never shown to a hook: a broken one could not be repaired any more.

mod call;
mod conditions;
mod registry;
pub(super) mod review;
mod rules;

use super::expressions::Scene;
use super::{Change, Operation};
use crate::kinds::Resource;
use crate::model;
use call::Refusal;
pub(crate) use registry::Registry;
use registry::{Hook, Hooks};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::sync::Arc;
use towpath_api::field::FieldError;
use towpath_api::status::{self, Failure};

/// Which mutating hooks have to look again, in this write.
#[derive(Default)]
pub(super) struct Rounds {
    /// Hooks that ask to see later changes and have run.
    ran: BTreeSet<String>,
    /// Those of them after which the object changed.
    again: BTreeSet<String>,
    /// The object after the last hook.
    left: Value,
    round: usize,
}

/// A hook, and the version of the resource that it wants to see.
type Found = (Arc<Hook>, Arc<Resource>);

fn hooks(change: &Change<'_>) -> Arc<Hooks> {
    let core = &change.call.core;
    core.admission.hooks.present(change.state)
}

fn wanted(change: &Change<'_>, hooks: &[Arc<Hook>], new: Option<&Value>) -> Vec<Found> {
    if hooks.is_empty() || is_exempt(&change.target.resource) {
        return Vec::new();
    }
    let kinds = change.call.core.kinds.load();
    let namespace = change.namespace();
    let object = rules::Object {
        change,
        namespace: namespace.as_ref(),
        new,
    };
    let found = hooks.iter().filter_map(|hook| {
        let resource = rules::version(hook, &object, &kinds)?;
        Some((hook.clone(), resource))
    });
    found.collect()
}

fn is_exempt(resource: &Resource) -> bool {
    resource.group == "admissionregistration.k8s.io"
}

/// Whether any mutating hook wants to see the change.
pub(super) fn mutates(change: &Change<'_>, new: Option<&Value>) -> bool {
    !wanted(change, &hooks(change).mutating, new).is_empty()
}

/// Lets mutating hooks change the object; tells whether one did.
pub(super) async fn mutate(
    change: &Change<'_>,
    new: &mut Value,
    rounds: &mut Rounds,
) -> Result<bool, Failure> {
    let all = wanted(change, &hooks(change).mutating, Some(new));
    let again = rounds.round > 0;
    if again && rounds.left != *new {
        let ran = std::mem::take(&mut rounds.ran);
        rounds.again.extend(ran);
    }
    let mut changed = false;
    for (index, (hook, resource)) in all.iter().enumerate() {
        let id = hook.id();
        if again && !rounds.again.contains(&id) {
            continue;
        }
        let before = new.clone();
        let verdict = run(change, hook, resource, Some(new), true).await?;
        if let Some(patch) = verdict.and_then(|verdict| verdict.patch) {
            *new = patched(change, hook, resource, new, &patch).await?;
        }
        let altered = *new != before;
        note(change, hook, (rounds.round, index), altered);
        if altered {
            changed = true;
            let ran = std::mem::take(&mut rounds.ran);
            rounds.again.extend(ran);
        }
        if hook.reinvoke {
            rounds.ran.insert(id);
        }
    }
    rounds.left = new.clone();
    rounds.round += 1;
    Ok(changed)
}

fn note(change: &Change<'_>, hook: &Hook, (round, index): (usize, usize), mutated: bool) {
    let key = format!("mutation.webhook.admission.k8s.io/round_{round}_index_{index}");
    let text =
        json!({"configuration": hook.configuration, "webhook": hook.name, "mutated": mutated});
    change.call.annotate(key, text.to_string());
}

// Patches are made for the version that the hook was shown. What comes back is shaped, pruned
// and defaulted like anything that a client sends.
async fn patched(
    change: &Change<'_>,
    hook: &Hook,
    resource: &Resource,
    object: &Value,
    patch: &Value,
) -> Result<Value, Failure> {
    let own = &change.target.resource;
    let core = &change.call.core;
    let shown = review::converted(core, own, resource, object).await?;
    let changed = model::json_patch(resource, &shown, patch).map_err(|failure| {
        let why = format!(
            "admission webhook {:?}: apply its patch: {}",
            hook.name, failure.message
        );
        status::internal(why)
    })?;
    if !changed.is_object() {
        return Err(status::internal(format!(
            "admission webhook {:?} left no object behind",
            hook.name
        )));
    }
    let mut back = review::converted(core, resource, own, &changed).await?;
    if change.is_whole() {
        let mut unknown = Vec::new();
        let strictness = model::Strictness::Ignore;
        model::shape(own, &mut back, &[], strictness, &mut unknown)?;
        model::default(own, &mut back);
        keep(object, &mut back);
    }
    Ok(back)
}

// Where the object lives and which one it is, is not for hooks to change.
fn keep(before: &Value, after: &mut Value) {
    for key in ["apiVersion", "kind"] {
        after[key] = before[key].clone();
    }
    for key in [
        "name",
        "namespace",
        "uid",
        "creationTimestamp",
        "generateName",
    ] {
        let Some(metadata) = after["metadata"].as_object_mut() else {
            return;
        };
        match before["metadata"].get(key) {
            Some(value) => {
                metadata.insert(key.into(), value.clone());
            }
            None => {
                metadata.remove(key);
            }
        }
    }
}

/// Mutating hooks see deletions too; there is nothing for them to change.
pub(super) async fn observe(change: &Change<'_>) -> Result<(), Failure> {
    for (hook, resource) in wanted(change, &hooks(change).mutating, None) {
        run(change, &hook, &resource, None, true).await?;
    }
    Ok(())
}

/// Asks all validating hooks at once; of several refusals the first in order counts.
pub(super) async fn validate(change: &Change<'_>, new: Option<&Value>) -> Result<(), Failure> {
    let all = wanted(change, &hooks(change).validating, new);
    let asked = all
        .iter()
        .map(|(hook, resource)| run(change, hook, resource, new, false));
    for answer in futures::future::join_all(asked).await {
        answer?;
    }
    Ok(())
}

// `None` where the hook could not be asked and may be passed over.
async fn run(
    change: &Change<'_>,
    hook: &Hook,
    resource: &Arc<Resource>,
    new: Option<&Value>,
    mutating: bool,
) -> Result<Option<review::Verdict>, Failure> {
    if !hook.conditions.is_empty() {
        let scene = Scene::new(change, resource, new);
        match conditions::hold(&hook.conditions, &scene) {
            Ok(true) => {}
            Ok(false) => return Ok(None),
            Err(_) if hook.fails_open => return Ok(None),
            Err(why) => return Err(change.forbidden(&change.name(new), &why)),
        }
    }
    if change.dry_run && !hook.no_side_effects {
        return Err(status::bad_request(format!(
            "admission webhook {:?} does not support dry run",
            hook.name
        )));
    }
    match call::ask(change, hook, resource, new, mutating).await {
        Ok(verdict) => {
            for warning in &verdict.warnings {
                change.call.warn(warning.clone());
            }
            for (key, value) in &verdict.annotations {
                change
                    .call
                    .annotate(format!("{}/{key}", hook.name), value.clone());
            }
            match verdict.refusal(&hook.name) {
                Some(failure) => Err(failure),
                None => Ok(Some(verdict)),
            }
        }
        Err(Refusal(why)) if hook.fails_open => {
            tracing::warn!(
                hook = hook.name,
                why,
                "admission webhook failed and is passed over"
            );
            let key = "failed-open.validation.webhook.admission.k8s.io/round_0_index_0";
            change.call.annotate(key, hook.name.clone());
            Ok(None)
        }
        Err(Refusal(why)) => Err(status::internal(format!(
            "failed calling webhook {:?}: {why}",
            hook.name
        ))),
    }
}

/// Checks a configuration of hooks: its conditions must be expressions that can be read.
pub(super) fn check(change: &Change<'_>, new: &Value) -> Result<(), Failure> {
    let resource = &change.target.resource;
    let is_ours = is_exempt(resource)
        && matches!(
            resource.plural.as_str(),
            "mutatingwebhookconfigurations" | "validatingwebhookconfigurations"
        );
    if !is_ours {
        return Ok(());
    }
    let mut errors = Vec::new();
    let hooks = new["webhooks"].as_array().into_iter().flatten();
    for (index, hook) in hooks.enumerate() {
        let all = hook["matchConditions"].as_array().into_iter().flatten();
        for (number, condition) in all.enumerate() {
            let expression = condition["expression"].as_str().unwrap_or_default();
            // What is stored already was readable once.
            let known = |hook: &Value| hook["matchConditions"][number] == *condition;
            if change.old.is_some_and(|old| known(&old["webhooks"][index])) {
                continue;
            }
            if let Err(why) = conditions::compile(expression) {
                let path = format!("webhooks[{index}].matchConditions[{number}].expression");
                errors.push(FieldError::invalid(path, expression, why));
            }
        }
    }
    if errors.is_empty() {
        return Ok(());
    }
    let name = new["metadata"]["name"].as_str().unwrap_or_default();
    Err(status::invalid(
        &resource.group,
        &resource.kind,
        name,
        &errors,
    ))
}

impl Operation {
    fn word(self) -> &'static str {
        match self {
            Self::Create => "CREATE",
            Self::Update => "UPDATE",
            Self::Delete => "DELETE",
            Self::Connect => "CONNECT",
        }
    }
}
