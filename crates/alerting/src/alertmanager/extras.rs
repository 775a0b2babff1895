//! What we know of receivers beyond upstream: a file of its own, so that upstream's programs still
//! accept the main one.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;
use serde_saphyr::Spanned;
use towpath_query::promql::quote;

use super::config::Config;
use super::dispatch::Throttle;
use crate::Finding;
use crate::yaml::{self, Span, place};

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Raw {
    receivers: BTreeMap<String, Spanned<RawReceiver>>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct RawReceiver {
    throttle: Option<RawThrottle>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawThrottle {
    #[serde(default = "one")]
    burst: u32,
    every: Span,
    #[serde(default = "severity")]
    label: String,
    #[serde(default)]
    bypass: BTreeSet<String>,
}

fn one() -> u32 {
    1
}

fn severity() -> String {
    "severity".to_owned()
}

impl Config {
    /// Adds what a file of our own says of receivers.
    ///
    /// # Errors
    /// The first thing that is wrong in it.
    pub fn extend(&mut self, text: &str) -> Result<(), Finding> {
        let raw: Raw = yaml::read(text)?;
        for (name, given) in raw.receivers {
            let at = place(&given);
            if self.receiver(&name).is_none() {
                let name = quote(&name);
                return Err(Finding::at(at, format!("undefined receiver {name}")));
            }
            let Some(throttle) = given.value.throttle else {
                continue;
            };
            if throttle.burst == 0 || throttle.every.0 <= 0 {
                let why = "throttle: burst and every must be more than zero";
                return Err(Finding::at(at, why));
            }
            let throttle = Throttle {
                burst: throttle.burst,
                every_ms: throttle.every.0,
                label: throttle.label,
                bypass: throttle.bypass,
            };
            self.throttles.insert(name, throttle);
        }
        Ok(())
    }
}
