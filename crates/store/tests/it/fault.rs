//! After a failed commit nothing is acknowledged or published any more; reads go on and say why.

use crate::support::{RESOURCE, delete, one, put, value};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use towpath_store::{Backend, Batch, Error, Expect, Loaded, Options, Refused, Sqlite, Store};

/// Fails from a given call on; what it is asked to keep before that is kept.
struct Failing {
    inner: Sqlite,
    left: Arc<AtomicI64>,
    writes_anyway: bool,
}

impl Failing {
    fn pass(&self) -> Result<(), Error> {
        if self.left.fetch_sub(1, Ordering::SeqCst) > 0 {
            return Ok(());
        }
        let source = std::io::Error::from_raw_os_error(5).into();
        Err(Error::Backend {
            what: "sync the log",
            source,
        })
    }
}

impl Backend for Failing {
    fn load(&mut self) -> Result<Loaded, Error> {
        self.inner.load()
    }

    fn commit(&mut self, batch: &Batch) -> Result<(), Error> {
        if self.writes_anyway && self.left.load(Ordering::SeqCst) <= 0 {
            // The bytes may have reached the disk although the sync failed.
            self.inner.commit(batch)?;
        }
        self.pass()?;
        self.inner.commit(batch)
    }

    fn sync(&mut self) -> Result<(), Error> {
        self.inner.sync()
    }

    fn tidy(&mut self, now: bool) -> Result<(), Error> {
        self.inner.tidy(now)
    }

    fn close(&mut self, revision: u64) -> Result<(), Error> {
        self.inner.close(revision)
    }
}

#[test]
fn nothing_is_acknowledged_after_a_failed_sync() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("runtime");
    for writes_anyway in [false, true] {
        for good in [0, 1, 5] {
            let dir = tempfile::tempdir().expect("directory");
            let inner = Sqlite::open(dir.path()).expect("back end");
            let left = Arc::new(AtomicI64::new(good));
            let failing = Failing {
                inner,
                left,
                writes_anyway,
            };
            let store = Store::with_backend(Box::new(failing), dir.path(), Options::default())
                .expect("store");
            let mut acked = Vec::new();
            runtime.block_on(async {
                for number in 0..good + 3 {
                    match one(&store, put(&format!("/k{number}"), "v", Expect::any())).await {
                        Ok(_) => acked.push(format!("/k{number}")),
                        Err(refused) => {
                            assert!(matches!(&refused, Refused::ReadOnly(why) if why.contains("sync the log")), "{refused}");
                        }
                    }
                }
                assert_eq!(acked.len() as i64, good);
                assert!(matches!(one(&store, delete("/k0", Expect::any())).await, Err(Refused::ReadOnly(_))));
            });
            assert!(store.fault().is_some());
            let state = store.snapshot();
            let shown: Vec<String> = state
                .range(RESOURCE, "", None)
                .map(|rec| rec.key.to_string())
                .collect();
            assert_eq!(
                shown, acked,
                "readers see what was acknowledged and nothing else"
            );
            let revision = store.revision();
            let mut watch = store.watch(RESOURCE, revision);
            assert!(watch.ready(10).expect("window").is_empty());
            drop(store);
            // The next start shows at least what was acknowledged, at later revisions.
            let store = crate::support::open(dir.path());
            assert!(store.revision() > revision);
            for key in &acked {
                let rec = store
                    .snapshot()
                    .get(RESOURCE, key)
                    .cloned()
                    .expect("acknowledged");
                assert_eq!(value(&rec.json()).1, "v");
            }
        }
    }
}
