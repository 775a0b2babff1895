//! Images from elsewhere: which registry to ask, once at a time, and not again too soon.

use crate::Error;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};
use towpath_oci::client::{Client, Login};

/// Another registry, used for references to a host.
#[derive(Clone, Debug)]
pub struct Upstream {
    /// Host that references name, e.g. `registry-1.docker.io`.
    pub host: String,
    /// Host to ask instead, e.g. a mirror; the same where there is none.
    pub endpoint: String,
    /// Credential for the endpoint.
    pub login: Option<Login>,
}

// How long a failure is remembered: an air-gapped machine must not wait for every pod.
const NEGATIVE: Duration = Duration::from_secs(60);
const REMEMBERED: usize = 1024;

pub(crate) struct Origin {
    pub(crate) client: Client,
    endpoints: HashMap<String, String>,
    failures: Mutex<HashMap<String, (Instant, String)>>,
    flights: Mutex<HashMap<String, Arc<tokio::sync::Mutex<()>>>>,
}

impl Origin {
    pub(crate) fn new(upstreams: Vec<Upstream>) -> Result<Self, Error> {
        let mut logins = HashMap::new();
        let mut endpoints = HashMap::new();
        for upstream in upstreams {
            if let Some(login) = upstream.login {
                logins.insert(upstream.endpoint.clone(), login);
            }
            endpoints.insert(upstream.host, upstream.endpoint);
        }
        Ok(Self {
            client: Client::new(logins)?,
            endpoints,
            failures: Mutex::default(),
            flights: Mutex::default(),
        })
    }

    pub(crate) fn endpoint<'a>(&'a self, host: &'a str) -> &'a str {
        self.endpoints.get(host).map_or(host, String::as_str)
    }

    /// The lock under which one reference is pulled; others wait and then find it here.
    pub(crate) fn flight(&self, reference: &str) -> Arc<tokio::sync::Mutex<()>> {
        let mut flights = self.flights.lock();
        flights.retain(|_, flight| Arc::strong_count(flight) > 1);
        flights.entry(reference.to_string()).or_default().clone()
    }

    /// A failure of this reference a moment ago.
    pub(crate) fn failed(&self, reference: &str, now: Instant) -> Option<String> {
        let failures = self.failures.lock();
        let (at, cause) = failures.get(reference)?;
        (now.saturating_duration_since(*at) < NEGATIVE).then(|| cause.clone())
    }

    pub(crate) fn remember(&self, reference: &str, now: Instant, cause: String) {
        let mut failures = self.failures.lock();
        if failures.len() >= REMEMBERED {
            failures.clear();
        }
        failures.insert(reference.to_string(), (now, cause));
    }
}
