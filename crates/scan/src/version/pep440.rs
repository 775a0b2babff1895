//! PEP 440: epoch, release, pre, post, dev, local. Text that is no version sorts before all
//! versions, by bytes.

use std::cmp::Ordering;

type Number = (usize, String);

fn number(digits: &str) -> Number {
    let trimmed = digits.trim_start_matches('0');
    (trimmed.len(), trimmed.to_string())
}

// Each part in the order PEP 440 gives: what is absent is placed where its absence sorts.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Key {
    epoch: Number,
    release: Vec<Number>,
    pre: (u8, Number),
    post: (u8, Number),
    dev: (u8, Number),
    local: Vec<(u8, Number, String)>,
}

pub(super) fn compare(a: &str, b: &str) -> Ordering {
    match (parse(a), parse(b)) {
        (Some(a), Some(b)) => a.cmp(&b),
        (Some(_), None) => Ordering::Greater,
        (None, Some(_)) => Ordering::Less,
        (None, None) => a.cmp(b),
    }
}

fn parse(text: &str) -> Option<Key> {
    let text = text.trim().to_ascii_lowercase();
    let text = text.strip_prefix('v').unwrap_or(&text);
    let (text, local) = match text.split_once('+') {
        Some((text, local)) => (text, local),
        None => (text, ""),
    };
    let (epoch, mut rest) = match text.split_once('!') {
        Some((epoch, rest)) => (epoch, rest),
        None => ("0", text),
    };
    if epoch.is_empty() || !epoch.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let mut release = Vec::new();
    loop {
        let digits = take_digits(&mut rest);
        if digits.is_empty() {
            return None;
        }
        release.push(number(digits));
        match rest.strip_prefix('.') {
            Some(next) if next.starts_with(|c: char| c.is_ascii_digit()) => rest = next,
            _ => break,
        }
    }
    while release.len() > 1 && release.last().is_some_and(|n| n.0 == 0) {
        release.pop();
    }
    let none = (0usize, String::new());
    let pre = [
        ("alpha", 1),
        ("beta", 2),
        ("preview", 3),
        ("pre", 3),
        ("rc", 3),
        ("a", 1),
        ("b", 2),
        ("c", 3),
    ]
    .iter()
    .find_map(|(word, rank)| labelled(&mut rest, word).map(|n| (*rank, n)));
    let mut post = ["post", "rev", "r"]
        .iter()
        .find_map(|word| labelled(&mut rest, word));
    if post.is_none()
        && let Some(next) = rest.strip_prefix('-')
        && next.starts_with(|c: char| c.is_ascii_digit())
    {
        rest = next;
        post = Some(number(take_digits(&mut rest)));
    }
    let dev = labelled(&mut rest, "dev");
    if !rest.is_empty() {
        return None;
    }
    let local = local
        .split(['.', '-', '_'])
        .filter(|p| !p.is_empty())
        .map(|p| {
            if p.bytes().all(|b| b.is_ascii_digit()) {
                (1, number(p), String::new())
            } else {
                (0, none.clone(), p.to_string())
            }
        })
        .collect();
    Some(Key {
        epoch: number(epoch),
        release,
        // A development release without pre or post comes before every pre-release.
        pre: match (&pre, &post, &dev) {
            (Some(pre), _, _) => pre.clone(),
            (None, None, Some(_)) => (0, none.clone()),
            _ => (9, none.clone()),
        },
        post: post.map_or((0, none.clone()), |n| (1, n)),
        dev: dev.map_or((1, none.clone()), |n| (0, n)),
        local,
    })
}

fn take_digits<'s>(text: &mut &'s str) -> &'s str {
    let end = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    let (digits, rest) = text.split_at(end);
    *text = rest;
    digits
}

// `[-_.]word[-_.]digits`, digits may be left out.
fn labelled(text: &mut &str, word: &str) -> Option<Number> {
    let start = text.strip_prefix(['-', '_', '.']).unwrap_or(text);
    let after = start.strip_prefix(word)?;
    if after.starts_with(|c: char| c.is_ascii_alphabetic()) {
        return None;
    }
    let mut rest = match after.strip_prefix(['-', '_', '.']) {
        Some(next) if next.starts_with(|c: char| c.is_ascii_digit()) => next,
        _ => after,
    };
    let digits = take_digits(&mut rest);
    *text = rest;
    Some(number(digits))
}
