//! Conditions on labels, in the classic notation and in that for all of UTF-8.

use towpath_query::promql::{MatchOp, Matcher, quote};

/// The conditions of a text: `{a="b", "c d"=~"e.*"}`, the braces may be missing.
///
/// # Errors
/// What cannot be read, in a text.
pub fn parse_matchers(text: &str) -> Result<Vec<Matcher>, String> {
    let trimmed = text.trim();
    let inner = match trimmed.strip_prefix('{') {
        Some(rest) => rest.strip_suffix('}').ok_or("expected close brace")?,
        None => trimmed,
    };
    let mut matchers = Vec::new();
    for part in split(inner) {
        if !part.trim().is_empty() {
            matchers.push(one(part.trim())?);
        }
    }
    Ok(matchers)
}

/// Parts between commas that are not within quotes.
fn split(text: &str) -> Vec<&str> {
    let (mut quoted, mut escaped, mut start) = (false, false, 0);
    let mut parts = Vec::new();
    for (at, c) in text.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => quoted = !quoted,
            ',' if !quoted => {
                parts.push(&text[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    parts.push(&text[start..]);
    parts
}

fn one(text: &str) -> Result<Matcher, String> {
    let bad = || format!("bad matcher format: {text}");
    let (name, rest) = match text.strip_prefix('"') {
        Some(after) => {
            let end = end_of_quote(after).ok_or_else(bad)?;
            (unescape(&after[..end])?, after[end + 1..].trim_start())
        }
        None => {
            let end = text.find(['=', '!']).ok_or_else(bad)?;
            let name = text[..end].trim_end();
            let reserved = |c: char| c.is_whitespace() || "{}!=~,\\\"'`".contains(c);
            if name.is_empty() || name.contains(reserved) {
                return Err(bad());
            }
            (name.to_owned(), &text[end..])
        }
    };
    let operators = [
        ("=~", MatchOp::Regex),
        ("!~", MatchOp::NotRegex),
        ("!=", MatchOp::NotEqual),
        ("=", MatchOp::Equal),
    ];
    let found = operators
        .into_iter()
        .find_map(|(sign, op)| Some((op, rest.strip_prefix(sign)?.trim())));
    let (op, value) = found.ok_or_else(bad)?;
    let value = match value.strip_prefix('"') {
        Some(after) => {
            let inner = after
                .strip_suffix('"')
                .filter(|inner| end_of_quote(after) == Some(inner.len()));
            unescape(inner.ok_or_else(|| {
                format!("matcher value contains unescaped double quote: {value}")
            })?)?
        }
        None if value.contains('"') => {
            return Err(format!(
                "matcher value contains unescaped double quote: {value}"
            ));
        }
        None => unescape(value)?,
    };
    Matcher::new(name, op, value)
}

fn end_of_quote(text: &str) -> Option<usize> {
    let mut escaped = false;
    text.char_indices().find_map(|(at, c)| match c {
        _ if escaped => {
            escaped = false;
            None
        }
        '\\' => {
            escaped = true;
            None
        }
        '"' => Some(at),
        _ => None,
    })
}

fn unescape(text: &str) -> Result<String, String> {
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        if c != '\\' {
            out.push(c);
            continue;
        }
        match chars.next() {
            Some('n') => out.push('\n'),
            Some(c @ ('"' | '\\')) => out.push(c),
            // Other escapes, and one at the end, are what they look like.
            other => {
                out.push('\\');
                out.extend(other);
            }
        }
    }
    Ok(out)
}

/// Conditions in the order and the notation in which routes are named.
pub fn write_matchers(matchers: &[Matcher]) -> String {
    let mut parts: Vec<(&str, &str, &str)> = matchers
        .iter()
        .map(|m| (m.name.as_str(), m.value.as_str(), m.op.text()))
        .collect();
    parts.sort_unstable();
    let parts: Vec<String> = parts
        .into_iter()
        .map(|(name, value, op)| format!("{name}{op}{}", quote(value)))
        .collect();
    format!("{{{}}}", parts.join(","))
}
