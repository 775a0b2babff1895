//! As whom, with which rights and under which profiles processes run.

use super::{Finding, Pod, finding, list, named, plural, quoted, setters, text};
use serde_json::Value;
use std::collections::BTreeSet;

pub(super) fn app_armor(pod: &Pod<'_>) -> Option<Finding> {
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

pub(super) fn added_capabilities(pod: &Pod<'_>) -> Option<Finding> {
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

pub(super) fn dropped_capabilities(pod: &Pod<'_>) -> Option<Finding> {
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

pub(super) fn se_linux(pod: &Pod<'_>) -> Option<Finding> {
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

pub(super) fn seccomp_baseline(pod: &Pod<'_>) -> Option<Finding> {
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

pub(super) fn seccomp_restricted(pod: &Pod<'_>) -> Option<Finding> {
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

pub(super) fn escalation(pod: &Pod<'_>) -> Option<Finding> {
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

pub(super) fn non_root(pod: &Pod<'_>) -> Option<Finding> {
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

pub(super) fn user(pod: &Pod<'_>) -> Option<Finding> {
    if pod.has_own_users() {
        return None;
    }
    let root = |context: &Value| context["runAsUser"] == 0;
    let whole = root(&pod.spec["securityContext"]);
    let containers = pod.bad(|container| root(&container["securityContext"]));
    let who = setters(whole, &containers)?;
    finding("runAsUser=0", format!("{who} must not set runAsUser=0"))
}
