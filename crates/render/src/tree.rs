//! A directory tree as bytes in memory; paths are `/`-separated, relative, without `.` or `..`.

use std::collections::BTreeMap;

/// Files by path.
#[derive(Clone, Debug, Default)]
pub struct Tree {
    files: BTreeMap<String, Vec<u8>>,
}

impl Tree {
    /// Adds a file; a path that would leave the root is ignored.
    pub fn insert(&mut self, path: &str, content: impl Into<Vec<u8>>) {
        if let Some(path) = join("", path) {
            self.files.insert(path, content.into());
        }
    }

    /// Content of a file.
    pub fn file(&self, path: &str) -> Option<&[u8]> {
        self.files.get(path).map(Vec::as_slice)
    }

    /// Whether some file is below this directory.
    pub fn is_dir(&self, path: &str) -> bool {
        if path.is_empty() {
            return !self.files.is_empty();
        }
        let prefix = format!("{path}/");
        self.files
            .range(prefix.clone()..)
            .next()
            .is_some_and(|(k, _)| k.starts_with(&prefix))
    }

    /// Files and contents, in path order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.files
            .iter()
            .map(|(path, content)| (path.as_str(), content.as_slice()))
    }

    /// Number of files.
    pub fn len(&self) -> usize {
        self.files.len()
    }

    /// Whether there is no file.
    pub fn is_empty(&self) -> bool {
        self.files.is_empty()
    }
}

impl<P: AsRef<str>, B: Into<Vec<u8>>> FromIterator<(P, B)> for Tree {
    fn from_iter<I: IntoIterator<Item = (P, B)>>(items: I) -> Self {
        let mut tree = Self::default();
        for (path, content) in items {
            tree.insert(path.as_ref(), content);
        }
        tree
    }
}

/// `path` seen from directory `base`; `None` where it leaves the root or is absolute.
pub(crate) fn join(base: &str, path: &str) -> Option<String> {
    if path.starts_with('/') || path.contains('\0') {
        return None;
    }
    let mut parts: Vec<&str> = base.split('/').filter(|p| !p.is_empty()).collect();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop()?;
            }
            part => parts.push(part),
        }
    }
    Some(parts.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_stay_inside() {
        assert_eq!(join("a/b", "../c/./d").as_deref(), Some("a/c/d"));
        assert_eq!(join("a", "../.."), None);
        assert_eq!(join("", "/etc/passwd"), None);
        let tree: Tree = [("a/b.yaml", "x")].into_iter().collect();
        assert!(tree.is_dir("a") && !tree.is_dir("a/b.yaml") && tree.file("a/b.yaml").is_some());
    }
}
