//! Known vulnerabilities, offline: OSV documents compiled to one sorted file that is searched on
//! disk, so that memory stays small whatever the database's size.

mod advisory;
mod file;
mod import;
mod zip;

pub use advisory::{Advisory, Severity};
pub use file::Database;
pub use import::{Imported, import};

use crate::Package;

/// Why the database could not be made or read.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file could not be read or written.
    #[error("{what}")]
    Io {
        /// Operation and path.
        what: String,
        /// Cause.
        #[source]
        source: std::io::Error,
    },
    /// The input or the database is not what it should be.
    #[error("{0}")]
    Format(String),
}

impl Error {
    pub(crate) fn io(what: impl Into<String>) -> impl FnOnce(std::io::Error) -> Self {
        let what = what.into();
        move |source| Self::Io { what, source }
    }
}

/// A package that an advisory names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Match {
    /// Package.
    pub package: Package,
    /// The advisory's id; a CVE where one of its aliases is one.
    pub id: String,
    /// All ids.
    pub aliases: Vec<String>,
    /// First words of the advisory.
    pub summary: String,
    /// Weight.
    pub severity: Severity,
    /// Least fixed version above the package's.
    pub fixed: Option<String>,
}

/// Looks packages up; one match per package and vulnerability, worst first.
pub fn query(database: &Database, packages: &[Package]) -> Result<Vec<Match>, Error> {
    let mut matches: Vec<Match> = Vec::new();
    for package in packages {
        for advisory in database.advisories(&package.ecosystem, &package.advisory_name())? {
            let Some(fixed) = advisory.affects(&package.ecosystem, &package.version) else {
                continue;
            };
            let ids = advisory.ids();
            let same =
                |m: &Match| m.package == *package && m.aliases.iter().any(|a| ids.contains(a));
            // Several databases describe the same vulnerability: one finding, the higher weight.
            if let Some(known) = matches.iter_mut().find(|m| same(m)) {
                known.severity = known.severity.max(advisory.severity);
                known.fixed = known.fixed.take().or(fixed);
                known.aliases.extend(
                    ids.into_iter()
                        .filter(|i| !known.aliases.contains(i))
                        .collect::<Vec<_>>(),
                );
                continue;
            }
            let id = ids
                .iter()
                .find(|i| i.starts_with("CVE-"))
                .unwrap_or(&advisory.id)
                .clone();
            matches.push(Match {
                package: package.clone(),
                id,
                aliases: ids,
                summary: advisory.summary.clone(),
                severity: advisory.severity,
                fixed,
            });
        }
    }
    matches.sort_by(|a, b| {
        b.severity
            .cmp(&a.severity)
            .then_with(|| a.package.cmp(&b.package))
            .then_with(|| a.id.cmp(&b.id))
    });
    Ok(matches)
}
