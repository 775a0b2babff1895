//! How long traces are kept: blocks as a whole, and within them by service.
//!
//! A block goes when nothing in it is kept any longer, or when there is too much. A trace belongs to
//! what sent its root, or its first span where the root is not known. A block in which something is
//! kept no longer is written anew, at most once a day and by whole days (UTC).

use std::sync::Arc;
use std::time::Duration;

use towpath_query::promql::Matcher;
use towpath_query::traceql::{Resource, Value};

use super::block::Block;
use super::join::Candidate;
use super::store::Store;
use super::upkeep::{age, remove};
use super::{Error, Rule};
use crate::freed::Reason;
use crate::segment::SegmentError;

/// A day in nanoseconds.
const DAY: u64 = 86_400_000_000_000;
/// So many days a block of what rules keep long is left alone.
const WEEK: u64 = 7;

/// The attribute of resources that a matcher is about.
fn attribute(matcher: &Matcher) -> &str {
    match matcher.name.as_str() {
        "service" | "service_name" => "service.name",
        name => name,
    }
}

fn passes(matcher: &Matcher, resource: &Resource) -> bool {
    let name = attribute(matcher);
    let found = resource.attributes.iter().find(|(own, _)| **own == *name);
    match found {
        Some((_, Value::Text(text))) => matcher.matches(text),
        _ => matcher.matches(""),
    }
}

impl Rule {
    fn fits(&self, resource: &Resource) -> bool {
        self.matchers
            .iter()
            .all(|matcher| passes(matcher, resource))
    }

    /// Whether traces of a block may fit.
    fn may_fit(&self, block: &Block) -> Result<bool, SegmentError> {
        for matcher in &self.matchers {
            let mut any = matcher.matches("");
            let label = format!("resource.{}", attribute(matcher));
            block.reader.values(&label, |value| {
                let text = value.strip_prefix("s:");
                any |= text.is_none_or(|text| matcher.matches(text));
            })?;
            if !any {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

/// The day before which nothing is kept.
fn cut(keep: Duration, now_ns: u64) -> u64 {
    now_ns.saturating_sub(nanos(keep)) / DAY * DAY
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

impl Store {
    /// Whether a trace of a block of some age is kept.
    pub(super) fn keeps(&self, trace: &Candidate<'_>, newest_ns: u64) -> bool {
        let options = &self.0.options;
        let mut keep = options.retention;
        if !options.rules.is_empty() {
            let resource = trace.resource().unwrap_or_default();
            let rule = options.rules.iter().find(|rule| rule.fits(&resource));
            keep = rule.map_or(keep, |rule| rule.keep);
        }
        trace.end_ns.min(newest_ns) >= cut(keep, self.now_ns())
    }

    /// Lets go what is too old, and the oldest of what is too much.
    pub(super) fn expire(&self) {
        let options = &self.0.options;
        let rules = options.rules.iter().map(|rule| nanos(rule.keep));
        let keep_ns = rules.chain([nanos(options.retention)]).max().unwrap_or(0);
        let oldest_ns = self.now_ns().saturating_sub(keep_ns);
        let mut gone = Vec::new();
        let mut state = self.0.state.lock();
        // What is in a bucket can leave the disk at any time.
        let counts = |block: &Block| !self.0.depot.as_ref().is_some_and(|d| d.has(block.number));
        let counted = state.blocks.iter().filter(|block| counts(block));
        let mut total: u64 = counted.map(|block| block.reader.bytes()).sum();
        let mut by_age = state.blocks.clone();
        by_age.sort_by_key(|block| age(block));
        for block in by_age {
            let reason = match age(&block) >= oldest_ns {
                false => Reason::Retention,
                true if total <= options.max_bytes => break,
                true if !counts(&block) => continue,
                true => Reason::Size,
            };
            if counts(&block) {
                total -= block.reader.bytes();
            }
            self.0.freed.add(reason, block.reader.bytes() as i64);
            gone.push(block);
        }
        let gone_numbers: Vec<u64> = gone.iter().map(|block| block.number).collect();
        state
            .blocks
            .retain(|block| !gone_numbers.contains(&block.number));
        drop(state);
        gone.iter().for_each(|block| remove(block));
        if !gone.is_empty() {
            self.changed();
        }
    }

    /// Writes blocks anew in which something is kept no longer.
    pub(super) fn trim(&self) -> Result<(), Error> {
        if self.rests() {
            return Ok(());
        }
        let options = &self.0.options;
        let now_ns = self.now_ns();
        let today = now_ns / DAY;
        let blocks = self.0.state.lock().blocks.clone();
        for block in &blocks {
            let unreadable = self.0.unreadable.lock().contains(&block.number);
            let looked = self.0.trimmed.lock().get(&block.number).copied();
            if looked.is_some_and(|day| day >= today) || unreadable {
                continue;
            }
            self.0.trimmed.lock().insert(block.number, today);
            let older = |keep| block.meta.start_ns.min(age(block)) < cut(keep, now_ns);
            let mut due = older(options.retention);
            for rule in options.rules.iter().filter(|rule| older(rule.keep)) {
                due |= rule.may_fit(block)?;
            }
            if !due {
                continue;
            }
            let made = self.rewrite(&[Arc::clone(block)], Some(Reason::Retention));
            if made.is_err() && self.rests() {
                self.0.trimmed.lock().remove(&block.number);
            }
            if let Some(made) = made? {
                // Where all that is old is kept by rules there is no need to look every day.
                let long = age(block) < cut(options.retention, now_ns);
                let next = if long { today + WEEK } else { today };
                self.0.trimmed.lock().insert(made, next);
            }
        }
        let blocks = self.0.state.lock().blocks.clone();
        let there = |number: &u64| blocks.iter().any(|block| block.number == *number);
        self.0.trimmed.lock().retain(|number, _| there(number));
        Ok(())
    }
}
