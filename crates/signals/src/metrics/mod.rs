//! The store of metrics.
//!
//! What comes in goes to the head, packed in memory by series, and to the log. Every two hours what
//! no late sample can reach any more moves into a segment; segments are joined into days and weeks
//! and dropped when they are too old. A checkpoint writes the head down every five minutes, so that
//! the log stays short.
//!
//! | file | what |
//! |---|---|
//! | `MANIFEST` | which of the other files count |
//! | `wal/*.wal` | the log since the last checkpoint |
//! | `*.ckp`, `*.opn` | the head as of the last checkpoint |
//! | `*.seg` | segments |

mod batch;
pub(crate) mod budget;
mod checkpoint;
mod chunk;
mod column;
mod compact;
mod downsample;
mod exemplars;
mod export;
mod families;
mod flush;
mod head;
mod index;
mod lanes;
mod manifest;
mod objects;
mod options;
mod read;
mod records;
mod recover;
mod registry;
mod retention;
mod segment;
mod select;
mod series;
mod store;
mod symbols;
mod upkeep;
mod view;

pub use budget::Shed;
pub use export::{FloatChunk, float_chunks, read_float_chunk};
pub use options::{Options, Rule};
pub(crate) use store::Bell;
pub use store::{OpenError, Stats, Store};
pub use upkeep::UpkeepError;
pub(crate) use upkeep::told;
