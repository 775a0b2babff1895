//! The OpenTelemetry protocol: spans, log records and metrics come in over HTTP (4318, and
//! `/otlp/v1/*` of the main port) and gRPC (4317), in protobuf or JSON, plain, gzip or zstd.
//!
//! gRPC is a unary layer of its own over the HTTP/2 that is already in the binary: three methods
//! of one message each do not need a framework with its own server, balancer and codec. What is
//! taken goes to a [`Sink`] per signal; a signal without one is answered as not implemented.
//!
//! Who may send: a principal that may `create` `signals` in the group `towpath.dev` and, where the
//! settings say so, pods without a credential, told by their address. Bodies are bounded before
//! and after decompression, and the bytes of all requests under way together.

mod access;
mod body;
mod grpc;
mod http;
mod lines;
pub mod message;
mod points;
mod server;
mod sink;

#[cfg(test)]
pub(crate) mod tests;

pub use access::{Access, Network};
pub use lines::LogIntake;
pub use points::MetricIntake;
pub use server::{Ports, router, services};
pub use sink::{Accepted, LogSink, MetricSink, Refusal, Sink, Sinks, TraceSink};
