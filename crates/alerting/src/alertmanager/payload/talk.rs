//! Requests, answers, and what follows from them: most messages are one request, some a talk.

use std::collections::VecDeque;

use serde_json::Value;

use super::mask::Mask;

/// What a request carries.
#[derive(Clone, Debug, PartialEq)]
pub enum Payload {
    /// Nothing.
    None,
    /// JSON.
    Json(Value),
    /// A form, as browsers send it.
    Form(Vec<(String, String)>),
}

/// One request. Its address and headers may hold secrets.
#[derive(Clone, PartialEq)]
pub struct Request {
    /// `POST` and its kin.
    pub method: &'static str,
    /// Where to.
    pub url: String,
    /// Headers of its own.
    pub headers: Vec<(String, String)>,
    /// What it carries.
    pub body: Payload,
}

impl Request {
    pub(super) fn post(url: impl Into<String>, body: Value) -> Self {
        Self {
            method: "POST",
            url: url.into(),
            headers: Vec::new(),
            body: Payload::Json(body),
        }
    }

    pub(super) fn header(mut self, name: &str, value: impl Into<String>) -> Self {
        self.headers.push((name.to_owned(), value.into()));
        self
    }

    /// What goes over the wire, and its type.
    pub fn bytes(&self) -> (String, Option<&'static str>) {
        match &self.body {
            Payload::None => (String::new(), None),
            Payload::Json(value) => (value.to_string(), Some("application/json")),
            Payload::Form(pairs) => (
                form(pairs),
                Some("application/x-www-form-urlencoded; charset=utf-8"),
            ),
        }
    }

    /// What it carries, to be shown.
    pub fn shown(&self, mask: &Mask) -> String {
        match &self.body {
            Payload::None => String::new(),
            Payload::Json(value) => mask.json(value).to_string(),
            Payload::Form(pairs) => {
                let pairs: Vec<(String, String)> = pairs
                    .iter()
                    .map(|(name, value)| (name.clone(), mask.text(value)))
                    .collect();
                form(&pairs)
            }
        }
    }
}

/// Pairs as browsers send them.
pub(super) fn form(pairs: &[(String, String)]) -> String {
    let each: Vec<String> = pairs
        .iter()
        .map(|(name, value)| format!("{}={}", escaped(name), escaped(value)))
        .collect();
    each.join("&")
}

/// A text safe within an address: all but letters, digits and `-_.~` becomes `%XX`.
pub(super) fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
                out.push(byte.into());
            }
            byte => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}

/// What was answered.
#[derive(Clone, Debug, Default)]
pub struct Answer {
    /// The status of HTTP.
    pub status: u16,
    /// The type of the body.
    pub content_type: String,
    /// How long the other side asks to wait.
    pub retry_after_ms: Option<i64>,
    /// The beginning of the body.
    pub body: String,
}

impl Answer {
    pub(super) fn json(&self) -> Option<Value> {
        serde_json::from_str(&self.body).ok()
    }
}

/// Why a message did not arrive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// In words.
    pub why: String,
    /// Whether it may arrive another time.
    pub again: bool,
    /// Not before so many milliseconds have passed, if they are given.
    pub after_ms: Option<i64>,
}

impl Fault {
    pub(super) fn refused(why: impl Into<String>) -> Self {
        Self {
            why: why.into(),
            again: false,
            after_ms: None,
        }
    }
}

/// What is to be done next.
#[derive(PartialEq)]
pub enum Next {
    /// Send this, and tell what was answered.
    Ask(Request),
    /// It arrived.
    Done,
}

/// A talk with a service.
pub trait Talk: Send {
    /// What is to be done after an answer; at first there is none.
    ///
    /// # Errors
    /// The message did not arrive.
    fn next(&mut self, answer: Option<Answer>) -> Result<Next, Fault>;
}

pub(super) type Judge = fn(&Answer) -> Result<(), Fault>;

/// Requests one after the other, each of which must go well.
pub(super) struct Each(pub(super) VecDeque<Request>, pub(super) Judge);

impl Talk for Each {
    fn next(&mut self, answer: Option<Answer>) -> Result<Next, Fault> {
        if let Some(answer) = answer {
            (self.1)(&answer)?;
        }
        Ok(self.0.pop_front().map_or(Next::Done, Next::Ask))
    }
}

/// What a status says: what may go away is tried again.
pub(super) fn by_status(answer: &Answer) -> Result<(), Fault> {
    if (200..300).contains(&answer.status) {
        return Ok(());
    }
    let said: String = answer.body.chars().take(200).collect();
    Err(Fault {
        why: format!("answered {}: {said}", answer.status),
        again: answer.status >= 500 || [408, 429].contains(&answer.status),
        after_ms: answer.retry_after_ms,
    })
}

/// As much of a text as fits, with a sign where something is missing.
pub(super) fn cut(text: String, most: usize) -> String {
    match text.char_indices().nth(most) {
        None => text,
        Some(_) => {
            let kept: String = text.chars().take(most.saturating_sub(1)).collect();
            kept + "…"
        }
    }
}

/// The same, counted in bytes.
pub(super) fn cut_bytes(text: String, most: usize) -> String {
    if text.len() <= most {
        return text;
    }
    let mut end = most.saturating_sub("…".len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    format!("{}…", &text[..end])
}
