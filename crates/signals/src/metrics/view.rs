//! What queries look at beside the head: segments, and from when on the head counts.

use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

use super::manifest::{Listed, Tombstone};
use super::segment::Segment;

/// A segment that counts and cannot be opened: who asks for its time is told so.
#[derive(Clone, Debug)]
pub(crate) struct Broken {
    pub(crate) number: u64,
    pub(crate) min: i64,
    pub(crate) end: i64,
    pub(crate) why: String,
}

/// One state of it; a query keeps the one it began with.
pub(crate) struct View {
    /// In order of time, none overlapping.
    pub(crate) segments: Vec<Arc<Segment>>,
    pub(crate) broken: Vec<Broken>,
    /// What the manifest says of all of them.
    pub(crate) listed: Vec<Listed>,
    /// Samples before are in segments alone.
    pub(crate) flushed: i64,
    pub(crate) tombstones: Vec<Tombstone>,
    pub(crate) readers: Arc<Readers>,
}

/// Tells when a view is let go.
#[derive(Default)]
pub(crate) struct Readers {
    lock: Mutex<()>,
    gone: Condvar,
}

impl View {
    /// Whether all that is kept of an interval can be read; else what cannot.
    pub(crate) fn check(&self, start: i64, end: i64) -> Result<(), String> {
        let overlaps = |one: &&Broken| one.min <= end && one.end > start;
        match self.broken.iter().find(overlaps) {
            Some(broken) => Err(broken.why.clone()),
            None => Ok(()),
        }
    }
}

impl Drop for View {
    fn drop(&mut self) {
        drop(self.readers.lock.lock());
        self.readers.gone.notify_all();
    }
}

impl Readers {
    /// Waits until nobody looks at a view any more, at most `patience`.
    pub(crate) fn wait(&self, view: &std::sync::Weak<View>, patience: Duration) {
        #[allow(clippy::disallowed_methods)] // a deadline, never a decision about data
        let deadline = Instant::now() + patience;
        let mut held = self.lock.lock();
        while view.strong_count() > 0 {
            if self.gone.wait_until(&mut held, deadline).timed_out() {
                return;
            }
        }
    }
}
