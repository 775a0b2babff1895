//! Choosing how the texts of a column are written, and writing them.

use std::collections::HashMap;

use towpath_stdx::keyed::Quick;

use super::{
    AFFIXED, BESIDE, DEPTH, DIGITS, HEX, HEX_CAPITALS, KNOWN, NUMBERS, PADDED, PLAIN, RECENT, SAME,
    SAMPLE, TIMES, Texts, UUID, digits, is_capital_hex, is_small_hex, is_uuid, number, time,
};
use crate::bytes::{put_bytes, put_uvarint};
use crate::hash::hash;
use crate::numbers::{self, Plan, Sections};

/// Writes a column.
pub(in crate::logs) fn encode(out: &mut Sections, texts: &Texts) {
    encode_at(out, texts, 0);
}

fn encode_at(out: &mut Sections, texts: &Texts, depth: u8) {
    let first = texts.iter().next().unwrap_or_default();
    let equal = texts.iter().all(|text| text.len() == first.len());
    if equal && texts.iter().all(|text| text == first) {
        out.head.push(SAME);
        put_bytes(&mut out.head, first);
        return;
    }
    if texts.ats.len() == texts.len()
        && let Some((style, values)) = time::parse_all(texts)
    {
        return put_times(out, texts, style, &values);
    }
    let numbers: Option<Vec<i64>> = texts.iter().map(number).collect();
    if let Some(values) = &numbers {
        let plan = Plan::new(values);
        // What takes much may be few numbers again and again.
        if plan.cost() < 12.0 * values.len() as f64 || !put_known(out, texts, depth) {
            out.head.push(NUMBERS);
            plan.put(out);
        }
        return;
    }
    if put_known(out, texts, depth) {
        return;
    }
    if equal
        && first.len() <= DIGITS
        && let Some(values) = texts.iter().map(digits).collect::<Option<Vec<i64>>>()
    {
        out.head.push(PADDED);
        put_uvarint(&mut out.head, first.len() as u64);
        return numbers::encode(out, &values);
    }
    if equal && first.len() >= 4 && put_hex(out, texts, first.len()) {
        return;
    }
    if equal && texts.iter().all(is_uuid) {
        out.head.push(UUID);
        let digits = texts.bytes.iter().copied().filter(|byte| *byte != b'-');
        return put_nibbles(&mut out.raw, digits);
    }
    if depth < DEPTH && put_affixed(out, texts) {
        return;
    }
    out.head.push(PLAIN);
    let lengths: Vec<i64> = texts.iter().map(|text| text.len() as i64).collect();
    numbers::encode(out, &lengths);
    out.head.extend_from_slice(&texts.bytes);
}

fn put_times(out: &mut Sections, texts: &Texts, style: time::Style, values: &[i64]) {
    let unit = style.unit();
    let beside: Vec<i64> = values
        .iter()
        .zip(&texts.ats)
        .map(|(value, at)| value.wrapping_sub(at.div_euclid(unit)))
        .collect();
    let (beside, plain) = (Plan::new(&beside), Plan::new(values));
    let (kind, plan) = if beside.cost() <= plain.cost() {
        (BESIDE, beside)
    } else {
        (TIMES, plain)
    };
    out.head.push(kind);
    style.put(&mut out.head);
    plan.put(out);
}

fn put_hex(out: &mut Sections, texts: &Texts, width: usize) -> bool {
    let kind = if texts.bytes.iter().copied().all(is_small_hex) {
        HEX
    } else if texts.bytes.iter().copied().all(is_capital_hex) {
        HEX_CAPITALS
    } else {
        return false;
    };
    out.head.push(kind);
    put_uvarint(&mut out.head, width as u64);
    put_nibbles(&mut out.raw, texts.bytes.iter().copied());
    true
}

fn nibble(byte: u8) -> u8 {
    if byte.is_ascii_digit() {
        byte - b'0'
    } else {
        (byte | 0x20) - b'a' + 10
    }
}

/// Two digits to a byte, the first in its upper half.
pub(super) fn put_nibbles(out: &mut Vec<u8>, digits: impl Iterator<Item = u8>) {
    let mut upper = None;
    for digit in digits {
        match upper.take() {
            None => upper = Some(nibble(digit) << 4),
            Some(upper) => out.push(upper | nibble(digit)),
        }
    }
    out.extend(upper);
}

/// Writes a column by its different texts, if they are few.
fn put_known(out: &mut Sections, texts: &Texts, depth: u8) -> bool {
    if depth > 0 || texts.len() < 4 {
        return false;
    }
    let mut known: HashMap<u64, u32, Quick> = HashMap::default();
    let mut different = Texts::default();
    let mut ids: Vec<i64> = Vec::with_capacity(texts.len());
    for (at, text) in texts.iter().enumerate() {
        let id = *known.entry(hash(text)).or_insert(different.len() as u32);
        if id as usize == different.len() {
            different.push(text);
        } else if different.get(id as usize) != text {
            return false;
        }
        ids.push(i64::from(id));
        let sampled = at + 1;
        if sampled == SAMPLE && different.len() * 10 > sampled * 9 {
            return false;
        }
    }
    if different.len() * 3 > texts.len() * 2 {
        return false;
    }
    let mut next = 0;
    let ago: Vec<i64> = ids
        .iter()
        .map(|id| {
            let ago = next - id;
            next += i64::from(ago == 0);
            ago
        })
        .collect();
    let (plain, recent) = (Plan::new(&ids), Plan::new(&ago));
    let (kind, plan) = if recent.cost() < plain.cost() {
        (RECENT, recent)
    } else {
        (KNOWN, plain)
    };
    out.head.push(kind);
    put_uvarint(&mut out.head, different.len() as u64);
    encode_at(out, &different, depth + 1);
    plan.put(out);
    true
}

/// Writes what all texts begin and end with once; false where that is nothing.
fn put_affixed(out: &mut Sections, texts: &Texts) -> bool {
    let first = texts.iter().next().unwrap_or_default();
    let (mut front, mut back) = (first.len(), first.len());
    for text in texts.iter() {
        let same = |a: &mut dyn Iterator<Item = (&u8, &u8)>| a.take_while(|(a, b)| a == b).count();
        front = front.min(same(&mut first.iter().zip(text)));
        back = back.min(same(&mut first.iter().rev().zip(text.iter().rev())));
    }
    // Digits belong to what is between: `v10`, `v12`.
    while front > 0 && first[front - 1].is_ascii_digit() {
        front -= 1;
    }
    while back > 0 && first[first.len() - back].is_ascii_digit() {
        back -= 1;
    }
    let shortest = texts.iter().map(<[u8]>::len).min().unwrap_or(0);
    back = back.min(shortest - front.min(shortest));
    if front + back == 0 {
        return false;
    }
    let mut between = Texts::default();
    for text in texts.iter() {
        between.push(&text[front..text.len() - back]);
    }
    out.head.push(AFFIXED);
    put_bytes(&mut out.head, &first[..front]);
    put_bytes(&mut out.head, &first[first.len() - back..]);
    encode_at(out, &between, DEPTH);
    true
}
