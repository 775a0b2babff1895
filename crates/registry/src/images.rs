//! The same images without HTTP, for the node and the builder.

use crate::manifests::Check;
use crate::registry::{Registry, check_digest};
use crate::uploads;
use crate::wire::{Code, Refusal};
use async_trait::async_trait;
use bytes::Bytes;
use futures::TryStreamExt;
use std::path::Path;
use towpath_kit::traits::{ImageError, Images, LocalImage};
use towpath_oci::manifest::{Descriptor, Manifest, architecture};
use towpath_oci::{Reference, config};
use towpath_store::BlobId;

// What a manifest may claim about one blob that is pulled.
const BLOB_BYTES: u64 = 20 << 30;
// Blobs pulled at the same time for one image.
const PARALLEL: usize = 3;

#[async_trait]
impl Images for Registry {
    async fn resolve(&self, reference: &str) -> Result<LocalImage, ImageError> {
        let parsed = self.parse(reference)?;
        if let Some((repository, digest)) = self.here(&parsed) {
            match self.load(&repository, &digest).await {
                Err(ImageError::NotFound(_)) => {}
                other => return other,
            }
        }
        self.pull(reference, &parsed).await
    }

    async fn put_blob(&self, digest: &str, file: &Path) -> Result<(), ImageError> {
        let id = BlobId::parse(digest).map_err(|error| ImageError::Storage(error.to_string()))?;
        let storage = |error: &dyn std::fmt::Display| ImageError::Storage(error.to_string());
        if self
            .0
            .blobs
            .size(&id)
            .await
            .map_err(|e| storage(&e))?
            .is_some()
        {
            return Ok(());
        }
        let file = tokio::fs::File::open(file).await.map_err(|e| storage(&e))?;
        let stream = tokio_util::io::ReaderStream::with_capacity(file, 1 << 20);
        uploads::store(&self.0.blobs, &id, stream)
            .await
            .map_err(ImageError::Storage)
    }

    async fn open_blob(&self, digest: &str) -> Result<std::fs::File, ImageError> {
        let id = BlobId::parse(digest).map_err(|error| ImageError::Storage(error.to_string()))?;
        self.0
            .blobs
            .open_file(&id)
            .map_err(|error| ImageError::Storage(error.to_string()))
    }

    async fn put_manifest(
        &self,
        repository: &str,
        tag: Option<&str>,
        media_type: &str,
        manifest: Bytes,
    ) -> Result<String, ImageError> {
        let tags: Vec<String> = tag.map(str::to_string).into_iter().collect();
        let put = self
            .put_checked(repository, &tags, media_type, manifest, Check::Stored)
            .await
            .map_err(storage)?;
        Ok(put.digest.to_string())
    }
}

fn storage(refusal: Refusal) -> ImageError {
    ImageError::Storage(refusal.message)
}

impl Registry {
    pub(crate) async fn resolve_local(&self, reference: &str) -> Result<LocalImage, ImageError> {
        let parsed = self.parse(reference)?;
        match self.here(&parsed) {
            Some((repository, digest)) => self.load(&repository, &digest).await,
            None => Err(ImageError::NotFound(reference.to_string())),
        }
    }

    fn parse(&self, reference: &str) -> Result<Reference, ImageError> {
        let mut parsed: Reference = reference
            .parse()
            .map_err(|_| ImageError::Invalid(reference.to_string()))?;
        if parsed
            .host
            .as_ref()
            .is_some_and(|host| self.0.config.own_hosts.contains(host))
        {
            parsed.host = None;
        }
        Ok(parsed)
    }

    // Repository and digest of a reference that is listed here.
    fn here(&self, reference: &Reference) -> Option<(String, BlobId)> {
        let names = reference.local_repositories();
        names.into_iter().find_map(|name| {
            let (digest, _) = self.find(&name, reference.manifest()).ok()?;
            Some((name, digest))
        })
    }

    // The image, through an index to this machine's platform.
    async fn load(&self, repository: &str, digest: &BlobId) -> Result<LocalImage, ImageError> {
        let mut digest = digest.clone();
        for _ in 0..3 {
            let (id, listed) = self
                .find(repository, &digest.to_string())
                .map_err(|refusal| match refusal.code {
                    Code::ManifestUnknown => ImageError::NotFound(format!("{repository}@{digest}")),
                    _ => storage(refusal),
                })?;
            let bytes = self.manifest_bytes(&id).await.map_err(storage)?;
            let manifest = Manifest::parse(&bytes, &listed.media_type)
                .map_err(|e| ImageError::Storage(e.to_string()))?;
            if let Some(config) = manifest.config.as_ref().filter(|_| !manifest.is_index()) {
                let id = BlobId::parse(&config.digest)
                    .map_err(|e| ImageError::Storage(e.to_string()))?;
                let config = self
                    .0
                    .blobs
                    .read_all(&id, config::CONFIG_BYTES as u64)
                    .await;
                let config = config.map_err(|e| ImageError::Storage(e.to_string()))?;
                return Ok(LocalImage {
                    digest: digest.to_string(),
                    manifest: bytes,
                    config,
                });
            }
            let member = member(&manifest, &format!("{repository}@{digest}"))?;
            digest = check_digest(&member.digest).map_err(storage)?;
        }
        Err(ImageError::Storage(format!(
            "{repository}@{digest}: index within index within index"
        )))
    }

    async fn pull(&self, reference: &str, parsed: &Reference) -> Result<LocalImage, ImageError> {
        if !self.0.config.pull_through
            || parsed
                .host
                .as_ref()
                .is_some_and(|h| self.0.config.own_hosts.contains(h))
        {
            return Err(ImageError::NotFound(reference.to_string()));
        }
        let flight = self.0.origin.flight(reference);
        let _alone = flight.lock().await;
        if let Some((repository, digest)) = self.here(parsed)
            && let Ok(image) = self.load(&repository, &digest).await
        {
            return Ok(image);
        }
        let failed = |cause: String| ImageError::Pull {
            reference: reference.to_string(),
            cause,
        };
        if let Some(cause) = self.0.origin.failed(reference, self.0.clock.monotonic()) {
            return Err(failed(cause));
        }
        match self.fetch(parsed).await {
            Ok((repository, digest)) => self.load(&repository, &digest).await,
            Err(cause) => {
                self.0
                    .origin
                    .remember(reference, self.0.clock.monotonic(), cause.clone());
                Err(failed(cause))
            }
        }
    }

    // Copies an image for this platform from its origin: blobs first, then the manifest, then
    // the index that led to it, so that what is listed is whole.
    async fn fetch(&self, reference: &Reference) -> Result<(String, BlobId), String> {
        let (host, remote) = reference.origin();
        let host = self.0.origin.endpoint(host).to_string();
        let client = &self.0.origin.client;
        // The most specific name: it says where the image came from.
        let repository = reference
            .local_repositories()
            .pop()
            .unwrap_or_else(|| remote.clone());
        let tags: Vec<String> = match &reference.digest {
            Some(_) => Vec::new(),
            None => vec![reference.manifest().to_string()],
        };
        let top = client
            .manifest(&host, &remote, reference.manifest())
            .await
            .map_err(|e| e.to_string())?;
        let manifest = Manifest::parse(&top.bytes, &top.media_type).map_err(|e| e.to_string())?;
        if manifest.is_index() {
            let member = member(&manifest, &remote).map_err(|e| e.to_string())?;
            let image = client
                .manifest(&host, &remote, &member.digest)
                .await
                .map_err(|e| e.to_string())?;
            let parsed =
                Manifest::parse(&image.bytes, &image.media_type).map_err(|e| e.to_string())?;
            self.fetch_blobs(&host, &remote, &parsed).await?;
            self.list(
                &repository,
                &[],
                &image.media_type,
                image.bytes,
                Check::Stored,
            )
            .await?;
        } else {
            self.fetch_blobs(&host, &remote, &manifest).await?;
        }
        self.list(
            &repository,
            &tags,
            &top.media_type,
            top.bytes,
            Check::Sparse,
        )
        .await
        .map(|digest| (repository, digest))
    }

    async fn list(
        &self,
        repository: &str,
        tags: &[String],
        media_type: &str,
        bytes: Bytes,
        check: Check,
    ) -> Result<BlobId, String> {
        let put = self
            .put_checked(repository, tags, media_type, bytes, check)
            .await;
        put.map(|put| put.digest).map_err(|refusal| refusal.message)
    }

    async fn fetch_blobs(
        &self,
        host: &str,
        remote: &str,
        manifest: &Manifest,
    ) -> Result<(), String> {
        let wanted: Vec<&Descriptor> = manifest.config.iter().chain(&manifest.layers).collect();
        futures::stream::iter(wanted.into_iter().map(Ok))
            .try_for_each_concurrent(PARALLEL, |descriptor| async move {
                let id = BlobId::parse(&descriptor.digest).map_err(|e| e.to_string())?;
                if self
                    .0
                    .blobs
                    .size(&id)
                    .await
                    .map_err(|e| e.to_string())?
                    .is_some()
                {
                    return Ok(());
                }
                if descriptor.size > BLOB_BYTES {
                    return Err(format!(
                        "{} claims {} bytes",
                        descriptor.digest, descriptor.size
                    ));
                }
                let digest = descriptor
                    .digest
                    .parse()
                    .map_err(|e: towpath_oci::Error| e.to_string())?;
                let stream = self
                    .0
                    .origin
                    .client
                    .blob(host, remote, &digest, descriptor.size)
                    .await;
                let stream = stream.map_err(|e| e.to_string())?;
                uploads::store(&self.0.blobs, &id, Box::pin(stream)).await
            })
            .await
    }
}

fn member<'a>(manifest: &'a Manifest, subject: &str) -> Result<&'a Descriptor, ImageError> {
    manifest
        .select("linux", architecture())
        .ok_or_else(|| ImageError::NotFound(format!("{subject} for linux/{}", architecture())))
}
