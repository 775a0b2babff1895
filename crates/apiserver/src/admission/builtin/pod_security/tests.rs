//! What the levels say about a few pods, in upstream's words.

use super::checks::run;
use super::policy::{Level, Policy};
use super::show;
use serde_json::{Value, json};

fn judge(level: Level, minor: Option<u32>, spec: &Value) -> String {
    show(&run(Policy { level, minor }, &Value::Null, spec))
}

#[test]
fn a_plain_pod_is_fine_for_baseline_only() {
    let spec = json!({"containers": [{"name": "c", "image": "i"}]});
    assert_eq!(judge(Level::Privileged, None, &spec), "");
    assert_eq!(judge(Level::Baseline, None, &spec), "");
    assert_eq!(
        judge(Level::Restricted, None, &spec),
        "allowPrivilegeEscalation != false (container \"c\" must set securityContext.allowPrivilegeEscalation=false), unrestricted capabilities (container \"c\" must set securityContext.capabilities.drop=[\"ALL\"]), runAsNonRoot != true (pod or container \"c\" must set securityContext.runAsNonRoot=true), seccompProfile (pod or container \"c\" must set securityContext.seccompProfile.type to \"RuntimeDefault\" or \"Localhost\")"
    );
}

#[test]
fn what_baseline_forbids() {
    let spec = json!({"hostNetwork": true, "hostPID": true,
        "volumes": [{"name": "a", "hostPath": {"path": "/"}}],
        "securityContext": {"sysctls": [{"name": "kernel.msgmax", "value": "1"}], "seLinuxOptions": {"type": "x", "user": "u"}},
        "containers": [
            {"name": "c", "ports": [{"hostPort": 80}], "securityContext": {"privileged": true, "capabilities": {"add": ["NET_ADMIN", "CHOWN"]}}},
            {"name": "d", "ports": [{"hostPort": 443}], "securityContext": {"procMount": "Unmasked", "seccompProfile": {"type": "Unconfined"}},
             "livenessProbe": {"httpGet": {"host": "h"}}}]});
    assert_eq!(
        judge(Level::Baseline, None, &spec),
        "non-default capabilities (container \"c\" must not include \"NET_ADMIN\" in securityContext.capabilities.add), host namespaces (hostNetwork=true, hostPID=true), hostPath volumes (volume \"a\"), hostPort (containers \"c\", \"d\" use hostPorts 443, 80), probe or lifecycle host (container \"d\" uses probe or lifecycle host \"h\"), privileged (container \"c\" must not set securityContext.privileged=true), procMount (container \"d\" must not set securityContext.procMount to \"Unmasked\"), seLinuxOptions (pod set forbidden securityContext.seLinuxOptions: type \"x\"; user may not be set), seccompProfile (container \"d\" must not set securityContext.seccompProfile.type to \"Unconfined\"), forbidden sysctls (kernel.msgmax)"
    );
}

#[test]
fn older_releases_know_less() {
    let spec = json!({"containers": [{"name": "c", "image": "i"}]});
    assert_eq!(
        judge(Level::Restricted, Some(7), &spec),
        "runAsNonRoot != true (pod or container \"c\" must set securityContext.runAsNonRoot=true)"
    );
    let volumes = json!({"volumes": [{"name": "a", "hostPath": {}}, {"name": "b", "nfs": {}}, {"name": "c", "emptyDir": {}}]});
    assert_eq!(
        judge(Level::Restricted, Some(7), &volumes),
        "restricted volume types (volumes \"a\", \"b\" use restricted volume types \"hostPath\", \"nfs\")"
    );
}

#[test]
fn a_hardened_pod_is_fine() {
    let spec = json!({
        "securityContext": {"runAsNonRoot": true, "seccompProfile": {"type": "RuntimeDefault"}},
        "containers": [{"name": "c", "securityContext": {"allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]}}}]});
    assert_eq!(judge(Level::Restricted, None, &spec), "");
}
