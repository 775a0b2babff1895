//! Head and segments as matchers see them: lists by label, and the labels of single series, which
//! are looked at where few are left.

use std::borrow::Cow;
use std::collections::HashMap;
use std::convert::Infallible;

use towpath_query::promql::NAME;
use towpath_stdx::keyed::Quick;

use super::head::Head;
use super::registry::Registry;
use crate::matching::Index;
use crate::segment::{At, Reader, SEPARATOR, SegmentError};

/// Of so many series one is few.
const FEW: usize = 4;

/// Looking at a series is dearer than looking at a value, but by no more than this.
const DEARER: usize = 2;
/// And than going past a number in a list by about this.
const LONGER: usize = 8;

/// The series of the head.
pub(crate) struct OfHead<'h> {
    pub(crate) head: &'h Head,
    pub(crate) registry: &'h Registry,
}

impl Index for OfHead<'_> {
    type Error = Infallible;

    fn all(&self) -> Result<Cow<'_, [u32]>, Infallible> {
        Ok(Cow::Borrowed(self.registry.ids()))
    }

    fn exact(&self, name: &str, value: &str) -> Result<Cow<'_, [u32]>, Infallible> {
        Ok(Cow::Borrowed(self.registry.postings(name, value)))
    }

    fn any(
        &self,
        name: &str,
        accept: &mut dyn FnMut(&str) -> bool,
    ) -> Result<Vec<u32>, Infallible> {
        let mut out = Vec::new();
        for (value, list) in self.registry.lists(name) {
            if accept(value) {
                out.extend_from_slice(list);
            }
        }
        Ok(out)
    }

    fn by_value(
        &self,
        name: &str,
        among: usize,
        accept: &mut dyn FnMut(&str) -> bool,
    ) -> Result<Option<Vec<u32>>, Infallible> {
        if self.registry.value_count(name) > among / DEARER {
            return Ok(None);
        }
        let mut out = Vec::new();
        for (value, list) in self.registry.lists(name) {
            if accept(value) {
                if out.len() + list.len() > among * LONGER {
                    return Ok(None);
                }
                out.extend_from_slice(list);
            }
        }
        Ok(Some(out))
    }

    fn filter(
        &self,
        ids: &mut Vec<u32>,
        name: &str,
        accept: &mut dyn FnMut(&str) -> bool,
    ) -> Result<bool, Infallible> {
        if ids.len() > self.registry.ids().len() / FEW {
            return Ok(false);
        }
        let of_none = accept("");
        let Some(name) = self.registry.symbols.find(name) else {
            if !of_none {
                ids.clear();
            }
            return Ok(true);
        };
        // Each value is looked at once, however many series have it.
        let mut known: HashMap<u32, bool, Quick> = HashMap::default();
        ids.retain(|id| {
            let pair = self
                .head
                .with(*id, |series| self.registry.pair_of(&series.labels, name));
            match pair.flatten() {
                None => of_none,
                Some(pair) => *known
                    .entry(pair)
                    .or_insert_with(|| accept(self.registry.value_of(pair))),
            }
        });
        Ok(true)
    }
}

/// The series of a segment.
pub(crate) struct OfSegment<'s>(pub(crate) &'s Reader);

impl Index for OfSegment<'_> {
    type Error = SegmentError;

    fn all(&self) -> Result<Cow<'_, [u32]>, SegmentError> {
        self.0.all()
    }

    fn exact(&self, name: &str, value: &str) -> Result<Cow<'_, [u32]>, SegmentError> {
        self.0.exact(name, value)
    }

    fn any(
        &self,
        name: &str,
        accept: &mut dyn FnMut(&str) -> bool,
    ) -> Result<Vec<u32>, SegmentError> {
        self.0.any(name, accept)
    }

    fn by_value(
        &self,
        name: &str,
        among: usize,
        accept: &mut dyn FnMut(&str) -> bool,
    ) -> Result<Option<Vec<u32>>, SegmentError> {
        self.0.few(name, among / DEARER, among * LONGER, accept)
    }

    fn filter(
        &self,
        ids: &mut Vec<u32>,
        name: &str,
        accept: &mut dyn FnMut(&str) -> bool,
    ) -> Result<bool, SegmentError> {
        if ids.len() > self.0.len() as usize / FEW {
            return Ok(false);
        }
        let mut at = At::default();
        let mut last: Option<(Vec<u8>, bool)> = None;
        let mut failed = None;
        ids.retain(|id| {
            let value = match at.key(self.0, *id) {
                Ok(key) => value_of(key, name),
                Err(error) => {
                    failed.get_or_insert(error);
                    return false;
                }
            };
            match &last {
                Some((own, accepted)) if own == value => *accepted,
                _ => {
                    let accepted = std::str::from_utf8(value).is_ok_and(&mut *accept);
                    last = Some((value.to_vec(), accepted));
                    accepted
                }
            }
        });
        failed.map_or(Ok(true), Err)
    }
}

/// The value of a label in a key of a series, empty if there is none.
fn value_of<'k>(key: &'k [u8], name: &str) -> &'k [u8] {
    let mut texts = key.split(|byte| *byte == SEPARATOR);
    let metric = texts.next().unwrap_or_default();
    if name == NAME {
        return metric;
    }
    while let (Some(own), Some(value)) = (texts.next(), texts.next()) {
        if own == name.as_bytes() {
            return value;
        }
    }
    &[]
}
