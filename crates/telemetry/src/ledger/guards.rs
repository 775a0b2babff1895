//! What decides who may do what and what is let in: roles and their bindings, admission policies
//! and webhooks, network policies, limits. Of each only a digest is held, and what it says in a few
//! words.

use super::ChangeKind;
use k8s_openapi::api::admissionregistration::v1::{
    MutatingAdmissionPolicy, MutatingAdmissionPolicyBinding, MutatingWebhookConfiguration,
    ValidatingAdmissionPolicy, ValidatingAdmissionPolicyBinding, ValidatingWebhookConfiguration,
};
use k8s_openapi::api::core::v1::LimitRange;
use k8s_openapi::api::networking::v1::NetworkPolicy;
use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding, Role, RoleBinding};
use kube::{Client, Resource, ResourceExt};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;
use towpath_kit::cache::Cache;

/// Where a copy says what the object was, as a digest and in words.
const STATE: &str = "towpath.dev/state";
const SAID: &str = "towpath.dev/said";
/// Words beyond this do not help.
const CHARACTERS: usize = 200;

macro_rules! guards {
    ($($field:ident: $kind:ty => $change:ident,)*) => {
        /// Copies of what guards the cluster.
        #[derive(Clone)]
        pub(super) struct Guards {
            $($field: Cache<$kind>,)*
        }

        impl Default for Guards {
            fn default() -> Self {
                Self { $($field: Cache::slim(slim::<$kind>),)* }
            }
        }

        impl Guards {
            pub(super) fn feed(&self, client: &Client, cancel: &CancellationToken) {
                $(self.$field.feed_from(client, cancel.clone());)*
            }

            pub(super) async fn ready(&self) {
                tokio::join!($(self.$field.ready(),)*);
            }

            /// Has every kind watched.
            pub(super) fn each(&self, seen: &impl Watcher) {
                $(seen.watch(&self.$field, ChangeKind::$change);)*
            }
        }
    };
}

guards! {
    roles: Role => Access,
    role_bindings: RoleBinding => Access,
    cluster_roles: ClusterRole => Access,
    cluster_role_bindings: ClusterRoleBinding => Access,
    admission_policies: ValidatingAdmissionPolicy => Policy,
    admission_bindings: ValidatingAdmissionPolicyBinding => Policy,
    mutating_policies: MutatingAdmissionPolicy => Policy,
    mutating_bindings: MutatingAdmissionPolicyBinding => Policy,
    validating_webhooks: ValidatingWebhookConfiguration => Policy,
    mutating_webhooks: MutatingWebhookConfiguration => Policy,
    network_policies: NetworkPolicy => Policy,
    limit_ranges: LimitRange => Policy,
}

/// Watches one kind.
pub(super) trait Watcher {
    /// Notes what changes.
    fn watch<K: super::observe::Watched>(&self, cache: &Cache<K>, kind: ChangeKind);
}

/// What an object was, as a digest and in words.
pub(super) fn state<K: Resource>(of: &K) -> (String, String) {
    let mark = |key: &str| of.annotations().get(key).cloned().unwrap_or_default();
    (mark(STATE), mark(SAID))
}

/// What changed, in words.
pub(super) fn words(old: &str, new: &str) -> String {
    match (old, new) {
        ("", new) => new.into(),
        (old, new) if old == new => "changed".into(),
        (old, new) => format!("{old} → {new}"),
    }
}

fn slim<K>(object: &mut K)
where
    K: Resource + Serialize + DeserializeOwned,
{
    let mut value = serde_json::to_value(&*object).unwrap_or_default();
    let metadata = value["metadata"].take();
    if let Some(fields) = value.as_object_mut() {
        for field in ["metadata", "status", "apiVersion", "kind"] {
            fields.remove(field);
        }
    }
    let digest = super::observe::state(&value);
    let kept = json!({
        "metadata": {
            "name": metadata["name"],
            "namespace": metadata["namespace"],
            "uid": metadata["uid"],
            "resourceVersion": metadata["resourceVersion"],
            "annotations": { STATE: digest, SAID: said(&value) },
        },
    });
    // One that does not bear this is kept whole.
    if let Ok(kept) = serde_json::from_value(kept) {
        *object = kept;
    }
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn said(value: &Value) -> String {
    let list = |key: &str| value[key].as_array().map(Vec::as_slice).unwrap_or_default();
    let words = if value["roleRef"].is_object() {
        let role = &value["roleRef"];
        let names = list("subjects")
            .iter()
            .map(|subject| format!("{} {}", text(&subject["kind"]), text(&subject["name"])));
        let names: Vec<String> = names.collect();
        let names = match names.is_empty() {
            true => "nobody".to_string(),
            false => names.join(", "),
        };
        format!(
            "{} {} for {names}",
            text(&role["kind"]),
            text(&role["name"])
        )
    } else if !list("rules").is_empty() {
        format!("{} rules", list("rules").len())
    } else if !list("webhooks").is_empty() {
        let names = list("webhooks").iter().map(|hook| text(&hook["name"]));
        names.collect::<Vec<_>>().join(", ")
    } else {
        String::new()
    };
    words.chars().take(CHARACTERS).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digests_tell_and_words_say() {
        let binding = |name: &str| -> RoleBinding {
            let mut object = serde_json::from_value(json!({
                "metadata": {"name": "b", "namespace": "shop", "resourceVersion": "7"},
                "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "edit"},
                "subjects": [{"kind": "User", "name": name}],
            }))
            .expect("a binding");
            slim::<RoleBinding>(&mut object);
            object
        };
        let (ann, bob) = (binding("ann"), binding("bob"));
        assert!(ann.subjects.is_none());
        assert_eq!(ann.resource_version().as_deref(), Some("7"));
        let ((one, first), (other, second)) = (state(&ann), state(&bob));
        assert_ne!(one, other);
        assert_eq!(
            words(&first, &second),
            "Role edit for User ann → Role edit for User bob"
        );
        assert_eq!(state(&binding("ann")).0, one);
    }
}
