//! The images that are here, for who must not reach out: the builder asks here first, then makes
//! a base image itself, and only then pulls.

use crate::registry::Registry;
use async_trait::async_trait;
use bytes::Bytes;
use std::path::Path;
use std::sync::Arc;
use towpath_kit::traits::{ImageError, Images, LocalImage};

struct Local(Registry);

impl Registry {
    /// The same images without pull-through.
    pub fn local(&self) -> Arc<dyn Images> {
        Arc::new(Local(self.clone()))
    }
}

#[async_trait]
impl Images for Local {
    async fn resolve(&self, reference: &str) -> Result<LocalImage, ImageError> {
        self.0.resolve_local(reference).await
    }

    async fn put_blob(&self, digest: &str, file: &Path) -> Result<(), ImageError> {
        self.0.put_blob(digest, file).await
    }

    async fn open_blob(&self, digest: &str) -> Result<std::fs::File, ImageError> {
        self.0.open_blob(digest).await
    }

    async fn put_manifest(
        &self,
        repository: &str,
        tag: Option<&str>,
        media_type: &str,
        manifest: Bytes,
    ) -> Result<String, ImageError> {
        self.0
            .put_manifest(repository, tag, media_type, manifest)
            .await
    }
}
