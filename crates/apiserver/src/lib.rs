//! The Kubernetes HTTP API: routes, authentication, authorization, admission, watch, apply,
//! OpenAPI, streams.
//!
//! One data-driven server for every kind: what exists comes from the fact tables and from
//! definitions of custom resources ([`kinds`]), what objects mean from the pure `api` crate
//! ([`model`]). Every request takes one pipeline ([`core`]), whether it came over TLS
//! ([`front`]) or from a component of this process; there is no back door.
//!
//! Not here: controllers, the scheduler, anything that runs containers.

mod accept;
mod admission;
mod aggregate;
mod aggregation;
mod alloc;
mod audit;
mod body;
mod bootstrap;
mod components;
mod conversion;
mod core;
mod crd;
mod csr;
mod delete;
mod deprecated;
mod der;
mod discovery;
mod evict;
mod expire;
mod fairness;
mod filter;
mod form;
mod front;
#[cfg(test)]
mod fuzz;
mod guard;
mod health;
mod keyring;
mod keys;
mod kinds;
mod list_bytes;
mod list_options;
mod metrics;
mod model;
mod node_authorizer;
mod openapi;
mod outbound;
mod paging;
mod patch;
mod pki;
mod proxy;
mod rbac;
mod read;
mod record;
mod requests;
mod reviews;
mod route;
mod sealed;
mod server;
mod spdy;
mod streams;
mod sub;
mod token;
mod token_request;
mod watch;
mod wire;
mod write;
mod ws;
mod x509;

pub use body::Body;
pub use front::InProcess;
pub use pki::PkiError;
pub use server::{ApiServer, Config, Error};
