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
///
/// All texts are one: each behind its length, six bits a letter, so that a set is one allocation
/// and two of them are compared and hashed as one text.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Labels(Arc<str>);

/// Adds a text behind its length.
fn put(out: &mut String, text: &str) {
    let mut length = text.len();
    while length >= 64 {
        out.push(char::from(64 | (length & 63) as u8));
        length >>= 6;
    }
    out.push(char::from(length as u8));
    out.push_str(text);
}

/// The text that [`put`] has written, and where the next one begins.
fn cut(all: &str, from: usize) -> (&str, usize) {
    let bytes = all.as_bytes();
    let (mut length, mut shift, mut at) = (0, 0, from);
    loop {
        let byte = bytes[at];
        length |= usize::from(byte & 63) << shift;
        at += 1;
        if byte < 64 {
            break;
        }
        shift += 6;
    }
    (&all[at..at + length], at + length)
}

/// Goes through pairs and where they are written.
#[derive(Clone)]
struct Pairs<'l> {
    all: &'l str,
    at: usize,
}

impl<'l> Iterator for Pairs<'l> {
    /// Name, value, and the text of both.
    type Item = (&'l str, &'l str, &'l str);

    fn next(&mut self) -> Option<Self::Item> {
        if self.at >= self.all.len() {
            return None;
        }
        let begin = self.at;
        let (name, at) = cut(self.all, begin);
        let (value, at) = cut(self.all, at);
        self.at = at;
        Some((name, value, &self.all[begin..at]))
    }
}

impl Default for Labels {
    fn default() -> Self {
        Self(Arc::from(""))
    }
}

impl Ord for Labels {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.iter().cmp(other.iter())
    }
}

impl PartialOrd for Labels {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl<N: AsRef<str>, V: AsRef<str>> FromIterator<(N, V)> for Labels {
    fn from_iter<T: IntoIterator<Item = (N, V)>>(pairs: T) -> Self {
        let mut pairs: Vec<(N, V)> = pairs.into_iter().collect();
        if !pairs.is_sorted_by(|a, b| a.0.as_ref() < b.0.as_ref()) {
            // Of labels given twice the last one counts.
            pairs.reverse();
            pairs.sort_by(|a, b| a.0.as_ref().cmp(b.0.as_ref()));
            pairs.dedup_by(|next, kept| next.0.as_ref() == kept.0.as_ref());
        }
        Self::sorted(pairs.iter().map(|(n, v)| (n.as_ref(), v.as_ref())))
    }
}

impl Labels {
    /// Labels that come in order of their names, each once; empty ones are left out.
    pub fn sorted<'l>(pairs: impl Iterator<Item = (&'l str, &'l str)> + Clone) -> Self {
        debug_assert!(pairs.clone().is_sorted_by(|a, b| a.0 < b.0), "out of order");
        let length = |(name, value): (&str, &str)| name.len() + value.len() + 4;
        let mut out = String::with_capacity(pairs.clone().map(length).sum());
        for (name, value) in pairs.filter(|(_, value)| !value.is_empty()) {
            put(&mut out, name);
            put(&mut out, value);
        }
        Self(Arc::from(out))
    }

    fn pairs(&self) -> Pairs<'_> {
        Pairs {
            all: &self.0,
            at: 0,
        }
    }

    /// The pairs in order of the names.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> + Clone + '_ {
        self.pairs().map(|(name, value, _)| (name, value))
    }

    /// The value of a label, empty if there is none.
    pub fn get(&self, name: &str) -> &str {
        let mut pairs = self.pairs();
        pairs
            .find(|(own, ..)| *own == name)
            .map_or("", |(_, value, _)| value)
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Writes what would be the text of the labels of which `keep` holds.
    pub(crate) fn filter_into(&self, out: &mut String, keep: impl Fn(&str) -> bool) {
        out.clear();
        for (name, _, text) in self.pairs() {
            if keep(name) {
                out.push_str(text);
            }
        }
    }

    /// The labels whose text [`Labels::filter_into`] has written.
    pub(crate) fn of_text(text: &str) -> Self {
        Self(Arc::from(text))
    }

    /// The labels of which `keep` holds.
    pub(crate) fn filtered(&self, keep: impl Fn(&str) -> bool) -> Self {
        let Some((_, _, first)) = self.pairs().find(|(name, ..)| !keep(name)) else {
            return self.clone();
        };
        let mut out = String::with_capacity(self.0.len() - first.len());
        self.filter_into(&mut out, keep);
        Self(Arc::from(out))
    }

    /// With one label changed; an empty value takes it away.
    pub(crate) fn with(&self, name: &str, value: &str) -> Self {
        let mut out = String::with_capacity(self.0.len() + name.len() + value.len() + 8);
        let mut given = (!value.is_empty()).then_some(value);
        for (own, _, text) in self.pairs() {
            if own >= name
                && let Some(value) = given.take()
            {
                put(&mut out, name);
                put(&mut out, value);
            }
            if own != name {
                out.push_str(text);
            }
        }
        if let Some(value) = given {
            put(&mut out, name);
            put(&mut out, value);
        }
        Self(Arc::from(out))
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
        let mut bytes = Vec::with_capacity(self.0.len() + 16);
        for text in self.iter().flat_map(|(name, value)| [name, value]) {
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

impl std::fmt::Debug for Labels {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_map().entries(self.iter()).finish()
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

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    fn set(pairs: &[(String, String)]) -> Labels {
        pairs.iter().map(|(n, v)| (n, v)).collect()
    }

    /// The same by a map.
    fn plain(pairs: &[(String, String)]) -> BTreeMap<String, String> {
        let mut map: BTreeMap<_, _> = pairs.iter().cloned().collect();
        map.retain(|_, value| !value.is_empty());
        map
    }

    fn as_map(labels: &Labels) -> BTreeMap<String, String> {
        let pairs = labels.iter();
        pairs.map(|(n, v)| (n.to_owned(), v.to_owned())).collect()
    }

    fn pairs() -> impl Strategy<Value = Vec<(String, String)>> {
        let text =
            prop_oneof![4 => "[ab\u{0}\u{3f}@é]{0,3}", 1 => ".{60,140}", 1 => "x{4090,4100}"];
        prop::collection::vec(("[abc@]{1,2}", text), 0..6)
    }

    proptest! {
        #[test]
        fn it_is_a_sorted_map(a in pairs(), b in pairs(), name in "[abc@]{1,2}", value in "[xy]{0,2}") {
            let (one, other) = (set(&a), set(&b));
            let (mut plain_one, plain_other) = (plain(&a), plain(&b));
            prop_assert_eq!(as_map(&one), plain_one.clone());
            prop_assert!(one.iter().is_sorted_by(|a, b| a.0 < b.0));
            prop_assert_eq!(one.cmp(&other), plain_one.iter().cmp(plain_other.iter()));
            prop_assert_eq!(one == other, plain_one == plain_other);
            prop_assert_eq!(one.get(&name), plain_one.get(&name).map_or("", String::as_str));
            let kept = one.filtered(|own| own != name);
            let mut text = String::new();
            one.filter_into(&mut text, |own| own != name);
            prop_assert_eq!(&kept, &Labels::of_text(&text));
            let with = one.with(&name, &value);
            plain_one.remove(&name);
            prop_assert_eq!(as_map(&kept), plain_one.clone());
            if !value.is_empty() {
                plain_one.insert(name, value);
            }
            prop_assert_eq!(as_map(&with), plain_one.clone());
            prop_assert_eq!(with, plain_one.iter().collect());
        }
    }
}
