//! What the agent knows of a pod's containers, as far as its status tells it.

use k8s_openapi::api::core::v1::{ContainerState, ContainerStateTerminated, ContainerStatus};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;

/// How a container ended.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Ended {
    pub(crate) exit_code: i32,
    pub(crate) signal: i32,
    pub(crate) reason: String,
    pub(crate) message: String,
    pub(crate) started: Option<Timestamp>,
    pub(crate) finished: Option<Timestamp>,
    pub(crate) id: String,
}

impl Ended {
    /// As a status tells it.
    pub(crate) fn from_api(ended: ContainerStateTerminated) -> Self {
        Self {
            exit_code: ended.exit_code,
            signal: ended.signal.unwrap_or(0),
            reason: ended.reason.unwrap_or_default(),
            message: ended.message.unwrap_or_default(),
            started: ended.started_at.map(|time| time.0),
            finished: ended.finished_at.map(|time| time.0),
            id: ended
                .container_id
                .unwrap_or_default()
                .trim_start_matches("towpath://")
                .into(),
        }
    }
}

/// What a container does now.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum State {
    Waiting { reason: String, message: String },
    Running { since: Timestamp },
    Ended(Ended),
}

/// One container of a pod.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct ContainerModel {
    pub(crate) name: String,
    pub(crate) image: String,
    pub(crate) image_id: String,
    /// Runtime's id of the present or last instance; empty before the first.
    pub(crate) id: String,
    pub(crate) state: State,
    pub(crate) last: Option<Ended>,
    pub(crate) restarts: i32,
    pub(crate) ready: bool,
    pub(crate) started: bool,
    /// Nothing will run again.
    pub(crate) done: bool,
    pub(crate) init: bool,
    /// An init container that goes on beside the others.
    pub(crate) sidecar: bool,
}

impl ContainerModel {
    pub(crate) fn new(name: &str, image: &str, init: bool, sidecar: bool) -> Self {
        let reason = if init {
            "PodInitializing"
        } else {
            "ContainerCreating"
        };
        Self {
            name: name.into(),
            image: image.into(),
            image_id: String::new(),
            id: String::new(),
            state: State::Waiting {
                reason: reason.into(),
                message: String::new(),
            },
            last: None,
            restarts: 0,
            ready: false,
            started: false,
            done: false,
            init,
            sidecar,
        }
    }
}

impl ContainerModel {
    /// Takes over what an earlier agent told, so that a restart of the server is not seen in the
    /// status: what runs stays ready until it is known to be otherwise.
    pub(crate) fn resume(mut self, told: &ContainerStatus) -> Self {
        let of = |state: Option<ContainerState>| {
            state
                .and_then(|state| state.terminated)
                .map(Ended::from_api)
        };
        let state = told.state.clone().unwrap_or_default();
        let since = state
            .running
            .as_ref()
            .and_then(|running| running.started_at.as_ref())
            .map(|time| time.0);
        self.image_id = told.image_id.clone();
        self.id = told
            .container_id
            .as_deref()
            .unwrap_or_default()
            .trim_start_matches("towpath://")
            .into();
        self.restarts = told.restart_count;
        self.last = of(told.last_state.clone());
        self.state = match (since, of(told.state.clone())) {
            (Some(since), _) => State::Running { since },
            (None, Some(ended)) => State::Ended(ended),
            (None, None) => self.state,
        };
        let running = matches!(self.state, State::Running { .. });
        self.ready = told.ready && running;
        self.started = told.started == Some(true) && running;
        self
    }
}

/// One pod.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct PodModel {
    pub(crate) containers: Vec<ContainerModel>,
    pub(crate) ip: Option<String>,
    pub(crate) started: Option<Timestamp>,
    /// Sandbox and volumes are there.
    pub(crate) sandbox: bool,
    /// All init containers succeeded.
    pub(crate) initialized: bool,
    /// Ended for a reason of the pod's, e.g. its deadline: reason and message.
    pub(crate) failed: Option<(String, String)>,
    /// All containers ended and none comes back.
    pub(crate) finished: bool,
}

impl PodModel {
    pub(crate) fn container(&mut self, name: &str) -> Option<&mut ContainerModel> {
        self.containers
            .iter_mut()
            .find(|container| container.name == name)
    }
}

/// Record time as an instant.
pub(crate) fn instant(text: Option<&String>) -> Option<Timestamp> {
    text.and_then(|text| text.parse().ok())
}

/// Whole seconds, as Kubernetes writes times.
pub(crate) fn time(at: Timestamp) -> Time {
    Time(Timestamp::from_second(at.as_second()).unwrap_or(at))
}
