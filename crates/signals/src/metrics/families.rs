//! What is said about metric families.

use std::collections::BTreeMap;

use crate::Metadata;

/// The most families remembered.
const FAMILIES: usize = 50_000;
/// The most different things remembered of one family.
const EACH: usize = 10;
/// The longest text kept, in bytes.
const TEXT: usize = 4096;

#[derive(Default)]
pub(crate) struct Families(BTreeMap<String, Vec<Metadata>>);

fn cut(text: &mut String) {
    let mut end = text.len().min(TEXT);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.truncate(end);
}

impl Families {
    /// Remembers what is said; whether it is new.
    pub(crate) fn add(&mut self, family: &str, mut said: Metadata) -> bool {
        if let Some(known) = self.0.get(family)
            && known.contains(&said)
        {
            return false;
        }
        if family.len() > TEXT || (self.0.len() >= FAMILIES && !self.0.contains_key(family)) {
            return false;
        }
        cut(&mut said.kind);
        cut(&mut said.help);
        cut(&mut said.unit);
        let known = self.0.entry(family.to_owned()).or_default();
        if known.contains(&said) {
            return false;
        }
        // The newest is first.
        known.insert(0, said);
        known.truncate(EACH);
        true
    }

    pub(crate) fn read(&self, family: Option<&str>) -> BTreeMap<String, Vec<Metadata>> {
        match family {
            None => self.0.clone(),
            Some(family) => {
                let found = self.0.get_key_value(family);
                found
                    .map(|(k, v)| (k.clone(), v.clone()))
                    .into_iter()
                    .collect()
            }
        }
    }
}
