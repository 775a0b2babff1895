//! Regular expressions as Go reads them: `\w`, `\d`, `\s` and `\b` know ASCII only, and within
//! brackets only few characters are special.

use regex::Regex;
use towpath_query::promql::quote;

/// Largest program of an expression, in bytes.
const MAX_BYTES: usize = 1 << 20;

/// An expression that has to match from end to end.
pub(super) fn anchored(text: &str) -> Result<Regex, String> {
    regex::RegexBuilder::new(&format!("^(?s:{})$", translated(text)))
        .size_limit(MAX_BYTES)
        .build()
        .map_err(|error| format!("error parsing regexp {}: {error}", quote(text)))
}

fn translated(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars().peekable();
    // How many characters of the brackets were seen; none outside of them.
    let mut inside: Option<usize> = None;
    while let Some(c) = chars.next() {
        let first = inside == Some(0);
        if let Some(seen) = &mut inside {
            *seen += usize::from(!(*seen == 0 && c == '^'));
        }
        match (c, inside) {
            ('\\', _) => match (chars.next(), inside.is_some()) {
                (Some('d'), _) => out.push_str("[0-9]"),
                (Some('D'), _) => out.push_str("[^0-9]"),
                (Some('w'), _) => out.push_str("[0-9A-Za-z_]"),
                (Some('W'), _) => out.push_str("[^0-9A-Za-z_]"),
                (Some('s'), _) => out.push_str("[\\t\\n\\f\\r ]"),
                (Some('S'), _) => out.push_str("[^\\t\\n\\f\\r ]"),
                (Some(edge @ ('b' | 'B')), false) => {
                    out.push_str("(?-u:\\");
                    out.push(edge);
                    out.push(')');
                }
                (Some('Q'), false) => literal(&mut chars, &mut out),
                (Some(other), _) => out.extend(['\\', other]),
                (None, _) => out.push('\\'),
            },
            ('[', None) => {
                inside = Some(0);
                out.push('[');
            }
            ('[', Some(_)) if chars.peek() == Some(&':') => out.push('['),
            // A closing bracket that comes first is one of the characters.
            (']', Some(_)) if first => out.push_str("\\]"),
            (']', Some(_)) => {
                // That of a named class such as `[:alpha:]` ends only the class.
                if !out.ends_with(':') {
                    inside = None;
                }
                out.push(']');
            }
            ('[' | '&' | '~', Some(_)) => out.extend(['\\', c]),
            _ => out.push(c),
        }
    }
    out
}

/// What stands between `\Q` and `\E`.
fn literal(chars: &mut std::iter::Peekable<std::str::Chars<'_>>, out: &mut String) {
    while let Some(c) = chars.next() {
        if c == '\\' && chars.peek() == Some(&'E') {
            chars.next();
            return;
        }
        out.push_str(&regex::escape(c.encode_utf8(&mut [0; 4])));
    }
}

#[cfg(test)]
mod tests {
    use super::anchored;

    #[test]
    fn as_go_reads_them() {
        let is = |pattern: &str, text: &str| anchored(pattern).is_ok_and(|own| own.is_match(text));
        assert!(is(r"\w+", "abc_1") && !is(r"\w+", "ä"));
        assert!(is(r"[\w.]+", "a.b") && !is(r"[\d]", "٣"));
        assert!(is("[]a]+", "]a") && is("[^]a]", "b") && is("[[a]+", "[a"));
        assert!(is("[[:alpha:]]+", "ab") && is("[a&&b]+", "&a"));
        assert!(is(r"\Qa.b\E+", "a.bb") && !is(r"\Qa.b\E", "axb"));
        assert!(is(r".*\bfoo\b.*", "a foo b") && is("a.b", "a\nb"));
        assert!(anchored("(").is_err());
    }
}
