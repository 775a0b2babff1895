//! The store of metrics.
//!
//! What comes in goes to the head, packed in memory by series, and to the log.

mod budget;
mod chunk;
mod exemplars;
mod families;
mod head;
mod ids;
mod matching;
mod options;
mod read;
mod registry;
mod select;
mod series;
mod store;
mod symbols;

pub use budget::Shed;
pub use options::Options;
pub use store::{OpenError, Stats, Store};
