//! Tests of the stores.

#![allow(clippy::unwrap_used)] // these are tests

mod damage;
mod disk;
mod downsample;
mod limits;
mod logs;
mod logs_first;
mod logs_kept;
mod model;
mod objects;
mod promql;
mod restart;
mod retention;
mod traces;

use std::future::Future;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant};

use towpath_query::promql::Hints;
use towpath_signals::metrics::Options;
use towpath_stdx::Clock;

/// A folder of its own, in memory where there is such a place: most tests are about order, not
/// about the disk.
fn folder() -> tempfile::TempDir {
    tempfile::tempdir_in("/dev/shm")
        .or_else(|_| tempfile::tempdir())
        .unwrap()
}

/// What a crash would leave: the files as they are now.
fn copy(from: &Path) -> tempfile::TempDir {
    let to = folder();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.path().join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            std::fs::create_dir(&target).unwrap();
            for file in std::fs::read_dir(entry.path()).unwrap() {
                let file = file.unwrap();
                std::fs::copy(file.path(), target.join(file.file_name())).unwrap();
            }
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
    to
}

/// Asks for every sample of a time, as it is kept.
fn all(start: i64, end: i64) -> Hints<'static> {
    Hints {
        start,
        end,
        step: 0,
        range: 0,
        function: "",
    }
}

fn wait<F: Future>(future: F) -> F::Output {
    let runtime = tokio::runtime::Builder::new_current_thread().build();
    runtime.unwrap().block_on(future)
}

/// A clock that stands where it is set, in milliseconds.
struct Set(AtomicI64, Instant);

impl Set {
    #[allow(clippy::disallowed_methods)] // a clock
    fn new(time: i64) -> Arc<Self> {
        Arc::new(Self(AtomicI64::new(time), Instant::now()))
    }
}

impl Clock for Set {
    fn since_epoch(&self) -> Duration {
        Duration::from_millis(self.0.load(Ordering::SeqCst) as u64)
    }

    fn monotonic(&self) -> Instant {
        self.1 + self.since_epoch()
    }
}

fn options(clock: &Arc<Set>) -> Options {
    Options {
        background: false,
        ..Options::new(Arc::clone(clock) as Arc<dyn Clock>)
    }
}
