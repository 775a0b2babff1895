//! Which lists of the built-in kinds are merged by key, as far as a manifest can contain them.

/// A place in a built-in object's schema.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Schema {
    /// Nothing is known; lists are replaced.
    Unknown,
    Root(Kind),
    Metadata,
    Spec(Kind),
    Template,
    PodSpec,
    Container,
    Status,
    /// Known, without merged lists below that matter.
    Plain,
}

/// Kinds whose lists merge somewhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Pod,
    PodTemplate,
    /// Deployment, ReplicaSet, DaemonSet, StatefulSet, Job, ReplicationController.
    Workload,
    CronJob,
    Service,
    ServiceAccount,
    Webhooks,
    CsiNode,
    Node,
    Other,
}

impl Schema {
    /// Schema of an object.
    pub(crate) fn of(group: &str, kind: &str) -> Self {
        let kind = match (group, kind) {
            ("", "Pod") => Kind::Pod,
            ("", "PodTemplate") => Kind::PodTemplate,
            ("apps", "Deployment" | "ReplicaSet" | "DaemonSet" | "StatefulSet")
            | ("batch", "Job")
            | ("", "ReplicationController") => Kind::Workload,
            ("batch", "CronJob") => Kind::CronJob,
            ("", "Service") => Kind::Service,
            ("", "ServiceAccount") => Kind::ServiceAccount,
            (
                "admissionregistration.k8s.io",
                "MutatingWebhookConfiguration" | "ValidatingWebhookConfiguration",
            ) => Kind::Webhooks,
            ("storage.k8s.io", "CSINode") => Kind::CsiNode,
            ("", "Node") => Kind::Node,
            (
                ""
                | "apps"
                | "batch"
                | "autoscaling"
                | "policy"
                | "networking.k8s.io"
                | "rbac.authorization.k8s.io"
                | "storage.k8s.io"
                | "admissionregistration.k8s.io"
                | "apiextensions.k8s.io"
                | "apiregistration.k8s.io"
                | "coordination.k8s.io"
                | "discovery.k8s.io"
                | "events.k8s.io"
                | "node.k8s.io"
                | "scheduling.k8s.io"
                | "certificates.k8s.io"
                | "flowcontrol.apiserver.k8s.io",
                _,
            ) => Kind::Other,
            _ => return Self::Unknown,
        };
        Self::Root(kind)
    }

    /// Schema of a field's value (of its items, where it is a list) and the keys its list merges
    /// by: `None` = the list is replaced, no keys = a set of plain values.
    pub(crate) fn field(self, key: &str) -> (Self, Option<&'static [&'static str]>) {
        use Schema::{Container, Metadata, Plain, PodSpec, Root, Spec, Status, Template, Unknown};
        match (self, key) {
            (Unknown, _) => (Unknown, None),
            (Root(_), "metadata") => (Metadata, None),
            (Root(_), "status") => (Status, None),
            (Root(Kind::Pod), "spec") => (PodSpec, None),
            (Root(Kind::PodTemplate), "template") => (Template, None),
            (Root(kind), "spec") => (Spec(kind), None),
            (Root(Kind::ServiceAccount), "secrets") => (Plain, Some(&["name"])),
            (Root(Kind::Webhooks), "webhooks") => (Plain, Some(&["name"])),
            (Metadata, "finalizers") => (Plain, Some(&[])),
            (Metadata, "ownerReferences") => (Plain, Some(&["uid"])),
            (Status, "conditions") => (Plain, Some(&["type"])),
            (Status, "addresses") => (Plain, Some(&["type"])),
            (Status, "podIPs") => (Plain, Some(&["ip"])),
            (Spec(Kind::CronJob), "jobTemplate") => (Root(Kind::Workload), None),
            (Spec(Kind::Workload), "template") => (Template, None),
            (Spec(Kind::Service), "ports") => (Plain, Some(&["port", "protocol"])),
            (Spec(Kind::CsiNode), "drivers") => (Plain, Some(&["name"])),
            (Spec(Kind::Node), "podCIDRs") => (Plain, Some(&[])),
            (Template, "metadata") => (Metadata, None),
            (Template, "spec") => (PodSpec, None),
            (PodSpec, "containers" | "initContainers" | "ephemeralContainers") => {
                (Container, Some(&["name"]))
            }
            (PodSpec, "volumes" | "imagePullSecrets") => (Plain, Some(&["name"])),
            (PodSpec, "hostAliases") => (Plain, Some(&["ip"])),
            (PodSpec, "topologySpreadConstraints") => {
                (Plain, Some(&["topologyKey", "whenUnsatisfiable"]))
            }
            (Container, "env") => (Plain, Some(&["name"])),
            (Container, "ports") => (Plain, Some(&["containerPort", "protocol"])),
            (Container, "volumeMounts") => (Plain, Some(&["mountPath"])),
            (Container, "volumeDevices") => (Plain, Some(&["devicePath"])),
            _ => (Plain, None),
        }
    }
}
