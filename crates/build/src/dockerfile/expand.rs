//! Variable expansion, and the removal of quotes that goes with it.
//!
//! `$v ${v} ${v:-w} ${v-w} ${v:+w} ${v+w} ${v:?e} ${v?e} ${v#p} ${v##p} ${v%p} ${v%%p} ${v/a/b}
//! ${v//a/b}`; the escape character keeps the next one as it is; single quotes keep everything.

const DEPTH: usize = 24;
const OUTPUT_BYTES: usize = 1 << 20;

/// Where values come from.
pub(crate) type Lookup<'a> = &'a dyn Fn(&str) -> Option<String>;

/// One word: variables expanded, quotes and escapes taken away.
pub(crate) fn word(text: &str, escape: char, lookup: Lookup<'_>) -> Result<String, String> {
    Expander::new(text, escape, lookup, true).all()
}

/// Variables expanded, quotes and escapes kept: here-documents.
pub(crate) fn text(text: &str, escape: char, lookup: Lookup<'_>) -> Result<String, String> {
    Expander::new(text, escape, lookup, false).all()
}

/// Words separated by white space that was there before expansion; a word that vanishes goes.
pub(crate) fn words(text: &str, escape: char, lookup: Lookup<'_>) -> Result<Vec<String>, String> {
    let mut out = Vec::new();
    for part in super::words::split(text, escape) {
        let done = word(&part, escape, lookup)?;
        if !done.is_empty() || part.contains(['\'', '"']) {
            out.push(done);
        }
    }
    Ok(out)
}

struct Expander<'a> {
    chars: Vec<char>,
    at: usize,
    escape: char,
    lookup: Lookup<'a>,
    unquote: bool,
    depth: usize,
}

impl<'a> Expander<'a> {
    fn new(text: &str, escape: char, lookup: Lookup<'a>, unquote: bool) -> Self {
        Self {
            chars: text.chars().collect(),
            at: 0,
            escape,
            lookup,
            unquote,
            depth: 0,
        }
    }

    fn all(mut self) -> Result<String, String> {
        self.until(None)
    }

    fn next(&mut self) -> Option<char> {
        let c = self.chars.get(self.at).copied();
        self.at += usize::from(c.is_some());
        c
    }

    fn peek(&self) -> Option<char> {
        self.chars.get(self.at).copied()
    }

    // Up to a closing brace, or to the end.
    fn until(&mut self, stop: Option<char>) -> Result<String, String> {
        let mut out = String::new();
        while let Some(c) = self.peek() {
            if Some(c) == stop {
                return Ok(out);
            }
            self.at += 1;
            match c {
                '\'' if self.unquote => self.single(&mut out)?,
                '"' if self.unquote => self.double(&mut out)?,
                '$' => out.push_str(&self.variable()?),
                c if c == self.escape => {
                    let next = self.next();
                    match next {
                        Some(next) if self.unquote || next == '$' => out.push(next),
                        Some(next) => out.extend([c, next]),
                        None => out.push(c),
                    }
                }
                c => out.push(c),
            }
            if out.len() > OUTPUT_BYTES {
                return Err(format!("expands to more than {OUTPUT_BYTES} bytes"));
            }
        }
        match stop {
            Some(stop) => Err(format!("{stop:?} is missing")),
            None => Ok(out),
        }
    }

    fn single(&mut self, out: &mut String) -> Result<(), String> {
        while let Some(c) = self.next() {
            if c == '\'' {
                return Ok(());
            }
            out.push(c);
        }
        Err("a single quote is not closed".into())
    }

    fn double(&mut self, out: &mut String) -> Result<(), String> {
        while let Some(c) = self.next() {
            match c {
                '"' => return Ok(()),
                '$' => out.push_str(&self.variable()?),
                c if c == self.escape => match self.next() {
                    Some(next) if matches!(next, '"' | '$') || next == self.escape => {
                        out.push(next)
                    }
                    Some(next) => out.extend([c, next]),
                    None => out.push(c),
                },
                c => out.push(c),
            }
        }
        Err("a double quote is not closed".into())
    }

    // After `$`.
    fn variable(&mut self) -> Result<String, String> {
        if self.peek() == Some('{') {
            self.at += 1;
            self.depth += 1;
            if self.depth > DEPTH {
                return Err(format!("expansions are nested more than {DEPTH} deep"));
            }
            let value = self.braced()?;
            self.depth -= 1;
            return Ok(value);
        }
        let name = self.name();
        if name.is_empty() {
            return Ok("$".into());
        }
        Ok((self.lookup)(&name).unwrap_or_default())
    }

    fn name(&mut self) -> String {
        let mut name = String::new();
        while let Some(c) = self.peek() {
            if c.is_ascii_alphanumeric() || c == '_' {
                name.push(c);
                self.at += 1;
                // Positional names have one digit.
                if name.len() == 1 && c.is_ascii_digit() {
                    break;
                }
            } else {
                break;
            }
        }
        name
    }

    // After `${`.
    fn braced(&mut self) -> Result<String, String> {
        let name = self.name();
        if name.is_empty() {
            return Err("${…} has no name".into());
        }
        let value = (self.lookup)(&name);
        let Some(mut operator) = self.next() else {
            return Err("\"}\" is missing".into());
        };
        if operator == '}' {
            return Ok(value.unwrap_or_default());
        }
        let colon = operator == ':';
        if colon {
            operator = self.next().ok_or("\"}\" is missing")?;
        }
        let set = value.as_ref().is_some_and(|v| !colon || !v.is_empty());
        match operator {
            '-' | '+' | '?' => {
                let other = self.until(Some('}'))?;
                self.at += 1;
                match (operator, set) {
                    ('-', true) => Ok(value.unwrap_or_default()),
                    ('-', false) | ('+', true) => Ok(other),
                    ('+', false) => Ok(String::new()),
                    (_, true) => Ok(value.unwrap_or_default()),
                    (_, false) if other.is_empty() => Err(format!("{name} is not set")),
                    (_, false) => Err(format!("{name}: {other}")),
                }
            }
            '#' | '%' if !colon => {
                let greedy = self.peek() == Some(operator);
                self.at += usize::from(greedy);
                let pattern = self.until(Some('}'))?;
                self.at += 1;
                let value = value.unwrap_or_default();
                Ok(if operator == '#' {
                    strip_prefix(&value, &pattern, greedy)
                } else {
                    strip_suffix(&value, &pattern, greedy)
                })
            }
            '/' if !colon => {
                let all = self.peek() == Some('/');
                self.at += usize::from(all);
                let pattern = self.pattern()?;
                let by = if self.peek() == Some('/') {
                    self.at += 1;
                    self.until(Some('}'))?
                } else {
                    String::new()
                };
                if self.next() != Some('}') {
                    return Err("\"}\" is missing".into());
                }
                replace(&value.unwrap_or_default(), &pattern, &by, all)
            }
            other => Err(format!(
                "${{{name}{}{other}…}} is not a known form",
                if colon { ":" } else { "" }
            )),
        }
    }

    // Up to an unescaped `/` or `}`.
    fn pattern(&mut self) -> Result<String, String> {
        let mut out = String::new();
        while let Some(c) = self.peek() {
            match c {
                '/' | '}' => return Ok(out),
                '$' => {
                    self.at += 1;
                    out.push_str(&self.variable()?);
                    continue;
                }
                c if c == self.escape => {
                    self.at += 1;
                    match self.next() {
                        Some('/') => out.push('/'),
                        Some(next) => out.extend(['\\', next]),
                        None => {}
                    }
                    continue;
                }
                c => out.push(c),
            }
            self.at += 1;
        }
        Err("\"}\" is missing".into())
    }
}

// A shell pattern: `*`, `?`, `\` before any character. Linear in pattern times text.
fn matches(pattern: &[char], text: &[char]) -> bool {
    let (mut p, mut t) = (0, 0);
    let mut back: Option<(usize, usize)> = None;
    while t < text.len() {
        let step = match pattern.get(p) {
            Some('*') => {
                back = Some((p, t));
                p += 1;
                continue;
            }
            Some('?') => Some(1),
            Some('\\') if pattern.get(p + 1) == Some(&text[t]) => Some(2),
            Some(c) if *c != '\\' && *c == text[t] => Some(1),
            _ => None,
        };
        match (step, back) {
            (Some(step), _) => {
                p += step;
                t += 1;
            }
            (None, Some((star, from))) => {
                back = Some((star, from + 1));
                p = star + 1;
                t = from + 1;
            }
            (None, None) => return false,
        }
    }
    pattern[p..].iter().all(|c| *c == '*')
}

const PATTERN_TEXT: usize = 4096;

fn strip_prefix(value: &str, pattern: &str, greedy: bool) -> String {
    let (text, pattern): (Vec<char>, Vec<char>) =
        (value.chars().collect(), pattern.chars().collect());
    if text.len() > PATTERN_TEXT {
        return value.to_string();
    }
    let fits = |end: &usize| matches(&pattern, &text[..*end]);
    let end = if greedy {
        (0..=text.len()).rev().find(fits)
    } else {
        (0..=text.len()).find(fits)
    };
    text[end.unwrap_or(0)..].iter().collect()
}

fn strip_suffix(value: &str, pattern: &str, greedy: bool) -> String {
    let (text, pattern): (Vec<char>, Vec<char>) =
        (value.chars().collect(), pattern.chars().collect());
    if text.len() > PATTERN_TEXT {
        return value.to_string();
    }
    let fits = |start: &usize| matches(&pattern, &text[*start..]);
    let start = if greedy {
        (0..=text.len()).find(fits)
    } else {
        (0..=text.len()).rev().find(fits)
    };
    text[..start.unwrap_or(text.len())].iter().collect()
}

fn replace(value: &str, pattern: &str, by: &str, all: bool) -> Result<String, String> {
    let (text, pattern): (Vec<char>, Vec<char>) =
        (value.chars().collect(), pattern.chars().collect());
    if text.len() > PATTERN_TEXT || pattern.is_empty() {
        return Ok(value.to_string());
    }
    let (mut out, mut at, mut done) = (String::new(), 0, false);
    while at < text.len() {
        // The longest match here, as shells do; an empty one replaces nothing.
        let end = if done && !all {
            None
        } else {
            (at + 1..=text.len())
                .rev()
                .find(|end| matches(&pattern, &text[at..*end]))
        };
        match end {
            Some(end) => {
                out.push_str(by);
                at = end;
                done = true;
            }
            None => {
                out.push(text[at]);
                at += 1;
            }
        }
        if out.len() > OUTPUT_BYTES {
            return Err(format!("expands to more than {OUTPUT_BYTES} bytes"));
        }
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn lookup(name: &str) -> Option<String> {
        match name {
            "v" => Some("value".into()),
            "e" => Some(String::new()),
            "p" => Some("/usr/local/bin/tool.tar.gz".into()),
            _ => None,
        }
    }

    proptest! {
        #[test]
        fn any_text_ends_without_panic(text in r#"[$\{\}a-z:/#%?*+'"\\ -]{0,80}"#) {
            let _ = word(&text, '\\', &lookup);
            let _ = words(&text, '`', &lookup);
            let _ = super::text(&text, '\\', &lookup);
        }
    }

    // The corpus: `input => output`, or `input =! part of the error`.
    #[test]
    fn corpus() {
        let corpus = include_str!("../../tests/corpus/expand/forms.txt");
        for (index, line) in corpus
            .lines()
            .enumerate()
            .filter(|(_, l)| !l.is_empty() && !l.starts_with("# "))
        {
            let result = |input: &str| word(input, '\\', &lookup);
            if let Some((input, wanted)) = line.split_once(" => ") {
                assert_eq!(result(input).as_deref(), Ok(wanted), "line {}", index + 1);
            } else if let Some((input, part)) = line.split_once(" =! ") {
                let error = result(input).expect_err(input);
                assert!(error.contains(part), "line {}: {error}", index + 1);
            } else {
                panic!("line {}: {line}", index + 1);
            }
        }
    }
}
