//! `towpath_certificate_not_after_seconds`: when certificates end.
//!
//! Those in Secrets of type `kubernetes.io/tls`, as the ledger of changes knows them, without
//! their keys; and the server's own, from its files.

use std::path::{Path, PathBuf};

use async_trait::async_trait;

use super::Sink;
use crate::family::{Family, Gather, GatherError, Kind};
use crate::ledger::{Observed, not_after};

/// No file of a certificate is larger.
const FILE_BYTES: u64 = 1 << 20;

/// Certificates as a target inside this process.
pub struct CertificateTarget {
    observed: Observed,
    folder: PathBuf,
}

impl CertificateTarget {
    /// A target over what the ledger sees, and over the files `*.crt` of a folder.
    pub fn new(observed: Observed, folder: PathBuf) -> Self {
        Self { observed, folder }
    }
}

/// Ends of certificates: source, namespace, name, milliseconds since the epoch.
type Ends = Vec<(&'static str, String, String, i64)>;

fn own(folder: &Path) -> Ends {
    let mut out = Ends::new();
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        let Some(name) = path.file_name().and_then(|name| name.to_str()) else {
            continue;
        };
        let Some(name) = name.strip_suffix(".crt") else {
            continue;
        };
        // A file that is being replaced is there the next time.
        let read = towpath_stdx::bounded::read_file(&path, FILE_BYTES);
        if let Some(end) = read.ok().and_then(|pem| not_after(&pem)) {
            out.push(("server", String::new(), name.to_owned(), end));
        }
    }
    out.sort();
    out
}

fn write(ends: &Ends, sink: &mut Sink) {
    sink.family(
        "towpath_certificate_not_after_seconds",
        Kind::Gauge,
        "When a certificate ends, in seconds since the epoch.",
    );
    for (source, namespace, name, end) in ends {
        sink.sample(
            &[("namespace", namespace), ("name", name), ("source", source)],
            *end as f64 / 1000.0,
        );
    }
}

#[async_trait]
impl Gather for CertificateTarget {
    async fn gather(&self) -> Result<Vec<Family>, GatherError> {
        let secrets = self.observed.all_certificates().into_iter();
        let mut ends: Ends = secrets
            .map(|(namespace, name, end)| ("secret", namespace, name, end))
            .collect();
        let folder = self.folder.clone();
        super::off_reactor("certificates", move |sink| {
            ends.extend(own(&folder));
            write(&ends, sink);
        })
        .await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::family;

    #[test]
    fn ends_are_told() {
        let folder = tempfile::tempdir().expect("a folder");
        let made = rcgen::generate_simple_self_signed(vec!["a".to_owned()]).expect("one");
        std::fs::write(folder.path().join("server.crt"), made.cert.pem()).expect("written");
        std::fs::write(folder.path().join("broken.crt"), "x").expect("written");
        std::fs::write(folder.path().join("server.key"), "x").expect("written");
        let mut ends = vec![("secret", "shop".to_owned(), "web".to_owned(), 1_500)];
        ends.extend(own(folder.path()));
        assert_eq!(ends.len(), 2);
        let mut sink = Sink::default();
        write(&ends, &mut sink);
        let page = family::text(&sink.finish());
        let line = "towpath_certificate_not_after_seconds{namespace=\"shop\",name=\"web\",source=\"secret\"} 1.5";
        assert!(page.contains(line), "{page}");
        assert!(page.contains("name=\"server\""), "{page}");
    }
}
