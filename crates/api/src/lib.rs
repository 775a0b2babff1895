//! Everything an API server must know about Kubernetes kinds, as data and pure functions.
//!
//! There is no I/O, no clock and no task in this crate: objects are [`serde_json::Value`]s, the
//! present time is handed in, and what is known about a built-in kind comes from fact tables made
//! by `cargo xtask codegen`. So the same code serves the API, dry-runs in the command line and
//! runs its test corpora in milliseconds.
//!
//! In reading order: [`facts`] (which resources exist), [`schema`] (what their objects look like),
//! [`json`], [`protobuf`] and [`unknown`] (from bytes to a known object), [`field`] and [`status`] (what is told
//! to the client when something is wrong), [`names`], [`quantity`], [`time`] and [`cron`] (the small
//! grammars), [`selector`], [`generation`] and [`scale`] (what a server does with any kind),
//! [`defaults`] (what is filled in),
//! [`validate`] and [`cel`] (what is refused), [`convert`] (the same object in two versions), [`merge`] and [`apply`] (patches and ownership),
//! [`table`] and [`jsonpath`] (what is shown), [`openapi`]
//! (what is told about the API itself).

#![warn(missing_docs)]

pub mod apply;
pub mod cel;
pub mod convert;
pub mod cron;
pub mod defaults;
pub mod facts;
pub mod field;
pub mod generation;
pub mod json;
pub mod jsonpath;
pub mod merge;
pub mod names;
pub mod openapi;
pub mod protobuf;
pub mod quota;
pub mod resources;
pub mod scale;
pub mod schema;
pub mod selector;
pub mod status;
pub mod table;
pub mod time;
pub mod unknown;
pub mod validate;

pub use towpath_query::quantity;
