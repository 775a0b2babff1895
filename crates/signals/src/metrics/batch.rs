//! Series of a record, made ready for the head: read, checked, hashed and compared with the one
//! before. That is as much work as to add them, and can be done beside it.

use towpath_stdx::keyed::Fingerprint;

use super::records::{self, Entry};

/// A label of a series in a batch.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Label<'b> {
    pub(crate) name: &'b str,
    pub(crate) value: &'b str,
    /// Which label of the series before in the batch is the same, if one is.
    pub(crate) same: Option<usize>,
}

/// Where a label is in the text.
#[derive(Clone, Copy, Debug)]
struct Place {
    name: u32,
    value: u32,
    end: u32,
    /// `u32::MAX` for none.
    same: u32,
}

#[derive(Debug)]
struct One {
    number: u32,
    hash: u64,
    /// Where its labels end.
    end: u32,
}

/// Series in the order of a record.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    text: String,
    labels: Vec<Place>,
    series: Vec<One>,
    /// The record made sense to its end.
    pub(crate) whole: bool,
}

impl Batch {
    /// Reads a record of series.
    pub(crate) fn read(record: &[u8], fingerprint: Fingerprint) -> Self {
        let mut own = Self {
            // Most labels are those of the series before.
            text: String::with_capacity(record.len() / 4),
            ..Self::default()
        };
        own.whole = records::read(record, |entry| {
            if let Entry::Series(number, labels) = entry {
                let texts = labels.iter().flat_map(|(name, value)| [name, value]);
                let hash = fingerprint.of(texts.map(|text| text.as_bytes()));
                own.add(number, hash, &labels);
            }
        });
        own
    }

    fn add(&mut self, number: u32, hash: u64, labels: &[(&str, &str)]) {
        let ends = self.series.iter().rev().map(|one| one.end as usize);
        let mut ends = ends.chain(std::iter::once(0));
        let (to, from) = (ends.next().unwrap_or(0), ends.next().unwrap_or(0));
        let mut at = from;
        for (name, value) in labels {
            while at < to && self.label(at).name < *name {
                at += 1;
            }
            let same = at < to && (self.label(at).name, self.label(at).value) == (*name, *value);
            let place = match same {
                true => Place {
                    same: (at - from) as u32,
                    ..self.labels[at]
                },
                false => self.place(name, value),
            };
            self.labels.push(place);
        }
        self.series.push(One {
            number,
            hash,
            end: self.labels.len() as u32,
        });
    }

    fn place(&mut self, name: &str, value: &str) -> Place {
        let begin = self.text.len() as u32;
        self.text.push_str(name);
        let middle = self.text.len() as u32;
        self.text.push_str(value);
        Place {
            name: begin,
            value: middle,
            end: self.text.len() as u32,
            same: u32::MAX,
        }
    }

    fn label(&self, at: usize) -> Label<'_> {
        let place = self.labels[at];
        let same = (place.same < u32::MAX).then_some(place.same as usize);
        Label {
            name: &self.text[place.name as usize..place.value as usize],
            value: &self.text[place.value as usize..place.end as usize],
            same,
        }
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.series.len()
    }

    /// Number, hash and labels of each.
    pub(crate) fn iter(
        &self,
    ) -> impl Iterator<Item = (u32, u64, impl Iterator<Item = Label<'_>> + Clone)> {
        let mut from = 0;
        self.series.iter().map(move |one| {
            let labels = from..one.end as usize;
            from = labels.end;
            (one.number, one.hash, labels.map(|at| self.label(at)))
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use towpath_query::promql::Labels;

    use super::super::budget::Budget;
    use super::super::head::{Bounds, Head};
    use super::*;

    fn batch(head: &Head, series: &[(u32, &str)]) -> Batch {
        let mut record = Vec::new();
        for (number, job) in series {
            let labels = [("__name__", "up"), ("job", job)].into_iter().collect();
            records::put_series(&mut record, *number, &labels);
        }
        Batch::read(&record, head.registry.read().fingerprint())
    }

    #[test]
    fn numbers_that_are_taken_are_told() {
        let bounds = Bounds {
            block: 7_200_000,
            window: 0,
            max_series: 1,
        };
        let budget = Budget::new("metrics", 1 << 20, "job".to_owned());
        let head = Head::new(&bounds, budget);
        assert_eq!(head.restore(&batch(&head, &[(7, "a"), (300, "b")])), []);
        // The first is there with another number, the number of the second is another series.
        let other = head.restore(&batch(&head, &[(8, "b"), (7, "c"), (9, "d"), (9, "d")]));
        assert_eq!(other, [(8, 300), (7, 301)]);
        let job = |number| {
            head.labels(number)
                .map(|labels| labels.get("job").to_owned())
        };
        let jobs = [7, 300, 301, 9, 8].map(job);
        let all = ["a", "b", "c", "d"].map(|job| Some(job.to_owned()));
        assert_eq!(jobs[..4], all);
        assert_eq!(jobs[4], None);
        assert_eq!(
            head.registry.read().postings("__name__", "up"),
            [7, 9, 300, 301]
        );
        assert_eq!((head.count(), head.next()), (4, 302));
    }

    proptest! {
        #[test]
        fn all_of_a_record_is_there(
            all in prop::collection::vec(
                prop::collection::btree_map("[a-d]", "[x-zü]{1,2}", 0..4), 0..12,
            ),
        ) {
            let fingerprint = Fingerprint::default();
            let all: Vec<Labels> = all
                .iter()
                .map(|labels| labels.iter().map(|(name, value)| (&**name, &**value)).collect())
                .collect();
            let mut record = Vec::new();
            for (number, labels) in (5u32..).zip(&all) {
                records::put_series(&mut record, number, labels);
            }
            let batch = Batch::read(&record, fingerprint);
            prop_assert!(batch.whole);
            prop_assert_eq!(batch.len(), all.len());
            let mut before = Vec::new();
            for (at, (number, hash, labels)) in batch.iter().enumerate() {
                prop_assert_eq!(number, at as u32 + 5);
                let labels: Vec<_> = labels.collect();
                let texts: Vec<_> = labels.iter().map(|l| (l.name, l.value)).collect();
                prop_assert!(texts.iter().copied().eq(all[at].iter()));
                let bytes = texts.iter().flat_map(|(n, v)| [n.as_bytes(), v.as_bytes()]);
                prop_assert_eq!(hash, fingerprint.of(bytes));
                for (label, text) in labels.iter().zip(&texts) {
                    let same = before.iter().position(|own| own == text);
                    prop_assert_eq!(label.same, same);
                }
                before = texts;
            }
        }

        #[test]
        fn anything_can_be_read(mut bytes: Vec<u8>) {
            bytes.insert(0, 1);
            Batch::read(&bytes, Fingerprint::default()).iter().for_each(drop);
        }
    }
}
