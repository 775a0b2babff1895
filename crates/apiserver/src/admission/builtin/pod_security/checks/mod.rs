//! The checks of the levels baseline and restricted, each from the release on in which it
//! appeared; a restricted check may take the place of a baseline one.

mod context;
mod host;

use super::policy::{Level, Policy};
use context::{
    added_capabilities, app_armor, dropped_capabilities, escalation, non_root, se_linux,
    seccomp_baseline, seccomp_restricted, user,
};
use host::{
    host_namespaces, host_paths, host_ports, host_probes, host_process, privileged, proc_mount,
    proc_mount_of_host_users, sysctls, volumes,
};
use serde_json::Value;

/// The last release that changed a check; later ones, and the latest, are judged by it.
const NEWEST: u32 = 35;

/// What is looked at.
pub(super) struct Pod<'a> {
    pub(super) annotations: &'a Value,
    pub(super) spec: &'a Value,
    minor: u32,
}

/// Why a check failed, shortly, and where.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Finding {
    pub(super) reason: &'static str,
    pub(super) detail: String,
}

type Check = fn(&Pod<'_>) -> Option<Finding>;

/// Name, first release, check. In upstream's order, which is that of names.
const BASELINE: [(&str, u32, Check); 12] = [
    ("appArmorProfile", 0, app_armor),
    ("capabilities_baseline", 0, added_capabilities),
    ("hostNamespaces", 0, host_namespaces),
    ("hostPathVolumes", 0, host_paths),
    ("hostPorts", 0, host_ports),
    ("hostProbesAndHostLifecycle", 34, host_probes),
    ("privileged", 0, privileged),
    ("procMount", 0, proc_mount_of_host_users),
    ("seLinuxOptions", 0, se_linux),
    ("seccompProfile_baseline", 0, seccomp_baseline),
    ("sysctls", 0, sysctls),
    ("windowsHostProcess", 0, host_process),
];

/// Name, first release, the baseline check it stands in for, check.
const RESTRICTED: [(&str, u32, &str, Check); 7] = [
    ("allowPrivilegeEscalation", 8, "", escalation),
    (
        "capabilities_restricted",
        22,
        "capabilities_baseline",
        dropped_capabilities,
    ),
    ("procMount_restricted", 35, "procMount", proc_mount),
    ("restrictedVolumes", 0, "hostPathVolumes", volumes),
    ("runAsNonRoot", 0, "", non_root),
    ("runAsUser", 23, "", user),
    (
        "seccompProfile_restricted",
        19,
        "seccompProfile_baseline",
        seccomp_restricted,
    ),
];

/// Everything about a pod that a policy forbids.
pub(super) fn run(policy: Policy, annotations: &Value, spec: &Value) -> Vec<Finding> {
    if policy.level == Level::Privileged {
        return Vec::new();
    }
    let pod = Pod {
        annotations,
        spec,
        minor: policy.minor.unwrap_or(NEWEST).min(NEWEST),
    };
    let strict = policy.level == Level::Restricted;
    let further = RESTRICTED
        .iter()
        .filter(|(_, since, ..)| strict && *since <= pod.minor);
    let replaced: Vec<&str> = further
        .clone()
        .map(|(_, _, instead_of, _)| *instead_of)
        .collect();
    let base = BASELINE
        .iter()
        .filter(|(name, since, _)| *since <= pod.minor && !replaced.contains(name))
        .map(|(.., check)| check);
    base.chain(further.map(|(.., check)| check))
        .filter_map(|check| check(&pod))
        .collect()
}

fn list<'a>(value: &'a Value, key: &str) -> impl Iterator<Item = &'a Value> {
    value[key].as_array().into_iter().flatten()
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap_or_default()
}

impl<'a> Pod<'a> {
    fn containers(&self) -> impl Iterator<Item = &'a Value> + use<'a> {
        let spec = self.spec;
        ["initContainers", "containers", "ephemeralContainers"]
            .into_iter()
            .flat_map(move |key| list(spec, key))
    }

    /// Names of the containers that are bad.
    fn bad(&self, mut is_bad: impl FnMut(&'a Value) -> bool) -> Vec<&'a str> {
        let bad = self.containers().filter(|container| is_bad(container));
        bad.map(|container| text(container, "name")).collect()
    }

    fn is_windows(&self) -> bool {
        self.spec["os"]["name"] == "windows"
    }

    /// Users of the pod are not those of the host, so that root in it is nobody outside.
    fn has_own_users(&self) -> bool {
        self.minor >= 35 && self.spec["hostUsers"] == false
    }
}

fn quoted<'a>(items: impl IntoIterator<Item = &'a str>) -> String {
    let items: Vec<String> = items
        .into_iter()
        .map(|item| format!("\"{item}\""))
        .collect();
    items.join(", ")
}

fn plural(one: &'static str, many: &'static str, count: usize) -> &'static str {
    if count == 1 { one } else { many }
}

/// `container "a"` or `containers "a", "b"`.
fn named(containers: &[&str]) -> String {
    let word = plural("container", "containers", containers.len());
    format!("{word} {}", quoted(containers.iter().copied()))
}

/// The pod, its containers, or both; `None` where neither.
fn setters(pod: bool, containers: &[&str]) -> Option<String> {
    let mut all = Vec::new();
    if pod {
        all.push("pod".to_string());
    }
    if !containers.is_empty() {
        all.push(named(containers));
    }
    (!all.is_empty()).then(|| all.join(" and "))
}

fn finding(reason: &'static str, detail: String) -> Option<Finding> {
    Some(Finding { reason, detail })
}
