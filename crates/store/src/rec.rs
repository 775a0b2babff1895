//! One stored object: bytes ready to send, with a hole where the revision is put.

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

type Pairs = Box<[(Box<str>, Box<str>)]>;

/// Key of an object within its resource: `<namespace>/<name>`, the namespace empty for cluster
/// scope.
pub fn key(namespace: &str, name: &str) -> Arc<str> {
    Arc::from(format!("{namespace}/{name}"))
}

/// What selectors and look-ups need, kept beside the body so that nothing is decoded for them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Meta {
    /// Unique id.
    #[serde(default)]
    pub uid: Box<str>,
    /// Labels, sorted by key.
    #[serde(default)]
    pub labels: Pairs,
    /// Selectable fields other than `metadata.name` and `metadata.namespace`, sorted by path.
    #[serde(default)]
    pub fields: Pairs,
}

impl Meta {
    /// Value of a label.
    pub fn label(&self, key: &str) -> Option<&str> {
        find(&self.labels, key)
    }

    /// Value of a selectable field.
    pub fn field(&self, path: &str) -> Option<&str> {
        find(&self.fields, path)
    }
}

fn find<'a>(pairs: &'a Pairs, key: &str) -> Option<&'a str> {
    pairs
        .binary_search_by(|(k, _)| (**k).cmp(key))
        .ok()
        .map(|at| &*pairs[at].1)
}

/// A body as a writer hands it in.
#[derive(Clone, Debug)]
pub struct NewRec {
    /// The object with nothing in its hole.
    pub body: Bytes,
    /// Offset in `body` where the revision's decimal digits go.
    pub hole: u32,
    /// Facts beside the body.
    pub meta: Meta,
}

/// A stored object.
#[derive(Debug)]
pub struct Rec {
    /// `<namespace>/<name>`.
    pub key: Arc<str>,
    /// Revision of the last write.
    pub revision: u64,
    /// Revision of the first write.
    pub created: u64,
    /// Facts beside the body.
    pub meta: Meta,
    pub(crate) row: i64,
    pub(crate) body: Bytes,
    pub(crate) hole: u32,
}

impl Rec {
    /// An object that was not stored (a dry run's), at the revision it would replace; 0 for a
    /// new one.
    pub fn unsaved(key: Arc<str>, new: NewRec, revision: u64) -> Self {
        Self {
            key,
            revision,
            created: revision,
            meta: new.meta,
            row: 0,
            body: new.body,
            hole: new.hole,
        }
    }

    /// Namespace; empty for cluster scope.
    pub fn namespace(&self) -> &str {
        self.key
            .split_once('/')
            .map_or("", |(namespace, _)| namespace)
    }

    /// Name.
    pub fn name(&self) -> &str {
        self.key.split_once('/').map_or(&self.key, |(_, name)| name)
    }

    /// The body with nothing in its hole.
    pub fn body(&self) -> &Bytes {
        &self.body
    }

    /// The same record with another body, for a back end that keeps bodies in a form of its own.
    pub fn with_body(&self, body: Bytes) -> Self {
        Self {
            key: self.key.clone(),
            revision: self.revision,
            created: self.created,
            meta: self.meta.clone(),
            row: self.row,
            body,
            hole: self.hole,
        }
    }

    /// Number of its row in the back end.
    pub fn row(&self) -> i64 {
        self.row
    }

    /// Bytes before the revision and after it.
    pub fn halves(&self) -> (Bytes, Bytes) {
        let hole = self.hole as usize;
        (self.body.slice(..hole), self.body.slice(hole..))
    }

    /// Length of the body without the revision.
    pub fn body_bytes(&self) -> usize {
        self.body.len()
    }

    /// Appends the object with its own revision.
    pub fn write_to(&self, out: &mut Vec<u8>) {
        self.write_at(self.revision, out);
    }

    /// Appends the object with another revision, as delete events need it.
    pub fn write_at(&self, revision: u64, out: &mut Vec<u8>) {
        let (before, after) = self.body.split_at(self.hole as usize);
        out.reserve(self.body.len() + 20);
        out.extend_from_slice(before);
        let mut digits = [0u8; 20];
        out.extend_from_slice(decimal(revision, &mut digits));
        out.extend_from_slice(after);
    }

    /// The object with its own revision.
    pub fn json(&self) -> Vec<u8> {
        let mut out = Vec::new();
        self.write_to(&mut out);
        out
    }
}

fn decimal(mut value: u64, digits: &mut [u8; 20]) -> &[u8] {
    let mut at = digits.len();
    loop {
        at -= 1;
        digits[at] = b'0' + (value % 10) as u8;
        value /= 10;
        if value == 0 {
            return &digits[at..];
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_revision_fills_the_hole() {
        let rec = Rec {
            key: key("a", "b"),
            revision: 1070,
            created: 1,
            meta: Meta::default(),
            row: 0,
            body: Bytes::from_static(b"{\"rv\":\"\"}"),
            hole: 7,
        };
        assert_eq!(rec.json(), b"{\"rv\":\"1070\"}");
        assert_eq!((rec.namespace(), rec.name()), ("a", "b"));
        let mut digits = [0; 20];
        assert_eq!(decimal(0, &mut digits), b"0");
        assert_eq!(
            decimal(u64::MAX, &mut digits),
            u64::MAX.to_string().as_bytes()
        );
    }
}
