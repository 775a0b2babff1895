//! Images in the server's own registry, reached without HTTP. Implemented by `registry`.

use async_trait::async_trait;
use bytes::Bytes;

/// A resolved single-platform image.
#[derive(Clone, Debug)]
pub struct LocalImage {
    /// `sha256:…` of the manifest for this machine's platform.
    pub digest: String,
    /// Manifest bytes as pushed.
    pub manifest: Bytes,
    /// Config blob bytes.
    pub config: Bytes,
}

/// Why an image could not be had.
#[derive(Debug, thiserror::Error)]
pub enum ImageError {
    /// Neither here nor at its origin.
    #[error("image {0} not found")]
    NotFound(String),
    /// The reference is malformed.
    #[error("invalid image reference {0:?}")]
    Invalid(String),
    /// The origin could not be reached or refused.
    #[error("pull {reference}: {cause}")]
    Pull {
        /// Reference.
        reference: String,
        /// Cause.
        cause: String,
    },
    /// Stored bytes could not be read or written.
    #[error("image storage: {0}")]
    Storage(String),
}

/// Access to images by reference, as a Dockerfile or a pod writes them
/// (`debian:bookworm-slim`, `demo/hello@sha256:…`, `ghcr.io/o/i:1`).
#[async_trait]
pub trait Images: Send + Sync {
    /// Finds the image here, else pulls it through from its origin where the network allows.
    async fn resolve(&self, reference: &str) -> Result<LocalImage, ImageError>;
    /// Stores blob bytes whose digest is known; idempotent.
    async fn put_blob(&self, digest: &str, file: &std::path::Path) -> Result<(), ImageError>;
    /// Opens a blob as a file for reading.
    async fn open_blob(&self, digest: &str) -> Result<std::fs::File, ImageError>;
    /// Stores a manifest under `repository` and, where given, a tag; returns its digest. All
    /// blobs it names must be there. `repository` is without host, e.g. `demo/hello`.
    async fn put_manifest(
        &self,
        repository: &str,
        tag: Option<&str>,
        media_type: &str,
        manifest: Bytes,
    ) -> Result<String, ImageError>;
}
