//! A server that knows what was before.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{HeaderMap, Method};
use parking_lot::Mutex;
use towpath_stdx::Clock;

use crate::outgrow::call::{Ask, CallError, Remote, Reply};
use crate::outgrow::settings::{ReadThrough, Wrong};

/// How long a server that did not answer is left alone.
const REST: Duration = Duration::from_secs(15);

/// A server, and how it does.
pub(super) struct Past {
    pub(super) remote: Remote,
    /// What is older is asked there, milliseconds since the epoch.
    pub(super) before: i64,
    /// The largest answer, unpacked, in bytes.
    pub(super) limit: usize,
    clock: Arc<dyn Clock>,
    /// Until when it is left alone, and why.
    resting: Mutex<Option<(Instant, String)>>,
}

impl Past {
    pub(super) fn new(own: &ReadThrough, clock: Arc<dyn Clock>) -> Result<Self, Wrong> {
        Ok(Self {
            remote: Remote::new(own.address()?, own.access.clone(), own.timeout()),
            before: own.before_ms()?,
            limit: own.answer_bytes(),
            clock,
            resting: Mutex::default(),
        })
    }

    /// What is said in answers that lack what this server has.
    pub(super) fn remark(&self, why: &str) -> String {
        let before = jiff::Timestamp::from_millisecond(self.before);
        let before = before.map_or_else(|_| self.before.to_string(), |time| time.to_string());
        format!("read-through: what is before {before} is missing: {why}")
    }

    /// Asks for a path below the address, unless it failed a moment ago.
    pub(super) async fn ask(
        &self,
        method: Method,
        path: &str,
        headers: HeaderMap,
        body: Bytes,
    ) -> Result<Reply, String> {
        if let Some((until, why)) = &*self.resting.lock()
            && self.clock.monotonic() < *until
        {
            return Err(why.clone());
        }
        let asked = self.remote.ask(Ask {
            method,
            path: format!("{}{path}", self.remote.path()),
            headers,
            body,
            limit: self.limit,
        });
        match asked.await {
            Ok(reply) => {
                *self.resting.lock() = None;
                Ok(reply)
            }
            Err(error) => {
                let why = error.to_string();
                let gone = matches!(error, CallError::Late(_) | CallError::Unreachable(..));
                if gone {
                    let until = self.clock.monotonic() + REST;
                    *self.resting.lock() = Some((until, why.clone()));
                }
                Err(why)
            }
        }
    }

    /// The answer to a GET, where it is a success.
    pub(super) async fn get(&self, path: &str, headers: HeaderMap) -> Result<Reply, String> {
        let reply = self.ask(Method::GET, path, headers, Bytes::new()).await?;
        match reply.status.is_success() {
            true => Ok(reply),
            false => Err(format!("{}: {}", self.remote.name(), reply.told())),
        }
    }

    /// The same, as JSON.
    pub(super) async fn json(&self, path: &str) -> Result<serde_json::Value, String> {
        let reply = self.get(path, HeaderMap::new()).await?;
        serde_json::from_slice(&reply.body)
            .map_err(|error| format!("{}: {error}", self.remote.name()))
    }
}

/// Parameters as they stand in an address.
pub(super) fn query(pairs: &[(&str, String)]) -> String {
    let pairs = pairs.iter();
    let pairs = pairs.map(|(name, value)| format!("{}={}", escaped(name), escaped(value)));
    pairs.collect::<Vec<_>>().join("&")
}

pub(super) fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}
