//! Every text of a label, once.

use towpath_stdx::keyed::{Fingerprint, Ids};

/// Texts by number. A number is used again after its text was let go by all who held it.
#[derive(Default)]
pub(crate) struct Symbols {
    texts: Vec<(Box<str>, u32)>,
    ids: Ids,
    free: Vec<u32>,
    fingerprint: Fingerprint,
    bytes: usize,
}

impl Symbols {
    fn hash(&self, text: &str) -> u64 {
        self.fingerprint.of([text.as_bytes()])
    }

    /// The number of a text that is known.
    pub(crate) fn find(&self, text: &str) -> Option<u32> {
        self.ids
            .get(self.hash(text), |id| &*self.texts[id as usize].0 == text)
    }

    /// The number of a text. It must be held before the next one is released.
    pub(crate) fn intern(&mut self, text: &str) -> u32 {
        let hash = self.hash(text);
        let known = self.ids.get(hash, |id| &*self.texts[id as usize].0 == text);
        if let Some(id) = known {
            return id;
        }
        let entry = (Box::from(text), 0);
        self.bytes += text.len() + 16;
        let id = match self.free.pop() {
            Some(id) => {
                self.texts[id as usize] = entry;
                id
            }
            None => {
                self.texts.push(entry);
                (self.texts.len() - 1) as u32
            }
        };
        self.ids.insert(hash, id);
        id
    }

    /// Counts one more that holds a text.
    pub(crate) fn hold(&mut self, id: u32) {
        self.texts[id as usize].1 += 1;
    }

    /// Counts one less; the text goes with the last.
    pub(crate) fn release(&mut self, id: u32) {
        let entry = &mut self.texts[id as usize];
        entry.1 = entry.1.saturating_sub(1);
        if entry.1 == 0 {
            let text = std::mem::take(&mut entry.0);
            self.bytes -= text.len() + 16;
            let hash = self.hash(&text);
            self.ids.remove(hash, id);
            self.free.push(id);
        }
    }

    pub(crate) fn text(&self, id: u32) -> &str {
        &self.texts[id as usize].0
    }

    pub(crate) fn bytes(&self) -> usize {
        self.bytes + self.ids.bytes() + self.texts.capacity() * size_of::<(Box<str>, u32)>()
    }
}
