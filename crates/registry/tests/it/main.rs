//! The registry over HTTP on loopback: a table of requests, the field's own clients, and kills.

mod clients;
mod conformance;
mod harness;
mod kill;
mod origin;
