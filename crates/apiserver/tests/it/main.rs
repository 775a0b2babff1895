//! The API server as its clients see it: scripts of requests, watches, access, restarts.

mod access;
mod clients;
mod fixtures;
mod harness;
mod protobuf;
mod scripts;
mod watches;
