//! Grammars of everything that comes from outside and ends up in a path or an argument of git:
//! owners, repository names, refs, revisions, commit ids, paths.

use std::path::{Path, PathBuf};
use towpath_kit::cache::Key;

/// All zeros: no commit.
pub(crate) const ZERO: &str = "0000000000000000000000000000000000000000";

/// A valid owner and repository name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct RepoName {
    owner: String,
    name: String,
}

impl RepoName {
    /// From an object's namespace and name; `None` where they are no names of ours.
    pub(crate) fn new(owner: &str, name: &str) -> Option<Self> {
        let fits =
            word(owner, 63) && !owner.contains('.') && word(name, 63) && !name.ends_with(".git");
        fits.then(|| Self {
            owner: owner.into(),
            name: name.into(),
        })
    }

    /// From the path of a URL, where the name ends in `.git`.
    pub(crate) fn from_url(owner: &str, file: &str) -> Option<Self> {
        Self::new(owner, file.strip_suffix(".git")?)
    }

    /// From `<namespace>/<name>`.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (owner, name) = text.split_once('/')?;
        Self::new(owner, name)
    }

    pub(crate) fn owner(&self) -> &str {
        &self.owner
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Key of the object.
    pub(crate) fn key(&self) -> Key {
        Key::new(&*self.owner, &*self.name)
    }

    /// Where the bare repository lies below `root`.
    pub(crate) fn dir(&self, root: &Path) -> PathBuf {
        root.join(&self.owner).join(format!("{}.git", self.name))
    }
}

impl std::fmt::Display for RepoName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.owner, self.name)
    }
}

// Kubernetes' DNS names: lower case, digits, `-` and `.` inside; no empty label.
fn word(text: &str, longest: usize) -> bool {
    let edge = |b: Option<&u8>| b.is_some_and(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
    let bytes = text.as_bytes();
    bytes.len() <= longest
        && edge(bytes.first())
        && edge(bytes.last())
        && bytes
            .iter()
            .all(|b| edge(Some(b)) || matches!(b, b'-' | b'.'))
        && !text.contains("..")
}

/// Whether a text is a full commit or object id.
pub(crate) fn is_id(text: &str) -> bool {
    text.len() == 40
        && text
            .bytes()
            .all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
}

/// Whether a text is a well-formed full ref name, after `git check-ref-format`.
pub(crate) fn is_ref(text: &str) -> bool {
    text.starts_with("refs/")
        && text.len() <= 512
        && parts_fit(text)
        && text.split('/').count() >= 3
}

/// Whether a text can name a revision: a ref, a short branch or tag name, or a commit id,
/// possibly short. No operators (`^`, `~`, `:`, `@{`).
pub(crate) fn is_revision(text: &str) -> bool {
    text.len() <= 512 && !text.starts_with('-') && parts_fit(text)
}

fn parts_fit(text: &str) -> bool {
    let forbidden = |c: char| c.is_control() || " ~^:?*[\\".contains(c);
    !text.is_empty()
        && text != "@"
        && !text.contains(forbidden)
        && !text.contains("..")
        && !text.contains("@{")
        && !text.ends_with('.')
        && text
            .split('/')
            .all(|part| !part.is_empty() && !part.starts_with('.') && !part.ends_with(".lock"))
}

/// Whether a text is a plain relative path, usable in a tree; empty is not.
pub(crate) fn is_tree_path(text: &str) -> bool {
    !text.contains('\0')
        && text.len() <= 4096
        && text
            .split('/')
            .all(|part| !matches!(part, "" | "." | "..") && !part.eq_ignore_ascii_case(".git"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn only_plain_names_pass() {
        assert!(RepoName::from_url("demo", "hello.git").is_some());
        assert!(RepoName::from_url("demo", "hello.world-2.git").is_some());
        for (owner, file) in [
            ("demo", "hello"),
            ("..", "x.git"),
            ("demo", "...git"),
            ("demo", ".git"),
            ("demo", "-x.git"),
            ("demo", "a..b.git"),
            ("De", "x.git"),
            ("a.b", "x.git"),
            ("", "x.git"),
            ("demo", "a/b.git"),
            ("demo", "a%2fb.git"),
            ("demo", "x\n.git"),
            ("demo", "x\0.git"),
            (".trash", "x.git"),
            ("demo", "x.git.git"),
        ] {
            assert_eq!(RepoName::from_url(owner, file), None, "{owner:?} {file:?}");
        }
    }

    #[test]
    fn refs_follow_gits_own_rules() {
        for good in [
            "refs/heads/main",
            "refs/heads/feature/x",
            "refs/tags/v1.0",
            "refs/heads/ü",
        ] {
            assert!(is_ref(good), "{good}");
        }
        for bad in [
            "main",
            "refs/heads",
            "refs/heads/",
            "refs/heads/a..b",
            "refs/heads/.a",
            "refs/heads/a.lock",
            "refs/heads/a b",
            "refs/heads/a~1",
            "refs/heads/a^",
            "refs/heads/a:b",
            "refs/heads/a?",
            "refs/heads/a*",
            "refs/heads/a[",
            "refs/heads/a\\b",
            "refs/heads/a\tb",
            "refs/heads/a\n",
            "refs//a/b",
            "refs/heads/a@{1}",
            "refs/heads/a.",
        ] {
            assert!(!is_ref(bad), "{bad:?}");
        }
        assert!(!is_revision("--upload-pack=x"));
        assert!(!is_revision("HEAD~1"));
        assert!(is_revision("HEAD"));
    }

    proptest! {
        #[test]
        fn what_passes_stays_below_the_root(owner in ".{0,20}", file in ".{0,20}") {
            if let Some(name) = RepoName::from_url(&owner, &file) {
                let dir = name.dir(Path::new("/root"));
                prop_assert!(dir.components().count() == 4 && dir.starts_with("/root"));
            }
            let _ = (is_ref(&file), is_revision(&file), is_tree_path(&file));
        }
    }
}
