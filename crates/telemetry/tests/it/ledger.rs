//! The ledger keeps what it was told, over restarts, and answers by time and namespace.

use std::sync::Arc;
use std::time::Duration;
use towpath_daemon::CancellationToken;
use towpath_stdx::{Clock, SystemClock};
use towpath_telemetry::ledger::{Change, ChangeKind, Ledger, Object};

const MONTH: Duration = Duration::from_secs(30 * 86_400);

fn change(id: &str, at: i64, namespace: &str) -> Change {
    Change {
        id: id.into(),
        at,
        kind: ChangeKind::Config,
        object: Object::new("ConfigMap", namespace, "settings"),
        by: "ann".into(),
        words: "port changed".into(),
        ..Change::default()
    }
}

#[tokio::test]
async fn changes_are_kept_and_found() {
    let dir = tempfile::tempdir().expect("directory");
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let now = i64::try_from(clock.since_epoch().as_millis()).expect("time");
    {
        let (ledger, writer) = Ledger::open(dir.path(), MONTH, clock.clone()).expect("ledger");
        for (id, at, namespace) in [
            ("a", now - 9_000, "shop"),
            ("b", now - 5_000, "post"),
            ("c", now - 1_000, "shop"),
            ("d", now - 500, ""),
            // The same change told again is one.
            ("c", now - 1_000, "shop"),
        ] {
            ledger.note(change(id, at, namespace));
        }
        let cancel = CancellationToken::new();
        cancel.cancel();
        writer.run(cancel).await;
    }
    let (ledger, _writer) = Ledger::open(dir.path(), MONTH, clock).expect("ledger again");
    let ids = |found: Vec<Change>| found.into_iter().map(|c| c.id).collect::<Vec<_>>();
    let all = ledger.between(0, now, "", 10).await.expect("changes");
    assert_eq!(ids(all), ["d", "c", "b", "a"]);
    let shop = ledger.between(now - 8_000, now, "shop", 10).await;
    assert_eq!(ids(shop.expect("changes")), ["d", "c"]);
    assert_eq!(ledger.lost(), 0);
}
