//! Addresses of the web, read as Go reads them: an absolute address or an absolute path.

use super::eval::{Result_, Run, fault};
use super::strings::quoted;
use super::value::{Key, Map, Value};
use indexmap::IndexMap;
use std::sync::Arc;

/// The parts of an address.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Url {
    text: String,
    scheme: String,
    host: String,
    path: String,
    query: String,
}

impl std::fmt::Display for Url {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.text)
    }
}

/// Reads an address; the fragment counts as part of it only where `fragment` is set.
fn parse(text: &str) -> Result<Url, String> {
    let wrong = |why: &str| Err(format!("parse {}: {why}", quoted(text)));
    if text.bytes().any(|c| c < 0x20 || c == 0x7f) {
        return wrong("net/url: invalid control character in URL");
    }
    if text.is_empty() {
        return wrong("empty url");
    }
    let mut url = Url {
        text: text.to_string(),
        ..Url::default()
    };
    if text == "*" {
        url.path = "*".into();
        return Ok(url);
    }
    // Whether it is an address is decided with the fragment, its parts are taken without.
    let bare = text.split_once('#').map_or(text, |(bare, _)| bare);
    let (scheme, rest) = match scheme(bare) {
        Ok(found) => found,
        Err(why) => return wrong(why),
    };
    url.scheme = scheme.to_ascii_lowercase();
    let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
    url.query = query.to_string();
    if !rest.starts_with('/') {
        if !scheme.is_empty() {
            return Ok(url);
        }
        return wrong("invalid URI for request");
    }
    let mut path = rest;
    if let Some(after) = rest.strip_prefix("//").filter(|_| !scheme.is_empty()) {
        let at = after.find('/').unwrap_or(after.len());
        let authority = &after[..at];
        path = &after[at..];
        let host = authority.rsplit_once('@').map_or(authority, |(_, h)| h);
        url.host = match check_host(host) {
            Ok(host) => host,
            Err(why) => return wrong(&why),
        };
    }
    if let Err(why) = unescape(path, false) {
        return wrong(&why);
    }
    url.path = path.to_string();
    Ok(url)
}

fn scheme(text: &str) -> Result<(&str, &str), &'static str> {
    for (at, c) in text.char_indices() {
        match c {
            'a'..='z' | 'A'..='Z' => {}
            '0'..='9' | '+' | '-' | '.' if at > 0 => {}
            ':' if at == 0 => return Err("missing protocol scheme"),
            ':' => return Ok((&text[..at], &text[at + 1..])),
            '0'..='9' | '+' | '-' | '.' => return Ok(("", text)),
            _ => return Ok(("", text)),
        }
    }
    Ok(("", text))
}

fn check_host(host: &str) -> Result<String, String> {
    let port = |text: &str| {
        text.is_empty()
            || text
                .strip_prefix(':')
                .is_some_and(|digits| digits.bytes().all(|c| c.is_ascii_digit()))
    };
    if let Some(rest) = host.strip_prefix('[') {
        let Some((_, after)) = rest.rsplit_once(']') else {
            return Err("missing ']' in host".into());
        };
        return match port(after) {
            true => Ok(host.to_string()),
            false => Err(format!("invalid port {} after host", quoted(after))),
        };
    }
    if let Some(at) = host.rfind(':')
        && !port(&host[at..])
    {
        return Err(format!("invalid port {} after host", quoted(&host[at..])));
    }
    let bad = |c: char| {
        c.is_ascii() && !c.is_ascii_alphanumeric() && !"-_.~!$&'()*+,;=:[]<>\"%".contains(c)
    };
    if let Some(c) = host.chars().find(|c| bad(*c)) {
        return Err(format!(
            "invalid character {} in host name",
            quoted(&c.to_string())
        ));
    }
    unescape(host, false)
}

/// Resolves `%xx`, and `+` where `plus` is set.
fn unescape(text: &str, plus: bool) -> Result<String, String> {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        match bytes[at] {
            b'%' => {
                let digit = |c: Option<&u8>| c.and_then(|c| (*c as char).to_digit(16));
                let (Some(high), Some(low)) = (digit(bytes.get(at + 1)), digit(bytes.get(at + 2)))
                else {
                    let end = (at..=(at + 3).min(text.len()))
                        .rev()
                        .find(|end| text.is_char_boundary(*end))
                        .unwrap_or(at);
                    return Err(format!("invalid URL escape {}", quoted(&text[at..end])));
                };
                out.push((high * 16 + low) as u8);
                at += 3;
            }
            b'+' if plus => {
                out.push(b' ');
                at += 1;
            }
            c => {
                out.push(c);
                at += 1;
            }
        }
    }
    Ok(String::from_utf8_lossy(&out).into_owned())
}

/// The path as it would be sent.
fn escaped(path: &str) -> String {
    let kept = |c: u8| c.is_ascii_alphanumeric() || b"-_.~$&+,/:;=@".contains(&c);
    let as_given = path.bytes().all(|c| kept(c) || b"!'()*[]%".contains(&c));
    if as_given {
        return path.to_string();
    }
    let mut out = String::new();
    for c in unescape(path, false).unwrap_or_default().bytes() {
        match kept(c) {
            true => out.push(c as char),
            false => out.push_str(&format!("%{c:02X}")),
        }
    }
    out
}

pub(crate) fn call(_: &mut Run<'_>, function: &str, args: &[Value]) -> Option<Result_> {
    let url = match (function, args) {
        ("url", [Value::String(text)]) => {
            return Some(match parse(text) {
                Ok(url) => Ok(Value::Url(url.into())),
                Err(why) => fault(format!(
                    "URL parse error during conversion from string: {why}"
                )),
            });
        }
        ("isURL", [Value::String(text)]) => return Some(Ok(Value::Bool(parse(text).is_ok()))),
        (_, [Value::Url(url)]) => url,
        _ => return None,
    };
    let bracket = url.host.rfind(']');
    let colon = url
        .host
        .rfind(':')
        .filter(|at| bracket.is_none_or(|bracket| *at > bracket));
    Some(Ok(match function {
        "getScheme" => url.scheme.as_str().into(),
        "getHost" => url.host.as_str().into(),
        "getHostname" => {
            let name = colon.map_or(&url.host[..], |at| &url.host[..at]);
            let name = name.strip_prefix('[').unwrap_or(name);
            name.strip_suffix(']').unwrap_or(name).into()
        }
        "getPort" => colon.map_or("", |at| &url.host[at + 1..]).into(),
        "getEscapedPath" => escaped(&url.path).into(),
        "getQuery" => query(&url.query),
        _ => return None,
    }))
}

fn query(text: &str) -> Value {
    let mut found: IndexMap<Key, Vec<Value>> = IndexMap::new();
    for part in text.split('&') {
        if part.is_empty() || part.contains(';') {
            continue;
        }
        let (key, value) = part.split_once('=').unwrap_or((part, ""));
        if let (Ok(key), Ok(value)) = (unescape(key, true), unescape(value, true)) {
            let key = Key::String(key.into());
            found.entry(key).or_default().push(value.into());
        }
    }
    Value::Map(Arc::new(Map {
        entries: found
            .into_iter()
            .map(|(key, values)| (key, Value::list(values)))
            .collect(),
        object: None,
    }))
}

/// Whether a text is an address.
pub(crate) fn check(text: &str) -> Result<(), String> {
    parse(text).map(drop)
}
