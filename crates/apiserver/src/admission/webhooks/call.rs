//! One hook asked once, within its time.

use super::registry::Hook;
use super::review::{self, Verdict};
use crate::admission::Change;
use crate::kinds::Resource;
use crate::outbound;
use serde_json::Value;
use towpath_api::status::Failure;

/// Largest answer.
const ANSWER_BYTES: usize = 3 << 20;
const AGENT: &str = "kube-apiserver-admission";

/// Why there is no verdict; the hook's failure policy says what that means.
pub(super) struct Refusal(pub(super) String);

pub(super) async fn ask(
    change: &Change<'_>,
    hook: &Hook,
    resource: &Resource,
    new: Option<&Value>,
    mutating: bool,
) -> Result<Verdict, Refusal> {
    review::supports(hook).map_err(Refusal)?;
    let uid = towpath_stdx::id::uuid(&*change.call.core.random);
    let (core, own) = (&change.call.core, &change.target.resource);
    let convert = async |object: Option<&Value>| match object {
        Some(object) => review::converted(core, own, resource, object)
            .await
            .map(Some),
        None => Ok(None),
    };
    let failed = |failure: Failure| Refusal(failure.message);
    let new = convert(new).await.map_err(failed)?;
    let old = convert(change.old).await.map_err(failed)?;
    let shown = Change {
        old: old.as_ref(),
        ..*change
    };
    let question = review::question(&shown, resource, new.as_ref(), &uid);
    let body = serde_json::to_vec(&question).unwrap_or_default();
    let timeout = hook.timeout;
    let place = outbound::place(change.state, &hook.client, timeout)
        .map_err(|why| Refusal(format!("failed to call webhook: {why}")))?;
    let asked = async {
        let config = outbound::tls(&hook.client["caBundle"], None)?;
        outbound::post(&place, config, AGENT, body, ANSWER_BYTES).await
    };
    let bytes = match tokio::time::timeout(timeout, asked).await {
        Ok(Ok(bytes)) => bytes,
        Ok(Err(why)) => {
            return Err(Refusal(format!("failed to call webhook: {why}")));
        }
        Err(_) => {
            let why = format!(
                "failed to call webhook: Post {:?}: context deadline exceeded",
                place.url
            );
            return Err(Refusal(why));
        }
    };
    review::answer(&bytes, &uid, mutating)
        .map_err(|why| Refusal(format!("received invalid webhook response: {why}")))
}
