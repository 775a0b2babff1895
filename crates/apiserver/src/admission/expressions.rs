//! What CEL expressions of admission may name: the object before and after, the request, and an
//! authorizer that decides as for the one who asks. Conditions of webhooks are read here; other
//! stages bring variables of their own.

use super::Change;
use super::webhooks::review;
use crate::core::Core;
use crate::kinds::Resource;
use crate::rbac::Ask;
use serde_json::{Value, json};
use std::sync::{Arc, LazyLock};
use towpath_kit::traits::Principal;
use towpath_query::cel::{self, Authorizer, Check, Decision, Env, Error, Type, Variables};

/// Most that all conditions of one hook or policy may cost together, as upstream.
pub(super) const CONDITIONS_LIMIT: u64 = 2_500_000;

fn texts(name: &str, fields: &[&str]) -> Type {
    object(name, fields.iter().map(|field| (*field, Type::String)))
}

fn object<'a>(name: &str, fields: impl IntoIterator<Item = (&'a str, Type)>) -> Type {
    let fields = fields
        .into_iter()
        .map(|(field, kind)| (Arc::from(field), kind));
    Type::Object(Arc::new(cel::Object {
        name: name.into(),
        fields: fields.collect(),
    }))
}

/// `admission.k8s.io/v1` `AdmissionRequest`, without the objects.
fn request_type() -> Type {
    let kind = texts("kubernetes.GroupVersionKind", &["group", "version", "kind"]);
    let resource = texts(
        "kubernetes.GroupVersionResource",
        &["group", "version", "resource"],
    );
    let user = object(
        "kubernetes.UserInfo",
        [
            ("username", Type::String),
            ("uid", Type::String),
            ("groups", Type::list(Type::String)),
            ("extra", Type::map(Type::String, Type::list(Type::String))),
        ],
    );
    object(
        "kubernetes.AdmissionRequest",
        [
            ("kind", kind.clone()),
            ("resource", resource.clone()),
            ("subResource", Type::String),
            ("requestKind", kind),
            ("requestResource", resource),
            ("requestSubResource", Type::String),
            ("name", Type::String),
            ("namespace", Type::String),
            ("operation", Type::String),
            ("userInfo", user),
            ("dryRun", Type::Bool),
            ("options", Type::Dyn),
        ],
    )
}

const AUTHORIZER: &str = "kubernetes.authorization.Authorizer";

/// Variables that every expression of admission may name.
pub(super) static ENV: LazyLock<Env> = LazyLock::new(|| {
    Env::new()
        .with("object", Type::Dyn)
        .with("oldObject", Type::Dyn)
        .with("request", request_type())
        .with("authorizer", Type::Library(AUTHORIZER))
});

/// Their values for one change.
pub(super) struct Scene {
    object: cel::Value,
    old: cel::Value,
    request: cel::Value,
    authorizer: cel::Value,
}

impl Scene {
    /// In the version of the resource that a hook or policy asked for.
    pub(super) fn new(change: &Change<'_>, resource: &Resource, new: Option<&Value>) -> Self {
        let mut request = review::question(change, resource, new, "")["request"].take();
        let mut part = |key: &str| match request.as_object_mut() {
            Some(request) => request.remove(key).unwrap_or_default(),
            None => Value::Null,
        };
        let (object, old) = (part("object"), part("oldObject"));
        part("uid");
        // What is empty is left out of a review, but not of the type.
        for key in ["subResource", "requestSubResource", "name", "namespace"] {
            if request[key].is_null() {
                request[key] = "".into();
            }
        }
        for (key, empty) in [("uid", json!("")), ("extra", json!({}))] {
            if request["userInfo"][key].is_null() {
                request["userInfo"][key] = empty;
            }
        }
        let asker = Asker {
            core: change.call.core.clone(),
            principal: change.call.principal.clone(),
        };
        let check = Check {
            by: Some(Arc::new(asker)),
            ..Check::default()
        };
        Self {
            object: cel::Value::from_json(&object),
            old: cel::Value::from_json(&old),
            request: cel::Value::from_json(&request),
            authorizer: cel::Value::Authorizer(Arc::new(check)),
        }
    }
}

impl Variables for Scene {
    fn get(&self, name: &str) -> Option<Result<cel::Value, Error>> {
        let value = match name {
            "object" => &self.object,
            "oldObject" => &self.old,
            "request" => &self.request,
            "authorizer" => &self.authorizer,
            _ => return None,
        };
        Some(Ok(value.clone()))
    }
}

struct Asker {
    core: Arc<Core>,
    principal: Principal,
}

impl Authorizer for Asker {
    fn decide(&self, check: &Check, verb: &str) -> Decision {
        let other;
        let who = match &check.account {
            Some((namespace, name)) => {
                other = crate::token::account(namespace, name, "");
                &other
            }
            None => &self.principal,
        };
        let text = |text: &Option<Arc<str>>| text.as_deref().unwrap_or_default().to_string();
        let (group, resource, path) =
            (text(&check.group), text(&check.resource), text(&check.path));
        let ask = Ask {
            verb,
            group: &group,
            resource: &resource,
            subresource: &check.subresource,
            namespace: &check.namespace,
            name: &check.name,
            path: &path,
        };
        let state = self.core.store.snapshot();
        Decision {
            allowed: self.core.rbac.allowed(&state, who, &ask),
            ..Decision::default()
        }
    }
}
