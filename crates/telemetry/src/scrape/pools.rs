//! The targets of every job and the loops that scrape them.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::Semaphore;
use towpath_daemon::CancellationToken;
use towpath_query::promql::{Labels, format_duration};
use towpath_signals::{Append, Metadata};
use towpath_stdx::Clock;

use super::config::Job;
use super::cycle::{Cycle, Rooms, Shared, Source};
use super::fetch::Fetch;
use super::relabel::{Rule, Set};
use super::target::{Found, Group, Target, target};
use crate::family::Gather;
use crate::prometheus::{ActiveTarget, DroppedTarget, Notices, Targets};

/// Scrapes that go on at a time, over all jobs.
const PLACES: usize = 64;
/// Dropped targets that are remembered per job where it says nothing.
const DROPPED: u64 = 1000;

/// A target with its loop.
struct Running {
    target: Arc<Target>,
    gone: CancellationToken,
    stop: CancellationToken,
}

struct Pool {
    job: Arc<Job>,
    running: HashMap<u64, Running>,
    /// Loops of targets that are gone, until their series are marked as ended.
    ending: HashMap<u64, CancellationToken>,
    dropped: Vec<Labels>,
    dropped_count: usize,
    forced: Arc<Mutex<Option<String>>>,
}

/// Everything that is scraped. Loops end with the token it was made with.
pub struct Pools {
    shared: Arc<Shared>,
    cancel: CancellationToken,
    pools: Mutex<BTreeMap<String, Pool>>,
    notices: Notices,
}

impl Pools {
    /// Pools without jobs, which write into `store`.
    pub fn new(store: Arc<dyn Append>, clock: Arc<dyn Clock>, cancel: CancellationToken) -> Self {
        let places = Semaphore::new(PLACES);
        Self {
            shared: Arc::new(Shared {
                store,
                clock,
                places,
                rooms: Rooms::default(),
            }),
            cancel,
            pools: Mutex::default(),
            notices: Notices::default(),
        }
    }

    /// From now on a job has exactly these targets. Has to be called where tasks can be started.
    pub fn sync(&self, job: &Arc<Job>, groups: &[Group]) {
        let mut found = BTreeMap::new();
        let (mut dropped, mut dropped_count) = (Vec::new(), 0);
        let keep = match job.limits.dropped_targets {
            0 => DROPPED,
            keep => keep,
        };
        for group in groups {
            for own in &group.targets {
                match target(job, own, &group.labels) {
                    Found::Target(target) => drop(found.insert(target.hash, target)),
                    Found::Dropped(labels) => {
                        dropped_count += 1;
                        if (dropped.len() as u64) < keep {
                            dropped.push(labels);
                        }
                    }
                    Found::Faulty(why) => {
                        let source = &group.source;
                        tracing::warn!(job = job.name, source, why, "a target makes no sense");
                    }
                }
            }
        }
        let fetch = |target: &Target| Source::Http(Box::new(Fetch::new(job, target.timeout_ms)));
        self.change(job, found, dropped, dropped_count, fetch);
    }

    /// From now on a producer inside this process is scraped as the only target of a job.
    /// `labels` are those of its series beside `job` and `instance`.
    pub fn gather(
        &self,
        job: &Arc<Job>,
        instance: &str,
        labels: &[(String, String)],
        source: Arc<dyn Gather>,
    ) {
        let mut own: Set = labels.iter().cloned().collect();
        own.insert("__address__".to_owned(), instance.to_owned());
        let found = match target(job, &own, &Set::new()) {
            Found::Target(target) => BTreeMap::from([(target.hash, target)]),
            _ => BTreeMap::new(),
        };
        self.change(job, found, Vec::new(), 0, |_| {
            Source::Gather(Arc::clone(&source))
        });
    }

    /// The job is scraped no longer; the series of its targets are marked as ended.
    pub fn remove(&self, job: &str) {
        if let Some(pool) = self.pools.lock().remove(job) {
            pool.running
                .into_values()
                .for_each(|running| running.gone.cancel());
        }
    }

    fn change(
        &self,
        job: &Arc<Job>,
        found: BTreeMap<u64, Arc<Target>>,
        dropped: Vec<Labels>,
        dropped_count: usize,
        source: impl Fn(&Target) -> Source,
    ) {
        let mut pools = self.pools.lock();
        let pool = pools.entry(job.name.clone()).or_insert_with(|| Pool {
            job: Arc::clone(job),
            running: HashMap::new(),
            ending: HashMap::new(),
            dropped: Vec::new(),
            dropped_count: 0,
            forced: Arc::default(),
        });
        if pool.job.written != job.written {
            // The loops start anew with the changed job; their series go on.
            pool.running
                .drain()
                .for_each(|(_, running)| running.stop.cancel());
            pool.job = Arc::clone(job);
        }
        (pool.dropped, pool.dropped_count) = (dropped, dropped_count);
        let limit = job.limits.targets;
        *pool.forced.lock() = (limit > 0 && found.len() as u64 > limit).then(|| {
            let count = found.len();
            format!("target_limit exceeded (number of targets: {count}, limit: {limit})")
        });
        pool.ending.retain(|_, stop| !stop.is_cancelled());
        let gone: Vec<u64> = pool
            .running
            .keys()
            .filter(|hash| !found.contains_key(hash))
            .copied()
            .collect();
        for hash in gone {
            if let Some(running) = pool.running.remove(&hash) {
                running.gone.cancel();
                pool.ending.insert(hash, running.stop);
            }
        }
        for (hash, target) in found {
            if pool.running.contains_key(&hash) {
                continue;
            }
            // It came back before its end was marked.
            if let Some(stop) = pool.ending.remove(&hash) {
                stop.cancel();
            }
            let (gone, stop) = (CancellationToken::new(), self.cancel.child_token());
            let cycle = Cycle {
                shared: Arc::clone(&self.shared),
                job: Arc::clone(job),
                source: source(&target),
                target: Arc::clone(&target),
                forced: Arc::clone(&pool.forced),
                gone: gone.clone(),
                stop: stop.clone(),
            };
            let done = stop.clone();
            towpath_daemon::spawn(format!("scrape {}", target.url), async move {
                cycle.run().await;
                done.cancel();
            });
            pool.running.insert(hash, Running { target, gone, stop });
        }
    }
}

impl Targets for Pools {
    fn pools(&self) -> Vec<String> {
        self.pools.lock().keys().cloned().collect()
    }

    fn relabelling(&self, pool: &str) -> Option<Vec<Rule>> {
        let pools = self.pools.lock();
        pools.get(pool).map(|pool| pool.job.relabel.clone())
    }

    fn notices(&self) -> Notices {
        self.notices.clone()
    }

    fn active(&self) -> Vec<ActiveTarget> {
        let pools = self.pools.lock();
        let mut out: Vec<ActiveTarget> = pools
            .iter()
            .flat_map(|(name, pool)| {
                pool.running
                    .values()
                    .map(move |own| shown(name, &own.target))
            })
            .collect();
        out.sort_by(|a, b| (&a.pool, &a.url).cmp(&(&b.pool, &b.url)));
        out
    }

    fn dropped(&self) -> Vec<DroppedTarget> {
        let pools = self.pools.lock();
        let all = pools.iter().flat_map(|(name, pool)| {
            pool.dropped.iter().map(move |discovered| DroppedTarget {
                discovered: discovered.clone(),
                pool: name.clone(),
            })
        });
        all.collect()
    }

    fn dropped_counts(&self) -> BTreeMap<String, usize> {
        let pools = self.pools.lock();
        pools
            .iter()
            .map(|(name, pool)| (name.clone(), pool.dropped_count))
            .collect()
    }

    fn metadata(&self, target: &ActiveTarget) -> BTreeMap<String, Metadata> {
        let pools = self.pools.lock();
        let Some(pool) = pools.get(&target.pool) else {
            return BTreeMap::new();
        };
        let mut all = pool.running.values();
        let own =
            all.find(|own| own.target.labels == target.labels && own.target.url == target.url);
        own.map(|own| own.target.metadata.lock().clone())
            .unwrap_or_default()
    }
}

fn shown(pool: &str, target: &Target) -> ActiveTarget {
    let report = target.report.lock().clone();
    ActiveTarget {
        discovered: target.discovered.clone(),
        labels: target.labels.clone(),
        pool: pool.to_owned(),
        url: target.url.clone(),
        last_error: report.error,
        last_scrape_ns: report.at_ns,
        last_duration: report.seconds,
        health: report.health,
        interval: format_duration(target.interval_ms),
        timeout: format_duration(target.timeout_ms),
    }
}
