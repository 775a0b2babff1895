//! Actions on an object that are not writes of it: evictions, bindings, streams. Only those who
//! asked to see them do.

use super::{Change, Operation, policies, webhooks};
use crate::core::Call;
use crate::route::Target;
use crate::write::Options;
use serde_json::{Value, json};
use towpath_api::status::Failure;

/// Shows an action's own object to whoever may change or forbid it.
pub(crate) async fn act(
    call: &Call,
    target: &Target,
    operation: Operation,
    object: &mut Value,
    dry_run: bool,
) -> Result<(), Failure> {
    let options = match operation {
        Operation::Connect => Value::Null,
        _ => Options::read(call)?.shown,
    };
    let part = target.resource.subresource(&target.subresource);
    if let Some(part) = part {
        let version = towpath_api::facts::api_version(&part.group, &part.version);
        object["apiVersion"] = version.into();
        object["kind"] = part.kind.clone().into();
    }
    let state = call.core.store.snapshot();
    let change = Change {
        call,
        target,
        state: &state,
        operation,
        old: None,
        subresource: &target.subresource,
        dry_run,
        options: &options,
    };
    super::builtin::binding(&change, object);
    if webhooks::mutates(&change, Some(object)) {
        let mut rounds = webhooks::Rounds::default();
        if webhooks::mutate(&change, object, &mut rounds).await? {
            webhooks::mutate(&change, object, &mut rounds).await?;
        }
    }
    policies::validate(&change, Some(object))?;
    webhooks::validate(&change, Some(object)).await
}

/// Asks whether a stream to a pod may be opened; the query says what it is to carry.
pub(crate) async fn connect(call: &Call, target: &Target) -> Result<(), Failure> {
    let mut object = json!({});
    for key in ["stdin", "stdout", "stderr", "tty"] {
        if call.query.is(key) {
            object[key] = true.into();
        }
    }
    if let Some(container) = call.query.get("container").filter(|c| !c.is_empty()) {
        object["container"] = container.into();
    }
    let command: Vec<&str> = call.query.all("command").collect();
    if !command.is_empty() {
        object["command"] = json!(command);
    }
    act(call, target, Operation::Connect, &mut object, false).await
}
