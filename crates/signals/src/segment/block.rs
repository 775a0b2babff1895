//! Blocks: bytes that are compressed and checked.

use std::io;

use zstd::bulk::Compressor;

use crate::unpack;

/// The longest block, before compression.
pub(super) const MAX_RAW: usize = 64 << 20;
const LEVEL: i32 = 1;

/// Where a block is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Extent {
    pub(crate) offset: u64,
    pub(crate) bytes: u32,
}

/// Makes blocks.
pub(super) struct Packer(Compressor<'static>);

impl Packer {
    pub(super) fn new() -> io::Result<Self> {
        Compressor::new(LEVEL).map(Self)
    }

    /// The bytes of a block as they are in a file.
    pub(super) fn pack(&mut self, raw: &[u8]) -> io::Result<Vec<u8>> {
        if raw.len() > MAX_RAW {
            return Err(io::Error::other("block is too long"));
        }
        let mut out = (raw.len() as u32).to_le_bytes().to_vec();
        out.extend_from_slice(&self.0.compress(raw)?);
        let sum = crc32c::crc32c(&out);
        out.extend_from_slice(&sum.to_le_bytes());
        Ok(out)
    }
}

/// What was packed.
pub(super) fn unpack(stored: &[u8]) -> Result<Vec<u8>, &'static str> {
    let split = stored.len().checked_sub(4).ok_or("block is too short")?;
    let (body, sum) = stored.split_at(split);
    let sum = u32::from_le_bytes(sum.try_into().map_err(|_| "block is too short")?);
    if crc32c::crc32c(body) != sum {
        return Err("wrong checksum");
    }
    let (length, packed) = body.split_at_checked(4).ok_or("block is too short")?;
    let length = u32::from_le_bytes(length.try_into().map_err(|_| "block is too short")?) as usize;
    if length > MAX_RAW {
        return Err("block is too long");
    }
    let raw = unpack::unpack(packed, length).map_err(|_| "block does not decompress")?;
    if raw.len() == length {
        Ok(raw)
    } else {
        Err("block has another length")
    }
}
