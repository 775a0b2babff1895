//! A group of rules, evaluated one after the other.

use std::collections::{BTreeMap, BTreeSet};

use towpath_query::promql::{
    Expr, Histogram, InstantSample, Labels, NAME, Settings, Source, Value, instant, parse, stale,
};

use super::alert::Alerting;
use super::changed;
use super::file::{GroupSpec, RuleSpec};
use super::template::Expander;

/// An alert to tell. Times are in milliseconds since the epoch.
#[derive(Clone, Debug, PartialEq)]
pub struct Notice {
    /// What it is.
    pub labels: Labels,
    /// What is said about it.
    pub annotations: BTreeMap<String, String>,
    /// Since when it fires.
    pub starts_at: i64,
    /// When it ended, or until when it counts without being told again.
    pub ends_at: i64,
    /// Where its expression can be looked at.
    pub generator_url: String,
    /// The expression.
    pub expr: String,
    /// The value that proved it.
    pub value: f64,
}

/// A sample to write: a number, or a histogram.
#[derive(Clone, Debug)]
pub struct Written {
    /// Whose it is.
    pub labels: Labels,
    /// Milliseconds since the epoch.
    pub at: i64,
    /// The number, unless there is a histogram.
    pub value: f64,
    /// The histogram.
    pub histogram: Option<std::sync::Arc<Histogram>>,
}

/// Takes the samples of rules.
pub trait Output {
    /// Writes samples; what is not taken comes back as a text each, with its position.
    ///
    /// # Errors
    /// Nothing is taken.
    fn write(&self, samples: &[Written]) -> Result<Vec<(usize, String)>, String>;
}

/// What all groups share.
#[derive(Clone, Debug)]
pub struct Shared {
    /// Labels of this server, which templates can see.
    pub external_labels: Vec<(String, String)>,
    /// Where this server is reached, without a slash at the end.
    pub external_url: String,
    /// Between two messages about the same alert, in milliseconds.
    pub resend_ms: i64,
    /// How far back queries look where a group does not say.
    pub query_offset_ms: i64,
    /// Between two evaluations where a group does not say.
    pub interval_ms: i64,
}

impl Default for Shared {
    fn default() -> Self {
        Self {
            external_labels: Vec::new(),
            external_url: String::new(),
            resend_ms: 60_000,
            query_offset_ms: 0,
            interval_ms: 60_000,
        }
    }
}

/// What an evaluation works with.
pub struct World<'a> {
    /// Where samples come from.
    pub source: &'a dyn Source,
    /// Where samples go.
    pub output: &'a dyn Output,
    /// How queries are evaluated.
    pub settings: Settings<'a>,
    /// What all groups share.
    pub shared: &'a Shared,
    /// Seconds on a clock that only goes forward, to tell how long rules take.
    pub seconds: &'a dyn Fn() -> f64,
}

/// A recording rule.
#[derive(Clone, Debug)]
pub struct Recording {
    /// The metric it writes.
    pub name: String,
    /// What it evaluates.
    pub expr: Expr,
    /// Labels it adds.
    pub labels: BTreeMap<String, String>,
}

/// One of the two kinds.
#[derive(Clone, Debug)]
pub enum Kind {
    /// It writes series.
    Recording(Recording),
    /// It raises alerts.
    Alerting(Alerting),
}

/// How the last evaluation went.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Health {
    /// There was none.
    #[default]
    Unknown,
    /// Well.
    Good,
    /// Not: why.
    Bad(String),
}

/// A rule and how it does.
#[derive(Clone, Debug)]
pub struct Rule {
    /// What it is.
    pub kind: Kind,
    /// How the last evaluation went.
    pub health: Health,
    /// When it was last evaluated, in milliseconds since the epoch.
    pub evaluated_at: Option<i64>,
    /// How long that took.
    pub seconds: f64,
    /// Series it wrote the last time.
    series: BTreeSet<Labels>,
}

impl Rule {
    /// Its name.
    pub fn name(&self) -> &str {
        match &self.kind {
            Kind::Recording(rule) => &rule.name,
            Kind::Alerting(rule) => &rule.name,
        }
    }

    /// Labels it adds.
    pub fn labels(&self) -> &BTreeMap<String, String> {
        match &self.kind {
            Kind::Recording(rule) => &rule.labels,
            Kind::Alerting(rule) => &rule.labels,
        }
    }

    /// The alerting rule it is.
    pub fn alerting(&self) -> Option<&Alerting> {
        match &self.kind {
            Kind::Alerting(rule) => Some(rule),
            Kind::Recording(_) => None,
        }
    }
}

/// A group and its state.
#[derive(Clone, Debug)]
pub struct Group {
    /// Where it is from.
    pub file: String,
    /// Its name, the only one in its file.
    pub name: String,
    /// Between two evaluations, in milliseconds.
    pub interval_ms: i64,
    /// How far back queries look, in milliseconds.
    pub query_offset_ms: i64,
    /// The most series or alerts a rule may give; 0 for no limit.
    pub limit: usize,
    /// Its rules, in order.
    pub rules: Vec<Rule>,
    /// When it was last evaluated, in milliseconds since the epoch.
    pub evaluated_at: Option<i64>,
    /// How long that took.
    pub seconds: f64,
    /// Evaluations that did not take place in time.
    pub missed: u64,
    /// Series of rules that are no more.
    gone: Vec<Labels>,
}

impl Group {
    /// A group without state. `restored` says that there is none from before a restart to wait
    /// for.
    pub fn new(file: &str, spec: GroupSpec, shared: &Shared, restored: bool) -> Self {
        let interval_ms = match spec.interval_ms {
            0 => shared.interval_ms,
            own => own,
        };
        Self {
            file: file.to_owned(),
            name: spec.name,
            interval_ms,
            query_offset_ms: spec.query_offset_ms.unwrap_or(shared.query_offset_ms),
            limit: spec.limit,
            rules: spec
                .rules
                .into_iter()
                .map(|rule| rule_of(rule, restored))
                .collect(),
            evaluated_at: None,
            seconds: 0.0,
            missed: 0,
            gone: Vec::new(),
        }
    }

    /// Takes over the state of the group that was here before.
    pub fn adopt(&mut self, mut from: Self) {
        self.evaluated_at = from.evaluated_at;
        self.seconds = from.seconds;
        self.missed = from.missed;
        self.gone.append(&mut from.gone);
        let mut old: Vec<Option<Rule>> = from.rules.into_iter().map(Some).collect();
        for rule in &mut self.rules {
            let same = old.iter_mut().find(|known| {
                known.as_ref().is_some_and(|known| {
                    known.name() == rule.name() && known.labels() == rule.labels()
                })
            });
            let Some(known) = same.and_then(Option::take) else {
                continue;
            };
            rule.series = known.series;
            if let (Kind::Alerting(new), Kind::Alerting(old)) = (&mut rule.kind, known.kind) {
                new.active = old.active;
                new.restored = old.restored;
            }
        }
        let left = old.into_iter().flatten();
        self.gone.extend(left.flat_map(|rule| rule.series));
    }

    /// Ends the series of a group that is no more.
    pub fn end(self, at: i64, output: &dyn Output) -> Result<(), String> {
        let series = self.rules.into_iter().flat_map(|rule| rule.series);
        let samples: Vec<Written> = self
            .gone
            .into_iter()
            .chain(series)
            .map(|labels| ended(labels, at))
            .collect();
        output.write(&samples).map(drop)
    }

    /// When the group is to be evaluated next after a time: its own place within the interval, so
    /// that not all groups work at once.
    pub fn next(&self, after: i64) -> i64 {
        let interval = self.interval_ms.max(1);
        // FNV-1a
        let hash = self
            .name
            .bytes()
            .chain([0])
            .chain(self.file.bytes())
            .fold(0xcbf2_9ce4_8422_2325u64, |hash, byte| {
                (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
            });
        let offset = (hash % interval as u64) as i64;
        (after - offset).div_euclid(interval) * interval + interval + offset
    }

    /// Evaluates all rules at a time; the alerts to tell.
    pub fn evaluate(&mut self, now: i64, world: &World<'_>) -> Vec<Notice> {
        let begun = (world.seconds)();
        let at = now - self.query_offset_ms;
        let mut notices = Vec::new();
        for rule in &mut self.rules {
            let started = (world.seconds)();
            let outcome = rule.evaluate(now, at, self.limit, self.interval_ms, world);
            rule.seconds = (world.seconds)() - started;
            rule.evaluated_at = Some(now);
            rule.health = match outcome {
                Ok(mut told) => {
                    notices.append(&mut told);
                    Health::Good
                }
                Err((mut told, why)) => {
                    notices.append(&mut told);
                    Health::Bad(why)
                }
            };
        }
        let gone: Vec<Written> = self.gone.drain(..).map(|l| ended(l, at)).collect();
        if !gone.is_empty() && world.output.write(&gone).is_err() {
            self.gone = gone.into_iter().map(|sample| sample.labels).collect();
        }
        self.seconds = (world.seconds)() - begun;
        self.evaluated_at = Some(now);
        notices
    }
}

fn rule_of(spec: RuleSpec, restored: bool) -> Rule {
    let kind = match spec.alert {
        true => Kind::Alerting(Alerting {
            name: spec.name,
            expr: spec.expr,
            hold_ms: spec.hold_ms,
            keep_firing_for_ms: spec.keep_firing_for_ms,
            labels: spec.labels,
            annotations: spec.annotations,
            active: BTreeMap::new(),
            restored,
        }),
        false => Kind::Recording(Recording {
            name: spec.name,
            expr: spec.expr,
            labels: spec.labels,
        }),
    };
    Rule {
        kind,
        health: Health::Unknown,
        evaluated_at: None,
        seconds: 0.0,
        series: BTreeSet::new(),
    }
}

fn ended(labels: Labels, at: i64) -> Written {
    Written {
        labels,
        at,
        value: stale(),
        histogram: None,
    }
}

/// What an expression gives a rule.
pub(super) fn vector(
    expr: &Expr,
    at: i64,
    world: &World<'_>,
) -> Result<Vec<InstantSample>, String> {
    let answer = instant(expr, at, world.source, &world.settings).map_err(|e| e.to_string())?;
    match answer.value {
        Value::Vector(vector) => Ok(vector),
        Value::Scalar(value) => Ok(vec![InstantSample {
            labels: Labels::default(),
            value,
            histogram: None,
        }]),
        _ => Err("rule result is not a vector or scalar".to_owned()),
    }
}

type Failed = (Vec<Notice>, String);

impl Rule {
    fn evaluate(
        &mut self,
        now: i64,
        at: i64,
        limit: usize,
        interval_ms: i64,
        world: &World<'_>,
    ) -> Result<Vec<Notice>, Failed> {
        let none = |why: String| (Vec::new(), why);
        let mut notices = Vec::new();
        let samples: Vec<Written> = match &mut self.kind {
            Kind::Recording(rule) => rule.evaluate(at, limit, world).map_err(none)?,
            Kind::Alerting(rule) => {
                let found = vector(&rule.expr, at, world).map_err(none)?;
                let query = |text: &str| {
                    let expr = parse(text).map_err(|e| e.to_string())?;
                    vector(&expr, now, world)
                };
                let shared = world.shared;
                let expander = Expander::new(
                    &rule.name,
                    now,
                    &query,
                    &shared.external_labels,
                    &shared.external_url,
                );
                let series = rule.take(&found, now, &expander, limit).map_err(none)?;
                notices = rule.notices(now, shared.resend_ms, interval_ms, &shared.external_url);
                let written = series.into_iter().map(|(labels, value)| Written {
                    labels,
                    at,
                    value,
                    histogram: None,
                });
                written.collect()
            }
        };
        match self.write(samples, at, world) {
            Ok(()) => Ok(notices),
            Err(why) => Err((notices, why)),
        }
    }

    /// Writes what was found, and the end of what was there the last time and is not any more.
    fn write(
        &mut self,
        mut samples: Vec<Written>,
        at: i64,
        world: &World<'_>,
    ) -> Result<(), String> {
        let fresh = samples.len();
        let series: BTreeSet<Labels> = samples.iter().map(|s| s.labels.clone()).collect();
        let vanished = self.series.difference(&series).cloned();
        samples.extend(vanished.map(|labels| ended(labels, at)));
        let refused = world.output.write(&samples)?;
        self.series = series;
        // Another rule may write a series that this one has ended.
        match refused.into_iter().find(|(position, _)| *position < fresh) {
            None => Ok(()),
            Some((position, why)) => {
                if let Some(sample) = samples.get(position) {
                    self.series.remove(&sample.labels);
                }
                Err(why)
            }
        }
    }
}

impl Recording {
    fn evaluate(&self, at: i64, limit: usize, world: &World<'_>) -> Result<Vec<Written>, String> {
        let found = vector(&self.expr, at, world)?;
        let mut samples = Vec::with_capacity(found.len());
        for sample in found {
            let own = self.labels.iter().map(|(n, v)| (n.as_str(), v.as_str()));
            let changes = [(NAME, self.name.as_str())].into_iter().chain(own);
            samples.push(Written {
                labels: changed(&sample.labels, changes),
                at,
                value: sample.value,
                histogram: sample.histogram,
            });
        }
        let distinct: BTreeSet<&Labels> = samples.iter().map(|s| &s.labels).collect();
        if distinct.len() != samples.len() {
            return Err(
                "vector contains metrics with the same labelset after applying rule labels"
                    .to_owned(),
            );
        }
        if limit > 0 && samples.len() > limit {
            let count = samples.len();
            return Err(format!("exceeded limit of {limit} with {count} series"));
        }
        Ok(samples)
    }
}
