//! Columns and cells of the built-in kinds.
//!
//! A column list is text: `Name` is the object's name, a trailing `#` marks an integer, `?` a
//! boolean, `*` a column of wide output.

use super::Column;
use super::cells::*;
use serde_json::{Value, json};

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

fn joined(object: &Value, path: &str, separator: &str) -> Value {
    items(object, path)
        .iter()
        .filter_map(Value::as_str)
        .collect::<Vec<_>>()
        .join(separator)
        .into()
}

fn has_name(list: &[Value], name: &Value) -> bool {
    list.iter()
        .any(|item| item["name"] == *name && item["restartPolicy"] == "Always")
}

/// The first sign of trouble wins, in the order init containers, containers, deletion.
fn pod(o: &Value, now: i64) -> Vec<Value> {
    let init = items(o, "spec.initContainers");
    let sidecars = init
        .iter()
        .filter(|c| c["restartPolicy"] == "Always")
        .count();
    let total = items(o, "spec.containers").len() + sidecars;
    let phase = text(o, "status.phase");
    let mut state = PodState {
        reason: phase.clone(),
        ..PodState::default()
    };
    let reason = text(o, "status.reason");
    if !reason.is_empty() {
        state.reason = reason.clone();
    }
    if items(o, "status.conditions")
        .iter()
        .any(|c| c["type"] == "PodScheduled" && c["reason"] == "SchedulingGated")
    {
        state.reason = "SchedulingGated".into();
    }
    let initializing = state.read_init(o, init);
    if !initializing || has_condition(o, "Initialized") {
        state.read_containers(o);
    }
    if !at(o, "metadata.deletionTimestamp").is_null() {
        if reason == "NodeLost" {
            state.reason = "Unknown".into();
        } else if !matches!(phase.as_str(), "Succeeded" | "Failed") {
            state.reason = "Terminating".into();
        }
    }
    let restarts = match state.last_restart {
        Some(then) if state.restarts != 0 => {
            format!(
                "{} ({} ago)",
                state.restarts,
                crate::time::human(now - then)
            )
        }
        _ => state.restarts.to_string(),
    };
    let address = items(o, "status.podIPs")
        .first()
        .map(|ip| text(ip, "ip"))
        .unwrap_or_default();
    let address = if address.is_empty() {
        "<none>".into()
    } else {
        address
    };
    let gates = items(o, "spec.readinessGates");
    let open = gates
        .iter()
        .filter(|gate| {
            gate["conditionType"]
                .as_str()
                .is_some_and(|kind| has_condition(o, kind))
        })
        .count();
    let gates = if gates.is_empty() {
        "<none>".into()
    } else {
        format!("{open}/{}", gates.len())
    };
    vec![
        name(o),
        format!("{}/{total}", state.ready).into(),
        state.reason.into(),
        restarts.into(),
        age(o, now),
        address.into(),
        text_or(o, "spec.nodeName", "<none>"),
        text_or(o, "status.nominatedNodeName", "<none>"),
        gates.into(),
    ]
}

#[derive(Default)]
struct PodState {
    reason: String,
    ready: usize,
    restarts: i64,
    last_restart: Option<i64>,
    sidecar_restarts: i64,
    sidecar_last_restart: Option<i64>,
}

fn finished_at(status: &Value) -> Option<i64> {
    crate::time::parse_rfc3339(at(status, "lastState.terminated.finishedAt").as_str()?)
}

fn exit_reason(terminated: &Value) -> String {
    let reason = text(terminated, "reason");
    if !reason.is_empty() {
        reason
    } else if number(terminated, "signal") != 0 {
        format!("Signal:{}", number(terminated, "signal"))
    } else {
        format!("ExitCode:{}", number(terminated, "exitCode"))
    }
}

impl PodState {
    /// Returns whether the pod still initializes.
    fn read_init(&mut self, o: &Value, init: &[Value]) -> bool {
        for (index, status) in items(o, "status.initContainerStatuses").iter().enumerate() {
            let count = number(status, "restartCount");
            self.restarts += count;
            self.last_restart = self.last_restart.max(finished_at(status));
            let sidecar = has_name(init, &status["name"]);
            if sidecar {
                self.sidecar_restarts += count;
                self.sidecar_last_restart = self.sidecar_last_restart.max(finished_at(status));
            }
            let terminated = at(status, "state.terminated");
            if terminated.is_object() && number(terminated, "exitCode") == 0 {
                continue;
            }
            if sidecar && status["started"] == true {
                self.ready += usize::from(status["ready"] == true);
                continue;
            }
            let waiting = text(status, "state.waiting.reason");
            self.reason = if terminated.is_object() {
                format!("Init:{}", exit_reason(terminated))
            } else if !waiting.is_empty() && waiting != "PodInitializing" {
                format!("Init:{waiting}")
            } else {
                format!("Init:{index}/{}", init.len())
            };
            return true;
        }
        false
    }

    fn read_containers(&mut self, o: &Value) {
        self.restarts = self.sidecar_restarts;
        self.last_restart = self.sidecar_last_restart;
        let (mut running, mut failed) = (false, None);
        for status in items(o, "status.containerStatuses").iter().rev() {
            self.restarts += number(status, "restartCount");
            self.last_restart = self.last_restart.max(finished_at(status));
            let waiting = text(status, "state.waiting.reason");
            let terminated = at(status, "state.terminated");
            if !waiting.is_empty() {
                self.reason = waiting;
            } else if terminated.is_object() {
                self.reason = exit_reason(terminated);
                if number(terminated, "exitCode") != 0 {
                    failed = Some(self.reason.clone());
                }
            } else if status["ready"] == true && at(status, "state.running").is_object() {
                running = true;
                self.ready += 1;
            }
        }
        if self.reason == "Completed" {
            if running && has_condition(o, "Ready") {
                self.reason = "Running".into();
            } else if let Some(failed) = failed {
                self.reason = failed;
            } else if running {
                self.reason = "NotReady".into();
            }
        }
    }
}

fn replicas(o: &Value, now: i64) -> Vec<Value> {
    let (names, images) = containers(o, "spec.template.spec.containers");
    vec![
        name(o),
        number(o, "spec.replicas").into(),
        number(o, "status.replicas").into(),
        number(o, "status.readyReplicas").into(),
        age(o, now),
        names,
        images,
    ]
}

fn deployment(o: &Value, now: i64) -> Vec<Value> {
    let (names, images) = containers(o, "spec.template.spec.containers");
    let ready = format!(
        "{}/{}",
        number(o, "status.readyReplicas"),
        number(o, "spec.replicas")
    );
    let selector = crate::selector::Label::from_object(at(o, "spec.selector"));
    let selector = selector.map_or_else(|_| "<invalid>".to_string(), |label| label.to_string());
    vec![
        name(o),
        ready.into(),
        number(o, "status.updatedReplicas").into(),
        number(o, "status.availableReplicas").into(),
        age(o, now),
        names,
        images,
        selector.into(),
    ]
}

fn daemon_set(o: &Value, now: i64) -> Vec<Value> {
    let (names, images) = containers(o, "spec.template.spec.containers");
    let count = |key: &str| Value::from(number(o, &format!("status.{key}")));
    vec![
        name(o),
        count("desiredNumberScheduled"),
        count("currentNumberScheduled"),
        count("numberReady"),
        count("updatedNumberScheduled"),
        count("numberAvailable"),
        labels(o, "spec.template.spec.nodeSelector"),
        age(o, now),
        names,
        images,
        selector(o, "spec.selector"),
    ]
}

fn controller(o: &Value) -> Value {
    let Some(owner) = items(o, "metadata.ownerReferences")
        .iter()
        .find(|owner| owner["controller"] == true)
    else {
        return "<none>".into();
    };
    let version = text(owner, "apiVersion");
    let (group, _) = crate::facts::split_api_version(&version);
    let kind = crate::status::qualified(group, &text(owner, "kind")).to_lowercase();
    format!("{kind}/{}", text(owner, "name")).into()
}

fn job(o: &Value, now: i64) -> Vec<Value> {
    let succeeded = number(o, "status.succeeded");
    let parallelism = number(o, "spec.parallelism");
    let completions = match at(o, "spec.completions").as_i64() {
        Some(wanted) => format!("{succeeded}/{wanted}"),
        None if parallelism > 1 => format!("{succeeded}/1 of {parallelism}"),
        None => format!("{succeeded}/1"),
    };
    let stamp = |path: &str| at(o, path).as_str().and_then(crate::time::parse_rfc3339);
    let duration = match (stamp("status.startTime"), stamp("status.completionTime")) {
        (None, _) => String::new(),
        (Some(start), end) => crate::time::human(end.unwrap_or(now) - start),
    };
    let deleting = !at(o, "metadata.deletionTimestamp").is_null();
    let status = if has_condition(o, "Complete") {
        "Complete"
    } else if has_condition(o, "Failed") {
        "Failed"
    } else if deleting {
        "Terminating"
    } else if has_condition(o, "Suspended") {
        "Suspended"
    } else if has_condition(o, "FailureTarget") {
        "FailureTarget"
    } else if has_condition(o, "SuccessCriteriaMet") {
        "SuccessCriteriaMet"
    } else {
        "Running"
    };
    let (names, images) = containers(o, "spec.template.spec.containers");
    vec![
        name(o),
        status.into(),
        completions.into(),
        duration.into(),
        age(o, now),
        names,
        images,
        selector(o, "spec.selector"),
    ]
}

fn cron_job(o: &Value, now: i64) -> Vec<Value> {
    let last = match at(o, "status.lastScheduleTime") {
        Value::Null => "<none>".to_string(),
        _ => since(o, "status.lastScheduleTime", now),
    };
    let suspend = at(o, "spec.suspend")
        .as_bool()
        .map_or("<unset>", |flag| if flag { "True" } else { "False" });
    let (names, images) = containers(o, "spec.jobTemplate.spec.template.spec.containers");
    vec![
        name(o),
        text(o, "spec.schedule").into(),
        text_or(o, "spec.timeZone", "<none>"),
        suspend.into(),
        items(o, "status.active").len().into(),
        last.into(),
        age(o, now),
        names,
        images,
        selector(o, "spec.jobTemplate.spec.selector"),
    ]
}

/// Addresses a load balancer got, sorted.
fn balancer(o: &Value) -> Vec<String> {
    let mut list: Vec<String> = items(o, "status.loadBalancer.ingress")
        .iter()
        .map(|ingress| {
            let ip = text(ingress, "ip");
            if ip.is_empty() {
                text(ingress, "hostname")
            } else {
                ip
            }
        })
        .filter(|address| !address.is_empty())
        .collect();
    list.sort();
    list.dedup();
    list
}

fn service(o: &Value, now: i64) -> Vec<Value> {
    let inside = items(o, "spec.clusterIPs")
        .first()
        .map(|ip| ip.as_str().unwrap_or_default().to_string());
    let inside = inside.unwrap_or_else(|| "<none>".into());
    let external: Vec<String> = items(o, "spec.externalIPs")
        .iter()
        .filter_map(Value::as_str)
        .map(str::to_string)
        .collect();
    let kind = text(o, "spec.type");
    let outside = match kind.as_str() {
        "ClusterIP" | "NodePort" if external.is_empty() => "<none>".to_string(),
        "ClusterIP" | "NodePort" => external.join(","),
        "LoadBalancer" => {
            let all: Vec<String> = balancer(o).into_iter().chain(external).collect();
            if all.is_empty() {
                "<pending>".into()
            } else {
                all.join(",")
            }
        }
        "ExternalName" => text(o, "spec.externalName"),
        _ => "<unknown>".into(),
    };
    let ports: Vec<String> = items(o, "spec.ports")
        .iter()
        .map(|port| {
            let (number_, node) = (number(port, "port"), number(port, "nodePort"));
            let protocol = text(port, "protocol");
            if node > 0 {
                format!("{number_}:{node}/{protocol}")
            } else {
                format!("{number_}/{protocol}")
            }
        })
        .collect();
    let ports = if ports.is_empty() {
        "<none>".into()
    } else {
        ports.join(",")
    };
    vec![
        name(o),
        kind.into(),
        inside.into(),
        outside.into(),
        ports.into(),
        age(o, now),
        labels(o, "spec.selector"),
    ]
}

fn ingress(o: &Value, now: i64) -> Vec<Value> {
    let rules = items(o, "spec.rules");
    let hosts: Vec<String> = rules
        .iter()
        .map(|rule| text(rule, "host"))
        .filter(|host| !host.is_empty())
        .collect();
    let hosts = if hosts.is_empty() {
        "*".into()
    } else {
        some_of(hosts, 3, ",")
    };
    let ports = if items(o, "spec.tls").is_empty() {
        "80"
    } else {
        "80, 443"
    };
    vec![
        name(o),
        text_or(o, "spec.ingressClassName", "<none>"),
        hosts.into(),
        balancer(o).join(",").into(),
        ports.into(),
        age(o, now),
    ]
}

fn ingress_class(o: &Value, now: i64) -> Vec<Value> {
    let mut shown = text(o, "metadata.name");
    if is_default_class(o, "ingressclass.kubernetes.io/is-default-class") {
        shown.push_str(" (default)");
    }
    let parameters = at(o, "spec.parameters");
    let parameters = if parameters.is_null() {
        "<none>".to_string()
    } else {
        format!(
            "{}/{}",
            crate::status::qualified(&text(parameters, "apiGroup"), &text(parameters, "kind")),
            text(parameters, "name")
        )
    };
    vec![
        shown.into(),
        text(o, "spec.controller").into(),
        parameters.into(),
        age(o, now),
    ]
}

fn parent(o: &Value) -> Value {
    let parent = at(o, "spec.parentRef");
    if parent.is_null() {
        return "<none>".into();
    }
    let mut shown =
        crate::status::qualified(&text(parent, "group"), &text(parent, "resource")).to_lowercase();
    for key in ["namespace", "name"] {
        let part = text(parent, key);
        if !part.is_empty() {
            shown.push_str(&format!("/{part}"));
        }
    }
    shown.into()
}

fn endpoints(o: &Value) -> Value {
    let subsets = items(o, "subsets");
    if subsets.is_empty() {
        return "<none>".into();
    }
    let mut list = Vec::new();
    for subset in subsets {
        let addresses: Vec<String> = items(subset, "addresses")
            .iter()
            .map(|a| text(a, "ip"))
            .collect();
        let ports = items(subset, "ports");
        if ports.is_empty() {
            list.extend(addresses.iter().cloned());
        }
        for port in ports {
            list.extend(addresses.iter().map(|ip| {
                let port = number(port, "port");
                if ip.contains(':') {
                    format!("[{ip}]:{port}")
                } else {
                    format!("{ip}:{port}")
                }
            }));
        }
    }
    some_of(list, 3, ",").into()
}

fn endpoint_slice(o: &Value, now: i64) -> Vec<Value> {
    let ports: Vec<String> = items(o, "ports")
        .iter()
        .map(|port| match port["port"].as_i64() {
            Some(number) => number.to_string(),
            None => port["name"].as_str().unwrap_or("*").to_string(),
        })
        .collect();
    let addresses: Vec<String> = items(o, "endpoints")
        .iter()
        .flat_map(|endpoint| {
            items(endpoint, "addresses")
                .iter()
                .filter_map(Value::as_str)
                .map(str::to_string)
        })
        .collect();
    let shown = |list: Vec<String>| {
        if list.is_empty() {
            "<unset>".to_string()
        } else {
            some_of(list, 3, ",")
        }
    };
    vec![
        name(o),
        text(o, "addressType").into(),
        shown(ports).into(),
        shown(addresses).into(),
        age(o, now),
    ]
}

fn node(o: &Value, now: i64) -> Vec<Value> {
    let ready = items(o, "status.conditions")
        .iter()
        .find(|c| c["type"] == "Ready");
    let mut status = match ready {
        Some(c) if c["status"] == "True" => "Ready".to_string(),
        Some(_) => "NotReady".into(),
        None => "Unknown".into(),
    };
    if at(o, "spec.unschedulable") == &json!(true) {
        status.push_str(",SchedulingDisabled");
    }
    let mut roles: Vec<String> = Vec::new();
    for (key, value) in at(o, "metadata.labels").as_object().into_iter().flatten() {
        let role = match key.strip_prefix("node-role.kubernetes.io/") {
            Some(role) => role,
            None if key == "kubernetes.io/role" => value.as_str().unwrap_or_default(),
            None => continue,
        };
        if !role.is_empty() {
            roles.push(role.to_string());
        }
    }
    roles.sort();
    roles.dedup();
    let roles = if roles.is_empty() {
        "<none>".into()
    } else {
        roles.join(",")
    };
    let address = |kind: &str| {
        let found = items(o, "status.addresses")
            .iter()
            .find(|a| a["type"] == kind);
        found.map_or("<none>".to_string(), |a| text(a, "address"))
    };
    let info = |key: &str| text_or(o, &format!("status.nodeInfo.{key}"), "<unknown>");
    let mut kernel = info("kernelVersion")
        .as_str()
        .unwrap_or_default()
        .to_string();
    let architecture = text(o, "status.nodeInfo.architecture");
    if !architecture.is_empty() {
        kernel.push_str(&format!(" ({architecture})"));
    }
    vec![
        name(o),
        status.into(),
        roles.into(),
        age(o, now),
        text(o, "status.nodeInfo.kubeletVersion").into(),
        address("InternalIP").into(),
        address("ExternalIP").into(),
        info("osImage"),
        kernel.into(),
        info("containerRuntimeVersion"),
    ]
}

/// Reads both forms of an event (core and events.k8s.io).
fn event(o: &Value, now: i64) -> Vec<Value> {
    let either = |paths: &[&str]| {
        paths
            .iter()
            .map(|path| text(o, path))
            .find(|t| !t.is_empty())
            .unwrap_or_default()
    };
    let seen = |paths: &[&str]| {
        let path = paths.iter().find(|path| !at(o, path).is_null());
        path.map(|path| since(o, path, now))
    };
    let unknown = || "<unknown>".to_string();
    let first =
        seen(&["firstTimestamp", "deprecatedFirstTimestamp", "eventTime"]).unwrap_or_else(unknown);
    let mut last =
        seen(&["lastTimestamp", "deprecatedLastTimestamp"]).unwrap_or_else(|| first.clone());
    let mut count = number(o, "count").max(number(o, "deprecatedCount"));
    if !at(o, "series").is_null() {
        last = since(o, "series.lastObservedTime", now);
        count = number(o, "series.count");
    } else if count == 0 {
        count = 1;
    }
    let about = if o.get("regarding").is_some() {
        "regarding"
    } else {
        "involvedObject"
    };
    let kind = text(o, &format!("{about}.kind")).to_lowercase();
    let object = text(o, &format!("{about}.name"));
    let target = if object.is_empty() {
        kind
    } else {
        format!("{kind}/{object}")
    };
    let component = either(&[
        "source.component",
        "deprecatedSource.component",
        "reportingComponent",
        "reportingController",
    ]);
    let host = either(&["source.host", "deprecatedSource.host", "reportingInstance"]);
    let source = if host.is_empty() {
        component
    } else {
        format!("{component}, {host}")
    };
    vec![
        last.into(),
        text(o, "type").into(),
        text(o, "reason").into(),
        target.into(),
        text(o, &format!("{about}.fieldPath")).into(),
        source.into(),
        either(&["message", "note"]).trim().into(),
        first.into(),
        count.into(),
        name(o),
    ]
}

fn quota(o: &Value, now: i64) -> Vec<Value> {
    let hard = at(o, "status.hard")
        .as_object()
        .cloned()
        .unwrap_or_default();
    let used = at(o, "status.used");
    let mut names: Vec<&String> = hard.keys().collect();
    names.sort();
    let (mut requests, mut limits) = (Vec::new(), Vec::new());
    for key in names {
        let amount = |value: &Value| value.as_str().unwrap_or("0").to_string();
        let line = format!("{key}: {}/{}", amount(&used[key]), amount(&hard[key]));
        if key.starts_with("limits.") {
            limits.push(line)
        } else {
            requests.push(line)
        }
    }
    vec![
        name(o),
        requests.join(", ").into(),
        limits.join(", ").into(),
        age(o, now),
    ]
}

fn phase_or_terminating(o: &Value) -> Value {
    if at(o, "metadata.deletionTimestamp").is_null() {
        text(o, "status.phase").into()
    } else {
        "Terminating".into()
    }
}

/// The class of a volume or claim, with the annotation that came before the field.
fn class(o: &Value) -> Value {
    let old = text(
        &o["metadata"]["annotations"],
        "volume.beta.kubernetes.io/storage-class",
    );
    if old.is_empty() {
        text(o, "spec.storageClassName").into()
    } else {
        old.into()
    }
}

fn volume(o: &Value, now: i64) -> Vec<Value> {
    let claim = match at(o, "spec.claimRef") {
        Value::Null => String::new(),
        claim => format!("{}/{}", text(claim, "namespace"), text(claim, "name")),
    };
    vec![
        name(o),
        text_or(o, "spec.capacity.storage", "0"),
        access_modes(o, "spec.accessModes"),
        text(o, "spec.persistentVolumeReclaimPolicy").into(),
        phase_or_terminating(o),
        claim.into(),
        class(o),
        text_or(o, "spec.volumeAttributesClassName", "<unset>"),
        text(o, "status.reason").into(),
        age(o, now),
        text_or(o, "spec.volumeMode", "<unset>"),
    ]
}

fn claim(o: &Value, now: i64) -> Vec<Value> {
    let bound = !text(o, "spec.volumeName").is_empty();
    let capacity = if bound {
        text_or(o, "status.capacity.storage", "0")
    } else {
        "".into()
    };
    let modes = if bound {
        access_modes(o, "status.accessModes")
    } else {
        "".into()
    };
    vec![
        name(o),
        phase_or_terminating(o),
        text(o, "spec.volumeName").into(),
        capacity,
        modes,
        class(o),
        text_or(o, "spec.volumeAttributesClassName", "<unset>"),
        age(o, now),
        text_or(o, "spec.volumeMode", "<unset>"),
    ]
}

fn autoscaler(o: &Value, now: i64) -> Vec<Value> {
    let reference = format!(
        "{}/{}",
        text(o, "spec.scaleTargetRef.kind"),
        text(o, "spec.scaleTargetRef.name")
    );
    vec![
        name(o),
        reference.into(),
        metrics(o).into(),
        text_or(o, "spec.minReplicas", "<unset>"),
        number(o, "spec.maxReplicas").into(),
        number(o, "status.currentReplicas").into(),
        age(o, now),
    ]
}

fn metrics(o: &Value) -> String {
    let current = items(o, "status.currentMetrics");
    if let Some(target) = at(o, "spec.targetCPUUtilizationPercentage").as_i64() {
        let now = at(o, "status.currentCPUUtilizationPercentage").as_i64();
        return format!(
            "cpu: {}/{target}%",
            now.map_or("<unknown>".into(), |n| format!("{n}%"))
        );
    }
    let list: Vec<String> = items(o, "spec.metrics")
        .iter()
        .enumerate()
        .map(|(index, spec)| metric(spec, current.get(index)))
        .collect();
    if list.is_empty() {
        "<none>".into()
    } else {
        some_of(list, 2, ", ")
    }
}

fn metric(spec: &Value, status: Option<&Value>) -> String {
    let (key, named) = match text(spec, "type").as_str() {
        "External" => ("external", false),
        "Pods" => ("pods", false),
        "Object" => ("object", false),
        "Resource" => ("resource", true),
        "ContainerResource" => ("containerResource", true),
        _ => return "<unknown type>".into(),
    };
    let target = at(spec, key);
    let value = |what: &str| {
        let found = status.map(|status| text(status, &format!("{key}.current.{what}")));
        found
            .filter(|text| !text.is_empty())
            .unwrap_or_else(|| "<unknown>".into())
    };
    let wanted = text(target, "target.averageValue");
    let shown = if !wanted.is_empty() {
        let average = if matches!(key, "external" | "object") {
            " (avg)"
        } else {
            ""
        };
        format!("{}/{wanted}{average}", value("averageValue"))
    } else if named {
        let wanted = text(target, "target.averageUtilization");
        let wanted = if wanted.is_empty() {
            "<auto>".into()
        } else {
            format!("{wanted}%")
        };
        let now = value("averageUtilization");
        let now = if now == "<unknown>" {
            now
        } else {
            format!("{now}%")
        };
        format!("{now}/{wanted}")
    } else {
        format!("{}/{}", value("value"), text(target, "target.value"))
    };
    if named {
        format!("{}: {shown}", text(target, "name"))
    } else {
        shown
    }
}

fn binding(o: &Value, now: i64) -> Vec<Value> {
    let subjects = |kind: &str| {
        let names: Vec<String> = items(o, "subjects")
            .iter()
            .filter(|subject| subject["kind"] == kind)
            .map(|subject| match kind {
                "ServiceAccount" if !text(subject, "namespace").is_empty() => {
                    format!("{}/{}", text(subject, "namespace"), text(subject, "name"))
                }
                _ => text(subject, "name"),
            })
            .collect();
        Value::from(names.join(", "))
    };
    let role = format!("{}/{}", text(o, "roleRef.kind"), text(o, "roleRef.name"));
    vec![
        name(o),
        role.into(),
        age(o, now),
        subjects("User"),
        subjects("Group"),
        subjects("ServiceAccount"),
    ]
}

fn signing_request(o: &Value, now: i64) -> Vec<Value> {
    let mut state = String::new();
    for condition in items(o, "status.conditions") {
        state = match text(condition, "type").as_str() {
            "Approved" | "Denied" if state.is_empty() => text(condition, "type"),
            "Failed" if state.is_empty() => "Failed".into(),
            "Failed" => format!("{state},Failed"),
            _ => state,
        };
    }
    if state.is_empty() {
        state = "Pending".into();
    }
    if !text(o, "status.certificate").is_empty() {
        state.push_str(",Issued");
    }
    let duration = at(o, "spec.expirationSeconds")
        .as_i64()
        .map_or("<none>".into(), crate::time::human);
    vec![
        name(o),
        age(o, now),
        text_or(o, "spec.signerName", "<none>"),
        text(o, "spec.username").into(),
        duration.into(),
        state.into(),
    ]
}

fn storage_class(o: &Value, now: i64) -> Vec<Value> {
    let mut shown = text(o, "metadata.name");
    let default = [
        "storageclass.kubernetes.io/is-default-class",
        "storageclass.beta.kubernetes.io/is-default-class",
    ];
    if default
        .iter()
        .any(|annotation| is_default_class(o, annotation))
    {
        shown.push_str(" (default)");
    }
    vec![
        shown.into(),
        text(o, "provisioner").into(),
        text_or(o, "reclaimPolicy", "Delete"),
        text_or(o, "volumeBindingMode", "Immediate"),
        flag(o, "allowVolumeExpansion", false),
        age(o, now),
    ]
}

fn csi_driver(o: &Value, now: i64) -> Vec<Value> {
    let modes = joined(o, "spec.volumeLifecycleModes", ",");
    let modes = if modes == "" { "<none>".into() } else { modes };
    let tokens = match at(o, "spec.tokenRequests").as_array() {
        Some(list) => list
            .iter()
            .map(|t| text(t, "audience"))
            .collect::<Vec<_>>()
            .join(","),
        None => "<unset>".into(),
    };
    vec![
        name(o),
        flag(o, "spec.attachRequired", true),
        flag(o, "spec.podInfoOnMount", false),
        flag(o, "spec.storageCapacity", false),
        tokens.into(),
        flag(o, "spec.requiresRepublish", false),
        modes,
        age(o, now),
    ]
}

fn param_kind(o: &Value) -> Value {
    match at(o, "spec.paramKind") {
        Value::Null => "<unset>".into(),
        kind => format!("{}/{}", text(kind, "apiVersion"), text(kind, "kind")).into(),
    }
}

fn param_reference(o: &Value) -> Value {
    let reference = at(o, "spec.paramRef");
    let (namespace, object) = (text(reference, "namespace"), text(reference, "name"));
    if !object.is_empty() {
        let namespace = if namespace.is_empty() {
            "*".into()
        } else {
            namespace
        };
        return format!("{namespace}/{object}").into();
    }
    if reference.get("selector").is_some() {
        selector(reference, "selector")
    } else {
        "<unset>".into()
    }
}

fn flow_schema(o: &Value, now: i64) -> Vec<Value> {
    let dangling = items(o, "status.conditions")
        .iter()
        .find(|c| c["type"] == "Dangling");
    let missing = dangling.map_or("?".to_string(), |c| text(c, "status"));
    vec![
        name(o),
        text(o, "spec.priorityLevelConfiguration.name").into(),
        number(o, "spec.matchingPrecedence").into(),
        text_or(o, "spec.distinguisherMethod.type", "<none>"),
        age(o, now),
        missing.into(),
    ]
}

fn priority_level(o: &Value, now: i64) -> Vec<Value> {
    let limited = |path: &str| match at(o, &format!("spec.limited.{path}")) {
        Value::Null => Value::from("<none>"),
        value => value.clone(),
    };
    let queuing = "limitResponse.queuing";
    vec![
        name(o),
        text(o, "spec.type").into(),
        limited("nominalConcurrencyShares"),
        limited(&format!("{queuing}.queues")),
        limited(&format!("{queuing}.handSize")),
        limited(&format!("{queuing}.queueLengthLimit")),
        age(o, now),
    ]
}

fn claim_state(o: &Value) -> Value {
    let mut states = Vec::new();
    if !at(o, "metadata.deletionTimestamp").is_null() {
        states.push("deleted");
    }
    if at(o, "status.allocation").is_null() {
        if at(o, "metadata.deletionTimestamp").is_null() {
            states.push("pending");
        }
    } else {
        states.push("allocated");
        states.push(if items(o, "status.reservedFor").is_empty() {
            ""
        } else {
            "reserved"
        });
    }
    states.retain(|state| !state.is_empty());
    states.join(",").into()
}

fn api_service(o: &Value, now: i64) -> Vec<Value> {
    let service = match at(o, "spec.service") {
        Value::Null => "Local".to_string(),
        service => format!("{}/{}", text(service, "namespace"), text(service, "name")),
    };
    let available = items(o, "status.conditions")
        .iter()
        .find(|c| c["type"] == "Available");
    let available = match available {
        Some(c) if c["status"] == "True" => "True".to_string(),
        Some(c) => format!("{} ({})", text(c, "status"), text(c, "reason")),
        None => "Unknown".into(),
    };
    vec![name(o), service.into(), available.into(), age(o, now)]
}
