//! Floats in Prometheus's XOR layout: a count in two bytes, then bits. Times are differences of
//! differences, values the bits that changed since the one before (Gorilla, VLDB 2015).

use towpath_query::promql::Samples;

use super::{FULL, spans};
use crate::bytes::{Cursor, put_uvarint, put_varint};

/// A chunk that grows.
#[derive(Clone, Debug)]
pub(crate) struct Appender {
    /// The count in front is written when the chunk is done: it is far from where a chunk grows,
    /// and memory that is not in a cache is what a sample costs most.
    bytes: Vec<u8>,
    /// Bits not yet used in the last byte.
    free: u8,
    /// No leading zeros known yet is 255.
    leading: u8,
    trailing: u8,
    pub(crate) count: u16,
    pub(crate) first: i64,
    pub(crate) last: i64,
    delta: i64,
    value: u64,
}

/// What the count in front of a chunk takes, in bytes.
const COUNT: usize = 2;

/// Chunks grow in these steps: less is in use than with doubling.
const GROWTH: usize = 32;

impl Appender {
    pub(crate) fn new(time: i64, value: f64) -> Self {
        let mut own = Self {
            bytes: Vec::with_capacity(GROWTH),
            free: 0,
            leading: 255,
            trailing: 0,
            count: 1,
            first: time,
            last: time,
            delta: 0,
            value: value.to_bits(),
        };
        own.bytes.extend_from_slice(&[0, 0]);
        put_varint(&mut own.bytes, time);
        own.bits(value.to_bits(), 64);
        own
    }

    pub(crate) fn value(&self) -> f64 {
        f64::from_bits(self.value)
    }

    /// What its bytes take.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes.capacity()
    }

    /// Adds a sample that is newer than the last one.
    pub(crate) fn push(&mut self, time: i64, value: f64) {
        if self.bytes.capacity() - self.bytes.len() < 24 {
            self.bytes.reserve_exact(GROWTH);
        }
        let delta = time.wrapping_sub(self.last);
        if self.count == 1 {
            let mut left = delta as u64;
            while left >= 0x80 {
                self.bits(left & 0x7f | 0x80, 8);
                left >>= 7;
            }
            self.bits(left, 8);
        } else {
            self.difference(delta.wrapping_sub(self.delta));
        }
        self.change(value.to_bits());
        self.delta = delta;
        self.last = time;
        self.count += 1;
    }

    fn difference(&mut self, difference: i64) {
        match difference {
            0 => self.bits(0, 1),
            -8191..=8192 => {
                self.bits(0b10, 2);
                self.bits(difference as u64, 14);
            }
            -65_535..=65_536 => {
                self.bits(0b110, 3);
                self.bits(difference as u64, 17);
            }
            -524_287..=524_288 => {
                self.bits(0b1110, 4);
                self.bits(difference as u64, 20);
            }
            _ => {
                self.bits(0b1111, 4);
                self.bits(difference as u64, 64);
            }
        }
    }

    fn change(&mut self, value: u64) {
        let changed = value ^ self.value;
        self.value = value;
        if changed == 0 {
            return self.bits(0, 1);
        }
        let leading = (changed.leading_zeros() as u8).min(31);
        let trailing = changed.trailing_zeros() as u8;
        if self.leading != 255 && leading >= self.leading && trailing >= self.trailing {
            self.bits(0b10, 2);
            let significant = 64 - self.leading - self.trailing;
            return self.bits(changed >> self.trailing, significant);
        }
        self.leading = leading;
        self.trailing = trailing;
        let significant = 64 - leading - trailing;
        self.bits(0b11, 2);
        self.bits(u64::from(leading), 5);
        // 64 does not fit and is written as 0, which never occurs.
        self.bits(u64::from(significant), 6);
        self.bits(changed >> trailing, significant);
    }

    /// Adds the lowest `count` bits of `value`, highest first.
    #[inline]
    fn bits(&mut self, value: u64, count: u8) {
        if count == 0 {
            return;
        }
        // From the highest bit on.
        let mut value = value << (64 - count);
        let mut left = count;
        if self.free > 0
            && let Some(last) = self.bytes.last_mut()
        {
            let now = left.min(self.free);
            *last |= (value >> (64 - self.free)) as u8;
            self.free -= now;
            left -= now;
            if left == 0 {
                return;
            }
            value <<= now;
        }
        let bytes = left.div_ceil(8);
        self.bytes
            .extend_from_slice(&value.to_be_bytes()[..usize::from(bytes)]);
        self.free = bytes * 8 - left;
    }

    /// How long the chunk is now, in bytes.
    pub(crate) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Adds the samples from `start` to `end`; `None` if the chunk is damaged.
    pub(crate) fn read(&self, start: i64, end: i64, out: &mut Samples) -> Option<()> {
        read_packed(self.count, self.packed(), start, end, out)
    }

    /// The chunk, done.
    pub(crate) fn into_data(mut self) -> Vec<u8> {
        self.bytes[..COUNT].copy_from_slice(&self.count.to_be_bytes());
        self.bytes
    }

    /// What is behind the count.
    fn packed(&self) -> &[u8] {
        &self.bytes[COUNT..]
    }

    /// Writes it down with all it needs to grow on.
    pub(crate) fn put(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&[self.free, self.leading, self.trailing]);
        put_uvarint(out, u64::from(self.count));
        put_varint(out, self.first);
        put_varint(out, self.last.wrapping_sub(self.first));
        put_varint(out, self.delta);
        out.extend_from_slice(&self.value.to_le_bytes());
        out.extend_from_slice(self.packed());
    }

    /// Reads what was written down, without a look at each sample; `None` if it cannot have been.
    pub(crate) fn get(data: &[u8]) -> Option<Self> {
        let mut cursor = Cursor::new(data);
        let (free, leading, trailing) = (cursor.u8()?, cursor.u8()?, cursor.u8()?);
        let count = u16::try_from(cursor.uvarint()?).ok()?;
        let first = cursor.varint()?;
        let last = first.checked_add(cursor.varint()?)?;
        let (delta, value) = (cursor.varint()?, cursor.u64()?);
        let packed = cursor.rest();
        let unknown = leading == 255 && trailing == 0;
        let bits = unknown || leading < 32 && trailing < 64 && leading + trailing < 64;
        let full = count == 0 || count > FULL;
        if !bits || free > 7 || full || !spans(first, last) || packed.is_empty() {
            return None;
        }
        let mut bytes = Vec::with_capacity(COUNT + packed.len() + GROWTH);
        bytes.extend_from_slice(&[0; COUNT]);
        bytes.extend_from_slice(packed);
        Some(Self {
            bytes,
            free,
            leading,
            trailing,
            count,
            first,
            last,
            delta,
            value,
        })
    }

    /// A chunk that was written, to grow on; `None` if it is damaged.
    pub(crate) fn resume(data: &[u8]) -> Option<Self> {
        let (mut first, mut last) = (None, 0);
        let (count, packed) = parts(data)?;
        let state = walk(count, packed, |time, _| {
            first = first.or(Some(time));
            last = time;
            true
        })?;
        let mut bytes = Vec::with_capacity(data.len() + GROWTH);
        bytes.extend_from_slice(data);
        // What the walk did not need of the end was not written by an appender.
        bytes.truncate(data.len() - usize::from(state.left / 8));
        Some(Self {
            bytes,
            free: (state.left % 8) as u8,
            leading: state.leading,
            trailing: state.trailing,
            count,
            first: first?,
            last,
            delta: state.delta,
            value: state.value,
        })
    }
}

/// The count of a chunk, and what is behind it.
fn parts(data: &[u8]) -> Option<(u16, &[u8])> {
    let (count, packed) = data.split_first_chunk::<COUNT>()?;
    Some((u16::from_be_bytes(*count), packed))
}

/// Adds the samples of a chunk from `start` to `end`; `None` if it is damaged.
pub(crate) fn read(data: &[u8], start: i64, end: i64, out: &mut Samples) -> Option<()> {
    let (count, packed) = parts(data)?;
    read_packed(count, packed, start, end, out)
}

fn read_packed(count: u16, packed: &[u8], start: i64, end: i64, out: &mut Samples) -> Option<()> {
    // No sample takes less than two bits.
    let most = usize::from(count).min(packed.len() * 4);
    out.times.reserve(most);
    out.values.reserve(most);
    let keep = |time: i64, value: u64| {
        if time >= start && time <= end {
            out.push(time, f64::from_bits(value));
        }
        time <= end
    };
    walk(count, packed, keep).map(drop)
}

/// Adds the first `count` values of a chunk alone, and tells how many it has; `None` if it is
/// damaged.
pub(crate) fn read_values(data: &[u8], count: usize, out: &mut Vec<f64>) -> Option<usize> {
    let mut left = count;
    let keep = |_, value: u64| {
        out.push(f64::from_bits(value));
        left -= 1;
        left > 0
    };
    let (count, packed) = parts(data)?;
    walk(count, packed, keep).map(|_| usize::from(count))
}

/// What is known behind the last sample of a chunk.
struct State {
    delta: i64,
    value: u64,
    leading: u8,
    trailing: u8,
    /// Bits that are not used.
    left: u16,
}

/// Gives the samples of a chunk to `keep` until that says no; `None` if it is damaged.
#[inline]
fn walk(count: u16, packed: &[u8], mut keep: impl FnMut(i64, u64) -> bool) -> Option<State> {
    let mut state = State {
        delta: 0,
        value: 0,
        leading: 255,
        trailing: 0,
        left: 0,
    };
    if count == 0 {
        return Some(state);
    }
    let mut cursor = Cursor::new(packed);
    let mut time = cursor.varint()?;
    let mut bits = Bits::new(cursor.rest());
    let mut value = bits.take(64)?;
    // Of the bits that change: how many, and how many behind them do not.
    let (mut significant, mut trailing) = (0u8, 0u8);
    let mut delta = 0i64;
    let mut go_on = keep(time, value);
    if go_on && count > 1 {
        delta = bits.uvarint()? as i64;
        time = time.wrapping_add(delta);
        value ^= bits.change(&mut significant, &mut trailing)?;
        go_on = keep(time, value);
    }
    for _ in 2..count {
        if !go_on {
            break;
        }
        delta = delta.wrapping_add(bits.difference()?);
        time = time.wrapping_add(delta);
        value ^= bits.change(&mut significant, &mut trailing)?;
        go_on = keep(time, value);
    }
    (state.delta, state.value) = (delta, value);
    if significant > 0 {
        (state.leading, state.trailing) = (64 - significant - trailing, trailing);
    }
    let left = bits.rest.len() * 8 + usize::from(bits.count);
    state.left = u16::try_from(left).unwrap_or(u16::MAX);
    Some(state)
}

/// Bits from the highest of the first byte on.
struct Bits<'a> {
    rest: &'a [u8],
    /// Bits that were read ahead, at the top; below them zeros.
    ahead: u64,
    count: u8,
}

impl<'a> Bits<'a> {
    fn new(bytes: &'a [u8]) -> Self {
        Self {
            rest: bytes,
            ahead: 0,
            count: 0,
        }
    }

    /// Reads ahead until there are more than 56 bits, or the bytes end.
    #[inline(always)]
    fn fill(&mut self) {
        if let Some((word, _)) = self.rest.split_first_chunk::<8>() {
            let bytes = (64 - self.count) / 8;
            let kept = u32::from(64 - self.count - bytes * 8);
            // Only whole bytes are taken.
            let word = match self.count {
                64 => 0,
                count => u64::from_be_bytes(*word) >> count,
            };
            self.ahead |= word >> kept << kept;
            self.count += bytes * 8;
            self.rest = &self.rest[usize::from(bytes)..];
            return;
        }
        self.fill_bytes();
    }

    #[cold]
    fn fill_bytes(&mut self) {
        while self.count <= 56 {
            let Some((byte, rest)) = self.rest.split_first() else {
                return;
            };
            self.ahead |= u64::from(*byte) << (56 - self.count);
            self.count += 8;
            self.rest = rest;
        }
    }

    #[inline(always)]
    fn take(&mut self, count: u8) -> Option<u64> {
        if count > 56 {
            let high = self.few(32)?;
            let low = count - 32;
            return Some(high << low | self.few(low)?);
        }
        if count == 0 {
            return Some(0);
        }
        self.few(count)
    }

    /// From 1 to 56 bits.
    #[inline(always)]
    fn few(&mut self, count: u8) -> Option<u64> {
        if self.count < count {
            self.fill();
            if self.count < count {
                return None;
            }
        }
        let value = self.ahead >> (64 - count);
        self.skip(count);
        Some(value)
    }

    #[inline(always)]
    fn skip(&mut self, count: u8) {
        self.ahead <<= count;
        self.count -= count;
    }

    fn uvarint(&mut self) -> Option<u64> {
        let mut value = 0u64;
        for at in 0..10 {
            let byte = self.take(8)?;
            value |= (byte & 0x7f) << (7 * at);
            if byte & 0x80 == 0 {
                return Some(value);
            }
        }
        None
    }

    /// By how much a step in time differs from the one before.
    #[inline(always)]
    fn difference(&mut self) -> Option<i64> {
        if self.count < 21 {
            self.fill();
        }
        if self.ahead >> 63 == 0 {
            // Where the bits end there are zeros too.
            self.count = self.count.checked_sub(1)?;
            self.ahead <<= 1;
            return Some(0);
        }
        let ones = ((!self.ahead).leading_zeros() as u8).min(4);
        let prefix = (ones + 1).min(4);
        if self.count < prefix {
            return None;
        }
        self.skip(prefix);
        let width = match ones {
            1 => 14,
            2 => 17,
            3 => 20,
            _ => return Some(self.take(64)? as i64),
        };
        let bits = self.few(width)? as i64;
        let negative = bits > 1 << (width - 1);
        Some(if negative { bits - (1 << width) } else { bits })
    }

    /// Which bits of the value change; how many may and how many behind them do not is kept for
    /// the next one.
    #[inline(always)]
    fn change(&mut self, significant: &mut u8, trailing: &mut u8) -> Option<u64> {
        if self.count < 13 {
            self.fill();
        }
        if self.ahead >> 63 == 0 {
            self.count = self.count.checked_sub(1)?;
            self.ahead <<= 1;
            return Some(0);
        }
        if self.ahead >> 62 == 0b11 {
            let head = self.few(13)?;
            let leading = (head >> 6 & 31) as u8;
            *significant = match (head & 63) as u8 {
                0 => 64,
                some => some,
            };
            *trailing = 64u8.checked_sub(leading)?.checked_sub(*significant)?;
        } else {
            self.few(2)?;
            // How many they are has not been said.
            if *significant == 0 {
                return None;
            }
        }
        Some(self.take(*significant)? << *trailing)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn packed(samples: &[(i64, f64)]) -> Vec<u8> {
        let mut chunk = Appender::new(samples[0].0, samples[0].1);
        for (time, value) in &samples[1..] {
            chunk.push(*time, *value);
        }
        chunk.into_data()
    }

    #[test]
    fn the_layout_is_upstreams() {
        // What `chunkenc.NewXORChunk` of Prometheus gives for these samples.
        let data = packed(&[(1_000, 1.0), (2_000, 1.0), (3_000, 2.0), (4_005, 2.0)]);
        assert_eq!(data[..4], [0, 4, 0xd0, 0x0f]);
        assert_eq!(data[4..12], 1.0f64.to_bits().to_be_bytes());
        // The second time is 1000 as uvarint, its value did not change: e8 07 and bit 0.
        assert_eq!(data[12..14], [0xe8, 0x07]);
    }

    proptest! {
        #[test]
        fn round_trip(
            first in -(1i64 << 60)..1 << 60,
            steps in prop::collection::vec((1i64..100_000_000_000, any::<u64>(), 0u8..4), 0..200),
        ) {
            let mut samples = vec![(first, 1.5f64)];
            for (step, bits, kind) in steps {
                let (time, value) = samples[samples.len() - 1];
                let value = match kind {
                    0 => value,
                    1 => value + 1.0,
                    2 => f64::from_bits(bits),
                    _ => (bits % 1000) as f64 / 10.0,
                };
                let step = if kind == 0 { 15_000 } else { step };
                samples.push((time + step, value));
            }
            let data = packed(&samples);
            let mut out = Samples::default();
            prop_assert!(read(&data, i64::MIN, i64::MAX, &mut out).is_some());
            let same = out.iter().zip(&samples).all(|(a, b)| a.0 == b.0 && a.1.to_bits() == b.1.to_bits());
            prop_assert!(same && out.len() == samples.len());
            let resumed = Appender::resume(&data).unwrap();
            prop_assert_eq!(resumed.into_data(), data);
        }

        #[test]
        fn what_was_written_down_grows_on(values in prop::collection::vec(any::<u8>(), 1..60)) {
            let at = |at: usize| (at as i64 * 15_000, f64::from(values[at]) / 4.0);
            let mut whole = Appender::new(at(0).0, at(0).1);
            for middle in 1..values.len() {
                let mut written = Vec::new();
                whole.put(&mut written);
                let mut again = Appender::get(&written).unwrap();
                whole.push(at(middle).0, at(middle).1);
                again.push(at(middle).0, at(middle).1);
                prop_assert_eq!(again.into_data(), whole.clone().into_data());
            }
        }

        #[test]
        fn what_makes_no_sense_never_panics(
            mut bytes in prop::collection::vec(any::<u8>(), 0..60),
            front: [u8; 3],
            small: bool,
        ) {
            if small && bytes.len() > 10 {
                bytes[..3].copy_from_slice(&front.map(|byte| byte % 32));
                bytes[3..7].copy_from_slice(&[9, 2, 2, 2]);
            }
            let Some(mut chunk) = Appender::get(&bytes) else {
                return Ok(());
            };
            let mut out = Samples::default();
            chunk.read(i64::MIN, i64::MAX, &mut out);
            chunk.push(chunk.last, 1.5);
            chunk.push(chunk.last, f64::NAN);
            chunk.into_data();
        }

        #[test]
        fn damage_never_panics(data: Vec<u8>) {
            let mut out = Samples::default();
            read(&data, i64::MIN, i64::MAX, &mut out);
            prop_assert!(out.len() <= 1 << 16);
        }
    }
}
