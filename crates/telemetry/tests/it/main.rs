//! The crate from outside: what it reads beside the real programs and the real Prometheus code
//! (`tests/peers/prometheus`), and properties of what reads foreign bytes.

#![allow(clippy::unwrap_used, clippy::disallowed_methods)] // these are tests, with children of their own

mod alerts;
mod cases;
mod collect;
mod containers;
mod figures;
mod history;
mod ledger;
mod loki;
mod measure;
mod node;
mod objects;
mod outgrow;
mod peer;
mod podlogs;
mod prometheus_api;
mod receivers;
mod relabel;
mod remote_write;
mod scrape;
mod scraped;
mod smtp;
mod textparse;
mod tree;
