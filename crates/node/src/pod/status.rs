//! From what is known of a pod to its status, as upstream writes it. Pure.

use super::model::{ContainerModel, Ended, PodModel, State, time};
use crate::resources;
use k8s_openapi::api::core::v1::{
    ContainerState, ContainerStateRunning, ContainerStateTerminated, ContainerStateWaiting,
    ContainerStatus, HostIP, Pod, PodCondition, PodIP, PodStatus,
};
use k8s_openapi::jiff::Timestamp;

const OWN: [&str; 5] = [
    "PodReadyToStartContainers",
    "Initialized",
    "Ready",
    "ContainersReady",
    "PodScheduled",
];

/// The status of a pod now. `previous` is the status last seen: conditions that did not change
/// keep their time, those of others are left alone.
pub(crate) fn compute(pod: &Pod, model: &PodModel, host_ip: &str, now: Timestamp) -> PodStatus {
    let previous = pod.status.clone().unwrap_or_default();
    let (init, app): (Vec<_>, Vec<_>) = model.containers.iter().partition(|c| c.init);
    let phase = phase(pod, model, &init, &app);
    let (reason, message) = match &model.failed {
        Some((reason, message)) => (Some(reason.clone()), Some(message.clone())),
        None => (None, None),
    };
    PodStatus {
        phase: Some(phase.into()),
        conditions: Some(conditions(pod, model, &app, phase, &previous, now)),
        container_statuses: some(app.iter().map(|c| container(c, true)).collect()),
        init_container_statuses: some(init.iter().map(|c| container(c, c.sidecar)).collect()),
        host_ip: Some(host_ip.into()),
        host_ips: Some(vec![HostIP { ip: host_ip.into() }]),
        pod_ip: model.ip.clone(),
        pod_ips: model.ip.clone().map(|ip| vec![PodIP { ip }]),
        qos_class: Some(
            previous
                .qos_class
                .clone()
                .unwrap_or_else(|| resources::qos_class(pod).into()),
        ),
        start_time: model.started.map(time),
        observed_generation: pod.metadata.generation,
        reason,
        message,
        ..PodStatus::default()
    }
}

fn some<T>(list: Vec<T>) -> Option<Vec<T>> {
    (!list.is_empty()).then_some(list)
}

fn phase(
    pod: &Pod,
    model: &PodModel,
    init: &[&ContainerModel],
    app: &[&ContainerModel],
) -> &'static str {
    if model.failed.is_some() {
        return "Failed";
    }
    let ended = |c: &&ContainerModel| match &c.state {
        State::Ended(ended) => Some(ended.exit_code),
        _ => None,
    };
    if model.finished {
        let app_failed = app.iter().any(|c| ended(c).is_none_or(|code| code != 0));
        return if app_failed { "Failed" } else { "Succeeded" };
    }
    let never = pod.spec.as_ref().and_then(|s| s.restart_policy.as_deref()) == Some("Never");
    if never
        && init
            .iter()
            .any(|c| !c.sidecar && c.done && ended(c).is_some_and(|code| code != 0))
    {
        return "Failed";
    }
    let has_run =
        |c: &&ContainerModel| !matches!(c.state, State::Waiting { .. }) || c.last.is_some();
    if model.initialized && app.iter().all(has_run) && !app.is_empty() {
        "Running"
    } else {
        "Pending"
    }
}

struct Verdict {
    good: bool,
    reason: Option<String>,
    message: Option<String>,
}

fn verdict(good: bool, reason: &str, message: String) -> Verdict {
    let said = |text: String| (!good && !text.is_empty()).then_some(text);
    Verdict {
        good,
        reason: said(reason.into()),
        message: said(message),
    }
}

fn conditions(
    pod: &Pod,
    model: &PodModel,
    app: &[&ContainerModel],
    phase: &str,
    previous: &PodStatus,
    now: Timestamp,
) -> Vec<PodCondition> {
    let before = previous.conditions.clone().unwrap_or_default();
    let over = phase == "Succeeded" || phase == "Failed";
    let names = |list: Vec<&str>, what: &str| {
        format!("containers with {what} status: [{}]", list.join(" "))
    };
    let init_left: Vec<&str> = model
        .containers
        .iter()
        .filter(|c| c.init && !c.done && !(c.sidecar && c.started))
        .map(|c| c.name.as_str())
        .collect();
    let initialized = model.initialized || phase == "Succeeded";
    let unready: Vec<&str> = app
        .iter()
        .filter(|c| !c.ready)
        .map(|c| c.name.as_str())
        .collect();
    let reason = match phase {
        "Succeeded" => "PodCompleted",
        "Failed" => "PodFailed",
        _ => "ContainersNotReady",
    };
    let message = if over {
        String::new()
    } else {
        names(unready.clone(), "unready")
    };
    let containers_ready = !over && !app.is_empty() && unready.is_empty();
    let gates = pod
        .spec
        .iter()
        .flat_map(|s| s.readiness_gates.iter().flatten());
    let open: Vec<&str> = gates
        .map(|gate| gate.condition_type.as_str())
        .filter(|gate| {
            !before
                .iter()
                .any(|c| c.type_ == *gate && c.status == "True")
        })
        .collect();
    let ready = if containers_ready && !open.is_empty() {
        verdict(
            false,
            "ReadinessGatesNotReady",
            format!(
                "the status of pod readiness gate {:?} is not \"True\"",
                open[0]
            ),
        )
    } else {
        verdict(containers_ready, reason, message.clone())
    };
    let verdicts = [
        (
            "PodReadyToStartContainers",
            verdict(model.sandbox && !over, "", String::new()),
        ),
        (
            "Initialized",
            verdict(
                initialized,
                "ContainersNotInitialized",
                names(init_left, "incomplete"),
            ),
        ),
        ("Ready", ready),
        (
            "ContainersReady",
            verdict(containers_ready, reason, message),
        ),
        ("PodScheduled", verdict(true, "", String::new())),
    ];
    let mut list: Vec<PodCondition> = Vec::new();
    for (name, verdict) in verdicts {
        let status = if verdict.good { "True" } else { "False" };
        let same = before
            .iter()
            .find(|c| c.type_ == name && c.status == status);
        list.push(PodCondition {
            type_: name.into(),
            status: status.into(),
            reason: verdict.reason,
            message: verdict.message,
            last_transition_time: same
                .and_then(|c| c.last_transition_time.clone())
                .or_else(|| Some(time(now))),
            observed_generation: pod.metadata.generation,
            ..PodCondition::default()
        });
    }
    list.extend(
        before
            .into_iter()
            .filter(|c| !OWN.contains(&c.type_.as_str())),
    );
    list
}

fn container(model: &ContainerModel, app: bool) -> ContainerStatus {
    ContainerStatus {
        name: model.name.clone(),
        image: model.image.clone(),
        image_id: model.image_id.clone(),
        container_id: (!model.id.is_empty()).then(|| id(&model.id)),
        state: Some(match &model.state {
            State::Waiting { reason, message } => ContainerState {
                waiting: Some(ContainerStateWaiting {
                    reason: Some(reason.clone()),
                    message: (!message.is_empty()).then(|| message.clone()),
                }),
                ..ContainerState::default()
            },
            State::Running { since } => ContainerState {
                running: Some(ContainerStateRunning {
                    started_at: Some(time(*since)),
                }),
                ..ContainerState::default()
            },
            State::Ended(ended) => terminated(ended),
        }),
        last_state: Some(model.last.as_ref().map(terminated).unwrap_or_default()),
        ready: if app {
            model.ready
        } else {
            matches!(&model.state, State::Ended(e) if e.exit_code == 0)
        },
        restart_count: model.restarts,
        started: Some(model.started && matches!(model.state, State::Running { .. })),
        ..ContainerStatus::default()
    }
}

fn id(id: &str) -> String {
    format!("towpath://{id}")
}

fn terminated(ended: &Ended) -> ContainerState {
    ContainerState {
        terminated: Some(ContainerStateTerminated {
            exit_code: ended.exit_code,
            signal: (ended.signal != 0).then_some(ended.signal),
            reason: Some(ended.reason.clone()),
            message: (!ended.message.is_empty()).then(|| ended.message.clone()),
            started_at: ended.started.map(time),
            finished_at: ended.finished.map(time),
            container_id: (!ended.id.is_empty()).then(|| id(&ended.id)),
        }),
        ..ContainerState::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn pod(policy: &str) -> Pod {
        serde_json::from_value(json!({
            "metadata": { "name": "p", "generation": 3 },
            "spec": { "restartPolicy": policy, "containers": [{ "name": "a" }] },
        }))
        .expect("pod")
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).expect("time")
    }

    fn ended(code: i32) -> State {
        State::Ended(Ended {
            exit_code: code,
            signal: 0,
            reason: "x".into(),
            message: String::new(),
            started: None,
            finished: None,
            id: "i".into(),
        })
    }

    fn model(states: &[State]) -> PodModel {
        let containers = states
            .iter()
            .enumerate()
            .map(|(n, state)| ContainerModel {
                state: state.clone(),
                ready: matches!(state, State::Running { .. }),
                started: true,
                ..ContainerModel::new(&format!("c{n}"), "i", false, false)
            })
            .collect();
        PodModel {
            containers,
            initialized: true,
            sandbox: true,
            ..PodModel::default()
        }
    }

    fn condition(status: &PodStatus, name: &str) -> PodCondition {
        status
            .conditions
            .iter()
            .flatten()
            .find(|c| c.type_ == name)
            .expect("condition")
            .clone()
    }

    #[test]
    fn phases() {
        let running = State::Running { since: at(1) };
        let waiting = State::Waiting {
            reason: "ContainerCreating".into(),
            message: String::new(),
        };
        let phase = |model: &PodModel| {
            compute(&pod("Always"), model, "h", at(9))
                .phase
                .expect("phase")
        };
        assert_eq!(phase(&model(&[running.clone(), waiting])), "Pending");
        assert_eq!(phase(&model(&[running.clone(), ended(1)])), "Running");
        let over = |codes: &[i32]| PodModel {
            finished: true,
            ..model(&codes.iter().map(|c| ended(*c)).collect::<Vec<_>>())
        };
        assert_eq!(phase(&over(&[0, 0])), "Succeeded");
        assert_eq!(phase(&over(&[0, 2])), "Failed");
        let failed = PodModel {
            failed: Some(("DeadlineExceeded".into(), "m".into())),
            ..model(&[running])
        };
        assert_eq!(phase(&failed), "Failed");
    }

    #[test]
    fn conditions_say_why_and_keep_their_time() {
        let waiting = State::Waiting {
            reason: "ContainerCreating".into(),
            message: String::new(),
        };
        let mut pod = pod("Always");
        let first = compute(&pod, &model(&[waiting]), "h", at(5));
        assert_eq!(
            condition(&first, "Ready").message.as_deref(),
            Some("containers with unready status: [c0]")
        );
        assert_eq!(first.observed_generation, Some(3));
        pod.status = Some(first);
        let second = compute(&pod, &model(&[State::Running { since: at(6) }]), "h", at(7));
        assert_eq!(condition(&second, "Ready").status, "True");
        assert_eq!(
            condition(&second, "Ready")
                .last_transition_time
                .map(|t| t.0),
            Some(at(7))
        );
        assert_eq!(
            condition(&second, "Initialized")
                .last_transition_time
                .map(|t| t.0),
            Some(at(5))
        );
        assert!(second.container_statuses.expect("statuses")[0].ready);
    }
}
