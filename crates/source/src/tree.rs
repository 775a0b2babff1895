//! [`SourceTree`] over the bare repositories: commits and files through git's plumbing.

use crate::git::{Git, LIMIT};
use crate::names::{RepoName, ZERO, is_id, is_revision, is_tree_path};
use async_trait::async_trait;
use bytes::Bytes;
use std::io;
use std::path::{Path, PathBuf};
use towpath_kit::traits::{CommitInfo, CommitRequest, SourceError, SourceTree, TreeFile};
use towpath_stdx::process::Output;

const FILES: usize = 20_000;
const FILE_BYTES: u64 = 256 << 20;
const DIFF_BYTES: u64 = 1 << 20;
const LISTING_BYTES: u64 = 32 << 20;
/// The tree without files; git knows it without having it.
const EMPTY_TREE: &str = "4b825dc642cb6eb9a060e54bf8d69288fbee4904";
const COMMIT_FORMAT: &str = "--format=tformat:%H%x00%T%x00%P%x00%an <%ae>%x00%at%x00%B%x00";

/// Trees and commits of all repositories.
pub(crate) struct Trees {
    pub(crate) git: Git,
}

fn said(what: &str, error: impl std::fmt::Display) -> SourceError {
    SourceError::Git(format!("{what}: {error}"))
}

/// Standard output of a success.
pub(crate) fn ended(what: &str, out: io::Result<Output>) -> Result<Vec<u8>, SourceError> {
    out.and_then(|out| out.success(what))
        .map_err(|error| said(what, error))
}

impl Trees {
    /// The directory of a repository that exists.
    pub(crate) fn dir(&self, repository: &str) -> Result<PathBuf, SourceError> {
        let missing = || SourceError::NotFound(format!("repository {repository}"));
        let dir = RepoName::parse(repository)
            .ok_or_else(missing)?
            .dir(self.git.root());
        if dir.join("HEAD").is_file() {
            Ok(dir)
        } else {
            Err(missing())
        }
    }

    async fn text(&self, dir: &Path, args: &[&str], bytes: u64) -> Result<Vec<u8>, SourceError> {
        let mut command = self.git.command(dir);
        command.args(args);
        let what = format!("git {}", args.first().copied().unwrap_or_default());
        let out = ended(&what, Git::run(command, bytes + 1).await)?;
        if out.len() as u64 > bytes {
            return Err(SourceError::TooLarge(format!(
                "{what} said more than {bytes} bytes"
            )));
        }
        Ok(out)
    }

    async fn commits(
        &self,
        dir: &Path,
        revision: &str,
        limit: usize,
    ) -> Result<Vec<CommitInfo>, SourceError> {
        let count = format!("--max-count={}", limit.clamp(1, 1000));
        let args = [
            "-c",
            "i18n.logOutputEncoding=UTF-8",
            "log",
            "--first-parent",
            "--no-show-signature",
            "--no-color",
            &count,
            COMMIT_FORMAT,
            "--end-of-options",
            revision,
            "--",
        ];
        let out = self.text(dir, &args, LISTING_BYTES).await?;
        Ok(parse_commits(&String::from_utf8_lossy(&out)))
    }

    async fn commit_id(&self, dir: &Path, revision: &str) -> Result<String, SourceError> {
        let missing = || SourceError::NotFound(format!("revision {revision:?}"));
        if !is_revision(revision) {
            return Err(missing());
        }
        let mut command = self.git.command(dir);
        let peeled = format!("{revision}^{{commit}}");
        command.args([
            "rev-parse",
            "--quiet",
            "--verify",
            "--end-of-options",
            &peeled,
        ]);
        let out = Git::run(command, 1024)
            .await
            .map_err(|e| said("git rev-parse", e))?;
        let text = String::from_utf8_lossy(&out.stdout).trim().to_string();
        if out.code == Some(0) && is_id(&text) {
            Ok(text)
        } else {
            Err(missing())
        }
    }

    /// Mode, object and size of every file below a path.
    async fn listing(
        &self,
        dir: &Path,
        sha: &str,
        under: &str,
    ) -> Result<Vec<Listed>, SourceError> {
        let commit = self.commit_id(dir, sha).await?;
        let mut args = vec![
            "--literal-pathspecs",
            "ls-tree",
            "-r",
            "-z",
            "-l",
            "--full-tree",
            &commit,
            "--",
        ];
        if !under.is_empty() {
            if !is_tree_path(under) {
                return Err(SourceError::NotFound(format!("path {under:?}")));
            }
            args.push(under);
        }
        let out = self.text(dir, &args, LISTING_BYTES).await?;
        Ok(parse_listing(&out))
    }
}

/// One line of `ls-tree -l`.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Listed {
    pub(crate) mode: u32,
    object: String,
    bytes: u64,
    pub(crate) path: String,
}

// Submodules are left out: they are names of commits elsewhere, not content of this tree.
fn parse_listing(out: &[u8]) -> Vec<Listed> {
    out.split(|&b| b == 0)
        .filter_map(|line| {
            let line = std::str::from_utf8(line).ok()?;
            let (head, path) = line.split_once('\t')?;
            let mut words = head.split_ascii_whitespace();
            let mode = u32::from_str_radix(words.next()?, 8).ok()?;
            (words.next()? == "blob").then_some(())?;
            let object = words.next()?.to_string();
            let bytes = words.next()?.parse().ok()?;
            Some(Listed {
                mode,
                object,
                bytes,
                path: path.to_string(),
            })
        })
        .collect()
}

fn parse_commits(text: &str) -> Vec<CommitInfo> {
    let fields: Vec<&str> = text.split('\0').collect();
    fields
        .chunks_exact(6)
        .map(|chunk| CommitInfo {
            sha: chunk[0].trim_start_matches('\n').to_string(),
            tree: chunk[1].to_string(),
            parents: chunk[2]
                .split_ascii_whitespace()
                .map(ToString::to_string)
                .collect(),
            author: chunk[3].to_string(),
            authored_at: chunk[4].parse().unwrap_or_default(),
            message: chunk[5].to_string(),
        })
        .collect()
}

// Answers of `cat-file --batch`: `<object> blob <size> LF <content> LF`.
fn parse_batch(out: &Bytes, wanted: Vec<Listed>) -> Result<Vec<TreeFile>, SourceError> {
    let torn = || SourceError::Git("git cat-file: answer cut short".into());
    let mut at = 0;
    let mut files = Vec::with_capacity(wanted.len());
    for one in wanted {
        let rest = out.get(at..).ok_or_else(torn)?;
        let end = rest.iter().position(|&b| b == b'\n').ok_or_else(torn)?;
        let head = String::from_utf8_lossy(&rest[..end]).into_owned();
        let size: usize = head
            .strip_prefix(&format!("{} blob ", one.object))
            .and_then(|size| size.parse().ok())
            .ok_or_else(|| SourceError::Git(format!("git cat-file: {head}")))?;
        let from = at + end + 1;
        if from + size + 1 > out.len() {
            return Err(torn());
        }
        files.push(TreeFile {
            path: one.path,
            mode: one.mode,
            content: out.slice(from..from + size),
        });
        at = from + size + 1;
    }
    Ok(files)
}

#[async_trait]
impl SourceTree for Trees {
    async fn resolve(&self, repository: &str, revision: &str) -> Result<CommitInfo, SourceError> {
        let dir = self.dir(repository)?;
        let id = self.commit_id(&dir, revision).await?;
        let found = self.commits(&dir, &id, 1).await?;
        found
            .into_iter()
            .next()
            .ok_or_else(|| SourceError::NotFound(format!("commit {id}")))
    }

    async fn files(
        &self,
        repository: &str,
        sha: &str,
        under: &str,
    ) -> Result<Vec<TreeFile>, SourceError> {
        let dir = self.dir(repository)?;
        let listed = self.listing(&dir, sha, under.trim_end_matches('/')).await?;
        let total: u64 = listed.iter().map(|one| one.bytes).sum();
        if listed.len() > FILES || total > FILE_BYTES {
            return Err(SourceError::TooLarge(format!(
                "{} files of {total} bytes at {sha}; at most {FILES} files of {FILE_BYTES} bytes are read",
                listed.len()
            )));
        }
        if listed.is_empty() {
            return Ok(Vec::new());
        }
        let mut command = self.git.command(&dir);
        command.args(["cat-file", "--batch"]);
        let names: String = listed
            .iter()
            .map(|one| format!("{}\n", one.object))
            .collect();
        // Besides the content: a head of less than 80 bytes per object.
        let bound = usize::try_from(total).unwrap_or(usize::MAX) + listed.len() * 80;
        let out = ended(
            "git cat-file",
            Git::feed(command, names.as_bytes(), bound).await,
        )?;
        parse_batch(&Bytes::from(out), listed)
    }

    async fn changed(
        &self,
        repository: &str,
        before: &str,
        after: &str,
    ) -> Result<Vec<String>, SourceError> {
        let dir = self.dir(repository)?;
        let after = self.commit_id(&dir, after).await?;
        let before = match before {
            ZERO => EMPTY_TREE.to_string(),
            before => self.commit_id(&dir, before).await?,
        };
        let args = [
            "diff-tree",
            "-r",
            "-z",
            "--name-only",
            "--no-renames",
            "--end-of-options",
            &before,
            &after,
        ];
        let out = self.text(&dir, &args, LISTING_BYTES).await?;
        let text = String::from_utf8_lossy(&out).into_owned();
        Ok(text
            .split('\0')
            .filter(|path| !path.is_empty())
            .map(ToString::to_string)
            .collect())
    }

    async fn log(
        &self,
        repository: &str,
        revision: &str,
        limit: usize,
    ) -> Result<Vec<CommitInfo>, SourceError> {
        let dir = self.dir(repository)?;
        let id = self.commit_id(&dir, revision).await?;
        self.commits(&dir, &id, limit).await
    }

    async fn diff(
        &self,
        repository: &str,
        from: &str,
        to: &str,
        under: &str,
    ) -> Result<String, SourceError> {
        let dir = self.dir(repository)?;
        let to = self.commit_id(&dir, to).await?;
        let from = match from {
            ZERO => EMPTY_TREE.to_string(),
            from => self.commit_id(&dir, from).await?,
        };
        let mut command = self.git.command(&dir);
        command.args([
            "--literal-pathspecs",
            "diff-tree",
            "-p",
            "-r",
            "--no-color",
            "--no-ext-diff",
            "--no-textconv",
        ]);
        command.args(["--end-of-options", &from, &to, "--"]);
        if !under.is_empty() {
            if !is_tree_path(under) {
                return Err(SourceError::NotFound(format!("path {under:?}")));
            }
            command.arg(under);
        }
        let out = ended("git diff-tree", Git::run(command, DIFF_BYTES).await)?;
        let cut = out.len() as u64 == DIFF_BYTES;
        let mut text = String::from_utf8_lossy(&out).into_owned();
        if cut {
            text.push_str("\n… cut at 1 MiB\n");
        }
        Ok(text)
    }

    async fn commit(
        &self,
        repository: &str,
        request: CommitRequest,
    ) -> Result<String, SourceError> {
        crate::commit::write(self, repository, request).await
    }

    async fn export(&self, repository: &str, sha: &str, into: &Path) -> Result<(), SourceError> {
        let dir = self.dir(repository)?;
        let commit = self.commit_id(&dir, sha).await?;
        let index = crate::commit::ScratchIndex::new(&self.git);
        let mut command = self.git.command(&dir);
        command
            .env("GIT_INDEX_FILE", index.path())
            .args(["read-tree", &commit]);
        ended("git read-tree", Git::run(command, 1024).await)?;
        let mut command = self.git.command(&dir);
        command
            .env("GIT_INDEX_FILE", index.path())
            .env("GIT_WORK_TREE", into)
            .current_dir(into)
            .args([
                "-c",
                "core.bare=false",
                "checkout-index",
                "--all",
                "--quiet",
            ]);
        let out = towpath_stdx::process::run(command, LIMIT * 5, 1024).await;
        ended("git checkout-index", out).map(drop)
    }
}

/// Makes a repository when tests need one without an object.
#[cfg(test)]
pub(crate) async fn for_test(root: &Path) -> (Trees, PathBuf) {
    let trees = Trees {
        git: Git::new(root).expect("directories"),
    };
    let name = RepoName::new("demo", "hello").expect("name");
    let dir = crate::bare::ensure(&trees.git, &name, "main")
        .await
        .expect("repository");
    (trees, dir)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn odd_output_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..200), text in "(?s).{0,200}") {
            let listed = parse_listing(&bytes);
            let _ = parse_commits(&text);
            let _ = parse_batch(&Bytes::from(text.into_bytes()), listed);
        }
    }

    #[tokio::test]
    async fn commits_are_written_read_and_compared() {
        let root = tempfile::tempdir().expect("directory");
        let (trees, _) = for_test(root.path()).await;
        let repo = "demo/hello";
        let first = seed(root.path()).await;
        let file =
            |path: &str, content: &str| (path.to_string(), Some(Bytes::from(content.to_string())));
        let request = |expected: Option<String>, changes| CommitRequest {
            ref_name: "refs/heads/env/dev".into(),
            expected,
            base: first.clone(),
            changes,
            message: "deploy\n\nbody".into(),
            on_behalf_of: "system:serviceaccount:demo:ci".into(),
        };
        let one = trees
            .commit(
                repo,
                request(
                    None,
                    vec![
                        file("deploy/a.yaml", "x: 1\n"),
                        file("run.sh", "#!/bin/sh\n"),
                    ],
                ),
            )
            .await
            .expect("commit");
        let files = trees.files(repo, &one, "").await.expect("files");
        let list: Vec<_> = files.iter().map(|f| (f.path.as_str(), f.mode)).collect();
        assert_eq!(
            list,
            [
                ("deploy/a.yaml", 0o100_644),
                ("readme", 0o100_644),
                ("run.sh", 0o100_755)
            ]
        );
        assert_eq!(&files[0].content[..], b"x: 1\n");

        // The ref is there now, so "must not exist" fails and says where it is.
        let conflict = trees.commit(repo, request(None, vec![])).await;
        assert!(matches!(conflict, Err(SourceError::Conflict { actual, .. }) if actual == one));
        let two = trees
            .commit(
                repo,
                request(Some(one.clone()), vec![("run.sh".into(), None)]),
            )
            .await
            .expect("commit");
        assert_eq!(
            trees.changed(repo, &one, &two).await.expect("paths"),
            ["deploy/a.yaml", "run.sh"]
        );
        let log = trees.log(repo, "env/dev", 10).await.expect("log");
        assert_eq!(
            log.iter().map(|c| c.sha.as_str()).collect::<Vec<_>>(),
            [two.as_str(), one.as_str()]
        );
        assert_eq!(log[0].message.trim_end(), "deploy\n\nbody");
        assert_eq!(
            trees
                .resolve(repo, "refs/heads/env/dev")
                .await
                .expect("commit")
                .parents,
            std::slice::from_ref(&one)
        );
        assert!(
            trees
                .diff(repo, ZERO, &one, "deploy")
                .await
                .expect("diff")
                .contains("+x: 1")
        );
        for wrong in ["--help", "HEAD~1", "nothing", ""] {
            assert!(
                matches!(
                    trees.resolve(repo, wrong).await,
                    Err(SourceError::NotFound(_))
                ),
                "{wrong}"
            );
        }
        let into = tempfile::tempdir().expect("directory");
        trees.export(repo, &one, into.path()).await.expect("export");
        assert_eq!(
            std::fs::read_to_string(into.path().join("deploy/a.yaml")).expect("file"),
            "x: 1\n"
        );
        for path in ["../x", "/x", ".git/config", "a//b", ""] {
            let wrong = trees
                .commit(repo, request(Some(two.clone()), vec![file(path, "x")]))
                .await;
            assert!(wrong.is_err(), "{path}");
        }
    }

    // A first commit on main, made as a client would.
    async fn seed(root: &Path) -> String {
        let dir = root.join("demo/hello.git");
        let git = Git::new(root).expect("directories");
        let run = |args: &'static [&'static str], input: &'static str| {
            let mut command = git.command(&dir);
            for (name, value) in [("NAME", "A"), ("EMAIL", "a@b")] {
                command
                    .env(format!("GIT_AUTHOR_{name}"), value)
                    .env(format!("GIT_COMMITTER_{name}"), value);
            }
            command.args(args);
            async move {
                let out = Git::feed(command, input.as_bytes(), 4096)
                    .await
                    .and_then(|o| o.success("git"));
                String::from_utf8(out.expect("git"))
                    .expect("text")
                    .trim()
                    .to_string()
            }
        };
        let blob = run(&["hash-object", "-w", "--stdin"], "hello\n").await;
        let script = run(&["hash-object", "-w", "--stdin"], "#!/bin/false\n").await;
        let listing = format!("100644 blob {blob}\treadme\n100755 blob {script}\trun.sh\n");
        let listing: &'static str = listing.leak();
        let tree: &'static str = run(&["mktree"], listing).await.leak();
        let args: &'static [&'static str] = vec!["commit-tree", tree, "-m", "first"].leak();
        run(args, "").await
    }
}
