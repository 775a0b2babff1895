//! The loop of one target: wait, ask, write, report.

use std::collections::BTreeMap;
use std::io::Read;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Semaphore;
use tokio::time::{Instant, MissedTickBehavior, interval_at, sleep};
use towpath_daemon::CancellationToken;
use towpath_signals::{Append, Metadata};
use towpath_stdx::Clock;

use super::config::Job;
use super::fetch::{Answer, BODY_LIMIT, Fetch};
use super::ingest::{Counts, Ingest};
use super::target::{Report, Target, offset_ms};
use crate::family::{Family, Gather};
use crate::prometheus::Health;
use crate::wire::{Format, negotiate};

/// A scrape that is a little late counts as in time, which samples pack better with.
const TOLERANCE_MS: i64 = 2;

/// How many rooms for pages are kept, and how large they may be.
const ROOMS: usize = 4;
const ROOM_BYTES: usize = 1 << 20;

/// What all loops share.
pub(crate) struct Shared {
    pub(crate) store: Arc<dyn Append>,
    pub(crate) clock: Arc<dyn Clock>,
    /// Scrapes that go on at a time.
    pub(crate) places: Semaphore,
    /// Bytes of pages that are used again.
    pub(crate) rooms: Rooms,
}

/// Room for a few pages: it is dearer to get from the system than to keep.
#[derive(Default)]
pub(crate) struct Rooms(Mutex<Vec<Vec<u8>>>);

impl Rooms {
    fn take(&self) -> Vec<u8> {
        self.0.lock().pop().unwrap_or_default()
    }

    fn give(&self, room: Vec<u8>) {
        if room.capacity() > 0 && room.capacity() <= ROOM_BYTES {
            let mut all = self.0.lock();
            if all.len() < ROOMS {
                all.push(room);
            }
        }
    }
}

/// Who is asked.
pub(crate) enum Source {
    Http(Box<Fetch>),
    Gather(Arc<dyn Gather>),
}

/// One loop.
pub(crate) struct Cycle {
    pub(crate) shared: Arc<Shared>,
    pub(crate) job: Arc<Job>,
    pub(crate) target: Arc<Target>,
    pub(crate) source: Source,
    /// Why no target of the job is scraped, where that is so.
    pub(crate) forced: Arc<Mutex<Option<String>>>,
    /// The target is gone; its series are marked as ended a little later.
    pub(crate) gone: CancellationToken,
    /// The loop ends at once, without a mark.
    pub(crate) stop: CancellationToken,
}

/// What one scrape brought.
struct Round {
    ingest: Ingest,
    metadata: BTreeMap<String, Metadata>,
    counts: Counts,
    error: Option<String>,
    bytes: f64,
}

enum Body {
    Text(Vec<u8>, bool, Format),
    Families(Vec<Family>),
    Failed(String),
}

impl Cycle {
    /// Runs until the target is gone.
    pub(crate) async fn run(mut self) {
        let stop = self.stop.clone();
        tokio::select! {
            () = stop.cancelled() => {}
            () = self.turns() => {}
        }
    }

    fn now_ms(&self) -> i64 {
        i64::try_from(self.shared.clock.since_epoch().as_millis()).unwrap_or(i64::MAX)
    }

    async fn turns(&mut self) {
        let interval_ms = self.target.interval_ms;
        let wait = offset_ms(self.target.hash, self.now_ms(), interval_ms);
        tokio::select! {
            () = self.gone.cancelled() => return,
            () = sleep(Duration::from_millis(wait.unsigned_abs())) => {}
        }
        let period = Duration::from_millis(interval_ms.unsigned_abs());
        let mut ticks = interval_at(Instant::now(), period);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
        let mut planned = self.now_ms();
        let mut ingest = Ingest::new(Arc::clone(&self.job), self.target.labels.clone());
        // A page of what there is in the cluster: what left it while the server was down is over.
        // Other targets may have been asked by somebody else meanwhile.
        if matches!(self.source, Source::Gather(_)) {
            let store = Arc::clone(&self.shared.store);
            let resumed = tokio::task::spawn_blocking(move || {
                ingest.resume(&*store, planned);
                ingest
            });
            match resumed.await {
                Ok(own) => ingest = own,
                Err(_) => return,
            }
        }
        let mut ingest = Some(ingest);
        loop {
            tokio::select! {
                () = self.gone.cancelled() => break,
                _ = ticks.tick() => {}
            }
            let now = self.now_ms();
            // Clocks that are set leap; then the plan starts anew.
            if (now - planned).abs() > 2 * interval_ms {
                planned = now;
            }
            while now - planned >= interval_ms {
                planned += interval_ms;
            }
            let near = (now - planned).abs() <= TOLERANCE_MS.min(interval_ms / 100);
            let at = if near { planned } else { now };
            let Some(own) = ingest.take() else { return };
            ingest = self.scrape(own, at).await;
        }
        if let Some(ingest) = ingest {
            self.end(ingest, period).await;
        }
    }

    /// Waits until a target that came back would have been scraped, then marks the end.
    async fn end(&self, mut ingest: Ingest, period: Duration) {
        sleep(period).await;
        let at = self.now_ms();
        sleep(period + period / 10).await;
        let store = Arc::clone(&self.shared.store);
        let ended = tokio::task::spawn_blocking(move || ingest.end(&*store, at)).await;
        if let Ok(Err(error)) = ended {
            tracing::warn!(%error, target = self.target.url, "end of a target");
        }
    }

    async fn scrape(&mut self, ingest: Ingest, at: i64) -> Option<Ingest> {
        // A place may be waited for as long as a scrape may take.
        let limit = Duration::from_millis(self.target.timeout_ms.unsigned_abs());
        let begin = Instant::now();
        let places = Arc::clone(&self.shared);
        let place = tokio::time::timeout(limit, places.places.acquire()).await;
        let forced = self.forced.lock().clone();
        let body = match (forced, &place) {
            (Some(why), _) => Body::Failed(why),
            (None, Err(_)) => Body::Failed("too many scrapes at once".to_owned()),
            (None, Ok(_)) => self.ask(limit).await,
        };
        let shared = Arc::clone(&self.shared);
        let (store, job) = (Arc::clone(&self.shared.store), Arc::clone(&self.job));
        let metadata = std::mem::take(&mut *self.target.metadata.lock());
        let round = Round {
            ingest,
            metadata,
            counts: Counts::default(),
            error: None,
            bytes: 0.0,
        };
        let (timeout, samples) = (limit.as_secs_f64(), self.job.limits.samples as f64);
        let written = tokio::task::spawn_blocking(move || {
            let mut round = round;
            round.take(&*store, &job, body, at, &shared.rooms);
            let seconds = begin.elapsed().as_secs_f64();
            let mut values = vec![
                ("up", f64::from(u8::from(round.error.is_none()))),
                ("scrape_duration_seconds", seconds),
                ("scrape_samples_scraped", round.counts.scraped as f64),
                (
                    "scrape_samples_post_metric_relabeling",
                    round.counts.kept as f64,
                ),
                ("scrape_series_added", round.counts.added as f64),
            ];
            if job.extra_metrics {
                values.push(("scrape_timeout_seconds", timeout));
                values.push(("scrape_sample_limit", samples));
                values.push(("scrape_body_size_bytes", round.bytes));
            }
            let reported = round.ingest.report(&*store, at, &values);
            if let Err(error) = reported {
                round.error.get_or_insert(error.to_string());
            }
            (round, seconds)
        });
        let (round, seconds) = written.await.ok()?;
        *self.target.metadata.lock() = round.metadata;
        let error = round.error.unwrap_or_default();
        *self.target.report.lock() = Report {
            health: if error.is_empty() {
                Health::Up
            } else {
                Health::Down
            },
            error,
            at_ns: u64::try_from(self.shared.clock.since_epoch().as_nanos()).ok(),
            seconds,
        };
        Some(round.ingest)
    }

    async fn ask(&mut self, limit: Duration) -> Body {
        match &mut self.source {
            Source::Gather(source) => match tokio::time::timeout(limit, source.gather()).await {
                Ok(Ok(families)) => Body::Families(families),
                Ok(Err(error)) => Body::Failed(error.to_string()),
                Err(_) => Body::Failed("context deadline exceeded".to_owned()),
            },
            Source::Http(fetch) => {
                match fetch.get(&self.target.url, self.shared.rooms.take()).await {
                    Ok(Answer {
                        content_type,
                        gzip,
                        body,
                    }) => match negotiate::format(&content_type, self.job.fallback) {
                        Ok(format) => Body::Text(body, gzip, format),
                        Err(why) => Body::Failed(why),
                    },
                    Err(why) => Body::Failed(why),
                }
            }
        }
    }
}

impl Round {
    fn take(&mut self, store: &dyn Append, job: &Job, body: Body, at: i64, rooms: &Rooms) {
        let metadata = &mut self.metadata;
        let (counts, result) = match body {
            Body::Families(families) => self.ingest.families(store, &families, at, metadata),
            Body::Text(body, gzip, format) => {
                let body = match gzip {
                    true => unpacked(body, job.limits.body_bytes, rooms),
                    false => Ok(body),
                };
                match body {
                    Ok(body) if body.is_empty() => {
                        let ended = self.ingest.nothing(store, at);
                        self.error = ended.err().map(|error| error.to_string());
                        return;
                    }
                    Ok(body) => {
                        self.bytes = body.len() as f64;
                        let (counts, result, spare) =
                            self.ingest.body(store, body, format, at, metadata);
                        rooms.give(spare);
                        (counts, result)
                    }
                    Err(why) => return self.fail(store, why, at),
                }
            }
            Body::Failed(why) => return self.fail(store, why, at),
        };
        self.counts = counts;
        self.error = result.err().map(|error| error.to_string());
    }

    fn fail(&mut self, store: &dyn Append, why: String, at: i64) {
        if why.ends_with(BODY_LIMIT) {
            self.bytes = -1.0;
        }
        let ended = self.ingest.nothing(store, at);
        self.error = Some(ended.err().map_or(why, |error| error.to_string()));
    }
}

fn unpacked(body: Vec<u8>, limit: u64, rooms: &Rooms) -> Result<Vec<u8>, String> {
    let mut out = rooms.take();
    out.clear();
    let reader = flate2::read::MultiGzDecoder::new(&body[..]);
    let read = reader.take(limit.saturating_add(1)).read_to_end(&mut out);
    rooms.give(body);
    read.map_err(|error| format!("gzip: {error}"))?;
    match out.len() as u64 > limit {
        true => Err(BODY_LIMIT.to_owned()),
        false => Ok(out),
    }
}
