//! Durable signals: samples, and the contracts by which the rest of the house writes and reads
//! them.
//!
//! Nothing here knows HTTP or Kubernetes. Who collects writes through [`Append`], who answers
//! queries reads through [`Read`] (which is a PromQL [`Source`](towpath_query::promql::Source)).

mod append;
mod bytes;
mod delete;
mod entropy;
mod freed;
mod hash;
pub mod logs;
mod matching;
pub mod metrics;
mod numbers;
pub mod objects;
mod read;
mod room;
mod segment;
pub mod traces;
mod unpack;
mod wal;

pub use append::{
    Append, Exemplar, Metadata, Outcome, Refused, Sample, SeriesRef, Value, WriteError,
};
pub use delete::Delete;
pub use read::{Block, Cardinality, ExemplarSeries, Read, ReadError, Session};
pub use segment::SegmentError;
pub use wal::{Damage, Replayed};
