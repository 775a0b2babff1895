//! The server's own image registry: OCI distribution 1.1 over the store's blobs.
//!
//! * [`Registry`]: the domain, without HTTP: manifests, tags, links and referrers in a small
//!   durable index, content in [`towpath_store::Blobs`].
//! * [`router`]: the protocol at `/v2/`, for `skopeo`, `podman`, `buildah`, `docker`, `oras`.
//! * [`Images`](towpath_kit::traits::Images): the same images for the node and the builder,
//!   without HTTP, and pulled through from their origin where the network allows.
//! * [`Registry::collect`]: removal of what nothing reaches, beside running pushes.
//!
//! Invariants: a blob has its name only when its digest was checked; a manifest is listed only
//! when all it names is there; manifest, tag and referrer change in one durable record; the
//! bytes of a manifest are served as they came.

mod access;
mod blobs;
mod error;
mod gc;
mod images;
mod index;
mod journal;
mod listing;
mod local;
mod manifests;
mod origin;
mod path;
mod registry;
mod routes;
mod token;
mod uploads;
mod wire;

pub use error::Error;
pub use gc::{Collected, GRACE};
pub use origin::Upstream;
pub use registry::{Config, Registry};
pub use routes::router;
