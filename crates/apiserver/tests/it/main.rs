//! The API server as its clients see it: scripts of requests, watches, access, restarts.

mod access;
mod certificates;
mod clients;
mod door;
mod fixtures;
mod harness;
mod hooks;
mod peer;
mod protobuf;
mod scripts;
mod tokens;
mod watches;
mod webhooks;
