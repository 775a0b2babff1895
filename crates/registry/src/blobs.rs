//! Blobs: reading with ranges, and uploads in all their forms.

use crate::access::Verb;
use crate::index::Change;
use crate::registry::{check_digest, check_name};
use crate::routes::Call;
use crate::wire::{Answer, CHUNK_MIN, CONTENT_DIGEST, Code, Refusal, UPLOAD_UUID, byte_range};
use axum::body::Body;
use axum::response::Response;
use http::header::{
    ACCEPT_RANGES, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG, LOCATION, RANGE,
};
use http::{HeaderName, StatusCode};
use std::ops::Range;
use tokio::io::{AsyncReadExt, AsyncSeekExt};
use towpath_store::{BlobError, BlobId};

const READ_BYTES: usize = 512 << 10;

pub(crate) async fn get(
    call: &Call<'_>,
    repository: &str,
    digest: &str,
) -> Result<Response, Refusal> {
    let id = check_digest(digest)?;
    let unknown = || {
        Refusal::new(
            Code::BlobUnknown,
            format!("{repository} has no blob {digest}"),
        )
    };
    if !call.registry().touch(repository, digest) {
        return Err(unknown());
    }
    let blobs = &call.registry().0.blobs;
    let size = blobs.size(&id).await?.ok_or_else(unknown)?;
    let answer = |status, length: u64| {
        Answer::new(status)
            .header(CONTENT_TYPE, "application/octet-stream")
            .header(CONTENT_LENGTH, length.to_string())
            .header(ACCEPT_RANGES, "bytes")
            .header(CONTENT_DIGEST, digest)
            .header(ETAG, format!("\"{digest}\""))
    };
    let range = byte_range(&call.headers, size).map_err(|()| {
        Refusal::new(Code::SizeInvalid, "the range is outside the blob")
            .with_status(StatusCode::RANGE_NOT_SATISFIABLE)
            .with_header(CONTENT_RANGE, &format!("bytes */{size}"))
    })?;
    let (answer, wanted) = match range {
        Some(range) => {
            let shown = format!("bytes {}-{}/{size}", range.start, range.end - 1);
            let length = range.end - range.start;
            (
                answer(StatusCode::PARTIAL_CONTENT, length).header(CONTENT_RANGE, shown),
                range,
            )
        }
        None => (answer(StatusCode::OK, size), 0..size),
    };
    if call.is_head() {
        return Ok(answer.body(Body::empty()));
    }
    Ok(answer.body(content(call, &id, wanted).await?))
}

// Large reads: one hop to the blocking pool per half megabyte.
async fn content(call: &Call<'_>, id: &BlobId, range: Range<u64>) -> Result<Body, Refusal> {
    let file = call.registry().0.blobs.open_file(id)?;
    let mut file = tokio::fs::File::from_std(file);
    file.set_max_buf_size(READ_BYTES);
    if range.start > 0 {
        let fail = |source| BlobError::Io {
            what: "seek",
            subject: id.to_string(),
            source,
        };
        file.seek(std::io::SeekFrom::Start(range.start))
            .await
            .map_err(fail)?;
    }
    let reader = file.take(range.end - range.start);
    Ok(Body::from_stream(
        tokio_util::io::ReaderStream::with_capacity(reader, READ_BYTES),
    ))
}

pub(crate) async fn delete(
    call: &Call<'_>,
    repository: &str,
    digest: &str,
) -> Result<Response, Refusal> {
    check_digest(digest)?;
    let registry = call.registry();
    let linked = registry
        .repository(repository, |held| held.blobs.contains_key(digest))
        .unwrap_or(false);
    if !linked {
        return Err(Refusal::new(
            Code::BlobUnknown,
            format!("{repository} has no blob {digest}"),
        ));
    }
    let user = registry.repository(repository, |held| {
        let uses =
            |listed: &crate::index::Listed| listed.children.iter().any(|child| child == digest);
        held.manifests
            .iter()
            .find(|(_, listed)| uses(listed))
            .map(|(manifest, _)| manifest.clone())
    });
    if let Some(Some(manifest)) = user {
        let message = format!("blob {digest} is part of manifest {manifest}; delete that first");
        return Err(Refusal::new(Code::Denied, message).with_status(StatusCode::METHOD_NOT_ALLOWED));
    }
    registry
        .commit(vec![Change::Unlink {
            repository: repository.into(),
            digest: digest.into(),
        }])
        .await?;
    Ok(Answer::new(StatusCode::ACCEPTED).empty())
}

pub(crate) async fn start(
    call: &Call<'_>,
    repository: &str,
    body: Body,
) -> Result<Response, Refusal> {
    if let Some(algorithm) = call.parameter("digest-algorithm")
        && algorithm != "sha256"
    {
        return Err(Refusal::new(
            Code::DigestInvalid,
            format!("{algorithm} is not kept here, sha256 is"),
        ));
    }
    if let Some(digest) = call.parameter("mount")
        && let Some(mounted) = mount(call, repository, digest, call.parameter("from")).await?
    {
        return Ok(mounted);
    }
    let registry = call.registry();
    let id = registry.0.uploads.start(repository).await?;
    let Some(digest) = call.parameter("digest") else {
        return Ok(accepted(repository, &id, 0, StatusCode::ACCEPTED));
    };
    let digest = check_digest(digest)?;
    let result = write_and_name(call, repository, &id, body, &digest).await;
    if result.is_err() {
        registry.0.uploads.abandon(&id)?;
    }
    result
}

// A link to a blob that the caller may read elsewhere; `None` = upload it.
async fn mount(
    call: &Call<'_>,
    repository: &str,
    digest: &str,
    from: Option<&str>,
) -> Result<Option<Response>, Refusal> {
    let id = check_digest(digest)?;
    let registry = call.registry();
    let readable = match from {
        Some(from) => {
            check_name(from)?;
            call.may(Verb::Pull, from) && registry.touch(from, digest)
        }
        None => {
            let holders: Vec<String> = registry.read(|index| {
                let holds = index
                    .repositories()
                    .filter(|(_, held)| held.blobs.contains_key(digest));
                holds.map(|(name, _)| name.clone()).collect()
            });
            holders
                .iter()
                .any(|holder| call.may(Verb::Pull, holder) && registry.touch(holder, digest))
        }
    };
    let _naming = registry.0.naming.read().await;
    if !readable || registry.0.blobs.size(&id).await?.is_none() {
        return Ok(None);
    }
    registry
        .commit(vec![Change::Link {
            repository: repository.into(),
            digest: digest.into(),
        }])
        .await?;
    Ok(Some(created(repository, &id)))
}

pub(crate) async fn status(
    call: &Call<'_>,
    repository: &str,
    id: &str,
) -> Result<Response, Refusal> {
    let open = call.registry().0.uploads.open(repository, id).await?;
    Ok(accepted(
        repository,
        id,
        open.offset(),
        StatusCode::NO_CONTENT,
    ))
}

pub(crate) async fn patch(
    call: &Call<'_>,
    repository: &str,
    id: &str,
    body: Body,
) -> Result<Response, Refusal> {
    let open = call.registry().0.uploads.open(repository, id).await?;
    in_order(call, repository, id, open.offset())?;
    let open = open
        .append(body, call.registry().0.config.blob_bytes)
        .await?;
    Ok(accepted(
        repository,
        id,
        open.offset(),
        StatusCode::ACCEPTED,
    ))
}

pub(crate) async fn finish(
    call: &Call<'_>,
    repository: &str,
    id: &str,
    body: Body,
) -> Result<Response, Refusal> {
    let digest = call
        .parameter("digest")
        .ok_or_else(|| Refusal::new(Code::DigestInvalid, "no digest is given"))?;
    let digest = check_digest(digest)?;
    let open = call.registry().0.uploads.open(repository, id).await?;
    in_order(call, repository, id, open.offset())?;
    drop(open);
    write_and_name(call, repository, id, body, &digest).await
}

pub(crate) async fn cancel(
    call: &Call<'_>,
    repository: &str,
    id: &str,
) -> Result<Response, Refusal> {
    let uploads = &call.registry().0.uploads;
    let open = uploads.open(repository, id).await?;
    uploads.abandon(id)?;
    drop(open);
    Ok(Answer::new(StatusCode::NO_CONTENT).body(Body::empty()))
}

async fn write_and_name(
    call: &Call<'_>,
    repository: &str,
    id: &str,
    body: Body,
    digest: &BlobId,
) -> Result<Response, Refusal> {
    let registry = call.registry();
    let open = registry.0.uploads.open(repository, id).await?;
    let open = open.append(body, registry.0.config.blob_bytes).await?;
    // From the name to the link nothing may collect it.
    let _naming = registry.0.naming.read().await;
    let finished = open.finish(digest).await;
    registry.0.uploads.forget(id);
    finished?;
    registry
        .commit(vec![Change::Link {
            repository: repository.into(),
            digest: digest.to_string(),
        }])
        .await?;
    Ok(created(repository, digest))
}

// `Content-Range: <first>-<last>` must start at the offset and match the length.
fn in_order(call: &Call<'_>, repository: &str, id: &str, offset: u64) -> Result<(), Refusal> {
    let Some(text) = call
        .headers
        .get(CONTENT_RANGE)
        .and_then(|v| v.to_str().ok())
    else {
        return Ok(());
    };
    let bad = |message: &str| {
        Refusal::new(Code::BlobUploadInvalid, message)
            .with_status(StatusCode::RANGE_NOT_SATISFIABLE)
            .with_header(RANGE, &held(offset))
            .with_header(LOCATION, &location(repository, id))
    };
    let text = text
        .trim()
        .trim_start_matches("bytes ")
        .trim_start_matches("bytes=");
    let text = text.split('/').next().unwrap_or_default();
    let numbers = text
        .split_once('-')
        .and_then(|(a, b)| Some((a.parse::<u64>().ok()?, b.parse::<u64>().ok()?)));
    let (first, last) = numbers
        .filter(|(a, b)| a <= b)
        .ok_or_else(|| bad("malformed Content-Range"))?;
    if first != offset {
        return Err(bad(&format!("the upload stands at {offset}")));
    }
    let length = call
        .headers
        .get(CONTENT_LENGTH)
        .and_then(|v| v.to_str().ok())
        .and_then(|v| v.parse::<u64>().ok());
    if length.is_some_and(|length| length != last - first + 1) {
        let message = "Content-Range and Content-Length differ";
        return Err(Refusal::new(Code::SizeInvalid, message).with_header(RANGE, &held(offset)));
    }
    Ok(())
}

fn location(repository: &str, id: &str) -> String {
    format!("/v2/{repository}/blobs/uploads/{id}")
}

// The last byte held, inclusive; an empty upload says `0-0` as the reference implementation.
fn held(offset: u64) -> String {
    format!("0-{}", offset.saturating_sub(1))
}

fn accepted(repository: &str, id: &str, offset: u64, status: StatusCode) -> Response {
    let answer = Answer::new(status)
        .header(LOCATION, location(repository, id))
        .header(HeaderName::from_static("range"), held(offset))
        .header(UPLOAD_UUID, id)
        .header(CHUNK_MIN, "1");
    if status == StatusCode::NO_CONTENT {
        answer.body(Body::empty())
    } else {
        answer.empty()
    }
}

fn created(repository: &str, id: &BlobId) -> Response {
    Answer::new(StatusCode::CREATED)
        .header(LOCATION, format!("/v2/{repository}/blobs/{id}"))
        .header(CONTENT_DIGEST, id.to_string())
        .empty()
}
