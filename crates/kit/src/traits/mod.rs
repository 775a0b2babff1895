//! Traits between feature crates. Each has one implementation in a feature crate and is handed
//! to the others by the composition root, so that features never depend on each other.

mod auth;
mod authors;
mod build;
mod containers;
mod figures;
mod images;
mod network;
mod node_pages;
mod pod_streams;
mod source_tree;
mod workflows;

pub use auth::{Action, AuthError, Authenticator, Authorizer, Credential, Principal};
pub use authors::{Author, Authors};
pub use build::{BuildError, BuildLog, BuildOutput, BuildRequest, Builder};
pub use containers::{ClockState, ContainerStats, RunningClaim, RunningContainer, RunningPod};
pub use figures::{ContainerFigures, NodeFigures, PodFigures, ResourceFigures};
pub use images::{ImageError, Images, LocalImage};
pub use network::{NetworkError, PodAddress, PodNetwork};
pub use node_pages::{NodePage, NodePageError, NodePages};
pub use pod_streams::{
    ContainerRef, Duplex, ExecRequest, ExecStreams, LogRequest, PodStreamError, PodStreams,
    PortRequest, TerminalSize,
};
pub use source_tree::{CommitInfo, CommitRequest, SourceError, SourceTree, TreeFile};
pub use workflows::{PushEvent, WorkflowMatch, Workflows};
