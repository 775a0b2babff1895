//! The API server as its clients see it: scripts of requests, watches, access, restarts.

#![allow(clippy::disallowed_methods)] // children and tasks of tests

mod access;
mod aggregation;
mod audit;
mod bad_input;
mod certificates;
mod clients;
mod contract;
mod conversion;
mod crash;
mod door;
mod fairness;
mod harness;
mod hooks;
mod informers;
mod journeys;
mod nodes;
mod normal;
mod openapi;
mod peer;
mod protobuf;
mod random;
mod scripts;
mod sessions;
mod tokens;
mod transcript;
mod watches;
mod webhooks;
