//! Columns of a group of spans: a value for some or all rows, each distinct value once.

use std::collections::HashMap;

use towpath_stdx::keyed::Quick;

use crate::bytes::{Cursor, put_bytes, put_uvarint, uvarint_len};
use crate::hash::hash;

/// Values, each once, by numbers from 0 on.
#[derive(Default)]
pub(super) struct Distinct {
    /// Numbers of values by their hash.
    known: HashMap<u64, u32, Quick>,
    bytes: Vec<u8>,
    ends: Vec<u32>,
}

impl Distinct {
    pub(super) fn get(&self, number: u32) -> &[u8] {
        let at = number as usize;
        let start = at.checked_sub(1).map_or(0, |before| self.ends[before]);
        &self.bytes[start as usize..self.ends[at] as usize]
    }

    pub(super) fn len(&self) -> usize {
        self.ends.len()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &[u8]> {
        (0..self.ends.len() as u32).map(|number| self.get(number))
    }

    /// The number of a value.
    pub(super) fn number(&mut self, value: &[u8]) -> u32 {
        let next = self.ends.len() as u32;
        let known = *self.known.entry(hash(value)).or_insert(next);
        // Another value may have the same hash.
        if known != next && self.get(known) == value {
            return known;
        }
        self.bytes.extend_from_slice(value);
        self.ends.push(self.bytes.len() as u32);
        next
    }

    fn clear(&mut self) {
        self.known.clear();
        self.bytes.clear();
        self.ends.clear();
    }
}

/// A column that is filled from the first row to the last.
#[derive(Default)]
pub(super) struct Builder {
    values: Distinct,
    rows: Vec<(u32, u32)>,
}

impl Builder {
    /// The values, each once.
    pub(super) fn values(&self) -> &Distinct {
        &self.values
    }

    pub(super) fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Forgets all of it, but not its memory.
    pub(super) fn clear(&mut self) {
        self.values.clear();
        self.rows.clear();
    }

    /// Adds the value of a row; rows come in order, and of two values of a row the first stays.
    pub(super) fn add(&mut self, row: u32, value: &[u8]) {
        let number = match self.rows.last() {
            Some((last, _)) if *last == row => return,
            // Many columns say the same again and again.
            Some((_, number)) if self.values.get(*number) == value => *number,
            _ => self.values.number(value),
        };
        self.rows.push((row, number));
    }

    /// The number of a value, for rows that are added by it.
    pub(super) fn number(&mut self, value: &[u8]) -> u32 {
        self.values.number(value)
    }

    /// Adds a row behind the others with a value that is known.
    pub(super) fn push(&mut self, row: u32, number: u32) {
        self.rows.push((row, number));
    }

    /// The column: whether values are shared, the values, the rows as steps from one to the next,
    /// and which value each has where they are shared.
    pub(super) fn finish(&self) -> Vec<u8> {
        self.told(|out, number| put_bytes(out, self.values.get(number)))
    }

    /// The column with the numbers of the values in their place.
    pub(super) fn finish_numbers(&self) -> Vec<u8> {
        self.told(|out, number| {
            put_uvarint(out, uvarint_len(number.into()) as u64);
            put_uvarint(out, number.into());
        })
    }

    fn told(&self, put: impl Fn(&mut Vec<u8>, u32)) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.rows.len() * 2 + self.values.bytes.len());
        let distinct = self.values.len();
        let shared = distinct * 2 <= self.rows.len() || distinct <= 16;
        out.push(u8::from(shared));
        put_uvarint(&mut out, self.rows.len() as u64);
        let mut last = 0;
        for (row, _) in &self.rows {
            put_uvarint(&mut out, u64::from(row - last));
            last = *row;
        }
        let numbers = self.rows.iter().map(|(_, number)| *number);
        if shared {
            put_uvarint(&mut out, distinct as u64);
            (0..distinct as u32).for_each(|number| put(&mut out, number));
            numbers.for_each(|number| put_uvarint(&mut out, number.into()));
        } else {
            numbers.for_each(|number| put(&mut out, number));
        }
        out
    }
}

/// Gives each row with its value to `take`, in order; a value is made once where rows share it.
pub(super) fn read<'b, T: Clone>(
    bytes: &'b [u8],
    mut make: impl FnMut(&'b [u8]) -> Option<T>,
    mut take: impl FnMut(usize, T),
) -> Option<()> {
    let mut from = Cursor::new(bytes);
    let shared = from.u8()? == 1;
    let count = from.count()?;
    let mut rows = Vec::with_capacity(count);
    let mut row = 0u64;
    for _ in 0..count {
        row = row.checked_add(from.uvarint()?)?;
        rows.push(usize::try_from(row).ok()?);
    }
    if !shared {
        for row in rows {
            take(row, make(from.bytes()?)?);
        }
        return Some(());
    }
    let distinct = from.count()?;
    let values = (0..distinct).map(|_| make(from.bytes()?));
    let values: Vec<T> = values.collect::<Option<_>>()?;
    for row in rows {
        let number = usize::try_from(from.uvarint()?).ok()?;
        take(row, values.get(number)?.clone());
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn rows_come_back(values in prop::collection::vec(prop::option::of("[a-d]{0,2}"), 0..80)) {
            let mut column = Builder::default();
            for (row, value) in values.iter().enumerate() {
                if let Some(value) = value {
                    column.add(row as u32, value.as_bytes());
                }
            }
            let mut found = vec![None; values.len()];
            let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).ok();
            let done = read(&column.finish(), text, |row, value| found[row] = Some(value));
            prop_assert_eq!(done, Some(()));
            prop_assert_eq!(found, values);
        }

        #[test]
        fn anything_can_be_read(bytes: Vec<u8>) {
            let _ = read(&bytes, |value| Some(value.len()), |_, _| {});
        }
    }
}
