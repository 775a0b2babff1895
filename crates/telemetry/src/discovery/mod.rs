//! How targets are found: listed, in files, by a server, by names, in the cluster, and by the
//! monitors that people put beside their workloads.

pub mod kubernetes;
pub mod monitors;
pub(crate) mod outside;
