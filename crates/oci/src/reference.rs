//! Image references as people write them: `debian`, `demo/hello:1`, `ghcr.io/o/i@sha256:…`.
//!
//! Grammar: `[host[:port]/]component[/component…][:tag][@digest]`. The first component is a host
//! where it holds a `.` or `:`, is `localhost`, or has upper-case letters; the rule every client
//! uses. No host means the Docker Hub, and there a single component means `library/…`.

use crate::{Digest, Error};
use std::fmt;
use std::str::FromStr;

const NAME_BYTES: usize = 255;
const TAG_BYTES: usize = 128;

/// A parsed reference; what was not written stays `None`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Reference {
    /// Host with optional port.
    pub host: Option<String>,
    /// Path below the host, as written.
    pub repository: String,
    /// Tag.
    pub tag: Option<String>,
    /// Digest; wins over the tag.
    pub digest: Option<Digest>,
}

impl Reference {
    /// Where the image comes from when it is not here: host and repository, with the Docker
    /// Hub's short forms written out.
    pub fn origin(&self) -> (&str, String) {
        match self.host.as_deref() {
            None | Some("docker.io" | "index.docker.io" | "registry-1.docker.io") => {
                ("registry-1.docker.io", self.hub_repository())
            }
            Some(host) => (host, self.repository.clone()),
        }
    }

    /// Names under which a registry of our own may hold it, most specific first.
    pub fn local_repositories(&self) -> Vec<String> {
        match self.host.as_deref() {
            None | Some("docker.io" | "index.docker.io" | "registry-1.docker.io") => {
                let full = self.hub_repository();
                let mut names = vec![self.repository.clone()];
                if full != self.repository {
                    names.push(full.clone());
                }
                names.push(format!("docker.io/{full}"));
                names
            }
            Some(host) => vec![format!(
                "{}/{}",
                host.replace(':', "_").to_ascii_lowercase(),
                self.repository
            )],
        }
    }

    /// What names the manifest in a request: the digest, else the tag, else `latest`.
    pub fn manifest(&self) -> &str {
        match (&self.digest, &self.tag) {
            (Some(digest), _) => digest.as_str(),
            (None, Some(tag)) => tag,
            (None, None) => "latest",
        }
    }

    fn hub_repository(&self) -> String {
        if self.repository.contains('/') {
            self.repository.clone()
        } else {
            format!("library/{}", self.repository)
        }
    }
}

impl FromStr for Reference {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let fail = |reason| Error::Reference(text.chars().take(300).collect(), reason);
        if text.is_empty() {
            return Err(fail("it is empty"));
        }
        let (rest, digest) = match text.split_once('@') {
            Some((rest, digest)) => (
                rest,
                Some(
                    digest
                        .parse()
                        .map_err(|_| fail("the digest is malformed"))?,
                ),
            ),
            None => (text, None),
        };
        let (name, tag) = match rest.rsplit_once(':') {
            Some((name, tag)) if !tag.contains('/') => (name, Some(tag)),
            _ => (rest, None),
        };
        if tag.is_some_and(|tag| !is_tag(tag)) {
            return Err(fail("the tag is malformed"));
        }
        let (host, repository) = match name.split_once('/') {
            Some((first, path)) if is_host(first) => (Some(first.to_string()), path),
            _ => (None, name),
        };
        if host.as_deref().is_some_and(|host| !is_valid_host(host)) {
            return Err(fail("the host is malformed"));
        }
        if !is_repository(repository) {
            return Err(fail(
                "a name has lower-case letters, digits and single separators only",
            ));
        }
        Ok(Self {
            host,
            repository: repository.to_string(),
            tag: tag.map(str::to_string),
            digest,
        })
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(host) = &self.host {
            write!(f, "{host}/")?;
        }
        f.write_str(&self.repository)?;
        if let Some(tag) = &self.tag {
            write!(f, ":{tag}")?;
        }
        if let Some(digest) = &self.digest {
            write!(f, "@{digest}")?;
        }
        Ok(())
    }
}

/// Whether text is a repository name of the distribution specification: components of
/// `[a-z0-9]+` joined by `.`, `_`, `__` or any number of `-`.
pub fn is_repository(text: &str) -> bool {
    !text.is_empty() && text.len() <= NAME_BYTES && text.split('/').all(is_component)
}

/// Whether text is a tag: `[A-Za-z0-9_][A-Za-z0-9._-]{0,127}`.
pub fn is_tag(text: &str) -> bool {
    let word = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    text.len() <= TAG_BYTES
        && text.bytes().next().is_some_and(word)
        && text.bytes().all(|b| word(b) || b == b'.' || b == b'-')
}

fn is_component(text: &str) -> bool {
    let alphanumeric = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let bytes = text.as_bytes();
    let mut at = 0;
    loop {
        let word = bytes[at..].iter().take_while(|b| alphanumeric(**b)).count();
        if word == 0 {
            return false;
        }
        at += word;
        if at == bytes.len() {
            return true;
        }
        let separator = bytes[at..]
            .iter()
            .take_while(|b| !alphanumeric(**b))
            .count();
        let text = &bytes[at..at + separator];
        if !(matches!(text, b"." | b"_" | b"__") || text.iter().all(|b| *b == b'-')) {
            return false;
        }
        at += separator;
    }
}

fn is_host(text: &str) -> bool {
    text.contains(['.', ':']) || text == "localhost" || text.bytes().any(|b| b.is_ascii_uppercase())
}

fn is_valid_host(text: &str) -> bool {
    let (name, port) = match text.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((address, port)) => {
            if address.parse::<std::net::Ipv6Addr>().is_err() {
                return false;
            }
            ("v6", port.strip_prefix(':'))
        }
        None => match text.split_once(':') {
            Some((name, port)) => (name, Some(port)),
            None => (text, None),
        },
    };
    let label = |l: &str| {
        !l.is_empty()
            && !l.starts_with('-')
            && !l.ends_with('-')
            && l.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
    };
    name.split('.').all(label) && port.is_none_or(|port| port.parse::<u16>().is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_usual_forms_parse_and_print() {
        for text in [
            "debian",
            "debian:bookworm-slim",
            "demo/hello:4f2c91e",
            "ghcr.io/o/i:1",
            "localhost:8080/a/b",
            "localhost/a",
            "a__b/c--d.e",
            "Reg.example/x",
            "[::1]:5000/x:y",
            "x:1",
            "a@sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
        ] {
            assert_eq!(text.parse::<Reference>().expect(text).to_string(), text);
        }
    }

    #[test]
    fn tricks_are_refused() {
        for text in [
            "",
            "../x",
            "a/../b",
            "/etc/passwd",
            "a//b",
            "a/.b",
            "A",
            "a:b:c",
            "a@sha256:zz",
            "a:-x",
            "a___b",
            "ex_ample.com:80/x",
            "a/b/",
            "host:99999/x",
            "a b",
            "a\0b",
            "a%2e/b",
            "-a",
            "a-",
            "a..b",
            ":x",
            "@",
        ] {
            assert!(text.parse::<Reference>().is_err(), "{text:?}");
        }
        assert!("a".repeat(256).parse::<Reference>().is_err());
    }

    #[test]
    fn short_names_mean_the_hub() {
        let reference: Reference = "debian:bookworm-slim".parse().expect("reference");
        assert_eq!(
            reference.origin(),
            ("registry-1.docker.io", "library/debian".into())
        );
        assert_eq!(
            reference.local_repositories(),
            ["debian", "library/debian", "docker.io/library/debian"]
        );
        assert_eq!(
            "debian".parse::<Reference>().expect("reference").manifest(),
            "latest"
        );
    }

    proptest! {
        #[test]
        fn any_text_parses_or_not_and_round_trips(text in "[a-zA-Z0-9./:@_-]{0,60}") {
            if let Ok(reference) = text.parse::<Reference>() {
                prop_assert_eq!(reference.to_string(), text);
            }
        }
    }
}
