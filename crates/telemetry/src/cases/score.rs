//! How well a change explains what is wrong: lead time, distance, and what the trouble itself
//! names. Figures between 0 and 1, chosen so that a change that the trouble names beats one that
//! was merely near in time.

use super::cause::{Symptom, SymptomKind};
use super::finding::{Finding, Kind};
use crate::ledger::{Change, ChangeKind, Object};

/// Clocks of objects differ by a second or so, and a symptom is seen after it began.
pub(super) const SKEW_MS: i64 = 5_000;
/// After this time the chance that a change is to blame has fallen to a third.
const FADE_MS: f64 = 30.0 * 60_000.0;
/// The same where memory has to fill first.
const SLOW_FADE_MS: f64 = 6.0 * 3_600_000.0;
/// A change older than this is not blamed.
const WINDOW_MS: i64 = 24 * 3_600_000;

/// What lies between two workloads, as far as it is known.
pub(super) fn distance(from: &Object, to: &Object, calls: &[(Object, Object)]) -> Option<u32> {
    if from == to {
        return Some(0);
    }
    let mut reached = vec![from];
    for step in 1..=3 {
        let next: Vec<&Object> = calls
            .iter()
            .filter(|(caller, _)| reached.contains(&caller))
            .map(|(_, called)| called)
            .collect();
        if next.contains(&to) {
            return Some(step);
        }
        reached = next;
    }
    None
}

/// How likely a change at `change` shows at `symptom` by its time alone.
fn lead(change: i64, symptom: i64, fade_ms: f64) -> f64 {
    let passed = symptom - change;
    if !(-SKEW_MS..=WINDOW_MS).contains(&passed) {
        return 0.0;
    }
    // Never quite nothing within the window: what a change broke may show at the next restart.
    (-(passed.max(0) as f64) / fade_ms).exp().max(0.15)
}

/// How well a change explains a finding; 0 where it cannot.
pub(super) fn explains(change: &Change, finding: &Finding) -> f64 {
    let touches = |object: &Object| &change.object == object || change.touched.contains(object);
    let named = finding.mentions.iter().any(touches);
    // Pods that were made before the change do not run it, unless it reaches into them.
    let fresh = finding.made + SKEW_MS >= change.at;
    let link = match change.kind {
        ChangeKind::Deploy if touches(&finding.workload) => match (fresh, finding.kind) {
            (_, Kind::NodeDown | Kind::NoisyNeighbour) => 0.1,
            (true, _) => 0.95,
            (false, _) => 0.1,
        },
        ChangeKind::Config if named => 1.0,
        ChangeKind::Config if touches(&finding.about) || touches(&finding.workload) => {
            match finding.kind {
                Kind::CrashLoop | Kind::ProbeFailing | Kind::Unready | Kind::UnknownName => 0.85,
                Kind::Certificate | Kind::MissingReference => 0.85,
                // Settings seldom make memory grow.
                Kind::OutOfMemory => 0.4,
                _ => 0.1,
            }
        }
        ChangeKind::Scale if touches(&finding.workload) => match finding.kind {
            Kind::Unschedulable | Kind::Quota | Kind::NoisyNeighbour => 0.9,
            _ => 0.2,
        },
        ChangeKind::Policy if finding.kind == Kind::Denied || finding.kind == Kind::Quota => 0.9,
        ChangeKind::Access if finding.kind == Kind::Denied => 0.9,
        // What was tested, and who is told, changes nothing that runs.
        ChangeKind::Run | ChangeKind::Silence => 0.0,
        ChangeKind::Node if finding.kind == Kind::NodeDown && touches(&finding.about) => 0.9,
        _ if named => 0.9,
        _ if touches(&finding.workload) => 0.5,
        _ => 0.0,
    };
    let fade = match finding.kind {
        Kind::OutOfMemory => SLOW_FADE_MS,
        _ => FADE_MS,
    };
    let lead = lead(change.at, finding.since, fade);
    // What the trouble names explains it however long ago it was.
    let lead = if named && lead > 0.0 {
        lead.max(0.6)
    } else {
        lead
    };
    link * lead
}

/// How well a change explains a symptom that no object shows: errors, slowness, a leak.
pub(super) fn fits(change: &Change, symptom: &Symptom, calls: &[(Object, Object)]) -> f64 {
    let near = |object: &Object| distance(&symptom.workload, object, calls);
    let closest = std::iter::once(&change.object)
        .chain(&change.touched)
        .filter_map(near)
        .min();
    let Some(steps) = closest else {
        return 0.0;
    };
    let link = match (change.kind, symptom.kind) {
        (ChangeKind::Deploy, _) => 0.9,
        (ChangeKind::Config, SymptomKind::Leak) => 0.4,
        (ChangeKind::Config | ChangeKind::Policy, _) => 0.8,
        (ChangeKind::Scale, SymptomKind::Latency) => 0.7,
        (ChangeKind::Scale | ChangeKind::Node, _) => 0.3,
        (ChangeKind::Access, _) => 0.5,
        (ChangeKind::Manual, _) => 0.6,
        (ChangeKind::Namespace | ChangeKind::Run | ChangeKind::Silence, _) => 0.0,
    };
    let fade = match symptom.kind {
        SymptomKind::Leak => SLOW_FADE_MS,
        _ => FADE_MS,
    };
    let near = 0.5_f64.powi(i32::try_from(steps).unwrap_or(3));
    link * near * lead(change.at, symptom.since, fade)
}
