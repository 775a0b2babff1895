//! The crate from outside: what it reads beside the real programs and the real Prometheus code
//! (`tests/peers/prometheus`), and properties of what reads foreign bytes.

mod alerts;
mod cases;
mod collect;
mod containers;
mod ledger;
mod loki;
mod node;
mod objects;
mod peer;
mod podlogs;
mod prometheus_api;
mod relabel;
mod remote_write;
mod scrape;
mod scraped;
mod textparse;
mod tree;
