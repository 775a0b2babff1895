//! Content digests: `sha256:<64 hex>` and `sha512:<128 hex>`, nothing else.

use crate::Error;
use sha2::{Digest as _, Sha256, Sha512};
use std::fmt;
use std::io::{self, Read, Write};
use std::str::FromStr;

/// A valid digest; safe to use as a path component after the colon.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Digest(String);

/// The algorithms that OCI registers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Algorithm {
    /// The usual one.
    Sha256,
    /// Allowed.
    Sha512,
}

impl Digest {
    /// SHA-256 of bytes.
    pub fn of(bytes: &[u8]) -> Self {
        let mut hasher = Hasher::new(Algorithm::Sha256);
        hasher.update(bytes);
        hasher.finish()
    }

    /// Which algorithm.
    pub fn algorithm(&self) -> Algorithm {
        if self.0.starts_with("sha256:") {
            Algorithm::Sha256
        } else {
            Algorithm::Sha512
        }
    }

    /// The part after the colon: lower-case hex.
    pub fn hex(&self) -> &str {
        self.0.split_once(':').map_or("", |(_, hex)| hex)
    }

    /// The whole text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Digest {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let length = match text.split_once(':') {
            Some(("sha256", _)) => 64,
            Some(("sha512", _)) => 128,
            _ => return Err(Error::Digest(text.chars().take(160).collect())),
        };
        let hex = &text[7..];
        if hex.len() == length
            && hex
                .bytes()
                .all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
        {
            return Ok(Self(text.to_string()));
        }
        Err(Error::Digest(text.chars().take(160).collect()))
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A running digest.
#[derive(Clone)]
pub struct Hasher(State);

#[derive(Clone)]
enum State {
    Sha256(Sha256),
    Sha512(Sha512),
}

impl Hasher {
    /// An empty one.
    pub fn new(algorithm: Algorithm) -> Self {
        Self(match algorithm {
            Algorithm::Sha256 => State::Sha256(Sha256::new()),
            Algorithm::Sha512 => State::Sha512(Sha512::new()),
        })
    }

    /// Adds bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        match &mut self.0 {
            State::Sha256(hasher) => hasher.update(bytes),
            State::Sha512(hasher) => hasher.update(bytes),
        }
    }

    /// The digest of all bytes added.
    pub fn finish(self) -> Digest {
        let (name, bytes) = match self.0 {
            State::Sha256(hasher) => ("sha256", hasher.finalize().to_vec()),
            State::Sha512(hasher) => ("sha512", hasher.finalize().to_vec()),
        };
        Digest(format!("{name}:{}", towpath_stdx::id::hex(&bytes)))
    }
}

/// A reader or writer that digests and counts what passes.
pub struct Hashing<T> {
    inner: T,
    hasher: Hasher,
    bytes: u64,
}

impl<T> Hashing<T> {
    /// Wraps, for SHA-256.
    pub fn new(inner: T) -> Self {
        Self {
            inner,
            hasher: Hasher::new(Algorithm::Sha256),
            bytes: 0,
        }
    }

    /// Bytes that passed.
    pub fn count(&self) -> u64 {
        self.bytes
    }

    /// What was wrapped, the digest, the number of bytes.
    pub fn finish(self) -> (T, Digest, u64) {
        (self.inner, self.hasher.finish(), self.bytes)
    }
}

impl<R: Read> Read for Hashing<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.hasher.update(&buffer[..count]);
        self.bytes += count as u64;
        Ok(count)
    }
}

impl<W: Write> Write for Hashing<W> {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        let count = self.inner.write(buffer)?;
        self.hasher.update(&buffer[..count]);
        self.bytes += count as u64;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_two_forms_are_digests() {
        let good = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        assert_eq!(Digest::of(b"").as_str(), good);
        assert_eq!(good.parse::<Digest>().expect("digest").hex().len(), 64);
        let bad = [
            "",
            "sha256:",
            "sha256:../../etc/passwd",
            "md5:d41d8cd98f00b204e9800998ecf8427e",
            "sha256:E3B0C44298FC1C149AFBF4C8996FB92427AE41E4649B934CA495991B7852B855",
            "sha512:abcd",
            "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b85",
            "sha256",
        ];
        for text in bad {
            assert!(text.parse::<Digest>().is_err(), "{text}");
        }
    }
}
