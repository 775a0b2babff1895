//! Native histograms on their way out: the field of remote write and remote read, and the chunk.

use towpath_query::promql::{CUSTOM, Histogram, ResetHint, is_stale};

use super::put::Put;

/// Runs of buckets that follow each other: gap to the run before, and length.
fn spans(buckets: &[(i32, f64)]) -> Vec<(i64, u64)> {
    let mut out: Vec<(i64, u64)> = Vec::new();
    let mut next = 0i64;
    for (index, _) in buckets {
        let index = i64::from(*index);
        match out.last_mut() {
            Some(run) if index == next => run.1 += 1,
            _ => out.push((index - next, 1)),
        }
        next = index + 1;
    }
    out
}

/// A histogram sample of both versions of remote write and of remote read.
pub(crate) fn sample(value: &Histogram, at: i64, start: Option<i64>) -> Put {
    let mut out = Put::default();
    out.double(2, value.count);
    out.double(3, value.sum);
    out.zigzag(4, i64::from(value.schema));
    out.double(5, value.zero_threshold);
    out.double(7, value.zero_count);
    for (field, buckets) in [(8, &value.negative), (11, &value.positive)] {
        for (offset, length) in spans(buckets) {
            let mut span = Put::default();
            span.zigzag(1, offset);
            span.uint(2, length);
            out.message(field, &span);
        }
        out.doubles(field + 2, buckets.iter().map(|(_, count)| *count));
    }
    let hint = match value.hint {
        ResetHint::Unknown => 0,
        ResetHint::Reset => 1,
        ResetHint::NotReset => 2,
        ResetHint::Gauge => 3,
    };
    out.uint(14, hint);
    out.int(15, at);
    out.doubles(16, value.bounds.iter().copied());
    out.int(17, start.unwrap_or(0));
    out
}

/// A chunk with this one histogram, in Prometheus's layout of histograms with fractions.
pub(crate) fn chunk(value: &Histogram, at: i64) -> Vec<u8> {
    let gone = Histogram {
        sum: value.sum,
        ..Histogram::default()
    };
    // The marker of staleness has no buckets.
    let value = if is_stale(value.sum) { &gone } else { value };
    let mut out = Bits::default();
    out.put(1, 16);
    let hint = match value.hint {
        ResetHint::Unknown => 0b00,
        ResetHint::Reset => 0b10,
        ResetHint::NotReset => 0b01,
        ResetHint::Gauge => 0b11,
    };
    out.put(hint << 6, 8);
    if value.zero_threshold == 0.0 {
        out.put(0, 8);
    } else {
        out.put(255, 8);
        out.put(value.zero_threshold.to_bits(), 64);
    }
    out.int(i64::from(value.schema));
    for buckets in [&value.positive, &value.negative] {
        let runs = spans(buckets);
        out.uint(runs.len() as u64);
        for (offset, length) in runs {
            out.uint(length);
            out.int(offset);
        }
    }
    if value.schema == CUSTOM {
        out.uint(value.bounds.len() as u64);
        for bound in value.bounds.iter() {
            out.put(0, 1);
            out.put(bound.to_bits(), 64);
        }
    }
    out.int(at);
    for number in [value.count, value.zero_count, value.sum] {
        out.put(number.to_bits(), 64);
    }
    for (_, count) in value.positive.iter().chain(&value.negative) {
        out.put(count.to_bits(), 64);
    }
    out.bytes
}

/// Bits, the highest of a byte first.
#[derive(Default)]
struct Bits {
    bytes: Vec<u8>,
    free: u32,
}

/// Lengths of numbers that are written with fewer bits than 64, after as many ones and a zero.
const LENGTHS: [u32; 7] = [3, 6, 9, 12, 18, 25, 56];

impl Bits {
    fn put(&mut self, value: u64, count: u32) {
        for at in (0..count).rev() {
            if self.free == 0 {
                self.bytes.push(0);
                self.free = 8;
            }
            self.free -= 1;
            if let Some(last) = self.bytes.last_mut() {
                *last |= ((value >> at & 1) as u8) << self.free;
            }
        }
    }

    fn sized(&mut self, value: u64, fits: impl Fn(u32) -> bool) {
        if value == 0 {
            return self.put(0, 1);
        }
        match LENGTHS.iter().position(|length| fits(*length)) {
            Some(at) => {
                let ones = at as u32 + 1;
                self.put((1 << (ones + 1)) - 2, ones + 1);
                self.put(value, LENGTHS[at]);
            }
            None => {
                self.put(0xff, 8);
                self.put(value, 64);
            }
        }
    }

    fn uint(&mut self, value: u64) {
        self.sized(value, |length| value < 1 << length);
    }

    fn int(&mut self, value: i64) {
        self.sized(value as u64, |length| {
            let half = 1i64 << (length - 1);
            (1 - half..=half).contains(&value)
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_of_buckets() {
        let buckets = [(-2, 1.0), (-1, 3.0), (3, 2.0), (4, 1.0)];
        assert_eq!(spans(&buckets), [(-2, 2), (3, 2)]);
        assert!(spans(&[]).is_empty());
    }

    #[test]
    fn numbers_take_few_bits() {
        let bits = |value: i64| {
            let mut out = Bits::default();
            out.int(value);
            out.bytes
        };
        assert_eq!(bits(0), [0]);
        // 10 and 100: four fits into three bits, five does not.
        assert_eq!(bits(4), [0b1010_0000]);
        assert_eq!(bits(5), [0b1100_0010, 0b1000_0000]);
        assert_eq!(bits(-3), [0b1010_1000]);
        assert_eq!(bits(i64::MIN).len(), 9);
    }
}
