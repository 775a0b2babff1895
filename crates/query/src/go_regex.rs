//! Regular expressions of Go, which are nearly those of this language's library: in every query
//! language here, in templates and in relabelling they mean what they mean there.
//!
//! What differs is rewritten: `\w`, `\d`, `\s` and `\b` know ASCII only, a bracket or a brace that
//! begins nothing is itself, and brackets have no operators. What would be large is refused.

use regex::{Regex, RegexBuilder};

/// Go's bound of `{n}`.
const REPEATS: u32 = 1000;
/// Brackets within brackets.
const NESTED: u32 = 250;

/// An expression that may match anywhere. Its program is at most so many bytes long.
///
/// # Errors
/// It is none, or too large, in the words of Go's own error.
pub fn anywhere(source: &str, max_bytes: usize) -> Result<Regex, String> {
    build(&rewrite(source).map_err(said)?, max_bytes).map_err(said)
}

/// An expression that must match the whole text, `.` matching ends of lines, too, as conditions on
/// labels do.
///
/// # Errors
/// It is none, or too large.
pub fn whole(source: &str, max_bytes: usize) -> Result<Regex, String> {
    let inner = rewrite(source).map_err(said)?;
    build(&format!("^(?s:{inner})$"), max_bytes).map_err(said)
}

fn said(why: impl std::fmt::Display) -> String {
    format!("error parsing regexp: {why}")
}

fn build(rewritten: &str, max_bytes: usize) -> Result<Regex, regex::Error> {
    RegexBuilder::new(rewritten)
        .size_limit(max_bytes)
        .nest_limit(NESTED)
        .build()
}

/// The expression in the library's spelling.
pub(crate) fn rewrite(source: &str) -> Result<String, String> {
    let mut out = String::with_capacity(source.len() + 16);
    let mut class = false;
    let mut class_start = false;
    let mut rest = source.chars().peekable();
    while let Some(c) = rest.next() {
        let first = std::mem::take(&mut class_start);
        match c {
            '\\' => escape(&mut rest, class, &mut out)?,
            '[' if !class => {
                class = true;
                class_start = true;
                out.push('[');
                if rest.peek() == Some(&'^') {
                    rest.next();
                    out.push('^');
                }
            }
            '[' if is_named_class(&rest) => {
                out.push('[');
                for c in rest.by_ref() {
                    out.push(c);
                    if c == ']' {
                        break;
                    }
                }
            }
            '[' => out.push_str("\\["),
            ']' if class && first => out.push_str("\\]"),
            ']' if class => {
                class = false;
                out.push(']');
            }
            '&' | '~' if class && rest.peek() == Some(&c) => out.extend(['\\', c]),
            // Two of them would be an operator of the library.
            '-' if class && rest.peek() == Some(&'-') => {
                if first {
                    out.push_str("\\-");
                } else {
                    rest.next();
                    out.push_str("-\\-");
                }
            }
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
            '(' if !class => {
                flags(&rest)?;
                out.push('(');
            }
            _ => out.push(c),
        }
    }
    Ok(out)
}

type Rest<'a> = std::iter::Peekable<std::str::Chars<'a>>;

/// What follows a backslash.
fn escape(rest: &mut Rest<'_>, class: bool, out: &mut String) -> Result<(), String> {
    let Some(next) = rest.next() else {
        return Err("trailing backslash at end of expression".into());
    };
    match (next, class) {
        ('d', false) => out.push_str("[0-9]"),
        ('D', _) => out.push_str("[^0-9]"),
        ('w', false) => out.push_str("[0-9A-Za-z_]"),
        ('W', _) => out.push_str("[^0-9A-Za-z_]"),
        ('s', false) => out.push_str("[\\t\\n\\f\\r ]"),
        ('S', _) => out.push_str("[^\\t\\n\\f\\r ]"),
        ('d', true) => out.push_str("0-9"),
        ('w', true) => out.push_str("0-9A-Za-z_"),
        ('s', true) => out.push_str("\\t\\n\\f\\r "),
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
        ('Z' | 'G' | 'C', false) => {
            return Err(format!("invalid escape sequence: `\\{next}`"));
        }
        ('p' | 'P' | 'x', _) => {
            out.extend(['\\', next]);
            if rest.peek() == Some(&'{') {
                for c in rest.by_ref() {
                    out.push(c);
                    if c == '}' {
                        break;
                    }
                }
            }
        }
        // The library knows some as the beginning and the end of a word.
        ('<' | '>', _) => out.push(next),
        _ => out.extend(['\\', next]),
    }
    Ok(())
}

/// Whether `:name:]` follows.
fn is_named_class(rest: &Rest<'_>) -> bool {
    let mut ahead = rest.clone();
    if ahead.next() != Some(':') {
        return false;
    }
    let mut name = ahead.skip_while(|c| c.is_ascii_alphabetic() || *c == '^');
    name.next() == Some(':') && name.next() == Some(']')
}

/// Refuses flags that only the library knows.
fn flags(rest: &Rest<'_>) -> Result<(), String> {
    let mut ahead = rest.clone();
    if ahead.next() != Some('?') {
        return Ok(());
    }
    let flags: String = ahead
        .take_while(|c| c.is_ascii_alphabetic() || *c == '-')
        .take(16)
        .collect();
    let named = flags == "P";
    if named || flags.chars().all(|c| "imsU-".contains(c)) {
        return Ok(());
    }
    Err(format!("invalid or unsupported Perl syntax: `(?{flags}`"))
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

    const BYTES: usize = 1 << 20;

    #[test]
    fn as_go_reads_them() {
        for (source, text, wanted) in [
            (r"^\d+$", "12", true),
            (r"^\d+$", "\u{0661}", false),
            (r"^\w+$", "ä", false),
            (r"^[^\w]+$", "ä", true),
            (r"[[]", "[", true),
            (r"[]a]", "]", true),
            (r"^[^]a]$", "b", true),
            (r"^[a:]+$", "a:", true),
            (r"^[[:a]+$", "[:", true),
            (r"^[a&&b]+$", "&a", true),
            (r"^[+--]+$", "+,-", true),
            (r"a{,2}", "a{,2}", true),
            (r"^{a}$", "{a}", true),
            (r"^a{1,2}$", "aa", true),
            (r"[\w.-]+", "a-b", true),
            (r"^\<b\>$", "<b>", true),
            (r"\Qa.b\E", "axb", false),
            (r"^\Qa.b\E+$", "a.bb", true),
            (r"[[:alpha:]]", "x", true),
            (r"^[[:^digit:]_]+$", "x", true),
            (r"\bfoo\b", "a foo b", true),
            (r"^\p{Greek}+[\p{Lu}]\x{41}$", "\u{3b1}BA", true),
            (r"(?i)^FOO$", "foo", true),
            (r"^(?P<n>a)(?<m>b)(?:c)$", "abc", true),
            ("^a.b$", "a\nb", false),
        ] {
            let found = anywhere(source, BYTES).expect(source);
            assert_eq!(found.is_match(text), wanted, "{source}");
        }
        let end_to_end =
            |source: &str, text: &str| whole(source, BYTES).is_ok_and(|found| found.is_match(text));
        assert!(end_to_end("a.b", "a\nb") && !end_to_end("a", "ab"));
        assert!(end_to_end("a|b", "b") && !end_to_end("a|b", "xb"));
    }

    #[test]
    fn what_go_refuses_and_what_is_too_large() {
        for bad in [
            "a{1001}",
            "(",
            r"\",
            "((a{100}){100}){100}",
            "[a",
            "(?x)a b",
            "(?R)a",
            "(?=a)",
            r"\Z",
            "*a",
            r"\p{Nothing}",
        ] {
            assert!(anywhere(bad, BYTES).is_err(), "{bad}");
            assert!(whole(bad, BYTES).is_err(), "{bad}");
        }
        let deep = format!("{}a{}", "(".repeat(1000), ")".repeat(1000));
        assert!(anywhere(&deep, BYTES).is_err());
        // A Unicode class over and over.
        let wide = r"\pL{900}".repeat(20);
        assert!(anywhere(&wide, BYTES).is_err());
    }

    proptest::proptest! {
        #[test]
        fn nothing_panics(source in r"[\\\[\](){}^$a-c0-9:&~<>,?*+|.\-]{0,24}") {
            if let Ok(found) = anywhere(&source, BYTES) {
                found.is_match("abc{}[]");
            }
            let _ = whole(&source, BYTES);
        }

        #[test]
        fn what_is_quoted_is_itself(text in r"[^\\]{0,12}") {
            let found = whole(&format!(r"\Q{text}\E"), BYTES);
            proptest::prop_assert!(found.is_ok_and(|found| found.is_match(&text)));
        }
    }
}
