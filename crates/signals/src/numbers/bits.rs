//! Bits one after the other, lowest first.

/// Writes bits.
#[derive(Default)]
pub(super) struct Bits {
    out: Vec<u8>,
    held: u64,
    count: u32,
}

impl Bits {
    pub(super) fn put(&mut self, value: u64, bits: u32) {
        if bits > 32 {
            self.put(value, 32);
            self.put(value >> 32, bits - 32);
            return;
        }
        let value = value & ((1u64 << bits) - 1);
        self.held |= value << self.count;
        self.count += bits;
        while self.count >= 8 {
            self.out.push(self.held as u8);
            self.held >>= 8;
            self.count -= 8;
        }
    }

    pub(super) fn finish(mut self) -> Vec<u8> {
        if self.count > 0 {
            self.out.push(self.held as u8);
        }
        self.out
    }
}

/// Reads what [`Bits`] wrote.
pub(super) struct BitReader<'a> {
    bytes: &'a [u8],
    held: u64,
    count: u32,
}

impl<'a> BitReader<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self {
            bytes,
            held: 0,
            count: 0,
        }
    }

    pub(super) fn take(&mut self, bits: u32) -> Option<u64> {
        if bits > 32 {
            let low = self.take(32)?;
            return Some(low | self.take(bits - 32)? << 32);
        }
        while self.count < bits {
            let (byte, rest) = self.bytes.split_first()?;
            self.bytes = rest;
            self.held |= u64::from(*byte) << self.count;
            self.count += 8;
        }
        let value = self.held & ((1u64 << bits) - 1);
        self.held >>= bits;
        self.count -= bits;
        Some(value)
    }
}
