//! Lock files and package databases to packages. One function per format; a flat catalogue.

mod cargo;
mod go;
mod npm;
mod python;
mod system;

use crate::Package;

/// Most packages that one file yields.
pub const LIMIT_PACKAGES: usize = 200_000;

/// A format that can be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Kind {
    CargoLock,
    PackageLock,
    GoMod,
    GoSum,
    Requirements,
    PoetryLock,
    UvLock,
    DpkgStatus,
    ApkInstalled,
}

/// Format of a file by its path; `None` where it is no lock file.
pub fn kind(path: &str) -> Option<Kind> {
    let name = path.rsplit('/').next().unwrap_or(path);
    Some(match name {
        "Cargo.lock" => Kind::CargoLock,
        "package-lock.json" | "npm-shrinkwrap.json" => Kind::PackageLock,
        "go.mod" => Kind::GoMod,
        "go.sum" => Kind::GoSum,
        "poetry.lock" => Kind::PoetryLock,
        "uv.lock" => Kind::UvLock,
        "requirements.txt" => Kind::Requirements,
        _ if path.ends_with("var/lib/dpkg/status") || path.contains("var/lib/dpkg/status.d/") => {
            Kind::DpkgStatus
        }
        _ if path.ends_with("lib/apk/db/installed") => Kind::ApkInstalled,
        _ => return None,
    })
}

/// Distribution of an image, for the packages of its own database.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Distribution {
    /// OSV ecosystem, e.g. `Debian:12`; empty where unknown.
    pub ecosystem: String,
}

impl Distribution {
    /// Reads `/etc/os-release`.
    pub fn from_os_release(text: &str) -> Self {
        let value = |key: &str| {
            let line = text
                .lines()
                .find_map(|l| l.strip_prefix(key)?.strip_prefix('='));
            line.unwrap_or_default()
                .trim()
                .trim_matches(['"', '\''])
                .to_string()
        };
        let version = value("VERSION_ID");
        let ecosystem = match value("ID").as_str() {
            "debian" => format!("Debian:{}", version.split('.').next().unwrap_or_default()),
            "ubuntu" => format!("Ubuntu:{version}"),
            "alpine" => format!(
                "Alpine:v{}",
                version.split('.').take(2).collect::<Vec<_>>().join(".")
            ),
            _ => String::new(),
        };
        Self { ecosystem }
    }
}

/// Packages of one file, in order, without repetition; a problem says what is wrong with it.
pub fn read(path: &str, bytes: &[u8], distribution: &Distribution) -> Result<Vec<Package>, String> {
    let kind = kind(path).ok_or_else(|| format!("{path} is no lock file"))?;
    let text = String::from_utf8_lossy(bytes);
    let mut packages = match kind {
        Kind::CargoLock => cargo::read(&text)?,
        Kind::PackageLock => npm::read(&text)?,
        Kind::GoMod => go::read_mod(&text)?,
        Kind::GoSum => go::read_sum(&text)?,
        Kind::Requirements => python::requirements(&text)?,
        Kind::PoetryLock | Kind::UvLock => python::toml_lock(&text)?,
        Kind::DpkgStatus => system::dpkg(&text, distribution),
        Kind::ApkInstalled => system::apk(&text, distribution),
    };
    if packages.len() > LIMIT_PACKAGES {
        return Err(format!("more than {LIMIT_PACKAGES} packages"));
    }
    for package in &mut packages {
        package.file = path.to_string();
    }
    packages.sort();
    packages
        .dedup_by(|a, b| a.name == b.name && a.version == b.version && a.ecosystem == b.ecosystem);
    Ok(packages)
}

// Line of a byte offset.
fn line_at(text: &str, offset: usize) -> u32 {
    text.as_bytes()[..offset.min(text.len())]
        .iter()
        .filter(|b| **b == b'\n')
        .count() as u32
        + 1
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn names(path: &str, text: &str) -> Vec<String> {
        let distribution = Distribution {
            ecosystem: "Debian:12".into(),
        };
        let packages = read(path, text.as_bytes(), &distribution).unwrap();
        packages
            .iter()
            .map(|p| format!("{}:{}", p.purl(), p.line))
            .collect()
    }

    #[test]
    fn lock_files_are_read() {
        let cargo = "version = 4\n\n[[package]]\nname = \"own\"\nversion = \"0.1.0\"\n\n[[package]]\nname = \"serde\"\nversion = \"1.0.2\"\nsource = \"registry+https://github.com/rust-lang/crates.io-index\"\n";
        assert_eq!(names("Cargo.lock", cargo), ["pkg:cargo/serde@1.0.2:8"]);
        let npm = r#"{"lockfileVersion": 3, "packages": {"": {"name": "own"}, "node_modules/@a/b": {"version": "1.2.3"},
            "node_modules/c/node_modules/d": {"version": "0.1.0"}, "packages/local": {"version": "9.0.0"}, "node_modules/l": {"link": true}}}"#;
        assert_eq!(
            names("package-lock.json", npm),
            ["pkg:npm/%40a/b@1.2.3:1", "pkg:npm/d@0.1.0:2"]
        );
        let v1 = r#"{"lockfileVersion": 1, "dependencies": {"x": {"version": "1.0.0", "dependencies": {"y": {"version": "2.0.0"}}}}}"#;
        assert_eq!(names("a/package-lock.json", v1).len(), 2);
        let go = "module m\n\ngo 1.26\n\nrequire (\n\tgolang.org/x/net v0.1.0 // indirect\n)\nrequire a.b/c v1.0.0\nreplace a.b/c => d.e/f v1.0.1\n";
        assert_eq!(
            names("go.mod", go),
            [
                "pkg:golang/d.e/f@v1.0.1:8",
                "pkg:golang/golang.org/x/net@v0.1.0:6",
                "pkg:golang/stdlib@1.26:3"
            ]
        );
        let sum = "a.b/c v1.0.0 h1:x=\na.b/c v1.0.0/go.mod h1:y=\nd/e v0.1.0/go.mod h1:z=\n";
        assert_eq!(names("go.sum", sum), ["pkg:golang/a.b/c@v1.0.0:1"]);
        let requirements = "# c\nFlask==2.0.1 ; python_version > '3'\nrequests>=2\n-r other.txt\nDjango[argon2]==4.2 --hash=sha256:x\n";
        assert_eq!(
            names("requirements.txt", requirements),
            ["pkg:pypi/django@4.2:5", "pkg:pypi/flask@2.0.1:2"]
        );
        let uv = "version = 1\n[[package]]\nname = \"own\"\nversion = \"0\"\nsource = { editable = \".\" }\n[[package]]\nname = \"idna\"\nversion = \"3.4\"\nsource = { registry = \"https://packages.example.org/simple\" }\n";
        assert_eq!(names("uv.lock", uv), ["pkg:pypi/idna@3.4:7"]);
        let dpkg = "Package: libssl3\nStatus: install ok installed\nSource: openssl (3.0.1)\nVersion: 3.0.1-1\n\nPackage: gone\nStatus: deinstall ok config-files\nVersion: 1\n";
        assert_eq!(
            names("var/lib/dpkg/status", dpkg),
            ["pkg:deb/debian/libssl3@3.0.1-1?distro=debian-12:1"]
        );
        let apk = "C:Q1x=\nP:musl\nV:1.2.4-r2\no:musl\n\nP:ssl_client\nV:1.36.1-r5\no:busybox\n";
        assert_eq!(names("lib/apk/db/installed", apk).len(), 2);
    }

    #[test]
    fn broken_files_are_named() {
        let none = Distribution::default();
        assert!(read("Cargo.lock", b"[[package]\n", &none).is_err());
        assert!(read("package-lock.json", b"{", &none).is_err());
        assert!(read("go.mod", b"require (\n a v1\n", &none).is_err());
    }

    proptest! {
        #[test]
        fn never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..300), which in 0usize..9) {
            let paths = ["Cargo.lock", "package-lock.json", "go.mod", "go.sum", "requirements.txt", "poetry.lock",
                "uv.lock", "var/lib/dpkg/status", "lib/apk/db/installed"];
            let _ = read(paths[which], &bytes, &Distribution::default());
        }
    }
}
