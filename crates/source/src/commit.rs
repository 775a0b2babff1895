//! Commits written by the server: a temporary index, no work tree, the ref moved by
//! compare-and-swap. Their entry in the ref's log carries the server's identity, so they start
//! no run.

use crate::git::Git;
use crate::names::{ZERO, is_id, is_ref, is_tree_path};
use crate::pushes::{SERVER, USER, mail};
use crate::tree::{Trees, ended};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use towpath_kit::traits::{CommitRequest, SourceError};
use towpath_stdx::{SystemRandom, id};

const CHANGES: usize = 20_000;

/// An index file that ends with the value.
pub(crate) struct ScratchIndex(PathBuf);

impl ScratchIndex {
    pub(crate) fn new(git: &Git) -> Self {
        Self(
            git.scratch()
                .join(format!("index-{}", id::uuid(&SystemRandom))),
        )
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for ScratchIndex {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
        let _ = std::fs::remove_file(self.0.with_extension("lock"));
    }
}

/// Writes the commit and moves the ref.
pub(crate) async fn write(
    trees: &Trees,
    repository: &str,
    request: CommitRequest,
) -> Result<String, SourceError> {
    let dir = trees.dir(repository)?;
    check(&request)?;
    let git = &trees.git;
    let index = ScratchIndex::new(git);
    let command = |args: &[&str]| {
        let mut command = git.command(&dir);
        command.env("GIT_INDEX_FILE", index.path()).args(args);
        command
    };
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).trim().to_string();
    let base = format!("{}^{{tree}}", request.base);
    let read = Git::run(command(&["read-tree", &base]), 1024).await;
    ended("git read-tree", read)
        .map_err(|_| SourceError::NotFound(format!("commit {}", request.base)))?;

    let modes = modes(&dir, git, &request).await?;
    let mut lines = Vec::new();
    for (path, content) in &request.changes {
        match content {
            None => lines.extend_from_slice(format!("0 {ZERO}\t{path}\0").as_bytes()),
            Some(content) => {
                let hash =
                    Git::feed(command(&["hash-object", "-w", "--stdin"]), content, 1024).await;
                let object = text(ended("git hash-object", hash)?);
                let mode = modes.get(path).map_or("100644", String::as_str);
                lines.extend_from_slice(format!("{mode} {object}\t{path}\0").as_bytes());
            }
        }
    }
    let updated = Git::feed(
        command(&["update-index", "-z", "--index-info"]),
        &lines,
        1024,
    )
    .await;
    ended("git update-index", updated)?;
    let tree = text(ended(
        "git write-tree",
        Git::run(command(&["write-tree"]), 1024).await,
    )?);

    let mut make = command(&["commit-tree", &tree]);
    if let Some(parent) = &request.expected {
        make.args(["-p", parent]);
    }
    identify(&mut make, &request.on_behalf_of);
    let made = Git::feed(make, request.message.as_bytes(), 1024).await;
    let commit = text(ended("git commit-tree", made)?);
    move_ref(git, &dir, &request, &commit).await?;
    Ok(commit)
}

fn check(request: &CommitRequest) -> Result<(), SourceError> {
    if !is_ref(&request.ref_name) {
        return Err(SourceError::Git(format!(
            "{:?} is no full ref name",
            request.ref_name
        )));
    }
    let ids = [Some(&request.base), request.expected.as_ref()];
    if let Some(wrong) = ids.into_iter().flatten().find(|id| !is_id(id)) {
        return Err(SourceError::NotFound(format!("commit {wrong:?}")));
    }
    if request.changes.len() > CHANGES {
        return Err(SourceError::TooLarge(format!(
            "more than {CHANGES} changed files in one commit"
        )));
    }
    match request.changes.iter().find(|(path, _)| !is_tree_path(path)) {
        Some((path, _)) => Err(SourceError::Git(format!(
            "{path:?} is no path within a repository"
        ))),
        None => Ok(()),
    }
}

// Files keep the mode they have in the base.
async fn modes(
    dir: &Path,
    git: &Git,
    request: &CommitRequest,
) -> Result<BTreeMap<String, String>, SourceError> {
    let mut command = git.command(dir);
    command.args(["ls-tree", "-r", "-z", "--full-tree", &request.base]);
    let out = ended("git ls-tree", Git::run(command, 64 << 20).await)?;
    let text = String::from_utf8_lossy(&out).into_owned();
    let changed: std::collections::BTreeSet<&str> = request
        .changes
        .iter()
        .map(|(path, _)| path.as_str())
        .collect();
    let modes = text.split('\0').filter_map(|line| {
        let (head, path) = line.split_once('\t')?;
        let mode = head.split(' ').next()?;
        (changed.contains(path) && mode.starts_with("100"))
            .then(|| (path.to_string(), mode.to_string()))
    });
    Ok(modes.collect())
}

fn identify(command: &mut tokio::process::Command, on_behalf_of: &str) {
    command
        .env("GIT_AUTHOR_NAME", on_behalf_of)
        .env("GIT_AUTHOR_EMAIL", mail(on_behalf_of, USER))
        .env("GIT_COMMITTER_NAME", "Towpath")
        .env("GIT_COMMITTER_EMAIL", mail("towpath", SERVER));
}

async fn move_ref(
    git: &Git,
    dir: &Path,
    request: &CommitRequest,
    commit: &str,
) -> Result<(), SourceError> {
    let expected = request.expected.as_deref().unwrap_or(ZERO);
    let mut command = git.command(dir);
    identify(&mut command, &request.on_behalf_of);
    let reason = format!(
        "towpath: on behalf of {}",
        request.on_behalf_of.replace(['\n', '\t'], " ")
    );
    command.args([
        "update-ref",
        "--create-reflog",
        "-m",
        &reason,
        &request.ref_name,
        commit,
        expected,
    ]);
    let out = Git::run(command, 1024)
        .await
        .map_err(|e| SourceError::Git(format!("git update-ref: {e}")))?;
    if out.code == Some(0) {
        return Ok(());
    }
    let mut command = git.command(dir);
    command.args([
        "rev-parse",
        "--quiet",
        "--verify",
        "--end-of-options",
        &request.ref_name,
    ]);
    let found = Git::run(command, 1024)
        .await
        .map(|out| String::from_utf8_lossy(&out.stdout).trim().to_string());
    let actual = found
        .ok()
        .filter(|id| is_id(id))
        .unwrap_or_else(|| ZERO.into());
    if actual != expected {
        return Err(SourceError::Conflict {
            ref_name: request.ref_name.clone(),
            expected: expected.into(),
            actual,
        });
    }
    Err(SourceError::Git(format!(
        "git update-ref: {}",
        String::from_utf8_lossy(&out.stderr).trim()
    )))
}
