//! Physical lines to logical ones.

use super::{FILE_BYTES, Findings, INSTRUCTIONS, Place};

/// A here-document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Heredoc {
    pub(crate) name: String,
    pub(crate) content: String,
    /// Whether variables are expanded in it: the delimiter was not quoted.
    pub(crate) expand: bool,
    /// `<<-`: leading tabs go.
    pub(crate) strip_tabs: bool,
}

/// One instruction as text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Line {
    pub(crate) place: Place,
    /// Continuations joined, comments within gone.
    pub(crate) text: String,
    pub(crate) heredocs: Vec<Heredoc>,
}

#[derive(Debug)]
pub(crate) struct Split {
    pub(crate) escape: char,
    pub(crate) lines: Vec<Line>,
}

/// Splits a file; directives count only before anything else.
pub(crate) fn split(text: &str, findings: &mut Findings) -> Split {
    let mut split = Split {
        escape: '\\',
        lines: Vec::new(),
    };
    let start = Place { line: 1, column: 1 };
    if text.len() > FILE_BYTES {
        findings.error(
            start,
            "too-large",
            format!("a Dockerfile may have {FILE_BYTES} bytes"),
        );
        return split;
    }
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    if text.contains('\0') {
        findings.error(start, "binary", "the file holds NUL bytes; it is not text");
        return split;
    }
    let physical: Vec<&str> = text.lines().collect();
    split.escape = directives(&physical, findings);
    let mut at = 0;
    while at < physical.len() {
        let first = physical[at].trim_start();
        if first.trim().is_empty() || first.starts_with('#') {
            at += 1;
            continue;
        }
        if split.lines.len() >= INSTRUCTIONS {
            let place = Place {
                line: at as u32 + 1,
                column: 1,
            };
            findings.error(
                place,
                "too-many",
                format!("a Dockerfile may have {INSTRUCTIONS} instructions"),
            );
            break;
        }
        let line = logical(&physical, &mut at, split.escape, findings);
        split.lines.push(line);
    }
    split
}

// `# key=value` lines at the very top; the first line that is not one ends them.
fn directives(physical: &[&str], findings: &mut Findings) -> char {
    let mut escape = '\\';
    let mut seen: Vec<String> = Vec::new();
    for (index, line) in physical.iter().enumerate() {
        let Some(rest) = line.trim_start().strip_prefix('#') else {
            break;
        };
        let Some((key, value)) = rest.split_once('=') else {
            break;
        };
        let (key, value) = (key.trim().to_ascii_lowercase(), value.trim());
        let place = Place {
            line: index as u32 + 1,
            column: 1,
        };
        if !matches!(key.as_str(), "escape" | "syntax" | "check") {
            break;
        }
        if seen.contains(&key) {
            findings.error(
                place,
                "directive",
                format!("directive {key} is given twice"),
            );
        }
        match (key.as_str(), value) {
            ("escape", "\\" | "`") => escape = value.chars().next().unwrap_or('\\'),
            ("escape", _) => findings.error(place, "directive", "escape is either \\ or `"),
            // The dialect here is the one the usual frontend images speak; they are not run.
            ("syntax", image)
                if !image.starts_with("docker/dockerfile")
                    && !image.starts_with("docker.io/docker/dockerfile") =>
            {
                findings.error(
                    place,
                    "syntax",
                    format!("frontend {image:?} is not supported"),
                );
            }
            _ => {}
        }
        seen.push(key);
    }
    escape
}

// One instruction starting at `at`, which is left behind its last line.
fn logical(physical: &[&str], at: &mut usize, escape: char, findings: &mut Findings) -> Line {
    let first = physical[*at];
    let column = (first.len() - first.trim_start().len()) as u32 + 1;
    let place = Place {
        line: *at as u32 + 1,
        column,
    };
    let mut text = String::new();
    let mut more = true;
    let mut warned = false;
    while more && *at < physical.len() {
        let line = physical[*at];
        let here = Place {
            line: *at as u32 + 1,
            column: 1,
        };
        *at += 1;
        let continued = !text.is_empty() || here.line > place.line;
        if continued && line.trim_start().starts_with('#') {
            continue;
        }
        if continued && line.trim().is_empty() {
            if !warned {
                findings.warning(
                    here,
                    "no-empty-continuation",
                    "empty line in a continued instruction",
                    "remove it",
                );
                warned = true;
            }
            continue;
        }
        let line = if continued { line } else { line.trim_start() };
        match continuation(line, escape) {
            Some(part) => text.push_str(part),
            None => {
                text.push_str(line);
                more = false;
            }
        }
    }
    let text = text.trim_end().to_string();
    let heredocs = heredocs(&text, physical, at, place, escape, findings);
    Line {
        place,
        text,
        heredocs,
    }
}

// The line without its final escape character, where it has one that is not escaped itself.
fn continuation(line: &str, escape: char) -> Option<&str> {
    let cut = line.trim_end_matches([' ', '\t']).strip_suffix(escape)?;
    (!cut.ends_with(escape)).then_some(cut)
}

fn heredocs(
    text: &str,
    physical: &[&str],
    at: &mut usize,
    place: Place,
    escape: char,
    findings: &mut Findings,
) -> Vec<Heredoc> {
    let keyword = text
        .split_whitespace()
        .next()
        .unwrap_or_default()
        .to_ascii_uppercase();
    let body = text.get(keyword.len()..).unwrap_or_default();
    let onbuild = keyword == "ONBUILD";
    if !matches!(keyword.as_str(), "RUN" | "COPY" | "ADD") && !onbuild
        || body.trim_start().starts_with('[')
    {
        return Vec::new();
    }
    let mut found = Vec::new();
    for mut heredoc in markers(body, escape) {
        let mut content = String::new();
        let mut closed = false;
        while *at < physical.len() {
            let line = physical[*at];
            *at += 1;
            let line = if heredoc.strip_tabs {
                line.trim_start_matches('\t')
            } else {
                line
            };
            if line == heredoc.name {
                closed = true;
                break;
            }
            content.push_str(line);
            content.push('\n');
        }
        if !closed {
            findings.error(
                place,
                "heredoc",
                format!("here-document {} has no end", heredoc.name),
            );
        }
        heredoc.content = content;
        found.push(heredoc);
    }
    found
}

// `<<NAME`, `<<-NAME`, `<<"NAME"` outside quotes. `<<<` is a here-string, not one of them.
fn markers(text: &str, escape: char) -> Vec<Heredoc> {
    let chars: Vec<char> = text.chars().collect();
    let (mut found, mut index, mut quote) = (Vec::new(), 0, None);
    while index < chars.len() {
        let c = chars[index];
        match quote {
            Some(q) => {
                if c == escape && q == '"' {
                    index += 1;
                } else if c == q {
                    quote = None;
                }
            }
            None if c == escape => index += 1,
            None if c == '\'' || c == '"' => quote = Some(c),
            None if c == '<' && chars.get(index + 1) == Some(&'<') => {
                let run = chars[index..].iter().take_while(|c| **c == '<').count();
                if run == 2
                    && let Some((heredoc, next)) = marker(&chars, index + 2)
                {
                    found.push(heredoc);
                    index = next;
                    continue;
                }
                index += run;
                continue;
            }
            None => {}
        }
        index += 1;
    }
    found
}

fn marker(chars: &[char], mut at: usize) -> Option<(Heredoc, usize)> {
    let strip_tabs = chars.get(at) == Some(&'-');
    at += usize::from(strip_tabs);
    let quote = chars.get(at).copied().filter(|c| matches!(c, '\'' | '"'));
    at += usize::from(quote.is_some());
    let word = |c: &char| c.is_ascii_alphanumeric() || *c == '_' || *c == '.' || *c == '-';
    let name: String = chars[at.min(chars.len())..]
        .iter()
        .take_while(|c| word(c))
        .collect();
    if !name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_') {
        return None;
    }
    at += name.chars().count();
    if let Some(quote) = quote {
        if chars.get(at) != Some(&quote) {
            return None;
        }
        at += 1;
    }
    Some((
        Heredoc {
            name,
            content: String::new(),
            expand: quote.is_none(),
            strip_tabs,
        },
        at,
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: &str) -> Vec<(u32, String)> {
        let mut findings = Findings::new("Dockerfile");
        split(text, &mut findings)
            .lines
            .into_iter()
            .map(|l| (l.place.line, l.text))
            .collect()
    }

    #[test]
    fn continuations_lose_comments_and_empty_lines() {
        let text = "# note\nRUN a \\\n# inside\n\n  && b \\ \n  && c\nENV x=1\\\\\nUSER u";
        assert_eq!(
            lines(text),
            [
                (2, "RUN a   && b   && c".into()),
                (7, "ENV x=1\\\\".into()),
                (8, "USER u".into())
            ]
        );
    }

    #[test]
    fn the_escape_directive_counts_only_at_the_top() {
        assert_eq!(lines("# escape=`\nRUN a `\n b")[0].1, "RUN a  b");
        assert_eq!(lines("\n# escape=`\nRUN a `\nRUN b").len(), 2);
    }

    #[test]
    fn here_documents_are_taken_in_order() {
        let mut findings = Findings::new("Dockerfile");
        let text = "COPY <<A <<-\"B\" /x/\none\nA\n\ttwo\n\tB\nRUN cat <<<here && echo \"<<NO\" '<<NO'\nRUN x";
        let split = split(text, &mut findings);
        assert_eq!(split.lines.len(), 3);
        let docs = &split.lines[0].heredocs;
        assert_eq!((docs[0].content.as_str(), docs[0].expand), ("one\n", true));
        assert_eq!(
            (docs[1].content.as_str(), docs[1].expand, docs[1].strip_tabs),
            ("two\n", false, true)
        );
        assert!(split.lines[1].heredocs.is_empty());
        assert!(findings.all.is_empty(), "{:?}", findings.all);
    }
}
