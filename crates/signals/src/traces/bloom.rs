//! Which traces a segment certainly does not have.

use towpath_query::traceql::TraceId;

/// About 1 % of the answers are wrong with as many bits for each trace, and that many probes.
const BITS: usize = 10;
const PROBES: u64 = 7;

#[derive(Clone, Debug, Default)]
pub(super) struct Bloom(Vec<u8>);

/// Ids are random in most systems, and mixed here for the others.
fn hashes(id: &TraceId) -> (u64, u64) {
    let mix = |mut n: u64| {
        n = (n ^ (n >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
        n = (n ^ (n >> 33)).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
        n ^ (n >> 33)
    };
    let (high, low) = id.split_at(8);
    let read = |half: &[u8]| half.iter().fold(0u64, |n, b| n << 8 | u64::from(*b));
    let (high, low) = (read(high), read(low));
    (
        mix(high.wrapping_add(mix(low))),
        mix(low ^ 0x9e37_79b9_7f4a_7c15) | 1,
    )
}

impl Bloom {
    pub(super) fn new(traces: usize) -> Self {
        Self(vec![0; (traces * BITS).div_ceil(8).max(8)])
    }

    pub(super) fn from_bytes(bytes: &[u8]) -> Self {
        Self(bytes.to_vec())
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.0
    }

    fn bits(&self, id: &TraceId) -> impl Iterator<Item = usize> + use<> {
        let (mut at, step) = hashes(id);
        let bits = (self.0.len() * 8).max(1) as u64;
        (0..PROBES).map(move |_| {
            at = at.wrapping_add(step);
            (at % bits) as usize
        })
    }

    pub(super) fn add(&mut self, id: &TraceId) {
        for bit in self.bits(id) {
            self.0[bit / 8] |= 1 << (bit % 8);
        }
    }

    /// Whether the trace may be there.
    pub(super) fn may_have(&self, id: &TraceId) -> bool {
        let set = |bit: usize| {
            self.0
                .get(bit / 8)
                .is_some_and(|b| b & (1 << (bit % 8)) != 0)
        };
        self.bits(id).all(set)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_added_is_found_and_little_else() {
        let id = |n: u32| {
            let mut id = TraceId::default();
            id[12..].copy_from_slice(&n.to_be_bytes());
            id
        };
        let mut bloom = Bloom::new(1000);
        (0..1000).for_each(|n| bloom.add(&id(n)));
        let bloom = Bloom::from_bytes(bloom.bytes());
        assert!((0..1000).all(|n| bloom.may_have(&id(n))));
        let wrong = (1000..11_000).filter(|n| bloom.may_have(&id(*n))).count();
        assert!(wrong < 300, "{wrong} of 10000");
    }
}
