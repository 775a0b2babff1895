//! Questions to the server's own APIs: a bounded answer within a time, and answers as data for
//! programs.

use crate::cli::{Context, Output};
use crate::exit::{Exit, Problem};
use reqwest::{RequestBuilder, StatusCode};
use serde_json::Value;
use std::time::Duration;
use towpath_query::promql::parse_duration;

/// The most bytes of an answer.
const ANSWER_MAX: usize = 64 << 20;

/// What the server said.
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) body: Vec<u8>,
}

impl Answer {
    /// Its text.
    pub(super) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).trim().to_string()
    }

    /// Its JSON; nothing where it is none.
    pub(super) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }

    /// Its JSON, which it must be.
    pub(super) fn data(&self) -> Result<Value, Problem> {
        serde_json::from_slice(&self.body).map_err(|error| {
            Problem::new(Exit::Unreachable, "server-answer", "the answer is no JSON")
                .why(error.to_string())
        })
    }

    /// Its JSON, nothing where it is empty; a refusal is a problem in the server's own words.
    pub(super) fn taken(&self) -> Result<Value, Problem> {
        let status = self.status;
        if status.is_success() {
            return match self.body.is_empty() {
                true => Ok(Value::Null),
                false => self.data(),
            };
        }
        let answer = self.json();
        let said = match &answer {
            Value::String(said) => said.clone(),
            answer => ["message", "error"]
                .map(|key| answer[key].as_str().unwrap_or_default())
                .concat(),
        };
        let said = if said.is_empty() { self.text() } else { said };
        let (exit, reason) = match status.as_u16() {
            401 | 403 => (Exit::Denied, "denied"),
            404 => (Exit::NotFound, "not-found"),
            500.. => (Exit::Unreachable, "server"),
            _ => (Exit::Failed, "refused"),
        };
        Err(Problem::new(exit, reason, said).why(format!("the server answered {status}")))
    }

    /// How a command ends that got this refusal.
    pub(super) fn exit(&self) -> Exit {
        exit_of(self.status)
    }
}

/// Sends a request and reads the answer.
pub(super) async fn send(request: RequestBuilder, limit: Duration) -> Result<Answer, Problem> {
    let lost = |error: reqwest::Error| {
        Problem::new(Exit::Unreachable, "server", "the server did not answer")
            .why(error.to_string())
            .next("towpath doctor")
    };
    let mut response = request.timeout(limit).send().await.map_err(lost)?;
    let status = response.status();
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(lost)? {
        body.extend_from_slice(&chunk);
        if body.len() > ANSWER_MAX {
            let message = format!("the answer is longer than {ANSWER_MAX} bytes");
            return Err(Problem::new(Exit::Failed, "too-large", message));
        }
    }
    Ok(Answer { status, body })
}

/// Prints data as it is where a program wants it.
pub(super) fn as_data(context: &Context, data: &Value) -> bool {
    match context.output {
        Output::Json => println!("{}", serde_json::to_string_pretty(data).unwrap_or_default()),
        Output::Yaml => println!("{}", serde_saphyr::to_string(data).unwrap_or_default()),
        Output::Table | Output::Name => return false,
    }
    true
}

/// Prints one of many documents where a program wants them: a line of JSON, or YAML with its mark.
pub(super) fn as_document(context: &Context, document: &Value) -> bool {
    match context.output {
        Output::Json => println!("{document}"),
        Output::Yaml => println!(
            "---\n{}",
            serde_saphyr::to_string(document).unwrap_or_default()
        ),
        Output::Table | Output::Name => return false,
    }
    true
}

/// How a command ends that was refused with this status.
pub(super) fn exit_of(status: StatusCode) -> Exit {
    match status {
        StatusCode::NOT_FOUND => Exit::NotFound,
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Exit::Denied,
        _ => Exit::Failed,
    }
}

/// A duration above zero that a flag names.
pub(super) fn duration(name: &str, text: &str) -> Result<Duration, Problem> {
    let ms = parse_duration(text)
        .ok()
        .and_then(|ms| u64::try_from(ms).ok())
        .filter(|ms| *ms > 0);
    ms.map(Duration::from_millis).ok_or_else(|| {
        let what = format!("--{name} {text} is no duration");
        Problem::new(Exit::Failed, "usage", what).why("it is written like 90s, 5m or 1h30m")
    })
}

/// Text as it stands in an address or a form.
pub(super) fn escaped(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte);
    text.bytes()
        .map(|byte| match byte {
            byte if plain(byte) => char::from(byte).to_string(),
            byte => format!("%{byte:02X}"),
        })
        .collect()
}
