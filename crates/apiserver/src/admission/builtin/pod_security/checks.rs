//! The checks of the levels baseline and restricted, each from the release on in which it
//! appeared; a restricted check may take the place of a baseline one.

use super::policy::{Level, Policy};
use serde_json::Value;
use std::collections::BTreeSet;

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

fn app_armor(pod: &Pod<'_>) -> Option<Finding> {
    let mut values = BTreeSet::new();
    let mut bad = |context: &Value| {
        let profile = &context["appArmorProfile"];
        let kind = text(profile, "type");
        let bad = profile.is_object() && !matches!(kind, "RuntimeDefault" | "Localhost");
        if bad {
            values.insert(kind.to_string());
        }
        bad
    };
    let whole = bad(&pod.spec["securityContext"]);
    let containers = pod.bad(|container| bad(&container["securityContext"]));
    let mut all: Vec<String> = setters(whole, &containers).into_iter().collect();
    const KEY: &str = "container.apparmor.security.beta.kubernetes.io/";
    let annotations = pod.annotations.as_object().into_iter().flatten();
    let mut forbidden: Vec<String> = annotations
        .filter_map(|(key, value)| Some((key, value.as_str()?)))
        .filter(|(key, value)| {
            let fine =
                value.is_empty() || *value == "runtime/default" || value.starts_with("localhost/");
            key.starts_with(KEY) && !fine
        })
        .map(|(key, value)| format!("{key}={value:?}"))
        .collect();
    forbidden.sort();
    let values: Vec<&str> = values
        .iter()
        .map(String::as_str)
        .chain(forbidden.iter().map(String::as_str))
        .collect();
    if !forbidden.is_empty() {
        all.push(plural("annotation", "annotations", forbidden.len()).into());
    }
    if all.is_empty() {
        return None;
    }
    let reason = plural(
        "forbidden AppArmor profile",
        "forbidden AppArmor profiles",
        values.len(),
    );
    let (who, count) = (all.join(" and "), quoted(values));
    finding(
        reason,
        format!("{who} must not set AppArmor profile type to {count}"),
    )
}

const DEFAULT_CAPABILITIES: [&str; 13] = [
    "AUDIT_WRITE",
    "CHOWN",
    "DAC_OVERRIDE",
    "FOWNER",
    "FSETID",
    "KILL",
    "MKNOD",
    "NET_BIND_SERVICE",
    "SETFCAP",
    "SETGID",
    "SETPCAP",
    "SETUID",
    "SYS_CHROOT",
];

/// Containers that add a capability which is not allowed, and those capabilities.
fn adding<'a>(pod: &Pod<'a>, allowed: &[&str]) -> (Vec<&'a str>, BTreeSet<&'a str>) {
    let mut found = BTreeSet::new();
    let bad = pod.bad(|container| {
        let added = list(&container["securityContext"]["capabilities"], "add");
        let before = added
            .filter_map(Value::as_str)
            .filter(|c| !allowed.contains(c));
        let foreign: Vec<&str> = before.collect();
        found.extend(foreign.iter().copied());
        !foreign.is_empty()
    });
    (bad, found)
}

fn added_capabilities(pod: &Pod<'_>) -> Option<Finding> {
    let (bad, found) = adding(pod, &DEFAULT_CAPABILITIES);
    if bad.is_empty() {
        return None;
    }
    let (who, what) = (named(&bad), quoted(found));
    finding(
        "non-default capabilities",
        format!("{who} must not include {what} in securityContext.capabilities.add"),
    )
}

fn dropped_capabilities(pod: &Pod<'_>) -> Option<Finding> {
    if pod.minor >= 25 && pod.is_windows() {
        return None;
    }
    let keeping = pod.bad(|container| {
        !list(&container["securityContext"]["capabilities"], "drop").any(|c| c == "ALL")
    });
    let (bad, found) = adding(pod, &["NET_BIND_SERVICE"]);
    let mut details = Vec::new();
    if !keeping.is_empty() {
        let who = named(&keeping);
        details.push(format!(
            "{who} must set securityContext.capabilities.drop=[\"ALL\"]"
        ));
    }
    if !bad.is_empty() {
        let (who, what) = (named(&bad), quoted(found));
        details.push(format!(
            "{who} must not include {what} in securityContext.capabilities.add"
        ));
    }
    if details.is_empty() {
        return None;
    }
    finding("unrestricted capabilities", details.join("; "))
}

fn host_namespaces(pod: &Pod<'_>) -> Option<Finding> {
    let keys = ["hostNetwork", "hostPID", "hostIPC"].iter();
    let set: Vec<String> = keys
        .filter(|key| pod.spec[**key] == true)
        .map(|key| format!("{key}=true"))
        .collect();
    if set.is_empty() {
        return None;
    }
    finding("host namespaces", set.join(", "))
}

fn host_paths(pod: &Pod<'_>) -> Option<Finding> {
    let volumes: Vec<&str> = list(pod.spec, "volumes")
        .filter(|volume| volume["hostPath"].is_object())
        .map(|volume| text(volume, "name"))
        .collect();
    if volumes.is_empty() {
        return None;
    }
    let word = plural("volume", "volumes", volumes.len());
    finding("hostPath volumes", format!("{word} {}", quoted(volumes)))
}

fn host_ports(pod: &Pod<'_>) -> Option<Finding> {
    let mut ports = BTreeSet::new();
    let bad = pod.bad(|container| {
        let before = list(container, "ports").filter_map(|port| port["hostPort"].as_u64());
        let used: Vec<u64> = before.filter(|port| *port != 0).collect();
        ports.extend(used.iter().map(u64::to_string));
        !used.is_empty()
    });
    if bad.is_empty() {
        return None;
    }
    let uses = plural("uses", "use", bad.len());
    let word = plural("hostPort", "hostPorts", ports.len());
    let ports: Vec<String> = ports.into_iter().collect();
    finding(
        "hostPort",
        format!("{} {uses} {word} {}", named(&bad), ports.join(", ")),
    )
}

fn host_probes(pod: &Pod<'_>) -> Option<Finding> {
    let mut hosts = BTreeSet::new();
    let mut bad = pod.bad(|container| {
        let lifecycle = &container["lifecycle"];
        let handlers = [
            &container["livenessProbe"],
            &container["readinessProbe"],
            &container["startupProbe"],
            &lifecycle["postStart"],
            &lifecycle["preStop"],
        ];
        let named = handlers.iter().flat_map(|handler| {
            [
                text(&handler["httpGet"], "host"),
                text(&handler["tcpSocket"], "host"),
            ]
        });
        let found: Vec<&str> = named.filter(|host| !host.is_empty()).collect();
        hosts.extend(found.iter().copied());
        !found.is_empty()
    });
    if bad.is_empty() {
        return None;
    }
    bad.sort_unstable();
    let uses = plural("uses", "use", bad.len());
    let word = plural(
        "probe or lifecycle host",
        "probe or lifecycle hosts",
        hosts.len(),
    );
    finding(
        "probe or lifecycle host",
        format!("{} {uses} {word} {}", named(&bad), quoted(hosts)),
    )
}

fn privileged(pod: &Pod<'_>) -> Option<Finding> {
    let bad = pod.bad(|container| container["securityContext"]["privileged"] == true);
    let who = setters(false, &bad)?;
    finding(
        "privileged",
        format!("{who} must not set securityContext.privileged=true"),
    )
}

fn proc_mount_of_host_users(pod: &Pod<'_>) -> Option<Finding> {
    if pod.has_own_users() {
        return None;
    }
    proc_mount(pod)
}

fn proc_mount(pod: &Pod<'_>) -> Option<Finding> {
    let mut kinds = BTreeSet::new();
    let bad = pod.bad(|container| {
        let kind = container["securityContext"]["procMount"]
            .as_str()
            .unwrap_or("Default");
        if kind != "Default" {
            kinds.insert(kind);
        }
        kind != "Default"
    });
    let who = setters(false, &bad)?;
    let kinds = quoted(kinds);
    finding(
        "procMount",
        format!("{who} must not set securityContext.procMount to {kinds}"),
    )
}

fn se_linux(pod: &Pod<'_>) -> Option<Finding> {
    let (mut kinds, mut user, mut role) = (BTreeSet::new(), false, false);
    let engine = pod.minor >= 31;
    let mut bad = |context: &Value| {
        let options = &context["seLinuxOptions"];
        let kind = text(options, "type");
        let known = matches!(
            kind,
            "" | "container_t" | "container_init_t" | "container_kvm_t"
        ) || engine && kind == "container_engine_t";
        if !known {
            kinds.insert(kind.to_string());
        }
        let (names_user, names_role) = (
            !text(options, "user").is_empty(),
            !text(options, "role").is_empty(),
        );
        user |= names_user;
        role |= names_role;
        !known || names_user || names_role
    };
    let whole = bad(&pod.spec["securityContext"]);
    let containers = pod.bad(|container| bad(&container["securityContext"]));
    let who = setters(whole, &containers)?;
    let mut what = Vec::new();
    if !kinds.is_empty() {
        let word = plural("type", "types", kinds.len());
        what.push(format!(
            "{word} {}",
            quoted(kinds.iter().map(String::as_str))
        ));
    }
    if user {
        what.push("user may not be set".into());
    }
    if role {
        what.push("role may not be set".into());
    }
    let what = what.join("; ");
    finding(
        "seLinuxOptions",
        format!("{who} set forbidden securityContext.seLinuxOptions: {what}"),
    )
}

/// Who sets a seccomp profile that is none, and to what.
fn wrong_seccomp(pod: &Pod<'_>) -> Option<Finding> {
    let mut kinds = BTreeSet::new();
    let mut bad = |context: &Value| {
        let profile = &context["seccompProfile"];
        let kind = text(profile, "type");
        let bad = profile.is_object() && !matches!(kind, "Localhost" | "RuntimeDefault");
        if bad {
            kinds.insert(kind.to_string());
        }
        bad
    };
    let whole = bad(&pod.spec["securityContext"]);
    let containers = pod.bad(|container| bad(&container["securityContext"]));
    let who = setters(whole, &containers)?;
    let kinds = quoted(kinds.iter().map(String::as_str));
    finding(
        "seccompProfile",
        format!("{who} must not set securityContext.seccompProfile.type to {kinds}"),
    )
}

fn seccomp_baseline(pod: &Pod<'_>) -> Option<Finding> {
    if pod.minor >= 19 {
        return wrong_seccomp(pod);
    }
    let fine = |value: &str| {
        matches!(value, "runtime/default" | "docker/default") || value.starts_with("localhost/")
    };
    let containers = pod.containers().map(|container| {
        format!(
            "container.seccomp.security.alpha.kubernetes.io/{}",
            text(container, "name")
        )
    });
    let keys = std::iter::once("seccomp.security.alpha.kubernetes.io/pod".to_string());
    let forbidden: BTreeSet<String> = keys
        .chain(containers)
        .filter_map(|key| {
            let value = pod.annotations[key.as_str()]
                .as_str()
                .filter(|value| !fine(value))?;
            Some(format!("{key}={value:?}"))
        })
        .collect();
    if forbidden.is_empty() {
        return None;
    }
    let word = plural("annotation", "annotations", forbidden.len());
    let all: Vec<String> = forbidden.into_iter().collect();
    finding(
        "seccompProfile",
        format!("forbidden {word} {}", all.join(", ")),
    )
}

fn seccomp_restricted(pod: &Pod<'_>) -> Option<Finding> {
    if pod.minor >= 25 && pod.is_windows() {
        return None;
    }
    if let Some(wrong) = wrong_seccomp(pod) {
        return Some(wrong);
    }
    if pod.spec["securityContext"]["seccompProfile"].is_object() {
        return None;
    }
    let without = pod.bad(|container| !container["securityContext"]["seccompProfile"].is_object());
    let who = setters(false, &without)?;
    finding(
        "seccompProfile",
        format!(
            "pod or {who} must set securityContext.seccompProfile.type to \"RuntimeDefault\" or \"Localhost\""
        ),
    )
}

/// Kernel settings that stay within a pod, and the release that knew them first.
const SYSCTLS: [(&str, u32); 12] = [
    ("kernel.shm_rmid_forced", 0),
    ("net.ipv4.ip_local_port_range", 0),
    ("net.ipv4.tcp_syncookies", 0),
    ("net.ipv4.ping_group_range", 0),
    ("net.ipv4.ip_unprivileged_port_start", 0),
    ("net.ipv4.ip_local_reserved_ports", 27),
    ("net.ipv4.tcp_keepalive_time", 29),
    ("net.ipv4.tcp_fin_timeout", 29),
    ("net.ipv4.tcp_keepalive_intvl", 29),
    ("net.ipv4.tcp_keepalive_probes", 29),
    ("net.ipv4.tcp_rmem", 32),
    ("net.ipv4.tcp_wmem", 32),
];

fn sysctls(pod: &Pod<'_>) -> Option<Finding> {
    let known = |name: &str| {
        SYSCTLS
            .iter()
            .any(|(known, since)| *known == name && *since <= pod.minor)
    };
    let forbidden: Vec<&str> = list(&pod.spec["securityContext"], "sysctls")
        .map(|sysctl| text(sysctl, "name"))
        .filter(|name| !known(name))
        .collect();
    if forbidden.is_empty() {
        return None;
    }
    finding("forbidden sysctls", forbidden.join(", "))
}

fn host_process(pod: &Pod<'_>) -> Option<Finding> {
    let bad = |context: &Value| context["windowsOptions"]["hostProcess"] == true;
    let whole = bad(&pod.spec["securityContext"]);
    let containers = pod.bad(|container| bad(&container["securityContext"]));
    let who = setters(whole, &containers)?;
    finding(
        "hostProcess",
        format!("{who} must not set securityContext.windowsOptions.hostProcess=true"),
    )
}

fn escalation(pod: &Pod<'_>) -> Option<Finding> {
    if pod.minor >= 25 && pod.is_windows() {
        return None;
    }
    let bad =
        pod.bad(|container| container["securityContext"]["allowPrivilegeEscalation"] != false);
    let who = setters(false, &bad)?;
    finding(
        "allowPrivilegeEscalation != false",
        format!("{who} must set securityContext.allowPrivilegeEscalation=false"),
    )
}

const VOLUMES: [&str; 9] = [
    "configMap",
    "csi",
    "downwardAPI",
    "emptyDir",
    "ephemeral",
    "image",
    "persistentVolumeClaim",
    "projected",
    "secret",
];

fn volumes(pod: &Pod<'_>) -> Option<Finding> {
    let (mut bad, mut kinds) = (Vec::new(), BTreeSet::new());
    for volume in list(pod.spec, "volumes") {
        if VOLUMES.iter().any(|kind| volume[*kind].is_object()) {
            continue;
        }
        bad.push(text(volume, "name"));
        let mut sources = volume.as_object().into_iter().flatten();
        let source = sources.find(|(_, value)| value.is_object());
        kinds.insert(source.map_or("unknown", |(kind, _)| kind.as_str()));
    }
    if bad.is_empty() {
        return None;
    }
    let word = plural("volume", "volumes", bad.len());
    let uses = plural("uses", "use", bad.len());
    let types = plural(
        "restricted volume type",
        "restricted volume types",
        kinds.len(),
    );
    let (bad, kinds) = (quoted(bad), quoted(kinds));
    finding(
        "restricted volume types",
        format!("{word} {bad} {uses} {types} {kinds}"),
    )
}

fn non_root(pod: &Pod<'_>) -> Option<Finding> {
    if pod.has_own_users() {
        return None;
    }
    const REASON: &str = "runAsNonRoot != true";
    let whole = pod.spec["securityContext"]["runAsNonRoot"].as_bool();
    let says = |container: &Value| container["securityContext"]["runAsNonRoot"].as_bool();
    let explicit = pod.bad(|container| says(container) == Some(false));
    if let Some(who) = setters(whole == Some(false), &explicit) {
        return finding(
            REASON,
            format!("{who} must not set securityContext.runAsNonRoot=false"),
        );
    }
    if whole == Some(true) {
        return None;
    }
    let silent = pod.bad(|container| says(container).is_none());
    let who = setters(false, &silent)?;
    finding(
        REASON,
        format!("pod or {who} must set securityContext.runAsNonRoot=true"),
    )
}

fn user(pod: &Pod<'_>) -> Option<Finding> {
    if pod.has_own_users() {
        return None;
    }
    let root = |context: &Value| context["runAsUser"] == 0;
    let whole = root(&pod.spec["securityContext"]);
    let containers = pod.bad(|container| root(&container["securityContext"]));
    let who = setters(whole, &containers)?;
    finding("runAsUser=0", format!("{who} must not set runAsUser=0"))
}
