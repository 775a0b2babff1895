//! Debian's order (deb-version(7)) and Alpine's (apk): epoch, upstream, revision.

use std::cmp::Ordering;

/// Debian's order.
pub(super) fn compare(a: &str, b: &str) -> Ordering {
    let (ea, ua, ra) = split(a);
    let (eb, ub, rb) = split(b);
    ea.cmp(&eb)
        .then_with(|| part(ua, ub))
        .then_with(|| part(ra, rb))
}

fn split(version: &str) -> (u64, &str, &str) {
    let version = version.trim();
    let (epoch, rest) = match version.split_once(':') {
        Some((epoch, rest)) if !epoch.is_empty() && epoch.bytes().all(|b| b.is_ascii_digit()) => {
            (epoch.parse().unwrap_or(u64::MAX), rest)
        }
        _ => (0, version),
    };
    let (upstream, revision) = rest.rsplit_once('-').unwrap_or((rest, ""));
    (epoch, upstream, revision)
}

// `~` before the end, the end before letters, letters before all else.
fn weight(byte: Option<&u8>) -> i32 {
    match byte {
        Some(b'~') => -1,
        None => 0,
        Some(b) if b.is_ascii_digit() => 0,
        Some(b) if b.is_ascii_alphabetic() => i32::from(*b),
        Some(b) => i32::from(*b) + 256,
    }
}

fn part(a: &str, b: &str) -> Ordering {
    let (mut a, mut b) = (a.as_bytes(), b.as_bytes());
    while !a.is_empty() || !b.is_empty() {
        let digit = |s: &[u8]| s.first().is_none_or(u8::is_ascii_digit);
        while !digit(a) || !digit(b) {
            let order = weight(a.first()).cmp(&weight(b.first()));
            if order != Ordering::Equal {
                return order;
            }
            a = a.get(1..).unwrap_or_default();
            b = b.get(1..).unwrap_or_default();
        }
        let order = number(&mut a).cmp_as_number(number(&mut b));
        if order != Ordering::Equal {
            return order;
        }
    }
    Ordering::Equal
}

fn number<'s>(text: &mut &'s [u8]) -> &'s [u8] {
    let end = text
        .iter()
        .position(|b| !b.is_ascii_digit())
        .unwrap_or(text.len());
    let (digits, rest) = text.split_at(end);
    *text = rest;
    digits
}

trait AsNumber {
    fn cmp_as_number(&self, other: &[u8]) -> Ordering;
}

impl AsNumber for [u8] {
    // Digits of any length: without leading zeros, longer is larger.
    fn cmp_as_number(&self, other: &[u8]) -> Ordering {
        let strip = |d: &[u8]| {
            d.iter()
                .position(|b| *b != b'0')
                .map_or(Vec::new(), |i| d[i..].to_vec())
        };
        let (a, b) = (strip(self), strip(other));
        a.len().cmp(&b.len()).then_with(|| a.cmp(&b))
    }
}

/// Alpine's order: numbers, one letter, suffixes, `-rN`.
pub(super) fn compare_apk(a: &str, b: &str) -> Ordering {
    apk_key(a).cmp(&apk_key(b))
}

type ApkKey = (
    Vec<(usize, Vec<u8>)>,
    u8,
    Vec<(i8, usize, Vec<u8>)>,
    (usize, Vec<u8>),
    String,
);

fn digits(text: &str) -> (usize, Vec<u8>) {
    let trimmed: Vec<u8> = text.trim_start_matches('0').bytes().collect();
    (trimmed.len(), trimmed)
}

fn apk_key(version: &str) -> ApkKey {
    let version = version.trim();
    let (body, revision) = match version.rsplit_once("-r") {
        Some((body, r)) if !r.is_empty() && r.bytes().all(|b| b.is_ascii_digit()) => (body, r),
        _ => (version, "0"),
    };
    let mut pieces = body.split('_');
    let mut head = pieces.next().unwrap_or_default();
    let mut letter = 0;
    if let Some(last) = head.bytes().last().filter(u8::is_ascii_lowercase) {
        letter = last;
        head = &head[..head.len() - 1];
    }
    let mut odd = String::new();
    let numbers = head
        .split('.')
        .map(|p| {
            if !p.bytes().all(|b| b.is_ascii_digit()) {
                odd.push_str(p);
            }
            digits(&p.chars().filter(char::is_ascii_digit).collect::<String>())
        })
        .collect();
    // The end of the suffixes stands between the early and the late ones.
    let mut suffixes: Vec<(i8, usize, Vec<u8>)> = pieces
        .map(|p| {
            let name: String = p.chars().take_while(|c| !c.is_ascii_digit()).collect();
            let rank = match name.as_str() {
                "alpha" => -4,
                "beta" => -3,
                "pre" => -2,
                "rc" => -1,
                "cvs" => 1,
                "svn" => 2,
                "git" => 3,
                "hg" => 4,
                "p" => 5,
                _ => {
                    odd.push_str(p);
                    6
                }
            };
            let rest: String = p
                .chars()
                .skip(name.chars().count())
                .filter(char::is_ascii_digit)
                .collect();
            let (length, rest) = digits(&rest);
            (rank, length, rest)
        })
        .collect();
    suffixes.push((0, 0, Vec::new()));
    (numbers, letter, suffixes, digits(revision), odd)
}
