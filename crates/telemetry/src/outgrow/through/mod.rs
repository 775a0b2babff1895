//! What is older than what is here, asked where it lies: samples of a Prometheus by remote read,
//! lines of a Loki, traces of a Tempo.
//!
//! An answer has what is here in any case. What the other server does not say in time is named in
//! a remark, and for a while it is not asked again, so that a server that is gone costs one wait.

mod lines;
mod past;
mod samples;
mod spans;
mod union;

pub use lines::PastLines;
pub(crate) use lines::{Asked, List};
pub use samples::{Both, PastSamples};
pub use spans::PastSpans;

use std::sync::Arc;

use towpath_stdx::Clock;

use super::settings::{ReadThrough, Signal, Wrong};
use past::Past;

/// The other servers, by signal.
#[derive(Clone, Default)]
pub struct Through {
    /// For samples.
    pub samples: Vec<PastSamples>,
    /// For lines.
    pub lines: Vec<PastLines>,
    /// For spans.
    pub spans: Vec<PastSpans>,
}

impl Through {
    /// Servers as they are written.
    ///
    /// # Errors
    /// A setting is impossible.
    pub fn new(all: &[ReadThrough], clock: &Arc<dyn Clock>) -> Result<Self, Wrong> {
        let mut out = Self::default();
        for own in all {
            own.check()?;
            let past = Arc::new(Past::new(own, Arc::clone(clock))?);
            match own.signal {
                Signal::Metrics => {
                    let replicas = own.replica_labels.clone();
                    out.samples.push(PastSamples::new(past, replicas));
                }
                Signal::Logs => out.lines.push(PastLines::new(past)),
                Signal::Traces => out.spans.push(PastSpans::new(past)),
            }
        }
        Ok(out)
    }
}
