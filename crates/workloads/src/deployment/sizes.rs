//! How large each replica set of a deployment may be: surge and unavailability with their exact
//! rounding, and proportional scaling.

use super::revision::{DESIRED_REPLICAS, MAX_REPLICAS, number};
use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet, RollingUpdateDeployment};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

/// Wanted replicas; one where not said.
pub(crate) fn wanted(deployment: &Deployment) -> i32 {
    deployment
        .spec
        .as_ref()
        .and_then(|s| s.replicas)
        .unwrap_or(1)
}

/// Replicas a replica set is told to have.
pub(crate) fn told(set: &ReplicaSet) -> i32 {
    set.spec.as_ref().and_then(|s| s.replicas).unwrap_or(1)
}

/// Replicas a replica set reports available.
pub(crate) fn available(set: &ReplicaSet) -> i32 {
    set.status
        .as_ref()
        .and_then(|s| s.available_replicas)
        .unwrap_or(0)
}

/// Whether the strategy is to roll; the default.
pub(crate) fn is_rolling(deployment: &Deployment) -> bool {
    strategy_type(deployment) != Some("Recreate")
}

fn strategy_type(deployment: &Deployment) -> Option<&str> {
    deployment
        .spec
        .as_ref()?
        .strategy
        .as_ref()?
        .type_
        .as_deref()
}

/// A number or percentage of `total`; percentages round up or down as asked, and what cannot be
/// read counts as the default of 25 %.
pub(crate) fn resolve(value: Option<&IntOrString>, total: i32, round_up: bool) -> i32 {
    let percent = match value {
        Some(IntOrString::Int(number)) => return (*number).max(0),
        Some(IntOrString::String(text)) => text
            .strip_suffix('%')
            .and_then(|t| t.parse::<i64>().ok())
            .filter(|p| *p >= 0)
            .unwrap_or(25),
        None => 25,
    };
    let hundredths = percent * i64::from(total);
    let value = if round_up {
        (hundredths + 99) / 100
    } else {
        hundredths / 100
    };
    i32::try_from(value).unwrap_or(i32::MAX)
}

/// `(surge, unavailable)` in pods. Both zero would never move, so then one may be unavailable.
fn fenceposts(deployment: &Deployment) -> (i32, i32) {
    let strategy = deployment.spec.as_ref().and_then(|s| s.strategy.as_ref());
    let rolling = strategy.and_then(|s| s.rolling_update.as_ref());
    let field = |get: fn(&RollingUpdateDeployment) -> Option<&IntOrString>| rolling.and_then(get);
    let surge = resolve(field(|r| r.max_surge.as_ref()), wanted(deployment), true);
    let unavailable = resolve(
        field(|r| r.max_unavailable.as_ref()),
        wanted(deployment),
        false,
    );
    if surge == 0 && unavailable == 0 {
        (0, 1)
    } else {
        (surge, unavailable)
    }
}

/// Pods allowed above the wanted number during a rolling update.
pub(crate) fn max_surge(deployment: &Deployment) -> i32 {
    if is_rolling(deployment) {
        fenceposts(deployment).0
    } else {
        0
    }
}

/// Pods allowed to be unavailable during a rolling update.
pub(crate) fn max_unavailable(deployment: &Deployment) -> i32 {
    if !is_rolling(deployment) || wanted(deployment) == 0 {
        return 0;
    }
    fenceposts(deployment).1.min(wanted(deployment))
}

/// Size of the new replica set next, given what all sets are told to have together.
pub(crate) fn next_new_size(deployment: &Deployment, all_told: i32, new_told: i32) -> i32 {
    let wanted = wanted(deployment);
    if !is_rolling(deployment) {
        return wanted;
    }
    let room = wanted.saturating_add(max_surge(deployment)) - all_told;
    if room <= 0 {
        return new_told;
    }
    new_told + room.min(wanted - new_told)
}

/// How much of `to_add` (perhaps negative) this set takes when `added` is spread already, so
/// that sets keep their proportions.
pub(crate) fn proportion(
    set: &ReplicaSet,
    deployment: &Deployment,
    to_add: i32,
    added: i32,
) -> i32 {
    if told(set) == 0 || to_add == 0 || to_add == added {
        return 0;
    }
    let fraction = fraction(set, deployment);
    let allowed = to_add - added;
    if to_add > 0 {
        fraction.min(allowed)
    } else {
        fraction.max(allowed)
    }
}

fn fraction(set: &ReplicaSet, deployment: &Deployment) -> i32 {
    if wanted(deployment) == 0 {
        return -told(set);
    }
    let reported = deployment
        .status
        .as_ref()
        .and_then(|s| s.replicas)
        .unwrap_or(0);
    let before = number(&set.metadata, MAX_REPLICAS)
        .filter(|n| *n > 0)
        .unwrap_or(i64::from(reported));
    if before <= 0 {
        return 0;
    }
    let now = i64::from(wanted(deployment)) + i64::from(max_surge(deployment));
    // Rounds half away from zero; both factors are positive.
    let size = (i64::from(told(set)) * now * 2 + before) / (before * 2);
    i32::try_from(size).unwrap_or(i32::MAX) - told(set)
}

/// Whether the new set alone carries the whole deployment, at its present size.
pub(crate) fn is_saturated(deployment: &Deployment, new: Option<&ReplicaSet>) -> bool {
    let wanted = wanted(deployment);
    new.is_some_and(|set| {
        number(&set.metadata, DESIRED_REPLICAS) == Some(i64::from(wanted))
            && told(set) == wanted
            && available(set) == wanted
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn deployment(replicas: i32, surge: &str, unavailable: &str) -> Deployment {
        serde_json::from_value(serde_json::json!({
            "spec": {
                "replicas": replicas, "selector": {}, "template": {},
                "strategy": {"type": "RollingUpdate", "rollingUpdate": {
                    "maxSurge": serde_json::from_str::<serde_json::Value>(surge).expect("surge"),
                    "maxUnavailable": serde_json::from_str::<serde_json::Value>(unavailable).expect("unavailable"),
                }}
            }
        }))
        .expect("deployment")
    }

    #[test]
    fn surge_rounds_up_and_unavailability_down() {
        for (replicas, surge, unavailable, expected) in [
            (1, "\"25%\"", "\"25%\"", (1, 0)),
            (3, "\"25%\"", "\"25%\"", (1, 0)),
            (4, "\"25%\"", "\"25%\"", (1, 1)),
            (10, "\"25%\"", "\"25%\"", (3, 2)),
            (10, "0", "\"5%\"", (0, 1)),
            (10, "0", "0", (0, 1)),
            (2, "1", "5", (1, 2)),
            (0, "\"25%\"", "\"25%\"", (0, 0)),
        ] {
            let d = deployment(replicas, surge, unavailable);
            assert_eq!(
                (max_surge(&d), max_unavailable(&d)),
                expected,
                "{replicas} {surge} {unavailable}"
            );
        }
    }

    #[test]
    fn the_new_set_grows_into_the_room_that_is_left() {
        let d = deployment(10, "2", "0");
        assert_eq!(next_new_size(&d, 10, 0), 2);
        assert_eq!(next_new_size(&d, 12, 2), 2);
        assert_eq!(next_new_size(&d, 5, 3), 10);
    }
}
