//! The commit that deploys: the release's own tree with its images pinned by digest, or, for a
//! rollback, the very tree that ran before.

use super::{Promotions, trailer};
use crate::Error;
use crate::environment::branch;
use crate::provenance::{self, Origin};
use bytes::Bytes;
use kube::ResourceExt;
use towpath_kit::cache::Key;
use towpath_kit::kinds::{Environment, Promotion, Release};
use towpath_kit::traits::{CommitInfo, CommitRequest, SourceError};
use towpath_render::{Tree, kustomize};

// Commits of the branch among which an earlier try's commit is looked for.
const RECENT: usize = 20;

impl Promotions {
    /// Writes the commit, or finds it where it was written before. The inner error is a sentence
    /// about something that trying again does not change.
    pub(super) async fn commit(
        &self,
        key: &Key,
        promotion: &Promotion,
        environment: &Environment,
        release: &Release,
    ) -> Result<Result<String, String>, Error> {
        let repository = format!("{}/{}", key.namespace, environment.spec.repository);
        let ref_name = format!("refs/heads/{}", branch(environment));
        let head = match self.tree.resolve(&repository, &ref_name).await {
            Ok(commit) => Some(commit),
            Err(SourceError::NotFound(_)) => None,
            Err(error) => return Err(Error::source(format!("resolve {ref_name}"))(error)),
        };
        if head.is_some() {
            let log = self
                .tree
                .log(&repository, &ref_name, RECENT)
                .await
                .map_err(Error::source(format!("read {ref_name}")))?;
            if let Some(done) = log.iter().find(|c| written_by(c, &key.name)) {
                return Ok(Ok(done.sha.clone()));
            }
        }
        let restored = self
            .restored(&repository, promotion, environment, release)
            .await?;
        let origins = provenance::of_images(release, head.as_ref(), restored.as_ref());
        let (base, changes) = match restored {
            Some(commit) => (commit.sha, Vec::new()),
            None => match self.pinned(&repository, environment, release).await? {
                Ok(changes) => (release.spec.sha.clone(), changes),
                Err(sentence) => return Ok(Err(sentence)),
            },
        };
        let request = CommitRequest {
            ref_name: ref_name.clone(),
            expected: head.map(|c| c.sha),
            base,
            changes,
            message: message(&key.name, promotion, environment, release, &origins),
            on_behalf_of: promotion.spec.by.clone(),
        };
        match self.tree.commit(&repository, request).await {
            Ok(sha) => Ok(Ok(sha)),
            Err(SourceError::TooLarge(words)) => {
                Ok(Err(format!("the commit could not be written: {words}")))
            }
            Err(error) => Err(Error::source(format!("write {ref_name}"))(error)),
        }
    }

    // For a rollback: the commit of the branch that ran the release before.
    async fn restored(
        &self,
        repository: &str,
        promotion: &Promotion,
        environment: &Environment,
        release: &Release,
    ) -> Result<Option<CommitInfo>, Error> {
        if !promotion.spec.goes_back() {
            return Ok(None);
        }
        let history = environment
            .status
            .as_ref()
            .map(|s| s.history.as_slice())
            .unwrap_or_default();
        let name = release.name_any();
        for entry in history {
            if entry.release != name || entry.outcome != "Succeeded" {
                continue;
            }
            if let Ok(commit) = self.tree.resolve(repository, &entry.revision).await {
                return Ok(Some(commit));
            }
        }
        Ok(None)
    }

    // The overlay's kustomization file with the release's digests.
    async fn pinned(
        &self,
        repository: &str,
        environment: &Environment,
        release: &Release,
    ) -> Result<Result<Vec<(String, Option<Bytes>)>, String>, Error> {
        let dir = environment.spec.path.trim_matches('/');
        let what = format!("read {dir} of {repository}");
        let files = match self.tree.files(repository, &release.spec.sha, dir).await {
            Ok(files) => files,
            Err(error) => return Err(Error::source(what)(error)),
        };
        let tree: Tree = files
            .into_iter()
            .map(|f| (f.path, f.content.to_vec()))
            .collect();
        let Some(file) = kustomize::file_of(&tree, dir) else {
            let sentence = format!(
                "{dir} has no kustomization file in commit {}, so images cannot be pinned there",
                release.spec.sha
            );
            return Ok(Err(sentence));
        };
        let text = String::from_utf8_lossy(tree.file(&file).unwrap_or_default()).into_owned();
        let digests: Vec<(String, String)> = release
            .spec
            .images
            .iter()
            .map(|image| (without_host(&image.name).to_string(), image.digest.clone()))
            .collect();
        Ok(match kustomize::pin(&file, &text, &digests) {
            Ok(pinned) => Ok(vec![(file, Some(Bytes::from(pinned)))]),
            Err(finding) => Err(finding.to_string()),
        })
    }
}

fn written_by(commit: &CommitInfo, promotion: &str) -> bool {
    trailer(&commit.message, "Towpath-Promotion") == Some(promotion)
}

fn message(
    name: &str,
    promotion: &Promotion,
    environment: &Environment,
    release: &Release,
    origins: &[Origin],
) -> String {
    let verb = match promotion.spec.kind.as_str() {
        "rollback" => "roll back",
        "auto-rollback" => "automatically roll back",
        "promote" => "promote",
        _ => "deploy",
    };
    let title = if release.spec.title.is_empty() {
        String::new()
    } else {
        format!(": {}", release.spec.title)
    };
    let mut text = format!(
        "{verb} {} to {}{title}\n\n",
        release.name_any(),
        environment.spec.stage
    );
    let reason = promotion.spec.reason.replace('\n', " ");
    if !reason.is_empty() {
        text.push_str(&format!("{reason}\n\n"));
    }
    for (key, value) in [
        ("Towpath-Promotion", name),
        ("Towpath-Release", &release.name_any()),
        ("Towpath-Commit", &release.spec.sha),
    ] {
        text.push_str(&format!("{key}: {value}\n"));
    }
    for origin in origins {
        text.push_str(&format!("{}\n", origin.trailer()));
    }
    text
}

/// Name of an image as manifests write it: without this registry's own host.
fn without_host(name: &str) -> &str {
    match name.split_once('/') {
        Some((host, rest)) if host.contains([':', '.']) || host == "localhost" => rest,
        _ => name,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn image_names_lose_the_host() {
        assert_eq!(without_host("127.0.0.1:8080/demo/hello"), "demo/hello");
        assert_eq!(without_host("demo/hello"), "demo/hello");
    }
}
