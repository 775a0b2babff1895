//! Columns of a group of spans: a value for some or all rows, each distinct value once.

use std::collections::HashMap;

use towpath_stdx::keyed::Quick;

use crate::bytes::{Cursor, put_bytes, put_uvarint};
use crate::hash::hash;

/// A column that is filled from the first row to the last.
#[derive(Default)]
pub(super) struct Builder {
    /// Numbers of values by their hash.
    known: HashMap<u64, u32, Quick>,
    bytes: Vec<u8>,
    ends: Vec<u32>,
    rows: Vec<(u32, u32)>,
}

impl Builder {
    fn value(&self, number: usize) -> &[u8] {
        let start = number.checked_sub(1).map_or(0, |before| self.ends[before]);
        &self.bytes[start as usize..self.ends[number] as usize]
    }

    /// The values, each once.
    pub(super) fn values(&self) -> impl Iterator<Item = &[u8]> {
        (0..self.ends.len()).map(|number| self.value(number))
    }

    /// Adds the value of a row; rows come in order, and of two values of a row the first stays.
    pub(super) fn add(&mut self, row: u32, value: &[u8]) {
        if self.rows.last().is_some_and(|(last, _)| *last == row) {
            return;
        }
        let next = self.ends.len() as u32;
        let mut number = *self.known.entry(hash(value)).or_insert(next);
        if number != next && self.value(number as usize) != value {
            // Another value has the same hash.
            number = next;
        }
        if number == next {
            self.bytes.extend_from_slice(value);
            self.ends.push(self.bytes.len() as u32);
        }
        self.rows.push((row, number));
    }

    /// The column: whether values are shared, the values, the rows as steps from one to the next,
    /// and which value each has where they are shared.
    pub(super) fn finish(&self) -> Vec<u8> {
        let mut out = Vec::new();
        let shared = self.ends.len() * 2 <= self.rows.len() || self.ends.len() <= 16;
        out.push(u8::from(shared));
        put_uvarint(&mut out, self.rows.len() as u64);
        let mut last = 0;
        for (row, _) in &self.rows {
            put_uvarint(&mut out, u64::from(row - last));
            last = *row;
        }
        if shared {
            put_uvarint(&mut out, self.ends.len() as u64);
            self.values().for_each(|value| put_bytes(&mut out, value));
            let numbers = self.rows.iter().map(|(_, number)| *number);
            numbers.for_each(|number| put_uvarint(&mut out, number.into()));
        } else {
            let numbers = self.rows.iter().map(|(_, number)| *number as usize);
            numbers.for_each(|number| put_bytes(&mut out, self.value(number)));
        }
        out
    }
}

/// Gives each row with its value to `take`; a value is made once where rows share it.
pub(super) fn read<T: Clone>(
    bytes: &[u8],
    mut make: impl FnMut(&[u8]) -> Option<T>,
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
