//! Metrics fetched from targets: what is scraped ([`config`]), how its labels come about
//! ([`relabel`]), and the loops that do it ([`Pools`]).

pub mod config;
mod cycle;
pub(crate) mod fetch;
mod ingest;
mod known;
mod md5;
mod pools;
pub mod relabel;
pub(crate) mod target;
pub mod written;

pub(crate) use fetch::reachable;
pub(crate) use md5::md5;
pub use pools::Pools;
pub use target::Group;
