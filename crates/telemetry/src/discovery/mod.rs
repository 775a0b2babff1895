//! How targets are found: listed, in files, by a server, by names, in the cluster, and by the
//! monitors that people put beside their workloads.

pub mod kubernetes;
pub mod monitors;
pub(crate) mod outside;

/// A name with what labels may not have replaced.
fn plain(name: &str) -> String {
    let fits = |c: char| c.is_ascii_alphanumeric() || c == '_';
    name.chars()
        .map(|c| if fits(c) { c } else { '_' })
        .collect()
}
