//! Sets of labels.

use std::sync::Arc;

use super::matcher::is_plain_label;
use super::text::quote;

/// The label that holds the name of a metric.
pub const NAME: &str = "__name__";

/// The labels that say what a metric is; they go when it becomes something else.
fn is_metadata(name: &str) -> bool {
    matches!(name, "__name__" | "__type__" | "__unit__")
}

/// Labels in order of their names, each once, none with an empty value. Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Labels(Arc<Vec<(Box<str>, Box<str>)>>);

impl Default for Labels {
    fn default() -> Self {
        Self(Arc::new(Vec::new()))
    }
}

impl<N: Into<Box<str>>, V: Into<Box<str>>> FromIterator<(N, V)> for Labels {
    fn from_iter<T: IntoIterator<Item = (N, V)>>(pairs: T) -> Self {
        let mut pairs: Vec<(Box<str>, Box<str>)> = pairs
            .into_iter()
            .map(|(n, v)| (n.into(), v.into()))
            .collect();
        // Of labels given twice the last one counts.
        pairs.reverse();
        pairs.sort_by(|a, b| a.0.cmp(&b.0));
        pairs.dedup_by(|next, kept| next.0 == kept.0);
        pairs.retain(|(_, value)| !value.is_empty());
        Self(Arc::new(pairs))
    }
}

impl Labels {
    /// The pairs in order of the names.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> + '_ {
        self.0.iter().map(|(name, value)| (&**name, &**value))
    }

    /// The value of a label, empty if there is none.
    pub fn get(&self, name: &str) -> &str {
        match self.0.binary_search_by(|(own, _)| (**own).cmp(name)) {
            Ok(at) => &self.0[at].1,
            Err(_) => "",
        }
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The labels of which `keep` holds.
    pub(crate) fn filtered(&self, keep: impl Fn(&str) -> bool) -> Self {
        if self.0.iter().all(|(name, _)| keep(name)) {
            return self.clone();
        }
        Self(Arc::new(
            self.0
                .iter()
                .filter(|(name, _)| keep(name))
                .cloned()
                .collect(),
        ))
    }

    /// With one label changed; an empty value takes it away.
    pub(crate) fn with(&self, name: &str, value: &str) -> Self {
        let mut pairs = (*self.0).clone();
        match pairs.binary_search_by(|(own, _)| (**own).cmp(name)) {
            Ok(at) if value.is_empty() => drop(pairs.remove(at)),
            Ok(at) => pairs[at].1 = value.into(),
            Err(_) if value.is_empty() => {}
            Err(at) => pairs.insert(at, (name.into(), value.into())),
        }
        Self(Arc::new(pairs))
    }

    /// Without the labels that say what the metric is.
    pub(crate) fn without_metadata(&self) -> Self {
        self.filtered(|name| !is_metadata(name))
    }

    /// The labels that two series share when they match: those named, or all but those and the
    /// name.
    pub(crate) fn matching(&self, on: bool, names: &[String]) -> Self {
        let named = |name: &str| names.iter().any(|n| n == name);
        self.filtered(|name| {
            if on {
                named(name)
            } else {
                !named(name) && name != NAME
            }
        })
    }

    /// Upstream's hash of a label set: xxHash of lengths, names and values.
    pub(crate) fn upstream_hash(&self) -> u64 {
        let mut bytes = Vec::new();
        for text in self.0.iter().flat_map(|(name, value)| [name, value]) {
            let length = text.len();
            if length < 255 {
                bytes.push(length as u8);
            } else {
                bytes.push(255);
                bytes.extend_from_slice(&(length as u32).to_le_bytes()[..3]);
            }
            bytes.extend_from_slice(text.as_bytes());
        }
        super::hash::xxh64(&bytes)
    }
}

impl std::fmt::Display for Labels {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("{")?;
        for (at, (name, value)) in self.iter().enumerate() {
            if at > 0 {
                f.write_str(", ")?;
            }
            if is_plain_label(name) {
                f.write_str(name)?;
            } else {
                f.write_str(&quote(name))?;
            }
            write!(f, "={}", quote(value))?;
        }
        f.write_str("}")
    }
}
