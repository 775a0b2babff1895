//! Is a live object doing what it says? One word and one sentence.
//!
//! Every answer that is not healthy names the evidence. A controller's status counts only once
//! it has seen the present generation, so a fresh change is never mistaken for the old health.

use serde_json::Value as Json;

/// From best to worst.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Status {
    /// Does what it says.
    #[default]
    Healthy,
    /// Told to pause.
    Suspended,
    /// On its way.
    Progressing,
    /// Not there.
    Missing,
    /// Will not get there by itself.
    Degraded,
    /// Cannot be told.
    Unknown,
}

impl Status {
    /// Argo CD's word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Healthy => "Healthy",
            Self::Suspended => "Suspended",
            Self::Progressing => "Progressing",
            Self::Missing => "Missing",
            Self::Degraded => "Degraded",
            Self::Unknown => "Unknown",
        }
    }
}

/// Word and sentence.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Health {
    /// Word.
    pub status: Status,
    /// Sentence; empty where healthy.
    pub message: String,
}

impl Health {
    fn new(status: Status, message: impl Into<String>) -> Self {
        Self {
            status,
            message: message.into(),
        }
    }

    fn healthy() -> Self {
        Self::default()
    }
}

/// Health of a live object; `None` for kinds that are healthy by being there.
pub fn assess(object: &Json) -> Option<Health> {
    if object.pointer("/metadata/deletionTimestamp").is_some() {
        return Some(Health::new(Status::Progressing, "it is being deleted"));
    }
    let kind = text(object, "/kind");
    let group = text(object, "/apiVersion")
        .split_once('/')
        .map_or("", |(group, _)| group);
    let health = match (group, kind) {
        ("apps", "Deployment") => deployment(object),
        ("apps", "StatefulSet") => stateful_set(object),
        ("apps", "DaemonSet") => daemon_set(object),
        ("apps", "ReplicaSet") => replica_set(object),
        ("", "Pod") => pod(object),
        ("batch", "Job") => job(object),
        ("", "PersistentVolumeClaim") => claim(object),
        ("", "Service") => service(object),
        ("networking.k8s.io", "Ingress") => Health::healthy(),
        ("autoscaling", "HorizontalPodAutoscaler") => autoscaler(object),
        ("apiextensions.k8s.io", "CustomResourceDefinition") => definition(object),
        ("apiregistration.k8s.io", "APIService") => by_condition(object, "Available"),
        ("argoproj.io", "Application") => application(object),
        ("", "Namespace") if text(object, "/status/phase") == "Terminating" => {
            Health::new(Status::Progressing, "the namespace is being deleted")
        }
        ("cert-manager.io" | "external-secrets.io" | "towpath.dev", _)
            if condition(object, "Ready").is_some() =>
        {
            by_condition(object, "Ready")
        }
        _ => return None,
    };
    Some(health)
}

fn text<'o>(object: &'o Json, pointer: &str) -> &'o str {
    object
        .pointer(pointer)
        .and_then(Json::as_str)
        .unwrap_or_default()
}

fn number(object: &Json, pointer: &str) -> i64 {
    object.pointer(pointer).and_then(Json::as_i64).unwrap_or(0)
}

fn number_or(object: &Json, pointer: &str, otherwise: i64) -> i64 {
    object
        .pointer(pointer)
        .and_then(Json::as_i64)
        .unwrap_or(otherwise)
}

fn condition<'o>(object: &'o Json, type_: &str) -> Option<&'o Json> {
    let conditions = object.pointer("/status/conditions")?.as_array()?;
    conditions.iter().find(|c| text(c, "/type") == type_)
}

// The controller has not seen the present generation yet.
fn unseen(object: &Json) -> bool {
    number(object, "/status/observedGeneration") < number(object, "/metadata/generation")
}

fn progressing(message: impl Into<String>) -> Health {
    Health::new(Status::Progressing, message)
}

fn degraded(message: impl Into<String>) -> Health {
    Health::new(Status::Degraded, message)
}

fn deployment(object: &Json) -> Health {
    if object.pointer("/spec/paused").and_then(Json::as_bool) == Some(true) {
        return Health::new(Status::Suspended, "the deployment is paused");
    }
    if unseen(object) {
        return progressing("the deployment controller has not seen the change yet");
    }
    if let Some(found) = condition(object, "Progressing")
        && text(found, "/reason") == "ProgressDeadlineExceeded"
    {
        return degraded(format!(
            "the progress deadline is exceeded: {}",
            text(found, "/message")
        ));
    }
    let wanted = number_or(object, "/spec/replicas", 1);
    let updated = number(object, "/status/updatedReplicas");
    let all = number(object, "/status/replicas");
    let available = number(object, "/status/availableReplicas");
    if updated < wanted {
        return progressing(format!("{updated} of {wanted} pods are updated"));
    }
    if all > updated {
        return progressing(format!("{} old pods are still to go", all - updated));
    }
    if available < updated {
        return progressing(format!(
            "{available} of {updated} updated pods are available"
        ));
    }
    Health::healthy()
}

fn stateful_set(object: &Json) -> Health {
    if unseen(object) {
        return progressing("the controller has not seen the change yet");
    }
    let wanted = number_or(object, "/spec/replicas", 1);
    let ready = number(object, "/status/readyReplicas");
    if ready < wanted {
        return progressing(format!("{ready} of {wanted} pods are ready"));
    }
    if text(object, "/spec/updateStrategy/type") == "OnDelete" {
        return Health::healthy();
    }
    let partition = number(object, "/spec/updateStrategy/rollingUpdate/partition");
    let updated = number(object, "/status/updatedReplicas");
    let (current, update) = (
        text(object, "/status/currentRevision"),
        text(object, "/status/updateRevision"),
    );
    if partition > 0 {
        if updated < wanted - partition {
            return progressing(format!(
                "{updated} of {} pods above the partition are updated",
                wanted - partition
            ));
        }
    } else if current != update && updated < wanted {
        return progressing(format!("{updated} of {wanted} pods are updated"));
    }
    Health::healthy()
}

fn daemon_set(object: &Json) -> Health {
    if unseen(object) {
        return progressing("the controller has not seen the change yet");
    }
    let wanted = number(object, "/status/desiredNumberScheduled");
    let updated = number(object, "/status/updatedNumberScheduled");
    let available = number(object, "/status/numberAvailable");
    if text(object, "/spec/updateStrategy/type") != "OnDelete" && updated < wanted {
        return progressing(format!("{updated} of {wanted} pods are updated"));
    }
    if available < wanted {
        return progressing(format!("{available} of {wanted} pods are available"));
    }
    Health::healthy()
}

fn replica_set(object: &Json) -> Health {
    if unseen(object) {
        return progressing("the controller has not seen the change yet");
    }
    if let Some(found) =
        condition(object, "ReplicaFailure").filter(|c| text(c, "/status") == "True")
    {
        return degraded(text(found, "/message"));
    }
    let wanted = number_or(object, "/spec/replicas", 1);
    let available = number(object, "/status/availableReplicas");
    if available < wanted {
        return progressing(format!("{available} of {wanted} pods are available"));
    }
    Health::healthy()
}

/// Why a pod's container does not run, where it has stopped trying or fails again and again.
pub fn pod_trouble(pod: &Json) -> Option<String> {
    for list in ["initContainerStatuses", "containerStatuses"] {
        let statuses = pod
            .pointer(&format!("/status/{list}"))
            .and_then(Json::as_array);
        for status in statuses.into_iter().flatten() {
            let name = text(status, "/name");
            let waiting = text(status, "/state/waiting/reason");
            let failed = matches!(
                waiting,
                "CrashLoopBackOff"
                    | "ImagePullBackOff"
                    | "ErrImagePull"
                    | "InvalidImageName"
                    | "CreateContainerError"
                    | "CreateContainerConfigError"
                    | "RunContainerError"
                    | "ErrImageNeverPull"
            );
            if failed {
                let mut message = format!("container {name}: {waiting}");
                let words = text(status, "/state/waiting/message");
                if !words.is_empty() {
                    message.push_str(&format!(": {words}"));
                }
                if let Some(code) = status
                    .pointer("/lastState/terminated/exitCode")
                    .and_then(Json::as_i64)
                {
                    let reason = text(status, "/lastState/terminated/reason");
                    message.push_str(&format!(" (last exit code {code}, {reason})"));
                }
                return Some(message);
            }
            let code = number(status, "/state/terminated/exitCode");
            if code != 0 {
                let reason = text(status, "/state/terminated/reason");
                return Some(format!(
                    "container {name} ended with exit code {code} ({reason})"
                ));
            }
        }
    }
    None
}

fn pod(object: &Json) -> Health {
    let always = matches!(text(object, "/spec/restartPolicy"), "" | "Always");
    match text(object, "/status/phase") {
        "Succeeded" => Health::healthy(),
        "Failed" => {
            let words = text(object, "/status/message");
            let trouble =
                pod_trouble(object).unwrap_or_else(|| text(object, "/status/reason").to_string());
            degraded(if words.is_empty() {
                trouble
            } else {
                words.to_string()
            })
        }
        phase => {
            if let Some(trouble) = pod_trouble(object) {
                return degraded(trouble);
            }
            if phase == "Running" && always {
                let ready =
                    condition(object, "Ready").is_some_and(|c| text(c, "/status") == "True");
                return if ready {
                    Health::healthy()
                } else {
                    progressing("not ready yet")
                };
            }
            if let Some(found) =
                condition(object, "PodScheduled").filter(|c| text(c, "/status") == "False")
            {
                return progressing(format!("not scheduled: {}", text(found, "/message")));
            }
            progressing(
                if phase.is_empty() {
                    "not started"
                } else {
                    phase
                }
                .to_string(),
            )
        }
    }
}

fn job(object: &Json) -> Health {
    let holds = |type_| condition(object, type_).filter(|c| text(c, "/status") == "True");
    if let Some(found) = holds("Failed") {
        return degraded(text(found, "/message"));
    }
    if holds("Complete").is_some() {
        return Health::healthy();
    }
    if holds("Suspended").is_some()
        || object.pointer("/spec/suspend").and_then(Json::as_bool) == Some(true)
    {
        return Health::new(Status::Suspended, "the job is suspended");
    }
    progressing("the job is running")
}

fn claim(object: &Json) -> Health {
    match text(object, "/status/phase") {
        "Bound" => Health::healthy(),
        "Lost" => degraded("its volume is lost"),
        _ => progressing("waits for a volume"),
    }
}

fn service(object: &Json) -> Health {
    let waits = text(object, "/spec/type") == "LoadBalancer"
        && object
            .pointer("/status/loadBalancer/ingress")
            .and_then(Json::as_array)
            .is_none_or(Vec::is_empty);
    if waits {
        progressing("waits for an address")
    } else {
        Health::healthy()
    }
}

fn autoscaler(object: &Json) -> Health {
    const FATAL: &[&str] = &[
        "FailedGetScale",
        "FailedUpdateScale",
        "InvalidMetricSourceType",
        "InvalidSelector",
        "ScalingDisabled",
    ];
    let conditions = object
        .pointer("/status/conditions")
        .and_then(Json::as_array);
    for found in conditions.into_iter().flatten() {
        if text(found, "/status") == "False" && FATAL.contains(&text(found, "/reason")) {
            return degraded(text(found, "/message"));
        }
    }
    Health::healthy()
}

fn definition(object: &Json) -> Health {
    let holds = |type_, value| condition(object, type_).filter(|c| text(c, "/status") == value);
    if let Some(found) = holds("NamesAccepted", "False") {
        return degraded(text(found, "/message"));
    }
    if holds("Established", "True").is_none() {
        return progressing("the kind is not established yet");
    }
    Health::healthy()
}

fn by_condition(object: &Json, type_: &str) -> Health {
    match condition(object, type_) {
        None => progressing(format!("condition {type_} is not reported yet")),
        Some(found) => match text(found, "/status") {
            "True" => Health::healthy(),
            "False" => degraded(text(found, "/message")),
            _ => progressing(text(found, "/message")),
        },
    }
}

fn application(object: &Json) -> Health {
    let status = match text(object, "/status/health/status") {
        "Healthy" => Status::Healthy,
        "Suspended" => Status::Suspended,
        "Missing" => Status::Missing,
        "Degraded" => Status::Degraded,
        "Unknown" => Status::Unknown,
        _ => Status::Progressing,
    };
    Health::new(status, text(object, "/status/health/message"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_deployment_is_judged_by_the_present_generation() {
        let mut object = json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"generation": 2},
            "spec": {"replicas": 2},
            "status": {"observedGeneration": 1, "replicas": 2, "updatedReplicas": 2, "availableReplicas": 2}});
        assert_eq!(assess(&object).map(|h| h.status), Some(Status::Progressing));
        object["status"]["observedGeneration"] = json!(2);
        assert_eq!(assess(&object).map(|h| h.status), Some(Status::Healthy));
        object["status"]["conditions"] = json!([{"type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded", "message": "m"}]);
        assert_eq!(assess(&object).map(|h| h.status), Some(Status::Degraded));
    }

    #[test]
    fn a_crashing_pod_says_why() {
        let pod = json!({"apiVersion": "v1", "kind": "Pod", "status": {"phase": "Running", "containerStatuses": [
            {"name": "c", "state": {"waiting": {"reason": "CrashLoopBackOff"}},
             "lastState": {"terminated": {"exitCode": 3, "reason": "Error"}}}]}});
        let health = assess(&pod).expect("health");
        assert_eq!(health.status, Status::Degraded);
        assert!(health.message.contains("exit code 3"), "{}", health.message);
    }

    #[test]
    fn plain_data_has_no_health() {
        assert_eq!(
            assess(&json!({"apiVersion": "v1", "kind": "ConfigMap"})),
            None
        );
    }
}
