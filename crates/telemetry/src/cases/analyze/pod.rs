//! What is wrong with a pod.

use super::Snapshot;
use crate::cases::finding::{Finding, Kind, Step};
use crate::ledger::Object;
use k8s_openapi::api::core::v1::{ContainerStatus, Event, Pod};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

/// Restarts after which a container counts as one that does not come up.
const RESTARTS: i32 = 2;
/// A pod that is not ready for longer than this has a problem even where nobody says which.
const UNREADY_MS: i64 = 60_000;

pub(super) fn millis(time: Option<&Time>) -> i64 {
    time.map_or(0, |time| time.0.as_millisecond())
}

fn made(pod: &Pod) -> i64 {
    millis(pod.metadata.creation_timestamp.as_ref())
}

pub(super) fn object(pod: &Pod) -> Object {
    let name = |text: &Option<String>| text.clone().unwrap_or_default();
    Object {
        kind: "Pod".into(),
        namespace: name(&pod.metadata.namespace),
        name: name(&pod.metadata.name),
    }
}

/// What a pod belongs to: the Deployment above its ReplicaSet, or whatever controls it.
pub(crate) fn workload(pod: &Pod) -> Object {
    let namespace = pod.metadata.namespace.clone().unwrap_or_default();
    let owners = pod.metadata.owner_references.iter().flatten();
    let Some(owner) = owners.into_iter().find(|o| o.controller == Some(true)) else {
        return object(pod);
    };
    let hash = pod
        .metadata
        .labels
        .as_ref()
        .and_then(|labels| labels.get("pod-template-hash"));
    if owner.kind == "ReplicaSet"
        && let Some(deployment) = hash
            .and_then(|hash| owner.name.strip_suffix(hash.as_str()))
            .and_then(|name| name.strip_suffix('-'))
    {
        return Object::new("Deployment", &namespace, deployment);
    }
    Object::new(&owner.kind, &namespace, &owner.name)
}

fn condition<'a>(pod: &'a Pod, kind: &str) -> Option<&'a k8s_openapi::api::core::v1::PodCondition> {
    let conditions = pod.status.as_ref()?.conditions.as_ref()?;
    conditions.iter().find(|c| c.type_ == kind)
}

pub(super) fn is_ready(pod: &Pod) -> bool {
    condition(pod, "Ready").is_some_and(|c| c.status == "True")
}

/// Everything that is wrong with one pod. A pod on its way out has no problems.
pub(super) fn findings(pod: &Pod, snapshot: &Snapshot) -> Vec<Finding> {
    let Some(status) = &pod.status else {
        return Vec::new();
    };
    if pod.metadata.deletion_timestamp.is_some() || status.phase.as_deref() == Some("Succeeded") {
        return Vec::new();
    }
    let one = One { pod, snapshot };
    let mut found = Vec::new();
    if status.reason.as_deref() == Some("Evicted") {
        let message = status.message.clone().unwrap_or_default();
        let kind = if message.contains("storage") {
            Kind::DiskFull
        } else {
            Kind::Evicted
        };
        found.push(one.finding(kind, "", made(pod), format!("evicted: {}", message.trim())));
    }
    if let Some(unscheduled) = condition(pod, "PodScheduled").filter(|c| c.status == "False") {
        let message = unscheduled.message.clone().unwrap_or_default();
        let since = millis(unscheduled.last_transition_time.as_ref()).max(made(pod));
        found.push(one.finding(Kind::Unschedulable, "", since, message));
    }
    let init = status.init_container_statuses.iter().flatten();
    for container in init.chain(status.container_statuses.iter().flatten()) {
        found.extend(one.container(container));
    }
    found.extend(one.warnings());
    if found.is_empty() && status.phase.as_deref() == Some("Running") {
        let unready = condition(pod, "Ready").filter(|c| c.status == "False");
        if let Some(since) = unready.map(|c| millis(c.last_transition_time.as_ref()))
            && snapshot.now - since > UNREADY_MS
        {
            found.push(one.finding(Kind::Unready, "", since, "is not ready".into()));
        }
    }
    found
}

struct One<'a> {
    pod: &'a Pod,
    snapshot: &'a Snapshot,
}

impl One<'_> {
    fn finding(&self, kind: Kind, container: &str, since: i64, words: String) -> Finding {
        let about = object(self.pod);
        let steps = vec![Step::Events { of: about.clone() }];
        let mentions = mentioned(&words, &about.namespace);
        Finding {
            kind,
            workload: workload(self.pod),
            container: container.into(),
            mentions,
            since,
            made: made(self.pod),
            count: 1,
            others_well: false,
            words,
            steps,
            about,
        }
    }

    fn logs(&self, container: &str, previous: bool) -> Step {
        Step::Logs {
            pod: object(self.pod),
            container: container.into(),
            previous,
        }
    }

    fn container(&self, status: &ContainerStatus) -> Vec<Finding> {
        let name = status.name.as_str();
        let mut found = Vec::new();
        let state = status.state.as_ref();
        let waiting = state.and_then(|s| s.waiting.as_ref());
        let now_ended = state.and_then(|s| s.terminated.as_ref());
        let last = status.last_state.as_ref();
        let ended = now_ended.or_else(|| last.and_then(|s| s.terminated.as_ref()));
        let reason = waiting.and_then(|w| w.reason.as_deref()).unwrap_or("");
        let message = waiting.and_then(|w| w.message.clone()).unwrap_or_default();
        let since = ended.map_or(made(self.pod), |e| millis(e.finished_at.as_ref()));
        match reason {
            "ErrImagePull" | "ImagePullBackOff" | "InvalidImageName" | "ErrImageNeverPull" => {
                let words = format!("image {}: {}", status.image, or(&message, reason));
                found.push(self.finding(Kind::ImagePull, name, made(self.pod), words));
            }
            "CreateContainerConfigError" | "CreateContainerError" => {
                let words = or(&message, reason).to_string();
                found.push(self.finding(
                    kind_of(&words, Kind::MissingReference),
                    name,
                    made(self.pod),
                    words,
                ));
            }
            _ => {}
        }
        let out_of_memory = ended.is_some_and(|e| e.reason.as_deref() == Some("OOMKilled"));
        if out_of_memory {
            let words = format!(
                "container {name} used more memory than it may and was ended {} times",
                status.restart_count.max(1)
            );
            let mut finding = self.finding(Kind::OutOfMemory, name, since, words);
            finding.steps.push(self.memory(name));
            found.push(finding);
        } else if reason == "CrashLoopBackOff"
            || (status.restart_count >= RESTARTS && !status.ready)
        {
            let code = ended.map_or(0, |e| e.exit_code);
            let said = ended.and_then(|e| e.message.clone()).unwrap_or_default();
            let said = said.trim().lines().last().unwrap_or_default();
            let mut words = format!(
                "container {name} ended {} times, the last time with code {code}",
                status.restart_count
            );
            if !said.is_empty() {
                words = format!("{words}: {said}");
            }
            let mut finding = self.finding(Kind::CrashLoop, name, since, words);
            finding
                .steps
                .insert(0, self.logs(name, status.restart_count > 0));
            found.push(finding);
        }
        found
    }

    fn memory(&self, container: &str) -> Step {
        let pod = object(self.pod);
        Step::Query {
            title: format!("memory of container {container}"),
            query: format!(
                "container_memory_working_set_bytes{{namespace={:?},pod={:?},container={container:?}}}",
                pod.namespace, pod.name
            ),
        }
    }

    // What the node and others told about the pod and its status does not say.
    fn warnings(&self) -> Vec<Finding> {
        let about = object(self.pod);
        let ours = |event: &&std::sync::Arc<Event>| {
            event.type_.as_deref() == Some("Warning")
                && event.involved_object.name.as_deref() == Some(&about.name)
                && event.involved_object.namespace.as_deref() == Some(&about.namespace)
        };
        let mut found = Vec::new();
        for event in self.snapshot.events.iter().filter(ours) {
            let (reason, message) = (
                event.reason.as_deref().unwrap_or_default(),
                event.message.clone().unwrap_or_default(),
            );
            let kind = match reason {
                "Unhealthy" if !is_ready(self.pod) => Kind::ProbeFailing,
                "FailedMount" | "FailedAttachVolume" => kind_of(&message, Kind::MissingReference),
                _ => continue,
            };
            let since = first_seen(event).max(made(self.pod));
            let mut finding = self.finding(kind, "", since, message);
            if kind == Kind::ProbeFailing
                && let Some(container) = self.pod.spec.as_ref().and_then(|s| s.containers.first())
            {
                finding.steps.insert(0, self.logs(&container.name, false));
            }
            if !found.iter().any(|f: &Finding| f.kind == finding.kind) {
                found.push(finding);
            }
        }
        found
    }
}

fn or<'a>(message: &'a str, reason: &'a str) -> &'a str {
    if message.is_empty() { reason } else { message }
}

pub(super) fn first_seen(event: &Event) -> i64 {
    let first = millis(event.first_timestamp.as_ref());
    if first > 0 {
        return first;
    }
    event.event_time.as_ref().map_or_else(
        || millis(event.last_timestamp.as_ref()),
        |t| t.0.as_millisecond(),
    )
}

// Words that say more than the reason they came with.
fn kind_of(words: &str, otherwise: Kind) -> Kind {
    let low = words.to_ascii_lowercase();
    if low.contains("no space left") {
        Kind::DiskFull
    } else if low.contains("no such host") || low.contains("could not be resolved") {
        Kind::UnknownName
    } else if low.contains("denied") || low.contains("forbidden") {
        Kind::Denied
    } else {
        otherwise
    }
}

/// Objects that a message names in the way of the node and upstream: `secret "x" not found`,
/// `configmap "x" not found`, `persistentvolumeclaim "x" not found`.
pub(super) fn mentioned(words: &str, namespace: &str) -> Vec<Object> {
    const KINDS: [(&str, &str); 4] = [
        ("secret", "Secret"),
        ("configmap", "ConfigMap"),
        ("persistentvolumeclaim", "PersistentVolumeClaim"),
        ("serviceaccount", "ServiceAccount"),
    ];
    let low = words.to_ascii_lowercase();
    let mut found = Vec::new();
    for (word, kind) in KINDS {
        for (at, _) in low.match_indices(word) {
            let rest = words.get(at + word.len()..).unwrap_or_default();
            let rest = rest.strip_prefix('s').unwrap_or(rest);
            let Some(rest) = rest.strip_prefix(" \"") else {
                continue;
            };
            let name = rest.split('"').next().unwrap_or_default();
            // Some say the namespace too.
            let name = name.rsplit('/').next().unwrap_or(name);
            let object = Object::new(kind, namespace, name);
            if !name.is_empty() && !found.contains(&object) {
                found.push(object);
            }
        }
    }
    found
}
