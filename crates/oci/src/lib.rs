//! Container images as data: references, digests, manifests, configurations, layers, and the
//! client side of the distribution protocol.
//!
//! * [`reference`], [`digest`]: names, in the grammar the field uses.
//! * [`manifest`], [`config`]: facts read out of bytes. The bytes stay as they came: a digest is
//!   of what was received, so nothing here re-serialises what somebody else wrote.
//! * [`layer`]: a tar stream applied to a directory, and a directory turned into one.
//! * [`client`]: pulling from another registry, with its credential bound to it.
//!
//! Invariants: a layer cannot touch anything outside its target directory, and no size claimed
//! by input decides how much memory or disk is used. Knows no server and no Kubernetes.

pub mod client;
pub mod config;
pub mod digest;
mod error;
pub mod layer;
pub mod manifest;
pub mod reference;

pub use digest::Digest;
pub use error::Error;
pub use reference::Reference;
