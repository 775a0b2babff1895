//! Manifests: bytes kept as they came, facts read out of them for the index.

use crate::index::{Change, Listed};
use crate::registry::{Registry, check_digest, check_name, check_tag};
use crate::routes::Call;
use crate::wire::{Answer, CONTENT_DIGEST, Code, Refusal, SUBJECT, byte_range};
use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use http::StatusCode;
use http::header::{ACCEPT_RANGES, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG, LOCATION};
use http_body_util::{BodyExt, Limited};
use towpath_oci::Digest;
use towpath_oci::manifest::{MANIFEST_BYTES, Manifest};
use towpath_store::BlobId;

/// How strict a manifest's content is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Check {
    /// Blobs must have been pushed or mounted to the same repository.
    Linked,
    /// Blobs must exist; they are linked. For callers in this process.
    Stored,
    /// Members of an index may be missing.
    Sparse,
}

/// A manifest that was put.
pub(crate) struct Put {
    pub(crate) digest: BlobId,
    pub(crate) subject: Option<String>,
}

impl Registry {
    /// Digest and facts of a manifest by tag or digest.
    pub(crate) fn find(
        &self,
        repository: &str,
        reference: &str,
    ) -> Result<(BlobId, Listed), Refusal> {
        let digest = if reference.contains(':') {
            check_digest(reference)?.to_string()
        } else {
            check_tag(reference)?;
            self.repository(repository, |held| held.tags.get(reference).cloned())
                .flatten()
                .unwrap_or_default()
        };
        let known = self.read(|index| index.repository(repository).is_some());
        if !known {
            return Err(Refusal::new(
                Code::NameUnknown,
                format!("no repository {repository}"),
            ));
        }
        let listed = self
            .repository(repository, |held| held.manifests.get(&digest).cloned())
            .flatten();
        let unknown = || {
            Refusal::new(
                Code::ManifestUnknown,
                format!("{repository} has no manifest {reference}"),
            )
        };
        Ok((
            BlobId::parse(&digest).map_err(|_| unknown())?,
            listed.ok_or_else(unknown)?,
        ))
    }

    /// Stores and lists a manifest under its digest and the tags.
    pub(crate) async fn put_checked(
        &self,
        repository: &str,
        tags: &[String],
        media_type: &str,
        bytes: Bytes,
        check: Check,
    ) -> Result<Put, Refusal> {
        check_name(repository)?;
        for tag in tags {
            check_tag(tag)?;
        }
        let invalid =
            |error: towpath_oci::Error| Refusal::new(Code::ManifestInvalid, error.to_string());
        let manifest = Manifest::parse(&bytes, media_type).map_err(invalid)?;
        let _naming = self.0.naming.read().await;
        let mut changes = self.children(repository, &manifest, check).await?;
        let listed = Listed {
            media_type: manifest.media_type.clone(),
            bytes: bytes.len() as u64,
            children: manifest
                .children()
                .map(|child| child.digest.clone())
                .collect(),
            subject: manifest
                .subject
                .as_ref()
                .map(|subject| subject.digest.clone()),
            artifact_type: manifest.artifact_type.clone(),
            annotations: manifest.annotations.clone(),
        };
        let digest = self.0.blobs.put(bytes).await?;
        let subject = listed.subject.clone();
        changes.push(Change::Manifest {
            repository: repository.into(),
            digest: digest.to_string(),
            listed,
        });
        changes.extend(tags.iter().map(|tag| Change::Tag {
            repository: repository.into(),
            tag: tag.clone(),
            digest: digest.to_string(),
        }));
        self.commit(changes).await?;
        Ok(Put { digest, subject })
    }

    // Checks that what a manifest names is there; returns the links to make.
    async fn children(
        &self,
        repository: &str,
        manifest: &Manifest,
        check: Check,
    ) -> Result<Vec<Change>, Refusal> {
        let missing = |digest: &str| {
            Refusal::new(
                Code::ManifestBlobUnknown,
                format!("{repository} has no {digest}"),
            )
        };
        let mut links = Vec::new();
        for child in manifest.config.iter().chain(&manifest.layers) {
            // Layers that may not be distributed are fetched from where their URLs say.
            if child.media_type.contains("nondistributable") || child.media_type.contains("foreign")
            {
                continue;
            }
            let id = check_digest(&child.digest)?;
            let linked = self.touch(repository, &child.digest);
            if (check == Check::Linked && !linked) || self.0.blobs.size(&id).await?.is_none() {
                return Err(missing(&child.digest));
            }
            if !linked {
                links.push(Change::Link {
                    repository: repository.into(),
                    digest: child.digest.clone(),
                });
            }
        }
        if check != Check::Sparse && !self.0.config.sparse_indexes {
            for member in &manifest.manifests {
                let known = self.repository(repository, |held| {
                    held.manifests.contains_key(&member.digest)
                });
                if known != Some(true) {
                    return Err(missing(&member.digest));
                }
            }
        }
        Ok(links)
    }

    /// A manifest's bytes.
    pub(crate) async fn manifest_bytes(&self, id: &BlobId) -> Result<Bytes, Refusal> {
        Ok(self.0.blobs.read_all(id, MANIFEST_BYTES as u64).await?)
    }
}

pub(crate) async fn get(
    call: &Call<'_>,
    repository: &str,
    reference: &str,
) -> Result<Response, Refusal> {
    let (id, listed) = call.registry().find(repository, reference)?;
    let digest = id.to_string();
    let answer = |status, length: u64| {
        Answer::new(status)
            .header(CONTENT_TYPE, &listed.media_type)
            .header(CONTENT_LENGTH, length.to_string())
            .header(ACCEPT_RANGES, "bytes")
            .header(CONTENT_DIGEST, &digest)
            .header(ETAG, format!("\"{digest}\""))
    };
    let range = byte_range(&call.headers, listed.bytes).map_err(|()| {
        Refusal::new(Code::SizeInvalid, "the range is outside the manifest")
            .with_status(StatusCode::RANGE_NOT_SATISFIABLE)
            .with_header(CONTENT_RANGE, &format!("bytes */{}", listed.bytes))
    })?;
    let answer = match &range {
        Some(range) => answer(StatusCode::PARTIAL_CONTENT, range.end - range.start).header(
            CONTENT_RANGE,
            format!("bytes {}-{}/{}", range.start, range.end - 1, listed.bytes),
        ),
        None => answer(StatusCode::OK, listed.bytes),
    };
    if call.is_head() {
        return Ok(answer.body(Body::empty()));
    }
    let bytes = call.registry().manifest_bytes(&id).await?;
    let bytes = match range {
        Some(range) if range.end as usize <= bytes.len() => {
            bytes.slice(range.start as usize..range.end as usize)
        }
        _ => bytes,
    };
    Ok(answer.body(Body::from(bytes)))
}

pub(crate) async fn put(
    call: &Call<'_>,
    repository: &str,
    reference: &str,
    body: Body,
) -> Result<Response, Refusal> {
    let is_digest = reference.contains(':');
    let mut tags: Vec<String> = call.parameters("tag").map(str::to_string).collect();
    if is_digest {
        check_digest(reference)?;
    } else {
        tags.push(reference.to_string());
    }
    let bytes = Limited::new(body, MANIFEST_BYTES)
        .collect()
        .await
        .map_err(|error| {
            if error
                .downcast_ref::<http_body_util::LengthLimitError>()
                .is_some()
            {
                let message = format!("a manifest may have {MANIFEST_BYTES} bytes");
                return Refusal::new(Code::ManifestInvalid, message)
                    .with_status(StatusCode::PAYLOAD_TOO_LARGE);
            }
            Refusal::new(
                Code::ManifestInvalid,
                format!("the body ended early: {error}"),
            )
        })?;
    let bytes = bytes.to_bytes();
    if is_digest && Digest::of(&bytes).as_str() != reference {
        return Err(Refusal::new(
            Code::DigestInvalid,
            format!("content is {}", Digest::of(&bytes)),
        ));
    }
    let media_type = call
        .headers
        .get(CONTENT_TYPE)
        .and_then(|v| v.to_str().ok())
        .unwrap_or_default();
    let media_type = media_type.split(';').next().unwrap_or_default().trim();
    let put = call
        .registry()
        .put_checked(repository, &tags, media_type, bytes, Check::Linked)
        .await?;
    let mut answer = Answer::new(StatusCode::CREATED)
        .header(
            LOCATION,
            format!("/v2/{repository}/manifests/{}", put.digest),
        )
        .header(CONTENT_DIGEST, put.digest.to_string());
    if let Some(subject) = put.subject {
        answer = answer.header(SUBJECT, subject);
    }
    Ok(answer.empty())
}

pub(crate) async fn delete(
    call: &Call<'_>,
    repository: &str,
    reference: &str,
) -> Result<Response, Refusal> {
    let registry = call.registry();
    let (id, _) = registry.find(repository, reference)?;
    let change = if reference.contains(':') {
        Change::RemoveManifest {
            repository: repository.into(),
            digest: id.to_string(),
        }
    } else {
        Change::RemoveTag {
            repository: repository.into(),
            tag: reference.into(),
        }
    };
    registry.commit(vec![change]).await?;
    Ok(Answer::new(StatusCode::ACCEPTED).empty())
}
