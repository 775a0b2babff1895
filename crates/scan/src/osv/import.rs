//! OSV's own export (a zip of JSON documents per ecosystem), a directory of such files, or one
//! JSON document, to the compiled file.

use super::advisory::from_document;
use super::{Advisory, Error, file, zip};
use std::collections::BTreeMap;
use std::path::Path;

const LIMIT_DOCUMENT_BYTES: u64 = 16 << 20;
const LIMIT_DEPTH: usize = 8;

/// What an import took in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Imported {
    /// Documents read.
    pub documents: u64,
    /// Packages they name.
    pub packages: u64,
    /// Documents that could not be read, with the reason; at most 20.
    pub skipped: Vec<String>,
}

/// Compiles `from` into `to`. The old database stays until the new one is complete.
pub fn import(from: &Path, to: &Path) -> Result<Imported, Error> {
    let mut import = Import::default();
    import.path(from, 0)?;
    if import.done.documents == 0 {
        return Err(Error::Format(format!(
            "{} holds no OSV documents",
            from.display()
        )));
    }
    for advisories in import.records.values_mut() {
        advisories.sort_by(|a, b| a.id.cmp(&b.id));
        advisories.dedup();
    }
    import.done.packages = import.records.len() as u64;
    file::write(to, &import.records)?;
    Ok(import.done)
}

#[derive(Default)]
struct Import {
    records: BTreeMap<String, Vec<Advisory>>,
    done: Imported,
}

impl Import {
    fn path(&mut self, path: &Path, depth: usize) -> Result<(), Error> {
        let name = path.display().to_string();
        let kind = std::fs::symlink_metadata(path).map_err(Error::io(format!("read {name}")))?;
        if kind.is_dir() && depth < LIMIT_DEPTH {
            let entries = std::fs::read_dir(path).map_err(Error::io(format!("read {name}")))?;
            let mut paths: Vec<_> = entries.filter_map(|e| e.ok().map(|e| e.path())).collect();
            paths.sort();
            return paths.iter().try_for_each(|p| self.path(p, depth + 1));
        }
        if !kind.is_file() {
            return Ok(());
        }
        let file = std::fs::File::open(path).map_err(Error::io(format!("open {name}")))?;
        if name.ends_with(".zip") {
            return zip::each(&file, &name, LIMIT_DOCUMENT_BYTES, &mut |entry, bytes| {
                if entry.ends_with(".json") {
                    self.document(&format!("{name}:{entry}"), &bytes);
                }
            });
        }
        if name.ends_with(".json") {
            let bytes = towpath_stdx::bounded::read_all(file, LIMIT_DOCUMENT_BYTES)
                .map_err(Error::io(format!("read {name}")))?;
            self.document(&name, &bytes);
        }
        Ok(())
    }

    fn document(&mut self, name: &str, bytes: &[u8]) {
        let document = serde_json::from_slice(bytes).map_err(|e| e.to_string());
        match document.and_then(|d: serde_json::Value| from_document(&d)) {
            Ok(found) => {
                self.done.documents += 1;
                for (ecosystem, package, advisory) in found {
                    self.records
                        .entry(file::key(&ecosystem, &package))
                        .or_default()
                        .push(advisory);
                }
            }
            Err(problem) if self.done.skipped.len() < 20 => {
                self.done.skipped.push(format!("{name}: {problem}"))
            }
            Err(_) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Database, query};
    use super::*;
    use crate::Package;

    #[test]
    fn a_directory_becomes_answers() {
        let dir = tempfile::tempdir().unwrap();
        let source = dir.path().join("in");
        std::fs::create_dir(&source).unwrap();
        let write = |name: &str, text: &str| std::fs::write(source.join(name), text).unwrap();
        write(
            "a.json",
            r#"{"id":"GHSA-1","aliases":["CVE-2020-1"],"summary":"bad","database_specific":{"severity":"HIGH"},
            "affected":[{"package":{"ecosystem":"crates.io","name":"time"},"ranges":[{"type":"SEMVER","events":[{"introduced":"0"},{"fixed":"0.2.23"}]}]}]}"#,
        );
        write(
            "b.json",
            r#"{"id":"RUSTSEC-1","aliases":["CVE-2020-1"],"affected":[{"package":{"ecosystem":"crates.io","name":"time"},
            "ranges":[{"type":"SEMVER","events":[{"introduced":"0"},{"fixed":"0.2.23"}]}]}]}"#,
        );
        write(
            "c.json",
            r#"{"id":"W-1","withdrawn":"2020-01-01T00:00:00Z","affected":[{"package":{"ecosystem":"crates.io","name":"time"}}]}"#,
        );
        write("broken.json", "{");
        let file = dir.path().join("osv.db");
        let imported = import(&source, &file).unwrap();
        assert_eq!(
            (
                imported.documents,
                imported.packages,
                imported.skipped.len()
            ),
            (3, 1, 1)
        );
        let database = Database::open(&file).unwrap();
        let package = |version: &str| Package {
            ecosystem: "crates.io".into(),
            name: "time".into(),
            version: version.into(),
            ..Package::default()
        };
        let matches = query(&database, &[package("0.1.0"), package("0.3.0")]).unwrap();
        assert_eq!(matches.len(), 1);
        assert_eq!(matches[0].id, "CVE-2020-1");
        assert_eq!(matches[0].severity, super::super::Severity::High);
        assert_eq!(matches[0].fixed.as_deref(), Some("0.2.23"));
        let mut bytes = std::fs::read(&file).unwrap();
        let last = bytes.len() - 1;
        bytes[last] ^= 1;
        std::fs::write(&file, bytes).unwrap();
        assert!(
            Database::open(&file)
                .unwrap_err()
                .to_string()
                .contains("damaged")
        );
    }
}
