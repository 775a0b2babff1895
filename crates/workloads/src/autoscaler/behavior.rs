//! How fast and how steadily: stabilisation windows and scaling policies.

use k8s_openapi::api::autoscaling::v2::{
    HPAScalingPolicy, HPAScalingRules, HorizontalPodAutoscalerSpec,
};
use std::collections::VecDeque;
use std::time::{Duration, Instant};

const DEFAULT_DOWN_WINDOW: i32 = 300;

/// What was recommended and done before, per autoscaler.
#[derive(Default)]
pub(crate) struct History {
    recommendations: VecDeque<(Instant, i32)>,
    ups: VecDeque<(Instant, i32)>,
    downs: VecDeque<(Instant, i32)>,
}

/// The outcome, and why it differs from what was wished.
#[derive(Debug, PartialEq)]
pub(crate) struct Settled {
    pub(crate) replicas: i32,
    /// Reason and message where a window held the number.
    pub(crate) stabilized: Option<(&'static str, &'static str)>,
    /// Reason and message where a bound or rate cut it.
    pub(crate) limited: Option<(&'static str, &'static str)>,
}

fn policies(
    rules: Option<&HPAScalingRules>,
    default: &[(&str, i32, i32)],
) -> Vec<HPAScalingPolicy> {
    match rules
        .and_then(|r| r.policies.clone())
        .filter(|p| !p.is_empty())
    {
        Some(policies) => policies,
        None => default
            .iter()
            .map(|(type_, value, period)| HPAScalingPolicy {
                type_: (*type_).into(),
                value: *value,
                period_seconds: *period,
            })
            .collect(),
    }
}

fn window(rules: Option<&HPAScalingRules>, default: i32) -> Duration {
    let seconds = rules
        .and_then(|r| r.stabilization_window_seconds)
        .unwrap_or(default);
    Duration::from_secs(u64::try_from(seconds).unwrap_or(0))
}

impl History {
    /// Turns a wish into what may be done now.
    pub(crate) fn settle(
        &mut self,
        spec: &HorizontalPodAutoscalerSpec,
        current: i32,
        wish: i32,
        now: Instant,
    ) -> Settled {
        let behavior = spec.behavior.as_ref();
        let (up, down) = (
            behavior.and_then(|b| b.scale_up.as_ref()),
            behavior.and_then(|b| b.scale_down.as_ref()),
        );
        let (up_window, down_window) = (window(up, 0), window(down, DEFAULT_DOWN_WINDOW));
        self.forget(now, spec, up_window.max(down_window));
        let stable = self.stabilise(current, wish, up_window, down_window, now);
        self.recommendations.push_back((now, wish));
        let stabilized = (stable != wish).then_some(if stable > wish {
            ("ScaleDownStabilized", "recent recommendations were higher than current one, applying the highest recent recommendation")
        } else {
            ("ScaleUpStabilized", "recent recommendations were lower than current one, applying the lowest recent recommendation")
        });
        let (replicas, limited) = self.limit(spec, current, stable, now);
        Settled {
            replicas,
            stabilized,
            limited,
        }
    }

    /// Remembers a change that was made.
    pub(crate) fn changed(&mut self, from: i32, to: i32, now: Instant) {
        if to > from {
            self.ups.push_back((now, to - from));
        } else if to < from {
            self.downs.push_back((now, from - to));
        }
    }

    fn forget(&mut self, now: Instant, spec: &HorizontalPodAutoscalerSpec, window: Duration) {
        let behavior = spec.behavior.as_ref();
        let rules = [
            behavior.and_then(|b| b.scale_up.as_ref()),
            behavior.and_then(|b| b.scale_down.as_ref()),
        ];
        let longest = rules
            .iter()
            .flatten()
            .flat_map(|r| r.policies.iter().flatten())
            .map(|p| p.period_seconds)
            .max()
            .unwrap_or(0)
            .max(15);
        let longest = Duration::from_secs(u64::try_from(longest).unwrap_or(15));
        let keep = |list: &mut VecDeque<(Instant, i32)>, for_: Duration| {
            while list
                .front()
                .is_some_and(|(at, _)| now.duration_since(*at) > for_)
            {
                list.pop_front();
            }
        };
        keep(&mut self.recommendations, window);
        keep(&mut self.ups, longest);
        keep(&mut self.downs, longest);
    }

    // Up only as far as the lowest recent wish, down only as far as the highest.
    fn stabilise(
        &self,
        current: i32,
        wish: i32,
        up: Duration,
        down: Duration,
        now: Instant,
    ) -> i32 {
        let within = |window: Duration| {
            self.recommendations
                .iter()
                .filter(move |(at, _)| now.duration_since(*at) < window)
                .map(|(_, n)| *n)
        };
        let lowest = within(up).fold(wish, i32::min);
        let highest = within(down).fold(wish, i32::max);
        let mut stable = current;
        if stable < lowest {
            stable = lowest;
        }
        if stable > highest {
            stable = highest;
        }
        stable
    }

    fn limit(
        &self,
        spec: &HorizontalPodAutoscalerSpec,
        current: i32,
        wish: i32,
        now: Instant,
    ) -> (i32, Option<(&'static str, &'static str)>) {
        let behavior = spec.behavior.as_ref();
        let least = spec.min_replicas.unwrap_or(1);
        if wish > current {
            let rules = behavior.and_then(|b| b.scale_up.as_ref());
            let rate = self.up_limit(rules, current, now);
            let (most, why) = if rate < spec.max_replicas {
                (
                    rate,
                    (
                        "ScaleUpLimit",
                        "the desired replica count is increasing faster than the maximum scale rate",
                    ),
                )
            } else {
                (
                    spec.max_replicas,
                    (
                        "TooManyReplicas",
                        "the desired replica count is more than the maximum replica count",
                    ),
                )
            };
            if wish > most {
                return (most.max(least.min(spec.max_replicas)), Some(why));
            }
        } else if wish < current {
            let rules = behavior.and_then(|b| b.scale_down.as_ref());
            let rate = self.down_limit(rules, current, now);
            let (floor, why) = if rate > least {
                (
                    rate,
                    (
                        "ScaleDownLimit",
                        "the desired replica count is decreasing faster than the maximum scale rate",
                    ),
                )
            } else {
                (
                    least,
                    (
                        "TooFewReplicas",
                        "the desired replica count is less than the minimum replica count",
                    ),
                )
            };
            if wish < floor {
                return (floor, Some(why));
            }
        }
        if wish > spec.max_replicas {
            let why = (
                "TooManyReplicas",
                "the desired replica count is more than the maximum replica count",
            );
            return (spec.max_replicas, Some(why));
        }
        if wish < least {
            return (
                least,
                Some((
                    "TooFewReplicas",
                    "the desired replica count is less than the minimum replica count",
                )),
            );
        }
        (wish, None)
    }

    fn sum(events: &VecDeque<(Instant, i32)>, period_seconds: i32, now: Instant) -> i32 {
        let period = Duration::from_secs(u64::try_from(period_seconds).unwrap_or(0));
        events
            .iter()
            .filter(|(at, _)| now.duration_since(*at) < period)
            .map(|(_, n)| *n)
            .sum()
    }

    fn up_limit(&self, rules: Option<&HPAScalingRules>, current: i32, now: Instant) -> i32 {
        let limits = policies(rules, &[("Pods", 4, 15), ("Percent", 100, 15)])
            .into_iter()
            .map(|p| {
                let added = Self::sum(&self.ups, p.period_seconds, now);
                let removed = Self::sum(&self.downs, p.period_seconds, now);
                let start = i64::from(current - added + removed);
                let limit = match p.type_.as_str() {
                    "Percent" => (start * (100 + i64::from(p.value)) + 99) / 100,
                    _ => start + i64::from(p.value),
                };
                i32::try_from(limit).unwrap_or(i32::MAX)
            });
        match rules.and_then(|r| r.select_policy.as_deref()) {
            Some("Disabled") => current,
            Some("Min") => limits.min().unwrap_or(current),
            _ => limits.max().unwrap_or(current),
        }
    }

    fn down_limit(&self, rules: Option<&HPAScalingRules>, current: i32, now: Instant) -> i32 {
        let limits = policies(rules, &[("Percent", 100, 15)])
            .into_iter()
            .map(|p| {
                let added = Self::sum(&self.ups, p.period_seconds, now);
                let removed = Self::sum(&self.downs, p.period_seconds, now);
                let start = i64::from(current - added + removed);
                let limit = match p.type_.as_str() {
                    "Percent" => start * (100 - i64::from(p.value)).max(0) / 100,
                    _ => start - i64::from(p.value),
                };
                i32::try_from(limit.max(0)).unwrap_or(0)
            });
        match rules.and_then(|r| r.select_policy.as_deref()) {
            Some("Disabled") => current,
            Some("Min") => limits.max().unwrap_or(current),
            _ => limits.min().unwrap_or(current),
        }
    }
}
