//! Events are kept for an hour.

use crate::core::Core;
use std::sync::Arc;
use std::time::Duration;
use towpath_api::time::parse_rfc3339;
use towpath_daemon::CancellationToken;
use towpath_store::{Class, Expect, Op, Txn};

const KEEP_SECONDS: i64 = 3600;
const BATCH: usize = 500;

/// Removes old events until cancelled; sleeps until the oldest one's time has come.
pub(crate) async fn run(core: Arc<Core>, cancel: CancellationToken) {
    loop {
        let wait = once(&core).await;
        tokio::select! {
            () = cancel.cancelled() => return,
            () = tokio::time::sleep(wait) => {}
        }
    }
}

async fn once(core: &Core) -> Duration {
    let now = core.clock.since_epoch().as_secs() as i64;
    let state = core.store.snapshot();
    let (mut ops, mut next) = (Vec::new(), KEEP_SECONDS);
    for rec in state.range("events", "", None) {
        let event = crate::record::decode(rec);
        let last = ["lastTimestamp", "eventTime"]
            .iter()
            .filter_map(|key| event[*key].as_str())
            .filter_map(parse_rfc3339)
            .max();
        let made = event["metadata"]["creationTimestamp"]
            .as_str()
            .and_then(parse_rfc3339)
            .unwrap_or(now);
        let left = last.unwrap_or(made).max(made) + KEEP_SECONDS - now;
        if left > 0 {
            next = next.min(left);
        } else if ops.len() < BATCH {
            let expect = Expect::revision(rec.revision);
            ops.push(Op::Delete {
                resource: "events".into(),
                key: rec.key.clone(),
                expect,
                last: None,
            });
        } else {
            next = 1;
        }
    }
    if !ops.is_empty() {
        // One that was renewed meanwhile stops the batch; the next round finds it again.
        if core
            .store
            .commit(Txn {
                ops,
                class: Class::Relaxed,
            })
            .await
            .is_err()
        {
            next = next.min(60);
        }
    }
    Duration::from_secs(next.max(1) as u64)
}
