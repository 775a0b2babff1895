//! Workflows to runs: reads `.github/workflows/*.yml`, plans the job graph of a `Run`, runs every
//! job as a Pod, and keeps what the jobs say.
//!
//! * [`yaml`], [`glob`], [`expr`], [`workflow`], [`matching`], [`matrix`]: the language, pure.
//! * [`job`], [`commands`], [`mask`]: what server, runner and steps say to each other, pure.
//! * [`runner`]: the program inside a job's pod. Knows nothing of Kubernetes.
//!
//! Bad input is a [finding](towpath_kit::kinds::Finding) with its place, never an error. A run
//! with findings fails before anything of it runs. Identity is the pusher's, never one out of a
//! commit.

pub mod commands;
mod error;
pub mod expr;
pub mod glob;
pub mod job;
pub mod mask;
pub mod matching;
pub mod matrix;
pub mod runner;
pub mod workflow;
pub mod yaml;

pub use error::Error;
pub use matching::WorkflowFiles;
