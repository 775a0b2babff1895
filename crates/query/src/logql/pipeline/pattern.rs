//! Patterns: literal texts with places between them, `<ip> - <_> "<method> <path>"`.

use super::LineLabels;
use super::labels::is_name;

#[derive(Clone, Debug, PartialEq)]
enum Part {
    Literal(String),
    /// A place; `None` for `<_>`.
    Place(Option<String>),
}

/// A pattern.
#[derive(Clone, Debug)]
pub(super) struct Pattern(Vec<Part>);

fn parse(text: &str) -> Result<Vec<Part>, String> {
    let mut parts: Vec<Part> = Vec::new();
    let mut rest = text;
    let mut literal = String::new();
    while !rest.is_empty() {
        let name = rest
            .strip_prefix('<')
            .and_then(|inner| inner.split_once('>'))
            .map(|(name, _)| name)
            .filter(|name| is_name(name));
        let Some(name) = name else {
            let open = rest.char_indices().skip(1).find(|(_, c)| *c == '<');
            let end = open.map_or(rest.len(), |(at, _)| at);
            literal.push_str(&rest[..end]);
            rest = &rest[end..];
            continue;
        };
        if !literal.is_empty() {
            parts.push(Part::Literal(std::mem::take(&mut literal)));
        }
        if matches!(parts.last(), Some(Part::Place(_))) {
            return Err(format!(
                "invalid pattern {text:?}: found consecutive capture '<{name}>'"
            ));
        }
        parts.push(Part::Place((name != "_").then(|| name.to_owned())));
        rest = &rest[name.len() + 2..];
    }
    if !literal.is_empty() {
        parts.push(Part::Literal(literal));
    }
    if parts.is_empty() {
        return Err("empty pattern".to_owned());
    }
    Ok(parts)
}

impl Pattern {
    /// The pattern of the stage `pattern`: at least one place has a name, no name comes twice.
    pub(super) fn parser(text: &str) -> Result<Self, String> {
        let parts = parse(text)?;
        let mut names: Vec<&str> = parts
            .iter()
            .filter_map(|part| match part {
                Part::Place(Some(name)) => Some(name.as_str()),
                _ => None,
            })
            .collect();
        if names.is_empty() {
            return Err(format!(
                "invalid pattern {text:?}: at least one capture is required"
            ));
        }
        names.sort_unstable();
        if names.windows(2).any(|pair| pair[0] == pair[1]) {
            return Err(format!("invalid pattern {text:?}: duplicate capture name"));
        }
        Ok(Self(parts))
    }

    /// The pattern of a line filter: places have no names.
    pub(super) fn filter(text: &str) -> Result<Self, String> {
        let parts = parse(text)?;
        if let Some(Part::Place(Some(name))) = parts
            .iter()
            .find(|part| matches!(part, Part::Place(Some(_))))
        {
            return Err(format!("named captures are not allowed: <{name}>"));
        }
        Ok(Self(parts))
    }

    /// Adds what stands in the places, up to the first literal that is not found.
    pub(super) fn extract(&self, line: &str, labels: &mut LineLabels) {
        let mut rest = line;
        let mut parts = self.0.iter().peekable();
        while let Some(part) = parts.next() {
            match part {
                Part::Literal(literal) => match rest.strip_prefix(literal.as_str()) {
                    Some(after) => rest = after,
                    None => return,
                },
                Part::Place(name) => {
                    let found = match parts.peek() {
                        Some(Part::Literal(literal)) => match rest.find(literal.as_str()) {
                            Some(at) => &rest[..at],
                            None => return,
                        },
                        _ => rest,
                    };
                    if let Some(name) = name {
                        labels.extract(name, found);
                    }
                    rest = &rest[found.len()..];
                }
            }
        }
    }

    /// Whether the whole line has the form of the pattern. Places are as short as they can be,
    /// but the last literal stands at the end of the line.
    pub(super) fn matches(&self, line: &str) -> bool {
        let mut rest = line;
        let mut open = false;
        for (at, part) in self.0.iter().enumerate() {
            match part {
                Part::Place(_) => open = true,
                Part::Literal(literal) => {
                    let last = at + 1 == self.0.len();
                    let after = if last && open {
                        rest.strip_suffix(literal.as_str()).map(|_| "")
                    } else if open {
                        rest.find(literal.as_str())
                            .map(|at| &rest[at + literal.len()..])
                    } else {
                        rest.strip_prefix(literal.as_str())
                    };
                    let Some(after) = after else { return false };
                    rest = after;
                    open = false;
                }
            }
        }
        open || rest.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places() {
        let pattern = Pattern::parser("<ip> - \"<method> <_>\" <status>").expect("a pattern");
        let mut labels = LineLabels::default();
        pattern.extract("10.0.0.1 - \"GET /a\" 200", &mut labels);
        let pairs = labels.into_pairs();
        let texts: Vec<_> = pairs.iter().map(|(n, v)| format!("{n}={v}")).collect();
        assert_eq!(texts, ["ip=10.0.0.1", "method=GET", "status=200"]);
        assert!(Pattern::parser("<a><b>").is_err());
        assert!(Pattern::parser("abc").is_err());
        assert!(Pattern::parser("é<a>").is_ok());
    }

    #[test]
    fn whole_lines() {
        let matches = |pattern: &str, line: &str| Pattern::filter(pattern).map(|p| p.matches(line));
        assert_eq!(matches("a <_> c", "a b c"), Ok(true));
        assert_eq!(matches("a <_> c", "a b c d"), Ok(false));
        assert_eq!(matches("a <_>", "a b c d"), Ok(true));
        assert_eq!(matches("<_> c", "a c b c"), Ok(true));
        assert!(matches("<name>", "x").is_err());
    }
}
