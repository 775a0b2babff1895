//! A mail: whom it goes to, how it gets there, and its text as RFC 5322 and MIME have it.

use std::collections::BTreeMap;

use serde_json::Value;
use towpath_query::template::Time;

use super::access::checked;
use super::hash;
use super::making::{Making, named};

/// A mail ready to go. It holds secrets and is never shown.
pub struct Mail {
    /// Host and port of the server.
    pub server: (String, u16),
    /// What is said in greeting.
    pub hello: String,
    /// Who logs in, if anyone does.
    pub auth: Option<Auth>,
    /// Whether the connection must become TLS before anything is told.
    pub require_tls: bool,
    /// Whether it is TLS from the start.
    pub implicit_tls: bool,
    /// `tls_config`, as it is written.
    pub tls: Value,
    /// The address it comes from.
    pub from: String,
    /// The addresses it goes to.
    pub to: Vec<String>,
    /// Headers and body, in ASCII, with `\r\n` at the end of each line.
    pub content: String,
    /// What it says, for people.
    pub text: String,
}

/// Who logs in.
pub struct Auth {
    /// The name.
    pub username: String,
    /// The password; empty where there is none.
    pub password: String,
    /// The secret of challenges; empty where there is none.
    pub secret: String,
    /// As whom to act, where that is someone else.
    pub identity: String,
}

pub(super) fn mail(making: &Making<'_>) -> Result<Mail, String> {
    let of = making.of;
    let (host, port) = of
        .text("smarthost")
        .rsplit_once(':')
        .ok_or("smarthost: address is missing its port")?;
    let host = host.trim_matches(['[', ']']);
    let port: u16 = match port {
        "submission" => 587,
        "submissions" | "smtps" => 465,
        "smtp" => 25,
        number => number
            .parse()
            .map_err(|_| "smarthost: the port is no number")?,
    };
    let own = of.field("headers").and_then(Value::as_object);
    let mut headers: BTreeMap<String, String> = BTreeMap::new();
    for (name, template) in own.into_iter().flatten() {
        let value = making.fill(template.as_str().unwrap_or_default());
        let value = value.map_err(|error| format!("headers.{name}: {error}"))?;
        headers.insert(canonical(name)?, value);
    }
    let (from, to) = (making.text("from", "")?, making.text("to", "")?);
    if !headers.contains_key("Subject") {
        let subject = making.fill(&named("email.default.subject"))?;
        headers.insert("Subject".into(), subject);
    }
    headers.entry("To".into()).or_insert_with(|| to.clone());
    headers.entry("From".into()).or_insert_with(|| from.clone());
    let sender = addresses(&from).map_err(|why| format!("from: {why}"))?;
    let [sender] = &sender[..] else {
        let count = sender.len();
        return Err(format!("must be exactly one 'from' address (got: {count})"));
    };
    let id = hash(&making.message.id);
    if !headers.contains_key("Message-Id") {
        let domain = sender.rsplit_once('@').map_or("localhost", |(_, d)| d);
        // The same for every attempt, so that a repeat is known as one.
        headers.insert("Message-Id".into(), format!("<{}@{domain}>", &id[..32]));
    }
    let at = Time::from_millis(making.message.now);
    thread(making, &at, &mut headers);
    headers.insert("Date".into(), at.format("Mon, 02 Jan 2006 15:04:05 -0700"));
    let template = |field: &str, usual: String| {
        let own = of.field(field).and_then(Value::as_str);
        own.map_or(usual, str::to_owned)
    };
    let text = making
        .fill(&template("text", named("email.default.text")))
        .map_err(|error| format!("text: {error}"))?;
    let html = making
        .messages
        .html(
            &template("html", named("email.default.html")),
            making.message,
        )
        .map_err(|error| format!("html: {error}"))?;
    let subject = headers.get("Subject").cloned().unwrap_or_default();
    let implicit = of.field("force_implicit_tls").and_then(Value::as_bool);
    let hello = match of.text("hello") {
        "" => "localhost",
        own => own,
    };
    let username = making.fill(of.text("auth_username"))?;
    let auth = Auth {
        password: making.secret("auth_password")?,
        secret: making.secret("auth_secret")?,
        identity: of.text("auth_identity").to_owned(),
        username,
    };
    let shown = if text.is_empty() { &html } else { &text };
    Ok(Mail {
        server: (host.to_owned(), port),
        hello: hello.to_owned(),
        auth: (!auth.username.is_empty()).then_some(auth),
        require_tls: of.flag("require_tls", true),
        implicit_tls: implicit.unwrap_or(port == 465),
        tls: of.field("tls_config").map_or(Ok(Value::Null), checked)?,
        from: sender.clone(),
        to: addresses(&to).map_err(|why| format!("to: {why}"))?,
        text: format!("{subject}\n\n{shown}"),
        content: content(&headers, &id[32..], &text, &html),
    })
}

/// Mails about the same group belong together, by day where that is asked for.
fn thread(making: &Making<'_>, at: &Time, headers: &mut BTreeMap<String, String>) {
    let Some(threading) = making.of.field("threading") else {
        return;
    };
    if threading["enabled"] != true {
        return;
    }
    let day = match threading["thread_by_date"].as_str() {
        Some("none") => String::new(),
        _ => at.format("2006-01-02"),
    };
    let group = hash(&making.message.group_key);
    // As upstream names it, so that threads go on after a move.
    let root = format!("<alert-{}-{day}@alertmanager>", &group[..16]);
    headers.insert("References".into(), root.clone());
    headers.insert("In-Reply-To".into(), root);
}

/// The name of a header as it is usually written.
fn canonical(name: &str) -> Result<String, String> {
    let allowed = |c: char| c.is_ascii_graphic() && c != ':';
    if name.is_empty() || !name.chars().all(allowed) {
        return Err(format!("headers: {name:?} is no name of a header"));
    }
    let parts = name.split('-').map(|part| {
        let (first, rest) = part.split_at(part.len().min(1));
        first.to_ascii_uppercase() + &rest.to_ascii_lowercase()
    });
    Ok(parts.collect::<Vec<_>>().join("-"))
}

/// Addresses of a list such as `Someone <a@example.com>, b@example.com`.
fn addresses(text: &str) -> Result<Vec<String>, String> {
    let mut parts = Vec::new();
    let (mut part, mut quoted, mut escaped, mut angle) = (String::new(), false, false, false);
    for c in text.chars() {
        match c {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            '<' if !quoted => angle = true,
            '>' if !quoted => angle = false,
            ',' if !quoted && !angle => {
                parts.push(std::mem::take(&mut part));
                continue;
            }
            _ => {}
        }
        part.push(c);
    }
    parts.push(part);
    let mut out = Vec::new();
    for part in parts {
        let part = part.trim();
        let bare = match part.rsplit_once('<') {
            Some((_, rest)) => rest.strip_suffix('>').ok_or("no closing >")?,
            None => part,
        };
        let bare = bare.trim();
        let bad = |c: char| c.is_whitespace() || c.is_control() || "<>,;:()[]\\\"".contains(c);
        let whole = bare
            .rsplit_once('@')
            .is_some_and(|(local, domain)| !local.is_empty() && !domain.is_empty());
        if !whole || bare.contains(bad) {
            return Err(format!("{part:?} is no address"));
        }
        out.push(bare.to_owned());
    }
    Ok(out)
}

fn content(headers: &BTreeMap<String, String>, id: &str, text: &str, html: &str) -> String {
    let mut out = String::new();
    for (name, value) in headers {
        out += &format!("{name}: {}\r\n", word(value));
    }
    let boundary = format!("towpath-{}", &id[..32.min(id.len())]);
    out += &format!("Content-Type: multipart/alternative; boundary={boundary}\r\n");
    out += "MIME-Version: 1.0\r\n\r\n";
    // What is preferred comes last.
    for (kind, body) in [("plain", text), ("html", html)] {
        if !body.is_empty() {
            out += &format!(
                "--{boundary}\r\nContent-Transfer-Encoding: quoted-printable\r\n\
                 Content-Type: text/{kind}; charset=UTF-8\r\n\r\n{}\r\n",
                quoted_printable(body)
            );
        }
    }
    out + &format!("--{boundary}--\r\n")
}

/// The longest value of a header that stands as it is.
const PLAIN_BYTES: usize = 900;

/// A value of a header: as it is, or in words as RFC 2047 has them. Nothing in it ends the header.
fn word(value: &str) -> String {
    let plain = |c: char| (' '..='~').contains(&c) || c == '\t';
    if value.chars().all(plain) && value.len() <= PLAIN_BYTES {
        return value.to_owned();
    }
    let mut words = vec![String::new()];
    for c in value.chars() {
        let mut bytes = [0; 4];
        let encoded: String = match c {
            ' ' => "_".to_owned(),
            '!'..='~' if !"=?_".contains(c) => c.to_string(),
            c => c
                .encode_utf8(&mut bytes)
                .bytes()
                .map(|byte| format!("={byte:02X}"))
                .collect(),
        };
        // A word has at most 75 characters, and no character is torn apart.
        if words.last().is_some_and(|w| w.len() + encoded.len() > 62) {
            words.push(String::new());
        }
        if let Some(word) = words.last_mut() {
            *word += &encoded;
        }
    }
    let words: Vec<String> = words.iter().map(|w| format!("=?utf-8?q?{w}?=")).collect();
    words.join("\r\n ")
}

/// A text in lines of at most 76 characters of ASCII.
fn quoted_printable(text: &str) -> String {
    let text = text.replace("\r\n", "\n");
    let mut lines: Vec<String> = Vec::new();
    for line in text.split('\n') {
        let mut current = String::new();
        let bytes = line.as_bytes();
        for (at, byte) in bytes.iter().enumerate() {
            let last = at + 1 == bytes.len();
            let encoded = match byte {
                b' ' | b'\t' if !last => char::from(*byte).to_string(),
                b'!'..=b'~' if *byte != b'=' => char::from(*byte).to_string(),
                byte => format!("={byte:02X}"),
            };
            if current.len() + encoded.len() > 75 {
                lines.push(std::mem::take(&mut current) + "=");
            }
            current += &encoded;
        }
        lines.push(current);
    }
    lines.join("\r\n")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn decoded(text: &str) -> String {
        let joined = text.replace("=\r\n", "").replace("\r\n", "\n");
        let mut out = Vec::new();
        let mut bytes = joined.bytes();
        while let Some(byte) = bytes.next() {
            if byte == b'=' {
                let pair = [bytes.next().expect("a digit"), bytes.next().expect("one")];
                let pair = std::str::from_utf8(&pair).expect("digits");
                out.push(u8::from_str_radix(pair, 16).expect("a byte"));
            } else {
                out.push(byte);
            }
        }
        String::from_utf8(out).expect("UTF-8")
    }

    #[test]
    fn addresses_are_read() {
        let read = |text: &str| addresses(text).expect("addresses");
        assert_eq!(read("a@b.c"), ["a@b.c"]);
        assert_eq!(
            read("\"Last, First\" <x@y>, Ops <ops@example.com>"),
            ["x@y", "ops@example.com"]
        );
        for bad in [
            "",
            "a",
            "a@",
            "<a@b",
            "a@b c",
            "a@b>\r\nRCPT TO:<c@d",
            "a@b,",
        ] {
            assert!(addresses(bad).is_err(), "{bad:?}");
        }
    }

    proptest! {
        #[test]
        fn bodies_come_back(text in "(\\PC|[ \t\n=.]){0,200}") {
            let made = quoted_printable(&text);
            prop_assert!(made.is_ascii() && made.split("\r\n").all(|line| line.len() <= 76));
            prop_assert_eq!(decoded(&made), text);
        }

        #[test]
        fn headers_stay_one_header(text in "(\\PC|[\r\n\t =?_]){0,300}") {
            let made = word(&text);
            prop_assert!(made.is_ascii());
            for line in made.split("\r\n").skip(1) {
                prop_assert!(line.starts_with(' '));
            }
            prop_assert!(!made.replace("\r\n ", "").contains(['\r', '\n']));
        }

        #[test]
        fn lists_of_addresses_never_hold_commands(text in "\\PC{0,40}") {
            for address in addresses(&text).unwrap_or_default() {
                prop_assert!(!address.contains(['<', '>', ' ', '\r', '\n']));
            }
        }
    }
}
