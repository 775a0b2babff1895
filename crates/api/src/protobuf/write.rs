//! The few shapes that fields have on the wire.

const VARINT: u32 = 0;
const FIXED64: u32 = 1;
/// Wire type of texts, bytes and messages.
pub(crate) const BYTES: u32 = 2;

pub(crate) fn varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

pub(crate) fn varint_bytes(value: u64) -> usize {
    (64 - (value | 1).leading_zeros() as usize).div_ceil(7)
}

pub(crate) fn key(out: &mut Vec<u8>, tag: u32, wire: u32) {
    varint(out, u64::from(tag << 3 | wire));
}

pub(crate) fn bytes(out: &mut Vec<u8>, tag: u32, value: &[u8]) {
    key(out, tag, BYTES);
    varint(out, value.len() as u64);
    out.extend_from_slice(value);
}

pub(crate) fn number(out: &mut Vec<u8>, tag: u32, value: i64) {
    key(out, tag, VARINT);
    varint(out, value as u64);
}

/// A message with its length before it. One byte is left free for the length; a longer one moves
/// what was written, which costs less than measuring first.
pub(crate) fn nested<E>(
    out: &mut Vec<u8>,
    tag: u32,
    inner: impl FnOnce(&mut Vec<u8>) -> Result<(), E>,
) -> Result<(), E> {
    key(out, tag, BYTES);
    let at = out.len();
    out.push(0);
    inner(out)?;
    let length = out.len() - at - 1;
    let more = varint_bytes(length as u64) - 1;
    if more > 0 {
        out.extend_from_slice(&[0; 10][..more]);
        out.copy_within(at + 1..at + 1 + length, at + 1 + more);
    }
    let mut rest = length as u64;
    for index in 0..=more {
        let sign = if index < more { 0x80 } else { 0 };
        out[at + index] = (rest & 0x7f) as u8 | sign;
        rest >>= 7;
    }
    Ok(())
}

/// A number with a fraction.
pub(crate) fn fixed(out: &mut Vec<u8>, tag: u32, value: f64) {
    key(out, tag, FIXED64);
    out.extend_from_slice(&value.to_bits().to_le_bytes());
}
