//! Words of lines, and what of them is put into filters.
//!
//! A word is a longest run of letters, digits and bytes beyond ASCII. Short ones are kept whole. Of
//! long ones (identifiers mostly) a few parts are kept: in every window of 16 bytes the part of 8
//! bytes with the smallest hash. Who looks for 16 bytes out of a long word knows at least one part
//! that must be there, wherever the word was cut.
//!
//! Of times that services write into their lines nothing is kept: each line has another one, and
//! nobody looks for one line by them. What could be the part of one is therefore not expected.

/// Bytes of a part.
const PART: usize = 8;
/// Bytes of a window; words of this length and more are long.
pub(super) const WINDOW: usize = 16;
/// Shorter words are in every block and not kept.
const SHORT: usize = 3;
/// Numbers with fewer digits are in every block and not kept.
const SHORT_NUMBER: usize = 6;

/// Of each byte whether it belongs to a word (1), is a digit (2), a small hexadecimal one (4).
const CLASSES: [u8; 256] = {
    let mut out = [0; 256];
    let mut at = 0;
    while at < 256 {
        let byte = at as u8;
        if byte.is_ascii_alphanumeric() || byte >= 0x80 {
            out[at] |= 1;
        }
        if byte.is_ascii_digit() {
            out[at] |= 2;
        }
        if byte.is_ascii_digit() || matches!(byte, b'a'..=b'f') {
            out[at] |= 4;
        }
        at += 1;
    }
    out
};

pub(super) const WORD: u8 = 1;
pub(super) const DIGIT: u8 = 2;
pub(super) const HEX: u8 = 4;

/// What kind of byte it is.
pub(super) fn class(byte: u8) -> u8 {
    CLASSES[usize::from(byte)]
}

/// Whether a byte belongs to a word.
pub(super) fn is_word(byte: u8) -> bool {
    class(byte) & WORD != 0
}

/// Spreads a number over 64 bits (the finalizer of MurmurHash3).
fn mix(mut hash: u64) -> u64 {
    hash ^= hash >> 33;
    hash = hash.wrapping_mul(0xff51_afd7_ed55_8ccd);
    hash ^= hash >> 33;
    hash = hash.wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    hash ^ (hash >> 33)
}

fn word_hash(word: &[u8]) -> u64 {
    let mut hash = 0x9e37_79b9_7f4a_7c15 ^ word.len() as u64;
    for chunk in word.chunks(8) {
        let mut bytes = [0; 8];
        bytes[..chunk.len()].copy_from_slice(chunk);
        hash = mix(hash ^ u64::from_le_bytes(bytes));
    }
    hash
}

fn part_hash(part: &[u8]) -> u64 {
    let mut bytes = [0; PART];
    bytes.copy_from_slice(part);
    mix(u64::from_le_bytes(bytes) ^ 0x517c_c1b7_2722_0a95)
}

/// The parts of a long word, some of them more than once.
fn parts(word: &[u8], keep: &mut impl FnMut(u64)) {
    // The hashes of a window, each at the rest of its place.
    const MANY: usize = WINDOW - PART + 1;
    let mut hashes = [0u64; MANY];
    let mut last = None;
    for (at, part) in word.windows(PART).enumerate() {
        hashes[at % MANY] = part_hash(part);
        if at + 1 < MANY {
            continue;
        }
        let least = hashes.iter().copied().min();
        if least != last {
            // The smallest hashes are all alike in their upper bits, by which filters choose cells.
            least.into_iter().map(mix).for_each(&mut *keep);
            last = least;
        }
    }
}

/// What is kept of a whole word.
pub(super) fn word(word: &[u8], keep: &mut impl FnMut(u64)) {
    if word.len() >= WINDOW {
        parts(word, keep);
    } else if is_kept(word) {
        keep(word_hash(word));
    }
}

fn is_kept(word: &[u8]) -> bool {
    word.len() >= SHORT_NUMBER || (word.len() >= SHORT && !word.iter().all(u8::is_ascii_digit))
}

/// What is kept of all words of a text.
pub(super) fn text(text: &[u8], keep: &mut impl FnMut(u64)) {
    for piece in text.split(|byte| !is_word(*byte)) {
        word(piece, keep);
    }
}

/// Whether a word could be of a time: `02T03`, `05Z`, the fraction of a second.
fn may_be_time(before: u8, word: &[u8]) -> bool {
    let number = word.strip_suffix(b"Z").unwrap_or(word);
    let digits = |text: &[u8]| text.iter().all(u8::is_ascii_digit);
    match before {
        b'-' => word.len() == 5 && word[2] == b'T',
        b':' => digits(number) && number.len() == 2,
        b'.' | b',' => digits(number) && number.len() <= 9,
        _ => false,
    }
}

/// What must have been kept of any text that contains the needle.
pub(super) fn needle(needle: &[u8]) -> Vec<u64> {
    let mut out = Vec::new();
    let mut start = 0;
    while start < needle.len() {
        if !is_word(needle[start]) {
            start += 1;
            continue;
        }
        let length = needle[start..].iter().take_while(|b| is_word(**b)).count();
        let found = &needle[start..start + length];
        // A word at the edge of the needle may be the part of a longer one.
        let whole = start > 0 && start + length < needle.len();
        if found.len() >= WINDOW {
            parts(found, &mut |hash| out.push(hash));
        } else if whole && !may_be_time(needle[start - 1], found) {
            word(found, &mut |hash| out.push(hash));
        }
        start += length;
    }
    out
}

/// The longest word of a needle, if it is as long as identifiers are: it is part of one word of any
/// text that contains the needle.
pub(super) fn longest(needle: &[u8]) -> Option<&[u8]> {
    let words = needle.split(|byte| !is_word(*byte));
    words
        .max_by_key(|word| word.len())
        .filter(|word| word.len() >= PART)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::HashSet;

    proptest! {
        #[test]
        fn what_a_needle_wants_is_kept(line in "[a-c0-2 =\"-é]{0,80}", from: prop::sample::Index, to: prop::sample::Index) {
            let bytes = line.as_bytes();
            let (a, b) = (from.index(bytes.len() + 1), to.index(bytes.len() + 1));
            let mut kept = HashSet::new();
            text(bytes, &mut |hash| {
                kept.insert(hash);
            });
            let needle = needle(&bytes[a.min(b)..a.max(b)]);
            prop_assert!(needle.iter().all(|hash| kept.contains(hash)));
        }
    }

    #[test]
    fn identifiers_are_found() {
        assert!(!needle(b"4bf92f3577b34da6a3ce929d0e0e4736").is_empty());
        assert_eq!(needle(b"a3ce929d0e0e4736").len(), 1);
        assert!(needle(b"error").is_empty());
        assert_eq!(needle(b"\"error\"").len(), 1);
    }
}
