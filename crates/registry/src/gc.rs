//! Removal of content that nothing reaches, beside running pushes.
//!
//! What is kept: every listed manifest (also one without a tag: a pod may pin its digest), all
//! that those name, and any blob that was pushed, mounted or asked for within the grace. So
//! content goes only after its manifests were deleted, and a push that finds a blob there can
//! rely on it for an hour.

use crate::index::Change;
use crate::{Error, Registry};
use futures::TryStreamExt;
use std::collections::BTreeSet;
use std::time::Duration;

/// How long unlisted content stays.
pub const GRACE: Duration = Duration::from_secs(3600);

/// What a collection did, or would do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Collected {
    /// Digests of removed blobs.
    pub blobs: Vec<String>,
    /// Their bytes.
    pub bytes: u64,
    /// Links of repositories to blobs that no manifest names.
    pub links: usize,
    /// Uploads nobody went on with.
    pub uploads: usize,
}

impl Registry {
    /// Collects what is unreachable and older than `grace`. `keep` says which further digests
    /// are in use by others who share the blob storage. With `dry_run` nothing changes.
    pub async fn collect(
        &self,
        grace: Duration,
        keep: &(dyn Fn(&str) -> bool + Send + Sync),
        dry_run: bool,
    ) -> Result<Collected, Error> {
        let mut done = Collected::default();
        // Listed outside the lock: what is put meanwhile is linked or fresh.
        let stored: Vec<_> = self.0.blobs.list().try_collect().await?;
        let _alone = self.0.naming.write().await;
        let stale = self.stale_links(grace);
        done.links = stale.len();
        let stale_set: BTreeSet<(&str, &str)> = stale
            .iter()
            .map(|(r, d)| (r.as_str(), d.as_str()))
            .collect();
        let reachable = self.reachable(&stale_set);
        for (id, bytes) in &stored {
            let digest = id.to_string();
            if reachable.contains(&digest) || keep(&digest) || self.is_fresh(id, grace) {
                continue;
            }
            done.bytes += bytes;
            done.blobs.push(digest);
        }
        if dry_run {
            return Ok(done);
        }
        let unlink = |(repository, digest): &(String, String)| Change::Unlink {
            repository: repository.clone(),
            digest: digest.clone(),
        };
        if !stale.is_empty() {
            self.commit(stale.iter().map(unlink).collect()).await?;
        }
        for (id, _) in stored
            .iter()
            .filter(|(id, _)| done.blobs.contains(&id.to_string()))
        {
            self.0.blobs.delete(id).await?;
        }
        done.uploads = self.0.uploads.expire()?;
        Ok(done)
    }

    // Links that no manifest of their repository needs and nobody asked for lately.
    fn stale_links(&self, grace: Duration) -> Vec<(String, String)> {
        let now = self.0.now();
        self.read(|index| {
            let mut stale = Vec::new();
            for (name, held) in index.repositories() {
                let named: BTreeSet<&String> =
                    held.manifests.values().flat_map(|m| &m.children).collect();
                for (digest, at) in &held.blobs {
                    if !named.contains(digest) && now.saturating_sub(*at) >= grace.as_secs() {
                        stale.push((name.clone(), digest.clone()));
                    }
                }
            }
            stale
        })
    }

    fn reachable(&self, stale: &BTreeSet<(&str, &str)>) -> BTreeSet<String> {
        self.read(|index| {
            let mut kept = BTreeSet::new();
            for (name, held) in index.repositories() {
                for (digest, listed) in &held.manifests {
                    kept.insert(digest.clone());
                    kept.extend(listed.children.iter().cloned());
                }
                let live = held
                    .blobs
                    .keys()
                    .filter(|digest| !stale.contains(&(name.as_str(), digest.as_str())));
                kept.extend(live.cloned());
            }
            kept
        })
    }

    // By the file's own time: a blob that is put again gets a new file.
    fn is_fresh(&self, id: &towpath_store::BlobId, grace: Duration) -> bool {
        let modified = std::fs::metadata(self.0.blobs.path(id)).and_then(|m| m.modified());
        let age = modified
            .ok()
            .and_then(|at| at.duration_since(std::time::UNIX_EPOCH).ok());
        age.is_none_or(|at| self.0.clock.since_epoch().saturating_sub(at) < grace)
    }
}
