//! `.dockerignore`: which paths of a context do not exist for a build; pure.
//!
//! The last pattern that matches a path, or a directory above it, decides. `*` and `?` stay
//! within a component, `**` does not; `!` takes a path back in.

use regex::{Regex, RegexBuilder};

const PATTERNS: usize = 10_000;

/// The rules of one file.
#[derive(Debug, Default)]
pub(crate) struct Ignore {
    rules: Vec<(Regex, bool)>,
    any_negated: bool,
}

impl Ignore {
    /// Reads a file. A pattern that cannot be read is an error with its line.
    pub(crate) fn parse(text: &str) -> Result<Self, (u32, String)> {
        let mut rules = Vec::new();
        for (index, line) in text.trim_start_matches('\u{feff}').lines().enumerate() {
            let at = index as u32 + 1;
            if line.starts_with('#') {
                continue;
            }
            let line = line.trim();
            let (negated, pattern) = match line.strip_prefix('!') {
                Some(rest) => (true, rest.trim()),
                None => (false, line),
            };
            let pattern = clean(pattern);
            if pattern.is_empty() {
                continue;
            }
            if rules.len() >= PATTERNS {
                return Err((at, format!("more than {PATTERNS} patterns")));
            }
            rules.push((compile(&pattern).map_err(|message| (at, message))?, negated));
        }
        let any_negated = rules.iter().any(|(_, negated)| *negated);
        Ok(Self { rules, any_negated })
    }

    /// Whether a path (relative, `/`-separated) is left out.
    pub(crate) fn excludes(&self, path: &str) -> bool {
        let mut excluded = false;
        for (rule, negated) in &self.rules {
            if excluded != *negated {
                continue;
            }
            if rule.is_match(path) || above(path).any(|parent| rule.is_match(parent)) {
                excluded = !negated;
            }
        }
        excluded
    }

    /// Whether nothing below an excluded directory can come back.
    pub(crate) fn prunes(&self, directory: &str) -> bool {
        !self.any_negated && self.excludes(directory)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }
}

fn above(path: &str) -> impl Iterator<Item = &str> {
    path.match_indices('/').map(|(at, _)| &path[..at])
}

// Without leading slash, `.` components and what `..` takes back.
fn clean(pattern: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in pattern.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    parts.join("/")
}

/// A pattern as a regular expression over whole paths.
pub(crate) fn compile(pattern: &str) -> Result<Regex, String> {
    let mut text = String::from("^");
    let chars: Vec<char> = pattern.chars().collect();
    let mut at = 0;
    while at < chars.len() {
        match chars[at] {
            '*' if chars.get(at + 1) == Some(&'*') => {
                at += 1;
                if chars.get(at + 1) == Some(&'/') {
                    at += 1;
                    text.push_str("(?:.*/)?");
                } else {
                    text.push_str(".*");
                }
            }
            '*' => text.push_str("[^/]*"),
            '?' => text.push_str("[^/]"),
            '[' => {
                let close = chars[at + 1..]
                    .iter()
                    .position(|c| *c == ']')
                    .ok_or("\"[\" is not closed")?;
                let class: String = chars[at + 1..at + 1 + close].iter().collect();
                let (negated, class) = match class.strip_prefix(['^', '!']) {
                    Some(rest) => ("^/", rest.to_string()),
                    None => ("", class),
                };
                if class.is_empty() {
                    return Err("\"[]\" is empty".into());
                }
                let escaped: String = class
                    .chars()
                    .flat_map(|c| {
                        if matches!(c, '[' | '&' | '~' | '\\' | '^') {
                            vec!['\\', c]
                        } else {
                            vec![c]
                        }
                    })
                    .collect();
                text.push_str(&format!("[{negated}{escaped}]"));
                at += close + 1;
            }
            '\\' if at + 1 < chars.len() => {
                at += 1;
                text.push_str(&regex::escape(&chars[at].to_string()));
            }
            c => text.push_str(&regex::escape(&c.to_string())),
        }
        at += 1;
    }
    text.push('$');
    RegexBuilder::new(&text)
        .size_limit(1 << 20)
        .dot_matches_new_line(true)
        .build()
        .map_err(|_| format!("{pattern:?} is not a pattern"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    // A corpus file: patterns, `---`, then `+ path` (kept) or `- path` (left out).
    #[test]
    fn corpus() {
        let dir = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus/ignore");
        let mut cases = 0;
        for entry in std::fs::read_dir(dir).expect("corpus") {
            let path = entry.expect("entry").path();
            let text = std::fs::read_to_string(&path).expect("case");
            let (patterns, paths) = text.split_once("---\n").expect("separator");
            let ignore = Ignore::parse(patterns).expect("patterns");
            for line in paths.lines() {
                let (kept, name) = line.split_once(' ').expect("line");
                assert_eq!(
                    ignore.excludes(name),
                    kept == "-",
                    "{}: {name}",
                    path.display()
                );
                cases += 1;
            }
        }
        assert!(cases > 20);
    }

    proptest! {
        #[test]
        fn any_patterns_end_without_panic(text in r"[a-c*?/!#\[\]\\. \n^-]{0,60}", path in "[a-c/.]{0,20}") {
            if let Ok(ignore) = Ignore::parse(&text) {
                ignore.excludes(&path);
            }
        }
    }
}
