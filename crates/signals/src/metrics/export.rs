//! Samples as chunks of Prometheus, for those who are sent chunks instead of numbers.

use towpath_query::promql::Samples;

use super::chunk::{FULL, spans, xor::Appender};

/// A chunk of plain numbers in Prometheus's XOR layout.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FloatChunk {
    /// Time of its first sample, milliseconds since the epoch.
    pub first: i64,
    /// Time of its last sample.
    pub last: i64,
    /// The chunk.
    pub data: Vec<u8>,
}

/// The samples of a series, 120 to a chunk.
pub fn float_chunks(samples: &Samples) -> Vec<FloatChunk> {
    let close = |open: Appender| FloatChunk {
        first: open.first,
        last: open.last,
        data: open.into_data(),
    };
    let mut out = Vec::with_capacity(samples.len().div_ceil(usize::from(FULL)));
    let mut open: Option<Appender> = None;
    for (at, value) in samples.iter() {
        match &mut open {
            Some(chunk) if chunk.count < FULL && spans(chunk.first, at) => chunk.push(at, value),
            _ => out.extend(open.replace(Appender::new(at, value)).map(close)),
        }
    }
    out.extend(open.map(close));
    out
}

/// Reads a chunk back: its samples from `start` to `end` are added to `out`; `None` if it is
/// damaged.
pub fn read_float_chunk(data: &[u8], start: i64, end: i64, out: &mut Samples) -> Option<()> {
    super::chunk::xor::read(data, start, end, out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_hold_what_was_put_in() {
        let mut samples = Samples::default();
        for at in 0..1000i64 {
            samples.push(at * 15_000 + at % 7, (at as f64).sqrt());
        }
        let chunks = float_chunks(&samples);
        assert_eq!(chunks.len(), 9);
        let mut back = Samples::default();
        for chunk in &chunks {
            read_float_chunk(&chunk.data, i64::MIN, i64::MAX, &mut back).expect("whole");
        }
        assert_eq!(back, samples);
        assert_eq!((chunks[0].first, chunks[8].last), (0, samples.times[999]));
        assert!(float_chunks(&Samples::default()).is_empty());
    }
}
