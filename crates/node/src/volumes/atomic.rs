//! Files of a configMap, secret, downward or projected volume, replaced all at once.
//!
//! The layout is upstream's: real files in a directory named by time, `..data` a link to it,
//! and one link per top-level name through `..data`. Replacing `..data` by a rename shows
//! readers either all old or all new files.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::path::{Component, Path, PathBuf};

/// One file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct File {
    pub(crate) bytes: Vec<u8>,
    pub(crate) mode: u32,
}

/// Files by relative path.
pub(crate) type Payload = BTreeMap<PathBuf, File>;

const DATA: &str = "..data";

/// Makes `dir` show exactly the payload. `group` owns the files where given. Returns whether
/// anything changed.
pub(crate) fn write(dir: &Path, payload: &Payload, group: Option<u32>) -> io::Result<bool> {
    for path in payload.keys() {
        let plain = towpath_stdx::root::is_plain(path);
        if !plain || path.to_string_lossy().starts_with("..") {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                format!("path {} is not allowed", path.display()),
            ));
        }
    }
    fs::create_dir_all(dir)?;
    let current = fs::read_link(dir.join(DATA)).ok();
    if let Some(current) = &current
        && read(&dir.join(current))? == *payload
    {
        return Ok(false);
    }
    let stamp = unused(dir);
    let fresh = dir.join(&stamp);
    fs::create_dir(&fresh)?;
    for (path, file) in payload {
        let target = fresh.join(path);
        if let Some(parent) = target.parent() {
            fs::create_dir_all(parent)?;
        }
        fs::write(&target, &file.bytes)?;
        fs::set_permissions(&target, fs::Permissions::from_mode(file.mode))?;
        if let Some(group) = group {
            chown(&target, None, Some(group))?;
            let mode = file.mode | ((file.mode & 0o400) >> 3);
            fs::set_permissions(&target, fs::Permissions::from_mode(mode))?;
        }
    }
    let beside = dir.join("..data_tmp");
    let _ = fs::remove_file(&beside);
    symlink(&stamp, &beside)?;
    fs::rename(&beside, dir.join(DATA))?;
    links(dir, payload)?;
    if let Some(current) = current {
        let _ = fs::remove_dir_all(dir.join(current));
    }
    Ok(true)
}

fn links(dir: &Path, payload: &Payload) -> io::Result<()> {
    let top = |path: &PathBuf| match path.components().next() {
        Some(Component::Normal(name)) => Some(name.to_os_string()),
        _ => None,
    };
    let wanted: BTreeSet<_> = payload.keys().filter_map(top).collect();
    for name in &wanted {
        let link = dir.join(name);
        if fs::symlink_metadata(&link).is_err() {
            symlink(Path::new(DATA).join(name), link)?;
        }
    }
    for entry in fs::read_dir(dir)?.flatten() {
        let name = entry.file_name();
        if !name.to_string_lossy().starts_with("..") && !wanted.contains(&name) {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

fn unused(dir: &Path) -> String {
    use towpath_stdx::Clock;
    let now = towpath_stdx::SystemClock.since_epoch();
    (now.as_nanos()..)
        .map(|number| format!("..{number}"))
        .find(|name| !dir.join(name).exists())
        .unwrap_or_default()
}

// What is there, with the group bit taken back that `write` adds.
fn read(dir: &Path) -> io::Result<Payload> {
    let mut payload = Payload::new();
    let mut open = vec![PathBuf::new()];
    while let Some(below) = open.pop() {
        for entry in fs::read_dir(dir.join(&below))?.flatten() {
            let path = below.join(entry.file_name());
            let stat = entry.metadata()?;
            if stat.is_dir() {
                open.push(path);
            } else {
                let bytes = fs::read(entry.path())?;
                payload.insert(
                    path,
                    File {
                        bytes,
                        mode: stat.permissions().mode() & 0o7777,
                    },
                );
            }
        }
    }
    Ok(payload)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn payload(files: &[(&str, &str)]) -> Payload {
        files
            .iter()
            .map(|(path, text)| {
                (
                    path.into(),
                    File {
                        bytes: text.as_bytes().to_vec(),
                        mode: 0o644,
                    },
                )
            })
            .collect()
    }

    #[test]
    fn files_are_replaced_at_once_and_stale_ones_go() {
        let dir = tempfile::tempdir().expect("temporary directory");
        let text = |path: &str| fs::read_to_string(dir.path().join(path));
        assert!(write(dir.path(), &payload(&[("a", "1"), ("d/b", "2")]), None).expect("write"));
        assert_eq!(
            (text("a").expect("a"), text("d/b").expect("b")),
            ("1".into(), "2".into())
        );
        assert!(!write(dir.path(), &payload(&[("a", "1"), ("d/b", "2")]), None).expect("same"));
        let open = fs::File::open(dir.path().join("a")).expect("open");
        assert!(write(dir.path(), &payload(&[("a", "3")]), None).expect("write"));
        assert_eq!(text("a").expect("a"), "3");
        assert!(text("d/b").is_err() && !dir.path().join("d").exists());
        assert_eq!(io::read_to_string(open).expect("old file"), "1");
        assert_eq!(fs::read_dir(dir.path()).expect("list").count(), 3);
    }

    #[test]
    fn paths_stay_inside() {
        let dir = tempfile::tempdir().expect("temporary directory");
        for path in ["../x", "/x", "a/../../x", "..data", ""] {
            assert!(
                write(dir.path(), &payload(&[(path, "1")]), None).is_err(),
                "{path}"
            );
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(files in prop::collection::btree_map("[a-z]{1,3}", prop::collection::vec(any::<u8>(), 0..50), 0..5)) {
            let dir = tempfile::tempdir().expect("temporary directory");
            let payload: Payload = files.into_iter().map(|(path, bytes)| (path.into(), File { bytes, mode: 0o640 })).collect();
            write(dir.path(), &payload, None).expect("write");
            for (path, file) in &payload {
                prop_assert_eq!(&fs::read(dir.path().join(path)).expect("read"), &file.bytes);
            }
        }
    }
}
