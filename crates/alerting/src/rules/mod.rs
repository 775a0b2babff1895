//! Recording and alerting rules, as Prometheus has them.
//!
//! [`read`] makes groups of a file, [`Group::evaluate`] says what a group gives at a time: samples
//! go to an [`Output`] as each rule is done, since the next may ask for them, and alerts are
//! returned. [`unit`] runs the tests that promtool runs.

mod alert;
mod file;
mod group;
mod humanize;
mod memory;
mod restore;
mod standard;
mod template;
pub mod unit;

pub use alert::{Active, Alerting, State};
pub use file::{GroupSpec, RuleSpec, read};
pub use group::{Group, Health, Kind, Notice, Output, Recording, Rule, Shared, World, Written};
pub use memory::Memory;
pub use restore::Restore;
pub use standard::STANDARD;
pub use template::{Data, Expander};

use towpath_query::promql::Labels;

/// Labels with some changed; empty values take away.
pub(crate) fn changed<'a>(
    labels: &'a Labels,
    changes: impl IntoIterator<Item = (&'a str, &'a str)>,
) -> Labels {
    labels.iter().chain(changes).collect()
}

/// A span of seconds for people.
pub(crate) fn humanized_duration(value: &towpath_query::template::Value) -> Result<String, String> {
    Ok(humanize::duration(humanize::number(value)?))
}
