//! What pods take of the host: its namespaces, paths, ports and kernel settings.

use super::{Finding, Pod, finding, list, named, plural, quoted, setters, text};
use serde_json::Value;
use std::collections::BTreeSet;

pub(super) fn host_namespaces(pod: &Pod<'_>) -> Option<Finding> {
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

pub(super) fn host_paths(pod: &Pod<'_>) -> Option<Finding> {
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

pub(super) fn host_ports(pod: &Pod<'_>) -> Option<Finding> {
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

pub(super) fn host_probes(pod: &Pod<'_>) -> Option<Finding> {
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

pub(super) fn privileged(pod: &Pod<'_>) -> Option<Finding> {
    let bad = pod.bad(|container| container["securityContext"]["privileged"] == true);
    let who = setters(false, &bad)?;
    finding(
        "privileged",
        format!("{who} must not set securityContext.privileged=true"),
    )
}

pub(super) fn proc_mount_of_host_users(pod: &Pod<'_>) -> Option<Finding> {
    if pod.has_own_users() {
        return None;
    }
    proc_mount(pod)
}

pub(super) fn proc_mount(pod: &Pod<'_>) -> Option<Finding> {
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

pub(super) fn sysctls(pod: &Pod<'_>) -> Option<Finding> {
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

pub(super) fn host_process(pod: &Pod<'_>) -> Option<Finding> {
    let bad = |context: &Value| context["windowsOptions"]["hostProcess"] == true;
    let whole = bad(&pod.spec["securityContext"]);
    let containers = pod.bad(|container| bad(&container["securityContext"]));
    let who = setters(whole, &containers)?;
    finding(
        "hostProcess",
        format!("{who} must not set securityContext.windowsOptions.hostProcess=true"),
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

pub(super) fn volumes(pod: &Pod<'_>) -> Option<Finding> {
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
