//! Versions, as semver.org has them.

use super::eval::{Result_, Run, fault};
use super::strings::quoted;
use super::value::Value;
use std::cmp::Ordering;
use std::fmt;

/// A version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Semver {
    parts: [u64; 3],
    pre: Vec<String>,
    build: Vec<String>,
}

impl fmt::Display for Semver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [major, minor, patch] = self.parts;
        write!(f, "{major}.{minor}.{patch}")?;
        if !self.pre.is_empty() {
            write!(f, "-{}", self.pre.join("."))?;
        }
        if !self.build.is_empty() {
            write!(f, "+{}", self.build.join("."))?;
        }
        Ok(())
    }
}

impl Semver {
    fn parse(text: &str) -> Result<Semver, String> {
        if text.is_empty() {
            return Err("Version string empty".into());
        }
        let mut parts = text.splitn(3, '.');
        let (Some(major), Some(minor), Some(rest)) = (parts.next(), parts.next(), parts.next())
        else {
            return Err("No Major.Minor.Patch elements found".into());
        };
        let (rest, build) = match rest.split_once('+') {
            Some((rest, build)) => (rest, build.split('.').map(String::from).collect()),
            None => (rest, Vec::new()),
        };
        let (patch, pre): (&str, Vec<String>) = match rest.split_once('-') {
            Some((patch, pre)) => (patch, pre.split('.').map(String::from).collect()),
            None => (rest, Vec::new()),
        };
        let mut numbers = [0; 3];
        let names = ["major", "minor", "patch"];
        for (at, text) in [major, minor, patch].into_iter().enumerate() {
            numbers[at] = number(text, names[at])?;
        }
        for part in &pre {
            identifier(part, "prerelease")?;
            let numeric = part.bytes().all(|c| c.is_ascii_digit());
            if numeric && part.len() > 1 && part.starts_with('0') {
                return Err(format!(
                    "Numeric PreRelease version must not contain leading zeroes {}",
                    quoted(part)
                ));
            }
            if numeric && part.parse::<u64>().is_err() {
                return Err(format!("value out of range: {}", quoted(part)));
            }
        }
        for part in &build {
            identifier(part, "build meta data")?;
        }
        Ok(Semver {
            parts: numbers,
            pre,
            build,
        })
    }

    /// What people write: a leading `v`, missing parts, leading zeros.
    fn tolerant(text: &str) -> Result<Semver, String> {
        let text = text.strip_prefix('v').unwrap_or(text);
        let mut parts: Vec<String> = text.splitn(3, '.').map(String::from).collect();
        for part in &mut parts {
            if part.len() > 1 {
                let bare = part.trim_start_matches('0');
                *part = match bare.starts_with(|c: char| c.is_ascii_digit()) {
                    true => bare.to_string(),
                    false => format!("0{bare}"),
                };
            }
        }
        if parts.len() < 3 {
            if parts.last().is_some_and(|last| last.contains(['+', '-'])) {
                return Err("short version cannot contain PreRelease/Build meta data".into());
            }
            parts.resize(3, "0".into());
        }
        Semver::parse(&parts.join("."))
    }

    /// By precedence; build data does not count.
    pub(crate) fn order(&self, other: &Semver) -> Ordering {
        let pre = || match (self.pre.is_empty(), other.pre.is_empty()) {
            (true, true) => Ordering::Equal,
            (true, false) => Ordering::Greater,
            (false, true) => Ordering::Less,
            (false, false) => {
                for (a, b) in self.pre.iter().zip(&other.pre) {
                    let order = match (a.parse::<u64>(), b.parse::<u64>()) {
                        (Ok(a), Ok(b)) => a.cmp(&b),
                        (Ok(_), Err(_)) => Ordering::Less,
                        (Err(_), Ok(_)) => Ordering::Greater,
                        (Err(_), Err(_)) => a.cmp(b),
                    };
                    if order != Ordering::Equal {
                        return order;
                    }
                }
                self.pre.len().cmp(&other.pre.len())
            }
        };
        self.parts.cmp(&other.parts).then_with(pre)
    }
}

fn number(text: &str, name: &str) -> Result<u64, String> {
    if !text.bytes().all(|c| c.is_ascii_digit()) {
        return Err(format!(
            "Invalid character(s) found in {name} number {}",
            quoted(text)
        ));
    }
    if text.len() > 1 && text.starts_with('0') {
        let mut name = name.to_string();
        name[..1].make_ascii_uppercase();
        return Err(format!(
            "{name} number must not contain leading zeroes {}",
            quoted(text)
        ));
    }
    text.parse().map_err(|_| {
        let why = if text.is_empty() {
            "invalid syntax"
        } else {
            "value out of range"
        };
        format!("strconv.ParseUint: parsing {}: {why}", quoted(text))
    })
}

fn identifier(text: &str, name: &str) -> Result<(), String> {
    if text.is_empty() {
        return Err(match name {
            "prerelease" => "Prerelease is empty".into(),
            _ => "Build meta data is empty".into(),
        });
    }
    match text.bytes().all(|c| c.is_ascii_alphanumeric() || c == b'-') {
        true => Ok(()),
        false => Err(format!(
            "Invalid character(s) found in {name} {}",
            quoted(text)
        )),
    }
}

pub(crate) fn call(_: &mut Run<'_>, function: &str, args: &[Value]) -> Option<Result_> {
    let (text, tolerant) = match args {
        [Value::String(text)] => (text, false),
        [Value::String(text), Value::Bool(tolerant)] => (text, *tolerant),
        _ => return about(function, args),
    };
    let read = || match tolerant {
        true => Semver::tolerant(text),
        false => Semver::parse(text),
    };
    Some(match function {
        "semver" => match read() {
            Ok(version) => Ok(Value::Semver(version.into())),
            Err(why) => fault(why),
        },
        "isSemver" => Ok(Value::Bool(read().is_ok())),
        _ => return None,
    })
}

fn about(function: &str, args: &[Value]) -> Option<Result_> {
    let part = |number: u64| Some(Ok(Value::Int(number as i64)));
    match (function, args) {
        ("major", [Value::Semver(version)]) => part(version.parts[0]),
        ("minor", [Value::Semver(version)]) => part(version.parts[1]),
        ("patch", [Value::Semver(version)]) => part(version.parts[2]),
        ("compareTo", [Value::Semver(a), Value::Semver(b)]) => {
            Some(Ok(Value::Int(a.order(b) as i64)))
        }
        ("isLessThan", [Value::Semver(a), Value::Semver(b)]) => {
            Some(Ok(Value::Bool(a.order(b) == Ordering::Less)))
        }
        ("isGreaterThan", [Value::Semver(a), Value::Semver(b)]) => {
            Some(Ok(Value::Bool(a.order(b) == Ordering::Greater)))
        }
        _ => None,
    }
}
