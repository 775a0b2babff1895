//! The catalog: what of a store is in the bucket, and who writes there.

use std::collections::BTreeMap;
use std::fmt::Write as _;

const HEADER: &str = "towpath segments 1";

/// A segment in the bucket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Stored {
    pub(crate) bytes: u64,
    /// Where what is kept locally begins.
    pub(crate) tail_at: u64,
    /// The name of its object, below the folder of segments.
    pub(crate) name: String,
    /// What the store says of it, without line ends.
    pub(crate) note: String,
}

/// What is in the bucket.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Catalog {
    /// The data directory that writes.
    pub(crate) writer: String,
    /// Its process: another one for each start.
    pub(crate) session: String,
    /// What people call it.
    pub(crate) host: String,
    /// When it last said so, in milliseconds since the epoch; 0 if it writes no more.
    pub(crate) renewed: i64,
    pub(crate) segments: BTreeMap<u64, Stored>,
    /// What the store says of itself.
    pub(crate) notes: Vec<String>,
}

/// A text that becomes a word: nothing in it separates.
fn word(text: &str) -> String {
    let kept = |c: char| {
        if c.is_whitespace() || c.is_control() {
            '_'
        } else {
            c
        }
    };
    let word: String = text.chars().map(kept).collect();
    if word.is_empty() {
        "-".to_owned()
    } else {
        word
    }
}

impl Catalog {
    pub(crate) fn text(&self) -> String {
        let mut out = format!(
            "{HEADER}\nwriter {} {} {} {}\n",
            word(&self.writer),
            word(&self.session),
            self.renewed,
            word(&self.host)
        );
        for note in &self.notes {
            let _ = writeln!(out, "note {note}");
        }
        for (number, one) in &self.segments {
            let _ = writeln!(
                out,
                "segment {number} {} {} {} {}",
                one.bytes, one.tail_at, one.name, one.note
            );
        }
        let sum = crc32c::crc32c(out.as_bytes());
        let _ = writeln!(out, "crc {sum:08x}");
        out
    }

    /// What was written; none if it is damaged or of another version.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let body = text.strip_suffix('\n')?;
        let at = body.rfind('\n')? + 1;
        let sum = u32::from_str_radix(body[at..].strip_prefix("crc ")?, 16).ok()?;
        if crc32c::crc32c(&text.as_bytes()[..at]) != sum {
            return None;
        }
        let mut lines = body[..at].lines();
        if lines.next()? != HEADER {
            return None;
        }
        let mut out = Self::default();
        for line in lines {
            let (kind, rest) = line.split_once(' ')?;
            match kind {
                "writer" => {
                    let mut words = rest.splitn(4, ' ');
                    out.writer = words.next()?.to_owned();
                    out.session = words.next()?.to_owned();
                    out.renewed = words.next()?.parse().ok()?;
                    out.host = words.next()?.to_owned();
                }
                "note" => out.notes.push(rest.to_owned()),
                "segment" => {
                    let mut words = rest.splitn(5, ' ');
                    let number = words.next()?.parse().ok()?;
                    let stored = Stored {
                        bytes: words.next()?.parse().ok()?,
                        tail_at: words.next()?.parse().ok()?,
                        name: words.next()?.to_owned(),
                        note: words.next()?.to_owned(),
                    };
                    if stored.tail_at > stored.bytes || stored.name.contains('/') {
                        return None;
                    }
                    out.segments.insert(number, stored);
                }
                _ => return None,
            }
        }
        Some(out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn example() -> Catalog {
        let one = |name: &str, note: &str| Stored {
            bytes: 99,
            tail_at: 70,
            name: name.to_owned(),
            note: note.to_owned(),
        };
        Catalog {
            writer: "w".to_owned(),
            session: "s".to_owned(),
            host: "node-1".to_owned(),
            renewed: 5,
            segments: [(1, one("1-a.seg", "")), (7, one("7-b.seg", "0 -5 9"))].into(),
            notes: vec!["tombstone 1 2".to_owned()],
        }
    }

    #[test]
    fn it_round_trips() {
        assert_eq!(Catalog::parse(&example().text()), Some(example()));
        let mut odd = example();
        odd.host = "a b\nsegment".to_owned();
        let read = Catalog::parse(&odd.text()).unwrap();
        assert_eq!(read.host, "a_b_segment");
    }

    #[test]
    fn every_flipped_bit_is_found() {
        let text = example().text();
        for at in 0..text.len() {
            let mut bytes = text.clone().into_bytes();
            bytes[at] ^= 1;
            if let Ok(changed) = String::from_utf8(bytes) {
                assert!(Catalog::parse(&changed).is_none(), "{changed}");
            }
        }
    }

    proptest::proptest! {
        #[test]
        fn nothing_makes_it_panic(text in "\\PC{0,200}") {
            let _ = Catalog::parse(&text);
            let sum = crc32c::crc32c(text.as_bytes());
            let _ = Catalog::parse(&format!("{text}\ncrc {sum:08x}\n"));
        }
    }
}
