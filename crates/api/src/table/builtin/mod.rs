//! Columns and cells of the built-in kinds.
//!
//! A column list is text: `Name` is the object's name, a trailing `#` marks an integer, `?` a
//! boolean, `*` a column of wide output.

mod cluster;
mod network;
mod pods;
mod policy;
mod storage;
mod workloads;

use super::Column;
use super::cells::*;
use cluster::{api_service, event, node, quota};
use network::{endpoint_slice, endpoints, ingress, ingress_class, parent, service};
use pods::pod;
use policy::{
    binding, claim_state, flow_schema, param_kind, param_reference, priority_level, signing_request,
};
use serde_json::Value;
use storage::{claim, csi_driver, storage_class, volume};
use workloads::{autoscaler, controller, cron_job, daemon_set, deployment, job, replicas};

type Cells = fn(&Value, i64) -> Vec<Value>;

/// Reads a column list.
pub(super) fn columns(spec: &str) -> Vec<Column> {
    spec.split('|')
        .map(|word| {
            let (word, priority) = word.strip_suffix('*').map_or((word, 0), |word| (word, 1));
            let (name, kind) = match (word.strip_suffix('#'), word.strip_suffix('?')) {
                (Some(name), _) => (name, "integer"),
                (_, Some(name)) => (name, "boolean"),
                _ if word == "Created At" => (word, "date"),
                _ => (word, "string"),
            };
            let format = if name == "Name" { "name" } else { "" };
            Column {
                name: name.into(),
                kind: kind.into(),
                format: format.into(),
                priority,
                description: String::new(),
            }
        })
        .collect()
}

/// Columns and cells of a kind.
pub(super) fn printer(group: &str, kind: &str) -> (&'static str, Cells) {
    match (group, kind) {
        ("", "Pod") => (
            "Name|Ready|Status|Restarts|Age|IP*|Node*|Nominated Node*|Readiness Gates*",
            pod,
        ),
        ("", "LimitRange") => ("Name|Created At", |o, _| {
            vec![name(o), at(o, "metadata.creationTimestamp").clone()]
        }),
        ("", "PodTemplate") => ("Name|Containers|Images|Pod Labels", |o, _| {
            let (names, images) = containers(o, "template.spec.containers");
            vec![
                name(o),
                names,
                images,
                labels(o, "template.metadata.labels"),
            ]
        }),
        ("policy", "PodDisruptionBudget") => (
            "Name|Min Available|Max Unavailable|Allowed Disruptions#|Age",
            |o, now| {
                vec![
                    name(o),
                    text_or(o, "spec.minAvailable", "N/A"),
                    text_or(o, "spec.maxUnavailable", "N/A"),
                    number(o, "status.disruptionsAllowed").into(),
                    age(o, now),
                ]
            },
        ),
        ("", "ReplicationController") => (
            "Name|Desired#|Current#|Ready#|Age|Containers*|Images*|Selector*",
            |o, now| {
                let mut row = replicas(o, now);
                row.push(labels(o, "spec.selector"));
                row
            },
        ),
        ("apps", "ReplicaSet") => (
            "Name|Desired#|Current#|Ready#|Age|Containers*|Images*|Selector*",
            |o, now| {
                let mut row = replicas(o, now);
                row.push(selector(o, "spec.selector"));
                row
            },
        ),
        ("apps", "Deployment") => (
            "Name|Ready|Up-to-date|Available|Age|Containers*|Images*|Selector*",
            deployment,
        ),
        ("apps", "StatefulSet") => ("Name|Ready|Age|Containers*|Images*", |o, now| {
            let (names, images) = containers(o, "spec.template.spec.containers");
            let ready = format!(
                "{}/{}",
                number(o, "status.readyReplicas"),
                number(o, "spec.replicas")
            );
            vec![name(o), ready.into(), age(o, now), names, images]
        }),
        ("apps", "DaemonSet") => (
            "Name|Desired#|Current#|Ready#|Up-to-date#|Available#|Node Selector|Age|Containers*|Images*|Selector*",
            daemon_set,
        ),
        ("apps", "ControllerRevision") => ("Name|Controller|Revision|Age", |o, now| {
            vec![
                name(o),
                controller(o),
                number(o, "revision").into(),
                age(o, now),
            ]
        }),
        ("batch", "Job") => (
            "Name|Status|Completions|Duration|Age|Containers*|Images*|Selector*",
            job,
        ),
        ("batch", "CronJob") => (
            "Name|Schedule|Timezone|Suspend?|Active#|Last Schedule|Age|Containers*|Images*|Selector*",
            cron_job,
        ),
        ("", "Service") => (
            "Name|Type|Cluster-IP|External-IP|Port(s)|Age|Selector*",
            service,
        ),
        ("networking.k8s.io", "Ingress") => ("Name|Class|Hosts|Address|Ports|Age", ingress),
        ("networking.k8s.io", "IngressClass") => ("Name|Controller|Parameters|Age", ingress_class),
        ("networking.k8s.io", "NetworkPolicy") => ("Name|Pod-Selector|Age", |o, now| {
            vec![name(o), selector(o, "spec.podSelector"), age(o, now)]
        }),
        ("networking.k8s.io", "ServiceCIDR") => ("Name|CIDRs|Age", |o, now| {
            vec![name(o), joined(o, "spec.cidrs", ","), age(o, now)]
        }),
        ("networking.k8s.io", "IPAddress") => ("Name|ParentRef", |o, _| vec![name(o), parent(o)]),
        ("", "Endpoints") => ("Name|Endpoints|Age", |o, now| {
            vec![name(o), endpoints(o), age(o, now)]
        }),
        ("discovery.k8s.io", "EndpointSlice") => {
            ("Name|AddressType|Ports|Endpoints|Age", endpoint_slice)
        }
        ("", "Node") => (
            "Name|Status|Roles|Age|Version|Internal-IP*|External-IP*|OS-Image*|Kernel-Version*|Container-Runtime*",
            node,
        ),
        ("" | "events.k8s.io", "Event") => (
            "Last Seen|Type|Reason|Object|Subobject*|Source*|Message|First Seen*|Count*|Name*",
            event,
        ),
        ("", "Namespace") => ("Name|Status|Age", |o, now| {
            vec![name(o), text(o, "status.phase").into(), age(o, now)]
        }),
        ("", "Secret") => ("Name|Type|Data|Age", |o, now| {
            vec![
                name(o),
                text(o, "type").into(),
                map_len(o, "data").into(),
                age(o, now),
            ]
        }),
        ("", "ConfigMap") => ("Name|Data|Age", |o, now| {
            vec![
                name(o),
                (map_len(o, "data") + map_len(o, "binaryData")).into(),
                age(o, now),
            ]
        }),
        ("", "ResourceQuota") => ("Name|Request|Limit|Age", quota),
        ("", "PersistentVolume") => (
            "Name|Capacity|Access Modes|Reclaim Policy|Status|Claim|StorageClass|VolumeAttributesClass|Reason|Age|VolumeMode*",
            volume,
        ),
        ("", "PersistentVolumeClaim") => (
            "Name|Status|Volume|Capacity|Access Modes|StorageClass|VolumeAttributesClass|Age|VolumeMode*",
            claim,
        ),
        ("", "ComponentStatus") => ("Name|Status|Message|Error", |o, _| {
            let healthy = items(o, "conditions")
                .iter()
                .find(|c| c["type"] == "Healthy");
            let status = if healthy.is_some_and(|c| c["status"] == "True") {
                "Healthy"
            } else {
                "Unhealthy"
            };
            let field = |key: &str| healthy.map(|c| text(c, key)).unwrap_or_default();
            vec![
                name(o),
                status.into(),
                field("message").into(),
                field("error").into(),
            ]
        }),
        ("autoscaling", "HorizontalPodAutoscaler") => (
            "Name|Reference|Targets|MinPods|MaxPods|Replicas|Age",
            autoscaler,
        ),
        ("autoscaling", "Scale") => ("Name|Desired#|Available#|Age", |o, now| {
            vec![
                name(o),
                number(o, "spec.replicas").into(),
                number(o, "status.replicas").into(),
                age(o, now),
            ]
        }),
        ("rbac.authorization.k8s.io", "RoleBinding" | "ClusterRoleBinding") => {
            ("Name|Role|Age|Users*|Groups*|ServiceAccounts*", binding)
        }
        ("rbac.authorization.k8s.io", "Role" | "ClusterRole") => ("Name|Created At", |o, _| {
            vec![name(o), at(o, "metadata.creationTimestamp").clone()]
        }),
        ("certificates.k8s.io", "CertificateSigningRequest") => (
            "Name|Age|SignerName|Requestor|RequestedDuration|Condition",
            signing_request,
        ),
        ("coordination.k8s.io", "Lease") => ("Name|Holder|Age", |o, now| {
            vec![name(o), text(o, "spec.holderIdentity").into(), age(o, now)]
        }),
        ("storage.k8s.io", "StorageClass") => (
            "Name|Provisioner|ReclaimPolicy|VolumeBindingMode|AllowVolumeExpansion|Age",
            storage_class,
        ),
        ("storage.k8s.io", "VolumeAttributesClass") => ("Name|DriverName|Age", |o, now| {
            vec![name(o), text(o, "driverName").into(), age(o, now)]
        }),
        ("storage.k8s.io", "VolumeAttachment") => {
            ("Name|Attacher|PV|Node|Attached?|Age", |o, now| {
                vec![
                    name(o),
                    text(o, "spec.attacher").into(),
                    text(o, "spec.source.persistentVolumeName").into(),
                    text(o, "spec.nodeName").into(),
                    flag(o, "status.attached", false),
                    age(o, now),
                ]
            })
        }
        ("storage.k8s.io", "CSINode") => ("Name|Drivers#|Age", |o, now| {
            vec![name(o), items(o, "spec.drivers").len().into(), age(o, now)]
        }),
        ("storage.k8s.io", "CSIDriver") => (
            "Name|AttachRequired?|PodInfoOnMount?|StorageCapacity?|TokenRequests|RequiresRepublish?|Modes|Age",
            csi_driver,
        ),
        ("storage.k8s.io", "CSIStorageCapacity") => ("Name|StorageClassName|Capacity", |o, _| {
            vec![
                name(o),
                text(o, "storageClassName").into(),
                text_or(o, "capacity", "<unset>"),
            ]
        }),
        ("scheduling.k8s.io", "PriorityClass") => (
            "Name|Value#|Global-Default?|Age|PreemptionPolicy",
            |o, now| {
                vec![
                    name(o),
                    number(o, "value").into(),
                    flag(o, "globalDefault", false),
                    age(o, now),
                    text(o, "preemptionPolicy").into(),
                ]
            },
        ),
        ("node.k8s.io", "RuntimeClass") => ("Name|Handler|Age", |o, now| {
            vec![name(o), text(o, "handler").into(), age(o, now)]
        }),
        (
            "admissionregistration.k8s.io",
            "MutatingWebhookConfiguration" | "ValidatingWebhookConfiguration",
        ) => ("Name|Webhooks#|Age", |o, now| {
            vec![name(o), items(o, "webhooks").len().into(), age(o, now)]
        }),
        ("admissionregistration.k8s.io", "ValidatingAdmissionPolicy") => {
            ("Name|Validations#|ParamKind|Age", |o, now| {
                vec![
                    name(o),
                    items(o, "spec.validations").len().into(),
                    param_kind(o),
                    age(o, now),
                ]
            })
        }
        ("admissionregistration.k8s.io", "MutatingAdmissionPolicy") => {
            ("Name|Mutations#|ParamKind|Age", |o, now| {
                vec![
                    name(o),
                    items(o, "spec.mutations").len().into(),
                    param_kind(o),
                    age(o, now),
                ]
            })
        }
        (
            "admissionregistration.k8s.io",
            "ValidatingAdmissionPolicyBinding" | "MutatingAdmissionPolicyBinding",
        ) => ("Name|PolicyName|ParamRef|Age", |o, now| {
            vec![
                name(o),
                text(o, "spec.policyName").into(),
                param_reference(o),
                age(o, now),
            ]
        }),
        ("flowcontrol.apiserver.k8s.io", "FlowSchema") => (
            "Name|PriorityLevel|MatchingPrecedence|DistinguisherMethod|Age|MissingPL",
            flow_schema,
        ),
        ("flowcontrol.apiserver.k8s.io", "PriorityLevelConfiguration") => (
            "Name|Type|NominalConcurrencyShares|Queues|HandSize|QueueLengthLimit|Age",
            priority_level,
        ),
        ("resource.k8s.io", "ResourceSlice") => ("Name|Node|Driver|Pool|Age", |o, now| {
            vec![
                name(o),
                text(o, "spec.nodeName").into(),
                text(o, "spec.driver").into(),
                text(o, "spec.pool.name").into(),
                age(o, now),
            ]
        }),
        ("resource.k8s.io", "ResourceClaim") => ("Name|State|Age", |o, now| {
            vec![name(o), claim_state(o), age(o, now)]
        }),
        ("apiextensions.k8s.io", "CustomResourceDefinition") => ("Name|Created At", |o, _| {
            vec![name(o), at(o, "metadata.creationTimestamp").clone()]
        }),
        ("apiregistration.k8s.io", "APIService") => ("Name|Service|Available|Age", api_service),
        _ => ("Name|Age", |o, now| vec![name(o), age(o, now)]),
    }
}
