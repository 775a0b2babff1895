//! What the registry lists: per repository its manifests, tags and blob links; pure.

use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// Facts of a manifest, so that listings read no blob.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Listed {
    pub(crate) media_type: String,
    pub(crate) bytes: u64,
    /// Everything it names: configuration, layers, members.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) children: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) subject: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) artifact_type: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) annotations: Option<BTreeMap<String, String>>,
}

/// One durable change.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "op", rename_all = "kebab-case")]
pub(crate) enum Change {
    Manifest {
        repository: String,
        digest: String,
        listed: Listed,
    },
    Tag {
        repository: String,
        tag: String,
        digest: String,
    },
    Link {
        repository: String,
        digest: String,
    },
    RemoveManifest {
        repository: String,
        digest: String,
    },
    RemoveTag {
        repository: String,
        tag: String,
    },
    Unlink {
        repository: String,
        digest: String,
    },
}

#[derive(Debug, Default)]
pub(crate) struct Repository {
    pub(crate) manifests: BTreeMap<String, Listed>,
    pub(crate) tags: BTreeMap<String, String>,
    /// Blobs that were pushed or mounted here, with the second they were last asked for. A
    /// restart counts as asking: the grace before collection starts anew.
    pub(crate) blobs: BTreeMap<String, u64>,
    /// Manifests by the digest of their subject.
    pub(crate) referrers: BTreeMap<String, BTreeSet<String>>,
}

impl Repository {
    fn is_empty(&self) -> bool {
        self.manifests.is_empty() && self.tags.is_empty() && self.blobs.is_empty()
    }

    fn forget(&mut self, digest: &str) {
        let Some(listed) = self.manifests.remove(digest) else {
            return;
        };
        let Some(subject) = listed.subject else {
            return;
        };
        if let Some(referrers) = self.referrers.get_mut(&subject) {
            referrers.remove(digest);
            if referrers.is_empty() {
                self.referrers.remove(&subject);
            }
        }
    }
}

/// All repositories by name.
#[derive(Debug, Default)]
pub(crate) struct Index {
    repositories: BTreeMap<String, Repository>,
}

impl Index {
    pub(crate) fn repository(&self, name: &str) -> Option<&Repository> {
        self.repositories.get(name)
    }

    pub(crate) fn repositories(&self) -> impl Iterator<Item = (&String, &Repository)> {
        self.repositories.iter()
    }

    /// Names after `last`, in order.
    pub(crate) fn names_after<'a>(&'a self, last: &'a str) -> impl Iterator<Item = &'a String> {
        use std::ops::Bound::{Excluded, Unbounded};
        let range = if last.is_empty() {
            (Unbounded, Unbounded)
        } else {
            (Excluded(last), Unbounded)
        };
        self.repositories
            .range::<str, _>(range)
            .map(|(name, _)| name)
    }

    pub(crate) fn apply(&mut self, change: Change, now: u64) {
        match change {
            Change::Manifest {
                repository,
                digest,
                listed,
            } => {
                let held = self.repositories.entry(repository).or_default();
                held.forget(&digest);
                if let Some(subject) = &listed.subject {
                    held.referrers
                        .entry(subject.clone())
                        .or_default()
                        .insert(digest.clone());
                }
                held.manifests.insert(digest, listed);
            }
            Change::Tag {
                repository,
                tag,
                digest,
            } => {
                self.repositories
                    .entry(repository)
                    .or_default()
                    .tags
                    .insert(tag, digest);
            }
            Change::Link { repository, digest } => {
                self.repositories
                    .entry(repository)
                    .or_default()
                    .blobs
                    .insert(digest, now);
            }
            Change::RemoveManifest { repository, digest } => self.with(&repository, |held| {
                held.forget(&digest);
                held.tags.retain(|_, target| *target != digest);
            }),
            Change::RemoveTag { repository, tag } => self.with(&repository, |held| {
                held.tags.remove(&tag);
            }),
            Change::Unlink { repository, digest } => self.with(&repository, |held| {
                held.blobs.remove(&digest);
            }),
        }
    }

    /// Marks a blob as asked for; false where it is not there.
    pub(crate) fn touch(&mut self, repository: &str, digest: &str, now: u64) -> bool {
        let held = self
            .repositories
            .get_mut(repository)
            .and_then(|held| held.blobs.get_mut(digest));
        held.map(|at| *at = now).is_some()
    }

    /// Marks all.
    pub(crate) fn touch_all(&mut self, now: u64) {
        for held in self.repositories.values_mut() {
            held.blobs.values_mut().for_each(|at| *at = now);
        }
    }

    fn with(&mut self, name: &str, change: impl FnOnce(&mut Repository)) {
        if let Some(held) = self.repositories.get_mut(name) {
            change(held);
            if held.is_empty() {
                self.repositories.remove(name);
            }
        }
    }

    /// Changes that make this index out of nothing.
    pub(crate) fn snapshot(&self) -> Vec<Change> {
        let mut changes = Vec::new();
        for (name, held) in &self.repositories {
            let repository = || name.clone();
            changes.extend(held.blobs.keys().map(|d| Change::Link {
                repository: repository(),
                digest: d.clone(),
            }));
            changes.extend(
                held.manifests
                    .iter()
                    .map(|(digest, listed)| Change::Manifest {
                        repository: repository(),
                        digest: digest.clone(),
                        listed: listed.clone(),
                    }),
            );
            changes.extend(held.tags.iter().map(|(tag, digest)| Change::Tag {
                repository: repository(),
                tag: tag.clone(),
                digest: digest.clone(),
            }));
        }
        changes
    }
}
