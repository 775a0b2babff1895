//! A package that something depends on or contains.

/// A package with where it was found.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Package {
    /// OSV's name of the ecosystem: `crates.io`, `npm`, `Go`, `PyPI`, `Debian:12`, `Alpine:v3.19`.
    pub ecosystem: String,
    /// Name as the ecosystem writes it.
    pub name: String,
    /// Version.
    pub version: String,
    /// Source package of a distribution's binary package, where it differs.
    pub source: Option<String>,
    /// File it was found in.
    pub file: String,
    /// 1-based line; 0 where unknown.
    pub line: u32,
}

impl Package {
    /// Name that advisories use: the source package; PyPI's normal form.
    pub fn advisory_name(&self) -> String {
        let name = self.source.as_deref().unwrap_or(&self.name);
        if self.ecosystem == "PyPI" {
            normal_pypi(name)
        } else {
            name.to_string()
        }
    }

    /// Package URL.
    pub fn purl(&self) -> String {
        let version = escape(&self.version);
        let (family, release) = self
            .ecosystem
            .split_once(':')
            .unwrap_or((&self.ecosystem, ""));
        match family {
            "crates.io" => format!("pkg:cargo/{}@{version}", escape(&self.name)),
            "npm" => match self.name.strip_prefix('@').and_then(|n| n.split_once('/')) {
                Some((scope, name)) => {
                    format!("pkg:npm/%40{}/{}@{version}", escape(scope), escape(name))
                }
                None => format!("pkg:npm/{}@{version}", escape(&self.name)),
            },
            "Go" => format!(
                "pkg:golang/{}@{version}",
                self.name
                    .split('/')
                    .map(escape)
                    .collect::<Vec<_>>()
                    .join("/")
            ),
            "PyPI" => format!("pkg:pypi/{}@{version}", escape(&normal_pypi(&self.name))),
            "Debian" => format!(
                "pkg:deb/debian/{}@{version}?distro=debian-{}",
                escape(&self.name),
                escape(release)
            ),
            "Ubuntu" => format!(
                "pkg:deb/ubuntu/{}@{version}?distro=ubuntu-{}",
                escape(&self.name),
                escape(release)
            ),
            "Alpine" => format!(
                "pkg:apk/alpine/{}@{version}?distro=alpine-{}",
                escape(&self.name),
                escape(release)
            ),
            _ => format!("pkg:generic/{}@{version}", escape(&self.name)),
        }
    }
}

/// PEP 503: lower case, runs of `-_.` as one `-`.
pub fn normal_pypi(name: &str) -> String {
    let mut out = String::new();
    for c in name.to_lowercase().chars() {
        if matches!(c, '-' | '_' | '.') {
            if !out.ends_with('-') {
                out.push('-');
            }
        } else {
            out.push(c);
        }
    }
    out
}

fn escape(text: &str) -> String {
    text.bytes()
        .map(|b| match b {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' | b':' => {
                char::from(b).to_string()
            }
            b => format!("%{b:02X}"),
        })
        .collect()
}
