//! Files of the workspace by pattern: `hashFiles`, artifacts, caches.

use globset::{GlobBuilder, GlobSet, GlobSetBuilder};
use sha2::{Digest, Sha256};
use std::io::Read;
use std::path::{Component, Path, PathBuf};
use walkdir::WalkDir;

const LIMIT_FILES: usize = 1_000_000;

fn globs<'a>(patterns: impl IntoIterator<Item = &'a str>) -> Result<GlobSet, String> {
    let mut set = GlobSetBuilder::new();
    for pattern in patterns {
        let glob = GlobBuilder::new(pattern)
            .literal_separator(true)
            .build()
            .map_err(|e| format!("pattern {pattern:?}: {}", e.kind()))?;
        set.add(glob);
    }
    set.build().map_err(|e| e.to_string())
}

/// `hashFiles`: SHA-256 over the SHA-256 of each file, in path order; empty where nothing
/// matches. Links are not followed.
pub(super) fn hash(workspace: &Path, patterns: &[String]) -> Result<String, String> {
    let lines: Vec<&str> = patterns
        .iter()
        .flat_map(|p| p.lines())
        .map(str::trim)
        .filter(|p| !p.is_empty())
        .collect();
    let clean = |p: &str| p.trim_start_matches("./").to_string();
    let wanted: Vec<String> = lines
        .iter()
        .filter(|p| !p.starts_with('!'))
        .map(|p| clean(p))
        .collect();
    let unwanted: Vec<String> = lines
        .iter()
        .filter_map(|p| p.strip_prefix('!'))
        .map(clean)
        .collect();
    if wanted
        .iter()
        .chain(&unwanted)
        .any(|p| p.starts_with('/') || p.split('/').any(|s| s == ".."))
    {
        return Err("hashFiles only sees files of the workspace".into());
    }
    let (wanted, unwanted) = (
        globs(wanted.iter().map(String::as_str))?,
        globs(unwanted.iter().map(String::as_str))?,
    );
    let mut all = Sha256::new();
    let mut found = false;
    let walk = WalkDir::new(workspace)
        .sort_by_file_name()
        .into_iter()
        .take(LIMIT_FILES);
    let mut files: Vec<PathBuf> = Vec::new();
    for entry in walk
        .filter_map(Result::ok)
        .filter(|e| e.file_type().is_file())
    {
        let Ok(relative) = entry.path().strip_prefix(workspace) else {
            continue;
        };
        if wanted.is_match(relative) && !unwanted.is_match(relative) {
            files.push(entry.into_path());
        }
    }
    files.sort();
    for file in files {
        found = true;
        all.update(hash_file(&file).map_err(|e| format!("read {}: {e}", file.display()))?);
    }
    Ok(if found {
        towpath_stdx::id::hex(&all.finalize())
    } else {
        String::new()
    })
}

fn hash_file(path: &Path) -> std::io::Result<[u8; 32]> {
    let mut file = std::fs::File::open(path)?;
    let mut hash = Sha256::new();
    let mut buffer = vec![0u8; 64 << 10];
    loop {
        let n = file.read(&mut buffer)?;
        if n == 0 {
            return Ok(hash.finalize().into());
        }
        hash.update(&buffer[..n]);
    }
}

/// One `path:` line made absolute, with the directory before its first wildcard.
#[derive(Clone, Debug)]
pub(super) struct Search {
    pub(super) pattern: PathBuf,
    pub(super) root: PathBuf,
    wild: bool,
}

/// Reads `path:`: lines, `~`, `!` in front of what is not wanted.
pub(super) fn searches(text: &str, workspace: &Path, home: &str) -> (Vec<Search>, Vec<String>) {
    let mut wanted = Vec::new();
    let mut unwanted = Vec::new();
    for line in text
        .lines()
        .map(str::trim)
        .filter(|l| !l.is_empty() && !l.starts_with('#'))
    {
        match line.strip_prefix('!') {
            Some(rest) => unwanted.push(
                absolute(rest, workspace, home)
                    .to_string_lossy()
                    .into_owned(),
            ),
            None => {
                let pattern = absolute(line, workspace, home);
                let is_wild = |c: &Component<'_>| {
                    c.as_os_str()
                        .to_string_lossy()
                        .contains(['*', '?', '[', '{'])
                };
                let wild = pattern.components().any(|c| is_wild(&c));
                let root = if wild {
                    pattern.components().take_while(|c| !is_wild(c)).collect()
                } else {
                    pattern.clone()
                };
                wanted.push(Search {
                    pattern,
                    root,
                    wild,
                });
            }
        }
    }
    (wanted, unwanted)
}

fn absolute(text: &str, workspace: &Path, home: &str) -> PathBuf {
    let path = match text.strip_prefix("~/") {
        Some(rest) => Path::new(home).join(rest),
        None if text == "~" => PathBuf::from(home),
        None => workspace.join(text),
    };
    let mut out = PathBuf::new();
    for component in path.components() {
        match component {
            Component::CurDir => {}
            Component::ParentDir => {
                out.pop();
            }
            other => out.push(other),
        }
    }
    out
}

/// Files (and links) that a search finds, in path order. A directory means all below it.
pub(super) fn find(
    search: &Search,
    unwanted: &[String],
    hidden: bool,
) -> Result<Vec<PathBuf>, String> {
    let mut excluded: Vec<String> = Vec::new();
    for pattern in unwanted {
        excluded.push(pattern.clone());
        excluded.push(format!("{}/**", pattern.trim_end_matches('/')));
    }
    let unwanted = globs(excluded.iter().map(String::as_str))?;
    let text = search.pattern.to_string_lossy().into_owned();
    let below = format!("{}/**", text.trim_end_matches('/'));
    let wanted = if search.wild {
        Some(globs([text.as_str(), below.as_str()])?)
    } else {
        None
    };
    let mut found = Vec::new();
    if !search.root.exists() && !search.root.is_symlink() {
        return Ok(found);
    }
    let visible = |name: &std::ffi::OsStr| hidden || !name.to_string_lossy().starts_with('.');
    let walk = WalkDir::new(&search.root)
        .sort_by_file_name()
        .into_iter()
        .filter_entry(|e| e.depth() == 0 || visible(e.file_name()))
        .take(LIMIT_FILES);
    for entry in walk
        .filter_map(Result::ok)
        .filter(|e| !e.file_type().is_dir())
    {
        let path = entry.path();
        if wanted.as_ref().is_none_or(|w| w.is_match(path)) && !unwanted.is_match(path) {
            found.push(path.to_path_buf());
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_and_hashes() {
        let dir = tempfile::tempdir().unwrap();
        for file in ["a/x.lock", "a/b/y.lock", "a/.z.lock", "c.txt"] {
            let path = dir.path().join(file);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, file).unwrap();
        }
        let hash_of = |p: &[&str]| {
            hash(
                dir.path(),
                &p.iter().map(|p| p.to_string()).collect::<Vec<_>>(),
            )
            .unwrap()
        };
        assert_eq!(hash_of(&["nothing"]), "");
        assert_ne!(hash_of(&["**/*.lock"]), hash_of(&["**/*.lock", "!a/b/**"]));
        assert!(hash(dir.path(), &["../x".into()]).is_err());
        let (wanted, unwanted) = searches("a\n!a/b", dir.path(), "/root");
        let names = |hidden| -> Vec<String> {
            find(&wanted[0], &unwanted, hidden)
                .unwrap()
                .iter()
                .map(|p| p.strip_prefix(dir.path()).unwrap().display().to_string())
                .collect()
        };
        assert_eq!(names(false), ["a/x.lock"]);
        assert_eq!(names(true), ["a/.z.lock", "a/x.lock"]);
        let (wanted, unwanted) = searches("**/y.*", dir.path(), "/root");
        assert_eq!(find(&wanted[0], &unwanted, false).unwrap().len(), 1);
    }
}
