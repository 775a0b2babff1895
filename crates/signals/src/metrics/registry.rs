//! Which series there are: their labels as numbers of texts, and from labels back to series.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};

use towpath_query::promql::Labels;
use towpath_stdx::keyed::{Fingerprint, Ids, Quick};

use super::symbols::Symbols;

/// Labels as numbers of pairs, in the order of the names.
pub(crate) type Pairs = Box<[u32]>;

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

/// A name with a value, as numbers of texts, and the series that have it.
struct Pair {
    name: u32,
    value: u32,
    /// None where the number is free.
    series: Option<Posting>,
}

/// Labels and their series.
#[derive(Default)]
pub(crate) struct Registry {
    pub(crate) symbols: Symbols,
    pairs: Vec<Pair>,
    free: Vec<u32>,
    /// Pairs by name and value.
    numbers: HashMap<u64, u32, Quick>,
    /// Pairs of a name.
    names: HashMap<u32, Vec<u32>, Quick>,
    ids: Ids,
    all: Vec<u32>,
    /// The pairs of the series added last: those of the next one are the same, mostly.
    last: Vec<u32>,
    fingerprint: Fingerprint,
}

/// Both numbers of a pair as one, with the bits well mixed.
fn both(name: u32, value: u32) -> u64 {
    (u64::from(name) << 32 | u64::from(value)).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

impl Registry {
    /// What hashes of labels are made by.
    pub(crate) fn fingerprint(&self) -> Fingerprint {
        self.fingerprint
    }

    pub(crate) fn hash<'l>(&self, labels: impl Iterator<Item = (&'l str, &'l str)>) -> u64 {
        let texts = labels.flat_map(|(name, value)| [name.as_bytes(), value.as_bytes()]);
        self.fingerprint.of(texts)
    }

    /// Name and value of a pair.
    fn texts(&self, pair: u32) -> (&str, &str) {
        let pair = &self.pairs[pair as usize];
        (self.symbols.text(pair.name), self.symbols.text(pair.value))
    }

    /// The series with this hash whose labels `is` accepts.
    pub(crate) fn find(&self, hash: u64, is: impl Fn(u32) -> bool) -> Option<u32> {
        self.ids.get(hash, is)
    }

    /// Whether these numbers are these labels.
    pub(crate) fn is<'l>(
        &self,
        pairs: &[u32],
        mut wanted: impl Iterator<Item = (&'l str, &'l str)>,
    ) -> bool {
        let mut same = pairs.iter();
        same.all(|pair| wanted.next() == Some(self.texts(*pair))) && wanted.next().is_none()
    }

    /// The number of a pair, made if there is none. It must get a series before one is removed.
    pub(crate) fn pair(&mut self, name: &str, value: &str) -> u32 {
        let name = self.symbols.intern(name);
        let of_name = self.names.entry(name).or_insert_with(|| {
            self.symbols.hold(name);
            Vec::new()
        });
        let value = self.symbols.intern(value);
        let number = match self.numbers.entry(both(name, value)) {
            Entry::Occupied(known) => return *known.get(),
            Entry::Vacant(new) => {
                let number = self.free.pop().unwrap_or(self.pairs.len() as u32);
                *new.insert(number)
            }
        };
        self.symbols.hold(value);
        of_name.push(number);
        let pair = Pair {
            name,
            value,
            series: None,
        };
        match self.pairs.get_mut(number as usize) {
            Some(free) => *free = pair,
            None => self.pairs.push(pair),
        }
        number
    }

    /// Adds a series.
    pub(crate) fn add(&mut self, hash: u64, labels: &[(&str, &str)], id: u32) -> Pairs {
        let last = std::mem::take(&mut self.last);
        let mut known = &last[..];
        let mut pairs = Vec::with_capacity(labels.len());
        for (name, value) in labels {
            while let [first, rest @ ..] = known
                && self.texts(*first).0 < *name
            {
                known = rest;
            }
            let number = match known {
                [first, ..] if self.texts(*first) == (*name, *value) => *first,
                _ => self.pair(name, value),
            };
            pairs.push(number);
        }
        self.last = last;
        self.last.clear();
        self.last.extend_from_slice(&pairs);
        self.put(hash, &pairs, id);
        pairs.into_boxed_slice()
    }

    /// Adds a series by its pairs.
    pub(crate) fn put(&mut self, hash: u64, pairs: &[u32], id: u32) {
        for pair in pairs {
            match &mut self.pairs[*pair as usize].series {
                Some(posting) => posting.push(id),
                none => *none = Some(Posting::One(id)),
            }
        }
        self.ids.insert(hash, id);
        insert(&mut self.all, id);
    }

    /// Takes series away, given in ascending order with their labels.
    pub(crate) fn remove(&mut self, gone: &[(u32, Pairs)]) {
        let mut touched: HashSet<u32, Quick> = HashSet::default();
        for (id, pairs) in gone {
            let hash = self.hash(pairs.iter().map(|pair| self.texts(*pair)));
            self.ids.remove(hash, *id);
            touched.extend(&pairs[..]);
        }
        let is_gone = |id: &u32| gone.binary_search_by_key(id, |(id, _)| *id).is_ok();
        self.all.retain(|id| !is_gone(id));
        self.last.clear();
        let mut names: HashSet<u32, Quick> = HashSet::default();
        for number in touched {
            let pair = &mut self.pairs[number as usize];
            let empty = match &mut pair.series {
                Some(Posting::One(id)) => is_gone(id),
                Some(Posting::Many(list)) => {
                    list.retain(|id| !is_gone(id));
                    list.shrink_to_fit();
                    list.is_empty()
                }
                None => false,
            };
            if empty {
                pair.series = None;
                self.numbers.remove(&both(pair.name, pair.value));
                self.symbols.release(pair.value);
                self.free.push(number);
                names.insert(pair.name);
            }
        }
        for name in names {
            let Some(list) = self.names.get_mut(&name) else {
                continue;
            };
            list.retain(|number| self.pairs[*number as usize].series.is_some());
            if list.is_empty() {
                self.names.remove(&name);
                self.symbols.release(name);
            }
        }
    }

    pub(crate) fn labels(&self, pairs: &[u32]) -> Labels {
        Labels::sorted(pairs.iter().map(|pair| self.texts(*pair)))
    }

    /// Which of the pairs has a name, by the number of its text.
    pub(crate) fn pair_of(&self, pairs: &[u32], name: u32) -> Option<u32> {
        let mut pairs = pairs.iter().copied();
        pairs.find(|pair| self.pairs[*pair as usize].name == name)
    }

    /// The value of a pair.
    pub(crate) fn value_of(&self, pair: u32) -> &str {
        self.texts(pair).1
    }

    /// Writes the key that a series has in segments.
    pub(crate) fn put_key(&self, pairs: &[u32], out: &mut Vec<u8>) {
        super::segment::put_key(pairs.iter().map(|pair| self.texts(*pair)), out);
    }

    /// All series, in ascending order.
    pub(crate) fn ids(&self) -> &[u32] {
        &self.all
    }

    pub(crate) fn pair_count(&self) -> usize {
        self.numbers.len()
    }

    /// Names of labels, in any order.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.names.keys().map(|name| self.symbols.text(*name))
    }

    /// Values of a label with the series that have them, in any order.
    pub(crate) fn lists(&self, name: &str) -> impl Iterator<Item = (&str, &[u32])> {
        let pairs = self
            .symbols
            .find(name)
            .and_then(|name| self.names.get(&name));
        pairs.into_iter().flatten().map(|number| {
            let pair = &self.pairs[*number as usize];
            let list = pair.series.as_ref().map_or(&[][..], Posting::list);
            (self.symbols.text(pair.value), list)
        })
    }

    /// How many values a label has.
    pub(crate) fn value_count(&self, name: &str) -> usize {
        let pairs = self.symbols.find(name);
        let pairs = pairs.and_then(|name| self.names.get(&name));
        pairs.map_or(0, Vec::len)
    }

    /// Values of a label with how many series have them, in any order.
    pub(crate) fn values(&self, name: &str) -> impl Iterator<Item = (&str, usize)> {
        self.lists(name).map(|(value, list)| (value, list.len()))
    }

    /// What the tables take, about.
    pub(crate) fn bytes(&self) -> usize {
        self.symbols.bytes()
            + self.ids.bytes()
            // By what is in them: the steps in which they grow would look like a leap.
            + self.pairs.len() * (size_of::<Pair>() + 8)
            + self.numbers.len() * 24
            + self.all.capacity() * 4
    }

    /// The series with a label, in ascending order.
    pub(crate) fn postings(&self, name: &str, value: &str) -> &[u32] {
        let found = || {
            let (name, value) = (self.symbols.find(name)?, self.symbols.find(value)?);
            let number = self.numbers.get(&both(name, value))?;
            self.pairs[*number as usize].series.as_ref()
        };
        found().map_or(&[], Posting::list)
    }
}
