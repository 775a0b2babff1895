//! Pods: one word for everything that may be wrong with one.

use crate::table::cells::*;
use serde_json::Value;

fn has_name(list: &[Value], name: &Value) -> bool {
    list.iter()
        .any(|item| item["name"] == *name && item["restartPolicy"] == "Always")
}

/// The first sign of trouble wins, in the order init containers, containers, deletion.
pub(super) fn pod(o: &Value, now: i64) -> Vec<Value> {
    let init = items(o, "spec.initContainers");
    let sidecars = init
        .iter()
        .filter(|c| c["restartPolicy"] == "Always")
        .count();
    let total = items(o, "spec.containers").len() + sidecars;
    let phase = text(o, "status.phase");
    let mut state = PodState {
        reason: phase.clone(),
        ..PodState::default()
    };
    let reason = text(o, "status.reason");
    if !reason.is_empty() {
        state.reason = reason.clone();
    }
    if items(o, "status.conditions")
        .iter()
        .any(|c| c["type"] == "PodScheduled" && c["reason"] == "SchedulingGated")
    {
        state.reason = "SchedulingGated".into();
    }
    let initializing = state.read_init(o, init);
    if !initializing || has_condition(o, "Initialized") {
        state.read_containers(o);
    }
    if !at(o, "metadata.deletionTimestamp").is_null() {
        if reason == "NodeLost" {
            state.reason = "Unknown".into();
        } else if !matches!(phase.as_str(), "Succeeded" | "Failed") {
            state.reason = "Terminating".into();
        }
    }
    let restarts = match state.last_restart {
        Some(then) if state.restarts != 0 => {
            format!(
                "{} ({} ago)",
                state.restarts,
                crate::time::human(now - then)
            )
        }
        _ => state.restarts.to_string(),
    };
    let address = items(o, "status.podIPs")
        .first()
        .map(|ip| text(ip, "ip"))
        .unwrap_or_default();
    let address = if address.is_empty() {
        "<none>".into()
    } else {
        address
    };
    let gates = items(o, "spec.readinessGates");
    let open = gates
        .iter()
        .filter(|gate| {
            gate["conditionType"]
                .as_str()
                .is_some_and(|kind| has_condition(o, kind))
        })
        .count();
    let gates = if gates.is_empty() {
        "<none>".into()
    } else {
        format!("{open}/{}", gates.len())
    };
    vec![
        name(o),
        format!("{}/{total}", state.ready).into(),
        state.reason.into(),
        restarts.into(),
        age(o, now),
        address.into(),
        text_or(o, "spec.nodeName", "<none>"),
        text_or(o, "status.nominatedNodeName", "<none>"),
        gates.into(),
    ]
}

#[derive(Default)]
struct PodState {
    reason: String,
    ready: usize,
    restarts: i64,
    last_restart: Option<i64>,
    sidecar_restarts: i64,
    sidecar_last_restart: Option<i64>,
}

fn finished_at(status: &Value) -> Option<i64> {
    crate::time::parse_rfc3339(at(status, "lastState.terminated.finishedAt").as_str()?)
}

fn exit_reason(terminated: &Value) -> String {
    let reason = text(terminated, "reason");
    if !reason.is_empty() {
        reason
    } else if number(terminated, "signal") != 0 {
        format!("Signal:{}", number(terminated, "signal"))
    } else {
        format!("ExitCode:{}", number(terminated, "exitCode"))
    }
}

impl PodState {
    /// Returns whether the pod still initializes.
    fn read_init(&mut self, o: &Value, init: &[Value]) -> bool {
        for (index, status) in items(o, "status.initContainerStatuses").iter().enumerate() {
            let count = number(status, "restartCount");
            self.restarts += count;
            self.last_restart = self.last_restart.max(finished_at(status));
            let sidecar = has_name(init, &status["name"]);
            if sidecar {
                self.sidecar_restarts += count;
                self.sidecar_last_restart = self.sidecar_last_restart.max(finished_at(status));
            }
            let terminated = at(status, "state.terminated");
            if terminated.is_object() && number(terminated, "exitCode") == 0 {
                continue;
            }
            if sidecar && status["started"] == true {
                self.ready += usize::from(status["ready"] == true);
                continue;
            }
            let waiting = text(status, "state.waiting.reason");
            self.reason = if terminated.is_object() {
                format!("Init:{}", exit_reason(terminated))
            } else if !waiting.is_empty() && waiting != "PodInitializing" {
                format!("Init:{waiting}")
            } else {
                format!("Init:{index}/{}", init.len())
            };
            return true;
        }
        false
    }

    fn read_containers(&mut self, o: &Value) {
        self.restarts = self.sidecar_restarts;
        self.last_restart = self.sidecar_last_restart;
        let (mut running, mut failed) = (false, None);
        for status in items(o, "status.containerStatuses").iter().rev() {
            self.restarts += number(status, "restartCount");
            self.last_restart = self.last_restart.max(finished_at(status));
            let waiting = text(status, "state.waiting.reason");
            let terminated = at(status, "state.terminated");
            if !waiting.is_empty() {
                self.reason = waiting;
            } else if terminated.is_object() {
                self.reason = exit_reason(terminated);
                if number(terminated, "exitCode") != 0 {
                    failed = Some(self.reason.clone());
                }
            } else if status["ready"] == true && at(status, "state.running").is_object() {
                running = true;
                self.ready += 1;
            }
        }
        if self.reason == "Completed" {
            if running && has_condition(o, "Ready") {
                self.reason = "Running".into();
            } else if let Some(failed) = failed {
                self.reason = failed;
            } else if running {
                self.reason = "NotReady".into();
            }
        }
    }
}
