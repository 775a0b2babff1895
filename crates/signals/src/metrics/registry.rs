//! Which series there are: their labels as numbers of texts, and from labels back to series.

use std::borrow::Cow;
use std::collections::HashMap;
use std::convert::Infallible;
use std::hash::{BuildHasher, Hasher, RandomState};

use towpath_query::promql::Labels;

use super::ids::{Ids, Quick};
use super::symbols::Symbols;
use crate::matching::Index;

/// Labels as pairs of numbers of texts, in the order of the names.
pub(crate) type Pairs = Box<[(u32, u32)]>;

/// Series of one label pair. Many labels are had by one series alone.
enum Posting {
    One(u32),
    #[allow(clippy::box_collection)] // keeps the millions of single ones at 16 bytes
    Many(Box<Vec<u32>>),
}

impl Posting {
    fn list(&self) -> &[u32] {
        match self {
            Self::One(id) => std::slice::from_ref(id),
            Self::Many(list) => list,
        }
    }

    fn push(&mut self, id: u32) {
        match self {
            Self::One(first) => {
                let (first, id) = (id.min(*first), id.max(*first));
                *self = Self::Many(Box::new(vec![first, id]));
            }
            Self::Many(list) => {
                if list.len() == list.capacity() {
                    list.reserve_exact((list.len() / 2).max(2));
                }
                insert(list, id);
            }
        }
    }
}

/// Numbers come in ascending order, but for those of a damaged log.
fn insert(list: &mut Vec<u32>, id: u32) {
    if list.last().is_none_or(|last| *last < id) {
        list.push(id);
    } else if let Err(at) = list.binary_search(&id) {
        list.insert(at, id);
    }
}

/// Labels and their series.
#[derive(Default)]
pub(crate) struct Registry {
    pub(crate) symbols: Symbols,
    names: HashMap<u32, HashMap<u32, Posting, Quick>, Quick>,
    ids: Ids,
    all: Vec<u32>,
    pairs: usize,
    seed: RandomState,
}

impl Registry {
    pub(crate) fn hash<'l>(&self, labels: impl Iterator<Item = (&'l str, &'l str)>) -> u64 {
        let mut hasher = self.seed.build_hasher();
        for (name, value) in labels {
            for text in [name, value] {
                hasher.write(text.as_bytes());
                // Occurs in no text.
                hasher.write_u8(255);
            }
        }
        hasher.finish()
    }

    fn hash_pairs(&self, pairs: &[(u32, u32)]) -> u64 {
        let mut hasher = self.seed.build_hasher();
        for id in pairs.iter().flat_map(|(name, value)| [name, value]) {
            hasher.write(self.symbols.text(*id).as_bytes());
            hasher.write_u8(255);
        }
        hasher.finish()
    }

    /// The series with this hash whose labels `is` accepts.
    pub(crate) fn find(&self, hash: u64, is: impl Fn(u32) -> bool) -> Option<u32> {
        self.ids.get(hash, is)
    }

    /// Whether these numbers are these labels.
    pub(crate) fn is<'l>(
        &self,
        pairs: &[(u32, u32)],
        mut wanted: impl Iterator<Item = (&'l str, &'l str)>,
    ) -> bool {
        let same = pairs.iter().all(|(name, value)| {
            wanted.next().is_some_and(|wanted| {
                wanted == (self.symbols.text(*name), self.symbols.text(*value))
            })
        });
        same && wanted.next().is_none()
    }

    /// Adds a series.
    pub(crate) fn add(&mut self, hash: u64, labels: &[(&str, &str)], id: u32) -> Pairs {
        let mut pairs = Vec::with_capacity(labels.len());
        for (name, value) in labels {
            let name = self.symbols.intern(name);
            let values = self.names.entry(name).or_insert_with(|| {
                self.symbols.hold(name);
                HashMap::default()
            });
            let value = self.symbols.intern(value);
            match values.get_mut(&value) {
                Some(posting) => posting.push(id),
                None => {
                    values.insert(value, Posting::One(id));
                    self.symbols.hold(value);
                    self.pairs += 1;
                }
            }
            pairs.push((name, value));
        }
        self.ids.insert(hash, id);
        insert(&mut self.all, id);
        pairs.into_boxed_slice()
    }

    /// Takes series away, given in ascending order with their labels.
    pub(crate) fn remove(&mut self, gone: &[(u32, Pairs)]) {
        let mut touched: HashMap<(u32, u32), ()> = HashMap::new();
        for (id, pairs) in gone {
            let hash = self.hash_pairs(pairs);
            self.ids.remove(hash, *id);
            touched.extend(pairs.iter().map(|pair| (*pair, ())));
        }
        let is_gone = |id: &u32| gone.binary_search_by_key(id, |(id, _)| *id).is_ok();
        self.all.retain(|id| !is_gone(id));
        for (name, value) in touched.into_keys() {
            let Some(values) = self.names.get_mut(&name) else {
                continue;
            };
            let empty = match values.get_mut(&value) {
                Some(Posting::One(id)) => is_gone(id),
                Some(Posting::Many(list)) => {
                    list.retain(|id| !is_gone(id));
                    list.shrink_to_fit();
                    list.is_empty()
                }
                None => false,
            };
            if empty {
                values.remove(&value);
                self.pairs -= 1;
                self.symbols.release(value);
                if values.is_empty() {
                    self.names.remove(&name);
                    self.symbols.release(name);
                }
            }
        }
    }

    pub(crate) fn labels(&self, pairs: &[(u32, u32)]) -> Labels {
        let texts = pairs
            .iter()
            .map(|(name, value)| (self.symbols.text(*name), self.symbols.text(*value)));
        texts.collect()
    }

    /// All series, in ascending order.
    pub(crate) fn ids(&self) -> &[u32] {
        &self.all
    }

    pub(crate) fn pair_count(&self) -> usize {
        self.pairs
    }

    /// Names of labels, in any order.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.names.keys().map(|name| self.symbols.text(*name))
    }

    /// Values of a label with how many series have them, in any order.
    pub(crate) fn values(&self, name: &str) -> impl Iterator<Item = (&str, usize)> {
        let values = self
            .symbols
            .find(name)
            .and_then(|name| self.names.get(&name));
        values
            .into_iter()
            .flatten()
            .map(|(value, posting)| (self.symbols.text(*value), posting.list().len()))
    }

    /// What the tables take, about.
    pub(crate) fn bytes(&self) -> usize {
        let lists: usize = self.names.values().map(|v| v.capacity() * 25).sum();
        self.symbols.bytes() + self.ids.bytes() + lists + self.all.capacity() * 4
    }

    /// The series with a label, in ascending order.
    pub(crate) fn postings(&self, name: &str, value: &str) -> &[u32] {
        let found = || {
            let name = self.symbols.find(name)?;
            let value = self.symbols.find(value)?;
            self.names.get(&name)?.get(&value)
        };
        found().map_or(&[], Posting::list)
    }
}

impl Index for Registry {
    type Error = Infallible;

    fn all(&self) -> Result<Cow<'_, [u32]>, Infallible> {
        Ok(Cow::Borrowed(&self.all))
    }

    fn exact(&self, name: &str, value: &str) -> Result<Cow<'_, [u32]>, Infallible> {
        Ok(Cow::Borrowed(self.postings(name, value)))
    }

    fn any(
        &self,
        name: &str,
        accept: &mut dyn FnMut(&str) -> bool,
    ) -> Result<Vec<u32>, Infallible> {
        let mut out = Vec::new();
        let values = self
            .symbols
            .find(name)
            .and_then(|name| self.names.get(&name));
        for (value, posting) in values.into_iter().flatten() {
            if accept(self.symbols.text(*value)) {
                out.extend_from_slice(posting.list());
            }
        }
        Ok(out)
    }
}
