//! Effective security settings of a container: its own over its pod's over the image's.

use k8s_openapi::api::core::v1::{Container, Pod, SeccompProfile};
use std::collections::BTreeMap;
use towpath_container::{DEFAULT_CAPABILITIES, Seccomp, User};

/// What a container's process gets.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Security {
    pub(crate) user: String,
    pub(crate) group: Option<u32>,
    pub(crate) supplementary: Vec<u32>,
    pub(crate) capabilities: Vec<String>,
    pub(crate) no_new_privileges: bool,
    pub(crate) privileged: bool,
    pub(crate) readonly_rootfs: bool,
    pub(crate) seccomp: Seccomp,
    pub(crate) sysctls: BTreeMap<String, String>,
}

impl Security {
    pub(crate) fn user(&self) -> User {
        User {
            user: self.user.clone(),
            group: self.group,
            supplementary: self.supplementary.clone(),
        }
    }
}

// All that exist; for `privileged` and `ALL`.
const ALL: [&str; 41] = [
    "AUDIT_CONTROL",
    "AUDIT_READ",
    "AUDIT_WRITE",
    "BLOCK_SUSPEND",
    "BPF",
    "CHECKPOINT_RESTORE",
    "CHOWN",
    "DAC_OVERRIDE",
    "DAC_READ_SEARCH",
    "FOWNER",
    "FSETID",
    "IPC_LOCK",
    "IPC_OWNER",
    "KILL",
    "LEASE",
    "LINUX_IMMUTABLE",
    "MAC_ADMIN",
    "MAC_OVERRIDE",
    "MKNOD",
    "NET_ADMIN",
    "NET_BIND_SERVICE",
    "NET_BROADCAST",
    "NET_RAW",
    "PERFMON",
    "SETFCAP",
    "SETGID",
    "SETPCAP",
    "SETUID",
    "SYSLOG",
    "SYS_ADMIN",
    "SYS_BOOT",
    "SYS_CHROOT",
    "SYS_MODULE",
    "SYS_NICE",
    "SYS_PACCT",
    "SYS_PTRACE",
    "SYS_RAWIO",
    "SYS_RESOURCE",
    "SYS_TIME",
    "SYS_TTY_CONFIG",
    "WAKE_ALARM",
];

// Kernel parameters that belong to a pod's own namespaces and harm nobody else.
const SAFE_SYSCTLS: [&str; 9] = [
    "kernel.shm_rmid_forced",
    "net.ipv4.ip_local_port_range",
    "net.ipv4.tcp_syncookies",
    "net.ipv4.ping_group_range",
    "net.ipv4.ip_unprivileged_port_start",
    "net.ipv4.ip_local_reserved_ports",
    "net.ipv4.tcp_keepalive_time",
    "net.ipv4.tcp_fin_timeout",
    "net.ipv4.tcp_rmem",
];

/// Merges the settings; an error is a fault of the pod and keeps the container waiting.
pub(crate) fn effective(
    pod: &Pod,
    container: &Container,
    image_user: &str,
) -> Result<Security, String> {
    let of_pod = pod
        .spec
        .as_ref()
        .and_then(|spec| spec.security_context.clone())
        .unwrap_or_default();
    let own = container.security_context.clone().unwrap_or_default();
    let privileged = own.privileged.unwrap_or(false);
    let uid = own.run_as_user.or(of_pod.run_as_user);
    let user = uid.map_or_else(|| image_user.to_string(), |uid| uid.to_string());
    if own
        .run_as_non_root
        .or(of_pod.run_as_non_root)
        .unwrap_or(false)
    {
        refuse_root(uid, image_user)?;
    }
    let number =
        |id: i64, what: &str| u32::try_from(id).map_err(|_| format!("{what} {id} is out of range"));
    let group = own
        .run_as_group
        .or(of_pod.run_as_group)
        .map(|id| number(id, "runAsGroup"))
        .transpose()?;
    if let Some(uid) = uid {
        number(uid, "runAsUser")?;
    }
    let extra = of_pod
        .supplemental_groups
        .iter()
        .flatten()
        .chain(&of_pod.fs_group);
    let supplementary = extra
        .map(|id| number(*id, "group"))
        .collect::<Result<_, _>>()?;
    let seccomp = match own
        .seccomp_profile
        .as_ref()
        .or(of_pod.seccomp_profile.as_ref())
    {
        _ if privileged => Seccomp::Unconfined,
        None => Seccomp::Default,
        Some(profile) => seccomp(profile)?,
    };
    let added = own.capabilities.clone().unwrap_or_default();
    let capabilities = match privileged {
        true => named(ALL.iter().copied()),
        false => capabilities(
            &added.add.unwrap_or_default(),
            &added.drop.unwrap_or_default(),
        )?,
    };
    let forbidden = own.allow_privilege_escalation == Some(false) && !privileged;
    Ok(Security {
        user,
        group,
        supplementary,
        capabilities,
        no_new_privileges: forbidden,
        privileged,
        readonly_rootfs: own.read_only_root_filesystem.unwrap_or(false),
        seccomp,
        sysctls: sysctls(pod)?,
    })
}

fn refuse_root(uid: Option<i64>, image_user: &str) -> Result<(), String> {
    let name = image_user.split(':').next().unwrap_or("");
    match (uid, name.parse::<u32>()) {
        (Some(0), _) => Err("container's runAsUser breaks non-root policy".into()),
        (Some(_), _) => Ok(()),
        (None, Ok(0)) => Err("container has runAsNonRoot and image will run as root".into()),
        (None, Ok(_)) => Ok(()),
        (None, Err(_)) if name.is_empty() => {
            Err("container has runAsNonRoot and image will run as root".into())
        }
        (None, Err(_)) => Err(format!(
            "container has runAsNonRoot and image has non-numeric user ({name}), cannot verify user is non-root"
        )),
    }
}

fn seccomp(profile: &SeccompProfile) -> Result<Seccomp, String> {
    match profile.type_.as_str() {
        "RuntimeDefault" => Ok(Seccomp::Default),
        "Unconfined" => Ok(Seccomp::Unconfined),
        other => Err(format!(
            "seccomp profile type {other} is not supported: RuntimeDefault and Unconfined are"
        )),
    }
}

fn named<'a>(names: impl Iterator<Item = &'a str>) -> Vec<String> {
    names.map(|name| format!("CAP_{name}")).collect()
}

fn capabilities(add: &[String], drop: &[String]) -> Result<Vec<String>, String> {
    let plain = |name: &String| name.to_uppercase().trim_start_matches("CAP_").to_string();
    let (add, drop): (Vec<String>, Vec<String>) = (
        add.iter().map(plain).collect(),
        drop.iter().map(plain).collect(),
    );
    let unknown = add
        .iter()
        .chain(&drop)
        .find(|name| *name != "ALL" && !ALL.contains(&name.as_str()));
    if let Some(name) = unknown {
        return Err(format!("capability {name} is not known"));
    }
    let has = |list: &[String], name: &str| list.iter().any(|n| n == name);
    let by_default = |name: &str| {
        DEFAULT_CAPABILITIES
            .iter()
            .any(|d| d.trim_start_matches("CAP_") == name)
    };
    let keep = |name: &&&str| {
        let added = has(&add, name) || has(&add, "ALL");
        if has(&drop, "ALL") {
            return has(&add, name);
        }
        (added || by_default(name)) && !has(&drop, name)
    };
    Ok(named(ALL.iter().filter(keep).copied()))
}

fn sysctls(pod: &Pod) -> Result<BTreeMap<String, String>, String> {
    let Some(spec) = &pod.spec else {
        return Ok(BTreeMap::new());
    };
    let list = spec
        .security_context
        .as_ref()
        .and_then(|c| c.sysctls.clone())
        .unwrap_or_default();
    let mut out = BTreeMap::new();
    for sysctl in list {
        let name = sysctl.name.replace('/', ".");
        if !SAFE_SYSCTLS.contains(&name.as_str()) {
            return Err(format!("forbidden sysctl: {name:?} is not allowlisted"));
        }
        if name.starts_with("net.") && spec.host_network == Some(true) {
            return Err(format!(
                "forbidden sysctl: {name:?} not allowed with host net enabled"
            ));
        }
        out.insert(name, sysctl.value);
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn pod(of_pod: Value, own: Value) -> Pod {
        serde_json::from_value(json!({ "metadata": {}, "spec": {
            "securityContext": of_pod, "containers": [{ "name": "c", "securityContext": own }],
        }}))
        .expect("pod")
    }

    fn settings(of_pod: Value, own: Value, image_user: &str) -> Result<Security, String> {
        let pod = pod(of_pod, own);
        effective(
            &pod,
            &pod.spec.as_ref().expect("spec").containers[0],
            image_user,
        )
    }

    #[test]
    fn own_over_pod_over_image() {
        let settings = settings(
            json!({ "runAsUser": 1, "runAsGroup": 2, "fsGroup": 3, "supplementalGroups": [4] }),
            json!({ "runAsUser": 5 }),
            "app",
        )
        .expect("settings");
        assert_eq!((settings.user.as_str(), settings.group), ("5", Some(2)));
        assert_eq!(settings.supplementary, [4, 3]);
        assert_eq!(settings.capabilities.len(), 14);
        assert_eq!(settings.seccomp, Seccomp::Default);
    }

    #[test]
    fn non_root_is_checked_before_anything_starts() {
        let wanted = json!({ "runAsNonRoot": true });
        for (user, good) in [
            ("", false),
            ("0", false),
            ("1000", true),
            ("1000:0", true),
            ("app", false),
        ] {
            assert_eq!(
                settings(wanted.clone(), json!({}), user).is_ok(),
                good,
                "{user:?}"
            );
        }
        assert!(settings(wanted.clone(), json!({ "runAsUser": 0 }), "1000").is_err());
        assert!(settings(wanted, json!({ "runAsUser": 7 }), "").is_ok());
    }

    #[test]
    fn capabilities_are_added_and_dropped() {
        let caps = |add: &[&str], drop: &[&str]| {
            settings(
                json!({}),
                json!({ "capabilities": { "add": add, "drop": drop } }),
                "",
            )
            .map(|s| s.capabilities)
        };
        assert_eq!(
            caps(&["NET_ADMIN"], &["ALL"]),
            Ok(vec!["CAP_NET_ADMIN".into()])
        );
        assert!(
            !caps(&[], &["CAP_CHOWN"])
                .expect("caps")
                .contains(&"CAP_CHOWN".to_string())
        );
        assert_eq!(caps(&["ALL"], &[]).expect("caps").len(), ALL.len());
        assert!(caps(&["FLY"], &[]).is_err());
    }

    #[test]
    fn what_cannot_be_applied_is_refused() {
        assert!(
            settings(
                json!({ "seccompProfile": { "type": "Localhost", "localhostProfile": "x" } }),
                json!({}),
                ""
            )
            .is_err()
        );
        assert!(
            settings(
                json!({ "sysctls": [{ "name": "kernel.msgmax", "value": "1" }] }),
                json!({}),
                ""
            )
            .is_err()
        );
        let safe =
            json!({ "sysctls": [{ "name": "net.ipv4.ip_unprivileged_port_start", "value": "0" }] });
        assert_eq!(
            settings(safe, json!({}), "")
                .expect("settings")
                .sysctls
                .len(),
            1
        );
    }
}
