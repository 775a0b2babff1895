//! Messages on their way: over HTTP, or by mail; each with a deadline.

mod dial;
mod http;
mod smtp;

use std::sync::Arc;
use std::time::Duration;

use towpath_alerting::alertmanager::{
    Fault, Integration, Mask, Message, Messages, Next, Outcome, Rendered, Way, render,
};

/// The longest a message may take where its configuration says nothing.
const DEADLINE: Duration = Duration::from_secs(20);
/// The longest that a configuration may ask for.
const DEADLINE_MOST: Duration = Duration::from_secs(600);
/// The longest wait an answer may ask for.
const RETRY_AFTER_MS: i64 = 3_600_000;
/// No talk has more requests.
const MAX_REQUESTS: usize = 16;
/// No body is shown further, in bytes.
const SHOWN_BYTES: usize = 32 << 10;

/// A fault that may go away.
fn later(why: impl Into<String>) -> Fault {
    Fault {
        why: why.into(),
        again: true,
        after_ms: None,
    }
}

/// A fault that stays.
fn refused(why: impl Into<String>) -> Fault {
    Fault {
        why: why.into(),
        again: false,
        after_ms: None,
    }
}

/// How an attempt went. Nothing in it is secret.
pub(super) struct Attempt {
    pub(super) result: Result<(), Fault>,
    /// What was sent.
    pub(super) body: String,
    /// The last status that was answered, of HTTP or of SMTP.
    pub(super) status: Option<u16>,
}

impl Attempt {
    fn failed(fault: Fault) -> Self {
        Self {
            result: Err(fault),
            body: String::new(),
            status: None,
        }
    }

    pub(super) fn outcome(&self) -> Outcome {
        match &self.result {
            Ok(()) => Outcome::Delivered,
            Err(fault) if fault.again => {
                let wait = fault.after_ms.map(|ms| ms.clamp(0, RETRY_AFTER_MS));
                Outcome::Later(wait)
            }
            Err(_) => Outcome::Refused,
        }
    }
}

/// What goes on while a message is sent, for who is told afterwards.
#[derive(Default)]
struct Trace {
    body: String,
    status: Option<u16>,
}

impl Trace {
    fn sent(&mut self, text: &str) {
        let left = SHOWN_BYTES.saturating_sub(self.body.len());
        let mut end = left.min(text.len());
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        if !self.body.is_empty() && end > 0 {
            self.body.push('\n');
        }
        self.body.push_str(&text[..end]);
    }
}

pub(super) struct Sender {
    dial: dial::Dial,
}

fn secret(path: &str) -> Result<String, String> {
    let bytes = towpath_stdx::bounded::read_file(std::path::Path::new(path), 1 << 20)
        .map_err(|error| format!("{path}: {error}"))?;
    String::from_utf8(bytes).map_err(|_| format!("{path}: not UTF-8"))
}

impl Sender {
    pub(super) fn new(allow_local: bool) -> Self {
        Self {
            dial: dial::Dial::new(allow_local),
        }
    }

    pub(super) async fn send(
        &self,
        integration: &Integration,
        message: &Message,
        messages: &Arc<Messages>,
    ) -> Attempt {
        let (of, own, messages) = (integration.clone(), message.clone(), Arc::clone(messages));
        let made = tokio::task::spawn_blocking(move || render(&of, &own, &messages, &secret));
        let made = match made.await {
            Ok(Ok(made)) => made,
            Ok(Err(why)) => return Attempt::failed(refused(why)),
            Err(error) => return Attempt::failed(refused(error.to_string())),
        };
        let limit = made.timeout_ms.map_or(DEADLINE, |ms| {
            Duration::from_millis(ms.unsigned_abs()).min(DEADLINE_MOST)
        });
        let mask = made.mask.clone();
        let mut trace = Trace::default();
        let done = tokio::time::timeout(limit, self.go(made, &message.id, &mut trace)).await;
        let mut result = done.unwrap_or_else(|_| Err(later("it took too long")));
        if let Err(fault) = &mut result {
            fault.why = mask.text(&fault.why);
        }
        Attempt {
            result,
            body: trace.body,
            status: trace.status,
        }
    }

    async fn go(&self, made: Rendered, key: &str, trace: &mut Trace) -> Result<(), Fault> {
        let mask: Mask = made.mask;
        let mut talk = match made.way {
            Way::Mail(mail) => {
                trace.sent(&mask.text(&mail.text));
                return smtp::send(&self.dial, &mail, trace).await;
            }
            Way::Talk(talk) => talk,
        };
        let mut answer = None;
        for _ in 0..MAX_REQUESTS {
            match talk.next(answer.take())? {
                Next::Done => return Ok(()),
                Next::Ask(request) => {
                    trace.sent(&request.shown(&mask));
                    let got = http::ask(&self.dial, &made.access, &request, key).await?;
                    trace.status = Some(got.status);
                    answer = Some(got);
                }
            }
        }
        Err(refused("the talk with the service does not end"))
    }
}
