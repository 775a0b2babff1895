//! What jobs may do: the principal behind a job's token, and the role it has in its project.

use crate::error::Error;
use k8s_openapi::api::rbac::v1::{Role, RoleBinding};
use kube::Client;
use kube::api::{Api, Patch, PatchParams};
use serde_json::json;
use std::collections::BTreeMap;
use towpath_kit::traits::Principal;

/// Fact of a principal that names its run as `<namespace>/<run>`.
pub const RUN_EXTRA: &str = "towpath.dev/run";
const ROLE: &str = "towpath-jobs";

/// Group of all jobs of a project.
pub fn group(namespace: &str) -> String {
    format!("towpath:jobs:{namespace}")
}

/// Who a job is.
pub fn principal(namespace: &str, run: &str, row: &str) -> Principal {
    Principal {
        name: format!("towpath:job:{namespace}:{run}:{row}"),
        groups: vec![group(namespace), "system:authenticated".into()],
        uid: String::new(),
        extra: BTreeMap::from([
            (RUN_EXTRA.to_string(), vec![format!("{namespace}/{run}")]),
            ("towpath.dev/job".to_string(), vec![row.to_string()]),
        ]),
    }
}

/// Lets jobs of a project read its repositories and push its images; nothing else.
pub async fn ensure(client: &Client, namespace: &str) -> Result<(), Error> {
    let parameters = PatchParams::apply("towpath-pipeline").force();
    let role = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role",
        "metadata": {"name": ROLE, "namespace": namespace},
        "rules": [
            {"apiGroups": ["towpath.dev"], "resources": ["repositories/git"], "verbs": ["get"]},
            {"apiGroups": ["towpath.dev"], "resources": ["images"], "verbs": ["get", "update"]},
        ],
    });
    let roles: Api<Role> = Api::namespaced(client.clone(), namespace);
    roles
        .patch(ROLE, &parameters, &Patch::Apply(&role))
        .await
        .map_err(Error::api(format!("apply role {namespace}/{ROLE}")))?;
    let binding = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding",
        "metadata": {"name": ROLE, "namespace": namespace},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": ROLE},
        "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "Group", "name": group(namespace)}],
    });
    let bindings: Api<RoleBinding> = Api::namespaced(client.clone(), namespace);
    let applied = bindings
        .patch(ROLE, &parameters, &Patch::Apply(&binding))
        .await;
    applied
        .map(drop)
        .map_err(Error::api(format!("apply role binding {namespace}/{ROLE}")))
}
