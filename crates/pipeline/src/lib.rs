//! Workflows to runs: reads `.github/workflows/*.yml`, plans the job graph of a `Run`, runs every
//! job as a Pod, and keeps what the jobs say.
//!
//! * [`yaml`], [`glob`], [`expr`], [`workflow`], [`matching`], [`matrix`]: the language, pure.
//! * [`job`], [`commands`], [`mask`]: what server, runner and steps say to each other, pure.
//! * [`runner`]: the program inside a job's pod. Knows nothing of Kubernetes.
//! * [`run`]: observes, plans (pure) and applies; follows the jobs' event streams.
//! * [`Pipeline`]: the parts put together, with HTTP for people and for jobs.
//!
//! Bad input is a [finding](towpath_kit::kinds::Finding) with its place, never an error. A run
//! with findings fails before anything of it runs. Identity is the pusher's, never one out of a
//! commit.

mod archives;
pub mod commands;
mod config;
mod error;
pub mod expr;
pub mod glob;
mod inspect;
pub mod job;
mod logs;
pub mod mask;
pub mod matching;
pub mod matrix;
mod pipeline;
mod routes;
pub mod run;
pub mod runner;
pub mod workflow;
pub mod yaml;

pub use config::{HOST_ROOTFS, JobLimits, PipelineConfig};
pub use error::Error;
pub use matching::WorkflowFiles;
pub use pipeline::Pipeline;
