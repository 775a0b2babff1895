//! Columns of numbers in few bits.
//!
//! Numbers are taken as they are or as differences, less the least of them. Where few different
//! ones are left, each is a symbol; else a symbol stands for the upper bits of a number and the
//! lower ones follow as they are. Where numbers repeat in sequences they are left to the compressor
//! that goes over the whole block.

mod bits;

use std::borrow::Cow;

use self::bits::{BitReader, Bits};
use crate::bytes::{Cursor, put_uvarint, put_varint, zigzag};
use crate::entropy::{Counts, SYMBOLS, Table};

/// A block while it is written: what is compressed as a whole, and what is as small as it gets.
pub(crate) struct Sections {
    pub(crate) head: Vec<u8>,
    pub(crate) raw: Vec<u8>,
    packer: Option<zstd::bulk::Compressor<'static>>,
}

/// How hard zstd tries.
const LEVEL: i32 = 3;

impl Sections {
    pub(crate) fn new() -> Self {
        Self {
            head: Vec::new(),
            raw: Vec::new(),
            packer: zstd::bulk::Compressor::new(LEVEL).ok(),
        }
    }

    /// Packs bytes; `None` where the compressor has no memory.
    pub(crate) fn pack(&mut self, bytes: &[u8]) -> Option<Vec<u8>> {
        self.packer.as_mut()?.compress(bytes).ok()
    }
}

const SAME: u8 = 0;
const VARINTS: u8 = 1;
/// Upper bits as symbols, lower bits as they are.
const SPLIT: u8 = 2;
/// A symbol for each number that there is.
const KNOWN: u8 = 3;
/// Set where numbers are differences.
const DIFFERENCES: u8 = 0x80;

/// Fewer numbers than this are written as they are.
const FEW: usize = 24;
/// The most different numbers that have a symbol each.
const MOST_KNOWN: usize = 256;

/// The symbol of a number: itself if small, else its magnitude and the three bits below the first.
fn symbol(value: u64) -> (usize, u32) {
    if value < 16 {
        return (value as usize, 0);
    }
    let magnitude = 63 - value.leading_zeros();
    let low = magnitude - 3;
    let symbol = 16 + (magnitude as usize - 4) * 8 + (value >> low & 7) as usize;
    (symbol, low)
}

/// The number without its lower bits, and how many those are.
fn upper(symbol: u16) -> Option<(u64, u32)> {
    let symbol = u32::from(symbol);
    if symbol < 16 {
        return Some((u64::from(symbol), 0));
    }
    let magnitude = 4 + (symbol - 16) / 8;
    if magnitude > 63 {
        return None;
    }
    let low = magnitude - 3;
    Some((u64::from(8 | (symbol - 16) & 7) << low, low))
}

/// The different numbers and how often they are there, as long as they are few.
struct Distinct {
    slots: Vec<u16>,
    values: Vec<u64>,
    counts: Vec<u32>,
}

const SLOTS: usize = 1024;

impl Distinct {
    fn new() -> Self {
        Self {
            slots: vec![u16::MAX; SLOTS],
            values: Vec::new(),
            counts: Vec::new(),
        }
    }

    /// The place of a number; `None` when there are too many.
    fn place(&mut self, value: u64) -> Option<usize> {
        let mut at = (value.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 54) as usize;
        loop {
            let place = self.slots[at];
            if place == u16::MAX {
                break;
            }
            if self.values[usize::from(place)] == value {
                self.counts[usize::from(place)] += 1;
                return Some(usize::from(place));
            }
            at = (at + 1) % SLOTS;
        }
        if self.values.len() == MOST_KNOWN {
            return None;
        }
        self.slots[at] = self.values.len() as u16;
        self.values.push(value);
        self.counts.push(1);
        Some(self.values.len() - 1)
    }
}

/// How numbers will be written.
pub(crate) struct Plan<'a> {
    values: &'a [i64],
    way: Way,
    /// In bits.
    cost: f64,
}

enum Way {
    Same(i64),
    Varints(bool),
    Split(Shifted, Box<Table>),
    Known(Shifted, Box<Table>, Vec<u64>, Vec<u16>),
}

/// Numbers less the least of them.
struct Shifted {
    differences: bool,
    first: i64,
    least: i64,
    values: Vec<u64>,
}

fn shifted(values: &[i64], differences: bool) -> Shifted {
    let steps: Cow<'_, [i64]> = if differences {
        let pairs = values.windows(2);
        Cow::Owned(pairs.map(|pair| pair[1].wrapping_sub(pair[0])).collect())
    } else {
        Cow::Borrowed(values)
    };
    let least = steps.iter().copied().min().unwrap_or(0);
    Shifted {
        differences,
        first: if differences { values[0] } else { 0 },
        least,
        values: steps
            .iter()
            .map(|step| step.wrapping_sub(least) as u64)
            .collect(),
    }
}

fn way(shifted: Shifted) -> Option<(Way, f64)> {
    let mut counts: Counts = [0; SYMBOLS];
    let mut low_bits = 0u64;
    let mut distinct = Distinct::new();
    let mut places = Vec::with_capacity(shifted.values.len());
    let mut few = true;
    for value in &shifted.values {
        let (symbol, low) = symbol(*value);
        counts[symbol] += 1;
        low_bits += u64::from(low);
        if few {
            match distinct.place(*value) {
                Some(place) => places.push(place as u16),
                None => few = false,
            }
        }
    }
    let split = Table::new(&counts)?;
    let split_cost = split.cost(&counts) + low_bits as f64;
    if few {
        let mut counts: Counts = [0; SYMBOLS];
        counts[..distinct.counts.len()].copy_from_slice(&distinct.counts);
        let known = Table::new(&counts)?;
        let written: usize = distinct
            .values
            .iter()
            .map(|value| crate::bytes::uvarint_len(*value))
            .sum();
        let cost = known.cost(&counts) + written as f64 * 8.0;
        if cost < split_cost {
            let way = Way::Known(shifted, Box::new(known), distinct.values, places);
            return Some((way, cost));
        }
    }
    Some((Way::Split(shifted, Box::new(split)), split_cost))
}

impl<'a> Plan<'a> {
    /// Looks for the shortest way to write numbers.
    pub(crate) fn new(values: &'a [i64]) -> Self {
        let first = values.first().copied().unwrap_or(0);
        if values.iter().all(|value| *value == first) {
            return Self {
                values,
                way: Way::Same(first),
                cost: 16.0,
            };
        }
        let cost = |value: i64| crate::bytes::uvarint_len(zigzag(value)) as f64 * 8.0;
        let plain: f64 = values.iter().map(|value| cost(*value)).sum();
        let pairs = values.windows(2);
        let differing: f64 = cost(first)
            + pairs
                .map(|pair| cost(pair[1].wrapping_sub(pair[0])))
                .sum::<f64>();
        let mut best = (Way::Varints(differing < plain), plain.min(differing));
        if values.len() >= FEW {
            for differences in [false, true] {
                if let Some((way, cost)) = way(shifted(values, differences))
                    && cost < best.1
                {
                    best = (way, cost);
                }
            }
        }
        Self {
            values,
            way: best.0,
            cost: best.1,
        }
    }

    /// How many bits it takes, about.
    pub(crate) fn cost(&self) -> f64 {
        self.cost
    }

    /// Writes the numbers.
    pub(crate) fn put(self, out: &mut Sections) {
        if let Way::Known(shifted, ..) = &self.way
            && self.cost > 512.0
        {
            // Sequences that repeat are found by the compressor alone.
            let bytes = varints(self.values, shifted.differences);
            let packed = out.pack(&bytes).map_or(usize::MAX, |packed| packed.len());
            if (packed as f64) * 8.0 < self.cost * 0.9 {
                out.head
                    .push(VARINTS | if shifted.differences { DIFFERENCES } else { 0 });
                out.head.extend_from_slice(&bytes);
                return;
            }
        }
        match self.way {
            Way::Same(value) => {
                out.head.push(SAME);
                put_varint(&mut out.head, value);
            }
            Way::Varints(differences) => {
                out.head
                    .push(VARINTS | if differences { DIFFERENCES } else { 0 });
                out.head.extend(varints(self.values, differences));
            }
            Way::Split(shifted, table) => {
                shifted.put(SPLIT, &mut out.head);
                table.put(&mut out.head);
                let mut bits = Bits::default();
                let symbols: Vec<u16> = shifted
                    .values
                    .iter()
                    .map(|value| {
                        let (symbol, low) = symbol(*value);
                        bits.put(*value, low);
                        symbol as u16
                    })
                    .collect();
                put_symbols(&table, &symbols, out);
                let low = bits.finish();
                put_uvarint(&mut out.head, low.len() as u64);
                out.raw.extend_from_slice(&low);
            }
            Way::Known(shifted, table, values, symbols) => {
                shifted.put(KNOWN, &mut out.head);
                put_uvarint(&mut out.head, values.len() as u64);
                for value in values {
                    put_uvarint(&mut out.head, value);
                }
                table.put(&mut out.head);
                put_symbols(&table, &symbols, out);
            }
        }
    }
}

impl Shifted {
    fn put(&self, kind: u8, head: &mut Vec<u8>) {
        if self.differences {
            head.push(kind | DIFFERENCES);
            put_varint(head, self.first);
        } else {
            head.push(kind);
        }
        put_varint(head, self.least);
    }
}

fn put_symbols(table: &Table, symbols: &[u16], out: &mut Sections) {
    let begin = out.raw.len();
    table.encode(symbols, &mut out.raw);
    put_uvarint(&mut out.head, (out.raw.len() - begin) as u64);
}

fn varints(values: &[i64], differences: bool) -> Vec<u8> {
    let mut out = Vec::with_capacity(values.len() * 2);
    let mut last = 0;
    for value in values {
        put_varint(&mut out, value.wrapping_sub(last));
        if differences {
            last = *value;
        }
    }
    out
}

/// Writes numbers in the shortest way.
pub(crate) fn encode(out: &mut Sections, values: &[i64]) {
    Plan::new(values).put(out);
}

/// Numbers that are not unpacked yet.
#[derive(Debug)]
pub(crate) struct Numbers<'a> {
    count: usize,
    differences: bool,
    first: i64,
    least: i64,
    coded: Coded<'a>,
}

#[derive(Debug)]
enum Coded<'a> {
    Same(i64),
    Ready(Vec<i64>),
    Split {
        table: Box<Table>,
        symbols: &'a [u8],
        low: &'a [u8],
    },
    Known {
        values: Vec<u64>,
        table: Box<Table>,
        symbols: &'a [u8],
    },
}

impl<'a> Numbers<'a> {
    /// Reads what [`encode`] wrote of `count` numbers.
    pub(crate) fn read(head: &mut Cursor<'a>, raw: &mut Cursor<'a>, count: usize) -> Option<Self> {
        let kind = head.u8()?;
        let differences = kind & DIFFERENCES != 0;
        let mut out = Self {
            count,
            differences,
            first: 0,
            least: 0,
            coded: Coded::Same(0),
        };
        match kind & !DIFFERENCES {
            SAME => {
                out.coded = Coded::Same(head.varint()?);
                return Some(out);
            }
            VARINTS => {
                // A number takes a byte at least.
                if count > head.rest().len() {
                    return None;
                }
                let mut values = Vec::with_capacity(count);
                let mut last = 0i64;
                for _ in 0..count {
                    let value = last.wrapping_add(head.varint()?);
                    if differences {
                        last = value;
                    }
                    values.push(value);
                }
                out.coded = Coded::Ready(values);
                return Some(out);
            }
            _ => {}
        }
        if differences {
            out.first = head.varint()?;
        }
        out.least = head.varint()?;
        let table = |head: &mut Cursor<'a>| Some(Box::new(Table::read(head)?));
        let slice = |head: &mut Cursor<'a>, raw: &mut Cursor<'a>| {
            raw.take(usize::try_from(head.uvarint()?).ok()?)
        };
        out.coded = match kind & !DIFFERENCES {
            SPLIT => Coded::Split {
                table: table(head)?,
                symbols: slice(head, raw)?,
                low: slice(head, raw)?,
            },
            KNOWN => {
                let count = head.count()?;
                let values = (0..count).map(|_| head.uvarint());
                Coded::Known {
                    values: values.collect::<Option<_>>()?,
                    table: table(head)?,
                    symbols: slice(head, raw)?,
                }
            }
            _ => return None,
        };
        Some(out)
    }

    /// Numbers that are there.
    pub(crate) fn ready(values: Vec<i64>) -> Self {
        Self {
            count: values.len(),
            differences: false,
            first: 0,
            least: 0,
            coded: Coded::Ready(values),
        }
    }

    /// How many there are.
    pub(crate) fn count(&self) -> usize {
        self.count
    }

    /// The numbers.
    pub(crate) fn values(self) -> Option<Vec<i64>> {
        let count = self.count.checked_sub(usize::from(self.differences));
        let least = self.least;
        let mut out: Vec<i64> = match self.coded {
            Coded::Same(value) => return Some(vec![value; self.count]),
            Coded::Ready(values) => return Some(values),
            Coded::Split {
                table,
                symbols,
                low,
            } => {
                let mut bits = BitReader::new(low);
                let symbols = table.decode(symbols, count?)?;
                let number = |symbol: u16| {
                    let (upper, low) = upper(symbol)?;
                    Some(least.wrapping_add((upper | bits.take(low)?) as i64))
                };
                symbols.into_iter().map(number).collect::<Option<_>>()?
            }
            Coded::Known {
                values,
                table,
                symbols,
            } => {
                let symbols = table.decode(symbols, count?)?;
                let number = |symbol: u16| {
                    let value = *values.get(usize::from(symbol))?;
                    Some(least.wrapping_add(value as i64))
                };
                symbols.into_iter().map(number).collect::<Option<_>>()?
            }
        };
        if self.differences {
            let mut last = self.first;
            for value in &mut out {
                let step = std::mem::replace(value, last);
                last = last.wrapping_add(step);
            }
            out.push(last);
        }
        Some(out)
    }
}

#[cfg(test)]
mod tests;
