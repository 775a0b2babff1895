//! Coverage reports: LCOV tracefiles and Cobertura XML, to covered and coverable lines.

use std::collections::BTreeMap;

const LIMIT_FILES: usize = 200_000;

/// Lines of one file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FileCoverage {
    /// As the report names it.
    pub path: String,
    /// Lines that were run.
    pub covered: u64,
    /// Lines that could have been.
    pub total: u64,
    /// First lines that were not run, at most 20.
    pub missed: Vec<u32>,
}

/// A whole report.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Coverage {
    /// By path.
    pub files: Vec<FileCoverage>,
}

impl Coverage {
    /// Lines that were run.
    pub fn covered(&self) -> u64 {
        self.files.iter().map(|f| f.covered).sum()
    }

    /// Lines that could have been.
    pub fn total(&self) -> u64 {
        self.files.iter().map(|f| f.total).sum()
    }

    /// 0 to 100; a report without lines counts as 0.
    pub fn percent(&self) -> f64 {
        match self.total() {
            0 => 0.0,
            total => self.covered() as f64 * 100.0 / total as f64,
        }
    }
}

/// Reads a report of either format.
pub fn read(bytes: &[u8]) -> Result<Coverage, String> {
    let text = String::from_utf8_lossy(bytes);
    let start = text.trim_start_matches('\u{feff}').trim_start();
    if start.is_empty() {
        return Err("the coverage report is empty".into());
    }
    if start.starts_with('<') {
        cobertura(start)
    } else {
        lcov(&text)
    }
}

type Lines = BTreeMap<String, BTreeMap<u32, u64>>;

fn gather(lines: Lines) -> Coverage {
    let files = lines
        .into_iter()
        .map(|(path, lines)| FileCoverage {
            path,
            covered: lines.values().filter(|h| **h > 0).count() as u64,
            total: lines.len() as u64,
            missed: lines
                .iter()
                .filter(|(_, h)| **h == 0)
                .map(|(n, _)| *n)
                .take(20)
                .collect(),
        })
        .collect();
    Coverage { files }
}

// One file may have several records (one per test); hits add up.
fn lcov(text: &str) -> Result<Coverage, String> {
    let mut files = Lines::new();
    let mut current: Option<String> = None;
    let mut records = 0;
    for (number, line) in text.lines().enumerate() {
        let line = line.trim();
        if let Some(path) = line.strip_prefix("SF:") {
            files.entry(path.to_string()).or_default();
            current = Some(path.to_string());
            if files.len() > LIMIT_FILES {
                return Err(format!("more than {LIMIT_FILES} files"));
            }
        } else if let Some(data) = line.strip_prefix("DA:") {
            let path = current
                .as_ref()
                .ok_or_else(|| format!("line {}: DA before SF", number + 1))?;
            let mut parts = data.split(',');
            let line_number = parts.next().and_then(|n| n.trim().parse::<u32>().ok());
            // Some tools write -1 or a float for a count they do not know.
            let hits = parts.next().and_then(|h| h.trim().parse::<f64>().ok());
            let (Some(line_number), Some(hits)) = (line_number, hits) else {
                return Err(format!(
                    "line {}: {line:?} is not DA:<line>,<hits>",
                    number + 1
                ));
            };
            let entry = files
                .entry(path.clone())
                .or_default()
                .entry(line_number)
                .or_insert(0);
            *entry = entry.saturating_add(hits.max(0.0) as u64);
        } else if line == "end_of_record" {
            current = None;
            records += 1;
        }
    }
    if files.is_empty() {
        return Err("neither LCOV (no SF: record) nor Cobertura XML".into());
    }
    if records == 0 {
        return Err("the LCOV report ends in the middle of a record".into());
    }
    Ok(gather(files))
}

// Cobertura needs three elements: class (its filename), line (number, hits), and their nesting.
fn cobertura(text: &str) -> Result<Coverage, String> {
    let mut files = Lines::new();
    let mut current: Option<String> = None;
    let mut root = false;
    let mut closed = false;
    let mut rest = text;
    while let Some(open) = rest.find('<') {
        rest = &rest[open..];
        if rest.starts_with("<!--") {
            rest = rest
                .find("-->")
                .map(|i| &rest[i + 3..])
                .ok_or("a comment has no end")?;
            continue;
        }
        if rest.starts_with("<![CDATA[") {
            rest = rest
                .find("]]>")
                .map(|i| &rest[i + 3..])
                .ok_or("a CDATA section has no end")?;
            continue;
        }
        let end = tag_end(rest).ok_or("a tag has no end")?;
        let tag = &rest[1..end];
        rest = &rest[end + 1..];
        let name: &str = tag
            .split(|c: char| c.is_whitespace() || c == '/')
            .find(|p| !p.is_empty())
            .unwrap_or_default();
        match (tag.starts_with('/'), name) {
            (false, "coverage") => root = true,
            (true, "coverage") => closed = true,
            (false, "class") => {
                let file = attribute(tag, "filename").ok_or("a class has no filename")?;
                files.entry(file.clone()).or_default();
                if files.len() > LIMIT_FILES {
                    return Err(format!("more than {LIMIT_FILES} files"));
                }
                current = if tag.ends_with('/') { None } else { Some(file) };
            }
            (true, "class") => current = None,
            (false, "line") => {
                let Some(file) = &current else { continue };
                let number = attribute(tag, "number").and_then(|n| n.parse::<u32>().ok());
                let hits = attribute(tag, "hits").and_then(|h| h.parse::<u64>().ok());
                let (Some(number), Some(hits)) = (number, hits) else {
                    return Err(format!("a line of {file} has no number or no hits"));
                };
                // Methods repeat the lines of their class: the larger count holds.
                let entry = files
                    .entry(file.clone())
                    .or_default()
                    .entry(number)
                    .or_insert(0);
                *entry = (*entry).max(hits);
            }
            _ => {}
        }
    }
    match (root, closed) {
        (false, _) => Err("the XML has no <coverage> element, so it is not Cobertura".into()),
        (true, false) => Err("the Cobertura report ends too early".into()),
        (true, true) => Ok(gather(files)),
    }
}

fn tag_end(text: &str) -> Option<usize> {
    let mut quote = None;
    text.bytes()
        .enumerate()
        .skip(1)
        .find_map(|(i, b)| match (quote, b) {
            (None, b'>') => Some(i),
            (None, b'"' | b'\'') => {
                quote = Some(b);
                None
            }
            (Some(q), b) if q == b => {
                quote = None;
                None
            }
            _ => None,
        })
}

fn attribute(tag: &str, name: &str) -> Option<String> {
    let mut rest = tag;
    while let Some(at) = rest.find(name) {
        let before = rest[..at].chars().next_back();
        let after = rest[at + name.len()..].trim_start();
        if before.is_some_and(char::is_whitespace) && after.starts_with('=') {
            let value = after[1..].trim_start();
            let quote = value.chars().next().filter(|c| matches!(c, '"' | '\''))?;
            let inner = &value[1..];
            let text = &inner[..inner.find(quote)?];
            let text = text
                .replace("&lt;", "<")
                .replace("&gt;", ">")
                .replace("&quot;", "\"")
                .replace("&apos;", "'");
            return Some(text.replace("&amp;", "&"));
        }
        rest = &rest[at + name.len()..];
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn lcov_adds_up() {
        let text =
            "TN:\nSF:a.rs\nDA:1,2\nDA:2,0\nend_of_record\nSF:a.rs\nDA:2,1\nDA:3,0\nend_of_record\n";
        let report = read(text.as_bytes()).unwrap();
        assert_eq!((report.covered(), report.total()), (2, 3));
        assert_eq!(report.files[0].missed, [3]);
    }

    #[test]
    fn cobertura_counts_each_line_once() {
        let text = r#"<?xml version="1.0"?><!DOCTYPE coverage SYSTEM "x.dtd"><coverage line-rate="0.5">
          <packages><package><classes><class name="a" filename="src/a&amp;b.py">
          <methods><method name="m"><lines><line number="1" hits="3"/></lines></method></methods>
          <lines><line number="1" hits="3"/><line number="2" hits="0" branch="false"/></lines>
          </class></classes></package></packages></coverage>"#;
        let report = read(text.as_bytes()).unwrap();
        assert_eq!((report.covered(), report.total()), (1, 2));
        assert_eq!(report.files[0].path, "src/a&b.py");
    }

    #[test]
    fn broken_reports_are_named() {
        for (text, expected) in [
            ("", "empty"),
            ("nonsense", "neither"),
            ("DA:1,1", "DA before SF"),
            ("SF:a\nDA:x,1\n", "is not DA"),
            ("SF:a\nDA:1,1\n", "middle"),
            ("<html></html>", "not Cobertura"),
            ("<coverage><class filename='a'>", "too early"),
        ] {
            let problem = read(text.as_bytes()).unwrap_err();
            assert!(problem.contains(expected), "{text:?}: {problem}");
        }
    }

    proptest! {
        #[test]
        fn never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
            let _ = read(&bytes);
            let _ = read(&[b"<coverage>", &bytes[..]].concat());
            let _ = read(&[b"SF:a\n", &bytes[..]].concat());
        }
    }
}
