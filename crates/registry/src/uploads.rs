//! Uploads in progress. An upload belongs to one repository, lives in the store's staging area
//! and is durable at every offset that was told to the client.
//!
//! Bytes are written by a task of its own: a client that goes away in the middle must not stop
//! a write half way, or the running digest would not be the file's.

use crate::wire::{Code, Refusal};
use axum::body::Body;
use bytes::{Bytes, BytesMut};
use futures::StreamExt;
use http::StatusCode;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::sync::Arc;
use tokio::sync::{Mutex as AsyncMutex, OwnedMutexGuard};
use towpath_oci::Digest;
use towpath_stdx::{SystemRandom, id};
use towpath_store::{BlobError, BlobId, Blobs, Upload};

const PREFIX: &str = "registry-";
// Uploads whose running digest is kept in memory; others are read again when they go on.
const LIVE: usize = 512;
// Bytes collected before they go to the disk.
const WRITE_BYTES: usize = 1 << 20;
// How long an idle upload is kept, seconds.
const IDLE: u64 = 24 * 3600;

type Slot = Arc<AsyncMutex<Option<Upload>>>;

pub(crate) struct Uploads {
    blobs: Blobs,
    live: Mutex<HashMap<String, Slot>>,
}

/// Exclusive use of one upload.
pub(crate) struct Open {
    slot: OwnedMutexGuard<Option<Upload>>,
}

impl Uploads {
    pub(crate) fn new(blobs: Blobs) -> Self {
        Self {
            blobs,
            live: Mutex::default(),
        }
    }

    /// Starts one; returns its id.
    pub(crate) async fn start(&self, repository: &str) -> Result<String, Refusal> {
        // The id carries the repository, so that it is good for no other, also after a restart.
        let id = format!("{}-{}", id::uuid(&SystemRandom), owner(repository));
        let upload = self.blobs.upload(&format!("{PREFIX}{id}")).await?;
        let slot = self.slot(&id);
        *slot.lock().await = Some(upload);
        Ok(id)
    }

    /// Takes an upload for exclusive use. Somebody else's use is a range error, as the offset
    /// is about to move.
    pub(crate) async fn open(&self, repository: &str, id: &str) -> Result<Open, Refusal> {
        let unknown = || Refusal::new(Code::BlobUploadUnknown, "no such upload");
        if !id.ends_with(&format!("-{}", owner(repository))) || id.len() > 100 {
            return Err(unknown());
        }
        let mut slot = self.slot(id).try_lock_owned().map_err(|_| {
            Refusal::new(
                Code::BlobUploadInvalid,
                "the upload is in use by another request",
            )
            .with_status(StatusCode::RANGE_NOT_SATISFIABLE)
        })?;
        if slot.is_none() {
            let resumed = self.blobs.resume(&format!("{PREFIX}{id}")).await;
            if resumed.is_err() {
                self.live.lock().remove(id);
            }
            *slot = Some(resumed.map_err(|error| match error {
                BlobError::Missing(_) | BlobError::Name(_) => unknown(),
                error => error.into(),
            })?);
        }
        Ok(Open { slot })
    }

    pub(crate) fn abandon(&self, id: &str) -> Result<(), Refusal> {
        self.live.lock().remove(id);
        Ok(self.blobs.abandon(&format!("{PREFIX}{id}"))?)
    }

    pub(crate) fn forget(&self, id: &str) {
        self.live.lock().remove(id);
    }

    /// Removes uploads that nobody went on with; returns how many.
    pub(crate) fn expire(&self) -> Result<usize, BlobError> {
        let mut removed = 0;
        for (name, idle) in self.blobs.uploads()? {
            let Some(id) = name.strip_prefix(PREFIX).filter(|_| idle > IDLE) else {
                continue;
            };
            self.live.lock().remove(id);
            self.blobs.abandon(&name)?;
            removed += 1;
        }
        Ok(removed)
    }

    fn slot(&self, id: &str) -> Slot {
        let mut live = self.live.lock();
        if live.len() >= LIVE {
            // Only those in use are needed; the rest is read again from its file.
            live.retain(|_, slot| Arc::strong_count(slot) > 1);
        }
        live.entry(id.to_string()).or_default().clone()
    }
}

fn owner(repository: &str) -> String {
    Digest::of(repository.as_bytes()).hex()[..16].to_string()
}

impl Open {
    /// Bytes so far.
    pub(crate) fn offset(&self) -> u64 {
        self.slot.as_ref().map_or(0, Upload::len)
    }

    /// Appends a request's body and makes it durable; returns the upload and the new offset.
    /// What arrived before an error stays.
    pub(crate) async fn append(self, body: Body, limit_bytes: u64) -> Result<Self, Refusal> {
        let task = towpath_daemon::spawn("registry-upload", self.write(body, limit_bytes));
        match task.await {
            Ok(result) => result,
            Err(error) => Err(Refusal::new(Code::Unknown, format!("upload: {error}"))),
        }
    }

    async fn write(mut self, body: Body, limit_bytes: u64) -> Result<Self, Refusal> {
        // Taken out while it is written: an error leaves the slot empty, to be read again.
        let Some(mut upload) = self.slot.take() else {
            return Err(Refusal::new(Code::BlobUploadUnknown, "no such upload"));
        };
        let mut stream = body.into_data_stream();
        let mut held = BytesMut::new();
        let mut cut = None;
        while let Some(part) = stream.next().await {
            match part {
                Ok(part) if upload.len() + held.len() as u64 + part.len() as u64 > limit_bytes => {
                    let refusal = Refusal::new(
                        Code::SizeInvalid,
                        format!("a blob may have {limit_bytes} bytes"),
                    );
                    cut = Some(refusal.with_status(StatusCode::PAYLOAD_TOO_LARGE));
                    break;
                }
                Ok(part) => held.extend_from_slice(&part),
                Err(error) => {
                    cut = Some(Refusal::new(
                        Code::BlobUploadInvalid,
                        format!("the body ended early: {error}"),
                    ));
                    break;
                }
            }
            if held.len() >= WRITE_BYTES {
                upload.write(held.split().freeze()).await?;
            }
        }
        if !held.is_empty() {
            upload.write(held.freeze()).await?;
        }
        upload.sync().await?;
        *self.slot = Some(upload);
        match cut {
            Some(refusal) => Err(refusal),
            None => Ok(self),
        }
    }

    /// Gives the bytes their name.
    pub(crate) async fn finish(mut self, digest: &BlobId) -> Result<(), Refusal> {
        let Some(upload) = self.slot.take() else {
            return Err(Refusal::new(Code::BlobUploadUnknown, "no such upload"));
        };
        upload.finish(Some(digest)).await?;
        Ok(())
    }
}

/// Writes a stream that checks itself as a blob; used for what comes from elsewhere.
pub(crate) async fn store<E: std::fmt::Display>(
    blobs: &Blobs,
    digest: &BlobId,
    mut stream: impl futures::Stream<Item = Result<Bytes, E>> + Unpin,
) -> Result<(), String> {
    let name = format!("{PREFIX}{}-pull", id::uuid(&SystemRandom));
    let mut upload = blobs.upload(&name).await.map_err(|e| e.to_string())?;
    let mut held = BytesMut::new();
    let result = async {
        while let Some(part) = stream.next().await {
            held.extend_from_slice(&part.map_err(|e| e.to_string())?);
            if held.len() >= WRITE_BYTES {
                upload
                    .write(held.split().freeze())
                    .await
                    .map_err(|e| e.to_string())?;
            }
        }
        upload
            .write(held.freeze())
            .await
            .map_err(|e| e.to_string())?;
        upload.finish(Some(digest)).await.map_err(|e| e.to_string())
    }
    .await;
    if result.is_err() {
        let _ = blobs.abandon(&name);
    }
    result.map(drop)
}
