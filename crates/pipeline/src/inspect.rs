//! Packages of an image, read out of its layers: what the SBOM lists and the vulnerability gate
//! looks up.

use flate2::read::GzDecoder;
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::sync::Arc;
use towpath_kit::traits::Images;
use towpath_scan::lockfiles::{self, Distribution};
use towpath_scan::{Package, sbom};

const LIMIT_LAYER_BYTES: u64 = 16 << 30;
const LIMIT_FILE_BYTES: u64 = 64 << 20;

/// Packages of an image by reference.
pub(crate) async fn packages(
    images: &Arc<dyn Images>,
    reference: &str,
) -> Result<Vec<Package>, String> {
    let image = images.resolve(reference).await.map_err(|e| e.to_string())?;
    let manifest: Value = serde_json::from_slice(&image.manifest)
        .map_err(|e| format!("manifest of {reference}: {e}"))?;
    let mut layers = Vec::new();
    for layer in manifest
        .get("layers")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
    {
        let text = |key: &str| {
            layer
                .get(key)
                .and_then(Value::as_str)
                .unwrap_or_default()
                .to_string()
        };
        let file = images
            .open_blob(&text("digest"))
            .await
            .map_err(|e| e.to_string())?;
        layers.push((text("mediaType"), file));
    }
    let reference = reference.to_string();
    let work = move || read_layers(layers).map_err(|e| format!("layers of {reference}: {e}"));
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|e| e.to_string())?
}

// Later layers replace files of earlier ones, whiteouts take them away.
fn read_layers(layers: Vec<(String, File)>) -> std::io::Result<Vec<Package>> {
    let mut files: BTreeMap<String, Vec<u8>> = BTreeMap::new();
    for (media_type, file) in layers {
        let reader: Box<dyn Read> = if media_type.ends_with("zstd") {
            Box::new(zstd::Decoder::new(file)?)
        } else if media_type.ends_with("gzip") {
            Box::new(GzDecoder::new(std::io::BufReader::new(file)))
        } else {
            Box::new(std::io::BufReader::new(file))
        };
        let mut archive = tar::Archive::new(reader.take(LIMIT_LAYER_BYTES));
        for entry in archive.entries()? {
            let mut entry = entry?;
            let path = entry
                .path()?
                .to_string_lossy()
                .trim_start_matches("./")
                .trim_start_matches('/')
                .to_string();
            let (parent, name) = path.rsplit_once('/').unwrap_or(("", &path));
            if name == ".wh..wh..opq" {
                files.retain(|p, _| !p.starts_with(&format!("{parent}/")));
            } else if let Some(gone) = name.strip_prefix(".wh.") {
                let gone = if parent.is_empty() {
                    gone.to_string()
                } else {
                    format!("{parent}/{gone}")
                };
                files.retain(|p, _| *p != gone && !p.starts_with(&format!("{gone}/")));
            } else if entry.header().entry_type().is_file()
                && is_interesting(&path)
                && entry.size() <= LIMIT_FILE_BYTES
            {
                let bytes = towpath_stdx::bounded::read_all(&mut entry, LIMIT_FILE_BYTES)?;
                files.insert(path, bytes);
            }
        }
    }
    let release = files
        .get("etc/os-release")
        .or_else(|| files.get("usr/lib/os-release"));
    let distribution = release
        .map(|r| Distribution::from_os_release(&String::from_utf8_lossy(r)))
        .unwrap_or_default();
    let mut packages = Vec::new();
    for (path, bytes) in files.iter().filter(|(p, _)| lockfiles::kind(p).is_some()) {
        // A lock file of an application in the image that cannot be read says nothing about it.
        if let Ok(found) = lockfiles::read(path, bytes, &distribution) {
            packages.extend(found);
        }
    }
    Ok(packages)
}

fn is_interesting(path: &str) -> bool {
    matches!(path, "etc/os-release" | "usr/lib/os-release") || lockfiles::kind(path).is_some()
}

/// Makes the SBOM of an image and keeps it as the image's referrer; returns its manifest's
/// digest. The same image gives the same SBOM, so doing it again changes nothing.
pub(crate) async fn attach_sbom(
    images: &Arc<dyn Images>,
    name: &str,
    digest: &str,
) -> Result<String, String> {
    let reference = format!("{name}@{digest}");
    let found = packages(images, &reference).await?;
    let image = images
        .resolve(&reference)
        .await
        .map_err(|e| e.to_string())?;
    let subject = sbom::Subject {
        name: name.to_string(),
        version: digest.to_string(),
    };
    let document = sbom::cyclonedx(&subject, &found);
    let blob = put(images, &document).await?;
    let empty = put(images, b"{}").await?;
    let manifest_type = "application/vnd.oci.image.manifest.v1+json";
    let own: Value = serde_json::from_slice(&image.manifest).unwrap_or_default();
    let subject_type = own
        .get("mediaType")
        .and_then(Value::as_str)
        .unwrap_or(manifest_type);
    let manifest = serde_json::json!({
        "schemaVersion": 2,
        "mediaType": manifest_type,
        "artifactType": sbom::MEDIA_TYPE,
        "config": {"mediaType": "application/vnd.oci.empty.v1+json", "digest": empty, "size": 2},
        "layers": [{"mediaType": sbom::MEDIA_TYPE, "digest": blob, "size": document.len()}],
        "subject": {"mediaType": subject_type, "digest": image.digest, "size": image.manifest.len()},
    });
    let bytes = serde_json::to_vec(&manifest).map_err(|e| e.to_string())?;
    images
        .put_manifest(name, None, manifest_type, bytes.into())
        .await
        .map_err(|e| e.to_string())
}

async fn put(images: &Arc<dyn Images>, bytes: &[u8]) -> Result<String, String> {
    use sha2::{Digest, Sha256};
    let digest = format!("sha256:{}", towpath_stdx::id::hex(&Sha256::digest(bytes)));
    let file = tempfile::NamedTempFile::new().map_err(|e| format!("make a temporary file: {e}"))?;
    std::fs::write(file.path(), bytes).map_err(|e| format!("write a temporary file: {e}"))?;
    images
        .put_blob(&digest, file.path())
        .await
        .map_err(|e| e.to_string())?;
    Ok(digest)
}
