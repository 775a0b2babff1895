//! Tests of the line.

use memchr::memmem::Finder;
use regex::Regex;

use super::ip::IpPattern;
use super::pattern::Pattern;
use crate::logql::ast::{LineFilter, LineMatch, LineOp};

enum Test {
    Contains(Box<Finder<'static>>),
    Regex(Regex),
    Pattern(Pattern),
    Ip(IpPattern),
}

/// A line filter, compiled.
pub(super) struct LineTest {
    negated: bool,
    any: Vec<Test>,
}

impl LineTest {
    pub(super) fn new(filter: &LineFilter) -> Result<Self, String> {
        let compile = |one: &LineMatch| {
            Ok(match (filter.op, one) {
                (_, LineMatch::Ip(pattern)) => Test::Ip(IpPattern::parse(pattern)?),
                (LineOp::Contains | LineOp::Lacks, LineMatch::Text(text)) => {
                    Test::Contains(Box::new(Finder::new(text.as_bytes()).into_owned()))
                }
                (LineOp::Matches | LineOp::Differs, LineMatch::Text(text)) => {
                    Test::Regex(super::regex(text)?)
                }
                (LineOp::Pattern | LineOp::NotPattern, LineMatch::Text(text)) => {
                    Test::Pattern(Pattern::filter(text)?)
                }
            })
        };
        Ok(Self {
            negated: filter.op.negated(),
            any: filter
                .any
                .iter()
                .map(compile)
                .collect::<Result<_, String>>()?,
        })
    }

    pub(super) fn passes(&self, line: &str) -> bool {
        let found = self.any.iter().any(|test| match test {
            Test::Contains(finder) => finder.find(line.as_bytes()).is_some(),
            Test::Regex(regex) => regex.is_match(line),
            Test::Pattern(pattern) => pattern.matches(line),
            Test::Ip(pattern) => pattern.found_in(line),
        });
        found != self.negated
    }
}

/// The line without the sequences that colour it, if it has any (ECMA-48, section 5.4).
pub(super) fn decolorized(line: &str) -> Option<String> {
    if !line.contains('\x1b') {
        return None;
    }
    let mut out = String::with_capacity(line.len());
    let mut rest = line;
    while let Some(at) = rest.find('\x1b') {
        out.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        let Some(sequence) = rest.strip_prefix('[') else {
            continue;
        };
        let end = sequence
            .find(|c: char| ('\x40'..='\x7e').contains(&c))
            .map_or(sequence.len(), |end| end + 1);
        rest = &sequence[end..];
    }
    out.push_str(rest);
    Some(out)
}
