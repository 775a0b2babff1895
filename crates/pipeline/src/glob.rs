//! The patterns of `branches`, `tags` and `paths`: GitHub's, which are neither shell globs nor
//! regular expressions. `*` stops at `/`, `**` does not, `?` and `+` repeat the character before
//! them, `[]` is a class, a leading `!` takes back. The last pattern that matches decides.

use regex::Regex;

/// A list of patterns in order.
#[derive(Clone, Debug, Default)]
pub struct Patterns(Vec<(bool, Regex)>);

impl Patterns {
    /// Reads patterns; a problem names the first that cannot be read.
    pub fn new<'a>(patterns: impl IntoIterator<Item = &'a str>) -> Result<Self, String> {
        let mut out = Vec::new();
        for pattern in patterns {
            let (wanted, body) = match pattern.strip_prefix('!') {
                Some(rest) => (false, rest),
                None => (true, pattern),
            };
            out.push((wanted, compile(body)?));
        }
        Ok(Self(out))
    }

    /// Whether the text is selected.
    pub fn matches(&self, text: &str) -> bool {
        self.0
            .iter()
            .rev()
            .find(|(_, regex)| regex.is_match(text))
            .is_some_and(|(wanted, _)| *wanted)
    }

    /// Whether there is no pattern.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

fn compile(pattern: &str) -> Result<Regex, String> {
    if pattern.len() > 1000 {
        return Err("the pattern is longer than 1,000 characters".into());
    }
    let mut out = String::from("^");
    let chars: Vec<char> = pattern.chars().collect();
    let mut i = 0;
    while i < chars.len() {
        let segment_start = i == 0 || chars[i - 1] == '/';
        match chars[i] {
            '*' if chars.get(i + 1) == Some(&'*') => {
                i += 1;
                if segment_start && chars.get(i + 1) == Some(&'/') {
                    i += 1;
                    out.push_str("(?:.*/)?");
                } else {
                    out.push_str(".*");
                }
            }
            '*' => out.push_str("[^/]*"),
            repeat @ ('?' | '+') if i > 0 && !matches!(chars[i - 1], '*' | '?' | '+') => {
                out.push(repeat)
            }
            repeat @ ('?' | '+') => {
                return Err(format!(
                    "{repeat:?} in {pattern:?} has no character before it to repeat"
                ));
            }
            '[' => {
                let close = chars[i..].iter().position(|c| *c == ']').map(|n| n + i);
                let close = close.ok_or_else(|| format!("\"[\" in {pattern:?} is not closed"))?;
                out.push('[');
                for c in &chars[i + 1..close] {
                    if matches!(c, '\\' | '[' | '^' | '&' | '~') {
                        out.push('\\');
                    }
                    out.push(*c);
                }
                out.push(']');
                i = close;
            }
            '\\' if i + 1 < chars.len() => {
                i += 1;
                out.push_str(&regex::escape(&chars[i].to_string()));
            }
            c => out.push_str(&regex::escape(&c.to_string())),
        }
        i += 1;
    }
    out.push('$');
    regex::RegexBuilder::new(&out)
        .size_limit(1 << 20)
        .dot_matches_new_line(true)
        .build()
        .map_err(|_| format!("{pattern:?} is not a valid pattern"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_as_documented() {
        for (patterns, text, expected) in [
            (&["feature/*"][..], "feature/a", true),
            (&["feature/*"], "feature/a/b", false),
            (&["feature/**"], "feature/a/b", true),
            (&["*"], "a/b", false),
            (&["**"], "a/b", true),
            (&["v2*"], "v2.0", true),
            (&["v[12].[0-9]+.[0-9]+"], "v1.10.1", true),
            (&["v[12].[0-9]+.[0-9]+"], "v3.1.1", false),
            (&["*.jsx?"], "page.js", true),
            (&["*.jsx?"], "page.jsx", true),
            (&["**/docs/**"], "docs/a.md", true),
            (&["**/docs/**"], "x/y/docs/a.md", true),
            (&["**.js"], "src/js/app.js", true),
            (&["*.js"], "src/app.js", false),
            (
                &["releases/**", "!releases/**-alpha"],
                "releases/1-alpha",
                false,
            ),
            (&["releases/**", "!releases/**-alpha"], "releases/1", true),
            (&["!a", "a"], "a", true),
            (&["a.b"], "axb", false),
        ] {
            let read = Patterns::new(patterns.iter().copied()).unwrap();
            assert_eq!(read.matches(text), expected, "{patterns:?} {text}");
        }
        assert!(Patterns::new(["+a"]).is_err());
        assert!(Patterns::new(["[a"]).is_err());
    }
}
