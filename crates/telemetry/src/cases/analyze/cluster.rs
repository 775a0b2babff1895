//! What is wrong with nodes, quotas, volumes and certificates, and what admission refused.

use super::Snapshot;
use super::pod::{first_seen, mentioned, millis, workload};
use crate::cases::finding::{Finding, Kind, Step};
use crate::ledger::Object;
use k8s_openapi::api::core::v1::{Event, Node, Pod};

/// A volume fuller than this share has a problem.
const FULL: f64 = 0.97;
/// A certificate that ends within this time is told.
const SOON_MS: i64 = 7 * 86_400_000;
/// Use beyond this many times the request is hunger.
const HUNGRY: f64 = 2.0;

pub(super) fn findings(snapshot: &Snapshot) -> Vec<Finding> {
    let mut found: Vec<Finding> = snapshot
        .nodes
        .iter()
        .flat_map(|node| of_node(node))
        .collect();
    found.extend(snapshot.events.iter().filter_map(|event| refusal(event)));
    for (object, end) in &snapshot.certificates {
        let left = end - snapshot.now;
        if left > SOON_MS {
            continue;
        }
        let words = if left <= 0 {
            format!("the certificate ended {} ago", span(-left))
        } else {
            format!("the certificate ends in {}", span(left))
        };
        // One that still holds hurts nobody yet.
        let since = if left <= 0 { *end } else { snapshot.now };
        let mut finding = simple(Kind::Certificate, object.clone(), since, words);
        finding.others_well = left > 0;
        found.push(finding);
    }
    for (object, used, total) in &snapshot.disks {
        if *total > 0 && *used as f64 / *total as f64 >= FULL {
            let words = format!(
                "{used} of {total} bytes are in use ({:.0} %)",
                *used as f64 * 100.0 / *total as f64
            );
            let mut finding = simple(Kind::DiskFull, object.clone(), snapshot.now, words);
            if let Some(pod) = snapshot.pods.iter().find(|pod| mounts(pod, object)) {
                finding.workload = workload(pod);
            }
            found.push(finding);
        }
    }
    for (object, used, asked) in &snapshot.hungry {
        if *used > asked.max(0.1) * HUNGRY {
            let words =
                format!("uses {used:.2} cores, asked for {asked:.2}, on a node that is short");
            found.push(simple(
                Kind::NoisyNeighbour,
                object.clone(),
                snapshot.now,
                words,
            ));
        }
    }
    found
}

pub(crate) fn mounts(pod: &Pod, claim: &Object) -> bool {
    let volumes = pod
        .spec
        .iter()
        .flat_map(|spec| spec.volumes.iter().flatten());
    let mut claims = volumes.filter_map(|volume| volume.persistent_volume_claim.as_ref());
    claim.kind == "PersistentVolumeClaim"
        && pod.metadata.namespace.as_deref() == Some(&claim.namespace)
        && claims.any(|source| source.claim_name == claim.name)
}

fn span(ms: i64) -> String {
    match ms / 60_000 {
        minutes if minutes < 120 => format!("{minutes} minutes"),
        minutes if minutes < 2_880 => format!("{} hours", minutes / 60),
        minutes => format!("{} days", minutes / 1_440),
    }
}

fn simple(kind: Kind, about: Object, since: i64, words: String) -> Finding {
    Finding {
        kind,
        workload: about.clone(),
        container: String::new(),
        mentions: mentioned(&words, &about.namespace),
        since,
        made: 0,
        count: 1,
        others_well: false,
        words,
        steps: vec![Step::Show {
            object: about.clone(),
        }],
        about,
    }
}

fn of_node(node: &Node) -> Vec<Finding> {
    let name = node.metadata.name.clone().unwrap_or_default();
    let about = Object::new("Node", "", &name);
    let conditions = node.status.as_ref().and_then(|s| s.conditions.as_ref());
    let mut found = Vec::new();
    for condition in conditions.into_iter().flatten() {
        let (kind, bad) = match condition.type_.as_str() {
            "Ready" => (Kind::NodeDown, condition.status != "True"),
            "DiskPressure" => (Kind::DiskFull, condition.status == "True"),
            _ => continue,
        };
        if bad {
            let words = condition.message.clone().unwrap_or_default();
            let since = millis(condition.last_transition_time.as_ref());
            found.push(simple(kind, about.clone(), since, words));
        }
    }
    found
}

// Controllers that may not make pods say why: quota, policy, limits.
fn refusal(event: &Event) -> Option<Finding> {
    if event.reason.as_deref() != Some("FailedCreate") {
        return None;
    }
    let message = event.message.clone()?;
    let about = &event.involved_object;
    let object = Object::new(
        about.kind.as_deref().unwrap_or_default(),
        about.namespace.as_deref().unwrap_or_default(),
        about.name.as_deref().unwrap_or_default(),
    );
    let kind = if message.contains("exceeded quota") {
        Kind::Quota
    } else if message.contains("not found") {
        Kind::MissingReference
    } else if message.contains("forbidden") || message.contains("denied") {
        Kind::Denied
    } else {
        return None;
    };
    let since = first_seen(event);
    let mut finding = simple(kind, object.clone(), since, message);
    // A ReplicaSet is its Deployment's: names end in the hash of the template.
    if object.kind == "ReplicaSet"
        && let Some((deployment, _)) = object.name.rsplit_once('-')
    {
        finding.workload = Object::new("Deployment", &object.namespace, deployment);
    }
    Some(finding)
}
