//! May it go, and did it arrive? Pure.

use crate::environment::age;
use kube::ResourceExt;
use std::sync::Arc;
use towpath_kit::kinds::{
    Application, Environment, Promotion, PromotionGate, PromotionPhase, Release,
};

/// What the gates are asked with.
pub(crate) struct Snapshot<'a> {
    pub(crate) promotion: &'a Promotion,
    pub(crate) environment: Option<&'a Environment>,
    pub(crate) releases: &'a [Arc<Release>],
    /// Other promotions into the same environment.
    pub(crate) siblings: &'a [Arc<Promotion>],
    /// All environments of the project.
    pub(crate) environments: &'a [Arc<Environment>],
    /// All promotions of the project.
    pub(crate) promotions: &'a [Arc<Promotion>],
}

/// Whether to act.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    Go,
    Stay,
}

/// What to say, and whether to act.
#[derive(Clone, Debug)]
pub(crate) struct Verdict {
    pub(crate) answer: Answer,
    pub(crate) phase: PromotionPhase,
    pub(crate) message: String,
    pub(crate) gates: Vec<PromotionGate>,
    pub(crate) release: String,
}

fn phase(promotion: &Promotion) -> PromotionPhase {
    promotion
        .status
        .as_ref()
        .map(|s| s.phase)
        .unwrap_or_default()
}

fn stay(phase: PromotionPhase, message: impl Into<String>) -> Verdict {
    Verdict {
        answer: Answer::Stay,
        phase,
        message: message.into(),
        gates: Vec::new(),
        release: String::new(),
    }
}

/// Asks every gate. Newer freight supersedes waiting, never running.
pub(crate) fn decide(snapshot: &Snapshot<'_>) -> Verdict {
    let promotion = snapshot.promotion;
    let spec = &promotion.spec;
    if spec.cancel {
        return stay(PromotionPhase::Cancelled, "withdrawn");
    }
    let Some(environment) = snapshot.environment else {
        return stay(
            PromotionPhase::Waiting,
            format!("environment {} does not exist", spec.environment),
        );
    };
    let rollback = spec.goes_back();
    if rollback && spec.reason.trim().is_empty() {
        return stay(PromotionPhase::Refused, "a rollback needs a reason");
    }
    let name = if spec.release.is_empty() {
        before(snapshot, environment)
    } else {
        Some(spec.release.clone())
    };
    let Some(name) = name else {
        return stay(
            PromotionPhase::Refused,
            format!(
                "no earlier release was healthy in {}",
                environment.spec.stage
            ),
        );
    };
    let Some(release) = snapshot.releases.iter().find(|r| r.name_any() == name) else {
        return Verdict {
            release: name.clone(),
            ..stay(
                PromotionPhase::Waiting,
                format!("release {name} does not exist"),
            )
        };
    };
    let mine = age(promotion);
    let newer = snapshot
        .siblings
        .iter()
        .find(|p| !phase(p).is_final() && phase(p) != PromotionPhase::Deploying && age(p) > mine);
    if let Some(newer) = newer {
        let message = format!("{} came after it", newer.name_any());
        return Verdict {
            release: name,
            ..stay(PromotionPhase::Superseded, message)
        };
    }
    let gates = vec![
        hold(release),
        own_gates(release),
        repository(release, environment),
        after(snapshot, environment, &name, rollback),
        approvals(promotion, environment, rollback),
    ];
    let first = |answer: &str| gates.iter().find(|g| g.answer == answer);
    if let Some(gate) = first("fail") {
        let message = gate.message.clone();
        return Verdict {
            answer: Answer::Stay,
            phase: PromotionPhase::Refused,
            message,
            gates,
            release: name,
        };
    }
    if let Some(gate) = first("wait") {
        let phase = if gate.name == "approvals" {
            PromotionPhase::WaitingForApproval
        } else {
            PromotionPhase::Waiting
        };
        let message = gate.message.clone();
        return Verdict {
            answer: Answer::Stay,
            phase,
            message,
            gates,
            release: name,
        };
    }
    if let Some(running) = snapshot
        .siblings
        .iter()
        .find(|p| phase(p) == PromotionPhase::Deploying)
    {
        // A rollback does not wait for what it takes back.
        if !rollback {
            let message = format!("waiting until {} has ended", running.name_any());
            return Verdict {
                answer: Answer::Stay,
                phase: PromotionPhase::Waiting,
                message,
                gates,
                release: name,
            };
        }
    }
    Verdict {
        answer: Answer::Go,
        phase: PromotionPhase::Deploying,
        message: String::new(),
        gates,
        release: name,
    }
}

// The last release that was healthy here before the present one, and may still be used.
fn before(snapshot: &Snapshot<'_>, environment: &Environment) -> Option<String> {
    let status = environment.status.as_ref()?;
    let usable = |name: &str| {
        snapshot
            .releases
            .iter()
            .any(|r| r.name_any() == name && r.spec.hold.is_none())
    };
    let healthy = status.history.iter().filter(|d| d.outcome == "Succeeded");
    healthy
        .map(|d| &d.release)
        .find(|name| **name != status.release && usable(name))
        .cloned()
}

fn gate(name: &str, answer: &str, message: String) -> PromotionGate {
    PromotionGate {
        name: name.into(),
        answer: answer.into(),
        message,
    }
}

fn hold(release: &Release) -> PromotionGate {
    match &release.spec.hold {
        Some(hold) => gate(
            "hold",
            "fail",
            format!("{} is on hold: {}", release.name_any(), hold.reason),
        ),
        None => gate("hold", "pass", "the release is not on hold".into()),
    }
}

fn own_gates(release: &Release) -> PromotionGate {
    match release.spec.gates.iter().find(|g| !g.passed) {
        Some(failed) => gate(
            "gates",
            "fail",
            format!("gate {} did not pass: {}", failed.gate, failed.message),
        ),
        None => gate(
            "gates",
            "pass",
            format!("{} gates passed", release.spec.gates.len()),
        ),
    }
}

fn repository(release: &Release, environment: &Environment) -> PromotionGate {
    if release.spec.repository == environment.spec.repository {
        return gate(
            "repository",
            "pass",
            format!("both belong to {}", release.spec.repository),
        );
    }
    let message = format!(
        "{} belongs to {}, not to {}",
        release.name_any(),
        release.spec.repository,
        environment.spec.repository
    );
    gate("repository", "fail", message)
}

fn after(
    snapshot: &Snapshot<'_>,
    environment: &Environment,
    release: &str,
    rollback: bool,
) -> PromotionGate {
    let stage = &environment.spec.promotion.after;
    if stage.is_empty() {
        return gate("after", "pass", "no other environment comes first".into());
    }
    if rollback {
        return gate("after", "pass", "it has run here before".into());
    }
    let first = snapshot
        .environments
        .iter()
        .find(|e| e.spec.stage == *stage && e.spec.repository == environment.spec.repository);
    let Some(first) = first else {
        return gate(
            "after",
            "wait",
            format!(
                "there is no environment {stage} for {}",
                environment.spec.repository
            ),
        );
    };
    let name = first.name_any();
    let there = |p: &&Arc<Promotion>| {
        p.spec.environment == name && p.status.as_ref().is_some_and(|s| s.release == release)
    };
    let healthy = snapshot
        .promotions
        .iter()
        .filter(there)
        .any(|p| phase(p) == PromotionPhase::Succeeded)
        || first
            .status
            .iter()
            .flat_map(|s| &s.history)
            .any(|d| d.release == release && d.outcome == "Succeeded");
    if healthy {
        return gate("after", "pass", format!("it was healthy in {stage}"));
    }
    let last = snapshot
        .promotions
        .iter()
        .filter(there)
        .max_by_key(|p| age(p));
    match last.map(|p| phase(p)) {
        Some(PromotionPhase::Failed) => gate(
            "after",
            "wait",
            format!("it failed in {stage}; it must be healthy there first"),
        ),
        Some(PromotionPhase::Deploying) => {
            gate("after", "wait", format!("it is being deployed to {stage}"))
        }
        _ => gate(
            "after",
            "wait",
            format!("it must be healthy in {stage} first"),
        ),
    }
}

fn approvals(promotion: &Promotion, environment: &Environment, rollback: bool) -> PromotionGate {
    let needed = environment.spec.promotion.approvals as usize;
    if needed == 0 {
        return gate("approvals", "pass", "nobody has to approve".into());
    }
    if rollback {
        return gate("approvals", "pass", "going back needs no approval".into());
    }
    let mut people: Vec<&str> = promotion
        .spec
        .approvals
        .iter()
        .map(|a| a.by.as_str())
        .filter(|by| !by.is_empty())
        .collect();
    let own = people.contains(&promotion.spec.by.as_str())
        && environment.spec.promotion.prevent_self_approval;
    if own {
        people.retain(|by| *by != promotion.spec.by);
    }
    people.sort_unstable();
    people.dedup();
    if people.len() >= needed {
        return gate(
            "approvals",
            "pass",
            format!("approved by {}", people.join(", ")),
        );
    }
    let message = format!(
        "{} of {needed} approvals; `towpath approve {}` gives one",
        people.len(),
        promotion.name_any()
    );
    let message = match own {
        true => format!(
            "{message}; that of {} does not count, who asked for it",
            promotion.spec.by
        ),
        false => message,
    };
    gate("approvals", "wait", message)
}

/// How a deployment goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Wait(String),
    Succeeded,
    Failed(String),
}

/// Who took the place of a deployment that is under way: a promotion into the same environment
/// that began later and has written its commit. The branch has moved on then, and nothing will
/// be said about the older commit any more.
pub(crate) fn overtaken_by<'a>(
    promotion: &Promotion,
    others: &'a [Arc<Promotion>],
) -> Option<&'a Promotion> {
    let began = |p: &Promotion| p.status.as_ref().and_then(|s| s.started_at.clone());
    let own = began(promotion)?;
    others.iter().map(Arc::as_ref).find(|other| {
        let wrote = other
            .status
            .as_ref()
            .is_some_and(|s| !s.revision.is_empty());
        wrote
            && other.spec.environment == promotion.spec.environment
            && other.metadata.name != promotion.metadata.name
            && began(other).is_some_and(|theirs| theirs > own)
    })
}

/// What that is judged by.
pub(crate) struct Progress<'a> {
    pub(crate) app: Option<&'a Application>,
    /// Commit on the environment's branch.
    pub(crate) revision: &'a str,
    /// Seconds since the start, and the most it may take.
    pub(crate) elapsed: u64,
    pub(crate) limit: u64,
    /// What a pod of this deployment cannot get over by itself.
    pub(crate) trouble: Option<String>,
}

/// Judges. Only what the application says about this very commit counts.
pub(crate) fn outcome(progress: &Progress<'_>) -> Outcome {
    let status = progress
        .app
        .and_then(|app| app.status.as_ref())
        .filter(|s| s.sync.revision == progress.revision);
    let late = |waiting: String| {
        if progress.elapsed >= progress.limit {
            Outcome::Failed(format!("not healthy after {} s: {waiting}", progress.limit))
        } else {
            Outcome::Wait(waiting)
        }
    };
    let Some(status) = status else {
        return late("waiting for the application to see the commit".into());
    };
    if let Some(condition) = status
        .conditions
        .iter()
        .find(|c| matches!(c.type_.as_str(), "ComparisonError" | "InvalidSpecError"))
    {
        return Outcome::Failed(format!("it cannot be rendered: {}", condition.message));
    }
    let operation = status
        .operation_state
        .as_ref()
        .filter(|o| o.revision == progress.revision);
    let Some(operation) = operation else {
        return late("waiting for the sync to start".into());
    };
    match operation.phase.as_str() {
        "Failed" | "Error" => {
            return Outcome::Failed(format!("it could not be applied: {}", operation.message));
        }
        "Running" => {
            if let Some(trouble) = &progress.trouble {
                return Outcome::Failed(trouble.clone());
            }
            let words = if operation.message.is_empty() {
                "applying"
            } else {
                &operation.message
            };
            return late(words.to_string());
        }
        _ => {}
    }
    // What the release no longer has may take its time to go.
    let applied = match status.sync.status.as_str() {
        "Synced" => true,
        "OutOfSync" => status
            .resources
            .iter()
            .all(|resource| resource.status == "Synced" || resource.requires_pruning),
        _ => false,
    };
    match status.health.status.as_str() {
        "Healthy" if applied => Outcome::Succeeded,
        "Healthy" => late("something differs from the source".into()),
        "Degraded" => Outcome::Failed(format!("it is degraded: {}", status.health.message)),
        word => match &progress.trouble {
            Some(trouble) => Outcome::Failed(trouble.clone()),
            None => late(format!("{word}: {}", status.health.message)),
        },
    }
}

#[cfg(test)]
mod tests;
