//! Dockerfile to OCI image, without a daemon.
//!
//! * [`dockerfile`]: the language; pure. Mistakes are findings with file, line and column.
//! * [`ignore`], [`expand`](dockerfile::expand): what a context holds, what a value says; pure.
//! * [`tree`], [`copy`]: stages as overlays that are mounted nowhere; `COPY` and `ADD`.
//! * [`Engine`]: runs the needed stages, answers steps from the layer cache, pushes the result
//!   through [`Images`](towpath_kit::traits::Images). `RUN` is a container of
//!   [`towpath_container`].
//! * [`base`]: base images made of the distribution's packages when a name is wanted first.
//! * [`router`]: contexts in over HTTP, log lines and the digest out.
//!
//! The same input gives the same digest: entries are sorted, every time in a layer is at most
//! the base image's own (for `scratch`, the earliest a zip archive can hold), and times in the
//! configuration are `SOURCE_DATE_EPOCH`, else that same instant. So a layer does not depend on
//! when it was built, and the cache never changes what comes out.

pub mod base;
mod config;
mod copy;
mod dockerfile;
mod engine;
mod http;
mod ignore;
mod layers;
mod output;
mod run;
mod settings;
mod stage;
mod tree;
mod users;

pub use config::Config;
pub use engine::{Engine, cleanup};
pub use http::router;
