//! Validation of objects, with upstream's field paths and words.
//!
//! Three layers: metadata ([`metadata`]), closed value lists and schemas, and per kind a hand-kept
//! list of rules (what is required, ranges, references inside the object, immutability). Objects
//! are expected decoded and defaulted. Rules that upstream has and this list lacks let more
//! through; they never let an object in that the rest of the system cannot read, because types are
//! checked when decoding.

mod admission;
mod api_service;
mod apps;
mod check;
mod config;
mod crd;
mod csi;
mod devices;
mod flow;
mod jobs;
mod limits;
mod meta;
mod network;
mod node;
mod pod;
mod scaling;
mod status;
mod storage;

pub use crd::{definition, definition_update};
pub use meta::{NameRule, metadata};

use crate::cel::Validator;
use crate::field::{ErrorKind, FieldError};
use crate::schema::{Kind, Schema, builtin};
use check::Check;
use serde_json::Value;

/// Validates an object of a built-in kind; `old` is the stored object of an update.
pub fn object(
    group: &str,
    version: &str,
    kind: &str,
    new: &Value,
    old: Option<&Value>,
) -> Vec<FieldError> {
    let mut check = Check::default();
    let namespaced = crate::facts::catalog()
        .kind(group, version, kind)
        .is_some_and(|r| r.namespaced);
    check
        .errors
        .extend(metadata(new, old, namespaced, meta::name_rule(group, kind)));
    if let Some(schema) = builtin(group, version, kind) {
        closed_lists(schema, new, "", &mut check);
    }
    rules(group, kind, new, old, &mut check);
    check.errors
}

/// Validates a write to the `status` path: little beside metadata, since upstream trusts its
/// controllers.
pub fn status(group: &str, version: &str, kind: &str, new: &Value, old: &Value) -> Vec<FieldError> {
    let namespaced = crate::facts::catalog()
        .kind(group, version, kind)
        .is_some_and(|r| r.namespaced);
    let mut errors = metadata(new, Some(old), namespaced, meta::name_rule(group, kind));
    let balanced = new["spec"]["type"] == "LoadBalancer";
    let ingress = new["status"]["loadBalancer"]["ingress"].as_array();
    if (group, kind) == ("", "Service") && !balanced && ingress.is_some_and(|list| !list.is_empty())
    {
        let why = "may only be used when `spec.type` is 'LoadBalancer'";
        errors.push(FieldError::forbidden("status.loadBalancer.ingress", why));
    }
    let mut check = Check { errors };
    status::rules(group, kind, new, old, &mut check);
    check.errors
}

/// Validates a write to a pod's `ephemeralcontainers`.
pub fn ephemeral_containers(new: &Value, old: &Value) -> Vec<FieldError> {
    let mut check = Check {
        errors: metadata(new, Some(old), true, meta::name_rule("", "Pod")),
    };
    pod::spec(&new["spec"], "spec", &mut check);
    pod::update::ephemeral(&new["spec"], &old["spec"], &mut check);
    check.errors
}

/// Validates a custom resource against its schema.
pub fn custom(
    schema: &Schema,
    namespaced: bool,
    new: &Value,
    old: Option<&Value>,
) -> Vec<FieldError> {
    let mut errors = metadata(new, old, namespaced, crate::names::dns1123_subdomain);
    let mut found = Vec::new();
    crate::schema::check_rules(schema, new, "", &mut found);
    found.retain(|error| !error.field.starts_with("metadata"));
    errors.extend(found);
    errors
}

/// Adds what breaks the expressions of a custom resource's schema; they are not looked at while
/// the object does not have the shape they were written for.
pub fn custom_rules(
    rules: &Validator,
    new: &Value,
    old: Option<&Value>,
    errors: &mut Vec<FieldError>,
) {
    let blocks = |error: &FieldError| {
        matches!(
            error.kind,
            ErrorKind::NotSupported
                | ErrorKind::Required
                | ErrorKind::TooLong
                | ErrorKind::TooMany
                | ErrorKind::TypeInvalid
        )
    };
    if errors.iter().any(blocks) {
        let why = "some validation rules were not checked because the object was invalid; correct the existing errors to complete validation";
        errors.push(FieldError::invalid("<nil>", Value::Null, why));
        return;
    }
    errors.extend(rules.check(new, old));
}

fn rules(group: &str, kind: &str, new: &Value, old: Option<&Value>, check: &mut Check) {
    match (group, kind) {
        ("", "Pod") => pod::pod(new, old, check),
        ("", "PodTemplate") => pod::template(&new["template"], "template", check),
        ("", "ReplicationController") => apps::replication_controller(new, check),
        ("apps", "Deployment") => apps::deployment(new, old, check),
        ("apps", "ReplicaSet") => apps::replica_set(new, old, check),
        ("apps", "StatefulSet") => apps::stateful_set(new, old, check),
        ("apps", "DaemonSet") => apps::daemon_set(new, old, check),
        ("apps", "ControllerRevision") => apps::controller_revision(new, old, check),
        ("batch", "Job") => jobs::job(new, old, check),
        ("batch", "CronJob") => jobs::cron_job(new, check),
        ("autoscaling", "HorizontalPodAutoscaler") => scaling::autoscaler(new, check),
        ("policy", "PodDisruptionBudget") => scaling::disruption_budget(new, check),
        ("", "Node") => node::node(new, old, check),
        ("", "Namespace") => meta::finalizers(&new["spec"]["finalizers"], "spec.finalizers", check),
        ("", "Service") => network::service(new, old, check),
        ("", "Endpoints") => network::endpoints(new, check),
        ("discovery.k8s.io", "EndpointSlice") => network::endpoint_slice(new, old, check),
        ("apiregistration.k8s.io", "APIService") => api_service::api_service(new, check),
        ("networking.k8s.io", "Ingress") => network::ingress(new, check),
        ("networking.k8s.io", "IngressClass") => network::ingress_class(new, old, check),
        ("networking.k8s.io", "ServiceCIDR") => network::service_cidr(new, old, check),
        ("networking.k8s.io", "IPAddress") => network::ip_address(new, old, check),
        ("networking.k8s.io", "NetworkPolicy") => network::network_policy(new, check),
        ("", "ConfigMap") => config::config_map(new, old, check),
        ("", "Secret") => config::secret(new, old, check),
        ("" | "events.k8s.io", "Event") => config::event(group, new, old, check),
        ("certificates.k8s.io", "CertificateSigningRequest") => {
            config::signing_request(new, check);
        }
        ("rbac.authorization.k8s.io", "Role" | "ClusterRole") => config::role(kind, new, check),
        ("rbac.authorization.k8s.io", "RoleBinding" | "ClusterRoleBinding") => {
            config::binding(kind, new, old, check)
        }
        ("", "LimitRange") => limits::limit_range(new, check),
        ("", "ResourceQuota") => limits::quota(new, old, check),
        ("flowcontrol.apiserver.k8s.io", "FlowSchema") => flow::schema(new, check),
        ("flowcontrol.apiserver.k8s.io", "PriorityLevelConfiguration") => flow::level(new, check),
        ("storage.k8s.io", "CSIDriver") => csi::driver(new, old, check),
        ("storage.k8s.io", "CSINode") => csi::node(new, old, check),
        ("storage.k8s.io", "CSIStorageCapacity") => csi::capacity(new, old, check),
        ("storage.k8s.io", "VolumeAttachment") => csi::attachment(new, old, check),
        ("storage.k8s.io", "VolumeAttributesClass") => csi::attributes_class(new, old, check),
        ("resource.k8s.io", "ResourceClaim") => devices::claim(new, old, check),
        ("resource.k8s.io", "ResourceClaimTemplate") => devices::template(new, old, check),
        ("resource.k8s.io", "DeviceClass") => devices::class(new, check),
        ("resource.k8s.io", "ResourceSlice") => devices::slice(new, old, check),
        ("node.k8s.io", "RuntimeClass") => config::runtime_class(new, old, check),
        (
            "admissionregistration.k8s.io",
            "ValidatingWebhookConfiguration" | "MutatingWebhookConfiguration",
        ) => {
            admission::webhooks(new, check);
        }
        ("coordination.k8s.io", "Lease") => config::lease(new, check),
        ("scheduling.k8s.io", "PriorityClass") => config::priority_class(new, old, check),
        ("", "PersistentVolumeClaim") => storage::claim(new, old, check),
        ("", "PersistentVolume") => storage::volume(new, old, check),
        ("storage.k8s.io", "StorageClass") => storage::class(new, old, check),
        ("apiextensions.k8s.io", "CustomResourceDefinition") => {
            let found = match old {
                Some(old) => crd::definition_update(new, old),
                None => crd::definition(new),
            };
            check.errors.extend(found);
        }
        _ => {}
    }
}

/// Fields whose allowed values upstream lists in the order of their declaration.
const SOURCE_ORDER: [&str; 3] = ["restartPolicy", "dnsPolicy", "terminationMessagePolicy"];

/// Fields that have a rule of their own with other words.
fn by_hand(schema: &Schema, key: &str) -> bool {
    matches!(
        (schema.name, key),
        ("api.apps.v1.StatefulSetSpec", "podManagementPolicy")
            | (
                "api.apps.v1.StatefulSetUpdateStrategy"
                    | "api.apps.v1.DaemonSetUpdateStrategy"
                    | "api.apps.v1.DeploymentStrategy",
                "type"
            )
            | ("api.batch.v1.JobSpec", "completionMode")
            | ("api.core.v1.Taint", "effect")
            | (
                "api.core.v1.ScopedResourceSelectorRequirement",
                "scopeName" | "operator"
            )
            | (
                "apiextensions-apiserver.pkg.apis.apiextensions.v1.ValidationRule",
                "reason"
            )
            | (
                "api.admissionregistration.v1.ValidatingWebhook"
                    | "api.admissionregistration.v1.MutatingWebhook",
                "sideEffects"
            )
    )
}

/// Text whose type upstream closes over a list of values, outside of status.
fn closed_lists(schema: &Schema, value: &Value, path: &str, check: &mut Check) {
    match value {
        Value::Object(map) => {
            for (key, value) in map {
                let Some(slot) = schema.field(key) else {
                    continue;
                };
                if path.is_empty() && key == "status" || key == "metadata" {
                    continue;
                }
                let inner = slot.schema();
                match value {
                    Value::String(text)
                        if !text.is_empty()
                            && !slot.allowed.is_empty()
                            && !slot.allowed.contains(&text.as_str())
                            && !by_hand(schema, key) =>
                    {
                        let mut allowed = slot.allowed.clone();
                        if !SOURCE_ORDER.contains(&key.as_str()) {
                            allowed.sort_unstable();
                        }
                        let path = crate::field::join(path, key);
                        check.add(FieldError::unsupported(path, text.as_str(), &allowed));
                    }
                    Value::Object(_) | Value::Array(_)
                        if !inner.is_open() || inner.kind == Kind::Array =>
                    {
                        closed_lists(inner, value, &crate::field::join(path, key), check);
                    }
                    _ => {}
                }
            }
        }
        Value::Array(items) => {
            let Some(slot) = &schema.items else { return };
            if !matches!(slot.schema().kind, Kind::Object | Kind::Array) {
                return;
            }
            for (at, item) in items.iter().enumerate() {
                closed_lists(slot.schema(), item, &format!("{path}[{at}]"), check);
            }
        }
        _ => {}
    }
}
