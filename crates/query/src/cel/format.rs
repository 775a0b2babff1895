//! Named formats of texts, with upstream's words for what does not match.

use super::eval::{Result_, Run};
use super::text::pattern;
use super::time;
use super::value::Value;

/// Name in expressions, and the length of a pattern that costs are counted by.
const FORMATS: [(&str, u64); 13] = [
    ("dns1123Label", 30),
    ("dns1123Subdomain", 60),
    ("dns1035Label", 30),
    ("qualifiedName", 60),
    ("dns1123LabelPrefix", 30),
    ("dns1123SubdomainPrefix", 60),
    ("dns1035LabelPrefix", 30),
    ("labelValue", 40),
    ("uri", 1104),
    ("uuid", 72),
    ("byte", 84),
    ("date", 72),
    ("datetime", 72),
];

pub(crate) fn pattern_size(name: &str) -> u64 {
    FORMATS
        .iter()
        .find(|(known, _)| *known == name)
        .map_or(64, |(_, size)| *size)
}

pub(crate) fn call(run: &mut Run<'_>, function: &str, args: &[Value]) -> Option<Result_> {
    let named = |name: &str| {
        FORMATS
            .iter()
            .find(|(known, _)| *known == name)
            .map(|(known, _)| Value::Format(known))
    };
    Some(match (function, args) {
        ("format.named", [Value::String(name)]) => Ok(Value::Optional(named(name).map(Into::into))),
        ("validate", [Value::Format(name), Value::String(text)]) => {
            if let Err(error) = run.work(text.len() as u64) {
                return Some(Err(error));
            }
            let found = check(name, text);
            Ok(match found.is_empty() {
                true => Value::none(),
                false => Value::some(Value::list(found.into_iter().map(Value::from).collect())),
            })
        }
        (name, []) => Ok(named(name.strip_prefix("format.")?)?),
        _ => return None,
    })
}

const LABEL: &str = "[a-z0-9]([-a-z0-9]*[a-z0-9])?";
const LABEL_1035: &str = "[a-z]([-a-z0-9]*[a-z0-9])?";
const QUALIFIED: &str = "([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]";

fn is(source: &str, text: &str) -> bool {
    pattern(&format!("^(?:{source})$")).is_ok_and(|regex| regex.is_match(text))
}

fn too_long(most: usize) -> String {
    format!("must be no more than {most} bytes")
}

fn wrong(message: &str, source: &str, examples: &[&str]) -> String {
    let mut out = format!("{message} (");
    if !examples.is_empty() {
        out.push_str("e.g. ");
        for (at, example) in examples.iter().enumerate() {
            if at > 0 {
                out.push_str(" or ");
            }
            out.push_str(&format!("'{example}', "));
        }
    }
    out.push_str(&format!("regex used for validation is '{source}')"));
    out
}

// A prefix may end with a dash, since more follows.
fn unprefixed(text: &str, prefix: bool) -> String {
    match prefix && text.len() > 1 && text.ends_with('-') {
        true => format!("{}a", &text[..text.len() - 2]),
        false => text.to_string(),
    }
}

fn label(text: &str, prefix: bool) -> Vec<String> {
    let text = unprefixed(text, prefix);
    let mut found = Vec::new();
    if text.len() > 63 {
        found.push(too_long(63));
    }
    if !is(LABEL, &text) {
        let subdomain = format!("{LABEL}(\\.{LABEL})*");
        found.push(match is(&subdomain, &text) {
            true => "must not contain dots".into(),
            false => wrong(
                "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character",
                LABEL,
                &["my-name", "123-abc"],
            ),
        });
    }
    found
}

fn subdomain(text: &str, prefix: bool) -> Vec<String> {
    let text = unprefixed(text, prefix);
    let source = format!("{LABEL}(\\.{LABEL})*");
    let mut found = Vec::new();
    if text.len() > 253 {
        found.push(too_long(253));
    }
    if !is(&source, &text) {
        found.push(wrong(
            "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character",
            &source,
            &["example.com"],
        ));
    }
    found
}

fn label_1035(text: &str, prefix: bool) -> Vec<String> {
    let text = unprefixed(text, prefix);
    let mut found = Vec::new();
    if text.len() > 63 {
        found.push(too_long(63));
    }
    if !is(LABEL_1035, &text) {
        found.push(wrong(
            "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic character, and end with an alphanumeric character",
            LABEL_1035,
            &["my-name", "abc-123"],
        ));
    }
    found
}

const QUALIFIED_WORDS: &str = "must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character";

fn qualified_name(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    let parts: Vec<&str> = text.split('/').collect();
    let name = match parts[..] {
        [name] => name,
        [prefix, name] => {
            if prefix.is_empty() {
                found.push("prefix part must be non-empty".into());
            } else {
                let within = subdomain(prefix, false);
                found.extend(within.into_iter().map(|why| format!("prefix part {why}")));
            }
            name
        }
        _ => {
            let why = wrong(
                &format!("a valid label key {QUALIFIED_WORDS}"),
                QUALIFIED,
                &["MyName", "my.name", "123-abc"],
            );
            return vec![format!(
                "{why} with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')"
            )];
        }
    };
    if name.is_empty() {
        found.push("name part must be non-empty".into());
    } else if name.len() > 63 {
        found.push(format!("name part {}", too_long(63)));
    }
    if !is(QUALIFIED, name) {
        let why = wrong(
            QUALIFIED_WORDS,
            QUALIFIED,
            &["MyName", "my.name", "123-abc"],
        );
        found.push(format!("name part {why}"));
    }
    found
}

fn label_value(text: &str) -> Vec<String> {
    let source = format!("({QUALIFIED})?");
    let mut found = Vec::new();
    if text.len() > 63 {
        found.push(too_long(63));
    }
    if !is(&source, text) {
        found.push(wrong(
            "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character",
            &source,
            &["MyValue", "my_value", "12345"],
        ));
    }
    found
}

fn check(name: &str, text: &str) -> Vec<String> {
    let unless = |holds: bool, why: &str| match holds {
        true => Vec::new(),
        false => vec![why.to_string()],
    };
    match name {
        "dns1123Label" => label(text, false),
        "dns1123LabelPrefix" => label(text, true),
        "dns1123Subdomain" => subdomain(text, false),
        "dns1123SubdomainPrefix" => subdomain(text, true),
        "dns1035Label" => label_1035(text, false),
        "dns1035LabelPrefix" => label_1035(text, true),
        "qualifiedName" => qualified_name(text),
        "labelValue" => label_value(text),
        "uri" => match super::url::check(text) {
            Ok(()) => Vec::new(),
            Err(why) => vec![why],
        },
        "uuid" => unless(
            is(
                "(?i)[0-9a-f]{8}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{12}",
                text,
            ),
            "does not match the UUID format",
        ),
        "byte" => unless(
            is(
                "(?:[A-Za-z0-9+\\/]{4})*(?:[A-Za-z0-9+\\/]{2}==|[A-Za-z0-9+\\/]{3}=|[A-Za-z0-9+\\/]{4})",
                text,
            ),
            "invalid base64",
        ),
        "date" => unless(
            text.len() == 10 && time::timestamp(&format!("{text}T00:00:00Z")).is_some(),
            "invalid date",
        ),
        _ => unless(
            time::timestamp(&text.to_ascii_uppercase()).is_some(),
            "invalid datetime",
        ),
    }
}
