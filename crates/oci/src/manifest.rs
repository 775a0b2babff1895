//! Facts read out of manifests and indexes. The bytes themselves are kept by the caller.

use crate::{Digest, Error};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// OCI image manifest.
pub const IMAGE: &str = "application/vnd.oci.image.manifest.v1+json";
/// OCI image index.
pub const INDEX: &str = "application/vnd.oci.image.index.v1+json";
/// Docker image manifest, version 2 schema 2.
pub const DOCKER_IMAGE: &str = "application/vnd.docker.distribution.manifest.v2+json";
/// Docker manifest list.
pub const DOCKER_LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
/// OCI image configuration.
pub const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
/// Layer, uncompressed.
pub const LAYER_TAR: &str = "application/vnd.oci.image.layer.v1.tar";
/// Layer, gzip.
pub const LAYER_GZIP: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
/// Layer, zstd.
pub const LAYER_ZSTD: &str = "application/vnd.oci.image.layer.v1.tar+zstd";
/// Largest manifest accepted, bytes.
pub const MANIFEST_BYTES: usize = 4 << 20;

/// A reference to content by digest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Descriptor {
    /// Media type of the content.
    #[serde(default)]
    pub media_type: String,
    /// Digest, checked by [`Manifest::parse`].
    pub digest: String,
    /// Bytes.
    pub size: u64,
    /// Platform of an index entry.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub platform: Option<Platform>,
    /// Type of an artifact.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifact_type: Option<String>,
    /// Annotations.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub annotations: Option<BTreeMap<String, String>>,
}

impl Descriptor {
    /// A bare one.
    pub fn new(media_type: &str, digest: &Digest, size: u64) -> Self {
        Self {
            media_type: media_type.into(),
            digest: digest.to_string(),
            size,
            platform: None,
            artifact_type: None,
            annotations: None,
        }
    }
}

/// What an image runs on.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Platform {
    /// `amd64`, `arm64`, …
    #[serde(default)]
    pub architecture: String,
    /// `linux`, …
    #[serde(default)]
    pub os: String,
    /// `v7`, …
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variant: Option<String>,
}

/// An image manifest or an index.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Manifest {
    /// Its media type: the document's own, else the one it was sent with.
    pub media_type: String,
    /// Configuration; none in an index.
    pub config: Option<Descriptor>,
    /// Layers of an image, bottom first.
    pub layers: Vec<Descriptor>,
    /// Members of an index.
    pub manifests: Vec<Descriptor>,
    /// What it refers to.
    pub subject: Option<Descriptor>,
    /// `artifactType`, else the configuration's media type.
    pub artifact_type: Option<String>,
    /// Annotations.
    pub annotations: Option<BTreeMap<String, String>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Document {
    #[serde(default)]
    schema_version: u64,
    media_type: Option<String>,
    config: Option<Descriptor>,
    layers: Option<Vec<Descriptor>>,
    manifests: Option<Vec<Descriptor>>,
    subject: Option<Descriptor>,
    artifact_type: Option<String>,
    annotations: Option<BTreeMap<String, String>>,
}

impl Manifest {
    /// Reads bytes that were sent with a media type (empty where unknown).
    pub fn parse(bytes: &[u8], sent_as: &str) -> Result<Self, Error> {
        if bytes.len() > MANIFEST_BYTES {
            return Err(Error::Manifest(format!(
                "larger than {MANIFEST_BYTES} bytes"
            )));
        }
        let document: Document =
            serde_json::from_slice(bytes).map_err(|e| Error::Manifest(e.to_string()))?;
        if document.schema_version != 2 {
            return Err(Error::Manifest(format!(
                "schemaVersion is {}, not 2",
                document.schema_version
            )));
        }
        if let Some(own) = &document.media_type
            && !sent_as.is_empty()
            && own != sent_as
        {
            return Err(Error::Manifest(format!(
                "mediaType is {own}, but it was sent as {sent_as}"
            )));
        }
        let guess = if document.manifests.is_some() && document.config.is_none() {
            INDEX
        } else {
            IMAGE
        };
        let sent_as = if sent_as.is_empty() { guess } else { sent_as };
        let media_type = document.media_type.unwrap_or_else(|| sent_as.to_string());
        let fallback = document
            .config
            .as_ref()
            .map(|config| config.media_type.clone());
        let manifest = Self {
            config: document.config,
            layers: document.layers.unwrap_or_default(),
            manifests: document.manifests.unwrap_or_default(),
            subject: document.subject,
            artifact_type: document
                .artifact_type
                .filter(|t| !t.is_empty())
                .or(fallback),
            annotations: document.annotations,
            media_type,
        };
        match manifest.media_type.as_str() {
            IMAGE | DOCKER_IMAGE if manifest.config.is_none() => {
                return Err(Error::Manifest("no config".into()));
            }
            IMAGE | DOCKER_IMAGE if !manifest.manifests.is_empty() => {
                return Err(Error::Manifest("both an image and an index".into()));
            }
            INDEX | DOCKER_LIST if manifest.config.is_some() || !manifest.layers.is_empty() => {
                return Err(Error::Manifest("both an image and an index".into()));
            }
            IMAGE | DOCKER_IMAGE | INDEX | DOCKER_LIST => {}
            other => {
                return Err(Error::Manifest(format!(
                    "media type {other:?} is not known"
                )));
            }
        }
        for descriptor in manifest.children().chain(&manifest.subject) {
            descriptor.digest.parse::<Digest>()?;
        }
        Ok(manifest)
    }

    /// Whether it is an index.
    pub fn is_index(&self) -> bool {
        matches!(self.media_type.as_str(), INDEX | DOCKER_LIST)
    }

    /// All content that it needs: configuration and layers, or members.
    pub fn children(&self) -> impl Iterator<Item = &Descriptor> {
        self.config
            .iter()
            .chain(&self.layers)
            .chain(&self.manifests)
    }

    /// The member of an index for a platform; for an exact variant first.
    pub fn select(&self, os: &str, architecture: &str) -> Option<&Descriptor> {
        let fits = |d: &&Descriptor| {
            d.platform
                .as_ref()
                .is_some_and(|p| p.os == os && p.architecture == architecture)
        };
        self.manifests
            .iter()
            .find(fits)
            .or(match &self.manifests[..] {
                [only] if only.platform.is_none() => Some(only),
                _ => None,
            })
    }
}

/// This machine's architecture in the words of OCI.
pub fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        "x86" => "386",
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hostile_documents_are_refused() {
        let digest = format!("sha256:{}", "0".repeat(64));
        let config = format!(r#"{{"mediaType":"x","digest":"{digest}","size":1}}"#);
        let good = format!(r#"{{"schemaVersion":2,"config":{config},"layers":[],"unknown":1}}"#);
        assert!(Manifest::parse(good.as_bytes(), IMAGE).is_ok());
        for bad in [
            "".to_string(),
            "[]".into(),
            "{}".into(),
            r#"{"schemaVersion":1}"#.into(),
            r#"{"schemaVersion":2,"config":{"digest":"sha256:../../x","size":1}}"#.into(),
            r#"{"schemaVersion":2,"config":{"digest":"sha256:00","size":-1}}"#.into(),
            format!(r#"{{"schemaVersion":2,"config":{config},"manifests":[{config}]}}"#),
            format!(r#"{{"schemaVersion":2,"mediaType":"{INDEX}","config":{config}}}"#),
        ] {
            assert!(Manifest::parse(bad.as_bytes(), IMAGE).is_err(), "{bad}");
        }
    }
}
