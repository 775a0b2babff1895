//! The labels of a series as places in the text they were read from.

use std::borrow::Cow;
use std::ops::Range;

use towpath_query::promql::{Labels, NAME, quote};

use super::{Kind, float};
use crate::family::open_metrics_float;

/// A label: where its name and its value are, still escaped, without quotes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Pair {
    pub(super) name: Range<usize>,
    pub(super) value: Range<usize>,
}

/// Letters and the underscore.
pub(super) const LETTER: u8 = 1;
/// The colon, which only names of metrics may have.
pub(super) const COLON: u8 = 2;
/// Digits.
pub(super) const DIGIT: u8 = 4;

/// What a byte may be part of.
pub(super) const CLASS: [u8; 256] = {
    let mut table = [0; 256];
    let mut byte = 0usize;
    while byte < 256 {
        let b = byte as u8;
        table[byte] = if b.is_ascii_alphabetic() || b == b'_' {
            LETTER
        } else if b == b':' {
            COLON
        } else if b.is_ascii_digit() {
            DIGIT
        } else {
            0
        };
        byte += 1;
    }
    table
};

/// Where the run of bytes of some classes ends.
#[inline]
pub(super) fn run(input: &[u8], from: usize, classes: u8) -> usize {
    let rest = &input[from..];
    from + rest
        .iter()
        .position(|byte| CLASS[*byte as usize] & classes == 0)
        .unwrap_or(rest.len())
}

/// Where a quoted text that begins after its first quote ends: the place of the closing quote.
/// With `lines` it may run over several lines.
#[inline]
pub(super) fn quoted(input: &[u8], from: usize, lines: bool) -> Option<usize> {
    let mut at = from;
    loop {
        at += memchr::memchr2(b'"', b'\\', &input[at..])?;
        if input[at] == b'"' {
            let inner = &input[from..at];
            return (lines || memchr::memchr(b'\n', inner).is_none()).then_some(at);
        }
        if matches!(input.get(at + 1), None | Some(b'\n')) {
            return None;
        }
        at += 2;
    }
}

/// Whether a series that was read at a place before surely ends there as well here: behind a name
/// alone labels might follow, or more of the name.
#[inline]
pub(super) fn ends(input: &[u8], key: &Range<usize>) -> bool {
    if key.end > key.start && input.get(key.end - 1) == Some(&b'}') {
        return true;
    }
    match input.get(key.end..key.end + 2) {
        Some([b' ', next]) => !matches!(next, b' ' | b'\t' | b'{'),
        _ => false,
    }
}

/// A text without its escapes; what is no escape stays as it is.
pub(super) fn unescaped(text: &str) -> Cow<'_, str> {
    if !text.contains('\\') {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('\\') {
        out.push_str(&rest[..at]);
        let (known, length) = match rest.as_bytes().get(at + 1) {
            Some(b'"') => ("\"", 2),
            Some(b'\\') => ("\\", 2),
            Some(b'n') => ("\n", 2),
            _ => ("\\", 1),
        };
        out.push_str(known);
        rest = &rest[at + length..];
    }
    out.push_str(rest);
    Cow::Owned(out)
}

/// A text of `HELP` in the classic format, where quotes are not escaped.
pub(super) fn help_unescaped(text: &str) -> Cow<'_, str> {
    if !text.contains('\\') {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match (c, chars.peek()) {
            ('\\', Some('\\')) => {
                chars.next();
                out.push('\\');
            }
            ('\\', Some('n')) => {
                chars.next();
                out.push('\n');
            }
            _ => out.push(c),
        }
    }
    Cow::Owned(out)
}

/// The labels of a series; the error says what is wrong with them.
pub(super) fn labels(
    input: &[u8],
    metric: &Range<usize>,
    pairs: &[Pair],
    kind: Kind,
) -> Result<Labels, String> {
    let mut all = Vec::with_capacity(pairs.len() + 1);
    all.push((Box::from(NAME), own(input, metric)?));
    for pair in pairs {
        let (name, value) = (own(input, &pair.name)?, own(input, &pair.value)?);
        let value = normal(kind, &name, value);
        all.push((name, value));
    }
    unique(all)
}

/// Labels of which each name may be there once; labels without a value count as well.
pub(super) fn unique(mut all: Vec<(Box<str>, Box<str>)>) -> Result<Labels, String> {
    all.sort_by(|a, b| a.0.cmp(&b.0));
    if let Some(twice) = all.windows(2).find(|two| two[0].0 == two[1].0) {
        return Err(format!(
            "label name {} is not unique: invalid sample",
            quote(&twice[0].0)
        ));
    }
    Ok(all.into_iter().collect())
}

fn own(input: &[u8], range: &Range<usize>) -> Result<Box<str>, String> {
    let bytes = &input[range.clone()];
    match std::str::from_utf8(bytes) {
        Ok(text) => Ok(unescaped(text).into()),
        Err(_) => Err(format!(
            "invalid metric name or label names: {}",
            super::place::shown(bytes)
        )),
    }
}

/// Bounds of buckets and quantiles are written one way only.
fn normal(kind: Kind, name: &str, value: Box<str>) -> Box<str> {
    let bound = matches!(
        (kind, name),
        (Kind::Summary, "quantile") | (Kind::Histogram, "le")
    );
    match float::parse(value.as_bytes()) {
        Ok(number) if bound => open_metrics_float(number).into(),
        _ => value,
    }
}
