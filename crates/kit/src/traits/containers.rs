//! Which containers run, and where the kernel keeps their figures. Implemented by `node`, used by
//! who shows the figures; reading them is the reader's work, on a thread that may block.

use std::path::PathBuf;
use std::time::Duration;

/// One running container.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RunningContainer {
    /// Name in the pod.
    pub name: String,
    /// Runtime's id of this instance.
    pub id: String,
    /// Reference the pod names.
    pub image: String,
    /// What it resolved to.
    pub image_id: String,
    /// Control group, below the hierarchies' roots.
    pub cgroup: String,
    /// Start of this instance, time since 1970.
    pub started: Duration,
    /// Directory whose contents are what the container wrote, where it is known.
    pub written: Option<PathBuf>,
    /// File with this instance's log.
    pub log: Option<PathBuf>,
}

/// A claimed volume that a pod mounts.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RunningClaim {
    /// Name of the claim, in the pod's namespace.
    pub claim: String,
    /// Name of the volume in the pod.
    pub volume: String,
    /// Directory it is mounted from.
    pub dir: PathBuf,
    /// Bytes that were promised, where the claim or its volume says so.
    pub capacity: Option<u64>,
}

/// One pod with running containers.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RunningPod {
    /// Namespace.
    pub namespace: String,
    /// Name.
    pub name: String,
    /// UID.
    pub uid: String,
    /// Start of the pod, time since 1970, where it is known.
    pub started: Option<Duration>,
    /// Control group of all its containers.
    pub cgroup: String,
    /// Whether it has a network of its own.
    pub own_network: bool,
    /// Its running containers.
    pub containers: Vec<RunningContainer>,
    /// Its claimed volumes.
    pub claims: Vec<RunningClaim>,
}

/// State of the kernel's clock, as `adjtimex` tells it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ClockState {
    /// What the call answered; 5 while the clock is not synchronised.
    pub answer: i32,
    /// Status bits.
    pub status: i32,
    /// Offset, micro- or nanoseconds by the status.
    pub offset: i64,
    /// Frequency offset, millionths with 16 binary digits behind the point.
    pub frequency: i64,
    /// Largest error, microseconds.
    pub maximum_error_us: i64,
    /// Estimated error, microseconds.
    pub estimated_error_us: i64,
    /// Constant of the phase-locked loop.
    pub loop_constant: i64,
    /// Microseconds between ticks.
    pub tick_us: i64,
    /// Offset of International Atomic Time, seconds.
    pub tai_seconds: i32,
}

/// Tells what runs here.
pub trait ContainerStats: Send + Sync {
    /// Name of the Node.
    fn node(&self) -> String;
    /// Pods with running containers, by namespace and name.
    fn running(&self) -> Vec<RunningPod>;
    /// State of the kernel's clock, where the kernel tells it.
    fn clock(&self) -> Option<ClockState>;
}
