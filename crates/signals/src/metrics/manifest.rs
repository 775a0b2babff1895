//! The manifest: the one file that says which other files count. It is written anew and renamed
//! into place; what it does not name is left over from a crash and removed.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::Path;

use towpath_query::promql::{MatchOp, Matcher};

const NAME: &str = "MANIFEST";
const HEADER: &str = "towpath metrics 1";

/// A segment that counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Listed {
    /// Its file is named after it.
    pub(crate) number: u64,
    /// First time it covers, in milliseconds.
    pub(crate) min: i64,
    /// The time behind the last it covers.
    pub(crate) end: i64,
    /// 0 from the head, 1 a day, 2 a week.
    pub(crate) level: u8,
    /// Its length.
    pub(crate) bytes: u64,
    /// What is kept no longer of series without a rule: 0 nothing, 1 samples, 2 the copies of five
    /// minutes too.
    pub(crate) thin: u8,
}

/// Samples that were deleted and may still be in segments.
#[derive(Clone, Debug)]
pub(crate) struct Tombstone {
    pub(crate) matchers: Vec<Matcher>,
    pub(crate) start: i64,
    pub(crate) end: i64,
}

/// What counts.
#[derive(Clone, Debug)]
pub(crate) struct Manifest {
    /// The next number for a file.
    pub(crate) next: u64,
    /// No series gets a number below this any more.
    pub(crate) series: u32,
    /// Samples before are in segments or gone.
    pub(crate) flushed: i64,
    /// The first file of the log that counts.
    pub(crate) wal: u64,
    /// Checkpoint files, in the order they are read; of the last one also what changes all the
    /// time.
    pub(crate) checkpoints: Vec<u64>,
    /// In order of time.
    pub(crate) segments: Vec<Listed>,
    pub(crate) tombstones: Vec<Tombstone>,
}

impl Default for Manifest {
    fn default() -> Self {
        Self {
            next: 1,
            series: 0,
            flushed: i64::MIN,
            wal: 0,
            checkpoints: Vec::new(),
            segments: Vec::new(),
            tombstones: Vec::new(),
        }
    }
}

fn damaged(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("{NAME}: {what}"))
}

fn hex(text: &str) -> String {
    text.bytes().fold(String::new(), |mut out, byte| {
        let _ = write!(out, "{byte:02x}");
        out
    })
}

fn unhex(text: &str) -> Option<String> {
    let bytes: Option<Vec<u8>> = text
        .as_bytes()
        .chunks(2)
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok())
        .collect();
    String::from_utf8(bytes?).ok()
}

fn code(op: MatchOp) -> u8 {
    match op {
        MatchOp::Equal => 0,
        MatchOp::NotEqual => 1,
        MatchOp::Regex => 2,
        MatchOp::NotRegex => 3,
    }
}

/// A segment in a line.
pub(crate) fn segment_line(s: &Listed) -> String {
    let (number, level, bytes) = (s.number, s.level, s.bytes);
    let line = format!("segment {number} {} {} {level} {bytes}", s.min, s.end);
    match s.thin {
        0 => line,
        thin => format!("{line} {thin}"),
    }
}

/// A tombstone in a line.
pub(crate) fn tombstone_line(stone: &Tombstone) -> String {
    let mut out = format!("tombstone {} {}", stone.start, stone.end);
    for matcher in &stone.matchers {
        // An empty text still has to be a word.
        let (name, value) = (hex(&matcher.name), hex(&matcher.value));
        let _ = write!(out, " {}:{name}:{value}", code(matcher.op));
    }
    out
}

impl Manifest {
    fn text(&self) -> String {
        let mut out = format!(
            "{HEADER}\nnext {}\nseries {}\nflushed {}\nwal {}\n",
            self.next, self.series, self.flushed, self.wal
        );
        for number in &self.checkpoints {
            let _ = writeln!(out, "checkpoint {number}");
        }
        for segment in &self.segments {
            let _ = writeln!(out, "{}", segment_line(segment));
        }
        for stone in &self.tombstones {
            let _ = writeln!(out, "{}", tombstone_line(stone));
        }
        let sum = crc32c::crc32c(out.as_bytes());
        let _ = writeln!(out, "crc {sum:08x}");
        out
    }

    fn parse(text: &str) -> Option<Self> {
        let body = text.strip_suffix('\n')?;
        let at = body.rfind('\n')? + 1;
        let sum = u32::from_str_radix(body[at..].strip_prefix("crc ")?, 16).ok()?;
        if crc32c::crc32c(&text.as_bytes()[..at]) != sum {
            return None;
        }
        let (header, lines) = body[..at].split_once('\n')?;
        if header != HEADER {
            return None;
        }
        Self::of_lines(lines)
    }

    /// Reads what stands behind the header.
    pub(crate) fn of_lines(lines: &str) -> Option<Self> {
        let mut out = Self::default();
        for line in lines.lines() {
            let mut words = line.split(' ');
            let mut word = || words.next();
            match word()? {
                "next" => out.next = word()?.parse().ok()?,
                "series" => out.series = word()?.parse().ok()?,
                "flushed" => out.flushed = word()?.parse().ok()?,
                "wal" => out.wal = word()?.parse().ok()?,
                "checkpoint" => out.checkpoints.push(word()?.parse().ok()?),
                "segment" => out.segments.push(Listed {
                    number: word()?.parse().ok()?,
                    min: word()?.parse().ok()?,
                    end: word()?.parse().ok()?,
                    level: word()?.parse().ok()?,
                    bytes: word()?.parse().ok()?,
                    thin: match word() {
                        Some(thin) => thin.parse().ok()?,
                        None => 0,
                    },
                }),
                "tombstone" => {
                    let (start, end) = (word()?.parse().ok()?, word()?.parse().ok()?);
                    let matchers: Option<Vec<Matcher>> = words.map(matcher).collect();
                    let matchers = matchers?;
                    out.tombstones.push(Tombstone {
                        matchers,
                        start,
                        end,
                    });
                }
                _ => return None,
            }
        }
        Some(out)
    }

    /// Whether nothing was ever written.
    pub(crate) fn is_new(&self) -> bool {
        self.next == 1
    }

    /// Reads the manifest; a new one where there is none.
    pub(crate) fn load(dir: &Path) -> io::Result<Self> {
        match fs::read_to_string(dir.join(NAME)) {
            Ok(text) => Self::parse(&text)
                .ok_or_else(|| damaged("its checksum is wrong or it is of another version")),
            Err(why) if why.kind() == io::ErrorKind::NotFound => Ok(Self::default()),
            Err(why) => Err(why),
        }
    }

    /// Puts it into place; when this returns it is durable.
    pub(crate) fn store(&self, dir: &Path) -> io::Result<()> {
        let temporary = dir.join("MANIFEST.new");
        let mut file = File::create(&temporary)?;
        file.write_all(self.text().as_bytes())?;
        file.sync_all()?;
        fs::rename(&temporary, dir.join(NAME))?;
        File::open(dir)?.sync_all()
    }
}

fn matcher(word: &str) -> Option<Matcher> {
    let mut parts = word.split(':');
    let op = match parts.next()? {
        "0" => MatchOp::Equal,
        "1" => MatchOp::NotEqual,
        "2" => MatchOp::Regex,
        _ => MatchOp::NotRegex,
    };
    Matcher::new(unhex(parts.next()?)?, op, unhex(parts.next()?)?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn example() -> Manifest {
        Manifest {
            next: 9,
            series: 77,
            flushed: -5,
            wal: 3,
            checkpoints: vec![4, 5],
            segments: vec![Listed {
                number: 7,
                min: -10,
                end: -5,
                level: 1,
                bytes: 99,
                thin: 1,
            }],
            tombstones: vec![Tombstone {
                matchers: vec![
                    Matcher::equal("a b", ""),
                    Matcher::new("c", MatchOp::NotRegex, "x|ü").unwrap(),
                ],
                start: 1,
                end: 2,
            }],
        }
    }

    #[test]
    fn it_round_trips() {
        let text = example().text();
        assert_eq!(Manifest::parse(&text).unwrap().text(), text);
    }

    #[test]
    fn every_flipped_bit_is_found() {
        let text = example().text();
        for at in 0..text.len() {
            let mut bytes = text.clone().into_bytes();
            bytes[at] ^= 1;
            if let Ok(changed) = String::from_utf8(bytes) {
                assert!(Manifest::parse(&changed).is_none(), "{changed}");
            }
        }
    }
}
