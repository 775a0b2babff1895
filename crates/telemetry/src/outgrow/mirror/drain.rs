//! Empties a queue: one request at a time, within a rate, again until it is taken.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio_util::sync::CancellationToken;
use towpath_stdx::Clock;

use super::target::{Target, add};
use crate::outgrow::call::{CallError, Reply};
use crate::outgrow::queue::Batch;

/// Between the first two tries, and the longest between two; upstream's.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(30), Duration::from_secs(5));
/// The longest wait that an answer may ask for.
const LONGEST: Duration = Duration::from_secs(300);
/// How long a request that is not full waits for more.
const LINGER: Duration = Duration::from_millis(500);
/// The most bytes of records in a request, packed.
const BATCH_BYTES: usize = 1 << 20;
/// How often the queue is brought to the disk.
const SETTLE: Duration = Duration::from_secs(1);
/// How often it is looked again whether a queue that cannot be read can.
const AGAIN: Duration = Duration::from_secs(5);

/// What became of a request.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Delivered {
    /// It was taken, but for so many items.
    Taken {
        failed: u64,
        bytes: u64,
        highest: i64,
    },
    /// It may be taken later.
    Later {
        why: String,
        after: Option<Duration>,
    },
    /// A part of it may be taken.
    TooLarge(String),
    /// It will never be taken, but for so many items that were.
    Refused { why: String, sent: u64 },
}

/// Sends records of one kind.
#[async_trait]
pub(super) trait Deliver: Send + Sync {
    async fn deliver(&self, records: &[Vec<u8>], items: u64) -> Delivered;
}

/// What an answer that is no success means. What says nothing about the data, such as a credential
/// that is not accepted, is tried again: nothing is lost for it.
pub(super) fn judged(asked: Result<Reply, CallError>) -> Result<Reply, Delivered> {
    let reply = match asked {
        Ok(reply) => reply,
        Err(error) => {
            let why = error.to_string();
            return Err(Delivered::Later { why, after: None });
        }
    };
    match reply.status.as_u16() {
        200..300 => Ok(reply),
        413 => Err(Delivered::TooLarge(reply.told())),
        400 | 405 | 406 | 409..=412 | 414..=428 => Err(Delivered::Refused {
            why: reply.told(),
            sent: 0,
        }),
        _ => {
            let after = reply.header("retry-after").trim().parse().ok();
            Err(Delivered::Later {
                why: reply.told(),
                after: after.map(Duration::from_secs),
            })
        }
    }
}

/// Sends what is in the queue until it is told to end. What is left then is sent after the next
/// start.
pub(super) async fn run(
    target: Arc<Target>,
    deliver: Arc<dyn Deliver>,
    clock: Arc<dyn Clock>,
    cancel: CancellationToken,
) {
    let work = Work {
        target: Arc::clone(&target),
        deliver,
        clock,
        most: u64::from(target.settings.batch),
        troubled: false,
    };
    let settling = async {
        let mut tick = tokio::time::interval(SETTLE);
        loop {
            tick.tick().await;
            let target = Arc::clone(&target);
            let settled = tokio::task::spawn_blocking(move || target.queue.settle()).await;
            if let Ok(Err(error)) = settled {
                tracing::error!(%error, "bring a queue to the disk");
            }
        }
    };
    tokio::select! {
        () = cancel.cancelled() => {}
        () = work.turn() => {}
        () = settling => {}
    }
    let settled = tokio::task::spawn_blocking(move || target.queue.settle()).await;
    if let Ok(Err(error)) = settled {
        tracing::error!(%error, "bring a queue to the disk");
    }
}

struct Work {
    target: Arc<Target>,
    deliver: Arc<dyn Deliver>,
    clock: Arc<dyn Clock>,
    /// Items of the next request.
    most: u64,
    /// Whether it was said that requests fail.
    troubled: bool,
}

impl Work {
    async fn turn(mut self) {
        loop {
            let waiting = self.target.queue.waiting().items;
            if waiting == 0 {
                self.target.queue.more.notified().await;
            }
            if self.target.queue.waiting().items < self.most {
                tokio::time::sleep(LINGER).await;
            }
            let batch = match self.next().await {
                Ok(batch) => batch,
                Err(error) => {
                    tracing::error!(%error, target = self.target.name, "read a queue");
                    tokio::time::sleep(AGAIN).await;
                    continue;
                }
            };
            if batch.records.is_empty() {
                self.done(batch).await;
                continue;
            }
            self.send(batch).await;
        }
    }

    async fn next(&self) -> Result<Batch, String> {
        let (target, most) = (Arc::clone(&self.target), self.most);
        let read = tokio::task::spawn_blocking(move || target.queue.next(most, BATCH_BYTES));
        let read = read.await.map_err(|error| error.to_string())?;
        read.map_err(|error| error.to_string())
    }

    async fn done(&self, batch: Batch) {
        let target = Arc::clone(&self.target);
        let noted = tokio::task::spawn_blocking(move || target.queue.done(&batch)).await;
        if let Ok(Err(error)) = noted {
            // It is sent again after the next start.
            tracing::error!(%error, target = self.target.name, "note what was sent");
        }
    }

    /// Sends a batch until it is taken or refused for good.
    async fn send(&mut self, batch: Batch) {
        let counts = &self.target.counts;
        let mut pause = BACKOFF.0;
        loop {
            let started = self.clock.monotonic();
            let delivered = self.deliver.deliver(&batch.records, batch.items).await;
            match delivered {
                Delivered::Taken {
                    failed,
                    bytes,
                    highest,
                } => {
                    add(&counts.sent, batch.items.saturating_sub(failed));
                    add(&counts.failed, failed);
                    add(&counts.bytes, bytes);
                    let order = std::sync::atomic::Ordering::Relaxed;
                    counts.highest.fetch_max(highest, order);
                    if std::mem::take(&mut self.troubled) {
                        tracing::info!(target = self.target.name, "the mirror takes data again");
                    }
                    self.most = (self.most * 2).min(u64::from(self.target.settings.batch));
                    let spent = self.clock.monotonic() - started;
                    let due = bytes as f64 / self.target.settings.rate_bytes() as f64;
                    let due = Duration::from_secs_f64(due.min(60.0));
                    self.done(batch).await;
                    tokio::time::sleep(due.saturating_sub(spent)).await;
                    return;
                }
                Delivered::TooLarge(why) if batch.records.len() > 1 => {
                    tracing::warn!(target = self.target.name, why, "smaller requests");
                    self.most = (batch.items / 2).max(1);
                    // The same records come again with the next request, fewer of them.
                    return;
                }
                Delivered::TooLarge(why) => return self.refused(batch, why, 0).await,
                Delivered::Refused { why, sent } => return self.refused(batch, why, sent).await,
                Delivered::Later { why, after } => {
                    if !std::mem::replace(&mut self.troubled, true) {
                        tracing::warn!(
                            target = self.target.name,
                            why,
                            "the mirror does not take data; it waits"
                        );
                    }
                    add(&counts.retried, batch.items);
                    let wait = after.map_or(pause, |after| after.clamp(pause, LONGEST));
                    tokio::time::sleep(wait).await;
                    pause = (pause * 2).min(BACKOFF.1);
                }
            }
        }
    }

    async fn refused(&self, batch: Batch, why: String, sent: u64) {
        let sent = sent.min(batch.items);
        let failed = batch.items - sent;
        tracing::warn!(
            target = self.target.name,
            failed,
            why,
            "the mirror refuses data"
        );
        add(&self.target.counts.sent, sent);
        add(&self.target.counts.failed, failed);
        self.done(batch).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::{HeaderMap, StatusCode};

    #[test]
    fn what_answers_mean() {
        let reply = |status: u16, after: Option<&str>| {
            let mut headers = HeaderMap::new();
            if let Some(after) = after {
                headers.insert("retry-after", after.parse().unwrap());
            }
            judged(Ok(Reply {
                status: StatusCode::from_u16(status).unwrap(),
                headers,
                body: "why\nnot".into(),
            }))
        };
        assert!(reply(204, None).is_ok());
        let later = |after| {
            Err(Delivered::Later {
                why: "HTTP status 429 Too Many Requests: why".into(),
                after,
            })
        };
        let seconds = |answer: Result<Reply, Delivered>| answer.map(|_| ());
        assert_eq!(
            seconds(reply(429, Some("7"))),
            later(Some(Duration::from_secs(7)))
        );
        assert_eq!(seconds(reply(429, Some("soon"))), later(None));
        for status in [401, 403, 404, 500, 503] {
            assert!(matches!(reply(status, None), Err(Delivered::Later { .. })));
        }
        for status in [400, 415, 422] {
            assert!(matches!(
                reply(status, None),
                Err(Delivered::Refused { .. })
            ));
        }
        assert!(matches!(reply(413, None), Err(Delivered::TooLarge(_))));
    }
}
