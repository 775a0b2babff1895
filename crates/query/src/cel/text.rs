//! Patterns: those of Go, which are nearly those of this language's library. What differs is
//! rewritten; what would be large is refused.

use regex::{Regex, RegexBuilder};
use std::cell::RefCell;
use std::collections::HashMap;

const PATTERN_BYTES: usize = 1 << 20;
/// Go's bound of `{n}`.
const REPEATS: u32 = 1000;
const KEPT: usize = 64;

thread_local! {
    // Patterns are used again for every element of a list; making one costs far more than using it.
    static COMPILED: RefCell<HashMap<String, Regex>> = RefCell::default();
}

/// A pattern that is ready to be used.
pub(crate) fn pattern(source: &str) -> Result<Regex, String> {
    let known = COMPILED.with_borrow(|known| known.get(source).cloned());
    if let Some(regex) = known {
        return Ok(regex);
    }
    let rewritten = rewrite(source)?;
    let regex = RegexBuilder::new(&rewritten)
        .size_limit(PATTERN_BYTES)
        .dfa_size_limit(PATTERN_BYTES)
        .nest_limit(100)
        .build()
        .map_err(|error| match error {
            regex::Error::CompiledTooBig(_) => "expression too large".to_string(),
            _ => format!("error parsing regexp: `{source}`"),
        })?;
    COMPILED.with_borrow_mut(|known| {
        if known.len() >= KEPT {
            known.clear();
        }
        known.insert(source.to_string(), regex.clone());
    });
    Ok(regex)
}

/// The pattern in the library's spelling: classes are ASCII, `[` and stray `{` are literal.
fn rewrite(source: &str) -> Result<String, String> {
    let mut out = String::with_capacity(source.len() + 16);
    let mut class = false;
    let mut class_start = false;
    let mut rest = source.chars().peekable();
    while let Some(c) = rest.next() {
        let first = std::mem::take(&mut class_start);
        match c {
            '\\' => {
                let Some(next) = rest.next() else {
                    return Err("trailing backslash at end of expression".into());
                };
                match (next, class) {
                    ('d', false) => out.push_str("[0-9]"),
                    ('D', false) => out.push_str("[^0-9]"),
                    ('w', false) => out.push_str("[0-9A-Za-z_]"),
                    ('W', false) => out.push_str("[^0-9A-Za-z_]"),
                    ('s', false) => out.push_str("[\\t\\n\\f\\r ]"),
                    ('S', false) => out.push_str("[^\\t\\n\\f\\r ]"),
                    ('d', true) => out.push_str("0-9"),
                    ('D', true) => out.push_str("[^0-9]"),
                    ('w', true) => out.push_str("0-9A-Za-z_"),
                    ('W', true) => out.push_str("[^0-9A-Za-z_]"),
                    ('s', true) => out.push_str("\\t\\n\\f\\r "),
                    ('S', true) => out.push_str("[^\\t\\n\\f\\r ]"),
                    ('b', false) => out.push_str("(?-u:\\b)"),
                    ('B', false) => out.push_str("(?-u:\\B)"),
                    ('Q', false) => {
                        let mut literal = String::new();
                        while let Some(c) = rest.next() {
                            if c == '\\' && rest.peek() == Some(&'E') {
                                rest.next();
                                break;
                            }
                            literal.push(c);
                        }
                        out.push_str(&regex::escape(&literal));
                    }
                    ('Z' | 'G' | 'C' | '<' | '>', false) => {
                        return Err(format!("invalid escape sequence: `\\{next}`"));
                    }
                    _ => {
                        out.push('\\');
                        out.push(next);
                    }
                }
            }
            '[' if !class => {
                class = true;
                class_start = true;
                out.push('[');
                if rest.peek() == Some(&'^') {
                    rest.next();
                    out.push('^');
                }
            }
            '[' => {
                if rest.peek() == Some(&':') {
                    out.push('[');
                    for c in rest.by_ref() {
                        out.push(c);
                        if c == ']' {
                            break;
                        }
                    }
                } else {
                    out.push_str("\\[");
                }
            }
            ']' if class && first => out.push_str("\\]"),
            ']' if class => {
                class = false;
                out.push(']');
            }
            '&' | '~' if class && rest.peek() == Some(&c) => {
                out.push('\\');
                out.push(c);
            }
            '-' if class && rest.peek() == Some(&'-') => out.push_str("\\-"),
            '{' if !class => {
                let ahead: String = rest.clone().take(12).collect();
                match repeat(&ahead) {
                    Some(most) if most > REPEATS => {
                        return Err("invalid repeat count".into());
                    }
                    Some(_) => out.push('{'),
                    None => out.push_str("\\{"),
                }
            }
            _ => out.push(c),
        }
    }
    Ok(out)
}

/// The larger number of `n}`, `n,}` or `n,m}`.
fn repeat(ahead: &str) -> Option<u32> {
    let inner = ahead.split_once('}')?.0;
    let (from, to) = inner.split_once(',').unwrap_or((inner, ""));
    let digits = |text: &str| text.bytes().all(|c| c.is_ascii_digit());
    if from.is_empty() || !digits(from) || !digits(to) {
        return None;
    }
    let number = |text: &str| text.parse().unwrap_or(u32::MAX);
    Some(match to {
        "" => number(from),
        to => number(from).max(number(to)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_in_go() {
        let cases = [
            (r"^\d+$", "12", true),
            (r"^\d+$", "\u{0661}", false),
            (r"[[]", "[", true),
            (r"[]a]", "]", true),
            (r"a{,2}", "a{,2}", true),
            (r"^a{1,2}$", "aa", true),
            (r"[\w.-]+", "a-b", true),
            (r"\Qa.b\E", "axb", false),
            (r"[[:alpha:]]", "x", true),
        ];
        for (source, text, wanted) in cases {
            let found = pattern(source).expect(source);
            assert_eq!(found.is_match(text), wanted, "{source}");
        }
        for bad in ["a{1001}", "(", r"\", "((a{100}){100}){100}", "[a"] {
            assert!(pattern(bad).is_err(), "{bad}");
        }
    }
}
