//! Pod and Secret of a job.

use super::contexts::Facts;
use super::graph::split_id;
use super::plan::Start;
use crate::config::{HOST_ROOTFS, PipelineConfig};
use crate::job::JobFile;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use k8s_openapi::api::core::v1::{Pod, Secret};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use towpath_kit::kinds::labels;

/// Label that joins pods of one job concurrency group.
pub const GROUP_LABEL: &str = "towpath.dev/concurrency";
/// Container of a job's pod.
pub const CONTAINER: &str = "job";

// Ids of jobs may start with `_`; label values may not.
fn label(value: &str) -> String {
    let value: String = value.chars().take(63).collect();
    value.trim_matches(['_', '-', '.']).to_string()
}

/// Labels of everything that belongs to a row.
pub fn labels_of(facts: &Facts, start: &Start) -> BTreeMap<String, String> {
    let mut out = BTreeMap::from([
        (labels::RUN.to_string(), label(&facts.name)),
        (labels::JOB.to_string(), label(&start.row)),
        (
            labels::REPOSITORY.to_string(),
            label(&facts.spec.repository),
        ),
        (labels::COMMIT.to_string(), label(&facts.spec.sha)),
    ]);
    if let Some(group) = &start.group {
        out.insert(GROUP_LABEL.into(), group.clone());
    }
    out
}

fn metadata(facts: &Facts, start: &Start, name: &str, uid: &str) -> Value {
    json!({
        "name": name,
        "namespace": facts.namespace,
        "labels": labels_of(facts, start),
        "ownerReferences": [{
            "apiVersion": "towpath.dev/v1alpha1", "kind": "Run", "name": facts.name, "uid": uid,
            "controller": true, "blockOwnerDeletion": false,
        }],
    })
}

/// The Secret that carries `job.json`.
pub fn secret(
    facts: &Facts,
    start: &Start,
    name: &str,
    uid: &str,
    file: &JobFile,
) -> Result<Secret, serde_json::Error> {
    let text = serde_json::to_vec(file)?;
    serde_json::from_value(json!({
        "apiVersion": "v1", "kind": "Secret",
        "metadata": metadata(facts, start, name, uid),
        "type": "towpath.dev/job",
        "immutable": true,
        "data": {"job.json": STANDARD.encode(text)},
    }))
}

/// The Pod.
pub fn pod(
    config: &PipelineConfig,
    facts: &Facts,
    start: &Start,
    name: &str,
    uid: &str,
) -> Result<Pod, serde_json::Error> {
    let limits = &config.limits;
    let mut meta = metadata(facts, start, name, uid);
    meta["annotations"] = json!({labels::PROCESSES: limits.processes.to_string()});
    let grace = (start.cancel_minutes * 60.0).clamp(1.0, 86_400.0) as i64 + 15;
    // The runner keeps the time itself; this ends a runner that cannot.
    let deadline = (start.timeout_minutes * 60.0).min(35.0 * 86_400.0) as i64 + grace + 300;
    serde_json::from_value(json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": meta,
        "spec": {
            "restartPolicy": "Never",
            "automountServiceAccountToken": false,
            "enableServiceLinks": false,
            "terminationGracePeriodSeconds": grace,
            "activeDeadlineSeconds": deadline,
            "hostname": split_id(&start.row).0.to_lowercase().replace('_', "-").trim_matches('-').chars().take(63).collect::<String>().trim_end_matches('-'),
            "containers": [{
                "name": CONTAINER,
                "image": start.image,
                "imagePullPolicy": "IfNotPresent",
                "command": ["/towpath", "runner", "/run/towpath/job.json"],
                "workingDir": "/home/runner/work",
                "env": [{"name": "TOWPATH_RUNNER_ROOT", "value": "/home/runner/work"}],
                "resources": {
                    // Without one for the disk the limit would be the request, and a disk with
                    // less to give than that would never run a job.
                    "requests": {"cpu": "100m", "memory": "128Mi", "ephemeral-storage": "64Mi"},
                    "limits": {"cpu": limits.cpu, "memory": limits.memory, "ephemeral-storage": limits.ephemeral_storage},
                },
                "securityContext": {"allowPrivilegeEscalation": true, "runAsUser": 0},
                "volumeMounts": [
                    {"name": "runner", "mountPath": "/towpath", "readOnly": true},
                    {"name": "job", "mountPath": "/run/towpath", "readOnly": true},
                    {"name": "work", "mountPath": "/home/runner/work"},
                ],
            }],
            "volumes": [
                {"name": "runner", "hostPath": {"path": config.server_exe.to_string_lossy(), "type": "File"}},
                {"name": "job", "secret": {"secretName": name, "defaultMode": 0o400}},
                {"name": "work", "emptyDir": {"sizeLimit": limits.ephemeral_storage}},
            ],
        },
    }))
}

/// Variables of the runner's environment on an image.
pub fn environment(config: &PipelineConfig, image: &str) -> BTreeMap<String, String> {
    let mut out = BTreeMap::from([
        ("HOME".to_string(), "/root".to_string()),
        ("LANG".to_string(), "C.UTF-8".to_string()),
    ]);
    if image != HOST_ROOTFS {
        out.insert(
            "PATH".into(),
            "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin".into(),
        );
        return out;
    }
    for name in &config.pass_environment {
        if let Ok(value) = std::env::var(name) {
            out.insert(name.clone(), value);
        }
    }
    // The server is reached directly, never through a proxy.
    if out.keys().any(|k| k.to_lowercase().ends_with("_proxy"))
        && let Some(host) = config
            .server_url_for_pods
            .split("://")
            .nth(1)
            .and_then(|h| h.split([':', '/']).next())
    {
        for name in ["no_proxy", "NO_PROXY"] {
            let old = out.get(name).cloned().unwrap_or_default();
            let new = if old.is_empty() {
                host.to_string()
            } else {
                format!("{old},{host}")
            };
            out.insert(name.into(), new);
        }
    }
    out
}
