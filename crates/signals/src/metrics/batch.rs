//! Series of a record, made ready for the head: read, checked, hashed and compared with the one
//! before. That is as much work as to add them, and can be done beside it.

use towpath_stdx::keyed::Fingerprint;

use super::records;
use crate::bytes::Cursor;

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

/// A label as it is in the record.
#[derive(Clone, Copy)]
struct Seen<'r> {
    raw: &'r [u8],
    name: &'r str,
    value: &'r str,
}

impl Batch {
    /// Reads a record of series.
    pub(crate) fn read(record: &[u8], fingerprint: Fingerprint) -> Self {
        let mut own = Self {
            // Most labels are those of the series before.
            text: String::with_capacity(record.len() / 4),
            ..Self::default()
        };
        own.whole = own.fill(record, fingerprint).is_some();
        own
    }

    fn fill(&mut self, record: &[u8], fingerprint: Fingerprint) -> Option<()> {
        let mut cursor = records::series(record)?;
        let (mut now, mut before) = (Vec::new(), Vec::new());
        while !cursor.is_empty() {
            std::mem::swap(&mut now, &mut before);
            now.clear();
            let (number, count) = records::one_series(&mut cursor)?;
            let begin = self.labels.len();
            let read = self.labels_of(&mut cursor, count, &before, &mut now);
            if read.is_none() {
                self.labels.truncate(begin);
                return None;
            }
            let texts = now.iter().flat_map(|seen: &Seen| [seen.name, seen.value]);
            self.series.push(One {
                number,
                hash: fingerprint.of(texts.map(str::as_bytes)),
                end: self.labels.len() as u32,
            });
        }
        Some(())
    }

    /// Reads the labels of a series, given those of the one before.
    fn labels_of<'r>(
        &mut self,
        cursor: &mut Cursor<'r>,
        count: usize,
        before: &[Seen<'r>],
        now: &mut Vec<Seen<'r>>,
    ) -> Option<()> {
        // Where those before are in the list.
        let places = self.labels.len() - before.len();
        let mut at = 0;
        for _ in 0..count {
            let rest = cursor.rest();
            let known = before.get(at).filter(|seen| rest.starts_with(seen.raw));
            let seen = match known {
                Some(known) => {
                    cursor.take(known.raw.len())?;
                    *known
                }
                None => {
                    let (name, value) = records::label(cursor)?;
                    let raw = &rest[..rest.len() - cursor.rest().len()];
                    Seen { raw, name, value }
                }
            };
            // As they are in a set of labels: in order, each once.
            if now.last().is_some_and(|last| last.name >= seen.name) {
                return None;
            }
            while before.get(at).is_some_and(|other| other.name < seen.name) {
                at += 1;
            }
            let same = before.get(at).is_some_and(|other| other.raw == seen.raw);
            let place = match same {
                true => Place {
                    same: at as u32,
                    ..self.labels[places + at]
                },
                false => self.place(seen.name, seen.value),
            };
            at += usize::from(same);
            self.labels.push(place);
            now.push(seen);
        }
        Some(())
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
                prop::collection::btree_map("[a-d]", "[x-zü]{1,2}", 0..4), 1..12,
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
        fn a_damaged_record_is_read_as_far_as_it_makes_sense(
            at: prop::sample::Index,
            byte: u8,
            jobs in prop::collection::vec("[a-zü]{1,4}", 1..8),
        ) {
            let mut record = Vec::new();
            for (number, job) in (1000u32..).zip(&jobs) {
                let labels = [("__name__", "up"), ("job", job.as_str()), ("x", "y")];
                records::put_series(&mut record, number, &labels.into_iter().collect());
            }
            let at = 1 + at.index(record.len() - 1);
            record[at] = byte;
            let batch = Batch::read(&record, Fingerprint::default());
            for (_, _, labels) in batch.iter() {
                let names: Vec<_> = labels.map(|label| label.name).collect();
                prop_assert!(names.is_sorted_by(|a, b| a < b));
            }
        }

        #[test]
        fn anything_can_be_read(mut bytes: Vec<u8>) {
            bytes.insert(0, 1);
            Batch::read(&bytes, Fingerprint::default()).iter().for_each(drop);
        }
    }
}
