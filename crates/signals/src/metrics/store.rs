//! The store as the house sees it.

use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use parking_lot::Mutex;
use towpath_query::promql::Labels;

use super::budget::{Budget, Shed};
use super::exemplars::Exemplars;
use super::families::Families;
use super::head::{Bounds, Head};
use super::options::Options;
use crate::{Append, Exemplar, Metadata, Outcome, Refused, Sample, SeriesRef, WriteError};

/// Why a store cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Its directory cannot be made or read.
    #[error("open store of metrics {path}")]
    Directory {
        /// Which.
        path: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
}

/// Figures of a store.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Stats {
    /// Series in the head.
    pub series: u64,
    /// Memory in use for series and samples that are not in segments, in bytes.
    pub memory_bytes: u64,
    /// The limit of that.
    pub memory_limit_bytes: u64,
    /// What was refused for a limit, by source.
    pub shed: Vec<Shed>,
    /// Memory by source, most first.
    pub memory_by_source: Vec<(String, u64)>,
}

/// The store of metrics. Cheap to share behind an [`Arc`].
pub struct Store {
    pub(crate) head: Head,
    pub(crate) exemplars: Mutex<Exemplars>,
    pub(crate) families: Mutex<Families>,
    options: Options,
}

impl Store {
    /// Opens the store in a directory, which is made where it is missing.
    ///
    /// # Errors
    /// The directory cannot be used.
    pub fn open(dir: &Path, options: Options) -> Result<Arc<Self>, OpenError> {
        std::fs::create_dir_all(dir).map_err(|source| OpenError::Directory {
            path: dir.display().to_string(),
            source,
        })?;
        let bounds = Bounds {
            block: options.block_ms.max(1),
            window: options.out_of_order_ms,
            max_series: options.max_series,
        };
        let budget = Budget::new(options.memory_bytes, options.source_label.clone());
        Ok(Arc::new(Self {
            head: Head::new(&bounds, budget),
            exemplars: Mutex::new(Exemplars::new(options.exemplars)),
            families: Mutex::default(),
            options,
        }))
    }

    /// Figures of the store.
    pub fn stats(&self) -> Stats {
        Stats {
            series: self.head.registry.read_recursive().ids().len() as u64,
            memory_bytes: self.head.bytes() as u64,
            memory_limit_bytes: self.head.budget.limit() as u64,
            shed: self.head.budget.sheds(),
            memory_by_source: self.head.budget.by_source(),
        }
    }

    fn now(&self) -> i64 {
        i64::try_from(self.options.clock.since_epoch().as_millis()).unwrap_or(i64::MAX)
    }
}

#[async_trait]
impl Append for Store {
    fn resolve(&self, labels: &Labels) -> Result<SeriesRef, Refused> {
        self.head.resolve(labels, |_| {})
    }

    fn labels(&self, series: SeriesRef) -> Option<Labels> {
        self.head.labels(u32::try_from(series.0).ok()?)
    }

    fn append(&self, samples: &[Sample]) -> Result<Outcome, WriteError> {
        let latest = self.now().saturating_add(self.options.future_ms);
        Ok(self.head.append(samples, latest, |_| {}))
    }

    fn exemplar(&self, series: SeriesRef, exemplar: Exemplar) -> Result<(), Refused> {
        let unknown = || Refused::Labels(format!("unknown series {}", series.0));
        let id = u32::try_from(series.0).map_err(|_| unknown())?;
        self.head.with(id, |_| {}).ok_or_else(unknown)?;
        self.exemplars.lock().add(id, exemplar)
    }

    fn metadata(&self, family: &str, metadata: Metadata) {
        self.families.lock().add(family, metadata);
    }

    async fn sync(&self) -> Result<(), WriteError> {
        Err(WriteError("this store has no log yet".to_owned()))
    }
}
