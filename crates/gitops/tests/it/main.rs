//! The delivery side against a real API and real git repositories.
//!
//! The API is the embedded one in this process; with `TOWPATH_KUBECONFIG=file` it is that
//! cluster's. No kubelet runs: the tests write the status that a Deployment would get.

mod journey;
mod sync;
mod world;
