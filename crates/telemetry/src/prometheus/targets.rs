//! `targets`, `targets/metadata`, `scrape_pools`, `metadata`: what is scraped, and what it says
//! of itself.

use std::collections::BTreeMap;

use towpath_query::promql::{Labels, Matcher, parse_selector};
use towpath_signals::Metadata;

use super::Call;
use super::fault::Fault;
use super::json::{self, Object};
use super::notices::Notices;
use super::params::whole;
use super::reply::Reply;
use crate::scrape::relabel::Rule;

/// How a target did at the last scrape.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Health {
    /// It was not scraped yet.
    #[default]
    Unknown,
    /// It answered.
    Up,
    /// It did not.
    Down,
}

impl Health {
    fn name(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Up => "up",
            Self::Down => "down",
        }
    }
}

/// A target that is scraped.
#[derive(Clone, Debug, Default)]
pub struct ActiveTarget {
    /// Labels before any processing.
    pub discovered: Labels,
    /// Labels that its series get.
    pub labels: Labels,
    /// The scrape configuration it belongs to.
    pub pool: String,
    /// What is asked.
    pub url: String,
    /// Why the last scrape failed, or empty.
    pub last_error: String,
    /// When it was scraped last, nanoseconds since the epoch.
    pub last_scrape_ns: Option<u64>,
    /// How long that took, in seconds.
    pub last_duration: f64,
    /// How it went.
    pub health: Health,
    /// Between two scrapes, as configured.
    pub interval: String,
    /// The most one scrape may take, as configured.
    pub timeout: String,
}

/// A target that relabelling dropped.
#[derive(Clone, Debug, Default)]
pub struct DroppedTarget {
    /// Labels before any processing.
    pub discovered: Labels,
    /// The scrape configuration it belongs to.
    pub pool: String,
}

/// What is scraped. Implemented by the collection.
pub trait Targets: Send + Sync {
    /// Names of the scrape configurations.
    fn pools(&self) -> Vec<String>;
    /// Targets that are scraped.
    fn active(&self) -> Vec<ActiveTarget>;
    /// Targets that relabelling dropped, as far as they are kept.
    fn dropped(&self) -> Vec<DroppedTarget>;
    /// How many were dropped, by scrape configuration.
    fn dropped_counts(&self) -> BTreeMap<String, usize> {
        let mut counts: BTreeMap<String, usize> =
            self.pools().into_iter().map(|pool| (pool, 0)).collect();
        for target in self.dropped() {
            *counts.entry(target.pool).or_default() += 1;
        }
        counts
    }
    /// What a target says about its metrics, by family.
    fn metadata(&self, target: &ActiveTarget) -> BTreeMap<String, Metadata>;
    /// The rules for targets of a scrape configuration; none where there is no such.
    fn relabelling(&self, _pool: &str) -> Option<Vec<Rule>> {
        None
    }
    /// What users are to be told of the collection.
    fn notices(&self) -> Notices {
        Notices::default()
    }
}

/// Nothing is scraped here.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoTargets;

impl Targets for NoTargets {
    fn pools(&self) -> Vec<String> {
        Vec::new()
    }

    fn active(&self) -> Vec<ActiveTarget> {
        Vec::new()
    }

    fn dropped(&self) -> Vec<DroppedTarget> {
        Vec::new()
    }

    fn metadata(&self, _: &ActiveTarget) -> BTreeMap<String, Metadata> {
        BTreeMap::new()
    }
}

/// Names of scrape configurations.
pub(super) fn pools(call: &Call, reply: &mut Reply) -> Result<(), Fault> {
    let mut pools = call.api.targets.pools();
    pools.sort();
    let mut data = Object::begin(reply.data());
    json::list(data.field("scrapePools"), &pools, |out, pool| {
        json::text(out, pool);
    });
    data.end();
    Ok(())
}

/// Targets, of all scrape configurations or one, scraped or dropped.
pub(super) fn list(call: &Call, reply: &mut Reply) -> Result<(), Fault> {
    let state = call.form.of_query("state").to_lowercase();
    let wanted_pool = call.form.of_query("scrapePool");
    let shows = |which: &str| matches!(&*state, "" | "any") || state == which;
    let in_pool = |pool: &str| wanted_pool.is_empty() || wanted_pool == pool;
    let targets = &call.api.targets;
    let mut data = Object::begin(reply.data());
    let mut active = Vec::new();
    if shows("active") {
        active = targets.active();
        active.retain(|target| in_pool(&target.pool));
        active.sort_by(|a, b| a.pool.cmp(&b.pool));
    }
    json::list(data.field("activeTargets"), &active, write_active);
    let mut dropped = Vec::new();
    if shows("dropped") {
        dropped = targets.dropped();
        dropped.retain(|target| in_pool(&target.pool));
        dropped.sort_by(|a, b| a.pool.cmp(&b.pool));
    }
    json::list(data.field("droppedTargets"), &dropped, |out, target| {
        let mut object = Object::begin(out);
        json::labels(object.field("discoveredLabels"), &target.discovered);
        object.text("scrapePool", &target.pool);
        object.end();
    });
    let counts = data.field("droppedTargetCounts");
    if shows("dropped") {
        let mut object = Object::begin(counts);
        for (pool, count) in targets.dropped_counts() {
            object.raw(&pool, count);
        }
        object.end();
    } else {
        counts.extend_from_slice(b"null");
    }
    data.end();
    Ok(())
}

fn write_active(out: &mut Vec<u8>, target: &ActiveTarget) {
    let mut object = Object::begin(out);
    json::labels(object.field("discoveredLabels"), &target.discovered);
    json::labels(object.field("labels"), &target.labels);
    object.text("scrapePool", &target.pool);
    object.text("scrapeUrl", &target.url);
    object.text("globalUrl", &target.url);
    object.text("lastError", &target.last_error);
    json::time(object.field("lastScrape"), target.last_scrape_ns);
    object.number("lastScrapeDuration", target.last_duration);
    object.text("health", target.health.name());
    object.text("scrapeInterval", &target.interval);
    object.text("scrapeTimeout", &target.timeout);
    object.end();
}

fn count(call: &Call, name: &str) -> Result<Option<i64>, Fault> {
    let text = call.form.get(name);
    if text.is_empty() {
        return Ok(None);
    }
    match whole(text) {
        Ok(count) => Ok(Some(count)),
        Err(_) => Err(Fault::bad_data(format!("{name} must be a number"))),
    }
}

/// What targets say about their metrics, target by target.
pub(super) fn target_metadata(call: &Call, reply: &mut Reply) -> Result<(), Fault> {
    let limit = count(call, "limit")?.filter(|limit| *limit >= 0);
    let selector = call.form.get("match_target");
    let matchers: Vec<Matcher> = if selector.is_empty() {
        Vec::new()
    } else {
        parse_selector(selector)
            .map_err(|error| Fault::parameter("match_target", &error.to_string()))?
    };
    let metric = call.form.get("metric");
    let targets = &call.api.targets;
    let out = reply.data();
    out.push(b'[');
    let mut written = 0;
    for target in targets.active() {
        if limit.is_some_and(|limit| written >= limit) {
            break;
        }
        let passes = |m: &Matcher| m.matches(target.labels.get(&m.name));
        if !matchers.iter().all(passes) {
            continue;
        }
        for (family, metadata) in targets.metadata(&target) {
            if !metric.is_empty() && metric != family {
                continue;
            }
            if written > 0 {
                out.push(b',');
            }
            written += 1;
            let mut object = Object::begin(out);
            json::labels(object.field("target"), &target.labels);
            if metric.is_empty() {
                object.text("metric", &family);
            }
            object.text("type", kind(&metadata));
            object.text("help", &metadata.help);
            object.text("unit", &metadata.unit);
            object.end();
        }
    }
    out.push(b']');
    Ok(())
}

fn kind(metadata: &Metadata) -> &str {
    if metadata.kind.is_empty() {
        "unknown"
    } else {
        &metadata.kind
    }
}

/// What is said about metric families.
pub(super) fn metadata(call: &Call, reply: &mut Reply) -> Result<(), Fault> {
    let limit = count(call, "limit")?.filter(|limit| *limit >= 0);
    let per_family = count(call, "limit_per_metric")?.filter(|limit| *limit > 0);
    let metric = call.form.get("metric");
    let families = call
        .api
        .read
        .families((!metric.is_empty()).then_some(metric));
    let most = limit.map_or(usize::MAX, |limit| limit as usize);
    let each = per_family.map_or(usize::MAX, |limit| limit as usize);
    let mut data = Object::begin(reply.data());
    for (family, said) in families.iter().take(most) {
        let said = said.iter().take(each);
        json::list(data.field(family), said, |out, metadata| {
            let mut object = Object::begin(out);
            object.text("type", kind(metadata));
            object.text("unit", &metadata.unit);
            object.text("help", &metadata.help);
            object.end();
        });
    }
    data.end();
    Ok(())
}
