//! Mutated inputs for decoders, the same in every run.
//!
//! Seeds are the files of a corpus directory; what once broke a decoder is kept there too, and so
//! tried first. Inputs that a decoder answers in a new way become seeds of the same run. The
//! number of inputs is small unless `TOWPATH_FUZZ` names another (`cargo xtask soak`).

use std::collections::{BTreeSet, HashSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::time::{Duration, Instant};

/// Inputs of a run that is one of many tests.
const ROUNDS: usize = 1500;
/// The longest that one input may take.
const LIMIT: Duration = Duration::from_secs(1);
/// The largest input.
const BYTES: usize = 64 << 10;
/// What a process full of decoders may hold at most.
const MEMORY_KB: u64 = 2 << 20;
const POOL: usize = 512;

/// Random numbers that are the same in every run.
struct Dice(u64);

impl Dice {
    fn roll(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, most: usize) -> usize {
        (self.roll() % most.max(1) as u64) as usize
    }
}

/// Feeds a decoder the corpus of a directory, then mutations of it. The decoder says in a few
/// words what it made of the input; it must not panic, nor think for a second.
pub(crate) fn run<S: AsRef<str>>(corpus: &Path, words: &[&str], decoder: impl Fn(&[u8]) -> S) {
    let name = corpus.display().to_string();
    let mut files: Vec<_> = std::fs::read_dir(corpus)
        .unwrap_or_else(|error| panic!("{name}: {error}"))
        .map(|entry| entry.expect("entry").path())
        .collect();
    files.sort();
    let mut pool: Vec<Vec<u8>> = Vec::new();
    for file in files {
        pool.push(std::fs::read(&file).expect("read"));
    }
    assert!(!pool.is_empty(), "{name}: no seeds");
    let mut seen = BTreeSet::new();
    for input in pool.clone() {
        seen.insert(feed(corpus, &decoder, &input));
    }
    let rounds = std::env::var("TOWPATH_FUZZ").ok();
    let rounds = rounds.and_then(|n| n.parse().ok()).unwrap_or(ROUNDS);
    let mut hasher = DefaultHasher::new();
    corpus.file_name().hash(&mut hasher);
    let mut dice = Dice(hasher.finish() | 1);
    let mut tried = HashSet::new();
    for _ in 0..rounds {
        let mut input = pool[dice.below(pool.len())].clone();
        for _ in 0..=dice.below(4) {
            mutate(&mut dice, &mut input, &pool, words);
        }
        input.truncate(BYTES);
        let mut hasher = DefaultHasher::new();
        input.hash(&mut hasher);
        if !tried.insert(hasher.finish()) {
            continue;
        }
        let answer = feed(corpus, &decoder, &input);
        if seen.len() < 10_000 && seen.insert(answer) {
            if pool.len() >= POOL {
                let at = dice.below(POOL);
                pool.swap_remove(at);
            }
            pool.push(input);
        }
    }
    let held = memory_kb();
    assert!(held < MEMORY_KB, "{name}: {held} KiB were held");
}

// What the decoder said, without numbers and names, so that only new ways are new.
fn feed<S: AsRef<str>>(corpus: &Path, decoder: &impl Fn(&[u8]) -> S, input: &[u8]) -> u64 {
    let mut least = Duration::MAX;
    for _ in 0..3 {
        let (begin, worked) = (Instant::now(), worked());
        let answer = catch_unwind(AssertUnwindSafe(|| decoder(input)));
        let spent = worked.and_then(|before| self::worked()?.checked_sub(before));
        least = least.min(spent.unwrap_or_else(|| begin.elapsed()));
        let Ok(answer) = answer else {
            let kept = keep(corpus, input);
            panic!("a panic; the input is kept in {kept}: {}", shown(input));
        };
        if least < LIMIT {
            let mut hasher = DefaultHasher::new();
            let words = answer.as_ref().split(|c: char| !c.is_ascii_alphabetic());
            words.take(24).for_each(|word| word.hash(&mut hasher));
            return hasher.finish();
        }
    }
    let kept = keep(corpus, input);
    panic!("{least:?}; the input is kept in {kept}: {}", shown(input));
}

// Time that this thread had a processor for: other tests run beside this one.
fn worked() -> Option<Duration> {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    let nanos = text.split(' ').next()?.parse().ok()?;
    Some(Duration::from_nanos(nanos))
}

fn keep(corpus: &Path, input: &[u8]) -> String {
    let mut hasher = DefaultHasher::new();
    input.hash(&mut hasher);
    let path = corpus.join(format!("found-{:016x}", hasher.finish()));
    std::fs::write(&path, input).expect("keep");
    path.display().to_string()
}

fn shown(input: &[u8]) -> String {
    input[..input.len().min(300)].escape_ascii().to_string()
}

fn memory_kb() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|line| line.trim().trim_end_matches(" kB").parse().ok())
        .unwrap_or(0)
}

fn mutate(dice: &mut Dice, input: &mut Vec<u8>, pool: &[Vec<u8>], words: &[&str]) {
    const ODD: &[&[u8]] = &[
        b"\0",
        b"\xff",
        b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",
        b"\x80",
        b"\xc3\x28",
        b"-1",
        b"0",
        b"9223372036854775808",
        b"1e999",
        b"null",
        b"{}",
        b"[]",
        b"\"\"",
        b"true",
        b"\n",
        b"\xef\xbb\xbf",
        b"\xed\xa0\x80",
        b"\\ud800",
        b"%",
        b" ",
        b"\t",
    ];
    let at = dice.below(input.len() + 1);
    let length = 1 + dice.below(16);
    let end = (at + length).min(input.len());
    match dice.below(12) {
        0 if at < input.len() => input[at] ^= 1 << dice.below(8),
        1 if at < input.len() => input[at] = dice.roll() as u8,
        2 => drop(input.drain(at..end)),
        3 => drop(input.splice(at..at, ODD[dice.below(ODD.len())].iter().copied())),
        4 => drop(input.splice(at..end, ODD[dice.below(ODD.len())].iter().copied())),
        5 | 6 if !words.is_empty() => {
            let word = words[dice.below(words.len())].bytes();
            let end = if dice.below(2) == 0 { at } else { end };
            input.splice(at..end, word);
        }
        7 => {
            // A piece many times: depth and length.
            let piece = input[at..end].to_vec();
            let times = [2, 16, 300][dice.below(3)];
            input.splice(at..at, piece.repeat(times));
        }
        8 => {
            let other = &pool[dice.below(pool.len())];
            let from = dice.below(other.len() + 1);
            let to = (from + dice.below(64)).min(other.len());
            input.splice(at..at, other[from..to].iter().copied());
        }
        9 => input.truncate(at),
        10 => swap(dice, input),
        _ => {
            // One quoted text or number in the place of another.
            let places = tokens(input);
            if let (false, true) = (places.is_empty(), dice.below(2) == 0 || words.is_empty()) {
                let (a, b) = (
                    places[dice.below(places.len())].clone(),
                    places[dice.below(places.len())].clone(),
                );
                let piece = input[b].to_vec();
                input.splice(a, piece);
            } else if !places.is_empty() {
                let word = format!("\"{}\"", words[dice.below(words.len())]);
                let place = places[dice.below(places.len())].clone();
                input.splice(place, word.bytes());
            }
        }
    }
}

// Two lines, or the two halves of a piece, change places.
fn swap(dice: &mut Dice, input: &mut [u8]) {
    if input.len() > 3 {
        let middle = 1 + dice.below(input.len() - 2);
        let reach = middle.min(input.len() - middle).min(1 + dice.below(24));
        input[middle - reach..middle + reach].rotate_left(reach);
    }
}

fn tokens(input: &[u8]) -> Vec<std::ops::Range<usize>> {
    let mut found = Vec::new();
    let mut at = 0;
    while at < input.len() && found.len() < 400 {
        let begin = at;
        match input[at] {
            b'"' => {
                at += 1;
                while at < input.len() && input[at] != b'"' {
                    at += if input[at] == b'\\' { 2 } else { 1 };
                }
                at = (at + 1).min(input.len());
                found.push(begin..at);
            }
            byte if byte.is_ascii_alphanumeric() => {
                while at < input.len() && input[at].is_ascii_alphanumeric() {
                    at += 1;
                }
                found.push(begin..at);
            }
            b'{' | b'[' => {
                // A whole value, where its end is near.
                let (open, close) = (input[at], input[at] + 2);
                let mut depth = 0;
                for (index, byte) in input[at..].iter().take(400).enumerate() {
                    depth += i32::from(*byte == open) - i32::from(*byte == close);
                    if depth == 0 {
                        found.push(at..at + index + 1);
                        break;
                    }
                }
                at += 1;
            }
            _ => at += 1,
        }
    }
    found
}
