//! Secrets in text: rules of a keyword that must be near, a pattern, and the least entropy of
//! what it caught. A line with `gitleaks:allow` or `towpath:allow` is let through. Values are
//! never returned, only their first characters.

mod rules;

use regex::bytes::Regex;
use std::sync::OnceLock;

/// One find.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leak {
    /// Rule's id, e.g. `aws-access-key`.
    pub rule: String,
    /// What it is.
    pub description: String,
    /// File.
    pub file: String,
    /// 1-based.
    pub line: u32,
    /// 1-based.
    pub column: u32,
    /// First characters, then dots.
    pub redacted: String,
}

struct Rule {
    id: &'static str,
    description: &'static str,
    keywords: &'static [&'static str],
    regex: Regex,
    // Bits per character; 0 where the pattern says enough.
    entropy: f64,
}

/// A set of compiled rules.
pub struct Rules {
    rules: Vec<Rule>,
}

const LIMIT_LEAKS: usize = 1000;
const LIMIT_LINE_BYTES: usize = 100_000;

impl Rules {
    /// Our own rules.
    pub fn builtin() -> &'static Rules {
        static RULES: OnceLock<Rules> = OnceLock::new();
        RULES.get_or_init(|| Rules {
            rules: rules::RULES
                .iter()
                .filter_map(|(id, description, keywords, pattern, entropy)| {
                    let regex = Regex::new(pattern).ok()?;
                    Some(Rule {
                        id,
                        description,
                        keywords,
                        regex,
                        entropy: *entropy,
                    })
                })
                .collect(),
        })
    }

    /// Number of rules.
    pub fn len(&self) -> usize {
        self.rules.len()
    }

    /// Whether there is no rule.
    pub fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }

    /// Finds in one file; files that are not text yield nothing.
    pub fn scan(&self, file: &str, bytes: &[u8]) -> Vec<Leak> {
        if bytes[..bytes.len().min(8000)].contains(&0) || is_generated(file) {
            return Vec::new();
        }
        let lower = bytes.to_ascii_lowercase();
        let candidates: Vec<&Rule> = self
            .rules
            .iter()
            .filter(|r| r.keywords.iter().any(|k| contains(&lower, k.as_bytes())))
            .collect();
        let mut leaks: Vec<Leak> = Vec::new();
        if candidates.is_empty() {
            return leaks;
        }
        for (number, line) in bytes.split(|b| *b == b'\n').enumerate() {
            let line = &line[..line.len().min(LIMIT_LINE_BYTES)];
            let line_lower = line.to_ascii_lowercase();
            if contains(&line_lower, b"gitleaks:allow") || contains(&line_lower, b"towpath:allow") {
                continue;
            }
            for rule in &candidates {
                if !rule
                    .keywords
                    .iter()
                    .any(|k| contains(&line_lower, k.as_bytes()))
                {
                    continue;
                }
                for found in rule.regex.captures_iter(line) {
                    let Some(secret) = found.get(1).or_else(|| found.get(0)) else {
                        continue;
                    };
                    if entropy(secret.as_bytes()) < rule.entropy
                        || is_placeholder(secret.as_bytes())
                    {
                        continue;
                    }
                    let column = String::from_utf8_lossy(&line[..secret.start()])
                        .chars()
                        .count() as u32
                        + 1;
                    let at = number as u32 + 1;
                    // A general rule says nothing new about what a special one found.
                    if leaks
                        .iter()
                        .any(|l| l.line == at && l.column.abs_diff(column) < 8)
                    {
                        continue;
                    }
                    leaks.push(Leak {
                        rule: rule.id.into(),
                        description: rule.description.into(),
                        file: file.into(),
                        line: at,
                        column,
                        redacted: redact(secret.as_bytes()),
                    });
                    if leaks.len() >= LIMIT_LEAKS {
                        return leaks;
                    }
                }
            }
        }
        leaks
    }
}

fn contains(text: &[u8], part: &[u8]) -> bool {
    part.is_empty() || text.windows(part.len()).any(|w| w == part)
}

// Hashes in lock files look like secrets and are none.
fn is_generated(file: &str) -> bool {
    let name = file.rsplit('/').next().unwrap_or(file);
    matches!(
        name,
        "Cargo.lock"
            | "package-lock.json"
            | "go.sum"
            | "poetry.lock"
            | "uv.lock"
            | "yarn.lock"
            | "pnpm-lock.yaml"
            | "npm-shrinkwrap.json"
    )
}

fn redact(secret: &[u8]) -> String {
    let text = String::from_utf8_lossy(secret);
    let shown: String = text.chars().take(4.min(text.chars().count() / 4)).collect();
    format!("{shown}…")
}

// Shannon's, in bits per byte.
fn entropy(text: &[u8]) -> f64 {
    let mut counts = [0u32; 256];
    text.iter().for_each(|b| counts[usize::from(*b)] += 1);
    let length = text.len() as f64;
    counts
        .iter()
        .filter(|c| **c > 0)
        .map(|c| f64::from(*c) / length)
        .map(|p| -p * p.log2())
        .sum()
}

fn is_placeholder(secret: &[u8]) -> bool {
    let text = String::from_utf8_lossy(secret).to_lowercase();
    [
        "example",
        "placeholder",
        "changeme",
        "change-me",
        "your-",
        "your_",
        "xxxx",
        "****",
        "${",
        "{{",
        "<",
        "dummy",
        "redacted",
    ]
    .iter()
    .any(|word| text.contains(word))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn every_rule_compiles_and_has_a_keyword() {
        assert_eq!(Rules::builtin().len(), rules::RULES.len());
        assert!(
            Rules::builtin()
                .rules
                .iter()
                .all(|r| !r.keywords.is_empty())
        );
    }

    // Written in two halves, so that no scanner takes this file for a leak.
    #[test]
    fn well_known_secrets_are_found() {
        let cases = [
            (
                "aws-access-key",
                format!("key = \"AKIA{}\"", "Q3EGRIDNBV7GZ5XW"),
            ),
            (
                "github-token",
                format!("token: ghp_{}", "a8Kd02LmQp71ZxCv94TnBh63RsWy5EfUg1Ja"),
            ),
            (
                "private-key",
                format!("-----BEGIN RSA {}-----", "PRIVATE KEY"),
            ),
            (
                "slack-token",
                format!(
                    "xoxb-{}",
                    "123456789012-123456789012-AbCdEfGhIjKlMnOpQrStUvWx"
                ),
            ),
            (
                "jwt",
                format!(
                    "eyJ{}.eyJ{}.{}",
                    "hbGciOiJIUzI1NiJ9",
                    "zdWIiOiIxMjM0NTY3ODkwIn0",
                    "dozjgNryP4J3jVmNHl0w5N_XgL0n3I9P"
                ),
            ),
            (
                "password-in-url",
                format!("postgres://app:{}@db/x", "s7Kq2vW9zLp4"),
            ),
            (
                "generic-secret",
                format!("api_key = '{}'", "q8Zt3LmX9vB2nK7wRj5H"),
            ),
        ];
        for (rule, text) in cases {
            let leaks = Rules::builtin().scan("a.txt", format!("first\n{text}\n").as_bytes());
            assert_eq!(
                leaks.iter().map(|l| l.rule.as_str()).collect::<Vec<_>>(),
                [rule],
                "{text}"
            );
            assert_eq!(leaks[0].line, 2);
            assert!(leaks[0].redacted.len() <= 8, "{}", leaks[0].redacted);
            let allowed = format!("{text} # gitleaks:allow\n");
            assert!(
                Rules::builtin()
                    .scan("a.txt", allowed.as_bytes())
                    .is_empty()
            );
        }
    }

    #[test]
    fn ordinary_text_is_quiet() {
        for text in [
            "password: ${{ secrets.PASSWORD }}",
            "api_key = \"your-api-key-here-please\"",
            "let token = lexer.next_token(input, position);",
            "secret_key_base = ENV['SECRET_KEY_BASE']",
            "image: app@sha256:2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae",
            "postgres://app:${PASSWORD}@db/x",
            "value: AKIAIOSFODNN7EXAMPLE",
        ] {
            let leaks = Rules::builtin().scan("a.txt", text.as_bytes());
            assert!(leaks.is_empty(), "{text}: {leaks:?}");
        }
    }

    proptest! {
        #[test]
        fn never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = Rules::builtin().scan("f", &[b"AKIA ghp_ secret= ", &bytes[..]].concat());
        }
    }
}
