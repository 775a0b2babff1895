//! What is the same in many lines, and the words that are not.

use crate::hash::chained;
use crate::logs::column::{is_uuid, stamp};
use crate::logs::tokens::{self, DIGIT, HEX, WORD};

/// Words of so many hexadecimal digits are identifiers, with a decimal one in them or without.
const LONG: usize = 8;

/// What a word looks like. Words of different kinds are never in one column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Number,
    Hex,
    Uuid,
    Time,
    Other,
}

/// A word that is not part of the template.
#[derive(Clone, Copy, Debug)]
pub(super) struct Word {
    pub(super) start: usize,
    pub(super) end: usize,
    pub(super) kind: Kind,
}

/// A line that is cut.
#[derive(Debug, Default)]
pub(super) struct Split {
    pub(super) words: Vec<Word>,
    /// Of all that is between the words, and of their kinds.
    pub(super) hash: u64,
}

impl Split {
    /// Cuts a line.
    pub(super) fn of(mut self, bytes: &[u8]) -> Self {
        self.words.clear();
        let (mut at, mut literal, mut hash) = (0, 0, 0);
        while at < bytes.len() {
            if tokens::class(bytes[at]) & WORD == 0 {
                at += 1;
                continue;
            }
            let start = at;
            let (mut any, mut all) = (0, u8::MAX);
            while at < bytes.len() {
                let class = tokens::class(bytes[at]);
                if class & WORD == 0 {
                    break;
                }
                any |= class;
                all &= class;
                at += 1;
            }
            let length = at - start;
            let hex = all & HEX != 0 && length >= LONG;
            if any & DIGIT == 0 && !hex {
                continue;
            }
            let kind = match bytes.get(at) {
                Some(b'-') if length == 4 && all & DIGIT != 0 => match stamp(&bytes[start..]) {
                    Some((_, _, length)) => {
                        at = start + length;
                        Kind::Time
                    }
                    None => Kind::Number,
                },
                Some(b'-') if length == 8 && hex && uuid(&bytes[start..]) => {
                    at = start + 36;
                    Kind::Uuid
                }
                _ if hex => Kind::Hex,
                _ if all & DIGIT != 0 => Kind::Number,
                _ => Kind::Other,
            };
            hash = chained(hash ^ (1 + kind as u64), &bytes[literal..start]);
            self.words.push(Word {
                start,
                end: at,
                kind,
            });
            literal = at;
        }
        self.hash = chained(hash, &bytes[literal..]);
        self
    }
}

/// Whether bytes begin with an identifier with dashes.
fn uuid(bytes: &[u8]) -> bool {
    bytes.get(..36).is_some_and(is_uuid) && bytes.get(36).is_none_or(|b| !tokens::is_word(*b))
}

/// The name of a column: what is written before its word from the last word on, or, where there is
/// none, behind the name of the column before.
pub(super) fn name(literal: &[u8], before: u64, kind: Kind) -> u64 {
    let seed = 1 + kind as u64;
    let Some(end) = literal.iter().rposition(|byte| tokens::is_word(*byte)) else {
        return chained(before ^ seed, literal);
    };
    let in_name = |byte: &u8| tokens::is_word(*byte) || matches!(byte, b'_' | b'-' | b'.');
    let start = literal[..end].iter().rposition(|byte| !in_name(byte));
    chained(seed, &literal[start.map_or(0, |at| at + 1)..])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cut(line: &str) -> Vec<(&str, Kind)> {
        let split = Split::default().of(line.as_bytes());
        let words = split.words.into_iter();
        words
            .map(|word| (&line[word.start..word.end], word.kind))
            .collect()
    }

    #[test]
    fn words() {
        assert_eq!(
            cut("ts=2026-01-02T03:04:05.678Z took=12ms n=7 id=deadbeef"),
            [
                ("2026-01-02T03:04:05.678Z", Kind::Time),
                ("12ms", Kind::Other),
                ("7", Kind::Number),
                ("deadbeef", Kind::Hex)
            ]
        );
        let uuid = "550e8400-e29b-41d4-a716-446655440000";
        assert_eq!(cut(&format!("({uuid})")), [(uuid, Kind::Uuid)]);
        assert_eq!(cut("2026-13-02T03:04:05")[0], ("2026", Kind::Number));
    }

    #[test]
    fn columns_are_named_by_what_is_before() {
        let of = |literal: &str, before| name(literal.as_bytes(), before, Kind::Number);
        assert_eq!(of("msg=a status=", 1), of("msg=bc status=", 2));
        assert_ne!(of(".", 1), of(".", 2));
        assert_ne!(of("a=", 1), of("b=", 1));
    }
}
