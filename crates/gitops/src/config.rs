//! Settings.

use std::sync::Arc;
use std::time::Duration;
use towpath_stdx::{Clock, SystemClock};

/// How long and how often.
#[derive(Clone)]
pub struct GitOpsConfig {
    /// Source of time.
    pub clock: Arc<dyn Clock>,
    /// Applications are looked at this often even where nothing was seen to change.
    pub resync: Duration,
    /// A deployment that is not healthy by then has failed.
    pub deploy_limit: Duration,
}

impl Default for GitOpsConfig {
    fn default() -> Self {
        Self {
            clock: Arc::new(SystemClock),
            resync: Duration::from_secs(180),
            deploy_limit: Duration::from_secs(600),
        }
    }
}
