//! Symbols in as many bits as they are rare: a range coder of the asymmetric kind (rANS) with one
//! table for all symbols of a column.
//!
//! What columns hold is mostly without repetitions that a dictionary coder could use: which of a
//! few forms a line has, the upper bits of a number. Its distribution is all there is to use.

use crate::bytes::{Cursor, put_uvarint};

/// Frequencies add up to this.
const TOTAL: u32 = 1 << BITS;
const BITS: u32 = 12;
/// Below this the state takes in another byte.
const LOW: u32 = 1 << 23;
/// Symbols are below this.
pub(crate) const SYMBOLS: usize = 512;

/// How often each symbol is there.
pub(crate) type Counts = [u32; SYMBOLS];

/// How often each symbol is expected, adding up to [`TOTAL`].
#[derive(Debug)]
pub(crate) struct Table {
    frequencies: [u16; SYMBOLS],
    starts: [u16; SYMBOLS],
    used: usize,
}

/// Scales counts so that they add up; `None` without any symbol, or with more than can be told
/// apart.
fn scaled(counts: &Counts) -> Option<[u16; SYMBOLS]> {
    let sum: u64 = counts.iter().map(|count| u64::from(*count)).sum();
    let used = counts.iter().filter(|count| **count > 0).count();
    if sum == 0 || used > TOTAL as usize / 2 {
        return None;
    }
    let mut out = [0u16; SYMBOLS];
    let mut given = 0i64;
    let mut largest = 0;
    for (symbol, count) in counts.iter().enumerate().filter(|(_, count)| **count > 0) {
        let share = (u64::from(*count) * u64::from(TOTAL) + sum / 2) / sum;
        out[symbol] = share.clamp(1, u64::from(TOTAL)) as u16;
        given += i64::from(out[symbol]);
        if out[symbol] > out[largest] {
            largest = symbol;
        }
    }
    // What rounding gave or took comes from those that feel it least.
    let mut over = given - i64::from(TOTAL);
    if over < 0 {
        out[largest] += (-over) as u16;
        over = 0;
    }
    while over > 0 {
        let most = (0..SYMBOLS).max_by_key(|symbol| out[*symbol])?;
        let taken = over.min(i64::from(out[most]) / 2).max(1);
        if out[most] <= 1 {
            return None;
        }
        out[most] -= taken as u16;
        over -= taken;
    }
    Some(out)
}

impl Table {
    /// A table for symbols that are there so often.
    pub(crate) fn new(counts: &Counts) -> Option<Self> {
        Self::of(scaled(counts)?)
    }

    fn of(frequencies: [u16; SYMBOLS]) -> Option<Self> {
        let mut starts = [0; SYMBOLS];
        let (mut at, mut used) = (0u32, 0);
        for (symbol, frequency) in frequencies.iter().enumerate() {
            starts[symbol] = at as u16;
            at += u32::from(*frequency);
            used += usize::from(*frequency > 0);
        }
        (at == TOTAL).then_some(Self {
            frequencies,
            starts,
            used,
        })
    }

    /// How many bits so many symbols take, with the table.
    pub(crate) fn cost(&self, counts: &Counts) -> f64 {
        let bits: f64 = counts
            .iter()
            .zip(&self.frequencies)
            .filter(|(count, _)| **count > 0)
            .map(|(count, frequency)| {
                f64::from(*count) * (f64::from(BITS) - f64::from(*frequency).log2())
            })
            .sum();
        bits + 20.0 * self.used as f64 + 48.0
    }

    /// Writes the table: gaps between symbols and their frequencies.
    pub(crate) fn put(&self, out: &mut Vec<u8>) {
        put_uvarint(out, self.used as u64);
        let mut next = 0;
        for (symbol, frequency) in self.frequencies.iter().enumerate() {
            if *frequency > 0 {
                put_uvarint(out, (symbol - next) as u64);
                put_uvarint(out, u64::from(*frequency));
                next = symbol + 1;
            }
        }
    }

    /// Reads what [`Table::put`] wrote.
    pub(crate) fn read(cursor: &mut Cursor<'_>) -> Option<Self> {
        let used = cursor.count()?;
        let mut frequencies = [0; SYMBOLS];
        let (mut next, mut given) = (0usize, 0u64);
        for _ in 0..used {
            let gap = usize::try_from(cursor.uvarint()?).ok()?;
            let symbol = next.checked_add(gap)?;
            let frequency = cursor.uvarint()?;
            given = given.checked_add(frequency)?;
            if frequency == 0 || given > u64::from(TOTAL) {
                return None;
            }
            *frequencies.get_mut(symbol)? = frequency as u16;
            next = symbol + 1;
        }
        Self::of(frequencies)
    }

    /// Writes symbols, all of which the table knows.
    pub(crate) fn encode(&self, symbols: &[u16], out: &mut Vec<u8>) {
        let begin = out.len();
        let mut state = LOW;
        for symbol in symbols.iter().rev() {
            let frequency = u32::from(self.frequencies[usize::from(*symbol)]);
            let limit = u64::from(LOW >> BITS << 8) * u64::from(frequency);
            while u64::from(state) >= limit {
                out.push(state as u8);
                state >>= 8;
            }
            let start = u32::from(self.starts[usize::from(*symbol)]);
            state = ((state / frequency) << BITS) + state % frequency + start;
        }
        out.extend_from_slice(&state.to_le_bytes());
        // The last symbol was written first.
        out[begin..].reverse();
    }

    /// Reads `count` symbols.
    pub(crate) fn decode(&self, bytes: &[u8], count: usize) -> Option<Vec<u16>> {
        let mut slots = [0u16; TOTAL as usize];
        for (symbol, frequency) in self.frequencies.iter().enumerate() {
            let start = usize::from(self.starts[symbol]);
            if *frequency > 0 {
                slots[start..start + usize::from(*frequency)].fill(symbol as u16);
            }
        }
        let (front, mut rest) = bytes.split_at_checked(4)?;
        let mut state = u32::from_be_bytes(front.try_into().ok()?);
        if state < LOW {
            return None;
        }
        let mut out = Vec::with_capacity(count);
        for _ in 0..count {
            let slot = state & (TOTAL - 1);
            let symbol = slots[slot as usize];
            let frequency = u32::from(self.frequencies[usize::from(symbol)]);
            let start = u32::from(self.starts[usize::from(symbol)]);
            state = frequency.wrapping_mul(state >> BITS) + slot - start;
            while state < LOW {
                let (byte, later) = rest.split_first()?;
                state = state << 8 | u32::from(*byte);
                rest = later;
            }
            out.push(symbol);
        }
        Some(out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn counts(symbols: &[u16]) -> Counts {
        let mut counts = [0; SYMBOLS];
        for symbol in symbols {
            counts[usize::from(*symbol)] += 1;
        }
        counts
    }

    proptest! {
        #[test]
        fn symbols_round_trip(
            symbols in prop_oneof![
                prop::collection::vec(0u16..512, 1..600),
                prop::collection::vec(0u16..3, 1..600),
                prop::collection::vec(prop_oneof![50 => Just(7u16), 1 => 0u16..512], 1..600),
            ],
        ) {
            let table = Table::new(&counts(&symbols)).expect("a table");
            let (mut out, mut head) = (Vec::new(), Vec::new());
            table.encode(&symbols, &mut out);
            table.put(&mut head);
            let read = Table::read(&mut Cursor::new(&head)).expect("the table");
            prop_assert_eq!(read.decode(&out, symbols.len()), Some(symbols));
        }

        #[test]
        fn anything_can_be_read(head: Vec<u8>, bytes: Vec<u8>, symbols in prop::collection::vec(0u16..40, 1..30)) {
            if let Some(table) = Table::read(&mut Cursor::new(&head)) {
                let _ = table.decode(&bytes, 1000);
            }
            let table = Table::new(&counts(&symbols)).expect("a table");
            let _ = table.decode(&bytes, 1000);
        }
    }

    #[test]
    fn what_is_expected_takes_little() {
        let symbols: Vec<u16> = (0..10_000).map(|at| u16::from(at % 100 == 0)).collect();
        let table = Table::new(&counts(&symbols)).expect("a table");
        let mut out = Vec::new();
        table.encode(&symbols, &mut out);
        // 0.081 bits each.
        assert!(out.len() < 120, "{}", out.len());
        assert!(table.cost(&counts(&symbols)) < 1000.0);
    }
}
