//! What the operator writes about other servers: `[[telemetry.mirror]]` and
//! `[[telemetry.read-through]]`. Secrets are named by file and never written here, so that the
//! settings can be shown.

use std::collections::BTreeMap;
use std::time::Duration;

use http::Uri;
use serde::{Deserialize, Serialize};
use towpath_api::quantity::Quantity;
use towpath_query::promql::parse_duration;

use crate::scrape::relabel::{self, Rule};

/// One kind of telemetry.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Signal {
    /// Samples.
    #[default]
    Metrics,
    /// Lines.
    Logs,
    /// Spans.
    Traces,
}

impl Signal {
    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Metrics => "metrics",
            Self::Logs => "logs",
            Self::Traces => "traces",
        }
    }
}

/// What happens when a queue is full.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum WhenFull {
    /// What waits longest is dropped, and counted.
    #[default]
    DropOldest,
    /// Nothing more is taken in, neither here nor there: senders are told to try later.
    Refuse,
}

/// Which messages metrics are sent in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Protocol {
    /// Remote write 2.0, and 1.0 to who does not know it.
    #[default]
    #[serde(rename = "auto")]
    Auto,
    /// Remote write 1.0.
    #[serde(rename = "1.0")]
    One,
    /// Remote write 2.0.
    #[serde(rename = "2.0")]
    Two,
}

/// How another server is reached.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct Access {
    /// User of basic authentication.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub username: Option<String>,
    /// File with the password.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub password_file: Option<String>,
    /// File with a bearer token.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bearer_token_file: Option<String>,
    /// File with certificates that are trusted instead of the machine's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ca_file: Option<String>,
    /// File with a certificate of our own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cert_file: Option<String>,
    /// File with its key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key_file: Option<String>,
    /// The name that the other's certificate must have, where it is not that of the address.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub server_name: Option<String>,
    /// Whether the other's certificate is not looked at.
    pub insecure_skip_verify: bool,
    /// Further headers, such as a tenant's name; no secrets.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub headers: BTreeMap<String, String>,
}

/// A rule for labels, as in `write_relabel_configs` of Prometheus; names with hyphens or
/// underscores.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct Relabel {
    /// Labels whose values are joined.
    #[serde(alias = "source_labels", skip_serializing_if = "Option::is_none")]
    pub source_labels: Option<Vec<String>>,
    /// Between them; `;` where nothing is said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub separator: Option<String>,
    /// What they have to match.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub regex: Option<String>,
    /// Of `hashmod`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub modulus: Option<u64>,
    /// The label that is set.
    #[serde(alias = "target_label", skip_serializing_if = "Option::is_none")]
    pub target_label: Option<String>,
    /// What it is set to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub replacement: Option<String>,
    /// What the rule does; `replace` where nothing is said.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub action: String,
}

impl Relabel {
    fn written(&self) -> Result<relabel::Written, String> {
        let action = match self.action.as_str() {
            "" => "replace",
            other => other,
        };
        let action = serde_json::Value::from(action);
        Ok(relabel::Written {
            source_labels: self.source_labels.clone(),
            separator: self.separator.clone(),
            regex: self.regex.clone(),
            modulus: self.modulus,
            target_label: self.target_label.clone(),
            replacement: self.replacement.clone(),
            action: serde_json::from_value(action).map_err(|error| error.to_string())?,
        })
    }
}

/// Where new data of one signal is copied to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct Mirror {
    /// What is copied.
    pub signal: Signal,
    /// What the queue is called; where absent the host's name.
    pub name: String,
    /// The whole address: of remote write, of `…/loki/api/v1/push`, of `…/v1/traces`.
    pub url: String,
    /// How long one request may take.
    pub timeout: String,
    /// What may wait on the disk, as a quantity.
    pub queue: String,
    /// What happens when that is reached.
    pub when_full: WhenFull,
    /// Packed bytes that are sent in a second, as a quantity.
    pub rate: String,
    /// Samples, lines or spans of a request.
    pub batch: u32,
    /// Which messages metrics are sent in.
    pub protocol: Protocol,
    /// Labels that are added where a series has none of that name; of metrics and logs.
    pub external_labels: BTreeMap<String, String>,
    /// How the other is reached.
    pub access: Access,
    /// Rules for labels; of metrics.
    pub write_relabel_configs: Vec<Relabel>,
}

impl Default for Mirror {
    fn default() -> Self {
        Self {
            signal: Signal::Metrics,
            name: String::new(),
            url: String::new(),
            timeout: "30s".into(),
            queue: "1Gi".into(),
            when_full: WhenFull::DropOldest,
            rate: "8Mi".into(),
            batch: 5000,
            protocol: Protocol::Auto,
            external_labels: BTreeMap::new(),
            access: Access::default(),
            write_relabel_configs: Vec::new(),
        }
    }
}

/// Where data of one signal lies that is older than what is here.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct ReadThrough {
    /// What is asked for.
    pub signal: Signal,
    /// The address below which the API is: of a Prometheus, Loki or Tempo.
    pub url: String,
    /// What is older is asked there: a time as in RFC 3339.
    pub before: String,
    /// The most a query waits for it.
    pub timeout: String,
    /// The largest answer, unpacked, as a quantity.
    pub answer: String,
    /// Labels that tell copies apart and are taken away; of metrics.
    pub replica_labels: Vec<String>,
    /// How the other is reached.
    pub access: Access,
}

impl Default for ReadThrough {
    fn default() -> Self {
        Self {
            signal: Signal::Metrics,
            url: String::new(),
            before: String::new(),
            timeout: "10s".into(),
            answer: "128Mi".into(),
            replica_labels: Vec::new(),
            access: Access::default(),
        }
    }
}

/// A setting that cannot be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{name}={value:?}: {reason}")]
pub struct Wrong {
    /// Which.
    pub name: &'static str,
    /// What was given.
    pub value: String,
    /// Why not.
    pub reason: String,
}

fn wrong(name: &'static str, value: &str, reason: impl Into<String>) -> Wrong {
    Wrong {
        name,
        value: value.into(),
        reason: reason.into(),
    }
}

fn bytes(name: &'static str, text: &str, least: u64) -> Result<u64, Wrong> {
    let quantity = Quantity::parse(text).ok();
    let bytes = quantity.and_then(|quantity| u64::try_from(quantity.units()).ok());
    bytes.filter(|bytes| *bytes >= least).ok_or_else(|| {
        let reason = format!("a quantity of at least {least} bytes, e.g. 1Gi");
        wrong(name, text, reason)
    })
}

fn duration(name: &'static str, text: &str) -> Result<Duration, Wrong> {
    let ms = parse_duration(text).ok().filter(|ms| *ms > 0);
    let ms = ms.ok_or_else(|| wrong(name, text, "a time, e.g. 10s"))?;
    Ok(Duration::from_millis(ms.unsigned_abs()))
}

fn address(text: &str) -> Result<Uri, Wrong> {
    let uri: Uri = text
        .parse()
        .map_err(|error| wrong("url", text, format!("{error}")))?;
    let known = matches!(uri.scheme_str(), Some("http" | "https"));
    if !known || uri.host().is_none_or(str::is_empty) {
        return Err(wrong("url", text, "an address with http:// or https://"));
    }
    if uri.authority().is_some_and(|a| a.as_str().contains('@')) {
        return Err(wrong(
            "url",
            text.split('@').next_back().unwrap_or_default(),
            "credentials go to access, in files",
        ));
    }
    Ok(uri)
}

impl Access {
    fn check(&self) -> Result<(), Wrong> {
        let basic = self.username.is_some() || self.password_file.is_some();
        if basic && self.bearer_token_file.is_some() {
            let reason = "either a user or a token, not both";
            return Err(wrong("access.bearer-token-file", "", reason));
        }
        if self.cert_file.is_some() != self.key_file.is_some() {
            return Err(wrong(
                "access.cert-file",
                "",
                "a certificate and its key go together",
            ));
        }
        for (name, value) in &self.headers {
            let fine = name.parse::<http::HeaderName>().is_ok()
                && http::HeaderValue::from_str(value).is_ok();
            if !fine || name.eq_ignore_ascii_case("authorization") {
                let reason = "no header that may be set here; credentials go to files";
                return Err(wrong("access.headers", name, reason));
            }
        }
        Ok(())
    }
}

impl Mirror {
    /// What the queue is called: a name that can be a directory's.
    pub fn queue_name(&self) -> String {
        let name = match self.name.as_str() {
            "" => address(&self.url)
                .ok()
                .and_then(|uri| uri.authority().map(ToString::to_string))
                .unwrap_or_default(),
            name => name.to_owned(),
        };
        let plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        let name: String = name
            .chars()
            .map(|c| if plain(c) { c } else { '-' })
            .collect();
        format!("{}-{name}", self.signal.name())
    }

    /// The address.
    ///
    /// # Errors
    /// It is none.
    pub fn address(&self) -> Result<Uri, Wrong> {
        address(&self.url)
    }

    /// The longest a request may take.
    pub fn timeout(&self) -> Duration {
        duration("timeout", &self.timeout).unwrap_or(Duration::from_secs(30))
    }

    /// What may wait on the disk, in bytes.
    pub fn queue_bytes(&self) -> u64 {
        bytes("queue", &self.queue, 0).unwrap_or(1 << 30)
    }

    /// Bytes that are sent in a second.
    pub fn rate_bytes(&self) -> u64 {
        bytes("rate", &self.rate, 1).unwrap_or(8 << 20)
    }

    /// The rules for labels.
    ///
    /// # Errors
    /// One makes no sense.
    pub fn rules(&self) -> Result<Vec<Rule>, Wrong> {
        let written: Result<Vec<_>, String> = self
            .write_relabel_configs
            .iter()
            .map(Relabel::written)
            .collect();
        written
            .and_then(|written| relabel::rules(&written))
            .map_err(|why| wrong("write-relabel-configs", "", why))
    }

    /// Looks whether it can be used.
    ///
    /// # Errors
    /// A setting is impossible.
    pub fn check(&self) -> Result<(), Wrong> {
        self.address()?;
        self.access.check()?;
        duration("timeout", &self.timeout)?;
        bytes("queue", &self.queue, 1 << 20)?;
        bytes("rate", &self.rate, 1 << 10)?;
        if self.batch == 0 {
            return Err(wrong("batch", "0", "at least 1"));
        }
        let rules = self.rules()?;
        if self.signal != Signal::Metrics && !rules.is_empty() {
            let reason = "labels of metrics alone can be changed on the way";
            return Err(wrong("write-relabel-configs", "", reason));
        }
        if self.signal == Signal::Traces && !self.external_labels.is_empty() {
            let reason = "of metrics and logs alone";
            return Err(wrong("external-labels", "", reason));
        }
        Ok(())
    }
}

impl ReadThrough {
    /// The address.
    ///
    /// # Errors
    /// It is none.
    pub fn address(&self) -> Result<Uri, Wrong> {
        address(&self.url)
    }

    /// What is older is asked there, milliseconds since the epoch.
    ///
    /// # Errors
    /// It is no time.
    pub fn before_ms(&self) -> Result<i64, Wrong> {
        let time: Result<jiff::Timestamp, _> = self.before.parse();
        let time = time.map_err(|_| {
            let reason = "a time such as 2026-11-22T00:00:00Z";
            wrong("before", &self.before, reason)
        })?;
        Ok(time.as_millisecond())
    }

    /// The most a query waits.
    pub fn timeout(&self) -> Duration {
        duration("timeout", &self.timeout).unwrap_or(Duration::from_secs(10))
    }

    /// The largest answer, in bytes.
    pub fn answer_bytes(&self) -> usize {
        let bytes = bytes("answer", &self.answer, 0).unwrap_or(128 << 20);
        usize::try_from(bytes).unwrap_or(usize::MAX)
    }

    /// Looks whether it can be used.
    ///
    /// # Errors
    /// A setting is impossible.
    pub fn check(&self) -> Result<(), Wrong> {
        self.address()?;
        self.access.check()?;
        self.before_ms()?;
        duration("timeout", &self.timeout)?;
        bytes("answer", &self.answer, 1 << 20)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_is_named() {
        let good = Mirror {
            url: "https://mimir.example/api/v1/push".into(),
            ..Mirror::default()
        };
        assert_eq!(good.check(), Ok(()));
        assert_eq!(good.queue_name(), "metrics-mimir.example");
        type Change = fn(&mut Mirror);
        let cases: [(Change, &str); 7] = [
            (|own| own.url = "mimir".into(), "url="),
            (|own| own.url = "https://me:secret@mimir/".into(), "access"),
            (|own| own.queue = "1".into(), "queue="),
            (|own| own.timeout = "soon".into(), "timeout="),
            (|own| own.access.cert_file = Some("a".into()), "its key"),
            (
                |own| own.write_relabel_configs.push(Relabel::default()),
                "target_label",
            ),
            (
                |own| {
                    own.access
                        .headers
                        .insert("Authorization".into(), "x".into());
                },
                "files",
            ),
        ];
        for (change, words) in cases {
            let mut own = good.clone();
            change(&mut own);
            let error = own.check().expect_err(words).to_string();
            assert!(error.contains(words), "{error}");
            assert!(!error.contains("secret"), "{error}");
        }
        let through = ReadThrough {
            url: "http://prometheus:9090".into(),
            before: "2026-11-22T00:00:00Z".into(),
            ..ReadThrough::default()
        };
        assert_eq!(through.check(), Ok(()));
        assert_eq!(through.before_ms(), Ok(1_795_305_600_000));
    }
}
